//! `uv.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pyox_stage::{Fault, FaultExt, Result};
use serde::Deserialize;

use super::markers::{Markers, Selected};
use super::{Locked, Source, address, repository, within};
use crate::pyproject::{Metadata, PyProject};
use crate::settings::read_toml;

#[derive(Debug, Deserialize)]
pub(super) struct Lock {
    version: u32,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    source: Origin,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Dependency>>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
    #[serde(default)]
    metadata: Recorded,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Recorded {
    #[serde(default)]
    requires_dist: Vec<Required>,
}

#[derive(Debug, Deserialize)]
struct Required {
    name: String,
    marker: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Origin {
    registry: Option<String>,
    git: Option<String>,
    url: Option<String>,
    path: Option<String>,
    subdirectory: Option<String>,
    editable: Option<String>,
    directory: Option<String>,
    #[serde(rename = "virtual")]
    virtual_: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    source: Option<Origin>,
    marker: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct File {
    hash: Option<String>,
}

impl Origin {
    /// The folder of a project that is no archive.
    fn folder(&self) -> Option<&str> {
        self.editable.as_deref().or(self.directory.as_deref()).or(self.virtual_.as_deref())
    }
}

/// The lock file of the project in a folder: beside it, or of the workspace that it is a member of.
pub(super) fn file_of(root: &Path) -> Result<Option<PathBuf>> {
    let own = root.join("uv.lock");
    if own.is_file() {
        return Ok(Some(own));
    }
    for folder in root.ancestors().skip(1) {
        let path = folder.join("uv.lock");
        let project = folder.join("pyproject.toml");
        if !path.is_file() || !project.is_file() {
            continue;
        }
        if PyProject::read(&project)?.is_workspace() {
            let lock: Lock = read_toml(&path, &fs::read_to_string(&path).fault_at(&path)?)?;
            return Ok(lock.package_in(&path, root).map(|_| path));
        }
    }
    Ok(None)
}

impl Lock {
    /// The project in a folder.
    fn package_in(&self, path: &Path, root: &Path) -> Option<&Package> {
        let root = within(path, root.to_str()?);
        let is_it = |package: &&Package| {
            package.source.folder().is_some_and(|folder| within(path, folder) == root)
        };
        self.package.iter().find(is_it)
    }

    pub(super) fn locked(
        &self,
        path: &Path,
        root: &Path,
        metadata: &Metadata,
        extras: &[String],
        groups: &[String],
    ) -> Result<Locked> {
        if self.version != 1 {
            let what = format!("version: expected 1, got {}", self.version);
            return Err(Fault::at(path, what));
        }
        let own = self.package_in(path, root).ok_or_else(|| {
            Fault::at(path, "expected the project among its packages, found none with its folder")
        })?;
        agrees(path, own, metadata)?;
        let mut locked = Locked::default();
        // Where extras or groups exclude each other, uv gives them such names.
        let kinds = extras.iter().map(|extra| ("extra", extra));
        let kinds = kinds.chain(groups.iter().map(|group| ("group", group)));
        let chosen =
            kinds.map(|(kind, name)| format!("{kind}-{}-{}-{name}", own.name.len(), own.name));
        let chosen = Selected { extras: chosen.collect(), ..Selected::default() };
        for (number, markers) in self.reached(path, own, extras, groups)? {
            let package = &self.package[number];
            // A project may depend on extras of its own.
            if package.source.virtual_.is_some() || std::ptr::eq(package, own) {
                continue;
            }
            let files = package.wheels.iter().chain(&package.sdist);
            let digests: BTreeSet<String> = files.filter_map(|file| file.hash.clone()).collect();
            let markers = chosen.decide(&markers.text());
            if let Some(registry) = &package.source.registry {
                if registry.contains("://") {
                    locked.index(registry);
                } else {
                    locked.find_links(&within(path, registry));
                }
            }
            locked.add(path, &package.name, &markers, package.source(path)?, &digests)?;
        }
        Ok(locked)
    }

    /// The packages that a project needs, by their numbers, and under which markers.
    fn reached(
        &self,
        path: &Path,
        own: &Package,
        extras: &[String],
        groups: &[String],
    ) -> Result<BTreeMap<usize, Markers>> {
        let mut wanted: Vec<&Dependency> = own.dependencies.iter().collect();
        for extra in extras {
            wanted.extend(own.optional_dependencies.get(extra).into_iter().flatten());
        }
        for group in groups {
            wanted.extend(own.dev_dependencies.get(group).into_iter().flatten());
        }
        // A package is looked at again when there are more of its markers or extras.
        let mut reached: BTreeMap<usize, (Markers, BTreeSet<&str>)> = BTreeMap::new();
        let mut pending: Vec<(&Dependency, Markers)> =
            wanted.into_iter().map(|dependency| (dependency, Markers::always())).collect();
        while let Some((dependency, around)) = pending.pop() {
            let markers = match &dependency.marker {
                Some(marker) => around.and(marker),
                None => around,
            };
            let number = self.find(path, dependency)?;
            let package = &self.package[number];
            let (known, extras) = reached.entry(number).or_default();
            let before = extras.len();
            extras.extend(dependency.extra.iter().map(String::as_str));
            if known.add(&markers) || extras.len() > before {
                let asked = dependency.extra.iter();
                let more =
                    asked.filter_map(|extra| package.optional_dependencies.get(extra)).flatten();
                let below = package.dependencies.iter().chain(more);
                pending.extend(below.map(|dependency| (dependency, markers.clone())));
            }
        }
        Ok(reached.into_iter().map(|(number, (markers, _))| (number, markers)).collect())
    }

    fn find(&self, path: &Path, dependency: &Dependency) -> Result<usize> {
        let is_it = |package: &Package| {
            package.name == dependency.name
                && dependency
                    .version
                    .as_ref()
                    .is_none_or(|version| package.version.as_ref() == Some(version))
                && dependency.source.as_ref().is_none_or(|source| package.source == *source)
        };
        self.package.iter().position(is_it).ok_or_else(|| {
            Fault::at(
                path,
                format!("expected `{}` among its packages, found none", dependency.name),
            )
        })
    }
}

impl Package {
    fn source(&self, path: &Path) -> Result<Source> {
        let origin = &self.source;
        if let Some(folder) = origin.folder() {
            return Ok(Source::Folder(within(path, folder)));
        }
        if let Some(git) = &origin.git {
            // `REPOSITORY?tag=…&subdirectory=…#COMMIT`
            let Some((address, commit)) = git.rsplit_once('#') else {
                let what = format!("{}: expected the commit of `{git}`, found none", self.name);
                return Err(Fault::at(path, what));
            };
            let (given, query) = address.split_once('?').unwrap_or((address, ""));
            let subdirectory = query.split('&').find_map(|pair| pair.strip_prefix("subdirectory="));
            return Ok(Source::Commit {
                repository: repository(path, given),
                commit: commit.to_owned(),
                subdirectory: subdirectory.map(str::to_owned),
            });
        }
        if let Some(given) = origin.url.as_ref().or(origin.path.as_ref()) {
            let inner = origin.subdirectory.as_ref();
            let inner = inner.map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
            return Ok(Source::Archive(address(path, given) + &inner));
        }
        Ok(Source::Version(self.version.clone()))
    }
}

/// Refuses a lock file that was made for other dependencies than the project has now.
fn agrees(path: &Path, own: &Package, metadata: &Metadata) -> Result<()> {
    let names = metadata.dependencies.iter();
    let now: BTreeSet<String> =
        names.map(|requirement| pyox_collect::project_name(requirement)).collect();
    let is_of_extra = |required: &&Required| {
        required.marker.as_ref().is_some_and(|marker| marker.contains("extra =="))
    };
    let then: BTreeSet<String> = own
        .metadata
        .requires_dist
        .iter()
        .filter(|required| !is_of_extra(required))
        .map(|required| required.name.clone())
        .collect();
    match now.symmetric_difference(&then).next() {
        None => Ok(()),
        Some(name) => {
            let (has, lacks) = if now.contains(name) {
                ("project", "lock file")
            } else {
                ("lock file", "project")
            };
            let what = format!(
                "expected what the project depends on, but the {has} has `{name}` and the {lacks} has not"
            );
            Err(Fault::at(path, what).hint("`uv lock` makes it anew"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &str) -> String {
        let text = format!("version = 1\n{packages}");
        let lock: Lock = toml::from_str(&text).unwrap();
        let metadata: Metadata = toml::from_str("name = 'own'\ndependencies = ['a']").unwrap();
        let root = Path::new("/own");
        lock.locked(&root.join("uv.lock"), root, &metadata, &[], &[]).unwrap().lines
    }

    fn package(name: &str, dependencies: &str) -> String {
        format!(
            "[[package]]\nname = '{name}'\nversion = '1'\nsource = {{ registry = 'r' }}\n\
             dependencies = [{dependencies}]\nwheels = [{{ hash = 'sha256:0' }}]\n"
        )
    }

    const OWN: &str = "[[package]]\nname = 'own'\nsource = { editable = '.' }\n\
        dependencies = [{ name = 'a', marker = 'x' }]\nmetadata = { requires-dist = [{ name = 'a' }] }\n";

    #[test]
    fn packages_that_need_each_other_under_markers_come_to_an_end() {
        let a = package("a", "{ name = 'b', marker = 'y' }");
        let b = package("b", "{ name = 'a', marker = 'z' }, { name = 'b', marker = 'x' }");
        let expected = "a==1 ; ((x)) --hash=sha256:0\nb==1 ; ((x) and (y)) --hash=sha256:0\n";
        assert_eq!(lock(&format!("{OWN}{a}{b}")), expected);
    }
}
