//! Printing of exceptions that nobody handles, with source lines from the blob.
//!
//! CPython's own printers look for sources in the file system alone (since 3.13 that of `sys.excepthook` asks
//! the importer). The functions here print the same through the `traceback` module, which asks the importer
//! in every version; where that fails, as it may while the interpreter ends, CPython's own print.

use std::ffi::CStr;

use super::python::{Half, python_half};
use crate::ffi::{Attached, Function, Kept, Object, Own, Result};

static PYTHON: Half = python_half!("hooks.py");

/// CPython's own functions.
static UNRAISABLE: Own<Kept> = Own::new();
static EXCEPTION: Own<Kept> = Own::new();
static THREAD: Own<Kept> = Own::new();

static UNRAISABLEHOOK: Function = Function {
    name: c"unraisablehook",
    parameters: &["unraisable"],
    required: 1,
    body: |attached, arguments| {
        print(attached, c"unraisablehook", &UNRAISABLE, [arguments.required(0)])
    },
};

static EXCEPTHOOK: Function = Function {
    name: c"excepthook",
    parameters: &["exctype", "value", "traceback"],
    required: 3,
    body: |attached, arguments| {
        let [class, value, trace] = [0, 1, 2].map(|place| arguments.required(place));
        print(attached, c"excepthook", &EXCEPTION, [class, value, trace])
    },
};

static THREAD_EXCEPTHOOK: Function = Function {
    name: c"_excepthook",
    parameters: &["args"],
    required: 1,
    body: |attached, arguments| {
        print(attached, c"thread_excepthook", &THREAD, [arguments.required(0)])
    },
};

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

/// Puts the hooks of `sys` in place.
pub(super) fn install(attached: Attached<'_>) -> Result<()> {
    replace(attached, c"unraisablehook", c"__unraisablehook__", &UNRAISABLEHOOK, &UNRAISABLE)?;
    if cfg!(Py_3_13) {
        return Ok(());
    }
    replace(attached, c"excepthook", c"__excepthook__", &EXCEPTHOOK, &EXCEPTION)
}

/// Puts the hook of `threading` in place, once that module has run.
pub(super) fn install_threading(threading: &Object<'_>) -> Result<()> {
    if cfg!(Py_3_13) {
        return Ok(());
    }
    let original = threading.attribute(c"excepthook")?.keep();
    THREAD.get_or_set(original);
    let hook = THREAD_EXCEPTHOOK.object(threading.attached())?;
    threading.set_attribute(c"excepthook", &hook)?;
    threading.set_attribute(c"__excepthook__", &hook)
}

fn replace(
    attached: Attached<'_>,
    name: &CStr,
    backup: &CStr,
    function: &'static Function,
    original: &Own<Kept>,
) -> Result<()> {
    let kept = attached.sys(name)?.keep();
    original.get_or_set(kept);
    let hook = function.object(attached)?;
    attached.set_sys(name, &hook)?;
    attached.set_sys(backup, &hook)
}

fn print<'py, const N: usize>(
    attached: Attached<'py>,
    function: &CStr,
    original: &Own<Kept>,
    arguments: [&Object<'py>; N],
) -> Result<Object<'py>> {
    let printed = PYTHON.get(attached, function).and_then(|print| print.call(arguments));
    match (printed, original.get()) {
        (Err(raised), Some(original)) => {
            drop(attached.take(raised));
            original.get(attached).call(arguments)
        }
        (printed, _) => printed,
    }
}
