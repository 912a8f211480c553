//! Modules that need to be told where they are, once their code has run: nearly all of the standard library.

use std::ffi::CStr;
use std::path::Path;

use super::State;
use super::python::{Half, python_half};
use crate::ffi::{Attached, Function, Kept, Object, Own, Result};

static PYTHON: Half = python_half!("patches.py");

/// To be called with each module that has run.
pub(super) fn apply(name: &str, module: &Object<'_>) -> Result<()> {
    match name {
        "linecache" => read_lines_from_blob(module),
        "bdb" => tell(module, c"name_files_for_debuggers"),
        "importlib.abc" => tell(module, c"register_importer"),
        "importlib.metadata" if State::get().locations.are_some() => {
            tell(module, c"locate_real_files")
        }
        "importlib.resources._common" if cfg!(Py_3_12) => tell(module, c"mend_inferred_caller"),
        "importlib.resources.readers" if cfg!(Py_3_13) => tell(module, c"mend_namespace_reader"),
        "posixpath" if cfg!(Py_3_13) => tell(module, c"let_strict_paths_pass"),
        "ssl" => find_certificates(module),
        "pkg_resources" => tell(module, c"serve_pkg_resources"),
        _ => Ok(()),
    }
}

/// `linecache.updatecache`, before it was replaced.
static UPDATECACHE: Own<Kept> = Own::new();

/// `updatecache(filename, module_globals=None)`: the lines of a file. Code in the blob names its file by its
/// location, which is found in the blob; any other file is where it always is.
static FROM_BLOB: Function = Function {
    name: c"updatecache",
    parameters: &["filename", "module_globals"],
    required: 1,
    body: |attached, arguments| {
        let filename = arguments.required(0);
        let location = match filename.text() {
            Some(name) => source_location(attached, name)?,
            None => None,
        };
        if let Some(location) = location {
            let location = attached.string(location)?;
            return PYTHON.get(attached, c"cache_lines")?.call([filename, &location]);
        }
        let Some(original) = UPDATECACHE.get() else { return attached.list([]) };
        let globals = arguments.optional(1).cloned().unwrap_or_else(|| attached.none());
        original.get(attached).call([filename, &globals])
    },
};

/// Where a file of source lies in the blob, by the name that code has it under.
///
/// That is its location. Much code makes such a relative name absolute first, with the working folder.
fn source_location<'a>(attached: Attached<'_>, name: &'a str) -> Result<Option<&'a str>> {
    let blob = &State::get().blob;
    let is_packed = |name| State::checked(attached, name, blob.file(name)).map(|f| f.is_some());
    if is_packed(name)? {
        return Ok(Some(name));
    }
    let Ok(folder) = std::env::current_dir() else { return Ok(None) };
    let relative = Path::new(name).strip_prefix(folder).ok().and_then(Path::to_str);
    let Some(relative) = relative.filter(|relative| name.len() > relative.len()) else {
        return Ok(None);
    };
    Ok((is_packed(relative)? && !Path::new(name).exists()).then_some(relative))
}

/// Warnings, pdb and others ask for a line by the file's name alone.
fn read_lines_from_blob(linecache: &Object<'_>) -> Result<()> {
    let original = linecache.attribute(c"updatecache")?.keep();
    UPDATECACHE.get_or_set(original);
    linecache.set_attribute(c"updatecache", &FROM_BLOB.object(linecache.attached())?)
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
