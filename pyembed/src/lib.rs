//! Runs a Python application from memory.
//!
//! A [`PythonConfig`] says what runs and how; a [`MainPythonInterpreter`] is the running interpreter.
//! An executable that pyox linked does no more than this:
//!
//! ```no_run
//! let config = pyembed::PythonConfig::embedded()?;
//! let interpreter = pyembed::MainPythonInterpreter::new(config)?;
//! std::process::exit(interpreter.run());
//! # Ok::<(), pyembed::Error>(())
//! ```
//!
//! # How it starts
//!
//! CPython imports `encodings` and a few more modules before it can do anything. A table of frozen
//! modules that point into the blob serves them, so that nothing is read from the file system; then the
//! importer becomes the first of `sys.meta_path`, and takes over the modules that are there already.
//!
//! # How it imports
//!
//! The importer asks the blob's index for a name, reads the bytecode where it lies in the mapped
//! executable, and runs it. It is a class of static methods, like importlib's own
//! `BuiltinImporter`, and offers all that `importlib.resources`, `importlib.metadata`, `pkgutil`,
//! `runpy`, `inspect` and `linecache` ask of a loader.

#![deny(missing_docs)]

mod child;
mod config;
mod error;
mod ffi;
mod files;
mod groups;
mod importer;
mod interpreter;
mod role;
mod run;
mod snapshot;
mod surroundings;

/// The Python that this crate was compiled for: major and minor version.
pub const PYTHON: (u8, u8) = (3, MINOR);

const MINOR: u8 = if cfg!(Py_3_15) {
    15
} else if cfg!(Py_3_14) {
    14
} else if cfg!(Py_3_13) {
    13
} else if cfg!(Py_3_12) {
    12
} else {
    11
};

pub use config::PythonConfig;
pub use error::{Error, PythonError};
pub use ffi::{BuiltinInit, enter, leave_to_the_system};
pub use interpreter::MainPythonInterpreter;
pub use pyox_blob::config::{Run, Value};
