//! From a blob to an executable.
//!
//! Linking is split in two. A *runner*, `pyembed` and a distribution's libpython with room for a blob, is
//! linked once for a distribution and a mode, and kept in the cache. Joining a blob to it is writing a
//! file: no compiler, no linker, some ten milliseconds.
//!
//! `plan` decides between static and dynamic and lists what the linker needs, `runner` links or finds
//! the runner, and compresses it for a small executable, and `beside` writes the folder that some packages
//! want next to it. `emit` writes what other programs are linked with instead.

#![deny(missing_docs)]

mod beside;
mod emit;
mod floor;
mod plan;
mod portable;
mod python_api;
mod runner;
mod runtime;
mod snapshot;

pub use emit::Emit;
pub use portable::link_portable_runner;
pub use pyox_elf::Version;

use std::io::Write;
use std::path::{Path, PathBuf};

use pyox_blob::{Blob, Config, tree};
use pyox_runner::Joined;
use pyox_schema::{Digest, FileRef, LinkMode, LinkPlan};
use pyox_stage::{Content, Fault, FaultExt, Reporter, Result, cache, files};
use runtime::Runtime;

/// How to link.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Static or dynamic; by default static where nothing needs a loader.
    pub mode: Option<LinkMode>,
    /// Whether the executable is loaded at a random address, which costs a longer start and rules snapshots out. Portable ones
    /// are in any case.
    pub pie: bool,
    /// The distribution's document, where it is not the one that the cache knows.
    pub distribution: Option<PathBuf>,
    /// The folder of the run-time libraries, where it is not one of the usual ones.
    pub runtime: Option<PathBuf>,
    /// The target triple that the distribution must have, if it must be a certain one.
    pub target: Option<String>,
    /// The newest glibc that anything in the executable may need.
    pub max_glibc: Option<Version>,
}

/// Where the run-time library for a target and an interpreter's tag is, such as `cp313`.
///
/// # Errors
///
/// If it is in none of the usual folders.
pub fn find_runtime(target: &str, tag: &str) -> Result<PathBuf> {
    Runtime::new(None, target, tag).library_path()
}

/// Whether a file is an executable that pyox has linked. A file that cannot be read is none.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    files::content(path).is_ok_and(|bytes| pyox_runner::is_runner(&bytes))
}

/// A blob that can be linked, and how. Its distribution says what for: the tool's own target is nothing special but for
/// where its run-time library lies.
///
/// ```no_run
/// use pyox_link::{Link, Options};
/// use pyox_schema::LinkMode;
/// use pyox_stage::{Silent, files};
/// # fn main() -> pyox_stage::Result<()> {
/// let blob = files::content("app.blob".as_ref())?;
/// let link = Link::new(&blob, "app.blob", &Options::default(), &Silent)?;
/// if link.plan().mode == LinkMode::Dynamic {
///     println!("needs a loader: {}", link.plan().reason);
/// }
/// link.executable("app".as_ref(), &Silent)?;
/// # Ok(())
/// # }
/// ```
pub struct Link<'a> {
    bytes: &'a [u8],
    blob: Blob<'a>,
    config: Config,
    plan: LinkPlan,
    /// The libpython of a shared library, where it is another than an executable's.
    pic_libpython: Option<FileRef>,
    max_glibc: Option<Version>,
}

impl<'a> Link<'a> {
    /// Verifies a blob and decides how it is linked. `place` is how messages name it.
    ///
    /// Reads all of the blob once, for its checksums, and the run-time library, for its digest. Links nothing.
    ///
    /// # Errors
    ///
    /// If the blob is damaged, its distribution is not known here or does not allow the mode, or there is no run-time library
    /// for its Python.
    pub fn new(
        bytes: &'a [u8],
        place: &str,
        options: &Options,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        if bytes.is_empty() {
            let what = "expected a blob, got nothing: did the stage before fail?";
            return Err(Fault::new(place, what));
        }
        let blob = Blob::open(bytes).and_then(|blob| blob.verify().map(|()| blob)).fault(place)?;
        let config = blob.config().fault(place)?;
        let digest: Digest = config.distribution.parse().fault(place)?;
        let distribution = cache::distribution(options.distribution.as_deref(), &digest)?;
        if let Some(wanted) = options.target.as_ref().filter(|it| **it != distribution.target) {
            let what = format!("expected a blob for {wanted}, got one for {}", distribution.target);
            return Err(Fault::new(place, what)
                .hint("the distribution decides the target: fetch one for it"));
        }
        let shared = plan::shared_objects(&blob).fault(place)?;
        let runtime = Runtime::new(
            options.runtime.as_deref(),
            &distribution.target,
            &distribution.python.tag,
        );
        let plan = plan::make(&distribution, options.mode, options.pie, &shared, &runtime)?;
        if plan.mode == LinkMode::Portable {
            let libpython = tree::libpython(config.python);
            if blob.file(&libpython).fault(place)?.is_none() {
                let what =
                    format!("expected {libpython}, which a portable executable loads, found none");
                return Err(Fault::new(place, what).hint("collect with `--libpython`"));
            }
        }
        if options.mode.is_none() {
            reporter.note(format_args!("{}: {}", plan.mode.name(), plan.reason));
        }
        let pic_libpython = plan::pic_libpython(&distribution);
        Ok(Self { bytes, blob, config, plan, pic_libpython, max_glibc: options.max_glibc })
    }

