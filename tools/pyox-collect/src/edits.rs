//! Projects that were edited since they were built.
//!
//! A build backend takes seconds, mostly to make an environment of its own. If it has installed each file unchanged from
//! the project, and since then only the content of such files has changed, it would install the same files with the new
//! contents. Then the files are replaced, and the backend does not run. A project is built again if its backend computes
//! metadata (`dynamic`), if files were added or removed, or if a file is not installed unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::Digest;
use pyox_stage::{FaultExt, Result, Stamp, cache, files};
use serde::{Deserialize, Serialize};

use crate::projects::is_made_by_tools;

/// A project as it was when it was last installed.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// The folder of the installation, in that of all projects.
    key: String,
    /// Its files by their paths in it, as far as a change shows.
    files: Files,
    /// Where files are installed as they are.
    installed: BTreeMap<String, String>,
}

/// Where the state of the project in a folder is kept, for installations of one kind.
fn store(project: &Path, kind: &str) -> Result<PathBuf> {
    let name = Digest::of(format!("{kind}\n{}", project.display()).as_bytes());
    Ok(cache::folder("digests")?.join(format!("project-{name}.json")))
}

/// A project's files as they are now, by their paths in it. It is asked for before anything is built: what is edited
/// meanwhile is then seen the next time.
pub(crate) type Files = BTreeMap<String, Stamp>;

/// Fills the folder `fresh` with the installation of a project, if it can be had from the one before.
pub(crate) fn renew(
    project: &Path,
    now: &Files,
    kind: &str,
    all: &Path,
    fresh: &Path,
) -> Result<bool> {
    let Some(known) = fs::read(store(project, kind)?).ok() else { return Ok(false) };
    let Ok(known) = serde_json::from_slice::<Known>(&known) else { return Ok(false) };
    let before = all.join(&known.key);
    let changed: Vec<&String> = now
        .iter()
        .filter(|(name, stamp)| known.files.get(*name) != Some(*stamp))
        .map(|f| f.0)
        .collect();
    let is_same_set = now.len() == known.files.len() && now.keys().eq(known.files.keys());
    if !is_same_set
        || !before.is_dir()
        || !changed.iter().all(|name| known.installed.contains_key(*name))
    {
        return Ok(false);
    }
    link_tree(&before, fresh)?;
    let mut replaced = Vec::new();
    for name in changed {
        let place = &known.installed[name];
        let target = fresh.join(place);
        fs::remove_file(&target).fault_at(&target)?;
        fs::copy(project.join(name), &target).fault_at(&target)?;
        replaced.push(place.clone());
    }
    forget_digests(fresh, &replaced)?;
    Ok(true)
}

/// Notes how a project was installed, for the next time.
pub(crate) fn note(
    project: &Path,
    before: Files,
    kind: &str,
    key: &str,
    installation: &Path,
) -> Result<()> {
    let store = store(project, kind)?;
    let installed =
        if is_static(project) { installed_as_they_are(project, installation)? } else { None };
    let Some(installed) = installed else {
        let _ = fs::remove_file(&store);
        return Ok(());
    };
    let known = Known { key: key.to_owned(), files: before, installed };
    files::write(&store, &serde_json::to_vec(&known).fault_at(&store)?)
}

/// Whether all metadata of a project stands in its `pyproject.toml`.
fn is_static(project: &Path) -> bool {
    let text = fs::read_to_string(project.join("pyproject.toml")).unwrap_or_default();
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let metadata = table.get("project").and_then(toml::Value::as_table);
    let is_dynamic = |metadata: &toml::Table| {
        metadata.get("dynamic").and_then(toml::Value::as_array).is_some_and(|list| !list.is_empty())
    };
    metadata.is_some_and(|metadata| !is_dynamic(metadata)) && !project.join("setup.py").exists()
}

/// The files of a project that are installed as they are, each with its place; `None` if an installed file is not one.
fn installed_as_they_are(
    project: &Path,
    installation: &Path,
) -> Result<Option<BTreeMap<String, String>>> {
    let sources = names(project)?;
    let mut found = BTreeMap::new();
    for place in names(installation)? {
        let is_own = place.split('/').next().is_some_and(|top| top.ends_with(".dist-info"));
        // Scripts are made by pip, of the metadata.
        if is_own || place.starts_with("bin/") || place.contains("__pycache__/") {
            continue;
        }
        let path = installation.join(&place);
        let bytes = fs::read(&path).fault_at(&path)?;
        let is_it = |name: &&String| {
            let is_place = name
                .strip_suffix(&place)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
            is_place && fs::read(project.join(name)).is_ok_and(|source| source == bytes)
        };
        let Some(name) = sources.iter().find(is_it) else { return Ok(None) };
        found.insert(name.clone(), place);
    }
    Ok(Some(found))
}

/// The files of a project.
pub(crate) fn files_of(project: &Path) -> Result<Files> {
    let stamp = |name: String| {
        let path = project.join(&name);
        Ok((name, Stamp::of(&path).fault_at(&path)?))
    };
    names(project)?.into_iter().map(stamp).collect()
}

/// The paths of all files below a folder, but for those of tools.
fn names(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).fault_at(&folder)? {
            let entry = entry.fault_at(&folder)?;
            let path = entry.path();
            // Links to folders are not followed: they may lead round in a circle.
            if entry.file_type().fault_at(&path)?.is_dir() {
                if !is_made_by_tools(&path) {
                    pending.push(path);
                }
            } else if path.exists()
                && let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str)
            {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The same tree again, of links to its files, which nobody writes to.
fn link_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).fault_at(to)?;
    for entry in fs::read_dir(from).fault_at(from)? {
        let path = entry.fault_at(from)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            link_tree(&path, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).fault_at(&target)?;
        }
    }
    Ok(())
}

/// Takes digest and length of files out of RECORD, where both may be missing.
fn forget_digests(installation: &Path, replaced: &[String]) -> Result<()> {
    for entry in fs::read_dir(installation).fault_at(installation)? {
        let record = entry.fault_at(installation)?.path().join("RECORD");
        let Ok(text) = fs::read_to_string(&record) else { continue };
        let line = |line: &str| {
            let is_of = |place: &String| {
                line.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with(','))
            };
            match replaced.iter().find(|place| is_of(place)) {
                Some(place) => format!("{place},,\n"),
                None => format!("{line}\n"),
            }
        };
        let text: String = text.lines().map(line).collect();
        fs::remove_file(&record).fault_at(&record)?;
        files::write(&record, text.as_bytes())?;
    }
    Ok(())
}
