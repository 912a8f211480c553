//! Modules of the standard library that need to be told where they are, once their code has run.

use std::path::Path;
use std::sync::OnceLock;

use super::{State, file_system, hooks, native, support};
use crate::ffi::{Function, Kept, Object, Result};

/// To be called with each module of the standard library that has run.
pub(super) fn apply(name: &str, module: &Object<'_>) -> Result<()> {
    match name {
        "os" => file_system::install_os(module),
        "ctypes" => native::install_ctypes(module),
        "linecache" => read_lines_from_blob(module),
        "importlib.resources.readers" if cfg!(Py_3_13) => {
            support(module.attached(), c"mend_namespace_reader")?.call([module]).map(|_| ())
        }
        "threading" => hooks::install_threading(module),
        "ssl" => find_certificates(module),
        _ => Ok(()),
    }
}

/// `linecache.updatecache`, before it was replaced.
static UPDATECACHE: OnceLock<Kept> = OnceLock::new();

/// `updatecache(filename, module_globals=None)`: the lines of a file. Code in the blob names its file by its
/// location, which is found in the blob; any other file is where it always is.
static FROM_BLOB: Function = Function {
    name: c"updatecache",
    parameters: &["filename", "module_globals"],
    required: 1,
    body: |attached, arguments| {
        let filename = arguments.required(0);
        let packed = match filename.as_str() {
            Ok(name) => State::checked(attached, name, State::get().blob.file(name))?.is_some(),
            Err(raised) => {
                drop(attached.take(raised));
                false
            }
        };
        if packed {
            return support(attached, c"cache_lines")?.call([filename]);
        }
        let Some(original) = UPDATECACHE.get() else { return attached.list([]) };
        let globals = arguments.optional(1).cloned().unwrap_or_else(|| attached.none());
        original.get(attached).call([filename, &globals])
    },
};

/// Warnings, pdb and others ask for a line by the file's name alone.
fn read_lines_from_blob(linecache: &Object<'_>) -> Result<()> {
    let original = linecache.attribute(c"updatecache")?.keep();
    UPDATECACHE.get_or_init(|| original);
    linecache.set_attribute(c"updatecache", &FROM_BLOB.object(linecache.attached())?)
}

/// OpenSSL looks for certificates where its builder had them; elsewhere it has to be told.
fn find_certificates(ssl: &Object<'_>) -> Result<()> {
    let defaults = ssl.attribute(c"_ssl")?.call_method(c"get_default_verify_paths", [])?;
    // The name of a variable and a file, the name of a variable and a folder.
    for place in [1, 3] {
        let path = defaults.item_at(place)?;
        if path.as_str().is_ok_and(|path| Path::new(path).exists()) {
            return Ok(());
        }
    }
    support(ssl.attached(), c"trust_system_certificates")?.call([ssl]).map(|_| ())
}
