//! Installed projects: pip resolves and installs them into a private folder of the cache.
//!
//! A folder is found by the digest of what was asked for, so that a second run needs neither
//! network nor pip. The distribution's own pip is preferred, because it can build what has no wheel;
//! without one, another Python's pip is told to take wheels for the distribution's tags.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use pyox_schema::{Digest, Distribution, Origin};
use pyox_stage::{FaultExt, Partial, Reporter, Result, cache, prune};

use crate::edits;
use crate::inline::Indexes;
use crate::installer::{Installer, Tool};
use crate::layout;
use crate::pip_config;
use crate::requirements::{self, Requirements};
use crate::wheel;

/// What is to be installed.
#[derive(Debug, Clone, Default)]
// Each is independent of the others.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Request {
    /// Values of `--with`.
    pub(crate) with: Vec<String>,
    /// The script that runs, and the projects that it names itself.
    pub(crate) script: Option<PathBuf>,
    pub(crate) inline: Vec<String>,
    /// Where projects come from.
    pub(crate) indexes: Indexes,
    /// Who installs them.
    pub(crate) installer: Installer,
    /// Values of `-r`.
    pub(crate) files: Vec<PathBuf>,
    /// Wheels among the APPs.
    pub(crate) wheels: Vec<PathBuf>,
    /// Install even where that was done before.
    pub(crate) upgrade: bool,
    /// Download nothing.
    pub(crate) offline: bool,
    /// Whether its files name all that is needed, with digests.
    pub(crate) is_locked: bool,
    /// Whether what it names is fixed without them.
    pub(crate) is_pinned: bool,
    /// The folder of the one project, which is installed without what it depends on.
    pub(crate) project: Option<Folder>,
}

/// The folder of a project that its own build backend builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The project's name, which a marker needs.
    pub name: Option<String>,
    /// The environment marker under which it is wanted; empty where it always is.
    pub marker: String,
}

impl Folder {
    /// The project in a folder, which is always wanted.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), name: None, marker: String::new() }
    }

    /// As pip understands it.
    fn requirement(&self) -> String {
        match &self.name {
            Some(name) if !self.marker.is_empty() => {
                format!("{name} @ {} ; {}", file_url(&self.path), self.marker)
            }
            _ => self.path.display().to_string(),
        }
    }
}

/// The address of a file or folder.
#[must_use]
pub fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~+".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

impl Request {
    /// Whether nothing is to be installed.
    pub(crate) fn is_empty(&self) -> bool {
        self.with.is_empty()
            && self.inline.is_empty()
            && self.files.is_empty()
            && self.wheels.is_empty()
    }

    /// A request for the project in a folder alone.
    pub(crate) fn of_project(&self, folder: &Folder) -> Self {
        Self {
            with: vec![folder.requirement()],
            indexes: self.indexes.clone(),
            installer: self.installer,
            upgrade: self.upgrade,
            offline: self.offline,
            project: Some(folder.clone()),
            ..Self::default()
        }
    }

    /// A request for what is fixed without digests.
    pub(crate) fn of_pinned(&self, pinned: &[String]) -> Self {
        Self {
            with: pinned.to_vec(),
            indexes: self.indexes.clone(),
            installer: self.installer,
            upgrade: self.upgrade,
            offline: self.offline,
            is_pinned: true,
            ..Self::default()
        }
    }

    /// Whether what it names is all that is installed.
    fn is_alone(&self) -> bool {
        self.project.is_some() || self.is_locked || self.is_pinned
    }

    /// A request for what a lock file amounts to, and nothing that it does not name.
    pub(crate) fn of_locked(&self, file: &Path) -> Self {
        Self {
            files: vec![file.to_owned()],
            indexes: self.indexes.clone(),
            installer: self.installer,
            upgrade: self.upgrade,
            offline: self.offline,
            is_locked: true,
            ..Self::default()
        }
    }

