//! What a stage tells while it works.

use std::fmt::{self, Display};

/// What kind of thing is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Something that the user may want to act on.
    Warning,
    /// Something that the user would want to know.
    Note,
    /// A way out that belongs to the message before.
    Hint,
    /// Something for those who want to know more.
    Detail,
}

/// Who is told. A stage calls it from any of its threads.
///
/// ```
/// use std::sync::Mutex;
/// use pyox_stage::{Message, Reporter, Task};
///
/// #[derive(Default)]
/// struct Warnings(Mutex<Vec<String>>);
///
/// impl Reporter for Warnings {
///     fn tell(&self, message: Message, text: std::fmt::Arguments<'_>) {
///         if message == Message::Warning {
///             self.0.lock().unwrap().push(text.to_string());
///         }
///     }
/// }
///
/// let warnings = Warnings::default();
/// let reporter: &dyn Reporter = &warnings;
/// reporter.warn("no certificates");
/// assert_eq!(*warnings.0.lock().unwrap(), ["no certificates"]);
/// ```
pub trait Reporter: Sync {
    /// Something was told: one line, or a few.
    fn tell(&self, message: Message, text: fmt::Arguments<'_>);

    /// Something begins that takes a while; it ends when the task is dropped. `steps` is how many there are, where that is
    /// known.
    fn begin(&self, steps: Option<u64>, what: &str) -> Box<dyn Task> {
        let _ = (steps, what);
        Box::new(Silent)
    }
}

/// Something that takes a while.
pub trait Task: Send + Sync {
    /// So many more steps are done.
    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// What is being done now.
    fn describe(&self, what: &str) {
        let _ = what;
    }
}

impl dyn Reporter + '_ {
    /// Tells of something that the user may want to act on.
    pub fn warn(&self, text: impl Display) {
        self.tell(Message::Warning, format_args!("{text}"));
    }

    /// Tells of something that the user would want to know.
    pub fn note(&self, text: impl Display) {
        self.tell(Message::Note, format_args!("{text}"));
    }

    /// Tells a way out that belongs to the message before.
    pub fn hint(&self, text: impl Display) {
        self.tell(Message::Hint, format_args!("{text}"));
    }

    /// Tells of something for those who want to know more.
    pub fn detail(&self, text: impl Display) {
        self.tell(Message::Detail, format_args!("{text}"));
    }
}

/// A reporter that drops everything, and a task that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn tell(&self, _: Message, _: fmt::Arguments<'_>) {}
}

impl Task for Silent {}
