//! Packages whose files are real files, because something other than Python opens them.
//!
//! The blob names them. When such a package is first imported, its files are looked for in a folder: one of
//! the user's cache that is found by their content, or the one beside the executable that `pyox-link` has
//! written. Each file is compared with the blob before any of them is used, which costs reading them
//! once per process. In the cache, what is missing or differs is written, each file whole or not at all;
//! beside the executable it is an error. From then on `__file__` and `__path__` are real paths, and extension
//! modules are loaded from there.
//!
//! For a package that the blob does not name, nothing here touches a disk.

use std::fs::{self, DirBuilder, File as OsFile, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyox_blob::config::Placement;
use pyox_blob::package::PackageFiles;
use pyox_blob::{Blob, File, layout};
use rustix::fs::{FlockOperation, StatVfsMountFlags, flock, statvfs};

use super::state::{Root, State};
use super::{images, private};
use crate::ffi::{Attached, Object, Result};

/// The packages of a blob that have a placement.
#[derive(Debug)]
pub(super) struct Placements(Vec<Placed>);

/// A package whose files are real files.
#[derive(Debug)]
struct Placed {
    /// Its dotted name.
    package: String,
    placement: Placement,
    files: PackageFiles<'static>,
    /// The folder that holds the files at their paths, once they have been checked.
    root: OnceLock<String>,
}

/// Packages with a placement whose code is running, in all threads.
static RUNNING: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Placements {
    /// What the blob's configuration says.
    pub(super) fn new(
        blob: &Blob<'static>,
        placements: &[(String, Placement)],
    ) -> Result<Self, pyox_blob::Error> {
        let mut all = Vec::new();
        for (package, placement) in placements {
            all.push(Placed {
                package: package.clone(),
                placement: *placement,
                files: PackageFiles::new(blob, package)?,
                root: OnceLock::new(),
            });
        }
        Ok(Self(all))
    }

    /// Whether any package has one.
    pub(super) fn are_some(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a module's files are real files.
    pub(super) fn has_module(&self, name: &str) -> bool {
        self.of_module(name).is_some()
    }

    fn of_module(&self, name: &str) -> Option<&Placed> {
        self.0.iter().find(|placed| {
            name.strip_prefix(&placed.package)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// The folder that a module's location is below; none in memory.
    pub(super) fn root(&self, attached: Attached<'_>, module: &str) -> Result<Option<&str>> {
        self.of_module(module).map(|placed| placed.root(attached)).transpose()
    }

    /// The real path of a shared object; none in memory.
    pub(super) fn path(
        &self,
        attached: Attached<'_>,
        file: &File<'static>,
    ) -> Result<Option<String>> {
        let mut owners = self.0.iter().filter(|placed| placed.files.contains(file));
        let Some(owner) = owners.next() else { return Ok(None) };
        Ok(Some(format!("{}/{}", owner.root(attached)?, file.path)))
    }

    /// Runs the code of a module, see [`Placements::means_another`].
    pub(super) fn run<'py>(
        &self,
        name: &str,
        body: impl FnOnce() -> Result<Object<'py>>,
    ) -> Result<Object<'py>> {
        if self.of_module(name).is_none() {
            return body();
        }
        let running = || RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running().push(name.to_owned());
        let result = body();
        let mut running = running();
        if let Some(place) = running.iter().rposition(|other| other == name) {
            running.remove(place);
        }
        result
    }

    /// Whether a module that is imported under the name of one whose code is running has to be found
    /// on `sys.path`.
    ///
    /// `cv2` takes itself out of `sys.modules`, puts its own folder on `sys.path`, and imports `cv2`.
    pub(super) fn means_another(&self, name: &str) -> bool {
        self.of_module(name).is_some()
            && RUNNING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|other| other == name)
    }
}

impl Placed {
    /// The folder that holds the files; makes it on the first call.
    fn root(&self, attached: Attached<'_>) -> Result<&str> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let files = self.files.all().map_err(|error| error.to_string());
        let root = files.and_then(|files| match self.placement {
            Placement::Cache => self.in_cache(&files),
            Placement::Beside => beside(&files),
        });
        let root = root.and_then(|root| {
            root.into_os_string().into_string().map_err(|_| "expected a folder in UTF-8".to_owned())
        });
        match root {
            Ok(root) => Ok(self.root.get_or_init(|| root)),
            Err(why) => {
                let place = self.placement.name();
                let what = format!("{}: its files (placement {place}): {why}", self.package);
                Err(attached.raise_import_error(&what, &self.package))
            }
        }
    }

    fn in_cache(&self, files: &[File<'static>]) -> Result<PathBuf, String> {
        let mut content = String::new();
        for file in files {
            use std::fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = writeln!(content, "{} {} {:08x}", file.path, file.len, file.stored_crc());
        }
        let name = format!("{}-{:016x}", self.package, layout::hash(content.as_bytes()));
        private::within(&format!("packages/{name}"), |folder| {
            settle(folder, files).map(|()| folder.to_owned())
        })
        .map_err(|error| format!("cannot be written to a cache folder: {error}"))
    }
}

/// The folder beside the executable, which must hold all files.
fn beside(files: &[File<'static>]) -> Result<PathBuf, String> {
    let executable = &Root::get().executable;
    let folder = |executable: &Path| {
        let mut name = executable.as_os_str().to_owned();
        name.push(".files");
        PathBuf::from(name)
    };
    let wanted = folder(executable);
    // The executable may have been called by a link to it.
    let resolved = fs::canonicalize(executable).map(|path| folder(&path)).ok();
    let candidates = [Some(wanted.clone()), resolved];
    let Some(found) = candidates.into_iter().flatten().find(|folder| folder.is_dir()) else {
        return Err(format!(
            "{}: expected the folder that belongs to the executable, found none",
            wanted.display()
        ));
    };
    match files.iter().find(|file| !holds(&found, file)) {
        None => Ok(found),
        Some(file) => Err(format!(
            "{}: expected the file that belongs to the executable, found none or another",
            found.join(file.path).display()
        )),
    }
}

/// Makes sure that a folder of the cache holds the files.
fn settle(folder: &Path, files: &[File<'static>]) -> io::Result<()> {
    let missing = |files: &[File<'static>]| -> Vec<File<'static>> {
        files.iter().filter(|file| !holds(folder, file)).copied().collect()
    };
    let first = missing(files);
    if !first.is_empty() {
        // Of several processes at once, one writes. Where there are no locks, each does.
        let lock = OsFile::open(folder)?;
        let locked = flock(&lock, FlockOperation::LockExclusive).is_ok();
        if locked {
            remove_abandoned(folder);
        }
        for file in missing(&first) {
            write(folder, &file)?;
        }
    }
    let runs = |file: &File<'_>| is_program(&folder.join(file.path)).unwrap_or(false);
    if statvfs(folder)?.f_flag.contains(StatVfsMountFlags::NOEXEC) && files.iter().any(runs) {
        return Err(io::Error::other("programs cannot be run from there (mounted noexec)"));
    }
    Ok(())
}

/// Whether a folder holds a file, with the right bytes and the right to be run where it needs it.
fn holds(folder: &Path, file: &File<'static>) -> bool {
    let path = folder.join(file.path);
    images::holds(State::get().packed(), &path, file)
        && is_program(&path).is_ok_and(|program| {
            !program || fs::metadata(&path).is_ok_and(|there| there.mode() & 0o100 != 0)
        })
}

/// Whether the kernel can run a file. A wheel says which of its files are executable, but not all
/// that unpack wheels keep that.
fn is_program(path: &Path) -> io::Result<bool> {
    let mut head = Vec::with_capacity(4);
    OsFile::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(layout::is_program(&head))
}

const TEMPORARY: &str = ".new-";

/// Writes one file, over whatever is there: whoever uses the old one keeps it.
fn write(folder: &Path, file: &File<'static>) -> io::Result<()> {
    let path = folder.join(file.path);
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let (temporary, to) = private::temporary(folder, TEMPORARY, 0o600)?;
    let publish = || {
        images::copy(State::get().packed(), file, &to)?;
        if is_program(&temporary)? {
            to.set_permissions(Permissions::from_mode(0o700))?;
        }
        drop(to);
        fs::rename(&temporary, &path)
    };
    publish().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Removes what processes left behind that were killed while they wrote.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