    /// Where a project comes from that the user named, and why it is there.
    pub(crate) fn reason(&self, project: &str) -> (Origin, String) {
        let is_it = |requirement: &str| wheel::project_name(requirement) == project;
        let wheels = self.wheels.iter().filter_map(|path| path.file_name()?.to_str());
        if self.project.is_some() || wheels.filter_map(|name| name.split('-').next()).any(is_it) {
            return (Origin::Application, "application".to_owned());
        }
        (Origin::Project, self.named_by(is_it))
    }

    fn named_by(&self, is_it: impl Fn(&str) -> bool) -> String {
        if self.is_locked || self.is_pinned {
            return "named in the lock file".to_owned();
        }
        if let Some(with) = self.with.iter().find(|with| is_it(with)) {
            return format!("named by --with {with}");
        }
        if let Some(script) = self.script.as_ref().and_then(|script| script.file_name())
            && self.inline.iter().any(|named| is_it(named))
        {
            return format!("named in {}", script.display());
        }
        // Where a file came from is no part of a manifest, its name is.
        let files: Vec<_> = self.files.iter().filter_map(|path| path.file_name()).collect();
        match files.as_slice() {
            [] => "named by --with".to_owned(),
            [one] => format!("named in {}", one.display()),
            _ => "named in the requirements".to_owned(),
        }
    }

    /// The folder with the installed projects, made where it is missing.
    pub(crate) fn install(
        &self,
        distribution: &Distribution,
        ui: &dyn Reporter,
    ) -> Result<PathBuf> {
        let cache = cache::folder("projects")?;
        let cache = absolute(&cache).fault_at(&cache)?;
        let project = self.project.as_ref().map(|folder| folder.path.as_path());
        let files = project.map(edits::files_of).transpose()?;
        let mut requirements = Requirements::default();
        self.files.iter().try_for_each(|path| requirements.add(path))?;
        let target = cache.join(self.key(distribution, &requirements)?.to_string());
        // Nothing can be the right answer, if no environment marker holds, but it is not one to rely on.
        let is_there = || has_entries(&target) || self.is_for_nothing(&requirements);
        if target.is_dir() && !self.upgrade && is_there() {
            prune::touch(&target);
            return Ok(target);
        }
        let temporary = Partial::new(&cache)?;
        let fresh = temporary.path().join("new");
        let kind = self.kind(distribution);
        let is_renewed = match project.zip(files.as_ref()) {
            Some((project, now)) if !self.upgrade => {
                edits::renew(project, now, &kind, &cache, &fresh)?
            }
            _ => false,
        };
        if self.is_for_nothing(&requirements) {
            fs::create_dir_all(&fresh).fault_at(&fresh)?;
        } else if !is_renewed {
            self.run_installer(distribution, &requirements, &fresh, ui)?;
            wheel::settle(&fresh)?;
        }
        if (self.upgrade || !is_there()) && target.is_dir() {
            // It goes away with the temporary folder.
            fs::rename(&target, temporary.path().join("old")).fault_at(&target)?;
        }
        match fs::rename(&fresh, &target) {
            // Another run was faster, and asked for the same.
            Err(_) if target.is_dir() => {}
            result => result.fault_at(&target)?,
        }
        if let Some((project, before)) = project.zip(files) {
            edits::note(project, before, &kind, name_of(&target), &target)?;
        }
        if !is_renewed {
            for key in prune::prune(&cache)? {
                ui.detail(format_args!("cache: {key} was not used for long, and is removed"));
                let _ = fs::remove_file(cache::folder("digests")?.join(format!("{key}.json")));
            }
        }
        Ok(target)
    }

    /// What decides how anything gets installed.
    fn kind(&self, distribution: &Distribution) -> String {
        let python = &distribution.python;
        let mut text = format!("5\n{}\n{}\n{}\n", python.version, python.soabi, python.platform);
        if self.installer != Installer::Any {
            let _ = writeln!(text, "installer {:?}", self.installer);
        }
        for option in self.indexes.options() {
            let _ = writeln!(text, "option {option}");
        }
        text
    }

