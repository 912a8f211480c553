//! Builds a CPython distribution archive from CPython's release tarball.
//!
//! Why: python-build-standalone's archives come over the network and, optimised, as LLVM bitcode. This
//! crate makes the same archive format (`PYTHON.json` of format 8) out of the release tarball and the
//! static libraries of a Debian system, so that whoever has a C compiler has a distribution that links
//! `-static` and dynamically, with every standard extension module built in.
//!
//! Cost: about three minutes on two cores for a plain `-O2` build (an optimised one takes ten times
//! that), 600 MB of disk meanwhile, 22 MB for the finished archive. A second call with the same
//! inputs finds the archive by their digest and does nothing.
//!
//! The steps are modules: [`sources`] gets the tarball, `libraries` looks at the system, `recipe` runs
//! configure and make, `setup` and `document` describe the result, `archive` packs it.

#![deny(missing_docs)]

mod archive;
mod debian;
mod document;
mod error;
mod libraries;
mod recipe;
mod setup;
pub mod sources;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use pyox_schema::Digest;
use rustix::fs::{FlockOperation, flock};

pub use error::Error;
use sources::Release;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    let toolchain = libraries::Toolchain::find()?;
    fs::create_dir_all(&request.cache).map_err(Error::io(&request.cache))?;
    // Steps run in folders of their own, and python resolves links in its own path.
    let cache = fs::canonicalize(&request.cache).map_err(Error::io(&request.cache))?;
    // CPython's makefiles do not quote their own folder.
    if cache.to_string_lossy().contains(char::is_whitespace) {
        return Err(Error::new(format!("{}: white space in the path of a build", cache.display()))
            .with_hint("choose another cache folder"));
    }
    let name = |tarball: Digest, version: &str| {
        let key = key(tarball, request.flavor, &toolchain);
        let flavor = match request.flavor {
            Flavor::Plain => "",
            Flavor::Optimized => "-pgo",
            Flavor::Debug => "-debug",
        };
        format!("cpython-{version}{flavor}-{}", key.short())
    };
    let archive = |name: &str| cache.join(format!("{name}.tar.zst"));
    let (name, tarball) = match &request.source {
        Source::Tarball(path) => {
            (name(sources::digest_of(path)?, &sources::stem(path)), Some(path.clone()))
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
    let work = Work::new(&cache)?;
    match make(request, &toolchain, &tarball, &work, &archive, progress) {
        Ok(()) => Ok(archive),
        Err(error) => {
            let log = work.keep_log(&cache, &name)?;
            Err(error.or_hint(|| format!("the log is {}", log.display())))
        }
    }
}

/// From the tarball to the archive, inside the work folder.
fn make(
    request: &Request,
    toolchain: &libraries::Toolchain,
    tarball: &Path,
    work: &Work,
    archive: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<()> {
    progress(Event::Unpacking);
    let tree = recipe::unpack(tarball, &work.folder, &work.log)?;
    let libraries = toolchain.libraries_for(tree.version);
    let build = recipe::Build {
        tree: &tree,
        libraries: &libraries,
        flavor: request.flavor,
        jobs: request.jobs.max(1),
        log: &work.log,
    };
    build.run(progress)?;
    progress(Event::Archiving);
    let document = document::describe(&build)?;
    archive::write(&build, &document, toolchain, archive)
}

/// The private folder of one build, removed when it goes out of scope.
///
/// It is locked while its process lives, which is how another build knows whether it may sweep it: the
/// kernel releases the lock of a killed process, and a process id would prove nothing.
struct Work {
    folder: PathBuf,
    log: PathBuf,
    _lock: File,
}

impl Work {
    /// A new folder, after those of killed builds have been removed: they could not do it themselves.
    fn new(cache: &Path) -> Result<Self> {
        let parent = cache.join("work");
        fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
        // Nobody sweeps while another has made its folder and not locked it yet.
        let _sweeping = lock(&parent, FlockOperation::LockExclusive)?;
        for entry in fs::read_dir(&parent).map_err(Error::io(&parent))?.flatten() {
            if lock(&entry.path(), FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&parent)
            .map_err(Error::io(&parent))?
            .keep();
        let lock = lock(&folder, FlockOperation::LockExclusive)?;
        let log = folder.join("log");
        fs::write(&log, "").map_err(Error::io(&log))?;
        Ok(Self { folder, log, _lock: lock })
    }

    /// Moves the log to where it outlives the folder.
    fn keep_log(&self, cache: &Path, name: &str) -> Result<PathBuf> {
        let logs = cache.join("logs");
        fs::create_dir_all(&logs).map_err(Error::io(&logs))?;
        let log = logs.join(format!("{name}.log"));
        fs::rename(&self.log, &log).map_err(Error::io(&log))?;
        Ok(log)
    }
}

/// Opens and locks a folder; the lock goes with the file, and programs that are started do not inherit it.
fn lock(folder: &Path, how: FlockOperation) -> Result<File> {
    let file = File::open(folder).map_err(Error::io(folder))?;
    flock(&file, how).map_err(|error| Error::io(folder)(error.into()))?;
    Ok(file)
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_build_is_swept_and_a_living_one_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let killed = cache.path().join("work/build-killed");
        fs::create_dir_all(killed.join("Python-0")).unwrap();
        let alive = Work::new(cache.path()).unwrap();
        let another = Work::new(cache.path()).unwrap();
        assert!(!killed.exists());
        assert!(alive.folder.is_dir() && another.folder.is_dir());
        let folder = alive.folder.clone();
        drop(alive);
        assert!(!folder.exists());
        assert!(another.folder.is_dir());
    }

    #[test]
    fn the_key_changes_with_every_input() {
        let toolchain = libraries::Toolchain::find().unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = key(a, Flavor::Plain, &toolchain);
        assert_eq!(first, key(a, Flavor::Plain, &toolchain));
        assert_ne!(first, key(b, Flavor::Plain, &toolchain));
        assert_ne!(first, key(a, Flavor::Optimized, &toolchain));
        assert_ne!(first, key(a, Flavor::Debug, &toolchain));
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
        let log = error.hint().unwrap().strip_prefix("the log is ").unwrap();
        assert!(fs::read_to_string(log).unwrap().contains("tar"));
        assert_eq!(fs::read_dir(cache.path().join("cache/work")).unwrap().count(), 0);
        let archives = fs::read_dir(cache.path().join("cache")).unwrap().flatten();
        assert!(archives.into_iter().all(|entry| entry.path().is_dir()));
    }
}
