//! Folders that nobody but their user can change.
//!
//! The tools and the executables keep code in folders of the user's and run it later. Whoever can change such a folder, or
//! one above it, can run code as that user. [`check`] is asked before the first folder is made, because a planted symbolic
//! link would otherwise say where, and after the last one.
//!
//! A folder, all folders above it and all symbolic links on the way must belong to the user as whom the process acts, or to
//! the owner of the root folder. Nobody else may write to them, apart from folders with the sticky bit, such as `/tmp`, above
//! the folder itself. The user's own group counts as the user: some systems give each user one, and folders that it may
//! write to. Access control lists are not looked at.

#![deny(missing_docs)]

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::process::{getegid, geteuid};

/// Why a folder is not to be used.
#[derive(Debug)]
pub enum Error {
    /// It, or something on the way to it, belongs to somebody else.
    Owner {
        /// What belongs to somebody else.
        path: PathBuf,
        /// To whom.
        owner: u32,
        /// As whom the process acts.
        user: u32,
    },
    /// Others may write to it, or to a folder above it.
    Writable {
        /// What others may write to.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be asked for.
    Io(PathBuf, io::Error),
}

/// Whether nobody else can change a folder, or make it where it is missing.
///
/// Costs two system calls for each part of its path.
///
/// # Errors
///
/// If somebody else can, or it cannot be told.
pub fn check(folder: &Path) -> Result<(), Error> {
    let folder = absolute(folder).map_err(|error| Error::Io(folder.to_owned(), error))?;
    let root = fs::metadata("/").map_err(|error| Error::Io("/".into(), error))?.uid();
    let trusted = [geteuid().as_raw(), root];
    let mut pending: Vec<PathBuf> = Vec::new();
    let push = |pending: &mut Vec<PathBuf>, path: &Path| {
        let parts = path.components().rev().filter(|part| *part != Component::RootDir);
        pending.extend(parts.map(|part| PathBuf::from(part.as_os_str())));
    };
    push(&mut pending, &folder);
    let (mut at, mut links, mut is_checked) = (PathBuf::from("/"), 0, false);
    loop {
        if !is_checked {
            let metadata = fs::symlink_metadata(&at);
            match metadata {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::Io(at, error)),
                Ok(metadata) => {
                    if !trusted.contains(&metadata.uid()) {
                        let (owner, user) = (metadata.uid(), trusted[0]);
                        return Err(Error::Owner { path: at, owner, user });
                    }
                    if metadata.is_symlink() {
                        links += 1;
                        // As the kernel does.
                        if links > 40 {
                            let error = io::ErrorKind::InvalidInput;
                            return Err(Error::Io(at, error.into()));
                        }
                        let target =
                            fs::read_link(&at).map_err(|error| Error::Io(at.clone(), error))?;
                        if target.is_absolute() {
                            at = PathBuf::from("/");
                        } else {
                            at.pop();
                        }
                        push(&mut pending, &target);
                        is_checked = true;
                        continue;
                    }
                    if others_may_write(&metadata, pending.is_empty()) {
                        let mode = metadata.mode() & 0o7777;
                        return Err(Error::Writable { path: at, mode });
                    }
                }
            }
        }
        is_checked = false;
        match pending.pop() {
            None => return Ok(()),
            Some(part) if part.as_os_str() == ".." => {
                at.pop();
            }
            Some(part) => at.push(part),
        }
    }
}

fn others_may_write(metadata: &Metadata, is_last: bool) -> bool {
    const STICKY: u32 = 0o1000;
    let mode = metadata.mode();
    let is_own_group = [getegid().as_raw(), 0].contains(&metadata.gid());
    let is_writable = mode & 0o002 != 0 || mode & 0o020 != 0 && !is_own_group;
    // In a sticky folder only the owner of an entry can rename it.
    is_writable && (is_last || mode & STICKY == 0)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { path, owner, user } => write!(
                f,
                "{}: expected it to belong to user {user}, got user {owner}",
                path.display()
            ),
            Self::Writable { path, mode } => write!(
                f,
                "{}: expected a folder that nobody else can write to, got mode {mode:04o}",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_of_ones_own_is_private_and_so_is_one_that_is_not_there_yet() {
        let own = tempfile::tempdir().unwrap();
        check(own.path()).unwrap();
        check(&own.path().join("a/b")).unwrap();
        check(Path::new("/root-only-or-missing/x")).unwrap();
    }

    #[test]
    fn what_others_may_write_to_is_not() {
        let own = tempfile::tempdir().unwrap();
        let shared = own.path().join("shared");
        fs::create_dir(&shared).unwrap();
        chmod(&shared, 0o777);
        for path in [shared.clone(), shared.join("cache"), shared.join("a/b")] {
            let error = check(&path).unwrap_err().to_string();
            assert!(error.ends_with("got mode 0777"), "{error}");
        }
        // As `/tmp` is: for folders in it, and not itself.
        chmod(&shared, 0o1777);
        check(&shared.join("cache")).unwrap();
        assert!(matches!(check(&shared), Err(Error::Writable { mode: 0o1777, .. })));
    }

    #[test]
    fn a_link_is_followed_before_anything_is_made() {
        let own = tempfile::tempdir().unwrap();
        let (shared, link) = (own.path().join("shared"), own.path().join("link"));
        fs::create_dir(&shared).unwrap();
        chmod(&shared, 0o777);
        symlink("shared/cache", &link).unwrap();
        assert!(matches!(check(&link), Err(Error::Writable { .. })));
        assert!(matches!(check(&link.join("more")), Err(Error::Writable { .. })));
        symlink("round", own.path().join("round")).unwrap();
        assert!(matches!(check(&own.path().join("round/x")), Err(Error::Io(..))));
    }

    /// Needs root, as the tests of the project do.
    #[test]
    fn what_belongs_to_somebody_else_is_not() {
        let own = tempfile::tempdir().unwrap();
        let (theirs, ours) = (own.path().join("theirs"), own.path().join("ours"));
        fs::create_dir_all(theirs.join("inside")).unwrap();
        fs::create_dir(&ours).unwrap();
        symlink("ours", own.path().join("link")).unwrap();
        chown(&theirs, Some(12345), None).unwrap();
        std::os::unix::fs::lchown(own.path().join("link"), Some(12345), None).unwrap();
        for path in ["theirs", "theirs/inside", "theirs/new", "link", "link/new"] {
            let error = check(&own.path().join(path)).unwrap_err();
            assert!(matches!(error, Error::Owner { owner: 12345, .. }), "{path}: {error}");
        }
        check(&ours).unwrap();
    }
}
