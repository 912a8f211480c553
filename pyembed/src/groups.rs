//! The groups of blobs that were decoded last.
//!
//! Each thread has its own: there is no lock that a forked child could find taken, and code that interrupts other code finds
//! none, and decodes for itself.

use std::cell::Cell;

use pyox_blob::Groups;

use crate::ffi;

/// Calls a function with this thread's groups.
pub(crate) fn with<T>(body: impl FnOnce(&mut Groups<'static>) -> T) -> T {
    thread_local! {
        static GROUPS: Cell<Groups<'static>> = Cell::default();
    }
    // A process that is recorded leaves nothing behind. A thread that ends has none any more.
    let is_kept = !ffi::is_recording();
    let mut groups =
        if is_kept { GROUPS.try_with(Cell::take).unwrap_or_default() } else { Groups::default() };
    let result = body(&mut groups);
    if is_kept {
        let _ = GROUPS.try_with(|kept| kept.set(groups));
    }
    result
}
