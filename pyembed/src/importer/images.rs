//! Shared objects of the blob as files that the dynamic loader can open.
//!
//! The bytes go into an anonymous file in memory (memfd), opened by its name under `/proc/self/fd`, but for code and constants, which
//! the executable's own pages hold. Once the library is loaded the descriptor is closed. Where memfd is forbidden or
//! there is no `/proc`, they go into a private folder of the user's cache, by the blob's digest, which later
//! runs find again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use pyox_blob::layout::Codec;
use rustix::fs::{MemfdFlags, memfd_create};

use super::packed::Packed;
use super::private;
use crate::ffi::{self, LoadedLibrary, Original};

/// How much is copied at a time; pages of the blob that were copied are let go of.
const PIECE: usize = 1 << 20;

/// A file that the dynamic loader can open by its path, for as long as this lives.
pub(super) struct Image {
    path: String,
    memory: Option<File>,
    /// What it was copied from, where the executable's own pages take the place of most of the copy.
    original: Option<Original>,
    completed: OnceLock<Result<(), String>>,
    /// The thread that completes the library, while it does.
    completing: Mutex<Option<ThreadId>>,
}

impl Image {
    fn new(path: String, memory: Option<File>, original: Option<Original>) -> Self {
        let (completed, completing) = (OnceLock::new(), Mutex::new(None));
        Self { path, memory, original, completed, completing }
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// To be called once the loader has loaded the library, by each thread that had it do so: from then on the library can be used.
    pub(super) fn complete(&self, library: LoadedLibrary) -> Result<(), String> {
        let (Some(memory), Some(original)) = (&self.memory, &self.original) else { return Ok(()) };
        let completing = || self.completing.lock().unwrap_or_else(PoisonError::into_inner);
        let this = thread::current().id();
        // A constructor that asks for its own library gets it as it is.
        if *completing() == Some(this) {
            return Ok(());
        }
        let complete = || {
            *completing() = Some(this);
            let completed = original.complete(library, memory);
            *completing() = None;
            completed.map_err(|error| format!("its code cannot be loaded: {error}"))
        };
        self.completed.get_or_init(complete).clone()
    }
}

/// The image of a file.
pub(super) fn of(
    packed: Packed<'_>,
    file: &pyox_blob::File<'static>,
    number: u32,
) -> Result<Image, String> {
    in_memory(packed, file).or_else(|forbidden| {
        // Damaged bytes are damaged everywhere.
        let cause = forbidden.get_ref().and_then(|cause| cause.downcast_ref());
        if let Some(pyox_blob::Error::Checksum { .. } | pyox_blob::Error::Malformed(_)) = cause {
            return Err(forbidden.to_string());
        }
        in_cache(packed, file, number)
            .map_err(|error| cannot_be_loaded(file.path, &forbidden, &error))
    })
}

fn cannot_be_loaded(path: &str, memory: &io::Error, cache: &io::Error) -> String {
    format!("{path}: cannot be loaded: from memory: {memory}; from the cache folder: {cache}")
}

/// The images of shared libraries that need each other.
///
/// A name that a library needs is taken for a path when it has a slash in it. So in these images each
/// other's names are overwritten with the paths of their descriptors. Costs a copy of each library's bytes,
/// and a search in them.
pub(super) fn of_circle(
    packed: Packed<'_>,
    files: &[pyox_blob::File<'static>],
) -> Result<Vec<Image>, String> {
    let mut images = Vec::new();
    for file in files {
        let memory = memfd_create(name_of(file), MemfdFlags::CLOEXEC).map(File::from);
        let memory = memory.map_err(io::Error::from).or_else(|forbidden| {
            unnamed_in_cache(packed)
                .map_err(|error| cannot_be_loaded(file.path, &forbidden, &error))
        })?;
        let path = path_of_circle(memory.as_raw_fd(), name_of(file).len());
        images.push(Image::new(path, Some(memory), None));
    }
    for (file, image) in files.iter().zip(&images) {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.path);
        let bytes = packed.read(file).map_err(|error| error.to_string())?;
        let mut bytes = bytes.into_owned();
        for (other, needed) in files.iter().zip(&images) {
            if other.path != file.path {
                replace_name(&mut bytes, name_of(other), &needed.path)
                    .map_err(|error| fail(&error))?;
            }
        }
        if let Some(mut memory) = image.memory.as_ref() {
            memory.write_all(&bytes).map_err(|error| fail(&error))?;
        }
    }
    Ok(images)
}

/// A path of a descriptor that no image of a circle had before, at most as long as the name that it takes the place of
/// if that is possible: the loader would take an equal path for the library that was loaded by it.
fn path_of_circle(descriptor: i32, room: usize) -> String {
    static USED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    // Any number of slashes is one. Three gaps hold them, fewest first.
    let spelled = (0..).flat_map(|extra: usize| {
        (0..=extra)
            .flat_map(move |one| (0..=extra - one).map(move |two| [one, two, extra - one - two]))
    });
    let mut paths = spelled.map(|[one, two, three]| {
        let gap = |extra| "/".repeat(1 + extra);
        format!("/proc{}self{}fd{}{descriptor}", gap(one), gap(two), gap(three))
    });
    let unused =
        paths.by_ref().take_while(|path| path.len() <= room).find(|path| !used.contains(path));
    let path = unused.unwrap_or_else(|| format!("/proc/self/fd/{descriptor}"));
    used.insert(path.clone());
    path
}

/// A file of the private folder that has lost its name, in place of one in memory.
fn unnamed_in_cache(packed: Packed<'_>) -> io::Result<File> {
    private::within(&folder_name(packed), |folder| {
        let (path, file) = private::temporary(folder, ".unnamed-", 0o700)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

/// Overwrites each string `name` in a shared object with a shorter one.
fn replace_name(bytes: &mut [u8], name: &str, with: &str) -> Result<(), String> {
    if with.len() > name.len() {
        return Err(format!(
            "libraries that need each other need names as long as {with}: give its package real files, \
             by --placement"
        ));
    }
    let mut string = vec![0];
    string.extend_from_slice(name.as_bytes());
    string.push(0);
    let mut start = 0;
    while let Some(found) = bytes[start..].windows(string.len()).position(|part| part == string) {
        let at = start + found + 1;
        bytes[at..at + name.len()].fill(0);
        bytes[at..at + with.len()].copy_from_slice(with.as_bytes());
        start = at + name.len();
    }
    Ok(())
}

/// As an anonymous file.
fn in_memory(packed: Packed<'_>, file: &pyox_blob::File<'static>) -> io::Result<Image> {
    let memory = File::from(memfd_create(name_of(file), MemfdFlags::CLOEXEC)?);
    let path = descriptor_path(memory.as_raw_fd());
    // Without /proc there is no such path.
    fs::metadata(&path)?;
    let bytes = packed.blob.stored_unchecked(file).ok().filter(|_| file.codec == Codec::Stored);
    let original = bytes.and_then(Original::of);
    if let Some(original) = &original {
        let mut start = 0;
        each_piece(packed, file, |piece| {
            original.copy(start, piece, &memory)?;
            start += piece.len();
            Ok(())
        })?;
        original.finish(&memory)?;
    } else {
        copy(packed, file, &memory)?;
    }
    Ok(Image::new(path, Some(memory), original))
}

/// As a file of a private folder, which is made when it is missing and verified when it is not.
fn in_cache(packed: Packed<'_>, file: &pyox_blob::File<'static>, number: u32) -> io::Result<Image> {
    let path = private::within(&folder_name(packed), |folder| {
        let path = folder.join(format!("{number}-{}", name_of(file)));
        if !holds(packed, &path, file) {
            let (temporary, target) = private::temporary(folder, &format!(".{number}-"), 0o500)?;
            copy(packed, file, &target)
                .and_then(|()| fs::rename(&temporary, &path))
                .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        }
        Ok(path)
    })?;
    let path = path.into_os_string().into_string();
    let path = path.map_err(|_| io::Error::other("expected a cache folder in UTF-8"))?;
    Ok(Image::new(path, None, None))
}

/// The blob's digest.
fn folder_name(packed: Packed<'_>) -> String {
    packed.blob.digest().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a file holds the bytes that it should.
pub(super) fn holds(packed: Packed<'_>, path: &Path, file: &pyox_blob::File<'static>) -> bool {
    let compare = || -> Option<bool> {
        let mut there = File::open(path).ok()?;
        if there.metadata().ok()?.len() != file.len {
            return Some(false);
        }
        let mut buffer = vec![0; PIECE];
        let mut same = true;
        each_piece(packed, file, |piece| {
            for part in piece.chunks(PIECE) {
                let buffer = &mut buffer[..part.len()];
                there.read_exact(buffer)?;
                same &= buffer == part;
            }
            Ok(())
        })
        .ok()?;
        Some(same)
    };
    compare() == Some(true)
}

/// Writes a file's bytes, decoded; on an error what has been written is not to be used.
pub(super) fn copy(
    packed: Packed<'_>,
    file: &pyox_blob::File<'static>,
    mut target: &File,
) -> io::Result<()> {
    each_piece(packed, file, |piece| target.write_all(piece))
}

/// Hands out a file's bytes, decoded, piece by piece; an error means that none of them may be used.
fn each_piece(
    packed: Packed<'_>,
    file: &pyox_blob::File<'static>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if file.codec != Codec::Stored {
        return take(&packed.read(file).map_err(io::Error::other)?);
    }
    for piece in packed.blob.stored_pieces(file, PIECE).map_err(io::Error::other)? {
        let piece = piece.map_err(io::Error::other)?;
        take(piece)?;
        ffi::let_go(piece);
    }
    Ok(())
}

pub(super) fn name_of(file: &pyox_blob::File<'static>) -> &'static str {
    file.path.rsplit('/').next().unwrap_or(file.path)
}

/// The path of a descriptor, spelled differently each time.
///
/// The loader takes two equal paths for one library, but a descriptor's number comes back once it is
/// closed. So the path spells a number in binary: `//` for 0, `/./` for 1.
fn descriptor_path(descriptor: i32) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut path = String::from("/proc/self/fd");
    for bit in (0..u32::BITS - number.leading_zeros()).rev() {
        path.push_str(if number >> bit & 1 == 1 { "/./" } else { "//" });
    }
    path.push('/');
    path.push_str(&descriptor.to_string());
    path
}
