//! Packed files, where all code asks for files: behind the functions of the C library.
//!
//! The path of a packed file is `EXECUTABLE/location`. The executable is a regular file, so the kernel answers
//! `ENOTDIR` for each such path, and no real file can ever have one. `pyox-link` puts the functions of this module in the
//! place of the C library's (see [`interpose`]). Each calls the original first, and looks into the blob only after that
//! one error: every other path behaves and costs as ever. CPython, the libraries of wheels and statically linked
//! libraries all arrive here, so they see one read-only file system.
//!
//! | file | holds |
//! |---|---|
//! | [`interpose`] | how a function takes the place of the C library's |
//! | [`resolve`] | from a path to what it means |
//! | [`tree`] | files and folders of a blob |
//! | [`descriptors`] | a packed file or folder as a descriptor |
//! | [`open`], [`attributes`], [`folders`], [`walks`], [`changes`], [`exec`], [`libraries`] | the functions |
//!
//! Nothing here allocates, but for the decompressor, for streams, and where the C function itself does. There are no
//! locks that a forked child could find taken.

#![allow(unsafe_code)]

mod attributes;
mod changes;
mod descriptors;
mod exec;
mod folders;
pub(crate) mod interpose;
mod libraries;
mod open;
mod resolve;
mod text;
mod tree;
mod walks;

use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyox_blob::Blob;

use resolve::Meaning;
use tree::Node;

pub(crate) use attributes::without_links;
pub(crate) use interpose::interpose;
pub(crate) use libraries::{note_failure, prepare};

/// A blob whose files have paths.
pub(crate) struct Mount {
    blob: Blob<'static>,
    /// The path of the executable, as it was started.
    root: CString,
    /// The same path without links, once it was asked for.
    canonical: OnceLock<Option<CString>>,
    /// What the executable is in the file system, once it was asked for.
    executable: OnceLock<Option<libc::stat>>,
    next: Option<&'static Mount>,
}

/// The last of the mounts; each knows the one before. They stay as long as the process.
static LAST: AtomicPtr<Mount> = AtomicPtr::new(ptr::null_mut());

/// What a path below an executable names.
#[derive(Clone, Copy)]
struct Place {
    mount: &'static Mount,
    node: Node,
}

/// Gives the files of a blob paths below an executable's, in the place of those of another blob that had them.
pub(crate) fn mount(blob: Blob<'static>, executable: &Path) {
    let Ok(root) = CString::new(executable.as_os_str().as_bytes()) else { return };
    let mounted = mounts().find(|mount| mount.root == root);
    if mounted.is_some_and(|mount| mount.blob.digest() == blob.digest()) {
        return;
    }
    let mount = Box::leak(Box::new(Mount {
        blob,
        root,
        canonical: OnceLock::new(),
        executable: OnceLock::new(),
        next: mounts().next(),
    }));
    LAST.store(mount, Ordering::Release);
}

/// Forgets all of them, in a process that does nothing any more but to write an image of itself: they know the executable's
/// attributes.
pub(crate) fn unmount() {
    let mut last = LAST.swap(ptr::null_mut(), Ordering::AcqRel);
    while !last.is_null() {
        // SAFETY: `mount` has leaked it, and nobody opens files any more.
        let mount = unsafe { Box::from_raw(last) };
        last = mount.next.map_or(ptr::null_mut(), |next| ptr::from_ref(next).cast_mut());
    }
}

/// The number of the packed file that a path means, in that blob.
pub(crate) fn number_of(blob: &Blob<'static>, path: &CStr) -> Option<u32> {
    match resolve::resolve(libc::AT_FDCWD, path) {
        Meaning::Packed(Place { mount, node: Node::File { number, .. } })
            if mount.blob.digest() == blob.digest() =>
        {
            Some(number)
        }
        _ => None,
    }
}

/// Whether a path means a packed file or folder, or a place below an executable where nothing is.
pub(crate) fn is_packed(folder: c_int, path: &CStr) -> bool {
    if mounts().any(|mount| mount.root.as_c_str() == path) {
        return false;
    }
    // So a packed file is opened in the end.
    let descriptor = path.to_str().ok().and_then(|path| path.strip_prefix("/proc/self/fd/"));
    if let Some(descriptor) = descriptor.and_then(|number| number.parse().ok()) {
        return descriptors::place(descriptor).is_some();
    }
    matches!(resolve::resolve(folder, path), Meaning::Packed(_) | Meaning::Missing(_))
}

fn mounts() -> impl Iterator<Item = &'static Mount> {
    // SAFETY: the pointer is null, or one to a mount that was leaked once it was complete.
    let last = unsafe { LAST.load(Ordering::Acquire).as_ref() };
    std::iter::successors(last, |mount| mount.next)
}

impl Mount {
    /// The executable's attributes, which its files share where they have none of their own.
    fn executable(&self) -> Option<&libc::stat> {
        let ask = || {
            // The path may lead to a newer executable by now.
            attributes::of_program()
                .or_else(|| attributes::of_path(libc::AT_FDCWD, self.root.as_ptr()))
        };
        self.executable.get_or_init(ask).as_ref()
    }

    /// Whether attributes are the executable's.
    fn is_executable(&self, attributes: &libc::stat) -> bool {
        self.executable().is_some_and(|executable| {
            (executable.st_dev, executable.st_ino) == (attributes.st_dev, attributes.st_ino)
        })
    }

    /// The executable's path without links.
    fn canonical(&self) -> &CStr {
        let ask = || attributes::without_links(&self.root);
        self.canonical.get_or_init(ask).as_deref().unwrap_or(&self.root)
    }
}

/// The error of the last call.
fn errno() -> c_int {
    // SAFETY: the C library gives the address of this thread's own variable.
    unsafe { *libc::__errno_location() }
}

fn set_errno(number: c_int) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = number };
}
