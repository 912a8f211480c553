//! `dlerror`, for packed libraries: why one could not be loaded is known here and not to the dynamic loader.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use super::interpose::interpose;

/// The messages of a thread.
struct Messages {
    /// Of the last call of `dlopen`, until it is asked for.
    pending: Option<CString>,
    /// What was asked for; the caller looks at it until the next call.
    told: Option<CString>,
}

thread_local! {
    static MESSAGES: RefCell<Messages> = const { RefCell::new(Messages { pending: None, told: None }) };
}

/// Looks the C library's function up. That must not wait until there is an error, because it forgets it.
pub(crate) fn prepare() {
    // SAFETY: takes nothing, and what it gives is not looked at.
    unsafe { dlerror::interposed() };
}

/// Notes why the packed library that `dlopen` is about to fail with cannot be loaded; none forgets it.
pub(crate) fn note_failure(why: Option<String>) {
    let why = why.map(|why| CString::new(why.replace('\0', "")).unwrap_or_default());
    // At the end of a thread there is nobody to tell.
    let _ = MESSAGES.try_with(|messages| {
        if let Ok(mut messages) = messages.try_borrow_mut() {
            messages.pending = why;
        }
    });
}

interpose! { fn dlerror() -> *mut c_char {
    let message = real();
    if message.is_null() {
        return message;
    }
    let told = MESSAGES.try_with(|messages| {
        let mut messages = messages.try_borrow_mut().ok()?;
        messages.told = Some(messages.pending.take()?);
        messages.told.as_ref().map(|told| told.as_ptr().cast_mut())
    });
    told.ok().flatten().unwrap_or(message)
} }
