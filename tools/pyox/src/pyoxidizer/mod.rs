//! `pyoxidizer.toml`, the configuration of PyOxidizer 0.1 to 0.4, as a project.
//!
//! What it says becomes settings. What pyox does anyway is taken in silence, what has no effect is a note, and what cannot
//! be had is an error that names it. `docs/pyoxidizer.md` lists every key.

mod interpreter;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_collect::{Extensions, Folder, Indexes, Wanted};
use pyox_schema::{Digest, Placement};
use pyox_stage::{Fault, FaultExt, Reporter, Result};

use crate::delivery::inside;
use crate::settings::Settings;
use crate::{Program, Project};
use tables::{At, PythonDistribution, Rule, Run, Tables};

/// Reads a file, of which those tables count that are meant for a target triple.
pub(crate) fn open(
    root: PathBuf,
    file: &Path,
    target: &str,
    reporter: &dyn Reporter,
) -> Result<Project> {
    let text = fs::read_to_string(file).fault_at(file)?;
    let tables = Tables::read(file, &text, target)?;
    let name = root.file_name().and_then(|name| name.to_str()).unwrap_or("app").to_owned();
    let translation = Translation {
        root,
        reporter,
        name,
        settings: Settings::default(),
        folders: Vec::new(),
        indexes: Indexes::default(),
        pythons: Vec::new(),
        levels: BTreeSet::new(),
        sources: BTreeSet::new(),
    };
    translation.project(&tables)
}

struct Translation<'a> {
    root: PathBuf,
    reporter: &'a dyn Reporter,
    name: String,
    settings: Settings,
    folders: Vec<Folder>,
    indexes: Indexes,
    /// The versions of Python that virtual environments are for.
    pythons: Vec<String>,
    /// The levels of optimisation and whether sources are taken, of all rules.
    levels: BTreeSet<u8>,
    sources: BTreeSet<bool>,
}

