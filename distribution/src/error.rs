//! The one error of this crate: a line for people, and where there is a way out, a hint.
//!
//! Callers only ever show it, so it is text and not a tree of variants.

use std::fmt;
use std::io;
use std::path::Path;

/// Why there is no distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// For `map_err`: an I/O error with the path it is about.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(format!("{}: {error}", path.display()))
    }

    /// The same error with a way out.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same error with a way out, where it has none yet.
    #[must_use]
    pub(crate) fn or_hint(self, hint: impl FnOnce() -> String) -> Self {
        Self { hint: self.hint.or_else(|| Some(hint())), ..self }
    }

    /// The way out, where one is known: one line, lower case, no final period.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
