//! Printing of exceptions that nobody handles, with source lines from the blob.
//!
//! CPython's own printers look for sources in the file system alone (since 3.13 that of `sys.excepthook` asks
//! the importer). The functions here print the same through the `traceback` module, which asks the importer
//! in every version; where that fails, as it may while the interpreter ends, CPython's own print.

use std::ffi::CStr;

use super::python::{Half, python_half};
use crate::ffi::{Attached, Function, Kept, Object, Own, Replacement, Result, in_place_of};

static PYTHON: Half = python_half!("hooks.py");

/// CPython's own functions.
static UNRAISABLE: Own<Kept> = Own::new();
static EXCEPTION: Own<Kept> = Own::new();
static THREAD: Own<Kept> = Own::new();

/// `sys.unraisablehook`
struct UnraisableHook;

impl Replacement for UnraisableHook {
    const NAME: &'static str = "unraisablehook";
    const COUNT: usize = 1;

    fn call<'py>(attached: Attached<'py>, arguments: &[Object<'py>]) -> Result<Object<'py>> {
        print(attached, c"unraisablehook", &UNRAISABLE, arguments)
    }
}

/// `sys.excepthook`
struct ExceptHook;

impl Replacement for ExceptHook {
    const NAME: &'static str = "excepthook";
    const COUNT: usize = 3;

    fn call<'py>(attached: Attached<'py>, arguments: &[Object<'py>]) -> Result<Object<'py>> {
        print(attached, c"excepthook", &EXCEPTION, arguments)
    }
}

/// `threading.excepthook`, which that module takes from `_thread`.
struct ThreadExceptHook;

impl Replacement for ThreadExceptHook {
    const NAME: &'static str = "_excepthook";
    const COUNT: usize = 1;

    fn call<'py>(attached: Attached<'py>, arguments: &[Object<'py>]) -> Result<Object<'py>> {
        print(attached, c"thread_excepthook", &THREAD, arguments)
    }
}

/// `_suggestion(exception)`: what 3.11's own printer adds to a message; later versions of `traceback` know it
/// themselves.
pub(super) static SUGGESTION: Function = Function {
    name: c"_suggestion",
    parameters: &["exception"],
    required: 1,
    body: |attached, arguments| {
        let suggestion = crate::ffi::suggestion(arguments.required(0));
        Ok(suggestion.unwrap_or_else(|| attached.none()))
    },
};

/// Puts the hooks in place.
pub(super) fn install(attached: Attached<'_>) -> Result<()> {
    let sys = attached.import(c"sys")?;
    let names = [c"unraisablehook", c"__unraisablehook__"];
    replace::<UnraisableHook>(&sys, &names, &UNRAISABLE)?;
    if cfg!(Py_3_13) {
        return Ok(());
    }
    replace::<ExceptHook>(&sys, &[c"excepthook", c"__excepthook__"], &EXCEPTION)?;
    replace::<ThreadExceptHook>(&attached.import(c"_thread")?, &[c"_excepthook"], &THREAD)
}

/// Replaces a function that a module has under these names.
fn replace<R: Replacement>(
    module: &Object<'_>,
    names: &[&CStr],
    original: &Own<Kept>,
) -> Result<()> {
    let Some(first) = names.first() else { return Ok(()) };
    let found = module.attribute(first)?;
    let hook = in_place_of::<R>(&found)?;
    original.get_or_set(found.keep());
    names.iter().try_for_each(|name| module.set_attribute(name, &hook))
}

fn print<'py>(
    attached: Attached<'py>,
    function: &CStr,
    original: &Own<Kept>,
    arguments: &[Object<'py>],
) -> Result<Object<'py>> {
    let printed = PYTHON.get(attached, function).and_then(|print| print.call_with(arguments));
    match (printed, original.get()) {
        (Err(raised), Some(original)) => {
            drop(attached.take(raised));
            original.get(attached).call_with(arguments)
        }
        (printed, _) => printed,
    }
}
