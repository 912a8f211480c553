//! The JSON documents that the stages exchange, as Rust types.
//!
//! [`Distribution`] goes from `pyox-fetch` to everything behind it, [`Manifest`] from `pyox-collect`
//! to `pyox-pack`, and [`LinkPlan`] from `pyox-link` to another build system. Each is one JSON object whose
//! `schema` names its kind and major version; readers refuse another kind or version and ignore
//! keys that they do not know. `docs/formats/` specifies them and `schemas/` holds their JSON Schemas.
//!
//! ```
//! use pyox_schema::{Document, Error, LinkPlan, Manifest};
//!
//! let error = Manifest::from_json(br#"{"schema": "pyox.link-plan/1"}"#).unwrap_err();
//! assert!(matches!(error, Error::Schema { expected: "pyox.manifest/1", .. }));
//! assert_eq!(LinkPlan::SCHEMA, "pyox.link-plan/1");
//! ```

#![deny(missing_docs)]

pub mod digest;
mod distribution;
mod document;
mod link_plan;
mod manifest;
pub mod name;

pub use digest::Digest;
pub use distribution::{
    Distribution, Extension, FileRef, Library, Link, Linkage, Paths, Python, Stdlib, VersionError,
    machine_of, specifiers,
};
pub use document::{Document, Error};
pub use link_plan::{LinkMode, LinkPlan};
pub use manifest::{
    Bytecode, DistributionRef, Excluded, Manifest, Origin, Payload, Placement, Project, Resource,
    ResourceKind, Run, Value,
};
