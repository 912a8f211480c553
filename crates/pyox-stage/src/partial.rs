//! Folders of the cache that are being filled.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::{FlockOperation, flock, syncfs};
use tempfile::TempDir;

use crate::{FaultExt, Result};

const PREFIX: &str = ".partial-";

/// A folder that is being filled; removed with all that is in it, unless it has been renamed.
///
/// The process that fills it holds a lock on it. One that nobody holds a lock on is what a killed run has left
/// behind, and goes away when the next one is made beside it.
#[derive(Debug)]
pub struct Partial {
    folder: TempDir,
    lock: File,
}

impl Partial {
    /// A new one, in that folder.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn new(within: &Path) -> Result<Self> {
        // Only for a moment: to make a folder and to lock it must be one step for those who sweep.
        let sweeping = File::open(within).fault_at(within)?;
        // Where there are no locks, nothing is swept.
        if flock(&sweeping, FlockOperation::LockExclusive).is_ok() {
            sweep(within);
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(within);
        let is_closed = folder.as_ref().is_err_and(|error| {
            matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
        });
        let folder = folder.fault_at(within).map_err(|fault| {
            if !is_closed {
                return fault;
            }
            fault.hint("set PYOX_CACHE_DIR to a folder that pyox may write to")
        })?;
        let lock = File::open(folder.path()).fault_at(folder.path())?;
        let _ = flock(&lock, FlockOperation::LockExclusive);
        Ok(Self { folder, lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until all that is in it is on the disk. A power cut could otherwise leave the name that it is given
    /// next, and not the bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.lock)?)
    }
}

/// Removes what killed runs left behind. Nothing depends on it, so what cannot be removed stays.
fn sweep(within: &Path) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_behind_goes_away_and_nothing_else() {
        let within = tempfile::tempdir().unwrap();
        let abandoned = within.path().join(".partial-abandoned");
        fs::create_dir_all(abandoned.join("folder")).unwrap();
        fs::create_dir(within.path().join("entry")).unwrap();
        let first = Partial::new(within.path()).unwrap();
        let second = Partial::new(within.path()).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir() && !abandoned.exists());
        fs::rename(first.path(), within.path().join("other")).unwrap();
        drop((first, second));
        let left = fs::read_dir(within.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["entry", "other"]);
    }
}
