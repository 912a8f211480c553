//! `pylock.toml` (PEP 751).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pyox_collect::project_name;
use pyox_stage::{Fault, Result};
use serde::Deserialize;

use super::markers::Selected;
use super::{Locked, Source, address, repository, within};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Lock {
    #[serde(rename = "lock-version")]
    version: String,
    #[serde(default)]
    extras: BTreeSet<String>,
    #[serde(default)]
    dependency_groups: BTreeSet<String>,
    /// The groups that count where none is asked for.
    #[serde(default)]
    default_groups: BTreeSet<String>,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    index: Option<String>,
    #[serde(default)]
    wheels: Vec<File>,
    sdist: Option<File>,
    archive: Option<File>,
    vcs: Option<Repository>,
    directory: Option<Directory>,
}

#[derive(Debug, Deserialize)]
struct File {
    url: Option<String>,
    path: Option<String>,
    subdirectory: Option<String>,
    hashes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Repository {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    path: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Directory {
    path: String,
    subdirectory: Option<String>,
}

impl Lock {
    /// What it says for some extras and groups, beside the groups that it takes itself.
    pub(super) fn locked(
        &self,
        path: &Path,
        extras: &[String],
        groups: &[String],
    ) -> Result<Locked> {
        if !self.version.starts_with("1.") {
            let what = format!("lock-version: expected 1.0, got {}", self.version);
            return Err(Fault::at(path, what));
        }
        let known = |wanted: &[String], kind: &str, there: &BTreeSet<String>| {
            let there: BTreeMap<_, _> =
                there.iter().map(|name| (project_name(name), name)).collect();
            let find = |name: &String| {
                if let Some(&name) = there.get(&project_name(name)) {
                    Ok(name.clone())
                } else {
                    let what = format!("{kind}: expected one with `{name}`, found none");
                    Err(Fault::at(path, what)
                        .hint("lock it with that one, or leave the option out"))
                }
            };
            wanted.iter().map(find).collect::<Result<BTreeSet<String>>>()
        };
        let mut selected = Selected {
            extras: known(extras, "extras", &self.extras)?,
            groups: known(groups, "dependency-groups", &self.dependency_groups)?,
        };
        selected.groups.extend(self.default_groups.iter().cloned());
        let own = within(path, ".");
        let mut locked = Locked::default();
        for package in &self.packages {
            let files = package.wheels.iter().chain(&package.sdist).chain(&package.archive);
            let digests: BTreeSet<String> = files
                .filter_map(|file| file.hashes.get("sha256").map(|hex| format!("sha256:{hex}")))
                .collect();
            let source = package.source(path)?;
            if matches!(&source, Source::Folder(folder) if *folder == own) {
                continue;
            }
            if let Some(index) = &package.index {
                locked.index(index);
            }
            let marker = package.marker.as_ref();
            let marker = marker.map(|marker| format!(" ; {}", selected.decide(marker)));
            locked.add(path, &package.name, &marker.unwrap_or_default(), source, &digests)?;
        }
        Ok(locked)
    }
}

impl Package {
    fn source(&self, path: &Path) -> Result<Source> {
        let missing = || {
            Fault::at(path, format_args!("{}: expected `url` or `path`, found neither", self.name))
        };
        if let Some(directory) = &self.directory {
            let inner = directory.subdirectory.as_deref().unwrap_or_default();
            return Ok(Source::Folder(within(path, &directory.path).join(inner)));
        }
        if let Some(vcs) = &self.vcs {
            if vcs.kind != "git" {
                let what = format!("{}: expected a git repository, got {}", self.name, vcs.kind);
                return Err(Fault::at(path, what));
            }
            let given = vcs.url.as_ref().or(vcs.path.as_ref()).ok_or_else(missing)?;
            return Ok(Source::Commit {
                repository: repository(path, given),
                commit: vcs.commit_id.clone(),
                subdirectory: vcs.subdirectory.clone(),
            });
        }
        if let Some(archive) = &self.archive {
            let given = archive.url.as_ref().or(archive.path.as_ref()).ok_or_else(missing)?;
            let within = archive.subdirectory.as_ref();
            let within = within.map(|folder| format!("#subdirectory={folder}"));
            return Ok(Source::Archive(address(path, given) + &within.unwrap_or_default()));
        }
        Ok(Source::Version(self.version.clone()))
    }
}
