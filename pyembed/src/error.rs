//! Why an interpreter does not start, and what it has raised.

use std::fmt;
use std::path::PathBuf;

/// Why an interpreter does not start, or what ran in it does not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The executable holds no blob, or not all of it.
    NoBlob,
    /// The blob cannot be used.
    Blob(pyox_blob::Error),
    /// The blob was made for another Python.
    Python {
        /// What the blob is for.
        expected: String,
        /// What is linked in.
        found: String,
    },
    /// A setting that this Python does not have, or a value that it cannot take.
    Setting(String),
    /// The process has an interpreter already, or the rest of one whose start has failed.
    Occupied,
    /// CPython refused to start.
    Start(String),
    /// A blob's file cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What ran has raised an exception.
    Raised(PythonError),
    /// The process is to end with this exit status: `sys.exit` was called, or CPython refused to start and has said why.
    Exit(i32),
}

/// A Python exception that nobody has caught, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PythonError {
    /// The name of its class, such as `ValueError`.
    pub class: String,
    /// What `str()` says of it.
    pub message: String,
    /// What `python` prints of it, over several lines; the last one ends with a line feed.
    pub traceback: String,
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(&self.class),
            message => write!(f, "{}: {message}", self.class),
        }
    }
}

impl std::error::Error for PythonError {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBlob => f.write_str(
                "executable: expected a blob in its section `.pyox_blob`, found none: \
                 this is a runner, or a file that was cut short",
            ),
            Self::Blob(error) => error.fmt(f),
            Self::Python { expected, found } => {
                write!(f, "blob: made for {expected}, but this executable holds {found}")
            }
            Self::Occupied => f.write_str(
                "python: expected a process without an interpreter, found one that runs or has failed to start",
            ),
            Self::Setting(what) => write!(f, "configuration: {what}"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Raised(error) => error.fmt(f),
            Self::Start(why) => write!(f, "python: {why}"),
            Self::Exit(status) => write!(f, "python: exit status {status}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Blob(error) => Some(error),
            Self::File { error, .. } => Some(error),
            Self::Raised(error) => Some(error),
            _ => None,
        }
    }
}

impl From<pyox_blob::Error> for Error {
    fn from(error: pyox_blob::Error) -> Self {
        Self::Blob(error)
    }
}

impl From<crate::ffi::Status> for Error {
    fn from(status: crate::ffi::Status) -> Self {
        match status {
            crate::ffi::Status::Error(why) => Self::Start(why),
            crate::ffi::Status::Exit(status) => Self::Exit(status),
        }
    }
}
