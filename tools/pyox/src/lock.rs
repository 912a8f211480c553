//! Locked versions: `uv.lock`, and `pylock.toml` (PEP 751), as requirements with digests, which pip then enforces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Result, cache, files};
use serde::Deserialize;

use crate::pyproject::Metadata;
use crate::settings::read_toml;

/// What a lock file says about a project.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    /// A requirements file with each version and its digests.
    pub(crate) requirements: PathBuf,
    /// Folders of projects that it depends on, which have no version of their own.
    pub(crate) projects: Vec<PathBuf>,
}

/// Reads the lock file of a project, where it has one. `extras` and `groups` are those that are wanted.
pub(crate) fn of_project(
    root: &Path,
    metadata: &Metadata,
    extras: &[String],
    groups: &[String],
) -> Result<Option<Locked>> {
    let pylock = root.join("pylock.toml");
    if pylock.is_file() {
        if let Some(name) = extras.first().or(groups.first()) {
            let what =
                format!("expected a project without extras and groups, but `{name}` is wanted");
            return Err(
                Fault::at(&pylock, what).hint("uv.lock holds them; pylock.toml is for one set")
            );
        }
        let lock: PyLock = read_toml(&pylock, &fs::read_to_string(&pylock).fault_at(&pylock)?)?;
        let lines = lock.lines(&pylock)?;
        return Ok(Some(Locked { requirements: kept(&lines)?, projects: Vec::new() }));
    }
    let uv = root.join("uv.lock");
    if !uv.is_file() {
        return Ok(None);
    }
    let lock: UvLock = read_toml(&uv, &fs::read_to_string(&uv).fault_at(&uv)?)?;
    let (lines, projects) = lock.lines(&uv, root, metadata, extras, groups)?;
    Ok(Some(Locked { requirements: kept(&lines)?, projects }))
}

/// A requirements file in the cache, by its content.
fn kept(lines: &str) -> Result<PathBuf> {
    let name = Digest::of(lines.as_bytes());
    let path = cache::folder("builds")?.join(format!("locked-{name}.txt"));
    files::write(&path, lines.as_bytes())?;
    Ok(path)
}

#[derive(Debug, Deserialize)]
struct PyLock {
    #[serde(rename = "lock-version")]
    lock_version: String,
    #[serde(default)]
    packages: Vec<PyPackage>,
}

#[derive(Debug, Deserialize)]
struct PyPackage {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<PyFile>,
    sdist: Option<PyFile>,
}

#[derive(Debug, Deserialize)]
struct PyFile {
    hashes: BTreeMap<String, String>,
}

impl PyLock {
    fn lines(&self, path: &Path) -> Result<String> {
        if !self.lock_version.starts_with("1.") {
            let what = format!("lock-version: expected 1.0, got {}", self.lock_version);
            return Err(Fault::at(path, what));
        }
        let mut lines = String::new();
        for package in &self.packages {
            let files = package.wheels.iter().chain(&package.sdist);
            let digests: BTreeSet<String> = files
                .filter_map(|file| file.hashes.get("sha256").map(|hex| format!("sha256:{hex}")))
                .collect();
            let version = package.version.as_deref();
            let always = Markers::always();
            let marker =
                package.marker.as_ref().map_or(always.clone(), |marker| always.and(marker));
            lines += &line(path, &package.name, version, &marker, &digests)?;
        }
        Ok(lines)
    }
}

