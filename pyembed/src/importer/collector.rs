//! The garbage collector while modules are imported.
//!
//! Importing makes many objects and hardly any garbage: functions, classes and constants all survive.
//! CPython's collector looks at them every 700 (3.13: 2000) allocations nevertheless, a tenth of an
//! import's time. While an import runs, the threshold is raised, so that only code which allocates
//! as a running program does sees a collection; afterwards the survivors go to the oldest
//! generation without having been looked at. They stay collectable.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::ffi::{Attached, Object, Result};

/// Allocations between two collections while an import runs.
const RAISED: i64 = 100_000;

/// How many imports are under way, in all threads.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
/// Whether what start-up made is still set aside, see [`super::startup::settle`].
static SETTLED: AtomicBool = AtomicBool::new(true);

/// Runs `body`, an import, with the collector's threshold raised.
pub(super) fn deferred<'py>(
    attached: Attached<'py>,
    body: impl FnOnce() -> Result<Object<'py>>,
) -> Result<Object<'py>> {
    if DEPTH.fetch_add(1, Ordering::Relaxed) > 0 {
        let result = body();
        DEPTH.fetch_sub(1, Ordering::Relaxed);
        return result;
    }
    let before = raise_threshold(attached);
    let result = body();
    DEPTH.fetch_sub(1, Ordering::Relaxed);
    match (before, &result) {
        (Ok(Some(before)), Ok(_)) => restore_threshold(attached, &before)?,
        // The exception that is on its way matters more than a threshold.
        (Ok(Some(before)), Err(_)) => attached.aside(|| restore_threshold(attached, &before)),
        _ => {}
    }
    result
}

/// Raises the threshold, and gives what it was; nothing where the collector is off.
fn raise_threshold(attached: Attached<'_>) -> Result<Option<Object<'_>>> {
    let gc = attached.import(c"gc")?;
    let before = gc.call_method(c"get_threshold", [])?;
    let youngest = first(&before)?;
    if youngest == 0 || youngest >= RAISED {
        return Ok(None);
    }
    gc.call_method(c"set_threshold", [&attached.integer(RAISED)?])?;
    Ok(Some(before))
}

fn restore_threshold<'py>(attached: Attached<'py>, before: &Object<'py>) -> Result<()> {
    let gc = attached.import(c"gc")?;
    if first(&gc.call_method(c"get_threshold", [])?)? != RAISED {
        // The application has set one of its own meanwhile.
        return Ok(());
    }
    let youngest = first(before)?;
    gc.call_method(c"set_threshold", [&attached.integer(youngest)?])?;
    if first(&gc.call_method(c"get_count", [])?)? <= youngest {
        return Ok(());
    }
    // Freezing and thawing moves all generations into the oldest at no cost. An application that
    // has frozen objects itself must not see them thawed.
    let untouched = SETTLED.swap(false, Ordering::Relaxed)
        || count(&gc, c"get_freeze_count")? == 0;
    if untouched {
        gc.call_method(c"freeze", [])?;
        gc.call_method(c"unfreeze", [])?;
    }
    Ok(())
}

fn count(gc: &Object<'_>, method: &CStr) -> Result<i64> {
    gc.call_method(method, [])?.as_integer()
}

/// The youngest generation's number in a tuple of three.
fn first(generations: &Object<'_>) -> Result<i64> {
    let zero = generations.attached().integer(0)?;
    generations.call_method(c"__getitem__", [&zero])?.as_integer()
}
