# /// script
# dependencies = ["httpie==3.2.4"]
# ///
import sys

from httpie.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
