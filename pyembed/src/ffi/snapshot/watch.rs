//! What code asks of the process while a survey watches it, seen where it asks: behind functions of the C library.
//!
//! A survey is a run of a recorded process that takes no image. It imports modules and notes what each import reads that
//! another process would answer otherwise. `pyox-link` puts these functions in the place of the C library's in a static
//! executable, so that CPython, its extension modules and all libraries below them are seen. Without a survey each costs a
//! comparison. Paths are noted by `crate::files`, which serves all functions that take one.

use std::ffi::{CStr, c_char, c_int, c_long};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::memory::is_recording;
use crate::files::{interpose, is_packed};

/// What was asked: the words that follow "it", and of what.
type Notes = Vec<(&'static str, String)>;

static IS_ON: AtomicBool = AtomicBool::new(false);

static NOTES: Mutex<Notes> = Mutex::new(Vec::new());

/// Words that mean more to `pyox-snapshot` than that a module is refused.
const VARIABLE: &str = "reads the variable";
const FILE: &str = "looks at the file";
const STREAM: &str = "asks what a standard stream is";

/// Begins to watch, until the process ends.
pub(crate) fn watch() {
    IS_ON.store(true, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_watched() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// What was noted since the last call.
pub(crate) fn notes() -> Notes {
    std::mem::take(&mut *NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

#[inline]
pub(crate) fn note(what: &'static str) {
    if is_watched() {
        note_of(what, String::new());
    }
}

#[cold]
pub(crate) fn note_of(what: &'static str, of: String) {
    let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // What this thread does while it notes something is no news.
    if let Ok(mut notes) = NOTES.try_lock() {
        notes.push((what, of));
    }
    // SAFETY: the C library's own place for it.
    unsafe { *libc::__errno_location() = error };
}

/// Notes a path that is not one of the executable's packed files.
///
/// # Safety
/// It must be null or a C string.
#[cold]
pub(crate) unsafe fn note_path(folder: c_int, path: *const c_char) {
    /// What a path means is found out by functions that take paths.
    static IS_BUSY: AtomicBool = AtomicBool::new(false);
    if path.is_null() {
        return;
    }
    if IS_BUSY.swap(true, Ordering::Acquire) {
        return;
    }
    // SAFETY: the caller's word.
    let path = unsafe { CStr::from_ptr(path) };
    let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let is_packed = is_packed(folder, path);
    IS_BUSY.store(false, Ordering::Release);
    // SAFETY: the C library's own place for it.
    unsafe { *libc::__errno_location() = error };
    if !is_packed {
        note_of(FILE, path.to_string_lossy().into_owned());
    }
}

/// Variables that the C library itself reads, for its messages and in functions that are noted.
const OF_LIBC: [&str; 7] =
    ["LANG", "LANGUAGE", "LOCPATH", "NLSPATH", "OUTPUT_CHARSET", "TZ", "TZDIR"];

unsafe fn note_variable(name: *const c_char) {
    if is_watched() {
        // SAFETY: the name that the C library is given.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        if !name.starts_with("LC_") && !OF_LIBC.contains(&&*name) {
            note_of(VARIABLE, name.into_owned());
        }
    }
}

/// Notes that somebody asks for the attributes of a standard stream.
#[inline]
pub(crate) fn note_stream(descriptor: c_int) {
    if descriptor <= 2 {
        note(STREAM);
    }
}

interpose! { fn getenv | secure_getenv(name: *const c_char) -> *mut c_char {
    note_variable(name);
    real(name)
} }

/// Functions that are noted by what they are asked for. All arguments fit a register.
macro_rules! noted {
    ($($what:literal: $($name:ident($($argument:ident),*)),+;)*) => {
        $($(interpose! {
            fn $name($($argument: usize),*) -> isize {
                note($what);
                real($($argument),*)
            }
        })+)*
    };
}

noted! {
    "asks for the time": time(a), gettimeofday(a, b), clock(), times(a), getrusage(a, b);
    "asks for the time zone": localtime(a), localtime_r(a, b), mktime(a), tzset();
    "takes random numbers": getrandom(a, b, c), getentropy(a, b);
    "asks for the number of a process": getpid(), getppid(), getpgrp(), getpgid(a), getsid(a);
    "asks for the user": getuid(), geteuid(), getgid(), getegid(), getresuid(a, b, c), getresgid(a, b, c), getgroups(a, b);
    "asks for the machine": uname(a), gethostname(a, b), sched_getaffinity(a, b, c), getloadavg(a, b);
    "asks for the working folder": getcwd(a, b);
    "changes the process": chdir(a), fchdir(a), umask(a), setrlimit(a, b), setrlimit64(a, b), nice(a), setpriority(a, b, c);
    "asks for the process's limits": getrlimit(a, b), getrlimit64(a, b), getpriority(a, b);
    "changes the environment": setenv(a, b, c), unsetenv(a), putenv(a), clearenv();
    "asks for the locale, or sets it": setlocale(a, b), localeconv();
    "uses sockets": socket(a, b, c), socketpair(a, b, c, d), connect(a, b, c);
    "starts a thread": pthread_create(a, b, c, d);
    "asks for signal handlers, or sets them": sigaction(a, b, c), signal(a, b), sigaltstack(a, b), setitimer(a, b, c);
    "maps memory": mmap(a, b, c, d, e, f), mmap64(a, b, c, d, e, f);
}

/// The time in a recorded process: how often it was asked for. CPython 3.15 keeps when it has collected garbage.
static TIME: AtomicI64 = AtomicI64::new(0);

interpose! { fn clock_gettime(clock: c_int, to: usize) -> isize {
    if is_recording() && !is_watched() {
        let time = TIME.fetch_add(1, Ordering::Relaxed);
        let time = libc::timespec { tv_sec: time >> 20, tv_nsec: time & 0xf_ffff };
        std::ptr::with_exposed_provenance_mut::<libc::timespec>(to).write(time);
        return 0;
    }
    // CPython's locks ask for this one whenever they are taken. Python code that does is seen in `survey.py`.
    if clock != libc::CLOCK_MONOTONIC {
        note("asks for the time");
    }
    real(clock, to)
} }

interpose! { fn nl_langinfo(item: c_int) -> *mut c_char {
    // All processes that begin with an image have the same encoding.
    if item != libc::CODESET {
        note("asks for the locale, or sets it");
    }
    real(item)
} }

/// What differs from machine to machine, or while it runs.
const OF_THE_MACHINE: [c_int; 4] = [
    libc::_SC_NPROCESSORS_CONF,
    libc::_SC_NPROCESSORS_ONLN,
    libc::_SC_PHYS_PAGES,
    libc::_SC_AVPHYS_PAGES,
];

interpose! { fn sysconf(name: c_int) -> c_long {
    if OF_THE_MACHINE.contains(&name) {
        note("asks for the machine");
    }
    real(name)
} }

/// Functions of which calls for a standard stream are noted.
macro_rules! noted_streams {
    ($($what:expr => $($name:ident($($argument:ident),*)),+;)*) => {
        $($(interpose! {
            fn $name(descriptor: c_int $(, $argument: usize)*) -> isize {
                if descriptor <= 2 {
                    note($what);
                }
                real(descriptor $(, $argument)*)
            }
        })+)*
    };
}

noted_streams! {
    STREAM => isatty(), ioctl(a, b), tcgetattr(a), ttyname_r(a, b);
    "reads from a standard stream" => read(a, b);
    "writes to a standard stream" => write(a, b);
}
