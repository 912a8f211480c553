//! What a packed file or folder is: `stat` and its family, `access`, `readlink`, `realpath`, extended attributes.
//!
//! Owner, device and times are the executable's. The modes are those of installed files, because they are copied with
//! them; that the file system is read-only is told by `access` and by every attempt.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{AT_FDCWD, mode_t, stat as Stat, statfs as StatFs, statvfs as StatVfs, statx as StatX};

use super::interpose::{interpose, or_packed};
use super::text::Text;
use super::tree::{self, Node};
use super::{Place, descriptors, errno, set_errno};
use crate::ffi;

/// The attributes of what lies at a place.
pub(super) fn of_place(place: &Place) -> Stat {
    // SAFETY: numbers, for which zero is a value.
    let mut told: Stat = unsafe { MaybeUninit::zeroed().assume_init() };
    if let Some(executable) = place.mount.executable() {
        told = *executable;
    }
    told.st_ino = place.node.inode();
    told.st_rdev = 0;
    told.st_blksize = 4096;
    match &place.node {
        Node::File { file, .. } => {
            let program = tree::is_program(&place.mount.blob, file);
            told.st_mode = libc::S_IFREG | if program { 0o755 } else { 0o644 };
            told.st_nlink = 1;
            told.st_size = file.len.try_into().unwrap_or(i64::MAX);
        }
        Node::Folder(_) => {
            told.st_mode = libc::S_IFDIR | 0o755;
            told.st_nlink = 2;
            told.st_size = 0;
        }
    }
    told.st_blocks = told.st_size / 512 + i64::from(told.st_size % 512 != 0);
    told
}

/// The attributes of a real file, whose last link is followed.
pub(super) fn of_path(folder: c_int, path: *const c_char) -> Option<Stat> {
    let before = errno();
    let mut told = MaybeUninit::uninit();
    // SAFETY: a C string, and room for the attributes, which the kernel fills where it gives 0.
    unsafe {
        let done = libc::syscall(libc::SYS_newfstatat, folder, path, told.as_mut_ptr(), 0);
        set_errno(before);
        (done == 0).then(|| told.assume_init())
    }
}

/// The attributes of the program that runs here. The link to it is opened, because an emulator shows its own program to those
/// who ask for the attributes of what the link means.
pub(super) fn of_program() -> Option<Stat> {
    let before = errno();
    let mut told = MaybeUninit::uninit();
    // SAFETY: a C string, and room for the attributes, which the kernel fills where it gives 0. The descriptor is closed; a
    // number that is none is an error for both.
    unsafe {
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let link = c"/proc/self/exe".as_ptr();
        let opened = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, link, flags);
        let done = libc::syscall(libc::SYS_fstat, opened, told.as_mut_ptr());
        libc::syscall(libc::SYS_close, opened);
        set_errno(before);
        (done == 0).then(|| told.assume_init())
    }
}

/// A real path without links.
pub(crate) fn without_links(path: &CStr) -> Option<CString> {
    // SAFETY: a C string; what comes back was allocated for the caller.
    unsafe {
        let found = libc::realpath(path.as_ptr(), ptr::null_mut());
        (!found.is_null()).then(|| {
            let plain = CStr::from_ptr(found).to_owned();
            libc::free(found.cast());
            plain
        })
    }
}

/// Serves a call for the attributes of a path.
///
/// # Safety
/// `path` must be null or a C string, and `to` have room for the attributes.
unsafe fn told(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    to: *mut Stat,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        or_packed(
            outcome,
            folder,
            path,
            |place| {
                to.write(of_place(place));
                Ok(0)
            },
            |path| fstatat::real(folder, path, to, flags),
        )
    }
}

/// Puts the attributes of a packed file in the place of those of the anonymous file that stands for it.
///
/// # Safety
/// `to` must hold the attributes where `outcome` is 0.
unsafe fn told_of_descriptor(outcome: c_int, descriptor: c_int, to: *mut Stat) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        if outcome == 0
            && is_anonymous((*to).st_mode, (*to).st_nlink)
            && let Some(place) = descriptors::place(descriptor)
        {
            to.write(of_place(&place));
        }
        outcome
    }
}

/// Whether attributes can be those of a descriptor of ours: a file without a name.
fn is_anonymous(mode: mode_t, links: libc::nlink_t) -> bool {
    links == 0 && mode & libc::S_IFMT == libc::S_IFREG
}

/// What the kernel says, where the C library has no function for it.
fn asked(folder: c_int, path: *const c_char, to: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: the arguments are those of a call of the C library.
    let done = unsafe { libc::syscall(libc::SYS_newfstatat, folder, path, to, flags) };
    if done == 0 { 0 } else { -1 }
}

const LINK: c_int = libc::AT_SYMLINK_NOFOLLOW;

