//! Walking whole trees: `ftw` and `nftw`.
//!
//! The C library's own read folders by calls inside of it, which do not come here, so packed trees are walked by these.
//! `fts` is left to the C library, which says `ENOTDIR` of a packed folder: its entries are structures that it makes and
//! changes while the caller holds them, and no code is known that walks packed files so.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;

use libc::{AT_FDCWD, stat as Stat};

use super::interpose::{interpose, or_packed};
use super::tree::Node;
use super::{Place, attributes, errno};

/// Flags of `nftw`, as glibc has them.
const CHANGES_FOLDER: c_int = 4;
const DEPTH_FIRST: c_int = 8;
const OBEYS: c_int = 16;

/// What is told of a file, of a folder before its entries, and of one behind them.
const FILE: c_int = 0;
const FOLDER: c_int = 1;
const FOLDER_LEFT: c_int = 5;

/// What a visit may give where the walk obeys.
const SKIP_SUBTREE: c_int = 2;
const SKIP_SIBLINGS: c_int = 3;

/// `struct FTW`.
#[repr(C)]
pub(crate) struct Position {
    /// Where the name begins in the path.
    base: c_int,
    level: c_int,
}

pub(crate) type Visit =
    unsafe extern "C-unwind" fn(*const c_char, *const Stat, c_int, *mut Position) -> c_int;
pub(crate) type PlainVisit =
    unsafe extern "C-unwind" fn(*const c_char, *const Stat, c_int) -> c_int;

interpose! {
    fn nftw | nftw64(path: *const c_char, visit: Option<Visit>, descriptors: c_int, flags: c_int) -> c_int {
        let start = start_of(path);
        let walk = |place: &Place| {
            let Some(visit) = visit else { return Err(libc::EINVAL) };
            let visit = |path, told, kind, mut position| visit(path, told, kind, &raw mut position);
            walk(place, &start, flags, &visit)
        };
        or_packed(
            real(path, visit, descriptors, flags),
            AT_FDCWD,
            start.as_ptr(),
            walk,
            |path| real(path, visit, descriptors, flags),
        )
    }
}

interpose! {
    fn ftw | ftw64(path: *const c_char, visit: Option<PlainVisit>, descriptors: c_int) -> c_int {
        let start = start_of(path);
        let walk = |place: &Place| {
            let Some(visit) = visit else { return Err(libc::EINVAL) };
            walk(place, &start, 0, &|path, told, kind, _| visit(path, told, kind))
        };
        or_packed(
            real(path, visit, descriptors),
            AT_FDCWD,
            start.as_ptr(),
            walk,
            |path| real(path, visit, descriptors),
        )
    }
}

/// Where a walk starts: slashes at the end of a path say nothing, of a file either.
///
/// # Safety
/// `path` must be a C string.
unsafe fn start_of(path: *const c_char) -> CString {
    // SAFETY: the caller's word.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let len = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    CString::new(&path[..len.max(path.len().min(1))]).unwrap_or_default()
}

/// Walks what lies at a place, which the caller has named by that path: gives the first outcome of a visit that is not 0.
fn walk(
    place: &Place,
    path: &CStr,
    flags: c_int,
    visit: &dyn Fn(*const c_char, *const Stat, c_int, Position) -> c_int,
) -> Result<c_int, c_int> {
    // A packed folder cannot hold the working directory.
    if flags & CHANGES_FOLDER != 0 {
        return Err(libc::ENOTDIR);
    }
    let path = path.to_bytes().to_vec();
    let base = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let mut walk = Walk { path, flags, visit };
    match walk.go(place, base, 0) {
        SKIP_SUBTREE | SKIP_SIBLINGS if walk.obeys() => Ok(0),
        -1 => Err(errno()),
        outcome => Ok(outcome),
    }
}

/// A walk, at the path of what is visited next.
struct Walk<'a> {
    path: Vec<u8>,
    flags: c_int,
    visit: &'a dyn Fn(*const c_char, *const Stat, c_int, Position) -> c_int,
}

impl Walk<'_> {
    fn go(&mut self, place: &Place, base: usize, level: c_int) -> c_int {
        let Node::Folder(folder) = place.node else { return self.tell(place, FILE, base, level) };
        let is_depth_first = self.flags & DEPTH_FIRST != 0;
        if !is_depth_first {
            let outcome = self.tell(place, FOLDER, base, level);
            if outcome != 0 {
                return outcome;
            }
        }
        let (blob, len) = (&place.mount.blob, self.path.len());
        let mut number = folder.first;
        while let Some(entry) = folder.entry(blob, number) {
            self.path.push(b'/');
            self.path.extend_from_slice(entry.name.as_bytes());
            let outcome = match entry.node(blob, &folder, number) {
                Some(node) => self.go(&Place { mount: place.mount, node }, len + 1, level + 1),
                None => 0,
            };
            self.path.truncate(len);
            match outcome {
                0 => {}
                SKIP_SUBTREE if self.obeys() => {}
                SKIP_SIBLINGS if self.obeys() => break,
                outcome => return outcome,
            }
            number = entry.next;
        }
        if is_depth_first { self.tell(place, FOLDER_LEFT, base, level) } else { 0 }
    }

    fn tell(&mut self, place: &Place, kind: c_int, base: usize, level: c_int) -> c_int {
        let told = attributes::of_place(place);
        let base = c_int::try_from(base).unwrap_or(c_int::MAX);
        self.path.push(0);
        let outcome = (self.visit)(
            self.path.as_ptr().cast(),
            ptr::from_ref(&told),
            kind,
            Position { base, level },
        );
        self.path.pop();
        outcome
    }

    /// Whether what a visit gives may say how to go on.
    const fn obeys(&self) -> bool {
        self.flags & OBEYS != 0
    }
}
