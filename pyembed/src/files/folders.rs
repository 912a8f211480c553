//! Reading folders: `opendir` … `closedir`, and `scandir` and `glob`, which read them for others.
//!
//! A stream of a packed folder is a structure of ours. It is told from the C library's by its first word, where theirs
//! has a descriptor's number, and ours one that no descriptor can have.

use std::ffi::{c_char, c_int, c_long};
use std::ptr;

use libc::{AT_FDCWD, DIR, dirent, dirent64};

use super::interpose::{interpose, or_packed};
use super::tree::{Folder, Node};
use super::{Place, attributes, descriptors, errno, set_errno};

/// The first word of our streams.
const MARK: u64 = 0x7079_6f78_ffff_fffe;

/// Positions of `.` and `..`; the entries of files are behind them, by their numbers.
const THIS: u64 = 0;
const ABOVE: u64 = 1;
const FILES: u64 = 2;

/// A stream of a packed folder.
#[repr(C)]
struct Stream {
    mark: u64,
    place: Place,
    folder: Folder,
    position: u64,
    /// A descriptor of the folder, once there is one.
    descriptor: c_int,
    entry: dirent64,
}

/// A new stream, which takes over the descriptor.
fn stream(place: &Place, descriptor: c_int) -> Result<*mut DIR, c_int> {
    let Node::Folder(folder) = place.node else { return Err(libc::ENOTDIR) };
    // SAFETY: numbers, for which zero is a value.
    let entry = unsafe { std::mem::zeroed() };
    let stream = Stream { mark: MARK, place: *place, folder, position: THIS, descriptor, entry };
    Ok(Box::into_raw(Box::new(stream)).cast())
}

/// Our stream, if it is one.
///
/// # Safety
/// `stream` must be one of the C library's or of ours, which nobody else uses.
unsafe fn ours<'a>(stream: *mut DIR) -> Option<&'a mut Stream> {
    // SAFETY: both kinds are larger than the word, and aligned.
    unsafe {
        let is_ours = !stream.is_null() && stream.cast::<u64>().read() == MARK;
        is_ours.then(|| &mut *stream.cast::<Stream>())
    }
}

impl Stream {
    /// The next entry; null behind the last.
    fn next(&mut self) -> *mut dirent64 {
        let blob = &self.place.mount.blob;
        let own = self.place.node.inode();
        match self.position {
            THIS => self.put(".", true, own, ABOVE),
            ABOVE => self.put("..", true, own, u64::from(self.folder.first) + FILES),
            position => {
                let number = u32::try_from(position - FILES).ok();
                let Some(found) = number.and_then(|number| self.folder.entry(blob, number)) else {
                    return ptr::null_mut();
                };
                let inode = self.inode_of(found.name);
                self.put(found.name, found.is_folder, inode, u64::from(found.next) + FILES);
            }
        }
        &raw mut self.entry
    }

    fn inode_of(&self, name: &str) -> u64 {
        let mut path = super::text::Text::new();
        let folder = self.folder.path;
        let fits = (folder.is_empty() || path.push(folder.as_bytes()) && path.push(b"/"))
            && path.push(name.as_bytes());
        let node =
            path.as_str().filter(|_| fits).map(|path| Node::at(&self.place.mount.blob, path));
        node.and_then(Result::ok).map_or(1, |node| node.inode())
    }

    fn put(&mut self, name: &str, is_folder: bool, inode: u64, next: u64) {
        self.position = next;
        let entry = &mut self.entry;
        entry.d_ino = inode;
        entry.d_off = next.cast_signed();
        entry.d_reclen = u16::try_from(size_of::<dirent64>()).unwrap_or(u16::MAX);
        entry.d_type = if is_folder { libc::DT_DIR } else { libc::DT_REG };
        // No file system has longer names.
        let len = name.len().min(entry.d_name.len() - 1);
        for (to, byte) in entry.d_name.iter_mut().zip(&name.as_bytes()[..len]) {
            // `char` has a sign on some machines.
            *to = libc::c_char::from_ne_bytes([*byte]);
        }
        entry.d_name[len] = 0;
    }
}

interpose! { fn opendir(path: *const c_char) -> *mut DIR {
    or_packed(real(path), AT_FDCWD, path, |place| stream(place, -1), |path| real(path))
} }

interpose! { fn fdopendir(descriptor: c_int) -> *mut DIR {
    let opened = real(descriptor);
    if !opened.is_null() || errno() != libc::ENOTDIR {
        return opened;
    }
    if let Some(place) = descriptors::place(descriptor)
        && let Ok(opened) = stream(&place, descriptor)
    {
        return opened;
    }
    set_errno(libc::ENOTDIR);
    ptr::null_mut()
} }

interpose! { fn closedir(stream: *mut DIR) -> c_int {
    let Some(found) = ours(stream) else { return real(stream) };
    if found.descriptor >= 0 {
        libc::close(found.descriptor);
    }
    found.mark = 0;
    drop(Box::from_raw(ptr::from_mut(found)));
    0
} }

