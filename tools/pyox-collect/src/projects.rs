//! Installed projects: pip resolves and installs them into a private folder of the cache.
//!
//! A folder is found by the digest of what was asked for, so that a second run needs neither
//! network nor pip. The distribution's own pip is preferred, because it can build what has no wheel;
//! without one, another Python's pip is told to take wheels for the distribution's tags.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Output, Stdio};

use pyox_schema::{Digest, Distribution, Origin};
use pyox_stage::{Fault, FaultExt, Kind, Partial, Reporter, Result, cache};

use crate::edits;
use crate::inline::Indexes;
use crate::stdlib::has_suffix;
use crate::wheel;

/// What is to be installed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// Values of `--with`.
    pub(crate) with: Vec<String>,
    /// The script that runs, and the projects that it names itself.
    pub(crate) script: Option<PathBuf>,
    pub(crate) inline: Vec<String>,
    /// Where projects come from.
    pub(crate) indexes: Indexes,
    /// Values of `-r`.
    pub(crate) files: Vec<PathBuf>,
    /// Wheels among the APPs.
    pub(crate) wheels: Vec<PathBuf>,
    /// Install even where that was done before.
    pub(crate) upgrade: bool,
    /// Whether its files name all that is needed.
    pub(crate) is_locked: bool,
    /// The folder of the one project, which is installed without what it depends on.
    pub(crate) project: Option<PathBuf>,
}

/// A pip that can be run.
struct Pip {
    command: Vec<OsString>,
    /// Whether it belongs to another Python than the distribution's.
    foreign: bool,
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
    pub(crate) fn of_project(&self, folder: &Path) -> Self {
        Self {
            with: vec![folder.display().to_string()],
            indexes: self.indexes.clone(),
            upgrade: self.upgrade,
            project: Some(folder.to_owned()),
            ..Self::default()
        }
    }

