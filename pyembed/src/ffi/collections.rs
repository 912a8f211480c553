//! CPython's collections of garbage: in the start, which makes none, and at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3_ffi as c;

#[cfg(Py_3_12)]
use super::freeing;
use super::{Attached, Result, snapshot, subinterpreters};
use crate::files::interpose;

/// What is called before an interpreter's last collections.
type BeforeEnd = fn(Attached<'_>) -> Result<()>;

static BEFORE_END: OnceLock<BeforeEnd> = OnceLock::new();

/// Whether CPython calls what is here: programs that `pyox-link` has not linked do not.
static IS_LINKED: AtomicBool = AtomicBool::new(false);

/// Whether the main interpreter starts without collections.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Has a function called before the collections that look at what is left of an interpreter's modules; false where
/// nothing will call it.
pub(crate) fn before_end(call: BeforeEnd) -> bool {
    BEFORE_END.get_or_init(|| call);
    IS_LINKED.load(Ordering::Relaxed)
}

/// Whether CPython calls the functions that have the place of its own.
pub(super) fn is_linked() -> bool {
    IS_LINKED.load(Ordering::Relaxed)
}

/// Lets the main interpreter start without collections, until [`resume`].
pub(crate) fn start_without_collections() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// To be called in the main interpreter's start.
pub(super) fn note_start() {
    IS_LINKED.store(true, Ordering::Relaxed);
    #[cfg(Py_3_12)]
    // SAFETY: as below.
    unsafe {
        freeing::note_types();
    }
    if IS_QUIET.load(Ordering::Relaxed) {
        // SAFETY: the thread that starts an interpreter is attached to it.
        unsafe { c::PyGC_Disable() };
    }
}

/// Ends what [`start_without_collections`] began.
pub(crate) fn resume(_: Attached<'_>) {
    if IS_QUIET.swap(false, Ordering::Relaxed) {
        // SAFETY: this thread is attached.
        unsafe { c::PyGC_Enable() };
    }
}

/// Collects all garbage, so that an image of the process holds none.
pub(crate) fn collect(_: Attached<'_>) {
    for _ in 0..2 {
        // SAFETY: this thread is attached.
        unsafe { c::PyGC_Collect() };
    }
}

interpose! {
    fn _PyGC_CollectNoFail(state: *mut c::PyThreadState) -> isize, else { let _ = state; 0 };
    {
        let attached = Attached::assume();
        let is_main = subinterpreters::is_main(state);
        if is_main && snapshot::is_resumed() {
            return real(state);
        }
        if let Some(call) = BEFORE_END.get() {
            // A panic must not unwind CPython's frames.
            let _ = catch_unwind(AssertUnwindSafe(|| attached.aside(|| call(attached))));
        }
        #[cfg(Py_3_12)]
        if is_main {
            freeing::set_apart(attached);
        }
        real(state)
    }
}
