//! The `main` of an executable that pyox links, and the room for its blob.
//!
//! It is linked into `libpyembed_runner.a` with `pyembed-c`. A program that has a `main` of its own, and a blob, can link
//! the same library: then this stays out.

// The one thing here that the compiler cannot check is that nobody else defines these symbols.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::ptr;

// What the blob replaces; `pyox-link` finds it by its section. It is written for the assembler because the
// compiler would take the zeroes of a Rust constant at their word.
std::arch::global_asm!(
    r#".section .pyox_blob, "a", @progbits"#,
    ".balign 4096",
    ".globl pyox_blob",
    ".hidden pyox_blob",
    "pyox_blob:",
    ".zero 4096",
    ".previous",
);

/// Where C's start-up code enters.
///
/// Rust's standard library has noted the command line before, in `.init_array`, so that
/// `std::env::args_os` knows it although Rust's own `main` is not there.
///
/// # Safety
/// For C's start-up code alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: this is the first call, with what the process was given; the other takes no arguments.
    unsafe {
        pyembed::enter(count, arguments).unwrap_or_else(|| {
            pyembed::leave_to_the_system();
            pyembed_c::pyembed_main(0, ptr::null())
        })
    }
}
