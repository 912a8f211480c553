//! The sending end: stdout, or a file that appears whole or not at all.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result, files};

/// Writes text to stdout, or to a file where one is named.
///
/// # Errors
///
/// If it cannot be written.
pub fn text(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    match file(path) {
        Some(path) => files::write(path, bytes),
        None => stdout(bytes),
    }
}

/// Writes bytes that no terminal should get to stdout, or to a file where one is named.
///
/// # Errors
///
/// If it cannot be written, or stdout is a terminal.
pub fn binary(path: Option<&Path>, what: &str, bytes: &[u8]) -> Result<()> {
    if let Some(path) = file(path) {
        return files::write(path, bytes);
    }
    refuse_terminal(path, what)?;
    stdout(bytes)
}

/// Refuses to send `what` to a terminal; asked early, it saves the user the work in between.
///
/// # Errors
///
/// If stdout is a terminal, and no file is named.
pub fn refuse_terminal(path: Option<&Path>, what: &str) -> Result<()> {
    if file(path).is_none() && io::stdout().is_terminal() {
        return Err(Fault::new("stdout", format_args!("{what} is binary, and this is a terminal"))
            .hint("write it to a file with -o, or pipe it into the next stage"));
    }
    Ok(())
}

/// The file that is meant; none for stdout.
#[must_use]
pub fn file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| path.as_os_str() != "-")
}

fn stdout(bytes: &[u8]) -> Result<()> {
    to_stdout(|stdout| Ok(stdout.write_all(bytes)))
}

/// Sends what `write` writes to stdout.
///
/// # Errors
///
/// What `write` says, or if it cannot be written.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> Result<io::Result<()>>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match write(&mut stdout)?.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone).fault("stdout"),
        written => written.fault("stdout"),
    }
}

/// The source of a fault: whoever reads stdout has seen enough (`pyox-inspect list | head`). [`run`](crate::run) ends well
/// then. A pipe to a program that a stage has started is another matter.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its reader is gone")
    }
}

impl std::error::Error for ReaderGone {}
