# /// script
# dependencies = ["black==26.10.1"]
# ///
from black import patched_main

if __name__ == "__main__":
    patched_main()
