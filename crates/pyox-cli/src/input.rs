//! The receiving end: a file, or stdin for `-` and for nothing.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;

use pyox_schema::Document;

use pyox_stage::{Content, Fault, FaultExt, Result, files};

/// All of a file, or of stdin where `path` is `-` or none.
///
/// `what` names what is wanted, for the message when stdin is a terminal.
///
/// # Errors
///
/// If it cannot be read, or stdin is a terminal.
pub fn read(path: Option<&Path>, what: &str) -> Result<Content> {
    match path.filter(|path| path.as_os_str() != "-") {
        Some(path) => files::content_any(path),
        None if io::stdin().is_terminal() => {
            Err(Fault::new("stdin", format_args!("expected {what} through a pipe, got a terminal"))
                .hint("name a file, or put the stage that makes it in front: `… | pyox-…`"))
        }
        None => {
            let stdin = io::stdin().as_fd().try_clone_to_owned().fault("stdin")?;
            files::content_of(&stdin.into(), "stdin")
        }
    }
}

/// Reads a document from a file or stdin, as [`read`] does.
///
/// # Errors
///
/// If it cannot be read, or is no such document.
pub fn document<D: Document>(path: Option<&Path>) -> Result<D> {
    let bytes = read(path, &format!("a {} document", D::SCHEMA))?;
    files::parse(&bytes, name(path))
}

/// How messages name an input.
#[must_use]
pub fn name(path: Option<&Path>) -> String {
    match path.filter(|path| path.as_os_str() != "-") {
        Some(path) => path.display().to_string(),
        None => "stdin".to_owned(),
    }
}
