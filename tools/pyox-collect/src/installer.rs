//! Who resolves and installs projects: uv where it is on PATH, because it takes a tenth of the time, or pip.
//!
//! Both get the same requirements, the same indexes and an empty folder, and leave the same files. The distribution's own pip
//! is preferred to others; without one, another Python's pip is told to take wheels for the distribution's tags. So it is where
//! the distribution is for another machine, and no emulator runs its Python.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use pyox_schema::Distribution;
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};
use serde::Deserialize;

use crate::inline::Indexes;
use crate::pip_config;
use crate::projects::name_of;

/// Who installs projects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Installer {
    /// uv where it is on PATH, else pip.
    #[default]
    Any,
    /// pip, the distribution's own before others.
    Pip,
    /// uv.
    Uv,
}

/// An installer that can be run.
pub(crate) struct Tool {
    program: Program,
    /// Whether it may download nothing.
    is_offline: bool,
}

enum Program {
    Uv(PathBuf),
    Pip {
        command: Vec<OsString>,
        /// Whether it belongs to another Python than the distribution's.
        foreign: bool,
    },
}

impl Tool {
    /// Finds one.
    pub(crate) fn find(
        wanted: Installer,
        is_offline: bool,
        distribution: &Distribution,
    ) -> Result<Self> {
        Ok(Self { program: Program::find(wanted, distribution)?, is_offline })
    }

    pub(crate) fn is_uv(&self) -> bool {
        matches!(self.program, Program::Uv(_))
    }

    /// uv's option to build folders again, whatever it has built of them before.
    pub(crate) fn rebuild(&self) -> &'static str {
        // Offline it refuses the first, and does with the second what the first does.
        if self.is_offline { "--reinstall" } else { "--refresh" }
    }

    /// Installs into the folder `prefix` as into a Python of its own, or where that cannot be into `target`, as modules;
    /// whether it was the former. `options` say what.
    pub(crate) fn install(
        &self,
        distribution: &Distribution,
        indexes: &Indexes,
        prefix: &Path,
        target: &Path,
        options: Vec<OsString>,
        ui: &dyn Reporter,
    ) -> Result<bool> {
        let (name, is_foreign, mut command) = match &self.program {
            Program::Uv(uv) => ("uv", false, uv_command(uv, distribution, indexes, prefix)),
            Program::Pip { command, foreign } => {
                let command =
                    pip_command(command, *foreign, distribution, indexes, prefix, target)?;
                ("pip", *foreign, command)
            }
        };
        if self.is_offline {
            command.arg(if self.is_uv() { "--offline" } else { "--no-index" });
            without_network(&mut command);
        }
        command.args(options).stdin(Stdio::null());
        // A distribution in the cache stays as it was made.
        without_settings(&mut command).env("PYTHONDONTWRITEBYTECODE", "1");
        ui.detail(format_args!("{command:?}"));
        let output = watched(&mut command, name, ui).fault(name)?;
        for bytes in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(bytes).lines() {
                ui.detail(format_args!("{name}: {line}"));
            }
        }
        if output.status.success() {
            return Ok(!is_foreign);
        }
        let said = if self.is_uv() { uv_explanation(&output) } else { explanation(&output) };
        let hint = if self.is_offline {
            match self.program {
                Program::Uv(_) => "nothing may be downloaded, and uv's cache does not have all of it",
                Program::Pip { .. } => {
                    "nothing may be downloaded: name a folder with wheels in PIP_FIND_LINKS, or have uv on PATH, which takes what \
                     its cache has"
                }
            }
            .to_owned()
        } else if is_foreign {
            "the distribution has no pip of its own that runs here, so that only wheels will do"
                .to_owned()
        } else {
            format!("-v shows all that {name} says")
        };
        let program = command.get_program().to_string_lossy().into_owned();
        let kind = Kind::Command { program, status: output.status };
        Err(Fault::new(name, said).hint(hint).of_kind(kind))
    }
}

