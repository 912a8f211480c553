//! pyox as a library: from a project to an executable, in one call or stage by stage.
//!
//! ```no_run
//! use pyox::{BuildOptions, Project, build};
//! # fn main() -> pyox::stage::Result<()> {
//! let project = Project::open("app.py".as_ref(), &pyox::stage::Silent)?;
//! for built in build(&project, &BuildOptions::default(), &pyox::stage::Silent)? {
//!     println!("{}: {} bytes", built.path.display(), built.size);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each stage is a crate of its own: [`fetch`], [`collect`], [`pack`] and [`link`]; [`inspect`] looks into what they make. They take typed options and a
//! [`stage::Reporter`], give what the next one takes, and know no command line:
//!
//! ```no_run
//! use pyox::{collect, fetch, inspect, link, pack, stage::Silent};
//! # fn main() -> pyox::stage::Result<()> {
//! let distribution = fetch::fetch(&[fetch::Spec::parse("host")?], &fetch::Options::default(), &Silent)?;
//! let options = collect::Options { apps: vec!["app.py".into()], ..Default::default() };
//! let manifest = collect::collect(&distribution, &options, &Silent)?;
//! let blob = pack::pack(&manifest, &pack::Options::default(), &Silent)?;
//! let link = link::Link::new(&blob, "app.py", &link::Options::default(), &Silent)?;
//! link.executable("app".as_ref(), &Silent)?;
//! let made = inspect::summary(&inspect::Input::open("app".as_ref())?)?;
//! println!("{} projects", made.projects.len());
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod build;
mod delivery;
pub mod init;
mod kept;
mod links;
mod lock;
mod project;
mod pyoxidizer;
mod pyproject;
mod recording;
pub mod settings;
mod siblings;
mod sources;
mod unchanged;

pub use build::{BuildOptions, Built, build};
pub use kept::verify_cache;
pub use project::{Program, Project};
pub use recording::Snapshot;
pub use settings::Settings;

pub use pyox_collect as collect;
pub use pyox_fetch as fetch;
pub use pyox_inspect as inspect;
pub use pyox_link as link;
pub use pyox_pack as pack;
pub use pyox_snapshot as snapshot;
pub use pyox_stage as stage;
