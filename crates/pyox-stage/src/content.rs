//! What a file holds: mapped where it is large, read where it is not.
//!
//! A blob may have gigabytes. Mapped, it costs no memory of its own, and is read once, when its checksums are. Whoever replaces the
//! file, as all stages do, changes nothing of a mapping.

// A mapping changes with its file, which the compiler knows nothing of.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::Seek;
use std::ops::Deref;

use memmap2::Mmap;

/// From this length on a mapping costs less than a copy.
const LEAST_MAPPED: u64 = 1 << 20;

/// The bytes of a file, or others that take their place.
///
/// They are as they were when it was opened as long as nobody writes into the file. One that is cut ends the process by
/// `SIGBUS`; the command line of pyox says so in a line.
pub struct Content {
    held: Held,
    /// Where what is wanted begins.
    start: usize,
}

enum Held {
    Read(Vec<u8>),
    Mapped(Mmap),
}

impl Content {
    /// What a user is told of one that is cut. A system call that reads it fails, and all else ends by the signal.
    pub const CUT: &str =
        "a file became shorter while it was read: run it again when nobody writes to it";

    /// Maps a plain file that nothing was read of yet, if it is worth it.
    pub(crate) fn map(mut file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        let is_fresh = metadata.is_file() && file.stream_position().ok()? == 0;
        if !is_fresh || metadata.len() < LEAST_MAPPED {
            return None;
        }
        // SAFETY: nothing relies on two reads of a byte being the same: all that is read through it is bounded by slices of the
        // mapping's length. A file that is cut ends the process.
        let mapping = unsafe { Mmap::map(file) }.ok()?;
        Some(Self { held: Held::Mapped(mapping), start: 0 })
    }

    /// The same without its first bytes; with none, if it has not so many.
    #[must_use]
    pub fn skip(mut self, len: usize) -> Self {
        self.start += self.len().min(len);
        self
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self { held: Held::Read(bytes), start: 0 }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.held {
            Held::Read(bytes) => bytes,
            Held::Mapped(mapping) => mapping,
        };
        &all[self.start..]
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Content({} bytes)", self.len())
    }
}
