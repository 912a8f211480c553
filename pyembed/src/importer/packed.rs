//! A blob and the executable that it belongs to: what it takes to load a shared object, with or without an interpreter.

use std::borrow::Cow;
use std::path::Path;

use pyox_blob::layout::Codec;
use pyox_blob::{Blob, Error, File};

/// A blob whose files lie below an executable.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) blob: &'a Blob<'static>,
    pub(super) executable: &'a Path,
}

impl Packed<'_> {
    /// A file's bytes, decoded.
    pub(super) fn read(&self, file: &File<'static>) -> Result<Cow<'static, [u8]>, Error> {
        let stored = self.blob.stored(file)?;
        match file.codec {
            Codec::Stored => Ok(Cow::Borrowed(stored)),
            Codec::Zstd => usize::try_from(file.len)
                .map_err(|error| error.to_string())
                .and_then(|len| zstd::bulk::decompress(stored, len).map_err(|e| e.to_string()))
                .map(Cow::Owned)
                .map_err(|error| Error::Malformed(format!("file {}: {error}", file.path))),
        }
    }

    /// The path of a file below the executable. It is text, whatever the executable's is: CPython 3.12 and 3.13 cannot
    /// load an extension module by any other.
    pub(super) fn path_of(&self, file: &File<'static>) -> String {
        format!("{}/{}", self.executable.to_string_lossy(), file.path)
    }
}
