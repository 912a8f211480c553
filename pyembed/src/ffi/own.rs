//! What belongs to one interpreter of the process: there may be several, at once and one after the other.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pyo3_ffi as c;

/// A value for each interpreter, made when that first needs it.
///
/// Looking it up costs a walk through the values of all interpreters, of which nearly every process has one. Values stay
/// as long as the process. There is no lock: interpreters with locks of their own look up at the same time.
pub(crate) struct Own<T: 'static> {
    last: AtomicPtr<Owned<T>>,
}

struct Owned<T: 'static> {
    owner: Identity,
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
            if found.owner == owner {
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
        let new = Box::into_raw(Box::new(Owned { owner, value, next }));
        loop {
            // SAFETY: the value is ours alone until it is stored, and stays from then on.
            unsafe { (*new).next = next };
            match self.last.compare_exchange(next, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: as above.
                Ok(_) => return unsafe { &(*new).value },
                Err(other) => next = other,
            }
        }
    }
}
