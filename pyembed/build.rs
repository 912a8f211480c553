//! Tells the crate which Python it is compiled for (`cfg(Py_3_12)` and so on), as pyo3-ffi sees it.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
