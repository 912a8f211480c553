//! From a SPEC to a distribution.
//!
//! Of several SPECs the first that can be had is taken, so that a script can name what it prefers and what it accepts.

#![deny(missing_docs)]

mod archive;
mod bitcode;
mod discover;
mod files;
mod host;
mod memo;
mod python_json;
mod release;
mod source;
mod spec;
mod stdlib;
mod store;
mod sums;
mod toolchain;
mod unpack;
mod wish;

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use pyox_distribution::{Flavor, Source};
use pyox_schema::{Digest, Distribution};
use pyox_stage::{Fault, FaultExt, Reporter, Result, cache};

pub use spec::Spec;

use wish::Wish;

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// The SHA-256 of an archive or a tarball, checked before anything in it is looked at.
    pub sha256: Option<Digest>,
    /// Build from source with profile-guided and link-time optimisation, which takes ten times as long.
    pub pgo: bool,
    /// How many compilers run at once.
    pub jobs: NonZero<usize>,
    /// The versions that will do, as `>=3.12`.
    pub requires_python: Option<String>,
    /// The folder of a project, whose `.python-version` and `requires-python` `host` and `uv` obey, like those of the folders
    /// above it. `requires_python` goes before the latter.
    pub project: Option<PathBuf>,
    /// Download nothing.
    pub offline: bool,
    /// The target of an archive of python-build-standalone; this machine's if there is none.
    pub target: Option<String>,
    /// The flavor of an archive of python-build-standalone: `install_only_stripped` if there is none, `full` for the best of the
    /// full ones, or one by its name.
    pub flavor: Option<String>,
    /// Where python-build-standalone's releases are, in place of GitHub and of what the environment names.
    pub mirror: Option<String>,
    /// Where the choice of a release is noted, and obeyed.
    pub lock: LockFile,
    /// Choose anew, whatever the lock file says.
    pub upgrade: bool,
}

/// Which lock file is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LockFile {
    /// `pyox.lock` in the project's folder; none if there is no project.
    #[default]
    OfProject,
    /// The one with that path.
    At(PathBuf),
    /// None: nothing is noted.
    Unused,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sha256: None,
            pgo: false,
            jobs: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            requires_python: None,
            project: None,
            offline: false,
            target: None,
            flavor: None,
            mirror: None,
            lock: LockFile::OfProject,
            upgrade: false,
        }
    }
}

/// Obtains the first distribution that can be had, and remembers its document in the cache, where later stages find it by
/// its digest.
///
/// Costs an interpreter's start for `host`, reading an archive, or some minutes for a first build from source.
///
/// # Errors
///
/// If none is available, or an option would have no effect.
///
/// ```no_run
/// use pyox_fetch::{Options, Spec, fetch};
/// # fn example() -> pyox_stage::Result<()> {
/// let specs = [Spec::parse("host")?, Spec::parse("source@3.13")?];
/// let distribution = fetch(&specs, &Options::default(), &pyox_stage::Silent)?;
/// # Ok(())
/// # }
/// ```
pub fn fetch(specs: &[Spec], options: &Options, reporter: &dyn Reporter) -> Result<Distribution> {
    check_options(specs, options)?;
    let distribution = first(specs, options, reporter)?;
    if distribution.root.to_str().is_none() {
        // JSON is Unicode, and a document that is not exact is worth nothing.
        return Err(Fault::at(&distribution.root, "expected a path in UTF-8")
            .hint("set PYOX_CACHE_DIR to a folder with such a path"));
    }
    cache::remember(&distribution)?;
    Ok(distribution)
}

/// The archives of python-build-standalone that a SPEC may mean, one a line, as they are named.
///
/// Costs two requests.
///
/// # Errors
///
/// If the SPEC is none of `cpython@…`, or the release cannot be had.
pub fn list(spec: &Spec, options: &Options, reporter: &dyn Reporter) -> Result<Vec<String>> {
    let Spec::Release(version, release) = spec else {
        return Err(Fault::new(spec, "expected cpython@3.X to list, got another SPEC"));
    };
    release::list(&spec.to_string(), version, release.as_deref(), options, reporter)
}

/// Refuses options that would have no effect: whoever gives a digest relies on its check.
fn check_options(specs: &[Spec], options: &Options) -> Result<(), Fault> {
    let none = |fits: fn(&Spec) -> bool| !specs.iter().any(fits);
    let has_file = |spec: &Spec| !matches!(spec, Spec::Host(_) | Spec::HostPath(_) | Spec::Uv(_));
    if options.sha256.is_some() && none(has_file) {
        let what = "expected an archive or a tarball to check, got neither";
        return Err(Fault::new("--sha256", what));
    }
    let of_release = [
        ("--target", options.target.is_some()),
        ("--flavor", options.flavor.is_some()),
        ("--mirror", options.mirror.is_some()),
    ];
    for (option, is_given) in of_release {
        if is_given && none(|spec| matches!(spec, Spec::Release(..))) {
            return Err(Fault::new(option, "expected cpython@3.X, got none"));
        }
    }
    if options.pgo
        && none(|s| matches!(s, Spec::SourceVersion(_, Flavor::Plain) | Spec::SourceTarball(_)))
    {
        return Err(Fault::new("--pgo", "expected source@3.X or source:TARBALL, got neither"));
    }
    Ok(())
}

