//! How a function takes the place of one of the C library's, in all code of the process.
//!
//! For a function `NAME` there are three symbols:
//!
//! - `pyembed_NAME`, the function that takes its place. `pyox-link` gives it the name: in a dynamic executable by
//!   `--defsym=NAME=pyembed_NAME`, because the executable's symbols come first in the lookups of all libraries; in a
//!   static one by `--wrap`.
//! - `pyembed_real_NAME`, by which it calls the original. In a static executable `pyox-link` points it there; everywhere
//!   else it leads on to the next.
//! - `pyembed_next_NAME`, which asks the dynamic loader for the original, once.
//!
//! In a program that is linked without those arguments nobody calls any of them.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::resolve::{self, Meaning};
use super::{Place, errno, set_errno};
use crate::ffi;

/// Defines a function that takes the place of the C library's. In its body `real` is the original. What stands behind
/// `else` is called where the C library has no such function, as an older or newer one may not. Several names, with `|`
/// between them, define as many functions that do the same, each with its own original.
macro_rules! interpose {
    (fn $name:ident | $($more:ident)|+ ($($arguments:tt)*) -> $($rest:tt)*) => {
        $crate::files::interpose::interpose! { fn $name($($arguments)*) -> $($rest)* }
        $crate::files::interpose::interpose! { fn $($more)|+ ($($arguments)*) -> $($rest)* }
    };
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty, else $missing:expr; $body:block) => {
        #[allow(non_snake_case)]
        pub(crate) mod $name {
            #[allow(unused_imports)]
            use super::*;

            unsafe extern "C-unwind" {
                #[allow(dead_code)]
                #[link_name = concat!("pyembed_real_", stringify!($name))]
                pub(crate) fn real($($argument: $type),*) -> $result;
            }

            $crate::files::interpose::real_symbol!($name);

            #[unsafe(export_name = concat!("pyembed_next_", stringify!($name)))]
            unsafe extern "C-unwind" fn next($($argument: $type),*) -> $result {
                // Each process asks again: no snapshot holds the answer.
                #[unsafe(link_section = ".bss.pyembed_process")]
                static NEXT: $crate::files::interpose::Next = $crate::files::interpose::Next::new();
                type Original = unsafe extern "C-unwind" fn($($type),*) -> $result;
                let name = $crate::files::interpose::c_name(concat!(stringify!($name), "\0"));
                match NEXT.get(name) {
                    // SAFETY: the C library's function of that name has this type; the arguments are the caller's.
                    Some(found) => unsafe {
                        std::mem::transmute::<*const std::ffi::c_void, Original>(found)($($argument),*)
                    },
                    None => $missing,
                }
            }

            /// # Safety
            /// As for the C library's function.
            #[unsafe(export_name = concat!("pyembed_", stringify!($name)))]
            pub(crate) unsafe extern "C-unwind" fn interposed($($argument: $type),*) -> $result {
                // SAFETY: the caller keeps to what the C library's function asks for.
                #[allow(unused_unsafe)]
                unsafe { $body }
            }
        }
    };
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty $body:block) => {
        $crate::files::interpose::interpose! {
            fn $name($($argument: $type),*) -> $result,
            else { let _ = ($($argument,)*); $crate::files::interpose::unknown() };
            $body
        }
    };
}
pub(crate) use interpose;

#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "jmp"
    };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! jump {
    () => {
        "b"
    };
}
pub(crate) use jump;

/// `pyembed_real_NAME` where the linker is told nothing: a jump to `pyembed_next_NAME`.
macro_rules! real_symbol {
    ($name:ident) => {
        std::arch::global_asm!(
            concat!(".pushsection .text.pyembed_real_", stringify!($name), ",\"ax\",@progbits"),
            concat!(".weak pyembed_real_", stringify!($name)),
            concat!(".type pyembed_real_", stringify!($name), ", @function"),
            concat!("pyembed_real_", stringify!($name), ":"),
            concat!($crate::files::interpose::jump!(), " pyembed_next_", stringify!($name)),
            ".popsection",
        );
    };
}
pub(crate) use real_symbol;

/// The address of an original, once it was asked for.
pub(crate) struct Next(AtomicPtr<c_void>);

impl Next {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn get(&self, name: &CStr) -> Option<*const c_void> {
        let mut found = self.0.load(Ordering::Relaxed);
        if found.is_null() {
            // SAFETY: a C string; the loader looks behind the executable, whose own symbol this replaces.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
            self.0.store(found, Ordering::Relaxed);
        }
        (!found.is_null()).then_some(found.cast_const())
    }
}

/// A name that ends with a zero, as a C string.
pub(crate) const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("expected one zero, at the end"),
    }
}

/// What functions of the C library give.
pub(crate) trait Outcome: Copy {
    /// What says that the call has failed.
    const FAILURE: Self;

    fn has_failed(self) -> bool;
}

impl Outcome for c_int {
    const FAILURE: Self = -1;

    fn has_failed(self) -> bool {
        self == Self::FAILURE
    }
}

impl Outcome for isize {
    const FAILURE: Self = -1;

    fn has_failed(self) -> bool {
        self == Self::FAILURE
    }
}

impl Outcome for c_long {
    const FAILURE: Self = -1;

    fn has_failed(self) -> bool {
        self == Self::FAILURE
    }
}

/// Of a function that cannot fail.
impl Outcome for () {
    const FAILURE: Self = ();

    fn has_failed(self) -> bool {
        false
    }
}

impl<T> Outcome for *mut T {
    const FAILURE: Self = ptr::null_mut();

    fn has_failed(self) -> bool {
        self.is_null()
    }
}

/// The failure of a function that the C library does not have.
pub(crate) fn unknown<T: Outcome>() -> T {
    set_errno(libc::ENOSYS);
    T::FAILURE
}

/// What a call gives whose original has given `outcome`. Only after `ENOTDIR` the path is looked at: `packed` serves
/// what is packed, or gives an error's number; `outside` calls the original with another path.
///
/// # Safety
/// `path` must be null or a C string.
#[inline]
pub(super) unsafe fn or_packed<T: Outcome>(
    outcome: T,
    folder: c_int,
    path: *const c_char,
    packed: impl FnOnce(&Place) -> Result<T, c_int>,
    outside: impl FnOnce(*const c_char) -> T,
) -> T {
    if ffi::is_watched() {
        // SAFETY: the caller's word.
        unsafe { ffi::note_path(folder, path) };
    }
    if !outcome.has_failed() || errno() != libc::ENOTDIR || path.is_null() {
        return outcome;
    }
    // SAFETY: the caller's word.
    let path = unsafe { CStr::from_ptr(path) };
    look(folder, path, packed, outside)
}

#[cold]
fn look<T: Outcome>(
    folder: c_int,
    path: &CStr,
    packed: impl FnOnce(&Place) -> Result<T, c_int>,
    outside: impl FnOnce(*const c_char) -> T,
) -> T {
    let number = match resolve::resolve(folder, path) {
        Meaning::Packed(place) => match packed(&place) {
            Ok(outcome) => {
                // Some look at it though nothing has failed.
                set_errno(0);
                return outcome;
            }
            Err(number) => number,
        },
        Meaning::Outside(path) => return outside(path.as_ptr()),
        Meaning::Missing(number) => number,
        Meaning::Foreign => libc::ENOTDIR,
    };
    set_errno(number);
    T::FAILURE
}
