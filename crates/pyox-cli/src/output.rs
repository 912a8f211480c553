//! The sending end: stdout, or a file that appears whole or not at all.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use pyox_stage::{Fault, HintExt, files};

use crate::Result;

/// Writes text to stdout, or to a file where one is named.
pub fn text(path: Option<&Path>, bytes: &[u8]) -> Result<()> {
    match file(path) {
        Some(path) => Ok(files::write(path, bytes)?),
        None => stdout(bytes),
    }
}

/// Writes bytes that no terminal should get to stdout, or to a file where one is named.
pub fn binary(path: Option<&Path>, what: &str, bytes: &[u8]) -> Result<()> {
    if let Some(path) = file(path) {
        return Ok(files::write(path, bytes)?);
    }
    refuse_terminal(path, what)?;
    stdout(bytes)
}

/// Refuses to send `what` to a terminal; asked early, it saves the user the work in between.
pub fn refuse_terminal(path: Option<&Path>, what: &str) -> Result<()> {
    if file(path).is_none() && io::stdout().is_terminal() {
        return Err(Fault::new("stdout", format_args!("{what} is binary, and this is a terminal"))
            .hint("write it to a file with -o, or pipe it into the next stage")
            .into());
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
pub fn to_stdout(
    write: impl FnOnce(&mut dyn Write) -> pyox_stage::Result<io::Result<()>>,
) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = write(&mut stdout)?.and_then(|()| stdout.flush());
    match written {
        // It must stay an `io::Error`: `run` knows it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
        written => Ok(written.fault("stdout")?),
    }
}
