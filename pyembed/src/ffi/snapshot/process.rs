//! What a process has of its own: thread-specific keys, the thread's numbers, signals, the environment.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::ptr;
use std::sync::Mutex;

use pyo3_ffi as c;

use super::memory::is_recording;
use crate::files::interpose;

/// The destructor of a key's values.
type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// The keys that a recorded process has made, with the values of its one thread.
static KEYS: Mutex<Vec<Key>> = Mutex::new(Vec::new());

struct Key {
    number: u32,
    destructor: Destructor,
    value: usize,
}

// SAFETY: an address, for the one thread of a process that begins.
unsafe impl Send for Key {}

fn keys() -> std::sync::MutexGuard<'static, Vec<Key>> {
    KEYS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

interpose! { fn pthread_key_create(key: *mut u32, destructor: Destructor) -> c_int {
    let status = real(key, destructor);
    if status == 0 && is_recording() {
        keys().push(Key { number: *key, destructor, value: 0 });
    }
    status
} }

interpose! { fn pthread_key_delete(number: u32) -> c_int {
    if is_recording() {
        keys().retain(|key| key.number != number);
    }
    real(number)
} }

/// Deletes the keys that were made.
pub(super) fn forget_keys() {
    for key in std::mem::take(&mut *keys()) {
        // SAFETY: a key of this process.
        unsafe { pthread_key_delete::real(key.number) };
    }
}

/// Keeps the values that lie in the image.
pub(super) fn keep_keys() {
    for key in keys().iter_mut() {
        // SAFETY: a key of this process.
        let value = unsafe { libc::pthread_getspecific(key.number) };
        key.value = if super::is_in_image(value.addr()) { value.expose_provenance() } else { 0 };
    }
}

/// Makes the keys again, with the same numbers and values; false where the C library gives others.
pub(super) fn make_keys() -> bool {
    let keys = keys();
    let Some(last) = keys.iter().map(|key| key.number).max() else { return true };
    let make = |destructor| {
        let mut number = 0;
        // SAFETY: makes a key; a destructor is that of a value that the same code sets.
        let status = unsafe { pthread_key_create::real(&raw mut number, destructor) };
        (status == 0 && number <= last).then_some(number)
    };
    // The C library gives the lowest number that is free.
    let (mut others, mut count) = (Vec::new(), 0);
    while count < keys.len() {
        let Some(number) = make(None) else { return false };
        let Some(key) = keys.iter().find(|key| key.number == number) else {
            others.push(number);
            continue;
        };
        // SAFETY: the key was just made, and has no value.
        unsafe { pthread_key_delete::real(number) };
        if make(key.destructor) != Some(number) {
            return false;
        }
        // SAFETY: the value is what the recorded process has set for it.
        unsafe { libc::pthread_setspecific(number, ptr::with_exposed_provenance(key.value)) };
        count += 1;
    }
    for number in others {
        // SAFETY: a key that was made above.
        unsafe { pthread_key_delete::real(number) };
    }
    true
}

#[cfg(Py_3_14)]
unsafe extern "C" {
    /// Looks up where the stack of this thread is.
    fn _Py_InitializeRecursionLimits(thread: *mut c::PyThreadState);
}

/// Has a thread's state know the stack of this process, whose end CPython 3.14 looks at.
///
/// # Safety
/// The state must be that of an image, and this the thread that begins with it.
pub(super) unsafe fn find_stack(thread: *mut c::PyThreadState) {
    // SAFETY: the caller's word.
    #[cfg(Py_3_14)]
    unsafe {
        _Py_InitializeRecursionLimits(thread);
    }
    #[cfg(not(Py_3_14))]
    let _ = thread;
}

/// Has a thread's state know no stack, before an image is taken.
///
/// # Safety
/// The state must be that of this thread, which runs no code of Python's any more.
pub(super) unsafe fn forget_stack(thread: *mut c::PyThreadState) {
    /// The addresses stand within the first so many words.
    const WORDS: usize = 128;
    if !cfg!(Py_3_14) {
        return;
    }
    // SAFETY: asks; the state is longer than that.
    unsafe {
        let (mut attributes, mut start, mut len) = (std::mem::zeroed(), ptr::null_mut(), 0);
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return;
        }
        libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut len);
        libc::pthread_attr_destroy(&raw mut attributes);
        let stack = start.addr()..=start.addr() + len;
        let words = std::slice::from_raw_parts_mut(thread.cast::<usize>(), WORDS);
        for word in words.iter_mut().filter(|word| stack.contains(word)) {
            *word = 0;
        }
    }
}

/// Whether a variable is in the environment.
pub(super) fn has_variable(name: &CStr) -> bool {
    // SAFETY: a C string; nobody changes the environment at the start.
    unsafe { !libc::getenv(name.as_ptr()).is_null() }
}

/// What this process does on a signal: whether it is ignored, or ends by it. `None` for what is neither, or no signal.
pub(crate) fn is_ignored(signal: c_int) -> Option<bool> {
    // SAFETY: asks, and sets nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, ptr::null(), &raw mut action) != 0 {
            return None;
        }
        match action.sa_sigaction {
            libc::SIG_IGN => Some(true),
            libc::SIG_DFL => Some(false),
            _ => None,
        }
    }
}

