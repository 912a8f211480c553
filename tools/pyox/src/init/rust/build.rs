//! Links Python into this program.

#[path = "pyox/build.rs"]
mod python;

fn main() {
    python::link();
}
