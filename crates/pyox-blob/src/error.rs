//! What can be wrong with a blob. Every text names the place first, then expected and found.

use std::fmt;

/// Why a blob, or one resource in it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The bytes do not begin with a blob's magic number.
    NotABlob,
    /// A blob of a format this reader does not know.
    Version {
        /// Major version found in the header.
        major: u16,
        /// Minor version found in the header.
        minor: u16,
    },
    /// Fewer bytes than the header promises.
    Truncated {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A required section is not in the table.
    MissingSection(&'static str),
    /// Something points outside its region, or has a value that the format does not allow.
    Malformed(String),
    /// A checksum does not hold.
    Checksum {
        /// Which section, module or file.
        place: String,
        /// The CRC-32 that is recorded.
        expected: u32,
        /// The CRC-32 of the bytes that are there.
        found: u32,
    },
}

impl Error {
    /// The same fault, met while something else was read.
    pub(crate) fn within(self, outer: &str) -> Self {
        match self {
            Self::Malformed(what) => Self::Malformed(format!("{outer}: {what}")),
            Self::Checksum { place, expected, found } => {
                Self::Checksum { place: format!("{outer}: {place}"), expected, found }
            }
            other => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABlob => f.write_str("blob: no pyox blob begins here"),
            Self::Version { major, minor } => write!(
                f,
                "blob: format version {major}.{minor}, but this reader knows versions up to {}.x",
                crate::layout::MAJOR
            ),
            Self::Truncated { expected, found } => {
                write!(f, "blob: truncated: expected {expected} bytes, found {found}")
            }
            Self::MissingSection(name) => write!(f, "blob: section {name} is missing"),
            Self::Malformed(what) => write!(f, "blob: {what}"),
            Self::Checksum { place, expected, found } => {
                write!(
                    f,
                    "blob: {place}: damaged: expected CRC-32 {expected:08x}, found {found:08x}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
