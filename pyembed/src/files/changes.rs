//! What would change a packed file or folder: a read-only file system's answers.

use std::ffi::{c_char, c_int, c_void};

use libc::{AT_FDCWD, dev_t, gid_t, mode_t, timespec, timeval, uid_t, utimbuf};

use super::interpose::{interpose, or_packed};
use super::{errno, resolve, set_errno};

/// What a call gives that changes what a path names: nothing packed can be changed.
///
/// # Safety
/// As for [`or_packed`].
unsafe fn changed(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    outside: impl FnOnce(*const c_char) -> c_int,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe { or_packed(outcome, folder, path, |_| Err(libc::EROFS), outside) }
}

/// What a call gives that makes something new at a path.
///
/// # Safety
/// As for [`or_packed`].
unsafe fn made(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    outside: impl FnOnce(*const c_char) -> c_int,
) -> c_int {
    // SAFETY: the caller's word.
    let outcome = unsafe { or_packed(outcome, folder, path, |_| Err(libc::EEXIST), outside) };
    refused(outcome, path)
}

/// What a call gives that opens a file to write, or makes one.
///
/// # Safety
/// As for [`or_packed`].
unsafe fn written(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    outside: impl FnOnce(*const c_char) -> c_int,
) -> c_int {
    // SAFETY: the caller's word.
    let outcome = unsafe { changed(outcome, folder, path, outside) };
    if outcome < 0 { refused(outcome, path) } else { outcome }
}

/// A new name below an executable cannot be made: what is missing there stays missing.
fn refused(outcome: c_int, path: *const c_char) -> c_int {
    if outcome != 0 && errno() == libc::ENOENT && resolve::is_spelled_below(path) {
        set_errno(libc::EROFS);
    }
    outcome
}

/// Replaces functions of the C library that do something to one path, the argument with an `@`, which is relative to the
/// folder behind `in`. The last word is the function above that serves them.
macro_rules! serve {
    ($(fn $($name:ident)|+ ($($before:ident: $before_type:ty,)* @$path:ident $(, $after:ident: $after_type:ty)*)
        in $folder:expr => $serve:ident;)+) => { $(
        interpose! { fn $($name)|+ ($($before: $before_type,)* $path: *const c_char $(, $after: $after_type)*) -> c_int {
            $serve(real($($before,)* $path $(, $after)*), $folder, $path, |$path| real($($before,)* $path $(, $after)*))
        } }
    )+ };
}

serve! {
    fn mkdir(@path, mode: mode_t) in AT_FDCWD => made;
    fn mkdirat(folder: c_int, @path, mode: mode_t) in folder => made;
    fn mkfifo(@path, mode: mode_t) in AT_FDCWD => made;
    fn mkfifoat(folder: c_int, @path, mode: mode_t) in folder => made;
    fn mknod(@path, mode: mode_t, device: dev_t) in AT_FDCWD => made;
    fn mknodat(folder: c_int, @path, mode: mode_t, device: dev_t) in folder => made;
    fn symlink(target: *const c_char, @path) in AT_FDCWD => made;
    fn symlinkat(target: *const c_char, folder: c_int, @path) in folder => made;

    fn unlink | remove | rmdir(@path) in AT_FDCWD => changed;
    fn unlinkat(folder: c_int, @path, flags: c_int) in folder => changed;
    fn chmod(@path, mode: mode_t) in AT_FDCWD => changed;
    fn fchmodat(folder: c_int, @path, mode: mode_t, flags: c_int) in folder => changed;
    fn chown | lchown(@path, user: uid_t, group: gid_t) in AT_FDCWD => changed;
    fn fchownat(folder: c_int, @path, user: uid_t, group: gid_t, flags: c_int) in folder => changed;
    fn setxattr | lsetxattr(@path, name: *const c_char, value: *const c_void, len: usize, flags: c_int) in AT_FDCWD => changed;
    fn removexattr | lremovexattr(@path, name: *const c_char) in AT_FDCWD => changed;
    fn utimensat(folder: c_int, @path, times: *const timespec, flags: c_int) in folder => changed;
    fn utime(@path, times: *const utimbuf) in AT_FDCWD => changed;
    fn utimes | lutimes(@path, times: *const timeval) in AT_FDCWD => changed;
    fn futimesat(folder: c_int, @path, times: *const timeval) in folder => changed;
    fn creat | creat64(@path, mode: mode_t) in AT_FDCWD => written;
    fn truncate | truncate64(@path, len: libc::off_t) in AT_FDCWD => changed;
}

/// Serves a call that links one path to another. What is packed cannot be linked to: it is on no file system of the
/// kernel's.
///
/// # Safety
/// As for `linkat`.
unsafe fn linked(
    outcome: c_int,
    folder: c_int,
    from: *const c_char,
    other: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        let call = |from, to| linkat::real(folder, from, other, to, flags);
        let outcome = or_packed(outcome, folder, from, |_| Err(libc::EXDEV), |from| call(from, to));
        made(outcome, other, to, |to| call(from, to))
    }
}

interpose! { fn link(from: *const c_char, to: *const c_char) -> c_int {
    linked(real(from, to), AT_FDCWD, from, AT_FDCWD, to, 0)
} }
interpose! {
    fn linkat(folder: c_int, from: *const c_char, other: c_int, to: *const c_char, flags: c_int) -> c_int {
        linked(real(folder, from, other, to, flags), folder, from, other, to, flags)
    }
}

/// Serves a call that gives what one path names another.
///
/// # Safety
/// As for `renameat`.
unsafe fn renamed(
    outcome: c_int,
    folder: c_int,
    from: *const c_char,
    other: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        let call = |from, to| renameat::real(folder, from, other, to);
        let outcome = changed(outcome, folder, from, |from| call(from, to));
        if errno() != libc::ENOTDIR {
            return outcome;
        }
        refused(changed(outcome, other, to, |to| call(from, to)), to)
    }
}

interpose! { fn rename(from: *const c_char, to: *const c_char) -> c_int {
    renamed(real(from, to), AT_FDCWD, from, AT_FDCWD, to)
} }
interpose! { fn renameat(folder: c_int, from: *const c_char, other: c_int, to: *const c_char) -> c_int {
    renamed(real(folder, from, other, to), folder, from, other, to)
} }
