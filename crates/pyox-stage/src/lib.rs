//! What the stages share as libraries: nothing here knows a command line or a terminal.
//!
//! - [`Fault`] is the error of every stage: place, what is wrong, a hint, a [`Kind`] and a source.
//! - [`Reporter`] is where a stage tells what it does while it works; its caller decides what becomes of that.
//! - [`files`] appear whole or not at all, [`Content`] is what is in one, and a [`Stamp`] tells whether one is as it was.
//! - [`Compiler`] is the C compiler that variables such as `CC` name.
//! - [`cache`] is the folder under the user's cache directory, with what survives between runs, [`Partial`] a
//!   folder in it that is being filled, and [`Store`] one of results that are found by digests; [`prune`] is for what nobody
//!   has used for long.
//! - [`verify`] tells whether what is in the cache is as it was written.
//! - [`shown`] makes text of others fit for a terminal.

#![deny(missing_docs)]

pub mod cache;
mod compiler;
mod content;
mod fault;
pub mod files;
mod partial;
pub mod prune;
mod report;
mod stamp;
mod store;
mod text;
pub mod verify;

pub use compiler::Compiler;
pub use content::Content;
pub use fault::{Fault, FaultExt, Kind, position};
pub use partial::Partial;
pub use report::{Message, Reporter, Silent, Task};
pub use stamp::Stamp;
pub use store::Store;
pub use text::{shown, shown_lines};

/// The result of what a stage does.
pub type Result<T, E = Fault> = std::result::Result<T, E>;
