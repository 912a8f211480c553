//! The `main` of an executable that pyox links: start what the blob says, and leave with its status.
//!
//! It is a static library of its own so that `pyembed` can be linked into programs that have a `main`.

// The one thing here that the compiler cannot check is that nobody else defines these symbols.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use pyembed::{Error, MainPythonInterpreter, PythonConfig};

/// Where C's start-up code enters.
///
/// Rust's standard library has noted the command line before, in `.init_array`, so that
/// `std::env::args_os` knows it although Rust's own `main` is not there.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    match PythonConfig::embedded().and_then(MainPythonInterpreter::new) {
        Ok(interpreter) => interpreter.run(),
        Err(Error::Exit(status)) => status,
        Err(error) => {
            let program = std::env::args_os().next().unwrap_or_default();
            let name = std::path::Path::new(&program).file_name().unwrap_or(&program);
            eprintln!("{}: error: {error}", name.display());
            2
        }
    }
}
