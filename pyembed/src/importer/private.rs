//! A folder of the user's own, for files that the system must open by a path.
//!
//! Code is run from it, so nobody else may write there: it is `pyembed` in the user's cache directory, or
//! else one with the user's number below the temporary directory, closed to others and checked to belong
//! to the user at every use. The folders above it are checked before the first one is made ([`pyox_private`]), because
//! variables such as `HOME` can be another user's.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Does something in the private folder of that name: in the first of the places where it succeeds.
pub(super) fn within<T>(
    name: &str,
    mut attempt: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let user = rustix::process::geteuid().as_raw();
    let mut failures = Vec::new();
    for candidate in candidates(user) {
        let folder = candidate.join(name);
        match make(&candidate, &folder, user).and_then(|()| attempt(&folder)) {
            Ok(done) => return Ok(done),
            Err(error) => failures.push(format!("{}: {error}", candidate.display())),
        }
    }
    Err(io::Error::other(failures.join("; ")))
}

/// A new file in a folder, to read and write, under a name that nobody else has: processes of containers that share the
/// folder can have the same number.
pub(super) fn temporary(folder: &Path, prefix: &str, mode: u32) -> io::Result<(PathBuf, File)> {
    loop {
        let path = folder.join(format!("{prefix}{:016x}", RandomState::new().hash_one(prefix)));
        let mut options = File::options();
        match options.read(true).write(true).create_new(true).mode(mode).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}

fn candidates(user: u32) -> impl Iterator<Item = PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
        // Elsewhere for every working directory, it would be no cache.
        .filter(|path| path.is_absolute());
    let temporary = std::env::temp_dir().join(format!("pyembed-{user}"));
    cache.map(|cache| cache.join("pyembed")).into_iter().chain([temporary])
}

/// Makes a folder in one that is the user's own and closed to others.
fn make(own: &Path, folder: &Path, user: u32) -> io::Result<()> {
    let above = own.parent().unwrap_or(own);
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    // The folder itself may have been left open to others; that is mended below.
    pyox_private::check(above).or_else(sticky).map_err(io::Error::other)?;
    builder.create(own)?;
    close(own, user)?;
    builder.create(folder)?;
    pyox_private::check(folder).map_err(io::Error::other)
}

/// The temporary directory is one that others may write to, and what is in it still belongs to its owner.
fn sticky(error: pyox_private::Error) -> Result<(), pyox_private::Error> {
    match error {
        pyox_private::Error::Writable { mode, .. } if mode & 0o1000 != 0 => Ok(()),
        error => Err(error),
    }
}

/// It must be the user's own, and closed to others.
fn close(folder: &Path, user: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != user {
        return Err(io::Error::other("expected a folder that belongs to the user"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}
