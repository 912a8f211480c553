//! Locked versions: `uv.lock`, `pylock.toml` (PEP 751) and `poetry.lock`, as requirements with digests, which pip then
//! enforces.
//!
//! No lock file is resolved again. What has no digest is as fixed by other means: a commit, or a folder of one's own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_collect::{Folder, file_url};
use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Result, cache, files};

use crate::pyproject::{Metadata, PyProject};
use crate::settings::read_toml;

mod markers;
mod poetry;
mod pylock;
mod uv;

/// The index that pip and uv ask unless they are told of another.
const USUAL_INDEX: &str = "https://pypi.org/simple";

/// What a lock file says about a project.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    /// Lines of a requirements file with each version and its digests.
    lines: String,
    /// Requirements that have no digest: commits of repositories.
    pub(crate) pinned: Vec<String>,
    /// Folders of projects that it depends on, which have no version of their own.
    pub(crate) folders: Vec<Folder>,
    /// Options of pip's: where else archives are.
    options: BTreeSet<String>,
}

/// Where a package of a lock file comes from.
#[derive(Debug)]
enum Source {
    /// The version of that number, of an index.
    Version(Option<String>),
    /// An archive, by its address.
    Archive(String),
    /// A commit of a repository.
    Commit { repository: String, commit: String, subdirectory: Option<String> },
    /// A folder with a project.
    Folder(PathBuf),
}

/// Reads the lock file of a project, where it has one. `extras` and `groups` are those that are wanted.
pub(crate) fn of_project(
    root: &Path,
    project: &PyProject,
    metadata: &Metadata,
    extras: &[String],
    groups: &[String],
) -> Result<Option<Locked>> {
    let read = |path: &Path| fs::read_to_string(path).fault_at(path);
    let pylock = root.join("pylock.toml");
    if pylock.is_file() {
        let lock: pylock::Lock = read_toml(&pylock, &read(&pylock)?)?;
        return Ok(Some(lock.locked(&pylock, extras, groups)?));
    }
    if let Some(path) = uv::file_of(root)? {
        let lock: uv::Lock = read_toml(&path, &read(&path)?)?;
        return Ok(Some(lock.locked(&path, root, metadata, extras, groups)?));
    }
    let path = root.join("poetry.lock");
    if path.is_file() {
        let lock: poetry::Lock = read_toml(&path, &read(&path)?)?;
        return Ok(Some(lock.locked(&path, root, project, extras, groups)?));
    }
    Ok(None)
}

impl Locked {
    /// The requirements file, in the cache by its content.
    pub(crate) fn requirements(&self) -> Result<PathBuf> {
        let mut text = String::new();
        for option in &self.options {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{option}");
        }
        text.push_str(&self.lines);
        let name = Digest::of(text.as_bytes());
        let path = cache::folder("builds")?.join(format!("locked-{name}.txt"));
        files::write(&path, text.as_bytes())?;
        Ok(path)
    }

    /// A further index, whose files count as much as the others': they are told by their digests.
    fn index(&mut self, address: &str) {
        if address.trim_end_matches('/') != USUAL_INDEX {
            self.options.insert(format!("--extra-index-url {address}"));
        }
    }

    /// A folder with archives.
    fn find_links(&mut self, folder: &Path) {
        self.options.insert(format!("--find-links {}", file_url(folder)));
    }

    /// A package. `markers` stand behind its requirement, with the semicolon.
    fn add(
        &mut self,
        path: &Path,
        name: &str,
        markers: &str,
        source: Source,
        digests: &BTreeSet<String>,
    ) -> Result<()> {
        let requirement = match source {
            Source::Folder(folder) => {
                let marker = markers.trim_start_matches([' ', ';']).to_owned();
                self.folders.push(Folder { path: folder, name: Some(name.to_owned()), marker });
                return Ok(());
            }
            Source::Commit { repository, commit, subdirectory } => {
                let within = subdirectory.map(|folder| format!("#subdirectory={folder}"));
                // Without its name, since some versions of pip take no `name @ git+file:///…`.
                let within = within.unwrap_or_default();
                self.pinned.push(format!("git+{repository}@{commit}{within}{markers}"));
                return Ok(());
            }
            Source::Archive(address) => Some(format!("{name} @ {address}")),
            Source::Version(version) => version.map(|version| format!("{name}=={version}")),
        };
        let Some(requirement) = requirement.filter(|_| !digests.is_empty()) else {
            let what =
                format!("{name}: expected a version and a sha256 of each of its files, found none");
            return Err(Fault::at(path, what));
        };
        self.lines += &requirement;
        self.lines += markers;
        for digest in digests {
            let _ = write!(self.lines, " --hash={digest}");
        }
        self.lines.push('\n');
        Ok(())
    }
}

/// The address of a file or folder that a lock file names; relative to the folder that the lock file is in.
fn address(path: &Path, given: &str) -> String {
    if given.contains("://") { given.to_owned() } else { file_url(&within(path, given)) }
}

/// A path that a lock file names.
fn within(path: &Path, given: &str) -> PathBuf {
    let joined = path.parent().unwrap_or(Path::new("")).join(given);
    joined.canonicalize().unwrap_or(joined)
}

/// The address of a repository, as pip understands it: `git@host:path` is ssh's own spelling.
fn repository(path: &Path, given: &str) -> String {
    match given.split_once(':') {
        _ if given.contains("://") => given.to_owned(),
        Some((host, rest)) if !host.contains('/') => {
            format!("ssh://{host}/{}", rest.trim_start_matches('/'))
        }
        _ => file_url(&within(path, given)),
    }
}
