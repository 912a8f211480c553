//! Builds a CPython distribution archive from CPython's release tarball.
//!
//! Why: python-build-standalone's archives come over the network and, optimised, as LLVM bitcode. This
//! crate makes the same archive format (`PYTHON.json` of format 8) out of the release tarball and the
//! static libraries of a Debian system, so that whoever has a C compiler has a distribution that links
//! `-static` and dynamically, with every standard extension module built in.
//!
//! Cost: about three minutes on two cores for a plain `-O2` build (an optimised one takes ten times
//! that, one of LLVM bitcode three times), 600 MB of disk meanwhile, 22 MB for the finished archive. A second call with the same
//! inputs finds the archive by their digest and does nothing.
//!
//! The steps are modules: [`sources`] gets the tarball, `libraries` looks at the system, `recipe` runs
//! configure and make, `setup` and `document` describe the result, `archive` packs it.

#![deny(missing_docs)]

mod archive;
mod debian;
mod document;
mod libraries;
mod recipe;
mod setup;
pub mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt as _, Partial, Result, files};

use sources::Release;

/// What to build, and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where CPython's source comes from.
    pub source: Source,
    /// How it is compiled.
    pub flavor: Flavor,
    /// How many compilers run at once; at least one.
    pub jobs: usize,
    /// The folder for downloads, work and finished archives; made where it does not exist.
    pub cache: PathBuf,
    /// The digest of a release's tarball. It makes any release known, and chooses among those that are.
    pub sha256: Option<Digest>,
    /// Download nothing.
    pub offline: bool,
}

/// How CPython is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `-O2`.
    Plain,
    /// Profile-guided and link-time optimisation (fat objects, so that any linker can use them).
    /// Takes some ten times as long, and the profile makes the bytes differ from build to build.
    Optimized,
    /// By clang, with link-time optimisation: its objects are LLVM bitcode, as in python-build-standalone's optimised archives, for
    /// tests of pyox itself. Takes some three times as long.
    Lto,
    /// With CPython's assertions and its count of all references (`Py_DEBUG`), for tests of pyox itself; a few times slower.
    Debug,
}

/// Where CPython's source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A release of [`sources`] by its minor version (`3.13`) or its full one (`3.13.5`).
    Version(String),
    /// A release tarball of CPython 3.11 or later, `.tgz` or `.tar.xz`.
    Tarball(PathBuf),
}

/// What a build is at; steps come in this order, and some are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Fetching the tarball from the named place (an URL, or a Debian source package).
    Downloading(String),
    /// A release of the version cannot be had; the next older one will do.
    Absent {
        /// Its full version.
        version: String,
        /// Why.
        reason: String,
    },
    /// Unpacking the tarball.
    Unpacking,
    /// Running CPython's `configure`.
    Configuring,
    /// The compiler ran `done` times; the total is what make announced, and only approximate.
    Compiling {
        /// Compiler runs so far.
        done: usize,
        /// Compiler runs in all.
        total: usize,
    },
    /// Running CPython's profiling workload (optimised builds only).
    Profiling,
    /// Installing into the archive's tree.
    Installing,
    /// Checking the result and writing the archive.
    Archiving,
}

/// The key of a build: the digest of all that decides the archive's bytes.
///
/// These are the tarball, the recipe, the options, the static libraries that go into the archive, the C
/// library, and the versions of compiler, linker and make.
fn key(tarball: Digest, flavor: Flavor, toolchain: &libraries::Toolchain) -> Digest {
    let mut text = format!("tarball {tarball}\n");
    text.push_str(&recipe::fingerprint(flavor));
    text.push_str(&toolchain.fingerprint());
    Digest::of(text.as_bytes())
}

