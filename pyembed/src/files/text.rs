//! Text of a bounded length that lives on the stack: paths, where nothing may be allocated.

use std::ffi::c_char;
use std::fmt;

/// The longest path that the kernel takes, its terminating zero included.
const SIZE: usize = libc::PATH_MAX as usize;

/// A path that is being put together. There is always room for a terminating zero.
pub(super) struct Text {
    bytes: [u8; SIZE],
    len: usize,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; SIZE], len: 0 }
    }

    /// That text; `None` if it is longer than a path can be.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut text = Self::new();
        text.push(bytes).then_some(text)
    }

    /// Appends bytes; false, and nothing appended, where there is no room.
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        if end >= SIZE {
            return false;
        }
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.bytes[end] = 0;
        self.len = end;
        true
    }

    /// Cuts the text off behind `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.bytes[self.len] = 0;
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// The C string, for as long as the text stays as it is.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    /// Room for a C function to write to, which [`Text::set_len`] then makes the text.
    pub(super) fn room(&mut self) -> (*mut c_char, usize) {
        (self.bytes.as_mut_ptr().cast(), SIZE - 1)
    }

    /// Says how many bytes of the room were written.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(SIZE - 1);
        self.bytes[self.len] = 0;
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}
