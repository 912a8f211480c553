//! A project: what to build, read from the project's own files.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use pyox_collect::{Folder, Indexes, Metadata, Wanted};
use pyox_stage::{Fault, FaultExt, Reporter, Result};

use crate::lock;
use crate::pyproject::PyProject;
use crate::settings::{Settings, read_toml};
use crate::sources::Needs;
use crate::{delivery, pyoxidizer};

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name; a script's is its file's.
    pub name: String,
    /// The folder that relative paths are relative to.
    pub root: PathBuf,
    /// The Python versions that it runs on, as `>=3.12`.
    pub requires_python: Option<String>,
    /// What its author has set.
    pub settings: Settings,
    /// The executables, one at least.
    pub programs: Vec<Program>,
    /// What it needs, as pip understands it.
    pub dependencies: Vec<String>,
    /// Where that comes from.
    pub indexes: Indexes,
    /// The requirements file that its lock file amounts to, in place of `dependencies`.
    pub(crate) locked: Option<PathBuf>,
    /// Requirements that the lock file pins without a digest.
    pub(crate) pinned: Vec<String>,
    /// The folders that build backends install: its own, and those of projects that a lock file names.
    pub(crate) folders: Vec<Folder>,
}

/// An executable of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file's name.
    pub name: String,
    /// What it runs.
    pub run: Wanted,
}

impl Project {
    /// The project at a path: a script, or a folder with a `pyproject.toml`, a `pyox.toml` or a `pyoxidizer.toml`.
    ///
    /// # Errors
    ///
    /// If there is none, or its file does not parse or does not say what runs.
    pub fn open(path: &Path, reporter: &dyn Reporter) -> Result<Self> {
        Self::open_with(path, &[], &[], None, reporter)
    }

    /// The same, with some of the extras and dependency groups that its `pyproject.toml` has, and what its `pyoxidizer.toml` says
    /// of a target triple; without one that is this machine's.
    ///
    /// # Errors
    ///
    /// As above, and for a name that is none of these.
    pub fn open_with(
        path: &Path,
        extras: &[String],
        groups: &[String],
        target: Option<&str>,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let metadata = fs::metadata(path).fault_at(path)?;
        let has_none = |what: &str| match extras.first().or(groups.first()) {
            Some(option) => {
                let what = format!("expected a pyproject.toml that has `{option}`, got {what}");
                Err(Fault::at(path, what))
            }
            None => Ok(()),
        };
        if !metadata.is_dir() {
            has_none("a script")?;
            return Self::of_script(path);
        }
        let root = absolute(path).fault_at(path)?;
        let file = root.join("pyproject.toml");
        if file.is_file() {
            return Self::of_pyproject(root, &file, extras, groups, reporter);
        }
        let file = root.join("pyox.toml");
        if file.is_file() {
            has_none("a pyox.toml")?;
            return Self::of_pyox_toml(root, &file);
        }
        let file = root.join("pyoxidizer.toml");
        if file.is_file() {
            has_none("a pyoxidizer.toml")?;
            let own = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            return pyoxidizer::open(root, &file, target.unwrap_or(&own), reporter);
        }
        let what = "expected a pyproject.toml, a pyox.toml or a pyoxidizer.toml in this folder, found none";
        Err(Fault::at(path, what).hint("name a script, or begin with `pyox init NAME`"))
    }

    /// The tar archives that it has made beside its executables in a folder, if it makes any.
    #[must_use]
    pub fn archives(&self, folder: &Path) -> Vec<PathBuf> {
        let programs = self.programs.iter().filter(|_| self.settings.tarball.is_some());
        programs.map(|program| delivery::archive_of(&folder.join(&program.name))).collect()
    }

