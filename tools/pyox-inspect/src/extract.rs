//! Resources as files.
//!
//! Names come from the input and are not trusted: a path that is absolute or climbs is refused, and
//! every folder on the way is opened from the one above it without following a link, so that
//! nothing is written outside the folder that the user named, whatever lies in it already.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::contents::{Contents, Resource};

impl Contents<'_> {
    /// Writes resources as files below `directory`, which is made if it is missing, and returns how many.
    ///
    /// `names` are dotted names or paths, as the resources have them. Each stands for itself and all that is below it;
    /// without any, all resources are written. A module without a source becomes a `.pyc` file. `force` replaces files that
    /// are there.
    ///
    /// # Errors
    ///
    /// If there is no resource of a name, a path would leave `directory`, a file is there already, or the system refuses to
    /// write. All but the last are found before anything is written.
    pub fn extract(&self, names: &[String], directory: &Path, force: bool) -> Result<usize> {
        for name in names {
            if !self.resources.iter().any(|resource| is_below(resource, name)) {
                return Err(self.unknown(name));
            }
        }
        let wanted = self.resources.iter().filter(|resource| {
            resource.size.or(resource.code).is_some()
                && (names.is_empty() || names.iter().any(|name| is_below(resource, name)))
        });
        let mut plan: BTreeMap<String, &Resource> = BTreeMap::new();
        for resource in wanted {
            let path = resource.path();
            let safe = path.split('/').all(|part| !matches!(part, "" | "." | ".."))
                && !path.contains('\0');
            if !safe {
                let what = "expected a path inside the folder, got one that leaves it";
                return Err(Fault::new(format_args!("{}: {path}", self.name), what));
            }
            // A file can be two modules.
            let other = plan.insert(path.clone(), resource);
            if other.is_some_and(|other| !resource.is_same_file(other)) {
                let place = format!("{}: {path}", self.name);
                return Err(Fault::new(place, "two resources have this path"));
            }
        }
        std::fs::create_dir_all(directory).fault_at(directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, directory, flags, Mode::empty()).fault_at(directory)?;
        // Everything is looked at before anything is written.
        for path in plan.keys() {
            let folder = enter(&root, path, false).fault_at(&directory.join(path))?;
            let file = path.rsplit('/').next().unwrap_or_default();
            let there = folder
                .is_some_and(|folder| statat(&folder, file, AtFlags::SYMLINK_NOFOLLOW).is_ok());
            if there && !force {
                return Err(Fault::at(&directory.join(path), "expected nothing there, got a file")
                    .hint("--force replaces it"));
            }
        }
        let magic = self.bytecode_magic()?.unwrap_or_default();
        for (path, resource) in &plan {
            let bytes = match self.file(resource)? {
                Some(bytes) => bytes,
                // A `.pyc` file: magic number, flags, and room for a time and a length that nobody
                // reads where the source is missing.
                None => [&magic[..], &[0; 12], &self.code(resource)?.unwrap_or_default()].concat(),
            };
            write(&root, path, &bytes, force).fault_at(&directory.join(path))?;
        }
        Ok(plan.len())
    }
}

/// Whether a resource is what `name` says, or below it.
fn is_below(resource: &Resource, name: &str) -> bool {
    let below = |whole: &str, separator: char| {
        let rest = whole.strip_prefix(name.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
    };
    below(&resource.path(), '/') || (resource.kind.is_importable() && below(&resource.name, '.'))
}

/// The folder of `path` below `root`; `None` if it does not exist and is not to be made.
fn enter(root: &OwnedFd, path: &str, make: bool) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder =
        root.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut parts: Vec<_> = path.split('/').collect();
    parts.pop();
    for part in parts {
        if make {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        folder = match openat(&folder, part, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(folder))
}

/// Makes one file, whole or not at all.
fn write(root: &OwnedFd, path: &str, bytes: &[u8], force: bool) -> std::io::Result<()> {
    let Some(folder) = enter(root, path, true)? else { return Err(Errno::NOENT.into()) };
    let name = path.rsplit('/').next().unwrap_or_default();
    // Random: processes of containers that share a folder can have the same number.
    let temporary = format!(".pyox-inspect.{:016x}.tmp", RandomState::new().hash_one(path));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&folder, &temporary, flags, Mode::from_raw_mode(0o666))?;
    let written = std::fs::File::from(file).write_all(bytes).and_then(|()| {
        if force {
            return Ok(renameat(&folder, &temporary, &folder, name)?);
        }
        // link(2) never replaces.
        linkat(&folder, &temporary, &folder, name, AtFlags::empty())?;
        Ok(unlinkat(&folder, &temporary, AtFlags::empty())?)
    });
    written.inspect_err(|_| {
        let _ = unlinkat(&folder, &temporary, AtFlags::empty());
    })
}
