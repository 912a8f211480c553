//! What the command lines of all pyox tools share.
//!
//! - [`run`] is every tool's `main`: it parses the command line, prints an error as one line and
//!   decides the exit status (0 done, 1 a negative answer, 2 an error).
//! - [`Ui`] shows on stderr what a stage reports.
//! - [`input`] and [`output`] are the two ends of a pipe.
//! - [`size`] is how sizes are written.
//!
//! ```no_run
//! use clap::Parser;
//! use pyox_cli::{Answer, Common, input, output};
//!
//! /// Counts the bytes of a file
//! #[derive(Parser)]
//! struct Args {
//!     file: Option<std::path::PathBuf>,
//!     #[command(flatten)]
//!     common: Common,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     pyox_cli::run("count", |args: &Args| &args.common, |args, reporter| {
//!         let bytes = input::read(args.file.as_deref(), "bytes")?;
//!         reporter.detail("read");
//!         output::text(None, format!("{}\n", pyox_cli::size(bytes.len() as u64)).as_bytes())?;
//!         Ok(Answer::Done)
//!     })
//! }
//! ```

#![deny(missing_docs)]

mod cut;
pub mod input;
pub mod output;
mod pages;
mod size;
mod ui;

pub use size::size;
pub use ui::{Answer, Color, Common, Ui, run};

pub use pyox_stage::Result;