impl Program {
    fn find(wanted: Installer, distribution: &Distribution) -> Result<Self> {
        if wanted == Installer::Pip {
            return find_pip(distribution);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let uv =
            env::split_paths(&path).map(|folder| folder.join("uv")).find(|path| path.is_file());
        match uv {
            // It asks the Python for its tags.
            Some(uv) if wanted == Installer::Uv || runs(distribution) => Ok(Self::Uv(uv)),
            _ if wanted == Installer::Any => find_pip(distribution),
            _ => Err(Fault::new("uv", "expected uv on PATH, found none")
                .hint("`pip install uv` brings it; without --installer pip will do")
                .of_kind(Kind::Missing)),
        }
    }
}

/// Keeps from the network what an installer starts or is told to fetch: a proxy that nobody is at, for addresses and build
/// backends, and for git no protocol but that of files. What pip has in its cache, it takes nevertheless.
fn without_network(command: &mut Command) {
    // The port of `discard`.
    const NOBODY: &str = "http://127.0.0.1:9";
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, NOBODY).env(name.to_uppercase(), NOBODY);
    }
    for name in ["no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.env("PIP_PROXY", NOBODY).env("PIP_RETRIES", "0");
    command.env("GIT_ALLOW_PROTOCOL", "file").env("CARGO_NET_OFFLINE", "true");
}

/// Whether the distribution's Python can be run. That of this machine can.
fn runs(distribution: &Distribution) -> bool {
    distribution.machine() == env::consts::ARCH
        || Command::new(distribution.path(&distribution.paths.executable))
            .args(["-ISB", "-c", ""])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
}

/// Runs an installer to its end, and shows meanwhile what it is at.
fn watched(command: &mut Command, name: &str, ui: &dyn Reporter) -> io::Result<Output> {
    // What a line that tells of a step begins with.
    const STEPS: [&str; 11] = [
        "Collecting",
        "Downloading",
        "Cloning",
        "Installing",
        "Getting",
        "Preparing",
        "Building",
        "Resolved",
        "Prepared",
        "Updating",
        "Created",
    ];
    let task = ui.begin(None, &format!("{name} resolves and installs"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut out, mut errors) = (child.stdout.take(), child.stderr.take());
    let keep = |stream: Option<&mut dyn Read>| {
        let mut all = Vec::new();
        let Some(stream) = stream else { return all };
        let mut lines = BufReader::new(stream);
        loop {
            let before = all.len();
            match lines.read_until(b'\n', &mut all) {
                Ok(1..) => {}
                _ => return all,
            }
            let line = String::from_utf8_lossy(&all[before..]);
            let line = line.trim();
            if STEPS.iter().any(|step| line.starts_with(step)) {
                let shown: String =
                    line.split(" (").next().unwrap_or(line).chars().take(60).collect();
                task.describe(&format!("{name}: {shown}"));
            }
        }
    };
    let (stdout, stderr) = thread::scope(|scope| {
        let other = scope.spawn(|| keep(errors.as_mut().map(|stream| stream as &mut dyn Read)));
        let stdout = keep(out.as_mut().map(|stream| stream as &mut dyn Read));
        // A thread that panicked is a bug, which its own message reports.
        (stdout, other.join().unwrap_or_default())
    });
    Ok(Output { status: child.wait()?, stdout, stderr })
}

fn uv_command(uv: &Path, distribution: &Distribution, indexes: &Indexes, prefix: &Path) -> Command {
    let mut command = Command::new(uv);
    for name in ["UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PREFIX", "UV_TARGET"] {
        command.env_remove(name);
    }
    command
        .args(["pip", "install", "--no-progress", "--color", "never", "--no-sources", "--prefix"])
        .arg(prefix)
        .arg("--python")
        .arg(distribution.path(&distribution.paths.executable))
        // A cached file with several names would be a changed file whenever it gets another one.
        .args(["--link-mode", "copy"])
        // Of several indexes pip takes the best version, wherever it is.
        .args(["--index-strategy", "unsafe-best-match"])
        .args(pip_config::options(indexes, distribution));
    command
}

fn pip_command(
    pip: &[OsString],
    foreign: bool,
    distribution: &Distribution,
    indexes: &Indexes,
    prefix: &Path,
    target: &Path,
) -> Result<Command> {
    let (program, arguments) = pip.split_first().ok_or_else(no_pip)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["install", "--no-compile", "--no-input", "--disable-pip-version-check"])
        .args(["--no-warn-script-location", "--no-color", "--progress-bar", "off"]);
    pip_config::apply(&mut command, distribution);
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    if foreign {
        // It refuses tags of another Python without `--target`.
        command.arg("--target").arg(target).args(foreign_tags(distribution));
    } else {
        command.arg("--ignore-installed").arg("--prefix").arg(prefix);
    }
    command.args(indexes.options());
    Ok(command)
}

