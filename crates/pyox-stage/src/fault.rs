//! The error of all stages: one line for people, a kind and a source for programs.
//!
//! It has the form of [`io::Error`]: one type, so that a stage can call another and `?` does the rest, with a
//! [`Kind`] to match on. An enum for each library would say little more, since nearly every fault is that some input is
//! not as expected.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::path::Path;
use std::process::ExitStatus;

use pyox_schema::Digest;

use crate::{Content, shown};

/// Why a stage could not do its work.
///
/// [`Display`](fmt::Display) gives one whole line: the place, what was expected there and what was found. It includes
/// what the source says, so a program prints the fault alone. [`way_out`](Self::way_out) is a second line for the user,
/// [`kind`](Self::kind) is for programs, and [`source`](Error::source) is the error underneath, of `std::io`,
/// `serde_json`, `toml`, `pyox_blob` and so on.
///
/// ```
/// use std::error::Error as _;
/// use pyox_stage::{FaultExt as _, Kind};
///
/// let fault = std::fs::read("/nonexistent").fault("distribution").unwrap_err();
/// assert_eq!(fault.to_string(), "distribution: no such file or directory");
/// assert_eq!(*fault.kind(), Kind::Missing);
/// assert!(fault.source().unwrap().is::<std::io::Error>());
/// ```
///
/// It is one pointer wide, so that a `Result` with it is cheap to return.
#[derive(Debug)]
pub struct Fault(Box<Parts>);

#[derive(Debug)]
struct Parts {
    message: String,
    hint: Option<String>,
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of thing is wrong, for programs that act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An option, a document, a project or another file is not as expected.
    Input,
    /// A file, a program or a library is not there. It has to be named, installed, fetched or made first.
    Missing,
    /// A file has other bytes than those that were asked for.
    Digest {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes that are there.
        found: Digest,
    },
    /// A program that the stage has run failed: pip, a build backend, a compiler.
    Command {
        /// What was run: a name on `PATH`, or a path.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The input is right, but pyox cannot do that with it.
    Unsupported,
    /// The system refused to read, to write or to run something.
    Io(io::ErrorKind),
}

impl Fault {
    /// `what` is wrong at `place`: a file, a document, an option. The kind is [`Kind::Input`].
    ///
    /// Both may hold text of others: the message is made fit to be [`shown`](crate::shown).
    #[must_use]
    pub fn new(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        let message = shown(&format!("{place}: {what}")).into_owned();
        Self(Box::new(Parts { message, hint: None, kind: Kind::Input, source: None }))
    }

    /// `what` is wrong with a file.
    #[must_use]
    pub fn at(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(path.display(), what)
    }

    /// Something has other bytes than those that were asked for: [`Kind::Digest`].
    #[must_use]
    pub fn mismatch(place: impl fmt::Display, expected: &Digest, found: &Digest) -> Self {
        let what = format_args!("digest mismatch: expected sha256 {expected}, got {found}");
        Self::new(place, what).of_kind(Kind::Digest { expected: *expected, found: *found })
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(shown(&hint.to_string()).into_owned());
        self
    }

    /// Says what kind of fault it is.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds the error underneath, and takes the kind from it, and the way out of a fault. The message must say already
    /// what it says.
    #[must_use]
    pub fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.kind = kind_of(&source);
        if let Some(fault) = (&source as &(dyn Error + 'static)).downcast_ref::<Self>() {
            self.0.hint = self.0.hint.or_else(|| fault.0.hint.clone());
        }
        self.0.source = Some(Box::new(source));
        self
    }

    /// The way out, where one is known.
    #[must_use]
    pub fn way_out(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What kind of fault it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Turns an error into a [`Fault`] with its place. The error becomes the source.
///
/// The kind is that of the first `io::Error` or fault among the error and its sources. Any other error is one of input.
pub trait FaultExt<T> {
    /// Names the place where it went wrong.
    ///
    /// # Errors
    ///
    /// If the result is an error.
    fn fault(self, place: impl fmt::Display) -> Result<T, Fault>;

    /// Names the file with which it went wrong.
    ///
    /// # Errors
    ///
    /// If the result is an error.
    fn fault_at(self, path: &Path) -> Result<T, Fault>;
}

impl<T, E: Error + Send + Sync + 'static> FaultExt<T> for Result<T, E> {
    fn fault(self, place: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(place, Lower(&error)).caused_by(error))
    }

    fn fault_at(self, path: &Path) -> Result<T, Fault> {
        self.fault(path.display())
    }
}

fn kind_of(error: &(dyn Error + 'static)) -> Kind {
    let mut chain =
        iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let known = chain.find_map(|error| {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return Some(fault.kind().clone());
        }
        let errno = error.downcast_ref::<rustix::io::Errno>();
        let kind = match (error.downcast_ref::<io::Error>(), errno) {
            (Some(error), _) => error.kind(),
            (_, Some(errno)) => errno.kind(),
            _ => return None,
        };
        Some(match kind {
            io::ErrorKind::NotFound => Kind::Missing,
            // The system has read it well, but it is damaged or something else.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Kind::Input,
            kind => Kind::Io(kind),
        })
    });
    known.unwrap_or(Kind::Input)
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
        let text = match text.split(" (os error ").next().unwrap_or_default() {
            "Bad address" => Content::CUT,
            text => text,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_can_be_sent_and_is_small() {
        fn sent<T: Send + Sync + 'static>() {}
        sent::<Fault>();
        assert_eq!(size_of::<Result<(), Fault>>(), size_of::<usize>());
    }

    #[test]
    fn the_kind_comes_from_the_error_underneath() {
        let kind = |error: io::Error| Err::<(), _>(error).fault("x").unwrap_err().kind().clone();
        assert_eq!(kind(io::ErrorKind::NotFound.into()), Kind::Missing);
        assert_eq!(kind(io::ErrorKind::UnexpectedEof.into()), Kind::Input);
        let full = io::ErrorKind::StorageFull;
        assert_eq!(kind(full.into()), Kind::Io(full));
        // Also through an error of another library, here tempfile's.
        let wrapped = tempfile::tempdir_in("/nonexistent").fault("x").unwrap_err();
        assert_eq!(*wrapped.kind(), Kind::Missing);
        let errno = Err::<(), _>(rustix::io::Errno::ACCESS).fault("x").unwrap_err();
        assert_eq!(*errno.kind(), Kind::Io(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn what_is_no_document_is_input_and_keeps_its_error() {
        let fault = "x".parse::<Digest>().fault("--sha256").unwrap_err();
        assert_eq!(*fault.kind(), Kind::Input);
        assert!(
            fault.source().is_some_and(|source| fault.to_string().ends_with(&source.to_string()))
        );
    }

    #[test]
    fn a_fault_around_a_fault_has_its_kind_and_its_way_out() {
        let inner = Fault::new("pip", "none on PATH").of_kind(Kind::Missing).hint("install it");
        let outer = Err::<(), _>(inner).fault("demo").unwrap_err();
        assert_eq!(outer.to_string(), "demo: pip: none on PATH");
        assert_eq!(*outer.kind(), Kind::Missing);
        assert_eq!(outer.way_out(), Some("install it"));
        assert!(outer.source().is_some_and(<dyn Error>::is::<Fault>));
    }
}
