//! Modules that need to be told where they are, once their code has run. They are few: all else finds files as everywhere.
//!
//! What a module is told in Python stands in a file of the module's name.

use std::path::Path;

use super::python::{Half, python_half};
use super::state::{Root, State};
use crate::ffi::{self, Attached, Object, Result};

static METADATA: Half = python_half!("metadata.py");
static POSIXPATH: Half = python_half!("posixpath.py");
static READERS: Half = python_half!("readers.py");
static SSL: Half = python_half!("ssl.py");

/// To be called with each module that has run.
pub(super) fn apply(name: &str, module: &Object<'_>) -> Result<()> {
    let attached = module.attached();
    match name {
        "importlib.abc" => register_importer(attached, module),
        "importlib.metadata" if State::get().placements.are_some() => METADATA.patch(module),
        "importlib.resources.readers" if cfg!(Py_3_13) => READERS.patch(module),
        "posixpath" if cfg!(Py_3_13) => POSIXPATH.patch(module),
        // Where a start is recorded, the process that begins with the image looks.
        "ssl" if !ffi::is_recording() && !has_certificates(module)? => SSL.patch(module),
        "pkg_resources" => serve_pkg_resources(attached, module),
        _ => Ok(()),
    }
}

/// Makes the importer a subclass of the class whose methods it has, as importlib does with its own.
fn register_importer(attached: Attached<'_>, abc: &Object<'_>) -> Result<()> {
    let importer = State::get().class.get(attached);
    abc.attribute(c"MetaPathFinder")?.call_method(c"register", [&importer]).map(|_| ())
}

/// Teaches setuptools' `pkg_resources`, which knows finders by their types.
fn serve_pkg_resources(attached: Attached<'_>, pkg_resources: &Object<'_>) -> Result<()> {
    let root = Root::get().object.get(attached);
    let finder = pkg_resources.call_method(c"get_importer", [&root])?.attribute(c"__class__")?;
    let find = pkg_resources.attribute(c"find_on_path")?;
    pkg_resources.call_method(c"register_finder", [&finder, &find])?;
    // What it has gathered before it knew.
    pkg_resources.call_method(c"_initialize_master_working_set", [])?;
    Ok(())
}

/// Whether OpenSSL has certificates where its builder had them; elsewhere it has to be told.
fn has_certificates(ssl: &Object<'_>) -> Result<bool> {
    let defaults = ssl.attribute(c"_ssl")?.call_method(c"get_default_verify_paths", [])?;
    // The name of a variable and a file, the name of a variable and a folder.
    Ok(defaults.item_at(1)?.as_str().is_ok_and(|path| Path::new(path).exists()))
}

impl Half {
    /// Calls its `patch` with a module.
    fn patch(&self, module: &Object<'_>) -> Result<()> {
        self.get(module.attached(), c"patch")?.call([module]).map(|_| ())
    }
}