/// Has the process ignore a signal.
pub(crate) fn ignore(signal: c_int) {
    // SAFETY: runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// The number by which CPython knows this thread.
pub(crate) fn thread_number() -> i64 {
    // SAFETY: asks.
    unsafe { libc::pthread_self() }.cast_signed()
}

// Not every executable has OpenSSL.
std::arch::global_asm!(
    ".weak CONF_modules_load_file",
    r#".pushsection .data.rel.ro.pyembed_openssl, "aw", @progbits"#,
    ".balign 8",
    ".globl pyembed_openssl_loads",
    ".hidden pyembed_openssl_loads",
    "pyembed_openssl_loads: .quad CONF_modules_load_file",
    ".popsection",
);

type Load = unsafe extern "C" fn(*const c_char, *const c_char, c_ulong) -> c_int;

unsafe extern "C" {
    #[link_name = "pyembed_openssl_loads"]
    safe static OPENSSL_LOADS: Option<Load>;
}

/// Has OpenSSL read the system's configuration, as it does when it is first used.
pub(crate) fn configure_openssl() {
    /// Return codes and a missing file are ignored, and there is a default section.
    const FLAGS: c_ulong = 0x32;
    if let Some(load) = OPENSSL_LOADS {
        // SAFETY: without names the function takes its own.
        unsafe { load(ptr::null(), ptr::null(), FLAGS) };
    }
}

/// Whether a descriptor is open.
pub(crate) fn is_open(descriptor: c_int) -> bool {
    // SAFETY: asks.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// Locales that CPython takes in the place of the locale `C`.
const FOR_C: [&CStr; 3] = [c"C.UTF-8", c"C.utf8", c"UTF-8"];

/// What the locale of text means to CPython.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locale {
    /// Text is UTF-8.
    Utf8,
    /// The locale is `C`, or cannot be had: CPython takes text for UTF-8 all the same.
    C,
    Other,
}

/// Sets the locale of text by the environment, as CPython does it: in the place of `C` comes one with UTF-8, unless `LC_ALL`
/// says otherwise, and child processes are told.
pub(super) fn set_locale() -> Locale {
    // SAFETY: C strings, which are read at once. There is one thread.
    unsafe {
        let name = libc::setlocale(libc::LC_CTYPE, c"".as_ptr());
        if !name.is_null() && ![c"C", c"POSIX"].contains(&CStr::from_ptr(name)) {
            let is_utf8 = CStr::from_ptr(libc::nl_langinfo(libc::CODESET)) == c"UTF-8";
            return if is_utf8 { Locale::Utf8 } else { Locale::Other };
        }
        let all = libc::getenv(c"LC_ALL".as_ptr());
        if all.is_null() || *all == 0 {
            for name in FOR_C {
                if libc::setlocale(libc::LC_CTYPE, name.as_ptr()).is_null() {
                    continue;
                }
                libc::setenv(c"LC_CTYPE".as_ptr(), name.as_ptr(), 1);
                libc::setlocale(libc::LC_ALL, c"".as_ptr());
                break;
            }
        }
        Locale::C
    }
}

/// Whether the locale is one in which CPython lets streams hold bytes that are not text.
pub(crate) fn is_c_locale() -> bool {
    // SAFETY: asks; the C string is read at once.
    unsafe {
        let name = libc::setlocale(libc::LC_CTYPE, ptr::null());
        !name.is_null()
            && FOR_C.iter().chain(&[c"C", c"POSIX"]).any(|other| *other == CStr::from_ptr(name))
    }
}

/// The features of this machine's processor that code looks up once and remembers: three words of `cpuid`'s, of which bits
/// count that stand for instructions.
#[cfg(target_arch = "x86_64")]
pub(super) fn processor() -> u128 {
    /// SSE3, PCLMULQDQ, SSSE3, FMA, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, AVX, F16C.
    const FIRST: u32 = 1 | 1 << 1 | 1 << 9 | 1 << 12 | 3 << 19 | 3 << 22 | 1 << 25 | 3 << 28;
    /// BMI1, AVX2, BMI2.
    const SECOND: u32 = 1 << 3 | 1 << 5 | 1 << 8;
    /// What OpenSSL looks up besides, which a libpython may have in it: RDRAND; AVX-512, RDSEED, ADX, SHA; GFNI, VAES, VPCLMULQDQ.
    const OF_OPENSSL: [u32; 3] =
        [1 << 30, 0b11 << 16 | 0b11 << 18 | 1 << 21 | 0b1111 << 28, 0b111 << 8];
    use std::arch::x86_64::{__cpuid_count, __get_cpuid_max};
    // Every processor of this architecture has the instruction.
    let (first, max) = (__cpuid_count(1, 0).ecx, __get_cpuid_max(0).0);
    let (second, third) = match max {
        7.. => (__cpuid_count(7, 0).ebx, __cpuid_count(7, 0).ecx),
        _ => (0, 0),
    };
    let more = if super::has_libpython() { OF_OPENSSL } else { [0; 3] };
    let words = [first & (FIRST | more[0]), second & (SECOND | more[1]), third & more[2]];
    words.into_iter().fold(0, |all, word| all << 32 | u128::from(word))
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn processor() -> u128 {
    0
}
