//! Files and folders of a blob. The records are sorted by path, so a folder is a run of them.

use std::ffi::c_int;

use pyox_blob::layout::{self, Codec, FileKind};
use pyox_blob::{Blob, File};

use super::text::Text;

/// What there is at a location.
#[derive(Clone, Copy)]
pub(super) enum Node {
    File { number: u32, file: File<'static> },
    Folder(Folder),
}

/// A folder: all files whose paths begin with its own.
#[derive(Clone, Copy)]
pub(super) struct Folder {
    /// Its path without a slash at the end; empty for the one at the top.
    pub(super) path: &'static str,
    /// The number of the first file in it.
    pub(super) first: u32,
}

/// Something in a folder.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) is_folder: bool,
    /// The number of the file behind it.
    pub(super) next: u32,
}

impl Node {
    /// What lies at a location without `.`, `..` and empty parts; otherwise the error that a file system has.
    pub(super) fn at(blob: &Blob<'static>, location: &str) -> Result<Self, c_int> {
        match blob.file_number(location) {
            Ok(Some(number)) => return Self::numbered(blob, number),
            Ok(None) => {}
            Err(_) => return Err(libc::EIO),
        }
        let folder = Folder::at(blob, location)?;
        folder.map(Self::Folder).ok_or_else(|| absence(blob, location))
    }

    /// The file of a number.
    pub(super) fn numbered(blob: &Blob<'static>, number: u32) -> Result<Self, c_int> {
        let file = blob.file_at(number).map_err(|_| libc::EIO)?;
        Ok(Self::File { number, file })
    }

    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::File { file, .. } => file.path,
            Self::Folder(folder) => folder.path,
        }
    }

    /// A number that no other file or folder of the blob is likely to have.
    pub(super) fn inode(&self) -> u64 {
        layout::hash(self.path().as_bytes()) >> 1 | 1
    }
}

impl Folder {
    fn at(blob: &Blob<'static>, location: &str) -> Result<Option<Self>, c_int> {
        if location.is_empty() {
            return Ok(Some(Self { path: "", first: 0 }));
        }
        let mut prefix = Text::of(location.as_bytes()).ok_or(libc::ENAMETOOLONG)?;
        if !prefix.push(b"/") {
            return Err(libc::ENAMETOOLONG);
        }
        let prefix = prefix.as_str().ok_or(libc::ENOENT)?;
        let first = blob.first_file_from(prefix);
        let found = blob.file_at(first).ok().filter(|file| file.path.starts_with(prefix));
        Ok(found.map(|file| Self { path: &file.path[..location.len()], first }))
    }

    /// The folder whose path is the first `len` bytes of that of its first file.
    pub(super) fn numbered(blob: &Blob<'static>, first: u32, len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self { path: "", first });
        }
        let path = blob.file_at(first).ok()?.path;
        (path.as_bytes().get(len) == Some(&b'/')).then(|| Self { path: &path[..len], first })
    }

    /// What stands at a number in the folder; none behind its end.
    pub(super) fn entry(&self, blob: &Blob<'static>, number: u32) -> Option<Entry> {
        let path = blob.file_at(number).ok()?.path;
        let rest = match self.path {
            "" => path,
            folder => path.strip_prefix(folder)?.strip_prefix('/')?,
        };
        let Some((name, _)) = rest.split_once('/') else {
            return Some(Entry { name: rest, is_folder: false, next: number + 1 });
        };
        // `0` follows `/`: past everything in that folder. Damaged records may be in any order; the walk still ends.
        let mut behind = Text::of(&path.as_bytes()[..path.len() - rest.len() + name.len()])?;
        let next = if behind.push(b"0") {
            behind.as_str().map(|from| blob.first_file_from(from))
        } else {
            None
        };
        Some(Entry { name, is_folder: true, next: next?.max(number + 1) })
    }
}

impl Entry {
    /// What it names in the folder that has it at a number.
    pub(super) fn node(&self, blob: &Blob<'static>, folder: &Folder, number: u32) -> Option<Node> {
        if !self.is_folder {
            return Node::numbered(blob, number).ok();
        }
        let above = if folder.path.is_empty() { 0 } else { folder.path.len() + 1 };
        Folder::numbered(blob, number, above + self.name.len()).map(Node::Folder)
    }
}

/// Why there is nothing at a location: a part of it is a file, or missing.
fn absence(blob: &Blob<'static>, location: &str) -> c_int {
    let mut folders = location.match_indices('/').map(|(end, _)| &location[..end]);
    let in_file = folders.any(|folder| matches!(blob.file_number(folder), Ok(Some(_))));
    if in_file { libc::ENOTDIR } else { libc::ENOENT }
}

/// Whether the kernel can run a file: a program, or a script that names its interpreter. Programs are stored as they are.
pub(super) fn is_program(blob: &Blob<'static>, file: &File<'static>) -> bool {
    file.kind == FileKind::Data
        && file.codec == Codec::Stored
        && blob.stored_unchecked(file).is_ok_and(layout::is_program)
}
