//! Looks into whatever pyox makes: a distribution document, a manifest, a link plan, a blob or an executable.
//!
//! An [`Input`] is recognised by its content, so there is one set of questions for all of them:
//!
//! - [`summary`]: what it is, what runs, what it needs, and how big it is.
//! - [`Contents`]: its resources one by one, [as a tree](Contents::tree), [added up](Contents::sums), their
//!   [bytes](Contents::file), and [as files](Contents::extract).
//! - [`facts`]: how the interpreter is configured.
//! - [`portability`]: the oldest system that its native code runs on, and what is the cause.
//! - [`check`]: whether all checksums hold.
//! - [`diff`]: what is different between two of them.
//!
//! The answers are values, and can be serialised. Nothing in the input is run or trusted. Sizes are in bytes.
//!
//! ```no_run
//! use pyox_inspect::{By, Input};
//! # fn main() -> pyox_stage::Result<()> {
//! let input = Input::open("app".as_ref())?;
//! let contents = input.contents()?;
//! for sum in contents.sums(By::Project) {
//!     println!("{}: {} resources, {} bytes", sum.name, sum.resources, sum.size);
//! }
//! let source = contents.file(contents.find("json.decoder")?)?;
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod check;
mod config;
mod contents;
mod diff;
mod executable;
mod extract;
mod input;
mod portability;
mod summary;
mod sums;
mod tree;

pub use check::{Problem, Verdict, check};
pub use config::{Facts, facts};
pub use contents::{Contents, Kind, Project, Resource};
pub use diff::{Change, Difference, ResourceChange, diff};
pub use input::{Bytes, Input};
pub use portability::{Member, Portability, portability};
pub use summary::{BlobFacts, SectionFacts, Shape, SnapshotFacts, Summary, summary};
pub use sums::{By, Sum};
pub use tree::Node;
