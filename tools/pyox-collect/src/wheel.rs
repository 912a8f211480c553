//! Installed wheels, read by what their `.dist-info` says.
//!
//! `RECORD` lists a wheel's files with their digests, so that no folder is walked and nothing is
//! taken that the wheel did not bring. A `RECORD` that names a file which is not there, or which has
//! other bytes, is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use pyox_schema::{Digest, Origin, Project, ResourceKind};
use pyox_stage::{Fault, FaultExt, Reporter, Result, Silent, files};

use crate::candidate::{Expected, Found, Layer, Owner, normalise};
use crate::payloads::Reader;
use crate::record::{self, Role, Row, digest_of, role};
use crate::stdlib::{has_suffix, utf8};
use crate::tree::{File, Tree};

/// What installers write for themselves: a path of the machine, who they are, and a state of uv's.
const ORIGIN: &str = "direct_url.json";
const OWN: [&str; 3] = [ORIGIN, "INSTALLER", "uv_cache.json"];

/// An installed project.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Its normalised name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Whether the user named it, or another project needs it.
    pub(crate) requested: bool,
    /// Names of the projects that it may need, normalised.
    requires: Vec<String>,
    /// Its console scripts.
    pub(crate) scripts: Vec<Script>,
    /// The name of its `.dist-info` folder.
    folder: String,
    record: Vec<Row>,
}

/// A console script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// What a user calls.
    pub(crate) name: String,
    /// The module to import.
    pub(crate) module: String,
    /// The attribute to call.
    pub(crate) function: String,
    /// Whether it works only with an extra of the project.
    pub(crate) extra: bool,
}

/// Reads the projects that are installed in a folder, sorted by name.
pub(crate) fn installed(folder: &Path) -> Result<Vec<Installed>> {
    let mut projects = Vec::new();
    for entry in fs::read_dir(folder).fault_at(folder)? {
        let path = entry.fault_at(folder)?.path();
        let name = utf8(&path)?;
        if name.ends_with(".dist-info") && path.is_dir() {
            projects.push(read(&path, name)?);
        }
    }
    projects.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(projects)
}

fn read(dist_info: &Path, folder: String) -> Result<Installed> {
    let text = |name: &str| -> Result<String> {
        let path = dist_info.join(name);
        let bytes = files::read(&path)?;
        String::from_utf8(bytes)
            .map_err(|error| Fault::at(&path, "expected UTF-8").caused_by(error))
    };
    let metadata = text("METADATA")?;
    let headers = || metadata.lines().take_while(|line| !line.is_empty());
    let header = |wanted: &'static str| {
        headers()
            .filter_map(|line| line.split_once(':'))
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let one = |wanted| {
        header(wanted).next().map(str::to_owned).ok_or_else(|| {
            Fault::at(&dist_info.join("METADATA"), format_args!("expected a field `{wanted}`"))
        })
    };
    let scripts = if dist_info.join("entry_points.txt").is_file() {
        console_scripts(&text("entry_points.txt")?)
    } else {
        Vec::new()
    };
    Ok(Installed {
        name: normalise(&one("Name")?),
        version: one("Version")?,
        requested: dist_info.join("REQUESTED").is_file(),
        requires: header("Requires-Dist").map(project_name).collect(),
        scripts,
        record: record::parse(&text("RECORD")?, &folder)?,
        folder,
    })
}

/// The project that a requirement is for: `black[d]>=24; python_version < "4"` is for `black`.
#[must_use]
pub fn project_name(requirement: &str) -> String {
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(requirement.len());
    normalise(&requirement[..end])
}

/// Checks the files of freshly installed projects, and makes their `RECORD`s say no more than what
/// is the same on every machine: without the scripts whose first line is the path of an interpreter, and
/// without the origin of a local file.
pub(crate) fn settle(folder: &Path) -> Result<()> {
    let projects = installed(folder)?;
    check(folder, &projects)?;
    for project in &projects {
        let path = folder.join(&project.folder).join("RECORD");
        let mut lines = Vec::new();
        for row in &project.record {
            let row = match role(&row.path) {
                Role::Taken => row.clone(),
                // `ruff` and others look for the program that they are about.
                Role::Script(path) if is_program(&folder.join(path)) => above(row, path),
                Role::Beside(path) if folder.join(path).is_file() => above(row, path),
                Role::Script(_) | Role::Beside(_) | Role::Bytecode => continue,
            };
            let name =
                row.path.strip_prefix(&project.folder).and_then(|rest| rest.strip_prefix('/'));
            if !name.is_some_and(|name| OWN.contains(&name)) {
                lines.push(row.to_string());
            }
        }
        lines.sort();
        lines.push(String::new());
        files::write(&path, lines.join("\n").as_bytes())?;
        for name in OWN {
            let _ = fs::remove_file(folder.join(&project.folder).join(name));
        }
    }
    Ok(())
}

