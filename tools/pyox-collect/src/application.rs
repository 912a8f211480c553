//! The application's own parts: scripts, package folders, and folders for `sys.path`.
//!
//! A script's siblings are not taken by themselves: a folder of scripts often holds much that is no
//! part of the application. They are named as further APPs, or the folder by `--path`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use pyox_schema::name::is_identifier;
use pyox_schema::{Origin, Project, ResourceKind};
use pyox_stage::{Fault, FaultExt, Result, files};

use crate::candidate::{Candidate, Found, Layer, Owner, normalise};
use crate::stdlib::{is_bytecode, utf8};
use crate::tree::{File, Tree};

/// What an APP on the command line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum App {
    /// A file with Python source.
    Script(PathBuf),
    /// A folder that is a package, by its dotted name.
    Package(PathBuf, String),
    /// A folder that would be an entry of `sys.path`.
    Folder(PathBuf),
    /// A wheel, which pip installs.
    Wheel(PathBuf),
}

/// Folders that version control, virtual environments and tools keep beside sources.
const TOOLS_FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "node_modules",
];

impl App {
    /// Tells what an APP is.
    pub(crate) fn from_path(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).fault_at(path)?;
        let path = absolute(path).fault_at(path)?;
        if metadata.is_dir() {
            // `.` and `src/..` have a name too.
            let path = if path.file_name().is_some() && !path.ends_with("..") {
                path
            } else {
                path.canonicalize().fault_at(&path)?
            };
            let name = utf8(&path)?;
            if !is_identifier(&name) {
                return Err(Fault::at(
                    &path,
                    format_args!("expected a package, but `{name}` is no identifier"),
                )
                .hint("name a folder that holds modules and packages by --path"));
            }
            return Ok(Self::Package(path, name));
        }
        let name = utf8(&path)?;
        match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("whl") => Ok(Self::Wheel(path)),
            Some("py" | "pyw") => Ok(Self::Script(path)),
            _ if is_python(&path)? => Ok(Self::Script(path)),
            _ => Err(Fault::at(
                &path,
                "expected a script (.py), a package's folder or a wheel (.whl), got another file",
            )),
        }
    }

    /// A script of any name, for `--run-script`.
    pub(crate) fn script(path: &Path) -> Result<Self> {
        if !fs::metadata(path).fault_at(path)?.is_file() {
            return Err(Fault::at(path, "expected a script, got no file"));
        }
        Ok(Self::Script(absolute(path).fault_at(path)?))
    }

    /// The path, if it is a script.
    pub(crate) fn path_of_script(&self) -> Option<&Path> {
        if let Self::Script(path) = self { Some(path) } else { None }
    }

    /// A folder of modules and packages, for `--path`.
    pub(crate) fn folder(path: &Path) -> Result<Self> {
        if !fs::metadata(path).fault_at(path)?.is_dir() {
            return Err(Fault::at(path, "expected a folder, got a file"));
        }
        Ok(Self::Folder(absolute(path).fault_at(path)?))
    }

    /// The file, for a wheel.
    pub(crate) fn wheel(&self) -> Option<PathBuf> {
        match self {
            Self::Wheel(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// The project that it is taken for.
    pub(crate) fn project(&self) -> String {
        let name = match self {
            Self::Package(_, name) => name,
            Self::Script(path) | Self::Folder(path) | Self::Wheel(path) => {
                path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
            }
        };
        match normalise(name) {
            name if name.is_empty() => "app".to_owned(),
            name => name,
        }
    }
}

/// Finds the resources of one APP. A script that is `main` becomes the module `__main__`.
pub(crate) fn find(app: &App, number: usize, main: bool, suffixes: &[String]) -> Result<Found> {
    let owner = Arc::new(Owner {
        project: app.project(),
        origin: Origin::Application,
        reason: "application".to_owned(),
    });
    let layer = Layer::Application(number);
    let mut found = Found::default();
    match app {
        // pip installs it with the projects.
        App::Wheel(_) => return Ok(found),
        App::Script(path) => {
            let file_name = utf8(path)?;
            let stem = file_name.rsplit_once('.').map_or(file_name.as_str(), |(stem, _)| stem);
            let name = if main { "__main__" } else { stem };
            if !is_identifier(name) {
                let what = format!("expected a module's name, but `{name}` is no identifier");
                return Err(Fault::at(path, what)
                    .hint("a file of any name can be what runs: --run-script FILE"));
            }
            let kind = ResourceKind::Module;
            let file = Some((file_name.clone(), path.clone()));
            found.candidates.push(Candidate::new(&owner, layer, kind, name.to_owned(), file));
        }
        App::Package(path, name) => {
            let files = walk(path, &format!("{name}/"), &owner, &mut found)?;
            let tree = Tree { layer, prefix: "", suffixes, files };
            found.candidates = tree.into_candidates()?;
        }
        App::Folder(path) => {
            let files = walk(path, "", &owner, &mut found)?;
            let tree = Tree { layer, prefix: "", suffixes, files };
            found.candidates = tree.into_candidates()?;
        }
    }
    if !found.candidates.iter().any(Candidate::is_importable) {
        let (App::Script(path) | App::Package(path, _) | App::Folder(path) | App::Wheel(path)) =
            app;
        let what = "expected a folder with Python modules, found none in it";
        return Err(Fault::at(path, what));
    }
    found.projects.push(Project { name: owner.project.clone(), version: None });
    Ok(found)
}

/// Lets the script that runs be imported by its file's name too, as `python` does, where nothing else has that name.
pub(crate) fn name_main(found: &mut Found) {
    let is_script = |candidate: &&Candidate| candidate.resource.name == "__main__";
    let Some(main) = found.candidates.iter().find(is_script) else { return };
    let stem = main.path.as_deref().and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let Some(stem) = stem.filter(|stem| is_identifier(stem)).map(str::to_owned) else { return };
    if !found.candidates.iter().any(|other| other.is_importable() && other.resource.name == stem) {
        let mut module = main.clone();
        module.resource.name = stem;
        found.candidates.push(module);
    }
}

/// All files below a folder of the application, links followed.
fn walk(root: &Path, prefix: &str, owner: &Arc<Owner>, found: &mut Found) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut left = BTreeSet::new();
    let mut pending = vec![(root.to_owned(), prefix.to_owned(), Vec::<PathBuf>::new())];
    while let Some((folder, prefix, mut around)) = pending.pop() {
        let real = folder.canonicalize().fault_at(&folder)?;
        if around.contains(&real) {
            let what = "expected a tree, but this link leads to a folder around it";
            return Err(Fault::at(&folder, what));
        }
        around.push(real);
        for entry in fs::read_dir(&folder).fault_at(&folder)? {
            let path = entry.fault_at(&folder)?.path();
            let file_name = utf8(&path)?;
            let metadata = fs::metadata(&path).fault_at(&path)?;
            let location = format!("{prefix}{file_name}");
            if metadata.is_dir() {
                if file_name == "__pycache__" {
                    left.insert((
                        "__pycache__/".to_owned(),
                        "bytecode; pyox-pack compiles the sources",
                    ));
                } else if TOOLS_FOLDERS.contains(&file_name.as_str())
                    || path.join("pyvenv.cfg").exists()
                {
                    left.insert((
                        format!("{location}/"),
                        "a tool's folder, no part of the sources",
                    ));
                } else {
                    pending.push((path, format!("{location}/"), around.clone()));
                }
            } else if !metadata.is_file() {
                let what = "expected a file or a folder, got neither";
                return Err(Fault::at(&path, what));
            } else if is_bytecode(&file_name) {
                left.insert((location, "bytecode; pyox-pack compiles the sources"));
            } else {
                files.push(File { location, path, owner: Arc::clone(owner), expected: None });
            }
        }
    }
    for (name, reason) in left {
        found.exclude(name, &owner.project, reason);
    }
    Ok(files)
}

/// Whether a file's first line says that Python runs it.
fn is_python(path: &Path) -> Result<bool> {
    let bytes = files::read(path)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(line.starts_with(b"#!") && line.windows(6).any(|word| word == b"python"))
}