/// What uv says is wrong, as one line: its errors, or what a build backend has said last.
fn uv_explanation(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let trimmed = |line: &'_ str| line.trim_matches([' ', '×', '│', '├', '─', '▶', '╰']).to_owned();
    let lines: Vec<String> = errors.lines().map(trimmed).filter(|line| !line.is_empty()).collect();
    let start = lines.iter().position(|line| line.starts_with("error:"));
    let start = start.or_else(|| {
        errors.lines().filter(|line| !line.trim().is_empty()).position(|line| line.contains('×'))
    });
    let Some(start) = start else {
        return format!(
            "{}: {}",
            output.status,
            lines.last().map_or("it says nothing", String::as_str)
        );
    };
    let said = lines[start..].iter().take_while(|line| !line.starts_with("hint:"));
    let said: Vec<&str> = said
        .map(|line| line.trim_start_matches("error:").trim_start_matches("cause:").trim())
        .collect();
    match said.iter().position(|line| matches!(*line, "[stderr]" | "[stdout]")) {
        Some(_) => format!("{}: {}", said[0], said[said.len() - 1]),
        None => said.join("; "),
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
fn find_pip(distribution: &Distribution) -> Result<Program> {
    let python = distribution.path(&distribution.paths.executable);
    // `-B`: a distribution in the cache stays as it was made. `-I`: no code of the working folder runs.
    let own = |module: OsString| vec![python.clone().into(), "-IB".into(), module];
    let version = |command: &[OsString]| {
        let (program, arguments) = command.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--version").stdin(Stdio::null());
        without_settings(&mut command).env("PIP_CONFIG_FILE", "/dev/null");
        command.output().ok().filter(|output| output.status.success())
    };
    let mut isolated: Vec<OsString> = ["-IB", "-m", "pip"].map(OsString::from).to_vec();
    isolated.insert(0, python.clone().into());
    if version(&isolated).is_some() {
        return Ok(Program::Pip { command: isolated, foreign: false });
    }
    let stdlib = distribution.path(&distribution.paths.stdlib);
    let bundled = stdlib.join("ensurepip/_bundled");
    // Debian's, of its own installation and of this machine.
    let debian = stdlib.join("../../share/python-wheels");
    for folder in [bundled, debian, PathBuf::from("/usr/share/python-wheels")] {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut wheels: Vec<PathBuf> =
            entries.map(|e| e.path()).filter(|p| name_of(p).starts_with("pip-")).collect();
        wheels.sort();
        if let Some(wheel) = wheels.pop() {
            // A wheel is a zip archive, and Python runs a package in one.
            let command = own(wheel.join("pip").into());
            if version(&command).is_some() {
                return Ok(Program::Pip { command, foreign: false });
            }
        }
    }
    for program in ["python3", "python"] {
        let command: Vec<OsString> = [program, "-IB", "-m", "pip"].map(OsString::from).to_vec();
        if version(&command).is_some() {
            return Ok(Program::Pip { command, foreign: true });
        }
    }
    Err(no_pip())
}

/// Takes away what the user has told Python by variables: modules of other folders, options, and much else.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PYTHON") {
            command.env_remove(name);
        }
    }
    command
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
    option("--abi", &python.tag);
    // A debug build loads what others do.
    if let Some(tag) = python.tag.strip_suffix('d') {
        option("--abi", tag);
    }
    for abi in ["abi3", "none"] {
        option("--abi", abi);
    }
    let machine = distribution.machine();
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