/// Whether the files of installed projects are what the `RECORD`s say.
pub(crate) fn check(folder: &Path, projects: &[Installed]) -> Result<()> {
    let mut found = Found::default();
    let owner = Arc::new(Owner {
        project: String::new(),
        origin: Origin::default(),
        reason: String::new(),
    });
    for ((layer, location), expected) in expectations(projects) {
        let path = folder.join(location);
        if layer == Layer::Installation && !path.is_file() {
            // With `--target`, which a foreign pip needs, pip leaves out what is beside `site-packages` in `lib/`.
            continue;
        }
        let owner = Arc::clone(&owner);
        let file = File { location: location.to_owned(), path, owner, expected };
        found.candidates.push(file.candidate(
            layer,
            ResourceKind::PackageData,
            file.location.clone(),
        ));
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    Reader::forgetful(jobs).read(&found.candidates, &Silent)?;
    Ok(())
}

/// Marks the projects as requested that are named, or that were named by their address, and no others: uv marks all that it
/// installs.
pub(crate) fn set_requested(folder: &Path, names: &BTreeSet<String>) -> Result<()> {
    for project in installed(folder)? {
        let own = folder.join(&project.folder);
        if names.contains(&project.name) || own.join(ORIGIN).is_file() {
            continue;
        }
        let record = own.join("RECORD");
        let text = fs::read_to_string(&record).fault_at(&record)?;
        let marker = format!("{}/REQUESTED,", project.folder);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(&marker)).collect();
        files::write(&record, (lines.join("\n") + "\n").as_bytes())?;
        let _ = fs::remove_file(own.join("REQUESTED"));
    }
    Ok(())
}

/// The row for a file at a path from the top of the installation, which is three folders above `site-packages`.
fn above(row: &Row, path: &str) -> Row {
    Row { path: format!("../../../{path}"), ..row.clone() }
}

/// Whether a script is native code.
fn is_program(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *b"\x7fELF"
}

/// Where a file lies that `RECORD` names, as pip has put it into its target; none for what is of no use.
type Place<'a> = (Layer, &'a str);

fn place(path: &str) -> Option<Place<'_>> {
    match role(path) {
        Role::Taken => Some((Layer::Projects, path)),
        Role::Script(path) | Role::Beside(path) => Some((Layer::Installation, path)),
        Role::Bytecode => None,
    }
}

/// The files to take, with what the `RECORD`s say of them. Where two wheels bring one file, whichever
/// was installed last has left its bytes, so that either digest will do.
fn expectations(projects: &[Installed]) -> BTreeMap<Place<'_>, Option<Arc<Expected>>> {
    let mut claims: BTreeMap<Place<'_>, (Vec<Digest>, &str, bool)> = BTreeMap::new();
    for project in projects {
        for row in &project.record {
            let Some(place) = place(&row.path) else { continue };
            let (digests, folder, open) =
                claims.entry(place).or_insert((Vec::new(), &project.folder, false));
            *folder = &project.folder;
            match digest_of(&row.hash) {
                Some(digest) => digests.push(digest),
                None => *open = true,
            }
        }
    }
    claims
        .into_iter()
        .map(|(path, (sha256, folder, open))| {
            let witness = format!("{folder}/RECORD");
            let expected = (!open).then(|| Arc::new(Expected { sha256, witness }));
            (path, expected)
        })
        .collect()
}

