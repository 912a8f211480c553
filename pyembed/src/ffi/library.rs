//! Shared libraries in the hands of the dynamic loader.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use super::section;
use super::shared_object::Constructors;

/// A library that is loaded, and stays so.
#[derive(Clone, Copy)]
pub(crate) struct LoadedLibrary(NonNull<LinkMap>);

// SAFETY: the loader's record stays, and of it the name alone is changed.
unsafe impl Send for LoadedLibrary {}

/// The public head of `struct link_map`.
#[repr(C)]
struct LinkMap {
    /// What is added to the addresses in the file.
    base: usize,
    name: *mut c_char,
}

impl LoadedLibrary {
    /// Loads a library. What is loaded later finds it by its SONAME. It is never unloaded.
    pub(crate) fn open(path: &str, flags: c_int) -> Result<Self, String> {
        let path = CString::new(path).map_err(|error| error.to_string())?;
        let mut map: *mut LinkMap = ptr::null_mut();
        // SAFETY: a C string; the library's constructors are as trusted as the application is.
        unsafe {
            // What looks the function up, once, would forget the error.
            libc::dlerror();
            let handle = libc::dlopen(path.as_ptr(), flags);
            if handle.is_null() {
                let why = libc::dlerror();
                let why = if why.is_null() {
                    c"the loader does not say why"
                } else {
                    CStr::from_ptr(why)
                };
                return Err(why.to_string_lossy().into_owned());
            }
            libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
        }
        NonNull::new(map).map(Self).ok_or_else(|| "the loader does not tell about it".to_owned())
    }

    /// The library that was loaded by that path, if it was.
    pub(crate) fn find(path: &str) -> Option<Self> {
        let path = CString::new(path).ok()?;
        let mut map: *mut LinkMap = ptr::null_mut();
        // SAFETY: a C string; with that flag nothing is loaded. The handle is closed, and the library stays
        // for the one who has loaded it.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if handle.is_null() {
                return None;
            }
            libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
            libc::dlclose(handle);
        }
        NonNull::new(map).map(Self)
    }

    /// What is added to the addresses in its file.
    pub(super) fn base(self) -> usize {
        // SAFETY: the library stays loaded, so the record is alive.
        unsafe { (*self.0.as_ptr()).base }
    }

    /// Calls the library's constructors, as the loader does it.
    pub(super) fn construct(self, constructors: Constructors) {
        let (count, arguments) =
            (ARGUMENT_COUNT.load(Ordering::Relaxed), ARGUMENTS.load(Ordering::Relaxed));
        let call = |address: usize| {
            let function: *const c_void = ptr::with_exposed_provenance(address);
            // SAFETY: the library says that a constructor is there; it is as trusted as the application is.
            unsafe {
                let constructor: Constructor = std::mem::transmute(function);
                constructor(count, arguments, environ);
            }
        };
        if constructors.first != 0 {
            call(self.base() + constructors.first);
        }
        let (array, count) = constructors.others;
        for number in 0..count {
            let place = self.base() + array + number * size_of::<usize>();
            // SAFETY: so many addresses are there, which the loader has relocated.
            call(unsafe { *ptr::with_exposed_provenance::<usize>(place) });
        }
    }

    /// Sets the name that `dladdr`, debuggers and later calls of `dlopen` know it by.
    pub(crate) fn rename(&self, name: &str) {
        let Ok(name) = CString::new(name) else { return };
        // SAFETY: the loader frees the name with the library, so it is allocated as C does it. The old one is
        // left: another thread may be reading it.
        unsafe {
            let copy = libc::strdup(name.as_ptr());
            if !copy.is_null() {
                (&raw mut (*self.0.as_ptr()).name).write_volatile(copy);
            }
        }
    }
}

/// The strings of a command line or an environment, with a null pointer at their end.
type Strings = *const *const c_char;

/// What runs when a library or a program is loaded: GNU's system gives it what it gives `main`.
pub(super) type Constructor = unsafe extern "C" fn(c_int, Strings, Strings);

unsafe extern "C" {
    static environ: Strings;
}

/// The command line as the system has handed it over: there are constructors that look for what lies behind it, too.
#[unsafe(link_section = ".bss.pyembed_process")]
static ARGUMENT_COUNT: AtomicI32 = AtomicI32::new(0);
#[unsafe(link_section = ".bss.pyembed_process")]
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Is a constructor itself, and one with a priority: those run in a process that begins with an image, too.
#[used]
#[unsafe(link_section = ".init_array.00099")]
static NOTE_ARGUMENTS: Constructor = note_arguments;

unsafe extern "C" fn note_arguments(count: c_int, arguments: Strings, _: Strings) {
    ARGUMENT_COUNT.store(count, Ordering::Relaxed);
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
}

/// Has extension modules find Python's functions where those are in a shared library that somebody has loaded for
/// itself alone.
pub(crate) fn offer_python() {
    if let Some(library) = section::own_library() {
        // SAFETY: a C string. The library is there, and becomes visible for all; it is never unloaded.
        unsafe {
            libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_GLOBAL)
        };
    }
}

/// What is opened in place of a path; none for the path itself.
type Resolver = fn(&CStr, c_int) -> Option<&'static CStr>;

static RESOLVER: OnceLock<Resolver> = OnceLock::new();

/// The `dlopen` of the C library, which no snapshot holds.
#[unsafe(link_section = ".bss.pyembed_process")]
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Has paths that C code gives to `dlopen` resolved by a function, which must not call Python.
pub(crate) fn resolve_paths_by(resolver: Resolver) {
    RESOLVER.get_or_init(|| resolver);
}

/// What all of a dynamic executable's libraries find as `dlopen`: `pyox-link` gives it that name
/// (`--defsym`); in a program that is linked otherwise nobody calls it.
///
/// It goes on to the C library's with the stack as it was, because that looks at who is calling it: names
/// without a path are looked for where the caller's run path says.
///
/// # Safety
/// As for `dlopen`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn pyembed_dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {resolve}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "cmovne rdi, rax",
        "jmp qword ptr [rip + {next}]",
        resolve = sym resolve,
        next = sym NEXT,
    )
}

/// As above.
///
/// # Safety
/// As for `dlopen`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn pyembed_dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    naked_asm!(
        "stp x0, x1, [sp, #-32]!",
        "str x30, [sp, #16]",
        "bl {resolve}",
        "ldr x30, [sp, #16]",
        "ldp x2, x1, [sp], #32",
        "cmp x0, #0",
        "csel x0, x2, x0, eq",
        "adrp x16, {next}",
        "ldr x16, [x16, #:lo12:{next}]",
        "br x16",
        resolve = sym resolve,
        next = sym NEXT,
    )
}

/// The path to open, and [`NEXT`] set; null for the path as it is.
unsafe extern "C" fn resolve(path: *const c_char, flags: c_int) -> *const c_char {
    if NEXT.load(Ordering::Relaxed).is_null() {
        // SAFETY: a C string; whatever provided the executable's reference provides it.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
        NEXT.store(next, Ordering::Relaxed);
    }
    let Some(resolver) = RESOLVER.get().filter(|_| !path.is_null()) else { return ptr::null() };
    // SAFETY: not null, so it is a C string, as for `dlopen`.
    let path = unsafe { CStr::from_ptr(path) };
    // A panic must not reach C code.
    let found = std::panic::catch_unwind(|| resolver(path, flags));
    found.ok().flatten().map_or(ptr::null(), CStr::as_ptr)
}
