//! What all pyox tools do alike, so that whoever knows one knows all.
//!
//! - [`run`] is every tool's `main`: it parses the command line, prints an error as one line and
//!   decides the exit status (0 done, 1 a negative answer, 2 an error).
//! - [`Fault`] is an error that a user can act on: place, what is wrong, and a hint.
//! - [`input`] and [`output`] are the two ends of a pipe; files appear whole or not at all.
//! - [`cache`] is the folder under the user's cache directory, with what survives between runs, and [`Partial`] a
//!   folder in it that is being filled.

pub mod cache;
mod fault;
pub mod input;
pub mod output;
mod partial;
mod ui;

pub use fault::{Fault, HintExt};
pub use partial::Partial;
pub use ui::{Answer, Color, Common, Ui, run};

/// The result of what a tool does. Errors that are no [`Fault`] are shown with their causes.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;
