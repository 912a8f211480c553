//! From a manifest to a blob.
//!
//! `validate` refuses what cannot work. Then each resource is read and verified, compiled, brought into a canonical form
//! ([`marshal`]) and perhaps compressed, on as many threads as there are jobs; `store` keeps the results between runs.
//! [`blob`] writes it all.

#![deny(missing_docs)]

pub mod blob;
mod compile;
mod compress;
pub mod marshal;
mod pack;
mod parallel;
mod validate;

pub use pack::{Options, pack};