interpose! { fn stat | stat64(path: *const c_char, to: *mut Stat) -> c_int, else asked(AT_FDCWD, path, to, 0); {
    told(real(path, to), AT_FDCWD, path, 0, to)
} }
interpose! { fn lstat | lstat64(path: *const c_char, to: *mut Stat) -> c_int, else asked(AT_FDCWD, path, to, LINK); {
    told(real(path, to), AT_FDCWD, path, LINK, to)
} }
interpose! {
    fn fstatat | fstatat64(folder: c_int, path: *const c_char, to: *mut Stat, flags: c_int) -> c_int,
    else asked(folder, path, to, flags);
    { told_at(real(folder, path, to, flags), folder, path, to, flags) }
}

interpose! { fn fstat | fstat64(file: c_int, to: *mut Stat) -> c_int, else asked(file, c"".as_ptr(), to, libc::AT_EMPTY_PATH); {
    ffi::note_stream(file);
    told_of_descriptor(real(file, to), file, to)
} }

// What programs that were linked before glibc 2.33 call; the first argument is the structure's version.
interpose! { fn __xstat | __xstat64(_v: c_int, path: *const c_char, to: *mut Stat) -> c_int, else asked(AT_FDCWD, path, to, 0); {
    told(real(_v, path, to), AT_FDCWD, path, 0, to)
} }
interpose! { fn __lxstat | __lxstat64(_v: c_int, path: *const c_char, to: *mut Stat) -> c_int, else asked(AT_FDCWD, path, to, LINK); {
    told(real(_v, path, to), AT_FDCWD, path, LINK, to)
} }
interpose! {
    fn __fxstat | __fxstat64(_v: c_int, file: c_int, to: *mut Stat) -> c_int, else asked(file, c"".as_ptr(), to, libc::AT_EMPTY_PATH);
    { told_of_descriptor(real(_v, file, to), file, to) }
}

interpose! {
    fn __fxstatat | __fxstatat64(_v: c_int, folder: c_int, path: *const c_char, to: *mut Stat, flags: c_int) -> c_int,
    else asked(folder, path, to, flags);
    { told_at(real(_v, folder, path, to, flags), folder, path, to, flags) }
}

/// Serves `fstatat`, where an empty path means the descriptor.
///
/// # Safety
/// As for [`told`] and [`told_of_descriptor`].
unsafe fn told_at(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    to: *mut Stat,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        if outcome == 0 && flags & libc::AT_EMPTY_PATH != 0 && *path == 0 {
            return told_of_descriptor(outcome, folder, to);
        }
        told(outcome, folder, path, flags, to)
    }
}

interpose! { fn statx(folder: c_int, path: *const c_char, flags: c_int, mask: c_uint, to: *mut StatX) -> c_int {
    let outcome = real(folder, path, flags, mask, to);
    if outcome == 0 && flags & libc::AT_EMPTY_PATH != 0 && (path.is_null() || *path == 0) {
        if is_anonymous((*to).stx_mode.into(), (*to).stx_nlink.into())
            && let Some(place) = descriptors::place(folder)
        {
            extend(to, &of_place(&place));
        }
        return outcome;
    }
    or_packed(
        outcome,
        folder,
        path,
        |place| {
            // The executable's own attributes, for what the older structure does not hold.
            let done = real(AT_FDCWD, place.mount.root.as_ptr(), 0, mask, to);
            if done != 0 {
                return Err(errno());
            }
            extend(to, &of_place(place));
            Ok(0)
        },
        |path| real(folder, path, flags, mask, to),
    )
} }

/// Puts attributes into the larger structure.
///
/// # Safety
/// `to` must hold attributes.
unsafe fn extend(to: *mut StatX, told: &Stat) {
    // The larger structure has smaller fields for modes and links, and larger ones for the others.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // SAFETY: the caller's word.
    unsafe {
        let to = &mut *to;
        to.stx_mode = told.st_mode as u16;
        to.stx_nlink = told.st_nlink as u32;
        to.stx_ino = told.st_ino;
        to.stx_size = told.st_size.cast_unsigned();
        to.stx_blocks = told.st_blocks.cast_unsigned();
        to.stx_blksize = 4096;
        to.stx_uid = told.st_uid;
        to.stx_gid = told.st_gid;
        to.stx_dev_major = libc::major(told.st_dev);
        to.stx_dev_minor = libc::minor(told.st_dev);
        to.stx_mtime.tv_sec = told.st_mtime;
        to.stx_mtime.tv_nsec = told.st_mtime_nsec as u32;
    }
}

