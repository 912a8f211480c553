//! What CPython frees last, when no code of Python's can run any more: its own types, exceptions and texts. The system takes
//! the memory of a process that ends, and faster. The last collections need not look at it.

#[cfg(Py_3_12)]
use std::ffi::{c_int, c_void};
#[cfg(Py_3_12)]
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(Py_3_12)]
use std::sync::{Mutex, PoisonError};

use pyo3_ffi as c;

#[cfg(Py_3_12)]
use super::{Attached, snapshot};
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

/// Types of C code that the main interpreter has had from its beginning.
#[cfg(Py_3_12)]
static TYPES: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// To be called when the main interpreter has its types, and hardly anything else, because all objects are looked at. The
/// first call counts.
///
/// # Safety
/// The thread must be attached to it.
#[cfg(Py_3_12)]
pub(super) unsafe fn note_types() {
    // SAFETY: the list outlives the visit, which changes nothing.
    unsafe {
        let mut types = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = is_left(c::PyInterpreterState_Main()) && !snapshot::is_recording();
        if is_wanted && types.is_empty() {
            PyUnstable_GC_VisitObjects(note_type, (&raw mut *types).cast());
        }
    }
}

/// Takes what these types have as attributes out of the interpreter's last collections, where it is left.
///
/// No collection ever frees it, because collections do not see the types, which hold it; and descriptors hold nothing but
/// texts and types. It is a third of all objects that the start makes, and each of three collections would visit it.
#[cfg(Py_3_12)]
pub(super) fn set_apart(_: Attached<'_>) {
    let types = std::mem::take(&mut *TYPES.lock().unwrap_or_else(PoisonError::into_inner));
    for class in types {
        // SAFETY: this thread is attached. The types of C code live on.
        unsafe { set_attributes_apart(ptr::with_exposed_provenance_mut(class)) };
    }
}

/// Adds the type that an object describes to a list, if it is one of C code that has not just been added.
#[cfg(Py_3_12)]
unsafe extern "C" fn note_type(object: *mut c::PyObject, types: *mut c_void) -> c_int {
    // SAFETY: CPython shows an object that lives, and passes the list on.
    unsafe {
        let types = &mut *types.cast::<Vec<usize>>();
        if let Some(class) = described(object).map(<*mut _>::expose_provenance)
            && types.last() != Some(&class)
        {
            types.push(class);
        }
    }
    1
}

/// The type of C code that an object is a descriptor of, if it is one.
///
/// # Safety
/// The object must live.
#[cfg(Py_3_12)]
unsafe fn described(object: *mut c::PyObject) -> Option<*mut c::PyTypeObject> {
    // SAFETY: the caller's word; all these objects begin with the same fields.
    unsafe {
        let kinds = [
            &raw mut c::PyWrapperDescr_Type,
            &raw mut c::PyMethodDescr_Type,
            &raw mut c::PyMemberDescr_Type,
            &raw mut c::PyGetSetDescr_Type,
            &raw mut c::PyClassMethodDescr_Type,
        ];
        if !kinds.contains(&c::Py_TYPE(object)) {
            return None;
        }
        let class = (*object.cast::<c::PyDescrObject>()).d_type;
        (c::PyType_HasFeature(class, c::Py_TPFLAGS_HEAPTYPE) == 0).then_some(class)
    }
}

/// Takes the dictionary of a type and the descriptors in it out of all collections. What else is in it is visited, and found
/// to be held.
///
/// # Safety
/// The thread must be attached, and the type be one of C code that is never freed.
#[cfg(Py_3_12)]
unsafe fn set_attributes_apart(class: *mut c::PyTypeObject) {
    // SAFETY: the caller's word; what the dictionary has lives as long as it does, and nothing is changed in it.
    unsafe {
        let attributes = c::PyType_GetDict(class);
        let (mut position, mut value) = (0, ptr::null_mut());
        while c::PyDict_Next(attributes, &raw mut position, ptr::null_mut(), &raw mut value) != 0 {
            if described(value).is_some() && c::PyObject_GC_IsTracked(value) != 0 {
                // A reference keeps it: whoever frees it takes for granted that it is tracked.
                c::Py_INCREF(value);
                c::PyObject_GC_UnTrack(value.cast());
            }
        }
        c::PyObject_GC_UnTrack(attributes.cast());
    }
}

#[cfg(Py_3_12)]
unsafe extern "C" {
    /// Calls a function with each object that the collections see, as long as it gives 1.
    fn PyUnstable_GC_VisitObjects(
        visit: unsafe extern "C" fn(*mut c::PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    );
}
