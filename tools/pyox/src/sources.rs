//! `[tool.uv.sources]`: where a project's dependencies come from in place of an index, as long as no lock file says so.
//!
//! Folders and members of the workspace are built as the project itself is. What they need is needed here, by their own
//! sources in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pyox_collect::{Folder, file_url, project_name};
use pyox_stage::{Fault, Result};
use serde::Deserialize;

use crate::pyproject::PyProject;

/// A source, or several under markers.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Sources {
    One(Box<Source>),
    Several(Vec<Source>),
}

impl Sources {
    fn all(&self) -> &[Source] {
        match self {
            Self::One(source) => std::slice::from_ref(source),
            Self::Several(sources) => sources,
        }
    }
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    git: Option<String>,
    rev: Option<String>,
    tag: Option<String>,
    branch: Option<String>,
    url: Option<String>,
    path: Option<String>,
    subdirectory: Option<String>,
    workspace: bool,
    marker: Option<String>,
}

/// What a project needs, with sources looked up.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Requirements as pip understands them.
    pub(crate) requirements: Vec<String>,
    /// Projects in folders.
    pub(crate) folders: Vec<Folder>,
    seen: BTreeSet<(PathBuf, String)>,
}

/// A requirement, as far as it has to be read.
struct Requirement<'a> {
    name: String,
    extras: &'a str,
    marker: Option<&'a str>,
}

impl<'a> Requirement<'a> {
    fn read(text: &'a str) -> Self {
        // A marker stands behind a semicolon, which an address has in front of a space.
        let is_address = text.contains('@');
        let split = if is_address { text.split_once(" ;") } else { text.split_once(';') };
        let (text, marker) =
            split.map_or((text, None), |(text, marker)| (text, Some(marker.trim())));
        let extras = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        Self {
            name: project_name(text.trim()),
            extras: extras.map_or("", |(extras, _)| extras),
            marker,
        }
    }

    fn extras(&self) -> impl Iterator<Item = &'a str> {
        self.extras.split(',').map(str::trim).filter(|extra| !extra.is_empty())
    }
}

/// Both markers at once.
fn both(one: Option<&str>, other: Option<&str>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("({one}) and ({other})")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

impl Needs {
    /// Adds what a project in a folder needs. `around` is the marker under which the project itself is needed.
    pub(crate) fn add(
        &mut self,
        root: &Path,
        project: &PyProject,
        dependencies: &[String],
        around: Option<&str>,
    ) -> Result<()> {
        let workspace = workspace_of(root)?;
        for text in dependencies {
            let requirement = Requirement::read(text);
            let marker = both(around, requirement.marker);
            let own = project.sources().get(&requirement.name).map(|sources| (root, sources));
            let shared = workspace.as_ref().and_then(|(folder, read)| {
                Some((folder.as_path(), read.sources().get(&requirement.name)?))
            });
            if let Some((folder, sources)) = own.or(shared) {
                for source in sources.all() {
                    let marker = both(marker.as_deref(), source.marker.as_deref());
                    self.add_source(
                        folder,
                        source,
                        &requirement,
                        marker.as_deref(),
                        workspace.as_ref(),
                    )?;
                }
            } else {
                let bare = match requirement.marker {
                    Some(marker) => {
                        text.trim_end().trim_end_matches(marker).trim_end().trim_end_matches(';')
                    }
                    None => text,
                };
                self.requirements.push(match marker {
                    Some(marker) => format!("{} ; {marker}", bare.trim_end()),
                    None => text.clone(),
                });
            }
        }
        Ok(())
    }

    fn add_source(
        &mut self,
        folder: &Path,
        source: &Source,
        requirement: &Requirement,
        marker: Option<&str>,
        workspace: Option<&(PathBuf, PyProject)>,
    ) -> Result<()> {
        let name = &requirement.name;
        let behind = marker.map(|marker| format!(" ; {marker}")).unwrap_or_default();
        let within = source.subdirectory.as_ref();
        let within = within.map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        let named = |address: &str| match requirement.extras {
            "" => format!("{name} @ {address}{behind}"),
            extras => format!("{name}[{extras}] @ {address}{behind}"),
        };
        if let Some(git) = &source.git {
            let at = [&source.rev, &source.tag, &source.branch].into_iter().flatten().next();
            let at = at.map(|at| format!("@{at}")).unwrap_or_default();
            let address = format!("git+{git}{at}{within}");
            // Some versions of pip take no `name @ git+file:///…`.
            let is_bare = git.starts_with("file:///") && requirement.extras.is_empty();
            self.requirements.push(if is_bare {
                format!("{address}{behind}")
            } else {
                named(&address)
            });
        } else if let Some(url) = &source.url {
            self.requirements.push(named(&format!("{url}{within}")));
        } else if let Some(path) = &source.path {
            let mut path = folder.join(path);
            path.extend(&source.subdirectory);
            let path = path.canonicalize().unwrap_or(path);
            if path.is_dir() {
                self.add_folder(&path, requirement, marker)?;
            } else {
                self.requirements.push(named(&file_url(&path)));
            }
        } else if source.workspace {
            let member = match workspace {
                Some((root, read)) => member(root, read, name)?,
                None => None,
            };
            let Some(member) = member else {
                let place = folder.join("pyproject.toml");
                let what = format!(
                    "[tool.uv.sources]: expected a member `{name}` of the workspace, found none"
                );
                return Err(Fault::at(&place, what));
            };
            self.add_folder(&member, requirement, marker)?;
        } else {
            // An index by its name: all indexes are asked.
            let specifiers = requirement_text(requirement);
            self.requirements.push(format!("{specifiers}{behind}"));
        }
        Ok(())
    }

    /// The project in a folder, and what it needs.
    fn add_folder(
        &mut self,
        path: &Path,
        requirement: &Requirement,
        marker: Option<&str>,
    ) -> Result<()> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = path.join("pyproject.toml");
        let behind = marker.map(|marker| format!(" ; {marker}")).unwrap_or_default();
        if !self.seen.insert((path.clone(), format!("{}{behind}", requirement.extras))) {
            return Ok(());
        }
        let read = if file.is_file() { Some(PyProject::read(&file)?) } else { None };
        let metadata = read.as_ref().and_then(|read| Some((read, read.project.as_ref()?)));
        let Some((read, metadata)) =
            metadata.filter(|(_, metadata)| !metadata.has_dynamic_dependencies())
        else {
            // Its backend alone knows what it needs: pip asks it.
            let extras = if requirement.extras.is_empty() {
                String::new()
            } else {
                format!("[{}]", requirement.extras)
            };
            self.requirements.push(format!(
                "{}{extras} @ {}{behind}",
                requirement.name,
                file_url(&path)
            ));
            return Ok(());
        };
        let mut dependencies = metadata.dependencies.clone();
        for extra in requirement.extras() {
            dependencies.extend(metadata.extra(extra, &file)?.iter().cloned());
        }
        self.folders.push(Folder {
            path: path.clone(),
            name: Some(requirement.name.clone()),
            marker: marker.unwrap_or_default().to_owned(),
        });
        self.add(&path, read, &dependencies, marker)
    }
}