/// The first distribution that can be had.
fn first(specs: &[Spec], options: &Options, reporter: &dyn Reporter) -> Result<Distribution> {
    let mut reasons = Vec::new();
    let mut last = None;
    for (at, spec) in specs.iter().enumerate() {
        match obtain(spec, options, reporter) {
            Ok(distribution) => {
                if specs.len() > 1 {
                    let version = &distribution.python.version;
                    reporter.note(format_args!("{spec}: taken, CPython {version}"));
                }
                return Ok(distribution);
            }
            Err(error) => {
                let reason = with_place(spec, &error);
                // Said at once, because the next one may take minutes.
                if at + 1 < specs.len() {
                    reporter.note(format_args!("{reason}; trying the next"));
                }
                reasons.push(reason);
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if specs.len() == 1 => Err(error),
        last => {
            let fault = Fault::new("none can be had", reasons.join("; "));
            let Some(last) = last else { return Err(fault) };
            let fault = match last.way_out() {
                Some(hint) => fault.hint(hint),
                None => fault,
            };
            Err(fault.caused_by(last))
        }
    }
}

/// An error with its SPEC in front, unless that is its place already.
fn with_place(spec: &Spec, error: &Fault) -> String {
    let (spec, error) = (spec.to_string(), error.to_string());
    if error.starts_with(&spec) { error } else { format!("{spec}: {error}") }
}

/// A distribution, if its version will do.
fn obtain(spec: &Spec, options: &Options, reporter: &dyn Reporter) -> Result<Distribution> {
    let wanted = options.requires_python.as_deref();
    let distribution = obtain_any(spec, options, reporter)?;
    check_version(&distribution, wanted, spec).map(|()| distribution)
}

/// Refuses a version that will not do.
fn check_version(
    distribution: &Distribution,
    wanted: Option<&str>,
    place: impl std::fmt::Display,
) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    if distribution.python.meets(wanted).fault(&place)? {
        return Ok(());
    }
    let found = &distribution.python.version;
    let what = format!("requires-python: expected Python {wanted}, got {found}");
    Err(Fault::new(place, what).hint("name a Python that will do, as pyox-fetch takes it"))
}

fn obtain_any(spec: &Spec, options: &Options, reporter: &dyn Reporter) -> Result<Distribution> {
    let optimized = if options.pgo { Flavor::Optimized } else { Flavor::Plain };
    match spec {
        Spec::Host(version) | Spec::Uv(version) => {
            let (name, requires) = (spec.to_string(), options.requires_python.as_deref());
            let folder = options.project.as_deref();
            let wish = Wish::new(&name, version.as_deref(), requires, folder, reporter)?;
            match spec {
                Spec::Uv(_) => discover::uv(&name, &wish, reporter),
                _ => discover::host(&name, &wish, reporter),
            }
        }
        Spec::HostPath(path) => host::describe(path),
        Spec::Address(url) => archive::download(url, options, reporter),
        Spec::Path(path) => archive::open(path, options.sha256.as_ref(), reporter),
        Spec::SourceVersion(version, flavor) => {
            let flavor = if *flavor == Flavor::Plain { optimized } else { *flavor };
            let source = Source::Version(version.clone());
            source::build(&spec.to_string(), source, flavor, options, reporter)
        }
        Spec::SourceTarball(path) => {
            source::check(path, options.sha256.as_ref())?;
            source::build("source", Source::Tarball(path.clone()), optimized, options, reporter)
        }
        Spec::Release(version, release) => {
            release::obtain(&spec.to_string(), version, release.as_deref(), options, reporter)
        }
    }
}

/// How an entry of the cache's folders that this stage writes is found to be as it was written.
pub mod verify {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use pyox_stage::verify::Verdict;

    pub use crate::memo::check as memo;
    pub use crate::sums::check as unpacked;

    /// An archive that was built from source: by the checksum that is in it.
    #[must_use]
    pub fn built(path: &Path) -> Verdict {
        if path.extension().is_none_or(|end| end != "zst") {
            return Verdict::Unknown;
        }
        let read = File::open(path).and_then(zstd::Decoder::new);
        match read.and_then(|mut archive| io::copy(&mut archive, &mut io::sink())) {
            Ok(_) => Verdict::Whole,
            Err(error) => Verdict::Damaged(error.to_string()),
        }
    }
}

/// For the targets in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::path::Path;

    use crate::unpack::{Limits, unpack};

    /// Unpacks an archive into an empty folder.
    ///
    /// # Errors
    ///
    /// If it is not one that may be unpacked.
    pub fn archive(bytes: &[u8], folder: &Path) -> pyox_stage::Result<()> {
        unpack(Path::new("a.tar.zst"), bytes, folder, &Limits::of(0)).map(|_| ())
    }

    /// Reads a `PYTHON.json`.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn python_json(bytes: &[u8]) -> pyox_stage::Result<()> {
        let json = crate::python_json::PythonJson::parse(bytes, Path::new("PYTHON.json"))?;
        let _ = (json.object_format(), json.build_options());
        Ok(())
    }
}
