//! A file that is cut while it is mapped: `SIGBUS`, which ends a program without a word, gets one.

// What a signal calls may do next to nothing.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;

use pyox_stage::Content;
use signal_hook::consts::SIGBUS;
use signal_hook::low_level;

/// What is said then.
static LINE: OnceLock<String> = OnceLock::new();

/// Has `SIGBUS` end the program with a message and the status of errors.
pub(crate) fn is_told(tool: &str) {
    if LINE.set(format!("{tool}: error: {}\n", Content::CUT)).is_err() {
        return;
    }
    let tell = || {
        let line = LINE.get().map_or("", String::as_str);
        let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        low_level::exit(2);
    };
    // SAFETY: the message was made before, and `write` and `_exit` may be called by a signal. Where that cannot be had, the
    // program ends as it would have without.
    let _: io::Result<_> = unsafe { low_level::register(SIGBUS, tell) };
}
