//! Further interpreters of the process: they get the importer while they start, before they import anything that is not
//! part of libpython.
//!
//! Each interpreter that starts calls one function of CPython when its import system is complete, whoever has asked for
//! the interpreter. `pyox-link` gives the place of that function away (`--wrap`).

#[cfg(Py_3_12)]
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3_ffi as c;

use super::{Attached, Own, Result, collections};
use crate::files::interpose;

/// What is called in each new interpreter.
type Prepare = fn(Attached<'_>) -> Result<()>;

static PREPARE: OnceLock<Prepare> = OnceLock::new();

/// Has a function called in each interpreter that comes from now on.
pub(crate) fn prepare_by(prepare: Prepare) {
    PREPARE.get_or_init(|| prepare);
}

/// How many path hooks there are when the import system is complete: zipimport's and that for folders.
const COMPLETE: i64 = 2;

/// Whether an interpreter is the process's first.
///
/// # Safety
/// `state` must be a thread's of an interpreter that is alive.
pub(super) unsafe fn is_main(state: *mut c::PyThreadState) -> bool {
    // SAFETY: the caller's word.
    unsafe { c::PyInterpreterState_GetID(c::PyThreadState_GetInterpreter(state)) == 0 }
}

/// Prepares an interpreter that nothing has prepared, before its first import from files. That is how it goes where libpython
/// is a library of its own: there CPython's function keeps its place.
pub(super) fn prepare_late(attached: Attached<'_>) -> Result<()> {
    static PREPARED: Own<()> = Own::new();
    // SAFETY: this thread is attached to an interpreter.
    let is_main = unsafe { is_main(super::own::thread_state()) };
    if is_main || collections::is_linked() || PREPARED.get().is_some() {
        return Ok(());
    }
    // CPython completes the import system with imports of its own: those of importlib's second half, and of zipimport.
    if attached.sys(c"path_hooks")?.call_method(c"__len__", [])?.as_integer()? < COMPLETE {
        return Ok(());
    }
    // Before, because it imports something itself.
    PREPARED.get_or_set(());
    PREPARE.get().map_or(Ok(()), |prepare| prepare(attached))
}

/// Completes an interpreter's import system by CPython's own function, and prepares the interpreter; the main one
/// prepares itself.
///
/// # Safety
/// This thread must be attached to the interpreter of `state`.
unsafe fn complete(
    state: *mut c::PyThreadState,
    real: unsafe extern "C-unwind" fn(*mut c::PyThreadState) -> c::PyStatus,
) -> c::PyStatus {
    // SAFETY: the caller's word; the messages are static.
    unsafe {
        if is_main(state) {
            // Later than below, before 3.12.
            collections::note_start();
            return real(state);
        }
        let status = real(state);
        let Some(prepare) = PREPARE.get() else { return status };
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
    fn _PyImport_InitCore(state: *mut c::PyThreadState, importlib: *mut c::PyObject, installs: c_int) -> c::PyStatus,
    // SAFETY: makes a value.
    else { let _ = (state, importlib, installs); unsafe { c::PyStatus_Ok() } };
    {
        if is_main(state) {
            collections::note_start();
        }
        real(state, importlib, installs)
    }
}

#[cfg(Py_3_12)]
interpose! {
    fn _PyImport_InitExternal(state: *mut c::PyThreadState) -> c::PyStatus,
    // SAFETY: makes a value.
    else unsafe { c::PyStatus_Ok() };
    { complete(state, real) }
}

#[cfg(not(Py_3_12))]
interpose! {
    fn _PyImportZip_Init(state: *mut c::PyThreadState) -> c::PyStatus,
    // SAFETY: makes a value.
    else unsafe { c::PyStatus_Ok() };
    { complete(state, real) }
}
