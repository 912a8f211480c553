//! pyembed for programs in C: the functions of `pyembed.h`, which documents them.
//!
//! There is one interpreter, as in [`pyembed::MainPythonInterpreter`], and it belongs to the thread that has started it.

// C's strings and pointers are taken at the caller's word.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyembed::{BuiltinInit, Error, MainPythonInterpreter, PythonConfig};

const DONE: c_int = 0;
const FAILED: c_int = 1;
const EXIT: c_int = 2;

thread_local! {
    /// Ended by `pyembed_end` alone: at the end of a thread it would be too late for Python's own clean-up.
    static RUNNING: RefCell<Option<ManuallyDrop<MainPythonInterpreter>>> = const { RefCell::new(None) };
    static OUTCOME: RefCell<(CString, c_int)> = RefCell::default();
    static BUILTIN: RefCell<Vec<(&'static CStr, BuiltinInit)>> = const { RefCell::new(Vec::new()) };
}

/// `struct pyembed_options`.
#[repr(C)]
#[derive(Debug)]
pub struct Options {
    argc: c_int,
    argv: *const *const c_char,
    blob_file: *const c_char,
    search_path: *const *const c_char,
}

/// Runs what the blob says; gives the exit status.
///
/// # Safety
/// `argv` is null, or has `count` C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_main(count: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the caller's word.
    let argv = unsafe { strings(argv, usize::try_from(count).unwrap_or(0)) };
    let config = PythonConfig::embedded().map(|config| with_arguments(config, argv));
    match config.and_then(MainPythonInterpreter::new) {
        Ok(interpreter) => interpreter.run(),
        Err(Error::Exit(status)) => status,
        Err(error) => {
            let program = std::env::args_os().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or(&program);
            eprintln!("{}: error: {error}", name.display());
            2
        }
    }
}

/// Starts the interpreter.
///
/// # Safety
/// `options` is null, or points to options whose strings are C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_start(options: *const Options) -> c_int {
    let start = || {
        // SAFETY: the caller's word; a list of folders ends with a null.
        let (argv, blob, folders) = unsafe {
            match options.as_ref() {
                Some(o) => (
                    strings(o.argv, usize::try_from(o.argc).unwrap_or(0)),
                    string(o.blob_file),
                    strings(o.search_path, usize::MAX),
                ),
                None => (Vec::new(), None, Vec::new()),
            }
        };
        let config = match blob {
            Some(path) => PythonConfig::from_file(Path::new(&path))?,
            None => PythonConfig::embedded()?,
        };
        let config =
            folders.into_iter().fold(with_arguments(config, argv), PythonConfig::search_path);
        let builtin = BUILTIN.take().into_iter();
        let config = builtin.fold(config, |config, (name, init)| config.builtin_module(name, init));
        let interpreter = MainPythonInterpreter::new(config)?;
        RUNNING.set(Some(ManuallyDrop::new(interpreter)));
        Ok(())
    };
    finish(start())
}

/// Adds a module of the program's own, for the next start.
///
/// # Safety
/// `name` is a C string that stays, and `init` makes a module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_add_builtin(name: *const c_char, init: BuiltinInit) {
    // SAFETY: the caller's word.
    BUILTIN.with_borrow_mut(|modules| modules.push((unsafe { CStr::from_ptr(name) }, init)));
}

/// Runs source in `__main__`.
///
/// # Safety
/// `source` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_run_code(source: *const c_char) -> c_int {
    // SAFETY: the caller's word.
    let source = unsafe { CStr::from_ptr(source) }.to_string_lossy();
    with(|interpreter| interpreter.run_code(&source))
}

/// Runs a module as `__main__`.
///
/// # Safety
/// `name` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_run_module(name: *const c_char) -> c_int {
    // SAFETY: the caller's word.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    with(|interpreter| interpreter.run_module(&name))
}

/// Runs a script of the file system as `__main__`.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pyembed_run_file(path: *const c_char) -> c_int {
    // SAFETY: the caller's word.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
    with(|interpreter| interpreter.run_file(path))
}

/// A session on stdin.
#[unsafe(no_mangle)]
pub extern "C" fn pyembed_repl() -> c_int {
    with(MainPythonInterpreter::repl)
}

/// Ends the interpreter.
#[unsafe(no_mangle)]
pub extern "C" fn pyembed_end() {
    // Code that the interpreter runs cannot end it.
    let running = RUNNING.with(|running| running.try_borrow_mut().ok().and_then(|mut r| r.take()));
    drop(running.map(ManuallyDrop::into_inner));
}

/// What the last call of this thread that failed has to say.
#[unsafe(no_mangle)]
pub extern "C" fn pyembed_error() -> *const c_char {
    OUTCOME.with_borrow(|outcome| outcome.0.as_ptr())
}

/// The exit status that Python asked for.
#[unsafe(no_mangle)]
pub extern "C" fn pyembed_exit_status() -> c_int {
    OUTCOME.with_borrow(|outcome| outcome.1)
}

fn with(body: impl FnOnce(&MainPythonInterpreter) -> Result<(), Error>) -> c_int {
    RUNNING.with_borrow(|running| {
        if let Some(interpreter) = running {
            return finish(body(interpreter));
        }
        note("expected an interpreter that this thread has started, found none", 0);
        FAILED
    })
}

/// Keeps what went wrong for whoever asks, and tells how it went.
fn finish(result: Result<(), Error>) -> c_int {
    match result {
        Ok(()) => DONE,
        Err(Error::Exit(status)) => {
            note(&format!("exit status {status}"), status);
            EXIT
        }
        Err(Error::Raised(error)) => {
            note(&error.traceback, 1);
            FAILED
        }
        Err(error) => {
            note(&error.to_string(), 2);
            FAILED
        }
    }
}

fn note(text: &str, status: c_int) {
    let text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
    OUTCOME.set((text, status));
}

fn with_arguments(config: PythonConfig, argv: Vec<OsString>) -> PythonConfig {
    if argv.is_empty() { config } else { config.argv(argv) }
}

/// A string that may be missing.
///
/// # Safety
/// `text` is null or a C string.
unsafe fn string(text: *const c_char) -> Option<OsString> {
    // SAFETY: the caller's word.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
    text.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned())
}

/// Strings up to a number or a null.
///
/// # Safety
/// `list` is null, or has so many C strings or a null before.
unsafe fn strings(list: *const *const c_char, most: usize) -> Vec<OsString> {
    let mut texts = Vec::new();
    while !list.is_null() && texts.len() < most {
        // SAFETY: the caller's word.
        let Some(text) = (unsafe { string(*list.add(texts.len())) }) else { break };
        texts.push(text);
    }
    texts
}
