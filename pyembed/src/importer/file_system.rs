//! Paths below the executable, in the file system's own functions.
//!
//! Much code computes a path from `__file__` and opens it. The executable is a regular file, so the kernel
//! answers every path below it with `ENOTDIR`, and no file can ever have one: nothing is hidden when
//! `open`, `os.stat` and a few more then look into the blob. They are asked only after the kernel has said
//! no, so that every other path works as always and costs nothing. What C code opens by itself is out of
//! reach.

use crate::ffi::{Attached, Fallback, Object, Result};

use super::python::{Half, python_half};

static PYTHON: Half = python_half!("file_system.py");

const fn fallback(name: &'static std::ffi::CStr, on_false: bool) -> Fallback {
    Fallback { name, on_false, handler: support_function }
}

/// `open`, of `builtins` and `io`.
static OPEN: Fallback = fallback(c"open", false);

/// `io.open_code`, by which `runpy` reads a script; so do the processes that `multiprocessing` spawns.
static OPEN_CODE: Fallback = fallback(c"open_code", false);

/// Functions of `os`.
static OS: [Fallback; 6] = [
    fallback(c"stat", false),
    fallback(c"lstat", false),
    fallback(c"listdir", false),
    fallback(c"scandir", false),
    fallback(c"open", false),
    fallback(c"access", true),
];

/// They are in a class of their own, by the names of the functions that they stand in for.
fn support_function<'py>(attached: Attached<'py>, name: &std::ffi::CStr) -> Result<Object<'py>> {
    PYTHON.get(attached, c"FileSystem")?.attribute(name)
}

/// Puts `open` and `open_code` in place.
pub(super) fn install(attached: Attached<'_>) -> Result<()> {
    let (builtins, io) = (attached.import(c"builtins")?, attached.import(c"io")?);
    let open = OPEN.object(io.attribute(c"open")?)?;
    builtins.set_attribute(c"open", &open)?;
    io.set_attribute(c"open", &open)?;
    let open_code = OPEN_CODE.object(io.attribute(c"open_code")?)?;
    io.set_attribute(c"open_code", &open_code)?;
    // importlib's own loaders, for modules that plugin systems load by their paths.
    attached.import(c"_io")?.set_attribute(c"open_code", &open_code)
}

/// Puts the functions of `os` in place, once that module has run.
pub(super) fn install_os(os: &Object<'_>) -> Result<()> {
    for function in &OS {
        os.set_attribute(function.name, &function.object(os.attribute(function.name)?)?)?;
    }
    Ok(())
}
