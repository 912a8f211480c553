//! Tells the tool which target it was built for: it links for no other.

fn main() {
    // Cargo always sets it for build scripts.
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=PYOX_TARGET={target}");
}