/// Whether what lies at a place may be used in such a way (`R_OK`, `W_OK`, `X_OK`).
fn allowed(place: &Place, mode: c_int) -> Result<c_int, c_int> {
    if mode & libc::W_OK != 0 {
        return Err(libc::EROFS);
    }
    let runs = of_place(place).st_mode & 0o111 != 0;
    if mode & libc::X_OK != 0 && !runs { Err(libc::EACCES) } else { Ok(0) }
}

interpose! { fn access | eaccess | euidaccess(path: *const c_char, mode: c_int) -> c_int {
    or_packed(real(path, mode), AT_FDCWD, path, |place| allowed(place, mode), |path| real(path, mode))
} }
interpose! { fn faccessat(folder: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
    or_packed(
        real(folder, path, mode, flags),
        folder,
        path,
        |place| allowed(place, mode),
        |path| real(folder, path, mode, flags),
    )
} }

// Nothing packed is a link.
interpose! { fn readlink(path: *const c_char, to: *mut c_char, size: usize) -> isize {
    or_packed(real(path, to, size), AT_FDCWD, path, |_| Err(libc::EINVAL), |path| real(path, to, size))
} }
interpose! { fn readlinkat(folder: c_int, path: *const c_char, to: *mut c_char, size: usize) -> isize {
    or_packed(
        real(folder, path, to, size),
        folder,
        path,
        |_| Err(libc::EINVAL),
        |path| real(folder, path, to, size),
    )
} }
interpose! { fn __readlink_chk(path: *const c_char, to: *mut c_char, size: usize, room: usize) -> isize {
    or_packed(
        real(path, to, size, room),
        AT_FDCWD,
        path,
        |_| Err(libc::EINVAL),
        |path| real(path, to, size, room),
    )
} }

/// The path without links of a place, in `to` or, where that is null, in new memory.
fn canonical(place: &Place, to: *mut c_char) -> Result<*mut c_char, c_int> {
    let mut path = Text::of(place.mount.canonical().to_bytes()).ok_or(libc::ENAMETOOLONG)?;
    let location = place.node.path();
    let fits = location.is_empty() || path.push(b"/") && path.push(location.as_bytes());
    if !fits {
        return Err(libc::ENAMETOOLONG);
    }
    // SAFETY: the caller of `realpath` gives room for the longest path; both end with a zero.
    unsafe {
        let to = if to.is_null() { libc::malloc(path.as_bytes().len() + 1).cast() } else { to };
        if to.is_null() {
            return Err(libc::ENOMEM);
        }
        Ok(libc::strcpy(to, path.as_ptr()))
    }
}

interpose! { fn realpath(path: *const c_char, to: *mut c_char) -> *mut c_char {
    or_packed(real(path, to), AT_FDCWD, path, |place| canonical(place, to), |path| real(path, to))
} }
interpose! { fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
    or_packed(real(path), AT_FDCWD, path, |place| canonical(place, ptr::null_mut()), |path| real(path))
} }
interpose! { fn __realpath_chk(path: *const c_char, to: *mut c_char, room: usize) -> *mut c_char {
    or_packed(real(path, to, room), AT_FDCWD, path, |place| canonical(place, to), |path| real(path, to, room))
} }

// `shutil.copystat` and others copy extended attributes; there are none.
interpose! { fn listxattr | llistxattr(path: *const c_char, to: *mut c_char, size: usize) -> isize {
    or_packed(real(path, to, size), AT_FDCWD, path, |_| Ok(0), |path| real(path, to, size))
} }
interpose! { fn getxattr | lgetxattr(path: *const c_char, name: *const c_char, to: *mut c_void, size: usize) -> isize {
    or_packed(
        real(path, name, to, size),
        AT_FDCWD,
        path,
        |_| Err(libc::ENODATA),
        |path| real(path, name, to, size),
    )
} }

// The file system is the executable's, but read-only.
interpose! { fn statvfs | statvfs64(path: *const c_char, to: *mut StatVfs) -> c_int {
    let of_executable = |place: &Place| {
        let done = real(place.mount.root.as_ptr(), to);
        (*to).f_flag |= libc::ST_RDONLY;
        Ok(done)
    };
    or_packed(real(path, to), AT_FDCWD, path, of_executable, |path| real(path, to))
} }
interpose! { fn statfs | statfs64(path: *const c_char, to: *mut StatFs) -> c_int {
    or_packed(
        real(path, to),
        AT_FDCWD,
        path,
        |place| Ok(real(place.mount.root.as_ptr(), to)),
        |path| real(path, to),
    )
} }

// What can be asked of a folder that is packed, of one that is not costs as ever.
interpose! { fn pathconf(path: *const c_char, name: c_int) -> c_long {
    or_packed(
        real(path, name),
        AT_FDCWD,
        path,
        |place| Ok(real(place.mount.root.as_ptr(), name)),
        |path| real(path, name),
    )
} }