    /// A request for what a lock file amounts to, and nothing that it does not name.
    pub(crate) fn of_locked(&self, file: &Path) -> Self {
        Self {
            files: vec![file.to_owned()],
            indexes: self.indexes.clone(),
            upgrade: self.upgrade,
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
        if let Some(with) = self.with.iter().find(|with| is_it(with)) {
            return format!("named by --with {with}");
        }
        if let Some(script) = self.script.as_ref().and_then(|script| script.file_name())
            && self.inline.iter().any(|named| is_it(named))
        {
            return format!("named in {}", script.display());
        }
        if self.is_locked {
            return "named in the lock file".to_owned();
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
        let project = self.project.as_deref();
        let files = project.map(edits::files_of).transpose()?;
        let target = cache.join(self.key(distribution)?.to_string());
        if target.is_dir() && !self.upgrade {
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
        if !is_renewed {
            self.run_pip(distribution, &fresh, ui)?;
            wheel::settle(&fresh)?;
        }
        if self.upgrade && target.is_dir() {
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
        Ok(target)
    }

    /// What decides how anything gets installed.
    fn kind(&self, distribution: &Distribution) -> String {
        let python = &distribution.python;
        let mut text = format!("3\n{}\n{}\n{}\n", python.version, python.soabi, python.platform);
        for option in self.indexes.options() {
            let _ = writeln!(text, "option {option}");
        }
        text
    }

    /// The digest of all that decides what gets installed, apart from what the index offers.
    fn key(&self, distribution: &Distribution) -> Result<Digest> {
        let mut text = self.kind(distribution);
        if self.project.is_some() || self.is_locked {
            text.push_str("no dependencies\n");
        }
        for requirement in self.with.iter().chain(&self.inline) {
            let _ = writeln!(text, "with {requirement} {}", stamp_of_path_in(requirement)?);
        }
        for path in &self.wheels {
            let _ = writeln!(text, "wheel {} {}", name_of(path), stamp(path)?);
        }
        for path in &self.files {
            requirements_key(path, &mut text, &mut Vec::new())?;
        }
        Ok(Digest::of(text.as_bytes()))
    }

    fn run_pip(&self, distribution: &Distribution, target: &Path, ui: &dyn Reporter) -> Result<()> {
        let pip = find_pip(distribution)?;
        let (program, arguments) = pip.command.split_first().ok_or_else(no_pip)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["install", "--no-compile", "--no-input", "--disable-pip-version-check"])
            .args(["--no-warn-script-location", "--no-color", "--progress-bar", "off", "--target"])
            .arg(target)
            .stdin(Stdio::null())
            // pip's settings are the user's, the interpreter's are not wanted.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONHOME")
            .env_remove("PYTHONPATH")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            // Settings for installations of one's own; this folder is private.
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("PIP_USER", "0");
        if pip.foreign {
            command.args(foreign_tags(distribution));
        }
        for path in &self.files {
            command.arg("-r").arg(path);
        }
        command.args(self.indexes.options());
        if self.project.is_some() || self.is_locked {
            command.arg("--no-deps");
        }
        if self.is_locked {
            command.arg("--require-hashes");
        }
        command.args(&self.wheels).arg("--").args(&self.with).args(&self.inline);
        ui.detail(format_args!("{command:?}"));
        let task = ui.begin(None, "pip resolves and installs");
        let output = command.output();
        drop(task);
        let output = output.fault(program.display())?;
        for bytes in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(bytes).lines() {
                ui.detail(format_args!("pip: {line}"));
            }
        }
        if output.status.success() {
            // A requirements file may well be empty.
            return fs::create_dir_all(target).fault_at(target);
        }
        let fault = Fault::new("pip", explanation(&output));
        let hint = if pip.foreign {
            "the distribution has no pip of its own, so that only wheels will do"
        } else {
            "-v shows all that pip says"
        };
        let program = program.display().to_string();
        Err(fault.hint(hint).of_kind(Kind::Command { program, status: output.status }))
    }
}

/// What pip says is wrong, as one line: its errors, and on a conflict who asked for what.
fn explanation(output: &Output) -> String {
    let (errors, told) =
        (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    if let Some(said) = backends_words(&errors) {
        return said;
    }
    let is_noise = |line: &&str| {
        line.is_empty()
            || line.starts_with("WARNING:")
            || line.starts_with("[notice]")
            || line.contains("ResolutionImpossible")
    };
    let lines: Vec<&str> = errors
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("ERROR:"))
        .chain(
            told.lines()
                .map(str::trim)
                .skip_while(|line| !line.starts_with("The conflict is caused by"))
                // Behind it comes advice for users of pip.
                .take_while(|line| !line.starts_with("To fix this")),
        )
        .filter(|line| !is_noise(line))
        .map(|line| line.trim_start_matches("ERROR:").trim().trim_end_matches(['.', ':', ';']))
        .collect();
    if lines.is_empty() {
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        return format!("{}: {}", output.status, last.unwrap_or("it says nothing").trim());
    }
    if let Some(last) = lines.last().filter(|_| lines.iter().any(|l| l.starts_with("Traceback"))) {
        return (*last).to_owned();
    }
    lines.join("; ")
}

/// What a build backend that failed has said last, and when that was.
fn backends_words(errors: &str) -> Option<String> {
    let (before, _) = errors.split_once("[end of output]")?;
    let lines = || before.lines().map(str::trim).filter(|line| !line.is_empty());
    let step = lines().find_map(|line| line.strip_prefix('×')).unwrap_or("its build failed");
    let last = lines().next_back().filter(|line| !line.ends_with("of output]"))?;
    Some(format!("{}: {last}", step.trim().trim_end_matches('.')))
}

/// The distribution's pip, the one that its `ensurepip` brings, or that of another Python.
fn find_pip(distribution: &Distribution) -> Result<Pip> {
    let python = distribution.path(&distribution.paths.executable);
    // `-B`: a distribution in the cache stays as it was made.
    let own = |module: OsString| Pip {
        command: vec![python.clone().into(), "-B".into(), module],
        foreign: false,
    };
    let version = |command: &[OsString]| {
        let (program, arguments) = command.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--version").stdin(Stdio::null());
        command.output().ok().filter(|output| output.status.success())
    };
    let mut isolated: Vec<OsString> = ["-IB", "-m", "pip"].map(OsString::from).to_vec();
    isolated.insert(0, python.clone().into());
    if version(&isolated).is_some() {
        return Ok(Pip { command: isolated, foreign: false });
    }
    let bundled = distribution.path(&distribution.paths.stdlib).join("ensurepip/_bundled");
    for folder in [bundled, PathBuf::from("/usr/share/python-wheels")] {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut wheels: Vec<PathBuf> =
            entries.map(|e| e.path()).filter(|p| name_of(p).starts_with("pip-")).collect();
        wheels.sort();
        if let Some(wheel) = wheels.pop() {
            // A wheel is a zip archive, and Python runs a package in one.
            let pip = own(wheel.join("pip").into());
            if version(&pip.command).is_some() {
                return Ok(pip);
            }
        }
    }
    for program in ["python3", "python"] {
        let command: Vec<OsString> = [program, "-m", "pip"].map(OsString::from).to_vec();
        if version(&command).is_some() {
            return Ok(Pip { command, foreign: true });
        }
    }
    Err(no_pip())
}

fn no_pip() -> Fault {
    Fault::new("pip", "expected a pip, found none in the distribution and none on PATH")
        .hint("install pip for any python3 on PATH")
        .of_kind(Kind::Missing)
}

/// Options that make pip resolve for the distribution instead of the Python that runs it.
fn foreign_tags(distribution: &Distribution) -> Vec<String> {
    let python = &distribution.python;
    let (major, minor) = python.version_info;
    let mut options: Vec<String> = vec!["--only-binary=:all:".to_owned()];
    let mut option = |name: &str, value: &str| options.extend([name.to_owned(), value.to_owned()]);
    option("--implementation", "cp");
    option("--python-version", &format!("{major}.{minor}"));
    for abi in [python.tag.as_str(), "abi3", "none"] {
        option("--abi", abi);
    }
    let machine = distribution.target.split('-').next().unwrap_or_default();
    let (family, newest) = if distribution.target.ends_with("musl") {
        ("musllinux_1", 2)
    } else {
        ("manylinux_2", 36)
    };
    // The newest first, as pip ranks them.
    for minor in (1..=newest).rev().filter(|&minor| newest < 10 || minor >= 5) {
        option("--platform", &format!("{family}_{minor}_{machine}"));
        let older = match (newest, minor) {
            (36, 17) => Some("manylinux2014"),
            (36, 12) => Some("manylinux2010"),
            (36, 5) => Some("manylinux1"),
            _ => None,
        };
        if let Some(older) = older {
            option("--platform", &format!("{older}_{machine}"));
        }
    }
    option("--platform", &format!("linux_{machine}"));
    options
}

/// Adds a requirements file, and those that it includes, to the text of a key.
fn requirements_key(path: &Path, text: &mut String, around: &mut Vec<PathBuf>) -> Result<()> {
    let bytes = fs::read(path).fault_at(path)?;
    let content = String::from_utf8_lossy(&bytes);
    let _ = writeln!(text, "requirements {}", Digest::of(&bytes));
    around.push(path.to_owned());
    for line in content.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let included = ["-r", "--requirement", "-c", "--constraint"]
            .iter()
            .find_map(|option| line.strip_prefix(option))
            .map(|rest| rest.trim_start_matches('=').trim());
        if let Some(name) = included {
            let other = path.parent().unwrap_or(Path::new("")).join(name);
            // What is not there, or an address, is for pip to say.
            if other.is_file() && !around.contains(&other) {
                requirements_key(&other, text, around)?;
            }
        } else {
            let line = line.strip_prefix("--editable").or(line.strip_prefix("-e")).unwrap_or(line);
            let line = line.trim_start_matches('=').trim();
            let _ = writeln!(text, "{}", stamp_of_path_in(line)?);
        }
    }
    Ok(())
}

/// The stamp of the file or folder that a requirement names; empty where it names none.
fn stamp_of_path_in(requirement: &str) -> Result<String> {
    let path = requirement.rsplit_once(" @ ").map_or(requirement, |(_, address)| address);
    let path = path.trim_start_matches("file://");
    let path = Path::new(path.split('[').next().unwrap_or(path));
    let looks_like_one = requirement.contains('/')
        || requirement.starts_with('.')
        || has_suffix(name_of(path), "whl");
    if looks_like_one && path.exists() { stamp(path) } else { Ok(String::new()) }
}

/// Whether a folder is what builds and tools leave in a project: it changes with every build.
pub(crate) fn is_made_by_tools(folder: &Path) -> bool {
    const NAMES: [&str; 6] = ["build", "dist", "__pycache__", ".git", ".venv", ".tox"];
    let name = name_of(folder);
    NAMES.contains(&name) || name.ends_with(".egg-info")
}

/// Changes when a file changes, or any file below a folder.
fn stamp(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).fault_at(path)?;
    if metadata.is_file() {
        let file = fs::File::open(path).fault_at(path)?;
        return Ok(Digest::of_reader(file).fault_at(path)?.0.to_string());
    }
    let mut lines = Vec::new();
    // A version may come from the repository.
    let repository = path.join(".git");
    let mut pending = vec![path.to_owned(), repository.join("refs")];
    pending.retain(|folder| folder.is_dir());
    for file in ["HEAD", "packed-refs"] {
        if let Ok(bytes) = fs::read(repository.join(file)) {
            lines.push(format!("{file} {}", Digest::of(&bytes)));
        }
    }
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).fault_at(&folder)? {
            let entry = entry.fault_at(&folder)?;
            let (path, metadata) = (entry.path(), entry.metadata().fault_at(&entry.path())?);
            if metadata.is_dir() && !is_made_by_tools(&path) {
                pending.push(path);
            } else if metadata.is_file() {
                let changed = metadata.modified().ok();
                lines.push(format!("{} {} {changed:?}", path.display(), metadata.len()));
            }
        }
    }
    lines.sort();
    Ok(Digest::of(lines.join("\n").as_bytes()).to_string())
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