/// Builds the distribution, or finds it where it has been built before; the path of the finished
/// `.tar.zst` archive, in [`Request::cache`].
///
/// The archive appears under its final name only when it is complete. Work folders are removed whether
/// the build succeeds or fails, and those of a killed build by the next one. The log of a failed build is
/// kept.
///
/// # Errors
///
/// If the source cannot be had, a package is missing, or a step fails. The hint then names the log.
pub fn build(request: &Request, progress: &mut dyn FnMut(Event)) -> Result<PathBuf> {
    let toolchain = libraries::Toolchain::find(request.flavor)?;
    fs::create_dir_all(&request.cache).fault_at(&request.cache)?;
    // Steps run in folders of their own, and python resolves links in its own path.
    let cache = fs::canonicalize(&request.cache).fault_at(&request.cache)?;
    // CPython's makefiles do not quote their own folder.
    if cache.to_string_lossy().contains(char::is_whitespace) {
        return Err(Fault::at(&cache, "white space in the path of a build")
            .hint("choose another cache folder"));
    }
    let name = |tarball: Digest, version: &str| {
        let key = key(tarball, request.flavor, &toolchain);
        let flavor = match request.flavor {
            Flavor::Plain => "",
            Flavor::Optimized => "-pgo",
            Flavor::Lto => "-lto",
            Flavor::Debug => "-debug",
        };
        format!("cpython-{version}{flavor}-{}", key.short())
    };
    let archive = |name: &str| cache.join(format!("{name}.tar.zst"));
    let (name, tarball) = match &request.source {
        Source::Tarball(path) => {
            (name(files::digest(path)?.0, &sources::stem(path)), Some(path.clone()))
        }
        Source::Version(version) => {
            let releases = sources::find(version, request.sha256.as_ref())?;
            let name = |release: &Release| name(release.sha256, &release.version);
            let is_built = |release: &Release| archive(&name(release)).is_file();
            let downloads = sources::Downloads::new(cache.join("downloads"), request.offline)?;
            let (release, tarball) = downloads.first(releases, is_built, progress)?;
            (name(&release), tarball)
        }
    };
    let archive = archive(&name);
    let Some(tarball) = tarball.filter(|_| !archive.is_file()) else { return Ok(archive) };
    let within = cache.join("work");
    fs::create_dir_all(&within).fault_at(&within)?;
    let work = Partial::new(&within)?;
    match make(request, &toolchain, &tarball, work.path(), &archive, progress) {
        Ok(()) => Ok(archive),
        Err(fault) => {
            let log = keep_log(&work.path().join(LOG), &cache, &name)?;
            if fault.way_out().is_some() {
                return Err(fault);
            }
            Err(fault.hint(format_args!("the log is {}", log.display())))
        }
    }
}

/// What a build's programs print, in its folder.
const LOG: &str = "log";

/// From the tarball to the archive, in a folder of its own.
fn make(
    request: &Request,
    toolchain: &libraries::Toolchain,
    tarball: &Path,
    folder: &Path,
    archive: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<()> {
    let log = &folder.join(LOG);
    fs::write(log, "").fault_at(log)?;
    progress(Event::Unpacking);
    let tree = recipe::unpack(tarball, folder, log)?;
    let libraries = toolchain.libraries_for(tree.version);
    let build = recipe::Build {
        tree: &tree,
        libraries: &libraries,
        flavor: request.flavor,
        jobs: request.jobs.max(1),
        log,
    };
    build.run(progress)?;
    progress(Event::Archiving);
    let document = document::describe(&build)?;
    archive::write(&build, &document, toolchain, archive)
}

/// Moves the log of a failed build to where it outlives the build's folder.
fn keep_log(log: &Path, cache: &Path, name: &str) -> Result<PathBuf> {
    let logs = cache.join("logs");
    fs::create_dir_all(&logs).fault_at(&logs)?;
    let kept = logs.join(format!("{name}.log"));
    fs::rename(log, &kept).fault_at(&kept)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_changes_with_every_input() {
        let toolchain = libraries::Toolchain::find(Flavor::Plain).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = key(a, Flavor::Plain, &toolchain);
        assert_eq!(first, key(a, Flavor::Plain, &toolchain));
        assert_ne!(first, key(b, Flavor::Plain, &toolchain));
        assert_ne!(first, key(a, Flavor::Optimized, &toolchain));
        assert_ne!(first, key(a, Flavor::Debug, &toolchain));
        assert_ne!(first, key(a, Flavor::Lto, &toolchain));
        let mut other = toolchain.clone();
        other.versions.push_str("gcc 99\n");
        assert_ne!(first, key(a, Flavor::Plain, &other));
    }

    #[test]
    fn a_tarball_that_is_none_leaves_the_log_and_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        let tarball = cache.path().join("Python-9.tgz");
        fs::write(&tarball, "no tarball").unwrap();
        let request = Request {
            source: Source::Tarball(tarball),
            flavor: Flavor::Plain,
            jobs: 1,
            cache: cache.path().join("cache"),
            sha256: None,
            offline: false,
        };
        let error = build(&request, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("Python-9.tgz: cannot be unpacked"), "{error}");
        let log = error.way_out().unwrap().strip_prefix("the log is ").unwrap();
        assert!(fs::read_to_string(log).unwrap().contains("tar"));
        assert_eq!(fs::read_dir(cache.path().join("cache/work")).unwrap().count(), 0);
        let archives = fs::read_dir(cache.path().join("cache")).unwrap().flatten();
        assert!(archives.into_iter().all(|entry| entry.path().is_dir()));
    }
}