    fn of_script(path: &Path) -> Result<Self> {
        let script = absolute(path).fault_at(path)?;
        let metadata = Metadata::of_script(&script)?.unwrap_or_default();
        let settings =
            Settings::from_table(metadata.pyox.unwrap_or_default(), "tool.pyox", &script)?;
        let name = script.file_stem().and_then(|stem| stem.to_str());
        let name = name.ok_or_else(|| Fault::at(path, "expected a name in UTF-8"))?.to_owned();
        let root = script.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self {
            programs: vec![Program { name: name.clone(), run: Wanted::Script(script.clone()) }],
            name,
            root,
            requires_python: metadata.requires_python.or(settings.requires_python.clone()),
            settings,
            // pyox-collect reads them itself.
            dependencies: Vec::new(),
            indexes: Indexes::default(),
            locked: None,
            pinned: Vec::new(),
            folders: Vec::new(),
        })
    }

    fn of_pyproject(
        root: PathBuf,
        file: &Path,
        extras: &[String],
        groups: &[String],
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let read = PyProject::read(file)?;
        let settings = read.settings(file)?;
        let mut grouped = Vec::new();
        for group in groups {
            // Poetry's own groups are in its lock file.
            if !read.has_poetry_group(group) {
                grouped.extend(read.group(group, file)?);
            }
        }
        let Some(metadata) = &read.project else {
            let what = "expected a table [project] with name and scripts, found none";
            return Err(Fault::at(file, what)
                .hint("[project] is what pip, uv and build backends read as well"));
        };
        let mut dependencies = metadata.dependencies.clone();
        for extra in extras {
            dependencies.extend(metadata.extra(extra, file)?.iter().cloned());
        }
        let is_dynamic = |name: &str| metadata.dynamic.iter().any(|dynamic| dynamic == name);
        if metadata.has_dynamic_dependencies() {
            // The backend alone knows them: pip asks it.
            let extras =
                if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
            dependencies = vec![format!("{}{extras}", root.display())];
        }
        dependencies.extend(grouped);
        let (mut locked, mut pinned) = (None, Vec::new());
        let mut folders = vec![Folder::new(&root)];
        if let Some(lock) = lock::of_project(&root, &read, metadata, extras, groups)? {
            reporter.detail("the lock file decides on versions");
            dependencies.clear();
            locked = Some(lock.requirements()?);
            pinned = lock.pinned;
            folders.extend(lock.folders);
        } else if let Some(group) = groups.iter().find(|group| read.has_poetry_group(group)) {
            let what = format!("--group {group}: expected a poetry.lock, found none");
            return Err(Fault::at(file, what).hint("`poetry lock` makes it"));
        } else {
            let mut needs = Needs::default();
            needs.add(&root, &read, &dependencies, None)?;
            dependencies = needs.requirements;
            folders.extend(needs.folders);
        }
        let mut programs = programs(&settings, &root)?;
        for (name, function) in metadata.scripts.iter().chain(&metadata.gui_scripts) {
            programs
                .push(Program { name: name.clone(), run: Wanted::EntryPoint(function.clone()) });
        }
        if programs.is_empty() {
            if is_dynamic("scripts") {
                let what =
                    "[project]: its backend makes the scripts, so that pyox does not know them";
                return Err(Fault::at(file, what).hint("name one in [tool.pyox.programs]"));
            }
            let module = metadata.name.to_lowercase().replace(['-', '.'], "_");
            reporter
                .note(format_args!("no [project.scripts]: {module} runs as `python -m {module}`"));
            programs.push(Program { name: metadata.name.clone(), run: Wanted::Module(module) });
        }
        Ok(Self {
            name: metadata.name.clone(),
            root,
            requires_python: metadata.requires_python.clone().or(settings.requires_python.clone()),
            settings,
            programs,
            dependencies,
            indexes: Indexes::default(),
            locked,
            pinned,
            folders,
        })
    }

    fn of_pyox_toml(root: PathBuf, file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).fault_at(file)?;
        let settings = Settings::from_table(read_toml(file, &text)?, "pyox.toml", file)?;
        let programs = programs(&settings, &root)?;
        if programs.is_empty() {
            return Err(Fault::at(file, "expected [programs] with what runs, found none")
                .hint("for example `app = \"app.py\"` or `app = \"package.module:function\"`"));
        }
        let name = root.file_name().and_then(|name| name.to_str()).unwrap_or("app").to_owned();
        Ok(Self {
            name,
            root,
            requires_python: settings.requires_python.clone(),
            settings,
            programs,
            dependencies: Vec::new(),
            indexes: Indexes::default(),
            locked: None,
            pinned: Vec::new(),
            folders: Vec::new(),
        })
    }
}

/// The executables that the settings name.
fn programs(settings: &Settings, root: &Path) -> Result<Vec<Program>> {
    let one = |(name, runs): (&String, &String)| {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Fault::new("programs", format!("expected a file's name, got `{name}`")));
        }
        let script = root.join(runs);
        let run = if runs.contains(':') {
            Wanted::EntryPoint(runs.clone())
        } else if script.is_file() {
            Wanted::Script(script)
        } else {
            Wanted::Module(runs.clone())
        };
        Ok(Program { name: name.clone(), run })
    };
    settings.programs.iter().map(one).collect()
}
