//! Opening: `open` and `openat` with all their names, `fopen`, `freopen`.

use std::ffi::{CStr, c_char, c_int};
use std::fmt::Write;

use libc::{AT_FDCWD, FILE, mode_t};

use super::interpose::{Outcome, interpose, or_packed};
use super::text::Text;
use super::{Place, descriptors, errno, resolve, set_errno};

/// Serves a call of `open`.
///
/// # Safety
/// As for `open`.
#[inline]
unsafe fn opened(
    outcome: c_int,
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        let outcome = or_packed(
            outcome,
            folder,
            path,
            |place| descriptors::open(place, flags),
            |path| openat::real(folder, path, flags, mode),
        );
        if outcome.has_failed() && flags & libc::O_CREAT != 0 && errno() == libc::ENOENT {
            refuse_creation(folder, path);
        }
        outcome
    }
}

/// A missing file below an executable cannot be made.
///
/// # Safety
/// `path` must be null or a C string.
#[cold]
unsafe fn refuse_creation(folder: c_int, path: *const c_char) {
    if path.is_null() {
        return;
    }
    // SAFETY: the caller's word.
    let meaning = resolve::resolve(folder, unsafe { CStr::from_ptr(path) });
    set_errno(match meaning {
        resolve::Meaning::Missing(libc::ENOENT) => libc::EROFS,
        _ => libc::ENOENT,
    });
}

// The mode is only there where a file may be created; passing on what is not there is harmless.
interpose! { fn open | open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(real(path, flags, mode), AT_FDCWD, path, flags, mode)
} }
interpose! { fn openat | openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(real(folder, path, flags, mode), folder, path, flags, mode)
} }

// What calls become where the compiler checks them (`_FORTIFY_SOURCE`).
interpose! { fn __open_2 | __open64_2(path: *const c_char, flags: c_int) -> c_int {
    opened(real(path, flags), AT_FDCWD, path, flags, 0)
} }
interpose! { fn __openat_2 | __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    opened(real(folder, path, flags), folder, path, flags, 0)
} }

/// A stream that reads a packed file.
///
/// # Safety
/// `mode` must be a C string.
unsafe fn stream(place: &Place, mode: *const c_char) -> Result<*mut FILE, c_int> {
    // SAFETY: the caller's word; the descriptor is ours until the stream has it.
    unsafe {
        let descriptor = descriptors::open(place, descriptors::flags_of_mode(mode)?)?;
        let stream = libc::fdopen(descriptor, mode);
        if stream.is_null() {
            let number = errno();
            libc::close(descriptor);
            return Err(number);
        }
        Ok(stream)
    }
}

interpose! { fn fopen | fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    or_packed(real(path, mode), AT_FDCWD, path, |place| stream(place, mode), |path| real(path, mode))
} }

/// Calls `freopen` with a path that leads to a packed file's descriptor. A failure would have closed the stream, so a
/// packed file must be known before.
///
/// # Safety
/// As for `freopen`.
unsafe fn reopened(
    path: *const c_char,
    mode: *const c_char,
    again: unsafe extern "C-unwind" fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE,
    stream: *mut FILE,
) -> *mut FILE {
    // SAFETY: the caller's word; the descriptor is ours.
    unsafe {
        if !resolve::is_spelled_below(path) {
            return again(path, mode, stream);
        }
        let descriptor = open::interposed(path, libc::O_RDONLY | libc::O_CLOEXEC, 0);
        let mut link = Text::new();
        if descriptor < 0 || write!(link, "/proc/self/fd/{descriptor}").is_err() {
            return again(path, mode, stream);
        }
        let stream = again(link.as_ptr(), mode, stream);
        libc::close(descriptor);
        stream
    }
}

interpose! { fn freopen | freopen64(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE {
    reopened(path, mode, real, stream)
} }
