//! Shared objects of the blob as files that the dynamic loader can open.
//!
//! The bytes go into an anonymous file in memory (memfd), opened by its name under `/proc/self/fd`. Once the
//! library is loaded the descriptor is closed, and most of the copy is given back. Where that is forbidden or there is no `/proc`, they go into
//! a private folder of the user's cache, by the blob's digest, which later runs find again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pyox_blob::layout::Codec;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{State, private};
use crate::ffi::{self, Attached, LoadedLibrary, Result};

/// How much is copied at a time; pages of the blob that were copied are let go of.
const PIECE: usize = 1 << 20;

/// A path that the dynamic loader can open, for as long as this lives.
///
/// To be dropped once the library is loaded. It then goes by its path below the executable, and where it was
/// copied as it is, the executable's own pages take the place of the copy.
#[derive(Debug)]
pub(super) struct Image {
    path: String,
    copies: Vec<Copy>,
}

/// The copy of a library in memory.
#[derive(Debug)]
struct Copy {
    number: u32,
    memory: File,
    path: String,
    is_verbatim: bool,
}

impl Image {
    /// The path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = paths.get_or_insert_default();
        for copy in &self.copies {
            match copy.settle() {
                Some(name) => paths.insert(copy.number, name.into()),
                None => paths.remove(&copy.number),
            };
        }
    }
}

impl Copy {
    /// Gives the library, if it was loaded, the name that is returned.
    fn settle(&self) -> Option<String> {
        let library = LoadedLibrary::find(&self.path)?;
        let state = State::get();
        let file = state.blob.file_at(self.number).ok()?;
        let name = format!("{}/{}", state.root, file.path);
        library.rename(&name);
        if self.is_verbatim
            && let Ok(bytes) = state.blob.stored_unchecked(&file)
        {
            library.share(bytes, &self.memory);
        }
        Some(name)
    }
}

/// Paths of what has been loaded, by the numbers of the file records.
static PATHS: Mutex<Option<HashMap<u32, Arc<str>>>> = Mutex::new(None);

/// The image of a file. `module` is who wants it, for the message.
pub(super) fn of(attached: Attached<'_>, module: &str, number: u32) -> Result<Image> {
    let state = State::get();
    let file = state.file(attached, module, number)?;
    if let Some(path) = state.locations.path(attached, &file)? {
        return Ok(Image { path, copies: Vec::new() });
    }
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    let paths = paths.get_or_insert_default();
    if let Some(path) = paths.get(&number) {
        return Ok(Image { path: path.to_string(), copies: Vec::new() });
    }
    let image = in_memory(&file, number).or_else(|forbidden| {
        in_cache(&file, number).map_err(|error| {
            let what = format!(
                "{}: cannot be loaded: from memory: {forbidden}; from the cache folder: {error}",
                file.path
            );
            attached.raise_import_error(&what, module)
        })
    })?;
    paths.insert(number, image.path.as_str().into());
    Ok(image)
}

/// Whether a file's image has been made.
pub(super) fn is_loaded(number: u32) -> bool {
    let paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    paths.as_ref().is_some_and(|paths| paths.contains_key(&number))
}

/// The image of the first of some files, shared libraries that need each other.
///
/// A name that a library needs is taken for a path when it has a slash in it. So in these images each
/// other's names are overwritten with the paths of their descriptors. Costs a copy of each library's bytes,
/// and a search in them.
pub(super) fn of_circle(attached: Attached<'_>, module: &str, numbers: &[u32]) -> Result<Image> {
    let state = State::get();
    let mut members = Vec::new();
    let fail = |name: &str, error: &dyn std::fmt::Display| {
        let what = format!("{name}: cannot be loaded from memory: {error}");
        attached.raise_import_error(&what, module)
    };
    for &number in numbers {
        let file = state.file(attached, module, number)?;
        let memory = memfd_create(name_of(&file), MemfdFlags::CLOEXEC).map(File::from);
        let memory = memory.map_err(|error| fail(file.path, &error))?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        members.push((number, file, memory, path));
    }
    for (number, file, memory, _) in &members {
        let mut bytes = State::checked(attached, module, state.read(file))?.into_owned();
        for (other, needed, _, path) in &members {
            if other != number {
                replace_name(&mut bytes, name_of(needed), path)
                    .map_err(|error| fail(file.path, &error))?;
            }
        }
        let mut memory: &File = memory;
        memory.write_all(&bytes).map_err(|error| fail(file.path, &error))?;
    }
    let mut paths = PATHS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = members.first().map(|(.., path)| path.clone()).unwrap_or_default();
    let copies = members.into_iter().map(|(number, _, memory, path)| {
        paths.get_or_insert_default().insert(number, path.as_str().into());
        Copy { number, memory, path, is_verbatim: false }
    });
    Ok(Image { path, copies: copies.collect() })
}