impl Translation<'_> {
    fn project(mut self, tables: &Tables) -> Result<Project> {
        for build in &tables.builds {
            if let Some(name) = &build.table.application_name {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    let what = format!("expected a file's name, got `{name}`");
                    return Err(build.fault("application_name", what));
                }
                self.name.clone_from(name);
            }
            if build.table.build_path.is_some() {
                self.note(build, "build_path", "not used, pyox keeps such files in its cache");
            }
        }
        // Elsewhere the last table counts, but here the first.
        if let Some(distribution) = tables.distributions.first() {
            self.distribution(distribution)?;
        }
        for rule in &tables.rules {
            self.rule(rule)?;
        }
        self.config(&tables.configs)?;
        self.settings.optimize = self.levels.iter().next_back().copied().unwrap_or_default();
        if self.levels.len() > 1 {
            let level = self.settings.optimize;
            self.reporter
                .note(format_args!("optimize_level: all modules are compiled with {level}"));
        }
        self.settings.sources = self.sources.iter().next_back().copied();
        if self.sources.len() > 1 {
            self.reporter.note("include_source: sources are taken of all modules");
        }
        for package in &tables.packages {
            if package.table.kind == "wix" {
                let what = "expected `tarball`, got `wix`, an installer for Windows";
                return Err(package.fault("type", what).hint("pyox makes executables for Linux"));
            }
            let prefix = package.table.path_prefix.clone().unwrap_or_default();
            self.settings.tarball = Some(inside(Path::new(&prefix)).ok_or_else(|| {
                let what = format_args!("expected a relative path, got `{prefix}`");
                package.fault("path_prefix", what)
            })?);
        }
        let run = match tables.runs.last() {
            Some(run) => wanted(run)?,
            None => noop(),
        };
        Ok(Project {
            programs: vec![Program { name: self.name.clone(), run }],
            name: self.name,
            root: self.root,
            requires_python: (!self.pythons.is_empty()).then(|| self.pythons.join(", ")),
            settings: self.settings,
            dependencies: Vec::new(),
            indexes: self.indexes,
            locked: None,
            pinned: Vec::new(),
            folders: self.folders,
        })
    }

    fn note<T>(&self, at: &At<T>, key: &str, what: impl std::fmt::Display) {
        self.reporter.note(format_args!("{}: {key}: {what}", at.place(key)));
    }

    /// A path that may begin with `$ORIGIN`, the folder of the file.
    fn path(&self, text: &str) -> PathBuf {
        self.root.join(text.replace("$ORIGIN", &self.root.to_string_lossy()))
    }

    fn distribution(&mut self, at: &At<PythonDistribution>) -> Result<()> {
        let PythonDistribution { local_path, url, sha256 } = &at.table;
        let spec = match (local_path, url) {
            (Some(path), None) => self.path(path).to_string_lossy().into_owned(),
            (None, Some(url)) => url.strip_prefix("file://").unwrap_or(url).to_owned(),
            _ => {
                let what = "expected one of `local_path` and `url`, got both or none";
                return Err(Fault::new(at.place("url"), what));
            }
        };
        self.settings.python = vec![spec];
        let digest = sha256.as_ref().map(|text| text.parse::<Digest>()).transpose();
        self.settings.sha256 =
            digest.map_err(|error| at.fault("sha256", &error).caused_by(error))?;
        Ok(())
    }

    fn level<T>(at: &At<T>, level: i64) -> Result<u8> {
        u8::try_from(level).ok().filter(|level| *level <= 2).ok_or_else(|| {
            at.fault("optimize_level", format_args!("expected 0, 1 or 2, got {level}"))
        })
    }

    fn rule(&mut self, at: &At<Rule>) -> Result<()> {
        let rule = &at.table;
        let kind = rule.kind.as_str();
        let has_modules = !kind.contains("stdlib-ext")
            && kind != "filter-include"
            && kind != "write-license-files";
        if has_modules {
            let level = Self::level(at, rule.optimize_level.unwrap_or_default())?;
            self.levels.insert(level);
            self.sources.insert(rule.include_source.unwrap_or(true));
            self.settings.exclude.extend(rule.excludes.iter().cloned());
        }
        let is_beside = self.is_beside(at)?;
        match kind {
            "stdlib" => {
                if rule.exclude_test_modules == Some(false) {
                    self.settings.include.push("test".to_owned());
                }
                if rule.include_resources == Some(false) {
                    self.note(
                        at,
                        "include_resources",
                        "resources of the standard library are taken",
                    );
                }
            }
            "stdlib-extensions-policy" => {
                self.settings.extensions = match at.need("policy", rule.policy.as_ref())?.as_str() {
                    "all" => Extensions::All,
                    "minimal" => Extensions::Minimal,
                    "no-libraries" => Extensions::NoLibraries,
                    "no-gpl" => Extensions::NoGpl,
                    other => {
                        let known = ["minimal", "all", "no-libraries", "no-gpl"];
                        return Err(at.unknown("policy", other, &known));
                    }
                };
            }
            "stdlib-extensions-explicit-includes" => {
                self.settings.include.extend(rule.includes.iter().cloned());
            }
            "stdlib-extensions-explicit-excludes" => {
                self.settings.exclude.extend(rule.excludes.iter().cloned());
            }
            "stdlib-extension-variant" => {
                let extension = at.need("extension", rule.extension.as_ref())?;
                let variant = at.need("variant", rule.variant.as_ref())?;
                let what =
                    format!("{extension} is taken as the distribution has it, not as `{variant}`");
                self.note(at, "variant", what);
            }
            "package-root" => self.package_root(at, is_beside)?,
            "virtualenv" => self.virtualenv(at, is_beside)?,
            "pip-install-simple" => {
                self.pip(at)?;
                let package = at.need("package", rule.package.as_ref())?;
                self.settings.with.push(package.replace("$ORIGIN", &self.root.to_string_lossy()));
            }
            "pip-requirements-file" => {
                self.pip(at)?;
                let path = at.need("requirements_path", rule.requirements_path.as_ref())?;
                let path = self.path(path);
                if !path.is_file() {
                    return Err(self.missing(at, "requirements_path", "a file", &path));
                }
                self.settings.requirements.push(path);
            }
            "setup-py-install" => {
                if !rule.extra_env.is_empty() || !rule.extra_global_arguments.is_empty() {
                    let key = if rule.extra_env.is_empty() {
                        "extra_global_arguments"
                    } else {
                        "extra_env"
                    };
                    return Err(at
                        .fault(key, "pyox does not pass it, because pip builds projects")
                        .hint("build a wheel with it, and name that by `pip-install-simple`"));
                }
                let path = self.path(at.need("package_path", rule.package_path.as_ref())?);
                if !path.is_dir() {
                    return Err(self.missing(at, "package_path", "a folder", &path));
                }
                self.folders.push(Folder::new(&path));
            }
            "filter-include" => self.filter(at)?,
            // `typed` has refused all others.
            _ => {
                let path = at.need("path", rule.path.as_ref())?;
                self.settings.licenses = Some(inside(Path::new(path)).ok_or_else(|| {
                    let what = format_args!("expected a relative path below dist, got `{path}`");
                    at.fault("path", what)
                })?);
            }
        }
        Ok(())
    }

    fn missing<T>(&self, at: &At<T>, key: &str, what: &str, path: &Path) -> Fault {
        let shown = path.strip_prefix(&self.root).unwrap_or(path);
        at.fault(key, format_args!("expected {what}, found none at {}", shown.display()))
    }

    /// Whether the packages of a rule lie beside the executable.
    fn is_beside(&self, at: &At<Rule>) -> Result<bool> {
        let location = at.table.install_location.as_deref().unwrap_or("embedded");
        if location == "embedded" {
            return Ok(false);
        }
        if !location.starts_with("app-relative:") {
            let what = format!("expected `embedded` or `app-relative:PATH`, got `{location}`");
            return Err(at.fault("install_location", what));
        }
        if !matches!(at.table.kind.as_str(), "package-root" | "virtualenv") {
            let kind = &at.table.kind;
            let what = format!("expected `embedded` for `{kind}`, got `{location}`");
            return Err(at.fault("install_location", what).hint(
                "a `placement` in a pyox.toml puts a package beside the executable by its name",
            ));
        }
        self.note(at, "install_location", "the folder is NAME.files beside the executable");
        Ok(true)
    }

    fn package_root(&mut self, at: &At<Rule>, is_beside: bool) -> Result<()> {
        let folder = self.path(at.need("path", at.table.path.as_ref())?);
        for package in at.need("packages", at.table.packages.as_ref())? {
            let names = [package.clone(), format!("{package}.py")];
            let paths = names.map(|name| folder.join(name));
            let is_top = !package.is_empty() && !package.contains(['.', '/']);
            let Some(found) = paths.into_iter().find(|path| is_top && path.exists()) else {
                let path = folder.join(package);
                return Err(self.missing(at, "packages", "a top-level package or module", &path));
            };
            self.settings.apps.push(found);
            if is_beside {
                self.settings.placement.insert(package.clone(), Placement::Beside);
            }
        }
        Ok(())
    }

    fn virtualenv(&mut self, at: &At<Rule>, is_beside: bool) -> Result<()> {
        let folder = self.path(at.need("path", at.table.path.as_ref())?);
        let library = folder.join("lib");
        let mut found = Vec::new();
        for entry in fs::read_dir(&library).into_iter().flatten().flatten() {
            let packages = entry.path().join("site-packages");
            if packages.is_dir() {
                found.push((entry.file_name(), packages));
            }
        }
        found.sort();
        let Some((python, packages)) = found.pop() else {
            return Err(self.missing(at, "path", "a virtual environment", &folder));
        };
        if let Some(version) = python.to_string_lossy().strip_prefix("python") {
            self.pythons.push(format!("=={version}.*"));
        }
        if is_beside {
            for entry in fs::read_dir(&packages).fault_at(&packages)? {
                let path = entry.fault_at(&packages)?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if path.join("__init__.py").is_file() {
                    self.settings.placement.insert(name.to_owned(), Placement::Beside);
                }
            }
        }
        self.settings.paths.push(packages);
        Ok(())
    }

    /// What is said to pip beside the projects.
    fn pip(&mut self, at: &At<Rule>) -> Result<()> {
        if at.table.venv_path.is_some() {
            self.note(at, "venv_path", "not used, installed projects are kept in the cache");
        }
        let mut words = at.table.extra_args.iter();
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let mut value = || {
                value.clone().or_else(|| words.next().cloned()).ok_or_else(|| {
                    at.fault("extra_args", format_args!("{option}: expected a value, got none"))
                })
            };
            match option {
                "--no-index" => self.indexes.no_index = true,
                "-i" | "--index-url" => self.indexes.index = Some(value()?),
                "--extra-index-url" => self.indexes.extra.push(value()?),
                "-f" | "--find-links" => self.indexes.find_links.push(value()?),
                _ => {
                    let what = format!("expected options for indexes, got `{word}`");
                    return Err(at.fault("extra_args", what).hint(
                        "--index-url, --extra-index-url, --find-links and --no-index are passed on",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The names in files of which each line is one; several rules narrow one after another.
    fn filter(&mut self, at: &At<Rule>) -> Result<()> {
        let mut paths = Vec::new();
        for file in &at.table.files {
            let path = self.path(file);
            if !path.is_file() {
                return Err(self.missing(at, "files", "a file of names", &path));
            }
            paths.push(path);
        }
        for pattern in &at.table.glob_files {
            let path = self.path(pattern);
            let found = glob::glob(&path.to_string_lossy());
            let found = found.map_err(|error| {
                at.fault("glob_files", format_args!("`{pattern}`: {error}")).caused_by(error)
            })?;
            let before = paths.len();
            for path in found {
                let path = path.fault("glob_files")?;
                paths.extend(Some(path).filter(|path| path.is_file()));
            }
            if paths.len() == before {
                return Err(self.missing(at, "glob_files", "a file of names", &path));
            }
        }
        let mut names = BTreeSet::new();
        for path in paths {
            let text = fs::read_to_string(&path).fault_at(&path)?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            names.extend(lines.map(str::to_owned));
        }
        self.settings.only = Some(match self.settings.only.take() {
            Some(before) => before.intersection(&names).cloned().collect(),
            None => names,
        });
        Ok(())
    }
}

/// What runs.
fn wanted(at: &At<Run>) -> Result<Wanted> {
    let run = &at.table;
    Ok(match run.mode.as_str() {
        "eval" => Wanted::Code(at.need("code", run.code.as_ref())?.clone()),
        "module" => Wanted::Module(at.need("module", run.module.as_ref())?.clone()),
        "noop" => noop(),
        "repl" => Wanted::Repl,
        other => {
            return Err(at.unknown("mode", other, &["eval", "module", "repl", "noop"]));
        }
    })
}

fn noop() -> Wanted {
    Wanted::Code("pass".to_owned())
}

#[cfg(test)]
mod tests;
