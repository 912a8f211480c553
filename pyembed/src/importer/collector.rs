//! The garbage collector while modules are imported.
//!
//! Importing makes many objects and hardly any garbage: functions, classes and constants all survive.
//! CPython's collector looks at them every 700 (3.13: 2000) allocations anyway, a tenth of an
//! import's time. While an import runs, the threshold is raised, so that only code that allocates
//! like a running program causes a collection. Afterwards the survivors go to the oldest
//! generation without having been looked at. They stay collectable.
//!
//! What the start has made is set aside from collections as long as the program runs, because nothing of it is garbage.
//! A program that imports `gc` finds nothing set aside. The collections at the end of the interpreter are CPython's own and
//! see every object, because any object may keep one alive that holds unwritten data.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::ffi::{self, Attached, Kept, Object, Own, Result};

/// Allocations between two collections while an import runs.
const RAISED: i64 = 100_000;

/// How many imports are under way, in all threads.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

static FUNCTIONS: Own<Functions> = Own::new();

/// Functions of the module `gc`.
struct Functions {
    get_threshold: Kept,
    set_threshold: Kept,
    get_count: Kept,
    get_freeze_count: Kept,
    freeze: Kept,
    unfreeze: Kept,
    /// Whether what is frozen is what the start has made.
    is_aside: AtomicBool,
    /// Whether `gc` was imported before.
    is_known: bool,
}

/// Looks the collector's functions up.
pub(super) fn install(attached: Attached<'_>) -> Result<()> {
    let known = attached.loaded_module("gc")?;
    let is_known = known.is_some();
    let gc = match known {
        Some(gc) => gc,
        None => unlisted(attached, "gc")?,
    };
    let functions = Functions {
        get_threshold: gc.attribute(c"get_threshold")?.keep(),
        set_threshold: gc.attribute(c"set_threshold")?.keep(),
        get_count: gc.attribute(c"get_count")?.keep(),
        get_freeze_count: gc.attribute(c"get_freeze_count")?.keep(),
        freeze: gc.attribute(c"freeze")?.keep(),
        unfreeze: gc.attribute(c"unfreeze")?.keep(),
        is_aside: AtomicBool::new(false),
        is_known,
    };
    FUNCTIONS.get_or_set(functions);
    Ok(())
}

/// A built-in module that is not imported, because `python` has not imported it either.
pub(crate) fn unlisted<'py>(attached: Attached<'py>, name: &str) -> Result<Object<'py>> {
    let (name, none) = (attached.string(name)?, attached.none());
    let class = attached.import(c"_frozen_importlib")?.attribute(c"ModuleSpec")?;
    let functions = attached.import(c"_imp")?;
    let module = functions.call_method(c"create_builtin", [&class.call([&name, &none])?])?;
    functions.call_method(c"exec_builtin", [&module])?;
    // CPython 3.11 lists some of them all the same.
    attached.sys(c"modules")?.call_method(c"pop", [&name, &none])?;
    Ok(module)
}

/// Sets aside what the start has made, and lets collections begin.
pub(super) fn begin(attached: Attached<'_>) -> Result<()> {
    // CPython 3.12 sets some of it aside itself.
    if let Some(gc) = FUNCTIONS.get()
        && gc.get_freeze_count.get(attached).call([])?.as_integer()? == 0
    {
        gc.freeze.get(attached).call([])?;
        if ffi::before_end(thaw) && !gc.is_known {
            gc.is_aside.store(true, Ordering::Relaxed);
        } else {
            gc.unfreeze.get(attached).call([])?;
        }
    }
    ffi::resume(attached);
    Ok(())
}

/// Gives what the start has made back to the collections.
pub(super) fn thaw(attached: Attached<'_>) -> Result<()> {
    match FUNCTIONS.get().filter(|gc| gc.is_aside.swap(false, Ordering::Relaxed)) {
        Some(gc) => gc.unfreeze.get(attached).call([]).map(|_| ()),
        None => Ok(()),
    }
}

/// Sets everything aside that there is, in a process whose image is taken: all of it lives for ever, and a process that begins with
/// the image need not look at it. A program that imports `gc` finds nothing set aside.
pub(crate) fn set_aside(attached: Attached<'_>) -> Result<()> {
    let Some(gc) = FUNCTIONS.get().filter(|gc| !gc.is_known) else { return Ok(()) };
    if attached.loaded_module("gc")?.is_none() {
        gc.freeze.get(attached).call([])?;
        gc.is_aside.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Runs `body`, an import, with the collector's threshold raised.
pub(super) fn deferred<'py>(
    attached: Attached<'py>,
    body: impl FnOnce() -> Result<Object<'py>>,
) -> Result<Object<'py>> {
    let Some(gc) = FUNCTIONS.get().filter(|_| DEPTH.load(Ordering::Relaxed) == 0) else {
        return body();
    };
    DEPTH.store(1, Ordering::Relaxed);
    let before = gc.raise(attached);
    let result = body();
    DEPTH.store(0, Ordering::Relaxed);
    match (before?, &result) {
        (Some(before), Ok(_)) => gc.restore(attached, before)?,
        // The exception that is on its way matters more than a threshold.
        (Some(before), Err(_)) => attached.aside(|| gc.restore(attached, before)),
        (None, _) => {}
    }
    result
}

impl Functions {
    /// Raises the threshold, and gives what it was; nothing where the collector is off.
    fn raise(&self, attached: Attached<'_>) -> Result<Option<i64>> {
        let before = youngest(&self.get_threshold.get(attached).call([])?)?;
        if before == 0 || before >= RAISED {
            return Ok(None);
        }
        self.set_threshold.get(attached).call([&attached.integer(RAISED)?])?;
        Ok(Some(before))
    }

    fn restore(&self, attached: Attached<'_>, before: i64) -> Result<()> {
        if youngest(&self.get_threshold.get(attached).call([])?)? != RAISED {
            // The application has set one of its own meanwhile.
            return Ok(());
        }
        self.set_threshold.get(attached).call([&attached.integer(before)?])?;
        if youngest(&self.get_count.get(attached).call([])?)? <= before {
            return Ok(());
        }
        if ffi::is_resumed() && self.is_aside.load(Ordering::Relaxed) {
            // What the image holds would be among it.
            return Ok(());
        }
        // Freezing and thawing moves all generations into the oldest at no cost. What an application
        // has frozen itself must not be thawed.
        if self.is_aside.swap(false, Ordering::Relaxed)
            || self.get_freeze_count.get(attached).call([])?.as_integer()? == 0
        {
            self.freeze.get(attached).call([])?;
            self.unfreeze.get(attached).call([])?;
        }
        Ok(())
    }
}

/// The youngest generation's number in a tuple of three.
fn youngest(generations: &Object<'_>) -> Result<i64> {
    generations.item_at(0)?.as_integer()
}
