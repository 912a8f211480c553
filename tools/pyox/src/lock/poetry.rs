//! `poetry.lock`, of the formats 2.0 and 2.1, into what `poetry export` makes of it.
//!
//! Since 2.1 each package says for which groups and under which markers it is wanted. In 2.0 that has to be found out from
//! the project's dependencies on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use pyox_collect::project_name;
use pyox_schema::{Digest, specifiers};
use pyox_stage::{Fault, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::markers::{Markers, Selected};
use super::{Locked, Source, address, repository, within};
use crate::pyproject::{PyProject, poetry_specifiers};

/// The group of what a project needs itself.
const MAIN: &str = "main";

/// The marker that nothing meets.
const NEVER: &str = "<empty>";

#[derive(Debug, Deserialize)]
pub(super) struct Lock {
    #[serde(default)]
    package: Vec<Package>,
    /// The packages that the project's extras name.
    #[serde(default)]
    extras: BTreeMap<String, Vec<String>>,
    metadata: Recorded,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Recorded {
    lock_version: String,
    content_hash: String,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    groups: Vec<String>,
    markers: Option<Marked>,
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    dependencies: BTreeMap<String, Wanted>,
    #[serde(default)]
    extras: BTreeMap<String, Vec<String>>,
    source: Option<Origin>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Marked {
    All(String),
    ByGroup(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
struct File {
    hash: String,
}

/// How a package is wanted: a constraint, more than that, or alternatives.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Constraint(String),
    More(Box<Dependency>),
    Alternatives(Vec<Wanted>),
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Dependency {
    version: Option<String>,
    markers: Option<String>,
    python: Option<String>,
    platform: Option<String>,
    #[serde(default)]
    extras: Vec<String>,
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Deserialize)]
struct Origin {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    resolved_reference: Option<String>,
    subdirectory: Option<String>,
}

/// Why packages are taken: under which markers, and with which extras.
type Reached<'a> = BTreeMap<usize, (Markers, BTreeSet<&'a str>)>;

impl Lock {
    pub(super) fn locked(
        &self,
        path: &Path,
        root: &Path,
        project: &PyProject,
        extras: &[String],
        groups: &[String],
    ) -> Result<Locked> {
        self.agrees(path, project)?;
        let packages = match self.metadata.lock_version.as_str() {
            "2.0" => self.walked(path, project, extras, groups)?,
            "2.1" => self.marked(extras, groups),
            other => {
                let what = format!("lock-version: expected 2.0 or 2.1, got {other}");
                return Err(Fault::at(path, what).hint("`poetry lock` makes it anew"));
            }
        };
        let own = within(path, root.to_str().unwrap_or_default());
        let mut locked = Locked::default();
        for (number, markers) in packages {
            let package = &self.package[number];
            let source = package.source(path)?;
            if matches!(&source, Source::Folder(folder) if *folder == own) {
                continue;
            }
            if let Some(origin) = package.source.as_ref().filter(|origin| origin.kind == "legacy") {
                locked.index(&origin.url);
            }
            let digests = package.files.iter().map(|file| file.hash.clone()).collect();
            locked.add(path, &package.name, &markers.text(), source, &digests)?;
        }
        Ok(locked)
    }

    /// Refuses a lock file that was made for another `pyproject.toml`.
    fn agrees(&self, path: &Path, project: &PyProject) -> Result<()> {
        let then = &self.metadata.content_hash;
        // Until Poetry 2.3 dependency groups did not count.
        let is_it = |with_groups| content_hash(&project.raw, with_groups).as_ref() == Some(then);
        if is_it(true) || is_it(false) {
            return Ok(());
        }
        let what =
            "expected a lock file of this pyproject.toml, got one of another state (content-hash)";
        Err(Fault::at(path, what).hint("`poetry lock` makes it anew"))
    }

    /// The packages of the groups, which say themselves under which markers they are wanted.
    fn marked(&self, extras: &[String], groups: &[String]) -> BTreeMap<usize, Markers> {
        let extras = extras.iter().map(|extra| project_name(extra)).collect();
        let selected = Selected { extras, ..Selected::default() };
        let is_wanted =
            |group: &&String| *group == MAIN || groups.iter().any(|wanted| wanted == *group);
        let mut found = BTreeMap::new();
        for (number, package) in self.package.iter().enumerate() {
            let mut markers = Markers::default();
            for group in package.groups.iter().filter(is_wanted) {
                let marker = match &package.markers {
                    Some(Marked::All(marker)) => Some(marker),
                    Some(Marked::ByGroup(markers)) => markers.get(group),
                    None => None,
                };
                let always = Markers::always();
                match marker {
                    Some(marker) if marker == NEVER => false,
                    Some(marker) => markers.add(&always.and(&selected.decide(marker))),
                    None => markers.add(&always),
                };
            }
            if markers != Markers::default() {
                found.insert(number, markers);
            }
        }
        found
    }

    /// The packages that are reached from the project's dependencies on.
    fn walked(
        &self,
        path: &Path,
        project: &PyProject,
        extras: &[String],
        groups: &[String],
    ) -> Result<BTreeMap<usize, Markers>> {
        let mut named: BTreeSet<String> = BTreeSet::new();
        for extra in extras {
            named.extend(
                self.extras.get(extra).into_iter().flatten().map(|name| project_name(name)),
            );
        }
        let mut reached = Reached::new();
        let mut pending = Vec::new();
        for (name, wanted) in project.poetry_dependencies(groups) {
            let wanted: Wanted = wanted
                .clone()
                .try_into()
                .map_err(|error| Fault::at(path, format_args!("[tool.poetry]: {name}: {error}")))?;
            for dependency in wanted.alternatives() {
                if name != "python" && (!dependency.optional || named.contains(&project_name(name)))
                {
                    pending.push((name.clone(), dependency, Markers::always()));
                }
            }
        }
        while let Some((name, dependency, around)) = pending.pop() {
            let markers = dependency.within(path, &name, around)?;
            for number in self.find(path, &name, dependency.version.as_deref())? {
                let package = &self.package[number];
                let (known, extras) = reached.entry(number).or_default();
                let before = extras.len();
                extras.extend(dependency.extras.iter().filter_map(|extra| {
                    package.extras.get_key_value(extra).map(|(key, _)| key.as_str())
                }));
                if !known.add(&markers) && extras.len() == before {
                    continue;
                }
                let with = extras.iter().filter_map(|extra| package.extras.get(*extra)).flatten();
                let optional: BTreeSet<String> = with.map(|name| project_name(name)).collect();
                let extras = extras.iter().map(|&extra| extra.to_owned()).collect();
                let chosen = Selected { extras, ..Selected::default() };
                for (name, wanted) in &package.dependencies {
                    for mut below in wanted.alternatives() {
                        if below.optional && !optional.contains(&project_name(name)) {
                            continue;
                        }
                        below.markers = below.markers.map(|marker| chosen.decide(&marker));
                        pending.push((name.clone(), below, markers.clone()));
                    }
                }
            }
        }
        Ok(reached.into_iter().map(|(number, (markers, _))| (number, markers)).collect())
    }

    /// The packages of a name that a constraint allows.
    fn find(&self, path: &Path, name: &str, constraint: Option<&str>) -> Result<Vec<usize>> {
        let wanted = project_name(name);
        let all = self.package.iter().enumerate();
        let all: Vec<usize> = all
            .filter(|(_, package)| project_name(&package.name) == wanted)
            .map(|(number, _)| number)
            .collect();
        let found = match (all.as_slice(), constraint) {
            ([_], _) | (_, None) => all,
            (_, Some(constraint)) => {
                let allowed = poetry_specifiers(constraint).and_then(|text| specifiers(&text).ok());
                let allowed = allowed.ok_or_else(|| {
                    let what = format!("{name}: expected a constraint that tells its versions apart, got `{constraint}`");
                    Fault::at(path, what).hint("`poetry lock` of Poetry 2 writes which is for whom")
                })?;
                let is_allowed = |number: &usize| {
                    self.package[*number]
                        .version
                        .parse()
                        .is_ok_and(|version| allowed.contains(&version))
                };
                all.into_iter().filter(is_allowed).collect()
            }
        };
        if found.is_empty() {
            let what = format!("expected `{name}` among its packages, found none that fits");
            return Err(Fault::at(path, what).hint("`poetry lock` makes it anew"));
        }
        Ok(found)
    }
}

impl Wanted {
    fn alternatives(&self) -> Vec<Dependency> {
        match self {
            Self::Constraint(version) => {
                vec![Dependency { version: Some(version.clone()), ..Dependency::default() }]
            }
            Self::More(dependency) => vec![(**dependency).clone()],
            Self::Alternatives(several) => several.iter().flat_map(Self::alternatives).collect(),
        }
    }
}

impl Dependency {
    /// The markers under which it is wanted, by what is wanted under others.
    fn within(&self, path: &Path, name: &str, around: Markers) -> Result<Markers> {
        let mut markers = around;
        if let Some(marker) = &self.markers {
            markers = markers.and(marker);
        }
        if let Some(platform) = &self.platform {
            markers = markers.and(&format!("sys_platform == '{platform}'"));
        }
        if let Some(python) = &self.python {
            let text = poetry_specifiers(python).ok_or_else(|| {
                let what = format!("{name}: expected versions of Python, got `{python}`");
                Fault::at(path, what)
            })?;
            for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                let at = one.find(|letter: char| letter.is_ascii_digit()).unwrap_or(0);
                let (operator, version) = one.split_at(at);
                let variable = if version.split('.').count() > 2 {
                    "python_full_version"
                } else {
                    "python_version"
                };
                markers = markers.and(&format!("{variable} {operator} '{version}'"));
            }
        }
        Ok(markers)
    }
}

impl Package {
    fn source(&self, path: &Path) -> Result<Source> {
        let Some(origin) = &self.source else {
            return Ok(Source::Version(Some(self.version.clone())));
        };
        Ok(match origin.kind.as_str() {
            "legacy" => Source::Version(Some(self.version.clone())),
            "directory" => Source::Folder(within(path, &origin.url)),
            "file" | "url" => Source::Archive(address(path, &origin.url)),
            "git" => Source::Commit {
                repository: repository(path, &origin.url),
                commit: origin.resolved_reference.clone().ok_or_else(|| {
                    Fault::at(path, format_args!("{}: expected its commit, found none", self.name))
                })?,
                subdirectory: origin.subdirectory.clone(),
            },
            other => {
                let what = format!("{}: expected a source that is known, got `{other}`", self.name);
                return Err(Fault::at(path, what));
            }
        })
    }
}

/// What Poetry computes of a `pyproject.toml`; none where that has a date, which JSON has not.
fn content_hash(project: &Table, with_groups: bool) -> Option<String> {
    const PROJECT: [&str; 3] = ["requires-python", "dependencies", "optional-dependencies"];
    const LEGACY: [&str; 4] = ["dependencies", "source", "extras", "dev-dependencies"];
    let table = |key: &str| project.get(key).and_then(Value::as_table);
    let json = |value: &Value| serde_json::to_value(value).ok();
    let mut own = serde_json::Map::new();
    for key in PROJECT {
        if let Some(value) = table("project").and_then(|project| project.get(key)) {
            own.insert(key.to_owned(), json(value)?);
        }
    }
    let groups = table("dependency-groups").filter(|groups| with_groups && !groups.is_empty());
    let is_new = !own.is_empty() || groups.is_some();
    let poetry = table("tool").and_then(|tool| tool.get("poetry")).and_then(Value::as_table);
    let mut of_poetry = serde_json::Map::new();
    for key in LEGACY.into_iter().chain(["group"]) {
        match poetry.and_then(|poetry| poetry.get(key)) {
            Some(value) => _ = of_poetry.insert(key.to_owned(), json(value)?),
            None if key == "group" || is_new => {}
            None => _ = of_poetry.insert(key.to_owned(), serde_json::Value::Null),
        }
    }
    let mut content = serde_json::Map::new();
    if !own.is_empty() {
        content.insert("project".to_owned(), own.into());
    }
    if let Some(groups) = groups {
        content.insert("dependency-groups".to_owned(), serde_json::to_value(groups).ok()?);
    }
    if is_new {
        content.insert("tool".to_owned(), serde_json::json!({ "poetry": of_poetry }));
    } else {
        content = of_poetry;
    }
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, PythonsJson);
    content.serialize(&mut writer).ok()?;
    Some(Digest::of(&text).to_string())
}

/// JSON as Python's `json.dumps` writes it: with a space behind what separates, and in ASCII.
struct PythonsJson;

impl serde_json::ser::Formatter for PythonsJson {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin_array_value(to, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for letter in text.chars() {
            if matches!(letter, ' '..='~') {
                to.write_all(&[u8::try_from(letter).unwrap_or_default()])?;
            } else {
                for unit in letter.encode_utf16(&mut units) {
                    write!(to, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