#[derive(Debug, Deserialize)]
struct UvLock {
    version: u32,
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvPackage {
    name: String,
    version: Option<String>,
    source: UvSource,
    #[serde(default)]
    dependencies: Vec<UvDependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<UvDependency>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<UvDependency>>,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
    #[serde(default)]
    metadata: UvMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvMetadata {
    #[serde(default)]
    requires_dist: Vec<UvRequired>,
}

#[derive(Debug, Deserialize)]
struct UvRequired {
    name: String,
    marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UvSource {
    registry: Option<String>,
    editable: Option<String>,
    directory: Option<String>,
    #[serde(rename = "virtual")]
    virtual_: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UvDependency {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    extra: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct UvFile {
    hash: Option<String>,
}

impl UvSource {
    /// The folder of a project that is no archive.
    fn folder(&self) -> Option<&str> {
        self.editable.as_deref().or(self.directory.as_deref()).or(self.virtual_.as_deref())
    }
}

impl UvLock {
    fn lines(
        &self,
        path: &Path,
        root: &Path,
        metadata: &Metadata,
        extras: &[String],
        groups: &[String],
    ) -> Result<(String, Vec<PathBuf>)> {
        if self.version != 1 {
            let what = format!("version: expected 1, got {}", self.version);
            return Err(Fault::at(path, what));
        }
        let is_root = |package: &&UvPackage| package.source.folder() == Some(".");
        let own = self.package.iter().find(is_root).ok_or_else(|| {
            Fault::at(path, "expected the project among its packages, found none with its folder")
        })?;
        agrees(path, own, metadata)?;
        let mut wanted: Vec<&UvDependency> = own.dependencies.iter().collect();
        for extra in extras {
            wanted.extend(own.optional_dependencies.get(extra).into_iter().flatten());
        }
        for group in groups {
            wanted.extend(own.dev_dependencies.get(group).into_iter().flatten());
        }
        // What is reached, and under which markers; a package is looked at again when there are more of them.
        let mut reached: BTreeMap<usize, (Markers, BTreeSet<&str>)> = BTreeMap::new();
        let mut pending: Vec<(&UvDependency, Markers)> =
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
        let (mut lines, mut projects) = (String::new(), Vec::new());
        for (number, (markers, _)) in reached {
            let package = &self.package[number];
            if let Some(folder) = package.source.folder() {
                if package.source.virtual_.is_none() {
                    projects.push(root.join(folder));
                }
                continue;
            }
            if package.source.registry.is_none() {
                let what = format!(
                    "{}: expected a version of an index or a folder, got another source",
                    package.name
                );
                return Err(Fault::at(path, what)
                    .hint("an archive or a repository has to be named in [tool.pyox] with"));
            }
            let files = package.wheels.iter().chain(&package.sdist);
            let digests: BTreeSet<String> = files.filter_map(|file| file.hash.clone()).collect();
            lines += &line(path, &package.name, package.version.as_deref(), &markers, &digests)?;
        }
        Ok((lines, projects))
    }

    fn find(&self, path: &Path, dependency: &UvDependency) -> Result<usize> {
        let is_it = |package: &UvPackage| {
            package.name == dependency.name
                && dependency
                    .version
                    .as_ref()
                    .is_none_or(|version| package.version.as_ref() == Some(version))
        };
        self.package.iter().position(is_it).ok_or_else(|| {
            Fault::at(
                path,
                format!("expected `{}` among its packages, found none", dependency.name),
            )
        })
    }
}

/// Refuses a lock file that was made for other dependencies than the project has now.
fn agrees(path: &Path, own: &UvPackage, metadata: &Metadata) -> Result<()> {
    let names = metadata.dependencies.iter();
    let now: BTreeSet<String> =
        names.map(|requirement| pyox_collect::project_name(requirement)).collect();
    let is_of_extra = |required: &&UvRequired| {
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

/// The markers under which a package is wanted: one of the alternatives has to hold, with all of its markers. The one
/// without any always holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Markers(BTreeSet<BTreeSet<String>>);

impl Markers {
    fn always() -> Self {
        Self([BTreeSet::new()].into())
    }

    /// Those under which a marker holds as well.
    fn and(&self, marker: &str) -> Self {
        let with =
            |one: &BTreeSet<String>| one.iter().cloned().chain([marker.to_owned()]).collect();
        Self(self.0.iter().map(with).collect())
    }

    /// Adds alternatives; whether any of them says something new. One that asks for more than another says nothing, so
    /// that packages which need each other come to an end.
    fn add(&mut self, others: &Self) -> bool {
        let is_new = |one: &&BTreeSet<String>| !self.0.iter().any(|known| known.is_subset(one));
        let new: Vec<_> = others.0.iter().filter(is_new).cloned().collect();
        self.0.retain(|known| !new.iter().any(|one| one.is_subset(known)));
        self.0.extend(new.iter().cloned());
        !new.is_empty()
    }

    /// What stands behind a requirement; nothing where it always holds.
    fn text(&self) -> String {
        if *self == Self::always() {
            return String::new();
        }
        let all = |one: &BTreeSet<String>| {
            let each: Vec<_> = one.iter().map(|marker| format!("({marker})")).collect();
            format!("({})", each.join(" and "))
        };
        let alternatives: Vec<_> = self.0.iter().map(all).collect();
        format!(" ; {}", alternatives.join(" or "))
    }
}

/// A line of a requirements file.
fn line(
    path: &Path,
    name: &str,
    version: Option<&str>,
    markers: &Markers,
    digests: &BTreeSet<String>,
) -> Result<String> {
    let Some(version) = version.filter(|_| !digests.is_empty()) else {
        let what =
            format!("{name}: expected a version and a sha256 of each of its files, found none");
        return Err(Fault::at(path, what));
    };
    let mut line = format!("{name}=={version}{}", markers.text());
    for digest in digests {
        // Writing to a string cannot fail.
        let _ = write!(line, " --hash={digest}");
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &str) -> String {
        let text = format!("version = 1\n{packages}");
        let lock: UvLock = toml::from_str(&text).unwrap();
        let metadata: Metadata = toml::from_str("name = 'own'\ndependencies = ['a']").unwrap();
        lock.lines(Path::new("uv.lock"), Path::new("/own"), &metadata, &[], &[]).unwrap().0
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

    #[test]
    fn an_alternative_that_asks_for_more_says_nothing() {
        let always = Markers::always();
        let (x, y) = (always.and("x"), always.and("y"));
        let mut markers = Markers::default();
        assert!(markers.add(&x) && !markers.add(&x.and("y")) && markers.add(&y));
        assert_eq!(markers.text(), " ; ((x)) or ((y))");
        assert!(markers.add(&always) && !markers.add(&x));
        assert_eq!(markers.text(), "");
    }
}
