//! An error as a user reads it: the place first, then what is wrong, then perhaps a way out.

use std::fmt;
use std::path::Path;

/// Something that the user can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    message: String,
    hint: Option<String>,
}

impl Fault {
    /// `what` is wrong at `place`: a file, a document, an option.
    #[must_use]
    pub fn new(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {what}"), hint: None }
    }

    /// `what` is wrong with a file.
    #[must_use]
    pub fn at(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(path.display(), what)
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The way out, where one is known.
    #[must_use]
    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Turns an error into a [`Fault`] with its place.
pub trait HintExt<T> {
    /// Names the place where it went wrong.
    fn fault(self, place: impl fmt::Display) -> Result<T, Fault>;
    /// Names the file with which it went wrong.
    fn fault_at(self, path: &Path) -> Result<T, Fault>;
}

impl<T, E: fmt::Display> HintExt<T> for Result<T, E> {
    fn fault(self, place: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(place, Lower(&error)))
    }

    fn fault_at(self, path: &Path) -> Result<T, Fault> {
        self.fault(path.display())
    }
}

/// The line and the column of a place in a text, from its offset in bytes, as editors count them.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}

/// The system's messages begin with a capital and end with their number; a line of ours does not.
struct Lower<'a>(&'a dyn fmt::Display);

impl fmt::Display for Lower<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text.split(" (os error ").next().unwrap_or_default();
        let mut letters = text.chars();
        match (letters.next(), text.chars().nth(1)) {
            // `JSON` and `I/O` keep their capitals.
            (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
                write!(f, "{}{}", first.to_lowercase(), letters.as_str())
            }
            _ => f.write_str(text),
        }
    }
}
