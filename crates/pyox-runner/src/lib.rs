//! The runner in an executable: an interpreter that is linked, with room for a blob.
//!
//! `join` puts a blob into it. `compress` makes a runner whose segments are compressed and decoded when it starts, and `expand`
//! gives back the one that it was made of, as the tools want to see it. `docs/formats/runner.md` specifies that form;
//! `pyembed/unpacker` is what starts it.

#![deny(missing_docs)]

mod addresses;
mod calls;
mod compress;
mod expand;
mod join;
mod layout;

pub use compress::{can_compress, compressed, recipe};
pub use expand::{Compressed, expanded};
pub use join::{Joined, is_runner};
