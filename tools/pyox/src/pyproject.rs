//! `pyproject.toml`, as far as a packager has to read it: PEP 621's `[project]`, PEP 735's groups, `[tool.pyox]`.

use std::collections::BTreeMap;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result};
use serde::Deserialize;

use crate::settings::{self, Settings, nearest};

/// The parts of a `pyproject.toml` that count here; other tools' are theirs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PyProject {
    pub(crate) project: Option<Metadata>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Grouped>>,
    #[serde(default)]
    tool: Tools,
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
}

impl PyProject {
    /// Reads one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).fault_at(path)?;
        settings::read_toml(path, &text)
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

impl Metadata {
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
