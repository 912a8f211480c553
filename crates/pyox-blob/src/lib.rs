//! The blob: an application's resources in one read-only, memory-mappable piece.
//!
//! [`layout`] holds the constants and the record shapes of `docs/formats/blob.md`, [`reader`]
//! finds things in a blob, and [`config`] is the small record that says how the interpreter runs.
//! The writer is not here: it lives in `pyox-pack`, so that the run-time crate carries no line of it.
//!
//! Opening a blob costs the same for ten resources and for a hundred thousand: the header, the
//! section table and the configuration are checked, and nothing else is touched. Each lookup is one
//! probe of an index that lies in the blob, and checks the record that it found; each payload
//! is checked against its CRC-32 at the moment it is handed out. Damage is an [`Error`], never
//! undefined behaviour: there is no `unsafe` here.

#![deny(missing_docs)]

pub mod config;
mod error;
mod file_name;
mod groups;
pub mod layout;
mod needs;
pub mod package;
pub mod reader;
pub mod snapshot;
pub mod tree;

pub use config::Config;
pub use error::Error;
pub use file_name::FileName;
pub use groups::Groups;
pub use reader::{Blob, File, Module, Project};
