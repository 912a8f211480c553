//! Further interpreters of the process: they get the importer while they start, before they import anything that is not
//! part of libpython.
//!
//! Each interpreter that starts calls one function of CPython when its import system is complete, whoever has asked for
//! the interpreter. `pyox-link` gives the place of that function away (`--wrap`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3_ffi as c;

use super::{Attached, Result};
use crate::files::interpose;

/// What is called in each new interpreter.
type Prepare = fn(Attached<'_>) -> Result<()>;

static PREPARE: OnceLock<Prepare> = OnceLock::new();

/// Has a function called in each interpreter that comes from now on.
pub(crate) fn prepare_by(prepare: Prepare) {
    PREPARE.get_or_init(|| prepare);
}

/// Prepares an interpreter whose import system is complete; the main one prepares itself.
///
/// # Safety
/// This thread must be attached to the interpreter of `state`.
unsafe fn prepare(state: *mut c::PyThreadState, status: c::PyStatus) -> c::PyStatus {
    // SAFETY: the caller's word; the messages are static.
    unsafe {
        let is_main = c::PyInterpreterState_GetID(c::PyThreadState_GetInterpreter(state)) == 0;
        let Some(prepare) = PREPARE.get().filter(|_| !is_main) else { return status };
        if c::PyStatus_Exception(status) != 0 {
            return status;
        }
        let attached = Attached::assume();
        match catch_unwind(AssertUnwindSafe(|| prepare(attached))) {
            Ok(Ok(())) => status,
            Ok(Err(_)) => {
                c::PyErr_PrintEx(0);
                c::PyStatus_Error(c"the importer cannot be installed".as_ptr())
            }
            Err(_) => c::PyStatus_Error(c"the importer panicked".as_ptr()),
        }
    }
}

#[cfg(Py_3_12)]
interpose! {
    fn _PyImport_InitExternal(state: *mut c::PyThreadState) -> c::PyStatus,
    // SAFETY: makes a value.
    else unsafe { c::PyStatus_Ok() };
    { prepare(state, real(state)) }
}

#[cfg(not(Py_3_12))]
interpose! {
    fn _PyImportZip_Init(state: *mut c::PyThreadState) -> c::PyStatus,
    // SAFETY: makes a value.
    else unsafe { c::PyStatus_Ok() };
    { prepare(state, real(state)) }
}