/// Overwrites each string `name` in a shared object with a shorter one.
fn replace_name(bytes: &mut [u8], name: &str, with: &str) -> Result<(), String> {
    if with.len() > name.len() {
        return Err(format!("expected a library with a name as long as {with}, got {name}"));
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
fn in_memory(file: &pyox_blob::File<'static>, number: u32) -> io::Result<Image> {
    let memory = File::from(memfd_create(name_of(file), MemfdFlags::CLOEXEC)?);
    copy(file, &memory)?;
    let path = descriptor_path(memory.as_raw_fd(), number);
    // Without /proc there is no such path.
    fs::metadata(&path)?;
    let is_verbatim = file.codec == Codec::Stored;
    let copy = Copy { number, memory, path: path.clone(), is_verbatim };
    Ok(Image { path, copies: vec![copy] })
}

/// As a file of a private folder, which is made when it is missing and verified when it is not.
fn in_cache(file: &pyox_blob::File<'static>, number: u32) -> io::Result<Image> {
    let digest = State::get().blob.digest();
    let digest = digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let path = private::within(&digest, |folder| {
        let path = folder.join(format!("{number}-{}", name_of(file)));
        if !holds(&path, file) {
            let temporary = folder.join(format!(".{number}-{}", std::process::id()));
            let _ = fs::remove_file(&temporary);
            let target =
                File::options().write(true).create_new(true).mode(0o500).open(&temporary)?;
            copy(file, &target)
                .and_then(|()| fs::rename(&temporary, &path))
                .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        }
        Ok(path)
    })?;
    let path = path.into_os_string().into_string();
    let path = path.map_err(|_| io::Error::other("expected a cache folder in UTF-8"))?;
    Ok(Image { path, copies: Vec::new() })
}

/// Whether a file holds the bytes that it should.
pub(super) fn holds(path: &Path, file: &pyox_blob::File<'static>) -> bool {
    let compare = || -> Option<bool> {
        let mut there = File::open(path).ok()?;
        if there.metadata().ok()?.len() != file.len {
            return Some(false);
        }
        let mut buffer = vec![0; PIECE];
        let mut same = true;
        each_piece(file, |piece| {
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
pub(super) fn copy(file: &pyox_blob::File<'static>, mut target: &File) -> io::Result<()> {
    each_piece(file, |piece| target.write_all(piece))
}

/// Hands out a file's bytes, decoded, piece by piece; an error means that none of them may be used.
fn each_piece(
    file: &pyox_blob::File<'static>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let state = State::get();
    if file.codec != Codec::Stored {
        return take(&state.read(file).map_err(io::Error::other)?);
    }
    for piece in state.blob.stored_pieces(file, PIECE).map_err(io::Error::other)? {
        let piece = piece.map_err(io::Error::other)?;
        take(piece)?;
        ffi::let_go(piece);
    }
    Ok(())
}

fn name_of(file: &pyox_blob::File<'static>) -> &'static str {
    file.path.rsplit('/').next().unwrap_or(file.path)
}

/// The path of a descriptor, spelled differently for each file.
///
/// The loader takes two equal paths for one library, but a descriptor's number comes back once it is
/// closed; so the record's number is written into the path, in zeroes and ones of its own kind.
fn descriptor_path(descriptor: i32, number: u32) -> String {
    let mut path = String::from("/proc/self/fd");
    for bit in (0..u32::BITS - number.leading_zeros()).rev() {
        path.push_str(if number >> bit & 1 == 1 { "/./" } else { "//" });
    }
    path.push('/');
    path.push_str(&descriptor.to_string());
    path
}
