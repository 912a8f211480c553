//! What belongs to one interpreter of the process: there may be several, at once and one after the other.
//!
//! Objects that are kept for an interpreter are in a list of its dictionary, which CPython clears when nothing can be imported any
//! more and before it collects garbage for the last time. So they go with the interpreter.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use pyo3_ffi as c;

/// A value for each interpreter, made when that first needs it.
///
/// Looking it up costs a walk through the values of all interpreters, of which nearly every process has one. Values stay
/// as long as the process, and are found as long as their interpreter has its objects. There is no lock: interpreters with locks of their own look up at the same time.
pub(crate) struct Own<T: 'static> {
    last: AtomicPtr<Owned<T>>,
}

struct Owned<T: 'static> {
    owner: Identity,
    /// Whether the interpreter has let go of its objects.
    is_over: AtomicBool,
    value: T,
    next: *mut Owned<T>,
}

/// Which interpreter: its number, and how many main interpreters have ended before it. Numbers begin anew with each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    ended: u64,
    number: i64,
}

static ENDED: AtomicU64 = AtomicU64::new(0);

/// To be called when the main interpreter has ended, and with it all others.
pub(super) fn note_end() {
    ENDED.fetch_add(1, Ordering::Relaxed);
}

impl Identity {
    /// Of the interpreter that this thread is attached to; the main one where it is attached to none.
    fn here() -> Self {
        // SAFETY: the first function may be called at any time; an attached thread's interpreter is alive.
        let number = unsafe {
            match thread_state() {
                state if state.is_null() => 0,
                state => c::PyInterpreterState_GetID(c::PyThreadState_GetInterpreter(state)),
            }
        };
        Self { ended: ENDED.load(Ordering::Relaxed), number }
    }
}

unsafe extern "C" {
    /// Public since 3.13; null where the thread is not attached.
    #[cfg_attr(Py_3_13, link_name = "PyThreadState_GetUnchecked")]
    #[cfg_attr(not(Py_3_13), link_name = "_PyThreadState_UncheckedGet")]
    pub(super) fn thread_state() -> *mut c::PyThreadState;
}

impl<T: Send + Sync> Own<T> {
    pub(crate) const fn new() -> Self {
        Self { last: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value of this thread's interpreter.
    pub(crate) fn get(&self) -> Option<&'static T> {
        let owner = Identity::here();
        let mut next = self.last.load(Ordering::Acquire);
        // SAFETY: each pointer is null, or one to a value that was complete when it was stored and stays.
        while let Some(found) = unsafe { next.as_ref::<'static>() } {
            if found.owner == owner && !found.is_over.load(Ordering::Relaxed) {
                return Some(&found.value);
            }
            next = found.next;
        }
        None
    }

    /// The value of this thread's interpreter, which gets that one if it has none.
    pub(crate) fn get_or_set(&self, value: T) -> &'static T {
        self.get().unwrap_or_else(|| self.replace(value))
    }

    /// Gives this thread's interpreter a value. One that it had before stays, and is not found any more.
    pub(crate) fn replace(&self, value: T) -> &'static T {
        let owner = Identity::here();
        let mut next = self.last.load(Ordering::Acquire);
        let is_over = AtomicBool::new(false);
        let new = Box::into_raw(Box::new(Owned { owner, is_over, value, next }));
        loop {
            // SAFETY: the value is ours alone until it is stored, and stays from then on.
            unsafe { (*new).next = next };
            match self.last.compare_exchange(next, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: as above.
                    let new = unsafe { &*new };
                    if let Some(keeper) = Keeper::here() {
                        keeper.values.push(&new.is_over);
                    }
                    return &new.value;
                }
                Err(other) => next = other,
            }
        }
    }
}

/// What one interpreter keeps for this crate.
struct Keeper {
    /// A list.
    objects: NonNull<c::PyObject>,
    /// Of the values that are the interpreter's: whether they are over.
    values: Vec<&'static AtomicBool>,
}

/// The name of the capsule with it, in the interpreter's dictionary too.
const NAME: &CStr = c"pyembed.keeper";

impl Keeper {
    /// That of the interpreter that this thread is attached to. None where there is no memory, or no interpreter.
    fn here() -> Option<&'static mut Self> {
        // SAFETY: an attached thread asks its own interpreter, and nobody else uses what is in its dictionary under our name. The
        // box is the capsule's until that goes.
        unsafe {
            if thread_state().is_null() {
                return None;
            }
            let dictionary = c::PyInterpreterState_GetDict(c::PyInterpreterState_Get());
            let dictionary = NonNull::new(dictionary)?.as_ptr();
            let mut capsule = c::PyDict_GetItemString(dictionary, NAME.as_ptr());
            if capsule.is_null() {
                capsule = Self::put_into(dictionary)?;
            }
            c::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast::<Self>().as_mut()
        }
    }

    /// Makes one, and gives the capsule, which the dictionary owns.
    unsafe fn put_into(dictionary: *mut c::PyObject) -> Option<*mut c::PyObject> {
        // SAFETY: the caller's dictionary. What cannot be made leaves an exception, which is nobody's.
        unsafe {
            let made = || {
                let objects = NonNull::new(c::PyList_New(0))?;
                let keeper = Box::into_raw(Box::new(Self { objects, values: Vec::new() }));
                let capsule = c::PyCapsule_New(keeper.cast(), NAME.as_ptr(), Some(let_go));
                let capsule = NonNull::new(capsule)?.as_ptr();
                let status = c::PyDict_SetItemString(dictionary, NAME.as_ptr(), capsule);
                c::Py_DECREF(capsule);
                (status == 0).then_some(capsule)
            };
            let made = made();
            if made.is_none() {
                c::PyErr_Clear();
            }
            made
        }
    }
}

/// Has the interpreter keep an object as long as it lives. The caller's reference is not touched. False where there is no memory.
///
/// # Safety
/// This thread must be attached to the object's interpreter.
pub(super) unsafe fn keep(object: NonNull<c::PyObject>) -> bool {
    let Some(keeper) = Keeper::here() else { return false };
    // SAFETY: the caller's object, and a list that is alive.
    unsafe {
        let is_kept = c::PyList_Append(keeper.objects.as_ptr(), object.as_ptr()) == 0;
        if !is_kept {
            c::PyErr_Clear();
        }
        is_kept
    }
}

/// Lets go of what an interpreter has kept; called when its dictionary is cleared.
unsafe extern "C" fn let_go(capsule: *mut c::PyObject) {
    // SAFETY: CPython calls it once, with the capsule that `put_into` has made of a box.
    unsafe {
        let keeper = c::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast::<Keeper>();
        if keeper.is_null() {
            return;
        }
        let keeper = Box::from_raw(keeper);
        // First, because what goes now may call back.
        for is_over in &keeper.values {
            is_over.store(true, Ordering::Relaxed);
        }
        c::Py_DECREF(keeper.objects.as_ptr());
    }
}