interpose! { fn readdir(stream: *mut DIR) -> *mut dirent {
    match ours(stream) {
        Some(found) => found.next().cast(),
        None => real(stream),
    }
} }
interpose! { fn readdir64(stream: *mut DIR) -> *mut dirent64 {
    match ours(stream) {
        Some(found) => found.next(),
        None => real(stream),
    }
} }
interpose! { fn readdir_r(stream: *mut DIR, entry: *mut dirent, result: *mut *mut dirent) -> c_int {
    let Some(found) = ours(stream) else { return real(stream, entry, result) };
    let next = found.next();
    *result = if next.is_null() { ptr::null_mut() } else { entry };
    if !next.is_null() {
        next.cast::<dirent>().copy_to(entry, 1);
    }
    0
} }
interpose! { fn readdir64_r(stream: *mut DIR, entry: *mut dirent64, result: *mut *mut dirent64) -> c_int {
    let Some(found) = ours(stream) else { return real(stream, entry, result) };
    let next = found.next();
    *result = if next.is_null() { ptr::null_mut() } else { entry };
    if !next.is_null() {
        next.copy_to(entry, 1);
    }
    0
} }

interpose! { fn rewinddir(stream: *mut DIR) -> () {
    match ours(stream) {
        Some(found) => found.position = THIS,
        None => real(stream),
    }
} }
interpose! { fn seekdir(stream: *mut DIR, position: c_long) -> () {
    match ours(stream) {
        Some(found) => found.position = position.cast_unsigned(),
        None => real(stream, position),
    }
} }
interpose! { fn telldir(stream: *mut DIR) -> c_long {
    match ours(stream) {
        Some(found) => found.position.cast_signed(),
        None => real(stream),
    }
} }

interpose! { fn dirfd(stream: *mut DIR) -> c_int {
    let Some(found) = ours(stream) else { return real(stream) };
    if found.descriptor < 0 {
        match descriptors::open(&found.place, libc::O_RDONLY | libc::O_CLOEXEC) {
            Ok(descriptor) => found.descriptor = descriptor,
            Err(number) => {
                set_errno(number);
                return -1;
            }
        }
    }
    found.descriptor
} }

type Chosen = unsafe extern "C" fn(*const dirent64) -> c_int;
type Order = unsafe extern "C" fn(*mut *const dirent64, *mut *const dirent64) -> c_int;

interpose! {
    fn scandir | scandir64(
        path: *const c_char,
        entries: *mut *mut *mut dirent64,
        chosen: Option<Chosen>,
        order: Option<Order>,
    ) -> c_int {
        or_packed(
            real(path, entries, chosen, order),
            AT_FDCWD,
            path,
            |place| scan(place, entries, chosen, order),
            |path| real(path, entries, chosen, order),
        )
    }
}

/// The chosen entries of a packed folder, in memory that the caller frees, as `scandir` gives them.
///
/// # Safety
/// As for `scandir`.
unsafe fn scan(
    place: &Place,
    entries: *mut *mut *mut dirent64,
    chosen: Option<Chosen>,
    order: Option<Order>,
) -> Result<c_int, c_int> {
    let opened = stream(place, -1)?;
    let (mut list, mut len) = (ptr::null_mut::<*mut dirent64>(), 0_usize);
    // SAFETY: the stream is ours until it is closed; what `malloc` gives is large enough for what is written.
    unsafe {
        loop {
            let entry = readdir64::interposed(opened);
            if entry.is_null() {
                break;
            }
            if chosen.is_some_and(|chosen| chosen(entry) == 0) {
                continue;
            }
            let copy = libc::malloc(size_of::<dirent64>()).cast::<dirent64>();
            let longer = libc::realloc(list.cast(), (len + 1) * size_of::<*mut dirent64>());
            if copy.is_null() || longer.is_null() {
                closedir::interposed(opened);
                return Err(libc::ENOMEM);
            }
            list = longer.cast();
            copy.copy_from_nonoverlapping(entry, 1);
            list.add(len).write(copy);
            len += 1;
        }
        closedir::interposed(opened);
        if let Some(order) = order
            && len > 1
        {
            std::slice::from_raw_parts_mut(list, len).sort_by(|one, other| {
                let (mut one, mut other) = (one.cast_const(), other.cast_const());
                order(&raw mut one, &raw mut other).cmp(&0)
            });
        }
        *entries = list;
    }
    c_int::try_from(len).map_err(|_| libc::EOVERFLOW)
}

/// The functions in it are the caller's: `GLOB_ALTDIRFUNC`.
const OWN_FUNCTIONS: c_int = 1 << 9;

/// A `glob_t` of glibc.
#[repr(C)]
pub(crate) struct Globbed {
    count: usize,
    paths: *mut *mut c_char,
    reserved: usize,
    flags: c_int,
    close: unsafe extern "C-unwind" fn(*mut DIR) -> c_int,
    read: unsafe extern "C-unwind" fn(*mut DIR) -> *mut dirent64,
    open: unsafe extern "C-unwind" fn(*const c_char) -> *mut DIR,
    link_status: unsafe extern "C-unwind" fn(*const c_char, *mut libc::stat) -> c_int,
    status: unsafe extern "C-unwind" fn(*const c_char, *mut libc::stat) -> c_int,
}

pub(crate) type Failed = unsafe extern "C" fn(*const c_char, c_int) -> c_int;

// The C library's own calls do not come here, but it takes functions to read folders with.
interpose! {
    fn glob | glob64(pattern: *const c_char, flags: c_int, failed: Option<Failed>, found: *mut Globbed) -> c_int {
        if flags & OWN_FUNCTIONS != 0 || found.is_null() {
            return real(pattern, flags, failed, found);
        }
        (*found).close = closedir::interposed;
        (*found).read = readdir64::interposed;
        (*found).open = opendir::interposed;
        (*found).link_status = attributes::lstat64::interposed;
        (*found).status = attributes::stat64::interposed;
        let outcome = real(pattern, flags | OWN_FUNCTIONS, failed, found);
        (*found).flags &= !OWN_FUNCTIONS;
        outcome
    }
}
