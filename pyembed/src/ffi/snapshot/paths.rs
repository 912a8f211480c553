//! The path of the executable, in an image: it is another one in each process.
//!
//! The process that is recorded has a path of [`PATH_LEN`] bytes, the longest that a process with the image can have. So all
//! texts that begin with it have room for any other, and are shortened where they stand. A longer path, or one with letters
//! beyond ASCII, cannot stand in such a text: then the executable starts as ever.

use std::collections::BTreeSet;

use pyo3_ffi as c;
use pyox_blob::snapshot::PATH_LEN;

use super::objects::Kind;

/// Where the path stands in an image.
#[derive(Default)]
pub(super) struct Paths {
    /// `str` objects that begin with it, and how many letters follow.
    texts: Vec<(usize, usize)>,
    /// `bytes` objects that do.
    bytes: Vec<(usize, usize)>,
    /// Strings of C that begin with it, of bytes and of wide characters.
    strings: Vec<(usize, usize)>,
    wide: Vec<(usize, usize)>,
}

/// How the folders begin that make the path so long.
const FILLER: &[u8] = b"/rrrrrrrr";

/// What stands in the image instead of the path.
const STAND_IN: u8 = b'~';

impl Paths {
    /// Notes where the path stands in a block, and erases it there. An error tells where it stands otherwise than at the
    /// beginning of a text.
    ///
    /// # Safety
    /// The block must have that capacity, and hold that object, if any.
    pub(super) unsafe fn note(
        &mut self,
        path: &[u8],
        block: usize,
        capacity: usize,
        object: Option<(*mut c::PyObject, Kind)>,
    ) -> Result<(), String> {
        // SAFETY: the caller's word.
        let bytes = unsafe { std::slice::from_raw_parts_mut(super::place::<u8>(block), capacity) };
        match object {
            Some((text, Kind::Text)) => {
                // SAFETY: an object of that kind.
                if let Some((data, len)) = unsafe { ascii(text) }
                    && bytes[data - block..].starts_with(path)
                {
                    self.texts.push((text.expose_provenance(), len - PATH_LEN));
                    bytes[data - block..][..PATH_LEN].fill(STAND_IN);
                }
            }
            Some((object, Kind::Bytes)) if bytes[BYTES..].starts_with(path) => {
                // SAFETY: an object of that kind.
                let len = unsafe { *super::place::<usize>(object.expose_provenance() + 16) };
                self.bytes.push((object.expose_provenance(), len - PATH_LEN));
                bytes[BYTES..][..PATH_LEN].fill(STAND_IN);
            }
            Some(_) => {}
            None if bytes.starts_with(path) => {
                let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(capacity);
                self.strings.push((block, len - PATH_LEN));
                bytes[..PATH_LEN].fill(STAND_IN);
            }
            None => {
                let (letters, _) = bytes.as_chunks_mut::<WIDE>();
                if is_wide(letters, path) {
                    let len = letters.iter().position(|letter| *letter == [0; WIDE]);
                    self.wide.push((block, len.unwrap_or(letters.len()) - PATH_LEN));
                    letters[..PATH_LEN].fill(u32::from(STAND_IN).to_ne_bytes());
                }
            }
        }
        // Such as the folder that it lies in.
        let begin = find(path, FILLER).unwrap_or(path.len());
        if find(bytes, &path[..begin]).is_some() {
            return Err("unfit: it keeps a path within a text, or a folder's".into());
        }
        Ok(())
    }

    /// Puts a path into all places. It must be ASCII, and no longer than [`PATH_LEN`].
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn put(&self, path: &[u8]) {
        let shorter = PATH_LEN - path.len();
        // SAFETY: each place has room for a path of the full length, what follows, and a zero.
        unsafe {
            for &(object, rest) in &self.texts {
                let text: *mut c::PyASCIIObject = super::place(object);
                let Some((data, len)) = ascii(text.cast()) else { continue };
                put_bytes(super::place(data), path, rest);
                (*text).length = (len - shorter).cast_signed();
            }
            for &(object, rest) in &self.bytes {
                put_bytes(super::place(object + BYTES), path, rest);
                super::place::<usize>(object + 16).write(path.len() + rest);
            }
            for &(string, rest) in &self.strings {
                put_bytes(super::place(string), path, rest);
            }
            for &(string, rest) in &self.wide {
                let start: *mut u32 = super::place(string);
                start.add(PATH_LEN).copy_to(start.add(path.len()), rest + 1);
                for (place, byte) in path.iter().enumerate() {
                    start.add(place).write((*byte).into());
                }
            }
        }
    }

    /// The objects that begin with the path.
    pub(super) fn objects(&self) -> BTreeSet<usize> {
        self.texts.iter().chain(&self.bytes).map(|(object, _)| *object).collect()
    }

    /// Forgets what room is not used.
    pub(super) fn complete(&mut self) {
        self.texts.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.strings.shrink_to_fit();
        self.wide.shrink_to_fit();
    }
}

/// Where the bytes of a `bytes` object stand, behind its length and its hash.
const BYTES: usize = 32;

/// The length of a wide character.
const WIDE: usize = 4;

unsafe fn put_bytes(start: *mut u8, path: &[u8], rest: usize) {
    // SAFETY: the caller's word.
    unsafe {
        start.add(PATH_LEN).copy_to(start.add(path.len()), rest + 1);
        start.copy_from_nonoverlapping(path.as_ptr(), path.len());
    }
}

fn is_wide(letters: &[[u8; WIDE]], path: &[u8]) -> bool {
    letters.len() > path.len()
        && letters.iter().zip(path).all(|(a, b)| u32::from_ne_bytes(*a) == u32::from(*b))
}

fn find(bytes: &[u8], path: &[u8]) -> Option<usize> {
    bytes.windows(path.len()).position(|window| window == path)
}

/// The letters of a compact `str` of ASCII: where they stand, and how many they are.
unsafe fn ascii(text: *mut c::PyObject) -> Option<(usize, usize)> {
    // SAFETY: a `str`.
    unsafe {
        let head: *mut c::PyASCIIObject = text.cast();
        let is_compact = (*head).state >> 5 & 1 != 0;
        let is_ascii = (*head).state >> 6 & 1 != 0;
        (is_compact && is_ascii).then(|| {
            (head.add(1).expose_provenance(), usize::try_from((*head).length).unwrap_or(0))
        })
    }
}
