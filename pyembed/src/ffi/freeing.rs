//! What CPython frees last, when no code of Python's can run any more: its own types, exceptions and texts. The system takes
//! the memory of a process that ends, and faster.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3_ffi as c;

use crate::files::interpose;

/// Whether the process ends with the interpreter.
static IS_LAST: AtomicBool = AtomicBool::new(false);

/// To be called by a program that only ends when its interpreter has ended: what CPython frees last is left to the system.
/// No other interpreter can start in the process.
#[doc(hidden)]
pub fn leave_to_the_system() {
    IS_LAST.store(true, Ordering::Relaxed);
}

/// Whether what is an interpreter's is left. A program may make and end many further ones; and a debug build counts what is left.
fn is_left(interpreter: *mut c::PyInterpreterState) -> bool {
    // SAFETY: asks.
    let is_main = || interpreter == unsafe { c::PyInterpreterState_Main() };
    IS_LAST.load(Ordering::Relaxed) && !cfg!(py_sys_config = "Py_DEBUG") && is_main()
}

interpose! {
    fn _PyExc_Fini | _PyTypes_Fini | _PyTypes_FiniTypes | _PyUnicode_ClearInterned
    (interpreter: *mut c::PyInterpreterState) -> (), else { let _ = interpreter; };
    {
        if !is_left(interpreter) {
            real(interpreter);
        }
    }
}
