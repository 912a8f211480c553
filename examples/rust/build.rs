//! Links Python into the programs. In a project of one's own, `pyox add` puts this module into its folder `pyox/`.

#[path = "../../tools/pyox/src/init/rust/link.rs"]
mod python;

fn main() {
    python::link();
}