    /// How it is linked.
    #[must_use]
    pub fn plan(&self) -> &LinkPlan {
        &self.plan
    }

    /// The oldest glibc that all in the executable is loaded with, or none if nothing needs one.
    ///
    /// Links the runner where that is not done yet, and reads the headers of all native code.
    ///
    /// # Errors
    ///
    /// If the linker fails, or a file does not decompress.
    pub fn glibc(&self, reporter: &dyn Reporter) -> Result<Option<Version>> {
        let runner = runner::cached(&self.plan, reporter)?;
        let members = floor::members(Some(&runner), &self.blob)?;
        Ok(members.first().map(|member| member.version))
    }

    fn runner(&self, reporter: &dyn Reporter) -> Result<Content> {
        let runner = runner::cached(&self.plan, reporter)?;
        self.check_glibc(Some(&runner))?;
        // A small blob is told by its groups.
        if !self.blob.has_groups() || self.plan.mode != LinkMode::Static {
            return Ok(runner);
        }
        if !plan::can_be_compressed(&self.plan) {
            reporter.note("the interpreter is not compressed: that is for x86-64 at fixed addresses, without `--pie`");
            return Ok(runner);
        }
        runner::compressed(&self.plan, runner, reporter)
    }

    fn check_glibc(&self, runner: Option<&[u8]>) -> Result<()> {
        let Some(most) = self.max_glibc else { return Ok(()) };
        floor::check(&floor::members(runner, &self.blob)?, most)
    }

    /// Makes the executable, and the folder `PATH.files` beside it where packages want one.
    ///
    /// Costs some ten milliseconds, and some seconds more for the first blob of a distribution, for the first small one ten of
    /// the processor's.
    ///
    /// # Errors
    ///
    /// If the linker fails, something needs a newer glibc than is allowed, or the file cannot be written.
    pub fn executable(&self, path: &Path, reporter: &dyn Reporter) -> Result<()> {
        let runner = self.runner(reporter)?;
        // First, so that an executable that is there has its files.
        beside::write(Some(path), &self.blob, &self.config)?;
        Joined::new(&runner, self.bytes)?.write_to(path)
    }

    /// Makes the executable of what `change` makes of its bytes. If that fails, what was at the path is there as it was.
    ///
    /// # Errors
    ///
    /// As above, and what `change` gives.
    pub fn executable_with(
        &self,
        path: &Path,
        reporter: &dyn Reporter,
        change: impl FnOnce(Content) -> Result<Content>,
    ) -> Result<()> {
        let runner = self.runner(reporter)?;
        let joined = Joined::new(&runner, self.bytes)?;
        let changed = change(files::aside(path, |file| joined.send(file))?)?;
        beside::write(Some(path), &self.blob, &self.config)?;
        files::atomically(path, files::EXECUTABLE, |file| file.write_all(&changed))
    }

    /// Sends the executable somewhere else than to a file.
    ///
    /// # Errors
    ///
    /// As above, and if packages want a folder beside it; the inner result is that of writing.
    pub fn send(&self, to: &mut dyn Write, reporter: &dyn Reporter) -> Result<std::io::Result<()>> {
        let runner = self.runner(reporter)?;
        beside::write(None, &self.blob, &self.config)?;
        Ok(Joined::new(&runner, self.bytes)?.send(to))
    }

    /// Writes what other programs are linked with into a folder. `name` is that of a library.
    ///
    /// # Errors
    ///
    /// If the linker fails or a file cannot be written; for a library also if the link is static, or packages want
    /// a folder beside the executable.
    pub fn emit(
        &self,
        kind: Emit,
        folder: &Path,
        name: &str,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        // What is linked from it is somebody else's.
        self.check_glibc(None)?;
        if kind == Emit::Artifacts {
            emit::artifacts::write(folder, &self.plan, &self.config, self.bytes, reporter)?;
            return beside::write(Some(&folder.join("app")), &self.blob, &self.config);
        }
        beside::write(None, &self.blob, &self.config)?;
        let pic = self.pic_libpython.as_ref().filter(|_| kind == Emit::SharedLibrary);
        let plan = match pic {
            Some(libpython) => &LinkPlan { libpython: libpython.clone(), ..self.plan.clone() },
            None => &self.plan,
        };
        emit::library::write(folder, name, kind, plan, self.bytes, reporter)
    }
}
