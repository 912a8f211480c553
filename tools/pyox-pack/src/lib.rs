//! From a manifest to a blob.
//!
//! `validate` refuses what cannot work. Then each resource is read and verified, compiled, brought into a canonical form
//! ([`marshal`]) and perhaps compressed, on as many threads as there are jobs; `store` keeps the results between runs.
//! [`blob`] writes it all.

#![deny(missing_docs)]

pub mod blob;
mod compile;
mod compress;
mod group;
pub mod marshal;
mod pack;
mod parallel;
mod validate;

pub use compress::Compression;
pub use pack::{Options, pack};

/// For the targets in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Whether a manifest holds together.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn manifest(manifest: &pyox_schema::Manifest) -> pyox_stage::Result<()> {
        crate::validate::manifest(manifest)
    }
}
