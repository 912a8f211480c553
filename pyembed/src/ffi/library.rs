//! Shared libraries that extension modules need.

use std::ffi::{CStr, CString};

/// Loads a shared library, so that what is loaded later finds it by its SONAME. It is never unloaded.
pub(crate) fn open_library(path: &str) -> Result<(), String> {
    let path = CString::new(path).map_err(|error| error.to_string())?;
    // SAFETY: a C string; the library's constructors are as trusted as the application is.
    unsafe {
        // Python's own flags for extension modules: resolved now, symbols not offered to others.
        if libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL).is_null() {
            return Err(CStr::from_ptr(libc::dlerror()).to_string_lossy().into_owned());
        }
    }
    Ok(())
}
