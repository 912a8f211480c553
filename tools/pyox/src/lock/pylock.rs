//! `pylock.toml` (PEP 751).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pyox_stage::{Fault, Result};
use serde::Deserialize;

use super::{Locked, Source, address, repository, within};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Lock {
    lock_version: String,
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
    pub(super) fn locked(&self, path: &Path) -> Result<Locked> {
        if !self.lock_version.starts_with("1.") {
            let what = format!("lock-version: expected 1.0, got {}", self.lock_version);
            return Err(Fault::at(path, what));
        }
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
            let marker = package.marker.as_ref().map(|marker| format!(" ; {marker}"));
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
