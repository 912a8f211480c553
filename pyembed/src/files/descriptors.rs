//! A packed file or folder as a descriptor: an anonymous file in memory (memfd) that says what it stands for by its name.
//!
//! A file's descriptor holds its bytes, has its attributes and cannot be written to, so that reading, seeking and mapping
//! are the kernel's work. A folder's is empty. As the name is the kernel's too, a descriptor is known again however it
//! came here: duplicated, inherited, or from another thread. Opening costs a copy of the file's bytes.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt::Write;
use std::{ptr, slice};

use pyox_blob::layout::Codec;
use pyox_blob::{Blob, File};

use super::text::Text;
use super::tree::{Folder, Node};
use super::{Mount, Place, attributes, errno, mounts};
use crate::{ffi, groups};

/// What the names of our anonymous files begin with; behind it the blob's identity, the kind and the numbers.
const MARK: &str = "pyox:";

/// What the kernel puts in front of the name of an anonymous file.
const IN_MEMORY: &[u8] = b"/memfd:";

/// Flags of `open` that a new descriptor takes over.
const KEPT: c_int = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOATIME;

/// Files from this length on are let go of once they are copied.
const LARGE: usize = 1 << 20;

/// How much is checked and written at a time: what the processor's cache holds is read from memory once.
const PIECE: usize = 256 << 10;

/// Opens what lies at a place, as `open` does with those flags.
pub(super) fn open(place: &Place, flags: c_int) -> Result<c_int, c_int> {
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    if flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0 {
        return Err(libc::EEXIST);
    }
    match place.node {
        Node::Folder(_) if writes || flags & libc::O_CREAT != 0 => Err(libc::EISDIR),
        Node::File { .. } if flags & libc::O_DIRECTORY == libc::O_DIRECTORY => Err(libc::ENOTDIR),
        Node::File { .. } if writes => Err(libc::EROFS),
        _ => {
            let descriptor = filled(place)?;
            Ok(read_only(descriptor, flags & KEPT))
        }
    }
}

/// A descriptor with the bytes and the attributes of a place, at its beginning. It is closed by `exec`.
pub(super) fn filled(place: &Place) -> Result<c_int, c_int> {
    let blob = &place.mount.blob;
    let descriptor = anonymous(&name(place)?)?;
    let filled = match &place.node {
        Node::File { file, .. } => fill(descriptor, blob, file),
        Node::Folder(_) => Ok(()),
    };
    if let Err(number) = filled {
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(descriptor) };
        return Err(number);
    }
    let told = attributes::of_place(place);
    let times = [
        libc::timespec { tv_sec: told.st_atime, tv_nsec: told.st_atime_nsec },
        libc::timespec { tv_sec: told.st_mtime, tv_nsec: told.st_mtime_nsec },
    ];
    // SAFETY: the descriptor is ours and the array has two times. Where it fails, the attributes are the kernel's own.
    unsafe {
        libc::fchmod(descriptor, told.st_mode & 0o777);
        libc::futimens(descriptor, times.as_ptr());
        libc::lseek(descriptor, 0, libc::SEEK_SET);
    }
    Ok(descriptor)
}

/// The packed file or folder that a descriptor stands for.
pub(super) fn place(descriptor: c_int) -> Option<Place> {
    let mut link = Text::new();
    let mut path = Text::new();
    write!(path, "/proc/self/fd/{descriptor}").ok()?;
    let before = errno();
    let (room, size) = link.room();
    // SAFETY: the path is a C string, and the room has that size.
    let len = unsafe { libc::readlink(path.as_ptr(), room, size) };
    super::set_errno(before);
    link.set_len(usize::try_from(len).ok()?);
    let name = std::str::from_utf8(link.as_bytes().strip_prefix(IN_MEMORY)?).ok()?;
    let mut parts = name.strip_prefix(MARK)?.split([':', ' ']);
    let identity = u64::from_str_radix(parts.next()?, 16).ok()?;
    let mount = mounts().find(|mount| mount.identity() == identity)?;
    let kind = parts.next()?;
    let number = parts.next()?.parse().ok()?;
    let node = match kind {
        "file" => Node::numbered(&mount.blob, number).ok()?,
        "folder" => {
            let len = parts.next()?.parse().ok()?;
            Node::Folder(Folder::numbered(&mount.blob, number, len)?)
        }
        _ => return None,
    };
    Some(Place { mount, node })
}

fn name(place: &Place) -> Result<Text, c_int> {
    let mut name = Text::new();
    let identity = place.mount.identity();
    let written = match &place.node {
        Node::File { number, .. } => write!(name, "{MARK}{identity:016x}:file:{number}"),
        Node::Folder(folder) => {
            write!(name, "{MARK}{identity:016x}:folder:{}:{}", folder.first, folder.path.len())
        }
    };
    written.map(|()| name).map_err(|_| libc::ENAMETOOLONG)
}

impl Mount {
    /// What the names of its descriptors have of the blob's digest.
    fn identity(&self) -> u64 {
        let digest = self.blob.digest();
        digest.iter().take(8).fold(0, |identity, byte| identity << 8 | u64::from(*byte))
    }
}

