//! Further interpreters of the process: they get the importer before they run anything.
//!
//! CPython makes them in one of these functions, whose places `pyox-link` gives away (`--wrap`). What calls them in a
//! shared object of its own, as the private test module of 3.11 and 3.12 does, is not seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3_ffi as c;

use super::own::thread_state;
use super::start::offer_frozen;
use super::{Attached, Result};
use crate::files::interpose;

/// What is called in each new interpreter.
type Prepare = fn(Attached<'_>) -> Result<()>;

static PREPARE: OnceLock<Prepare> = OnceLock::new();

/// Has a function called in each interpreter that comes from now on.
pub(crate) fn prepare_by(prepare: Prepare) {
    PREPARE.get_or_init(|| prepare);
}

/// Prepares the interpreter that this thread has become attached to. Where that fails it is ended again, and the thread
/// goes back to where it came from.
///
/// # Safety
/// `made` must be the thread's state in a new interpreter, and `before` the one that it had.
unsafe fn prepare(made: *mut c::PyThreadState, before: *mut c::PyThreadState) -> bool {
    let Some(prepare) = PREPARE.get().filter(|_| !made.is_null()) else { return true };
    // SAFETY: the caller's word: this thread is attached to the new interpreter.
    unsafe {
        let attached = Attached::assume();
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare(attached)));
        if matches!(prepared, Ok(Ok(()))) {
            return true;
        }
        if matches!(prepared, Ok(Err(_))) {
            c::PyErr_PrintEx(0);
        }
        c::Py_EndInterpreter(made);
        c::PyThreadState_Swap(before);
        false
    }
}

/// Starts an interpreter, with the modules at hand that the start itself imports. Several threads may do so at a time.
fn start<T>(start: impl FnOnce() -> T) -> T {
    static STARTING: AtomicUsize = AtomicUsize::new(0);
    STARTING.fetch_add(1, Ordering::AcqRel);
    offer_frozen(true);
    let made = start();
    if STARTING.fetch_sub(1, Ordering::AcqRel) == 1 {
        offer_frozen(false);
    }
    made
}

#[cfg(Py_3_12)]
interpose! {
    fn Py_NewInterpreterFromConfig(
        made: *mut *mut c::PyThreadState,
        config: *const c::PyInterpreterConfig,
    ) -> c::PyStatus,
    // SAFETY: a static string.
    else unsafe { c::PyStatus_Error(c"this CPython makes no interpreters".as_ptr()) };
    {
        let before = thread_state();
        let status = start(|| real(made, config));
        if c::PyStatus_Exception(status) != 0 || prepare(*made, before) {
            return status;
        }
        *made = ptr::null_mut();
        c::PyStatus_Error(c"the importer cannot be installed".as_ptr())
    }
}

#[cfg(not(Py_3_12))]
interpose! {
    fn _Py_NewInterpreter(isolated: std::ffi::c_int) -> *mut c::PyThreadState {
        let before = thread_state();
        let made = start(|| real(isolated));
        if prepare(made, before) { made } else { ptr::null_mut() }
    }
}

interpose! {
    fn Py_NewInterpreter() -> *mut c::PyThreadState {
        let before = thread_state();
        let made = start(|| real());
        if prepare(made, before) { made } else { ptr::null_mut() }
    }
}
