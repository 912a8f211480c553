//! Modules of the standard library that need to be told where they are, once their code has run.

use std::path::Path;

use super::{file_system, native, support};
use crate::ffi::{Object, Result};

/// To be called with each module of the standard library that has run.
pub(super) fn apply(name: &str, module: &Object<'_>) -> Result<()> {
    match name {
        "os" => file_system::install_os(module),
        "ctypes" => native::install_ctypes(module),
        "ssl" => find_certificates(module),
        _ => Ok(()),
    }
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
