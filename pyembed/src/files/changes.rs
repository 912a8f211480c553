//! What would change a packed file or folder: a read-only file system's answers.

use std::ffi::{c_char, c_int, c_void};

use libc::{AT_FDCWD, dev_t, gid_t, mode_t, timespec, uid_t};

use super::interpose::{interpose, or_packed};
use super::{Place, errno, resolve, set_errno};

const fn read_only(_: &Place) -> Result<c_int, c_int> {
    Err(libc::EROFS)
}

const fn exists(_: &Place) -> Result<c_int, c_int> {
    Err(libc::EEXIST)
}

/// What is packed cannot be linked to: it is on no file system of the kernel's.
const fn elsewhere(_: &Place) -> Result<c_int, c_int> {
    Err(libc::EXDEV)
}

/// A new name below an executable cannot be made: what is missing there stays missing.
fn refused(outcome: c_int, path: *const c_char) -> c_int {
    if outcome != 0 && errno() == libc::ENOENT && resolve::is_spelled_below(path) {
        set_errno(libc::EROFS);
    }
    outcome
}

interpose! { fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    refused(or_packed(real(path, mode), AT_FDCWD, path, exists, |path| real(path, mode)), path)
} }
interpose! { fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    refused(or_packed(real(folder, path, mode), folder, path, exists, |path| real(folder, path, mode)), path)
} }
interpose! { fn mkfifo(path: *const c_char, mode: mode_t) -> c_int {
    refused(or_packed(real(path, mode), AT_FDCWD, path, exists, |path| real(path, mode)), path)
} }
interpose! { fn mkfifoat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    refused(or_packed(real(folder, path, mode), folder, path, exists, |path| real(folder, path, mode)), path)
} }
interpose! { fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
    refused(or_packed(real(path, mode, device), AT_FDCWD, path, exists, |path| real(path, mode, device)), path)
} }
interpose! { fn mknodat(folder: c_int, path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
    refused(
        or_packed(
            real(folder, path, mode, device),
            folder,
            path,
            exists,
            |path| real(folder, path, mode, device),
        ),
        path,
    )
} }
interpose! { fn symlink(target: *const c_char, path: *const c_char) -> c_int {
    refused(or_packed(real(target, path), AT_FDCWD, path, exists, |path| real(target, path)), path)
} }
interpose! { fn symlinkat(target: *const c_char, folder: c_int, path: *const c_char) -> c_int {
    refused(or_packed(real(target, folder, path), folder, path, exists, |path| real(target, folder, path)), path)
} }
interpose! { fn link(from: *const c_char, to: *const c_char) -> c_int {
    let outcome = or_packed(real(from, to), AT_FDCWD, from, elsewhere, |from| real(from, to));
    refused(or_packed(outcome, AT_FDCWD, to, exists, |to| real(from, to)), to)
} }
interpose! {
    fn linkat(folder: c_int, from: *const c_char, other: c_int, to: *const c_char, flags: c_int) -> c_int {
        let outcome = real(folder, from, other, to, flags);
        let outcome = or_packed(outcome, folder, from, elsewhere, |from| real(folder, from, other, to, flags));
        refused(or_packed(outcome, other, to, exists, |to| real(folder, from, other, to, flags)), to)
    }
}
interpose! { fn unlink | remove | rmdir(path: *const c_char) -> c_int {
    or_packed(real(path), AT_FDCWD, path, read_only, |path| real(path))
} }
interpose! { fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    or_packed(real(folder, path, flags), folder, path, read_only, |path| real(folder, path, flags))
} }
interpose! { fn chmod(path: *const c_char, mode: mode_t) -> c_int {
    or_packed(real(path, mode), AT_FDCWD, path, read_only, |path| real(path, mode))
} }
interpose! { fn fchmodat(folder: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int {
    or_packed(
        real(folder, path, mode, flags),
        folder,
        path,
        read_only,
        |path| real(folder, path, mode, flags),
    )
} }
interpose! { fn chown | lchown(path: *const c_char, user: uid_t, group: gid_t) -> c_int {
    or_packed(real(path, user, group), AT_FDCWD, path, read_only, |path| real(path, user, group))
} }
interpose! {
    fn fchownat(folder: c_int, path: *const c_char, user: uid_t, group: gid_t, flags: c_int) -> c_int {
        or_packed(
            real(folder, path, user, group, flags),
            folder,
            path,
            read_only,
            |path| real(folder, path, user, group, flags),
        )
    }
}
interpose! {
    fn setxattr | lsetxattr(path: *const c_char, name: *const c_char, value: *const c_void, len: usize, flags: c_int) -> c_int {
        or_packed(
            real(path, name, value, len, flags),
            AT_FDCWD,
            path,
            read_only,
            |path| real(path, name, value, len, flags),
        )
    }
}
interpose! { fn removexattr | lremovexattr(path: *const c_char, name: *const c_char) -> c_int {
    or_packed(real(path, name), AT_FDCWD, path, read_only, |path| real(path, name))
} }
interpose! { fn utimensat(folder: c_int, path: *const c_char, times: *const timespec, flags: c_int) -> c_int {
    or_packed(
        real(folder, path, times, flags),
        folder,
        path,
        read_only,
        |path| real(folder, path, times, flags),
    )
} }
interpose! { fn truncate | truncate64(path: *const c_char, len: libc::off_t) -> c_int {
    or_packed(real(path, len), AT_FDCWD, path, read_only, |path| real(path, len))
} }
interpose! { fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let outcome = real(from, to);
    let outcome = or_packed(outcome, AT_FDCWD, from, read_only, |from| real(from, to));
    if errno() != libc::ENOTDIR {
        return outcome;
    }
    refused(or_packed(outcome, AT_FDCWD, to, read_only, |to| real(from, to)), to)
} }
interpose! {
    fn renameat(folder: c_int, from: *const c_char, other: c_int, to: *const c_char) -> c_int {
        let outcome = real(folder, from, other, to);
        let outcome = or_packed(outcome, folder, from, read_only, |from| real(folder, from, other, to));
        if errno() != libc::ENOTDIR {
            return outcome;
        }
        refused(or_packed(outcome, other, to, read_only, |to| real(folder, from, other, to)), to)
    }
}