/// An empty file without a name, to read and write.
fn anonymous(name: &Text) -> Result<c_int, c_int> {
    /// Since Linux 6.3, where the system may ask for it; older ones refuse it.
    const EXECUTABLE: c_uint = 0x10;
    for flags in [libc::MFD_CLOEXEC | EXECUTABLE, libc::MFD_CLOEXEC] {
        // SAFETY: a C string.
        let descriptor = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if descriptor >= 0 {
            return Ok(descriptor);
        }
    }
    unnamed_on_disk()
}

/// A file that has lost its name, where anonymous ones are forbidden.
fn unnamed_on_disk() -> Result<c_int, c_int> {
    let wanted = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    let wanted = wanted.as_ref().map(|folder| folder.as_encoded_bytes());
    for folder in wanted.into_iter().chain([&b"/tmp"[..], b"/var/tmp", b"/dev/shm"]) {
        let Some(mut path) = Text::of(folder) else { continue };
        if !path.push(b"/pyox-XXXXXX") {
            continue;
        }
        let (template, _) = path.room();
        // SAFETY: a C string of ours that ends with the six letters that are replaced; then one of a file of ours.
        unsafe {
            let descriptor = libc::mkostemp(template, libc::O_CLOEXEC);
            if descriptor >= 0 {
                libc::unlink(template);
                return Ok(descriptor);
            }
        }
    }
    Err(errno())
}

/// Writes a file's bytes, decoded and checked.
fn fill(descriptor: c_int, blob: &Blob<'static>, file: &File<'static>) -> Result<(), c_int> {
    // Damage is an error of the device, as with any file system.
    let stored = match file.codec {
        Codec::Stored => {
            for piece in blob.stored_pieces(file, PIECE).map_err(|_| libc::EIO)? {
                write(descriptor, piece.map_err(|_| libc::EIO)?)?;
            }
            blob.stored_unchecked(file).map_err(|_| libc::EIO)?
        }
        Codec::Zstd => {
            let stored = blob.stored(file).map_err(|_| libc::EIO)?;
            decompress(descriptor, stored, usize::try_from(file.len).map_err(|_| libc::EIO)?)?;
            stored
        }
        Codec::Grouped => {
            let content = groups::with(|groups| blob.content_of(file, groups));
            return write(descriptor, &content.map_err(|_| libc::EIO)?);
        }
    };
    if stored.len() >= LARGE {
        ffi::let_go(stored);
    }
    Ok(())
}

fn write(descriptor: c_int, mut bytes: &[u8]) -> Result<(), c_int> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are those of a slice.
        let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return Err(errno()),
        }
    }
    Ok(())
}

/// Decompresses right into the file.
fn decompress(descriptor: c_int, stored: &[u8], len: usize) -> Result<(), c_int> {
    let size = libc::off_t::try_from(len).map_err(|_| libc::EFBIG)?;
    // SAFETY: the descriptor is ours.
    if unsafe { libc::ftruncate(descriptor, size) } != 0 {
        return Err(errno());
    }
    let (protection, sharing) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping of a file that is as long, which nobody else knows yet.
    unsafe {
        let start = libc::mmap(ptr::null_mut(), len, protection, sharing, descriptor, 0);
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        let target = slice::from_raw_parts_mut(start.cast::<u8>(), len);
        let done = zstd::bulk::decompress_to_buffer(stored, target);
        libc::munmap(start, len);
        match done {
            Ok(written) if written == len => Ok(()),
            _ => Err(libc::EIO),
        }
    }
}

/// The same file, opened for reading alone; the descriptor as it is where there is no `/proc`.
fn read_only(descriptor: c_int, flags: c_int) -> c_int {
    let mut path = Text::new();
    // It has room.
    let _ = write!(path, "/proc/self/fd/{descriptor}");
    // SAFETY: a C string; both descriptors are ours.
    unsafe {
        let again = libc::open(path.as_ptr(), libc::O_RDONLY | flags);
        if again >= 0 {
            libc::close(descriptor);
            return again;
        }
        let closes = if flags & libc::O_CLOEXEC == 0 { 0 } else { libc::FD_CLOEXEC };
        libc::fcntl(descriptor, libc::F_SETFD, closes);
        libc::fcntl(descriptor, libc::F_SETFL, flags & libc::O_NONBLOCK);
    }
    descriptor
}

/// The flags of `open` for a mode of `fopen` that only reads.
///
/// # Safety
/// `mode` must be a C string.
pub(super) unsafe fn flags_of_mode(mode: *const c_char) -> Result<c_int, c_int> {
    // SAFETY: the caller's word.
    let mode = unsafe { CStr::from_ptr(mode) }.to_bytes();
    // What follows a comma names an encoding.
    let mode = mode.split(|&letter| letter == b',').next().unwrap_or_default();
    if mode.first() != Some(&b'r') || mode.contains(&b'+') {
        return Err(libc::EROFS);
    }
    Ok(if mode.contains(&b'e') { libc::O_RDONLY | libc::O_CLOEXEC } else { libc::O_RDONLY })
}
