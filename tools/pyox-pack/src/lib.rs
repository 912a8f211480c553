//! From a manifest to a blob.
//!
//! [`validate`] refuses what cannot work; then each resource, on as many threads as there are jobs, is
//! read and verified, compiled ([`mod@compile`], [`marshal`]) and perhaps compressed ([`compress`]), with
//! [`store`] keeping both results between runs; and [`blob`] writes it all. It is a library so that
//! tests elsewhere can make blobs of their own.

pub mod blob;
pub mod compile;
pub mod compress;
pub mod marshal;
mod pack;
pub mod parallel;
pub mod store;
pub mod validate;

pub use pack::{Options, pack};
