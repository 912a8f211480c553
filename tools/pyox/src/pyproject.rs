//! `pyproject.toml`, as far as a packager has to read it: PEP 621's `[project]`, PEP 735's groups, `[tool.pyox]`.

use std::collections::BTreeMap;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result};
use serde::Deserialize;

use crate::settings::{self, Settings, nearest};
use crate::sources::{self, Sources};

/// The parts of a `pyproject.toml` that count here; other tools' are theirs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PyProject {
    pub(crate) project: Option<Metadata>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Grouped>>,
    #[serde(default)]
    tool: Tools,
    /// All of it, of which Poetry computes a digest.
    #[serde(skip)]
    pub(crate) raw: toml::Table,
}

/// `[project]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) requires_python: Option<String>,
    #[serde(default)]
    pub(crate) dependencies: Vec<String>,
    #[serde(default)]
    pub(crate) optional_dependencies: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) scripts: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) gui_scripts: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) dynamic: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Grouped {
    Requirement(String),
    #[serde(rename_all = "kebab-case")]
    Include {
        include_group: String,
    },
}

#[derive(Debug, Default, Deserialize)]
struct Tools {
    pyox: Option<toml::Table>,
    poetry: Option<Poetry>,
    #[serde(default)]
    uv: Uv,
}

/// `[tool.poetry]`, which is older than `[project]` and may stand for it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Poetry {
    name: Option<String>,
    dependencies: toml::Table,
    dev_dependencies: toml::Table,
    group: BTreeMap<String, PoetryGroup>,
    extras: BTreeMap<String, toml::Value>,
    scripts: toml::Table,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PoetryGroup {
    dependencies: toml::Table,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Uv {
    workspace: Option<Workspace>,
    sources: BTreeMap<String, Sources>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Workspace {
    members: Vec<String>,
}

impl PyProject {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).fault_at(path)?;
        let mut read: Self = settings::read_toml(path, &text)?;
        read.tool.uv.sources = sources::by_name(std::mem::take(&mut read.tool.uv.sources));
        read.raw = settings::read_toml(path, &text)?;
        if read.project.is_none() {
            read.project = read.tool.poetry.as_ref().and_then(Poetry::metadata);
        }
        Ok(read)
    }

    /// Whether it is the root of a workspace of uv's.
    pub(crate) fn is_workspace(&self) -> bool {
        self.tool.uv.workspace.is_some()
    }

    /// The patterns of the folders that its workspace has.
    pub(crate) fn members(&self) -> &[String] {
        self.tool.uv.workspace.as_ref().map_or(&[], |workspace| &workspace.members)
    }

    /// Where its dependencies come from, by their normalised names.
    pub(crate) fn sources(&self) -> &BTreeMap<String, Sources> {
        &self.tool.uv.sources
    }

    /// Whether Poetry's own table has a group of that name.
    pub(crate) fn has_poetry_group(&self, name: &str) -> bool {
        self.tool
            .poetry
            .as_ref()
            .is_some_and(|poetry| poetry.groups().any(|(group, _)| group == name))
    }

    /// What Poetry's own tables say that the project and some of its groups need.
    pub(crate) fn poetry_dependencies<'a>(
        &'a self,
        groups: &'a [String],
    ) -> impl Iterator<Item = (&'a String, &'a toml::Value)> {
        self.tool.poetry.iter().flat_map(move |poetry| {
            let wanted =
                poetry.groups().filter(|(name, _)| groups.iter().any(|group| group == name));
            poetry.dependencies.iter().chain(wanted.flat_map(|(_, table)| table))
        })
    }

    /// `[tool.pyox]`.
    pub(crate) fn settings(&self, path: &Path) -> Result<Settings> {
        Settings::from_table(self.tool.pyox.clone().unwrap_or_default(), "tool.pyox", path)
    }

    /// The requirements of a group, with those that it includes.
    pub(crate) fn group(&self, name: &str, path: &Path) -> Result<Vec<String>> {
        let mut requirements = Vec::new();
        self.add_group(name, path, &mut requirements, &mut Vec::new())?;
        Ok(requirements)
    }

    fn add_group<'a>(
        &'a self,
        name: &'a str,
        path: &Path,
        to: &mut Vec<String>,
        around: &mut Vec<&'a str>,
    ) -> Result<()> {
        if around.contains(&name) {
            let what =
                format!("[dependency-groups]: expected a tree, but `{name}` includes itself");
            return Err(Fault::at(path, what));
        }
        let known: Vec<_> = self.dependency_groups.keys().map(String::as_str).collect();
        let group = self.dependency_groups.get(name);
        let group = group.ok_or_else(|| missing(path, "dependency-groups", name, &known))?;
        around.push(name);
        for entry in group {
            match entry {
                Grouped::Requirement(requirement) => to.push(requirement.clone()),
                Grouped::Include { include_group } => {
                    self.add_group(include_group, path, to, around)?;
                }
            }
        }
        around.pop();
        Ok(())
    }
}

