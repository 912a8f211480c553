//! Why an interpreter does not start.

use std::fmt;

/// Why an interpreter does not start.
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
    /// CPython wants the process to end with this exit status; it has said why.
    Exit(i32),
}

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
            Self::Start(why) => write!(f, "python: {why}"),
            Self::Exit(status) => write!(f, "python: exit status {status}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Blob(error) => Some(error),
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