fn requirement_text(requirement: &Requirement) -> String {
    match requirement.extras {
        "" => requirement.name.clone(),
        extras => format!("{}[{extras}]", requirement.name),
    }
}

/// The workspace that a project is the root or a member of.
fn workspace_of(root: &Path) -> Result<Option<(PathBuf, PyProject)>> {
    for folder in root.ancestors() {
        let file = folder.join("pyproject.toml");
        if !file.is_file() {
            continue;
        }
        let read = PyProject::read(&file)?;
        if read.is_workspace() {
            return Ok(Some((folder.to_owned(), read)));
        }
    }
    Ok(None)
}

/// The folder of a workspace's member of that name.
fn member(root: &Path, workspace: &PyProject, name: &str) -> Result<Option<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    for pattern in workspace.members() {
        folders.extend(matching(root, pattern));
    }
    for folder in folders {
        let file = folder.join("pyproject.toml");
        if file.is_file() {
            let read = PyProject::read(&file)?;
            if read.project.is_some_and(|project| project_name(&project.name) == name) {
                return Ok(Some(folder));
            }
        }
    }
    Ok(None)
}

/// The folders that a pattern means, in which `*` stands for any letters of a name.
fn matching(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let below = |folder: &PathBuf| -> Vec<PathBuf> {
            if !part.contains('*') {
                return vec![folder.join(part)];
            }
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| !name.starts_with('.') && fits(name, part))
            });
            names.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        folders = folders.iter().flat_map(below).collect();
    }
    folders.sort();
    folders
}

/// Whether a name is one that a pattern with `*` means.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| fits(&name[at..], rest))
        }),
    }
}

/// The sources of a `[tool.uv]`, by normalised names.
pub(crate) fn by_name(sources: BTreeMap<String, Sources>) -> BTreeMap<String, Sources> {
    sources.into_iter().map(|(name, sources)| (project_name(&name), sources)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read() {
        for (text, name, extras, marker) in [
            ("Foo_Bar[a,b]>=1; python_version<'4'", "foo-bar", "a,b", Some("python_version<'4'")),
            ("foo", "foo", "", None),
            ("foo @ https://x/y;z ; os_name == 'a'", "foo", "", Some("os_name == 'a'")),
        ] {
            let read = Requirement::read(text);
            assert_eq!((read.name.as_str(), read.extras, read.marker), (name, extras, marker));
        }
    }

    #[test]
    fn patterns_mean_names() {
        assert!(fits("core", "*") && fits("a-core-b", "a*core*b") && !fits("core", "a*"));
    }
}