impl Poetry {
    /// What `[project]` would say; its backend alone knows the dependencies.
    fn metadata(&self) -> Option<Metadata> {
        let reference = |value: &toml::Value| {
            let text = value.as_str().or_else(|| value.get("reference")?.as_str());
            text.filter(|text| text.contains(':')).map(str::to_owned)
        };
        let scripts = self.scripts.iter();
        let python = self.dependencies.get("python").and_then(toml::Value::as_str);
        Some(Metadata {
            name: self.name.clone()?,
            requires_python: python.and_then(poetry_specifiers).filter(|text| !text.is_empty()),
            dependencies: Vec::new(),
            optional_dependencies: self
                .extras
                .keys()
                .map(|key| (key.clone(), Vec::new()))
                .collect(),
            scripts: scripts
                .filter_map(|(name, value)| Some((name.clone(), reference(value)?)))
                .collect(),
            gui_scripts: BTreeMap::new(),
            dynamic: vec!["dependencies".to_owned()],
        })
    }

    fn groups(&self) -> impl Iterator<Item = (&str, &toml::Table)> {
        let groups = self.group.iter().map(|(name, group)| (name.as_str(), &group.dependencies));
        groups.chain((!self.dev_dependencies.is_empty()).then_some(("dev", &self.dev_dependencies)))
    }
}

/// Poetry's way to write versions, in the standard's: `^3.11` is `>=3.11,<4`. None for alternatives, which it has not.
pub(crate) fn poetry_specifiers(text: &str) -> Option<String> {
    let next = |version: &str, place: usize| -> Option<String> {
        let numbers: Vec<u64> =
            version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let mut upper: Vec<u64> = numbers.iter().copied().take(place + 1).collect();
        *upper.get_mut(place)? += 1;
        Some(upper.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
    };
    let one = |part: &str| -> Option<String> {
        if let Some(version) = part.strip_prefix('^').map(str::trim) {
            // The first number that is not zero stays.
            let parts: Vec<&str> = version.split('.').collect();
            let place = parts.iter().position(|part| *part != "0").unwrap_or(parts.len() - 1);
            return Some(format!(">={version},<{}", next(version, place)?));
        }
        if let Some(version) = part.strip_prefix('~').filter(|rest| !rest.starts_with('=')) {
            let version = version.trim();
            let place = usize::from(version.contains('.'));
            return Some(format!(">={version},<{}", next(version, place)?));
        }
        let is_bare = part.starts_with(|letter: char| letter.is_ascii_digit());
        Some(if is_bare { format!("=={part}") } else { part.to_owned() })
    };
    if text.contains('|') {
        return None;
    }
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "*");
    Some(parts.map(one).collect::<Option<Vec<_>>>()?.join(","))
}

impl Metadata {
    /// Whether its backend alone knows what it depends on.
    pub(crate) fn has_dynamic_dependencies(&self) -> bool {
        let names = ["dependencies", "optional-dependencies"];
        self.dynamic.iter().any(|dynamic| names.contains(&dynamic.as_str()))
    }

    /// The requirements of an extra.
    pub(crate) fn extra(&self, name: &str, path: &Path) -> Result<&[String]> {
        let known: Vec<_> = self.optional_dependencies.keys().map(String::as_str).collect();
        let extra = self.optional_dependencies.get(name);
        extra
            .map(Vec::as_slice)
            .ok_or_else(|| missing(path, "project.optional-dependencies", name, &known))
    }
}

fn missing(path: &Path, table: &str, name: &str, known: &[&str]) -> Fault {
    let fault = Fault::at(path, format_args!("[{table}]: expected `{name}`, found no such key"));
    match (nearest(name, known), known) {
        (Some(known), _) => fault.hint(format_args!("did you mean `{known}`?")),
        (None, []) => fault,
        (None, known) => fault.hint(format_args!("there are {}", known.join(", "))),
    }
}
