//! Modules that need to be told where they are, once their code has run: nearly all of the standard library.

use std::ffi::CStr;
use std::path::Path;

use super::State;
use super::python::{Half, python_half};
use crate::ffi::{Object, Result};

static PYTHON: Half = python_half!("patches.py");

/// To be called with each module that has run.
pub(super) fn apply(name: &str, module: &Object<'_>) -> Result<()> {
    match name {
        "importlib.abc" => tell(module, c"register_importer"),
        "importlib.metadata" if State::get().locations.are_some() => {
            tell(module, c"locate_real_files")
        }
        "importlib.resources.readers" if cfg!(Py_3_13) => tell(module, c"mend_namespace_reader"),
        "posixpath" if cfg!(Py_3_13) => tell(module, c"let_strict_paths_pass"),
        "ssl" => find_certificates(module),
        "pkg_resources" => tell(module, c"serve_pkg_resources"),
        _ => Ok(()),
    }
}

/// OpenSSL looks for certificates where its builder had them; elsewhere it has to be told.
fn find_certificates(ssl: &Object<'_>) -> Result<()> {
    let defaults = ssl.attribute(c"_ssl")?.call_method(c"get_default_verify_paths", [])?;
    // The name of a variable and a file, the name of a variable and a folder.
    let is_there = defaults.item_at(1)?.as_str().is_ok_and(|path| Path::new(path).exists());
    if is_there { Ok(()) } else { tell(ssl, c"trust_system_certificates") }
}

/// Calls a function of the Python half with a module.
fn tell(module: &Object<'_>, function: &CStr) -> Result<()> {
    PYTHON.get(module.attached(), function)?.call([module]).map(|_| ())
}