/// The resources of the installed projects. `reason` says where a project comes from that the user named, and why it is
/// wanted.
pub(crate) fn find(
    folder: &Path,
    projects: &[Installed],
    suffixes: &[String],
    reason: impl Fn(&str) -> (Origin, String),
    ui: &dyn Reporter,
) -> Result<Found> {
    let mut found = Found::default();
    let mut roots: Vec<String> = Vec::new();
    let mut files = Vec::new();
    let expectations = expectations(projects);
    // A file of two wheels is taken once, for the later of them.
    let mut owners: BTreeMap<Place<'_>, Arc<Owner>> = BTreeMap::new();
    for project in projects {
        let (origin, reason) = if project.requested {
            reason(&project.name)
        } else {
            let by = projects.iter().find(|other| other.requires.contains(&project.name));
            let reason = by.map(|other| format!("required by `{}`", other.name));
            (Origin::Project, reason.unwrap_or_else(|| "installed by pip".to_owned()))
        };
        let owner = Arc::new(Owner { project: project.name.clone(), origin, reason });
        found
            .projects
            .push(Project { name: project.name.clone(), version: Some(project.version.clone()) });
        for row in &project.record {
            let path = row.path.as_str();
            match role(path) {
                Role::Taken if path.ends_with(ORIGIN) && path.starts_with(&project.folder) => {}
                Role::Taken if has_suffix(path, "pth") && !path.contains('/') => {
                    if path_file(folder, path, &project.name, &mut roots, &mut found)? {
                        ui.warn(format_args!(
                            "{}: {path} leads outside the installation, and what is there is not taken",
                            project.name
                        ));
                        ui.hint("install it without -e, or name the folder by --path");
                    }
                }
                Role::Taken => {
                    owners.insert((Layer::Projects, path), Arc::clone(&owner));
                }
                // What is left of scripts are programs; of the others the metadata tells, below.
                Role::Script(path) | Role::Beside(path) => {
                    owners.insert((Layer::Installation, path), Arc::clone(&owner));
                }
                Role::Bytecode => {
                    let reason = "bytecode; pyox-pack compiles the sources";
                    found.exclude("__pycache__/", &project.name, reason);
                }
            }
        }
        for script in &project.scripts {
            let reason = format!("a console script; --entry-point {} runs it", script.name);
            found.exclude(format!("bin/{}", script.name), &project.name, reason);
        }
    }
    for ((layer, location), owner) in owners {
        let path = folder.join(location);
        let expected = expectations.get(&(layer, location)).cloned().flatten();
        let file = File { location: location.to_owned(), path, owner, expected };
        if layer == Layer::Installation {
            found.candidates.push(file.candidate(layer, file.kind_of_data()?, location.to_owned()));
        } else if location.split('/').next().is_some_and(|top| top.ends_with(".dist-info")) {
            let kind = ResourceKind::Metadata;
            found.candidates.push(file.candidate(layer, kind, location.to_owned()));
        } else {
            files.push(file);
        }
    }
    // Folders that a path file adds to `sys.path` are looked at by themselves.
    for root in roots {
        let (inside, outside) =
            files.into_iter().partition(|file: &File| file.location.starts_with(&root));
        files = outside;
        let tree = Tree { layer: Layer::Projects, prefix: &root, suffixes, files: inside };
        found.candidates.extend(tree.into_candidates()?);
    }
    let tree = Tree { layer: Layer::Projects, prefix: "", suffixes, files };
    found.candidates.extend(tree.into_candidates()?);
    Ok(found)
}

/// A `.pth` file: each line is a folder for `sys.path`, or a statement that `site` would run.
///
/// Answers whether modules are missed by it, as those of an editable install are.
fn path_file(
    folder: &Path,
    name: &str,
    project: &str,
    roots: &mut Vec<String>,
    found: &mut Found,
) -> Result<bool> {
    let path = folder.join(name);
    let mut missed = false;
    let bytes = files::read(&path)?;
    let mut reasons = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
        } else if line.starts_with("import ") || line.starts_with("import\t") {
            missed |= name.starts_with("__editable__");
            reasons
                .push("a statement that `site` runs at start-up, which the executable leaves out");
        } else {
            let line = line.trim_start_matches("./").trim_end_matches('/');
            let inside = !line.starts_with('/') && !line.split('/').any(|part| part == "..");
            if inside && folder.join(line).is_dir() {
                roots.push(format!("{line}/"));
                reasons.push("its folders are taken as entries of sys.path");
            } else {
                missed = true;
                reasons.push("a folder outside the installation; name it by --path");
            }
        }
    }
    reasons.dedup();
    let reason = if reasons.is_empty() {
        "a path file that names nothing".to_owned()
    } else {
        format!("a path file: {}", reasons.join("; "))
    };
    found.exclude(name, project, reason);
    Ok(missed)
}

/// The console scripts that an `entry_points.txt` lists.
pub(crate) fn console_scripts(text: &str) -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(group) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = matches!(group.trim(), "console_scripts" | "gui_scripts");
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((name, object)) = line.split_once('=')
            && let Some((module, function)) = object.split_once(':')
        {
            let (function, extra) = match function.split_once('[') {
                Some((function, _)) => (function, true),
                None => (function, false),
            };
            scripts.push(Script {
                name: name.trim().to_owned(),
                module: module.trim().to_owned(),
                function: function.trim().to_owned(),
                extra,
            });
        }
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_scripts_are_known_by_metadata() {
        let text =
            "[console_scripts]\nblack = black:main\nblackd = blackd:main [d]\n\n[x]\na = b:c\n";
        let scripts = console_scripts(text);
        assert_eq!(scripts.len(), 2);
        assert_eq!((scripts[0].name.as_str(), scripts[0].extra), ("black", false));
        assert_eq!((scripts[1].function.as_str(), scripts[1].extra), ("main", true));
    }

    #[test]
    fn a_requirement_names_its_project() {
        for text in ["Foo.Bar", "foo_bar[x]>=1", "foo-bar; python_version<'4'", "foo.bar (>=2)"] {
            assert_eq!(project_name(text), "foo-bar", "{text}");
        }
    }
}
