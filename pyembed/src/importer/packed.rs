//! A blob and the executable that it belongs to: what it takes to load a shared object, with or without an interpreter.

use std::borrow::Cow;
use std::path::Path;

use pyox_blob::{Blob, Error, File};

use crate::groups;

/// A blob whose files lie below an executable.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) blob: &'a Blob<'static>,
    pub(super) executable: &'a Path,
}

impl Packed<'_> {
    /// A file's bytes, decoded.
    pub(super) fn read(&self, file: &File<'static>) -> Result<Cow<'static, [u8]>, Error> {
        groups::with(|groups| self.blob.content_of(file, groups))
    }

    /// The path of a file below the executable. It is text, whatever the executable's is: CPython 3.12 and 3.13 cannot
    /// load an extension module by any other.
    pub(super) fn path_of(&self, file: &File<'static>) -> String {
        format!("{}/{}", self.executable.to_string_lossy(), file.path)
    }
}
