//! From an executable to one that begins where its start has ended.
//!
//! A copy of the executable is run up to where its interpreter has started and the modules that are wanted are imported. It
//! writes its own memory, the *image*, which becomes the content of the executable's writable segment: the kernel then maps
//! it at the next start. `docs/formats/snapshot.md` specifies the image, `pyembed/src/ffi/snapshot/` makes and uses it.

#![deny(missing_docs)]

mod executable;
mod prelink;
mod profile;
mod recorder;
mod renewals;
mod stdlib;
mod survey;

pub use executable::{Executable, Refusal};
pub use profile::{Profile, learn};

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use pyox_stage::{Fault, FaultExt as _, Kind, Reporter, Result, files};

use recorder::Recorder;

/// How much of an interpreter's work an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The interpreter that has started, and no module besides.
    #[default]
    Interpreter,
    /// And modules of the standard library.
    Stdlib,
    /// And the application's own, as far as their import asks nothing of the process.
    Application,
}

/// What an image is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it holds.
    pub level: Level,
    /// Modules to import, in this order. What the import of one of the application's asks of the process does not count.
    pub preload: Vec<String>,
    /// Modules that are not to be imported, nor any that import them.
    pub no_preload: Vec<String>,
    /// The modules that the application's start imports.
    pub profile: Option<Profile>,
    /// A seed for the hashes of all processes. Without one, each process has its own.
    pub fixed_hash_seed: Option<u32>,
}

/// Makes the executable with a snapshot. Runs the one that is given, for as long as its start takes.
///
/// # Errors
///
/// If the executable can have no snapshot, a module cannot be imported or is not safe to be, or the result cannot be written.
pub fn snapshot(from: &Path, to: &Path, options: &Options, reporter: &dyn Reporter) -> Result<()> {
    let bytes = with_snapshot(&files::content(from)?, from, options, reporter)?;
    files::atomically(to, files::EXECUTABLE, |file| file.write_all(&bytes))
}

/// The same of an executable's bytes; `path` is how messages name it. Costs as much memory as both have bytes.
///
/// # Errors
///
/// As above.
pub fn with_snapshot(
    executable: &[u8],
    path: &Path,
    options: &Options,
    reporter: &dyn Reporter,
) -> Result<Vec<u8>> {
    let bytes = prepared(executable, path)?;
    let executable = parsed(&bytes, path)?;
    let recorder = Recorder::new(&executable, path)?;
    let task = reporter.begin(None, "recording the start");
    let (plan, image) = survey::image(&recorder, options)?;
    drop(task);
    plan.tell(reporter);
    executable.with_image(image).ok_or_else(|| {
        Fault::at(path, "its image is not complete").hint("is it an executable of this pyox?")
    })
}

/// An executable as an image wants it, which is memory as it is: a runner that was compressed is as it was before, and
/// a portable executable has its libpython inside.
fn prepared<'a>(executable: &'a [u8], path: &Path) -> Result<Cow<'a, [u8]>> {
    let expanded = pyox_runner::expanded(executable).fault_at(path)?;
    if !matches!(Executable::parse(&expanded), Err(Refusal::Movable)) {
        return Ok(expanded);
    }
    let linked = prelink::linked(&expanded)
        .map_err(|unfit| Fault::at(path, unfit.what).hint(unfit.hint).of_kind(Kind::Unsupported))?;
    Ok(linked.into())
}

/// The executable that these bytes are, if it can have a snapshot. `path` is how messages name it.
fn parsed<'a>(bytes: &'a [u8], path: &Path) -> Result<Executable<'a>> {
    Executable::parse(bytes).map_err(|refusal| {
        let what = match refusal {
            Refusal::NoElf => "expected an executable that pyox-link has made, got something else",
            Refusal::NotLinked | Refusal::Movable => {
                "expected an executable of a pyox that knows snapshots, got another one"
            }
            Refusal::Damaged => "its headers and its length do not fit",
        };
        Fault::at(path, what).of_kind(Kind::Unsupported).hint("link it again")
    })
}

impl FromStr for Level {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Interpreter, Self::Stdlib, Self::Application];
        all.into_iter().find(|level| level.name() == name).ok_or_else(|| {
            let names = all.map(Self::name).join(", ");
            Fault::new("level", format!("expected one of {names}, got `{name}`"))
        })
    }
}

impl Level {
    /// Its name, as options have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Stdlib => "stdlib",
            Self::Application => "application",
        }
    }
}
