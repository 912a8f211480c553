//! Everything unsafe: CPython's C API, and the process's own memory.
//!
//! The rest of the crate is safe Rust over three ideas:
//!
//! - [`Attached`] is proof that this thread is attached to the interpreter (holds the GIL). Whoever
//!   has one may touch Python objects; nobody else can get at them.
//! - [`Object`] is an owned reference that lives no longer than that proof.
//! - [`Raised`] says that a Python exception is set and on its way. It is the error of everything that
//!   calls Python, so `?` passes an exception on as C's `return NULL` does.

#![allow(unsafe_code)]

mod arenas;
mod child;
mod collections;
mod freeing;
mod function;
mod late;
mod library;
mod object;
mod original;
mod own;
mod section;
mod shared_object;
mod snapshot;
mod start;
mod static_executable;
mod subinterpreters;
mod unwinding;

pub(crate) use arenas::use_large_pages;
pub(crate) use child::{Claim, VARIABLE, claim, is_secure};
pub(crate) use collections::{before_end, collect, resume, start_without_collections};
pub use freeing::leave_to_the_system;
pub(crate) use function::{Arguments, Function};
pub(crate) use late::{bind, has_python, keeps_its_calls};
pub(crate) use library::{LoadedLibrary, offer_python, resolve_paths_by};
pub(crate) use object::{Attached, Exception, Kept, Object, Raised, Result};
pub(crate) use original::Original;
pub(crate) use own::Own;
pub(crate) use section::{embedded, executable, let_go, map};
pub use snapshot::enter;
pub(crate) use snapshot::{
    Facts, Guards, Image, Request, configure_openssl, fail, has_libpython, has_loader, ignore,
    is_c_locale, is_ignored, is_open, is_recording, is_resumed, is_utf8_mode, is_watched, note,
    note_of, note_path, note_stream, notes, prepare_end, set_apart, take, take_profile,
    take_python, thread_number, watch,
};
pub use start::BuiltinInit;
pub(crate) use start::{Config, Interpreter, PathField, Place, PreConfig, Status};
pub(crate) use start::{
    add_builtin, begins_session, bytecode_magic, decoded, die_of_interrupt, freeze,
    greet_with_site, locale_encoding, pre_initialize, print_exception, python_version, unfreeze,
    watch_imports, watch_interpreters,
};
pub(crate) use subinterpreters::prepare_by;