    /// The digest of all that decides what gets installed, apart from what the index offers.
    fn key(&self, distribution: &Distribution, requirements: &Requirements) -> Result<Digest> {
        let mut text = self.kind(distribution);
        text.push_str(&pip_config::key(distribution)?);
        if self.is_alone() {
            text.push_str("no dependencies\n");
        }
        if let Some(folder) = self.project.as_ref().filter(|folder| !folder.marker.is_empty()) {
            let _ =
                writeln!(text, "project {} {}", folder.marker, requirements::stamp(&folder.path)?);
        }
        for requirement in self.with.iter().chain(&self.inline) {
            let _ = writeln!(
                text,
                "with {requirement} {}",
                requirements::stamp_of_path_in(requirement)?
            );
        }
        for path in &self.wheels {
            let _ = writeln!(text, "wheel {} {}", name_of(path), requirements::stamp(path)?);
        }
        text.push_str(&requirements.key()?);
        Ok(Digest::of(text.as_bytes()))
    }

    /// Has pip or uv install it into a folder.
    fn run_installer(
        &self,
        distribution: &Distribution,
        requirements: &Requirements,
        fresh: &Path,
        ui: &dyn Reporter,
    ) -> Result<()> {
        let tool = Tool::find(self.installer, self.offline, distribution)?;
        let mut options: Vec<OsString> = Vec::new();
        options.extend(requirements.options(fresh)?);
        if self.is_alone() {
            options.push("--no-deps".into());
        }
        if self.is_locked {
            options.push("--require-hashes".into());
        }
        let (names, has_folder) = self.names(requirements);
        if tool.is_uv() && has_folder {
            // uv would take what it has built of a folder before.
            options.push(tool.rebuild().into());
        }
        options.extend(self.wheels.iter().map(OsString::from));
        options.push("--".into());
        options.extend(self.with.iter().chain(&self.inline).map(OsString::from));
        // An installation of its own, and not a folder for modules (`--target`), tells scripts and data from those.
        let prefix = fresh.with_extension("prefix");
        let is_prefix = tool.install(distribution, &self.indexes, &prefix, fresh, options, ui)?;
        if is_prefix {
            layout::flatten(&prefix, fresh)?;
            if tool.is_uv() && !self.is_alone() {
                wheel::set_requested(fresh, &names)?;
            }
        }
        // Nothing may be left of what is asked for, where no environment marker holds.
        fs::create_dir_all(fresh).fault_at(fresh)
    }

    /// The projects that it names, as far as it does, and whether it names folders.
    fn names(&self, files: &Requirements) -> (BTreeSet<String>, bool) {
        let requirements = || self.with.iter().chain(&self.inline);
        let mut names: BTreeSet<String> =
            requirements().map(|text| wheel::project_name(text)).collect();
        let wheels = self.wheels.iter().filter_map(|path| name_of(path).split('-').next());
        names.extend(wheels.map(wheel::project_name));
        names.extend(files.names().iter().cloned());
        let is_folder =
            |text: &String| requirements::path_in(text).is_some_and(|path| path.is_dir());
        let has_folder =
            self.project.is_some() || requirements().any(is_folder) || files.has_folder();
        (names, has_folder)
    }

    /// Whether nothing is asked for, such as by an empty requirements file, which installers refuse.
    fn is_for_nothing(&self, files: &Requirements) -> bool {
        self.with.is_empty() && self.inline.is_empty() && self.wheels.is_empty() && files.is_empty()
    }
}

fn has_entries(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Whether a folder is what builds and tools leave in a project: it changes with every build.
pub(crate) fn is_made_by_tools(folder: &Path) -> bool {
    const NAMES: [&str; 6] = ["build", "dist", "__pycache__", ".git", ".venv", ".tox"];
    let name = name_of(folder);
    NAMES.contains(&name) || name.ends_with(".egg-info")
}

pub(crate) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
