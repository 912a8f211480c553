//! `pyox`: the driver that people type.

mod summary;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args as ClapArgs, Parser, Subcommand};
use pyox::collect::Installer;
use pyox::init::{self, Change};
use pyox::link::Emit;
use pyox::{BuildOptions, Built, Project, build};
use pyox_cli::{Answer, Common, Result, output};
use pyox_schema::LinkMode;
use pyox_stage::{Fault, FaultExt, Reporter, cache, files, shown};

/// Turns a Python application into one executable
#[derive(Debug, Parser)]
#[command(name = "pyox", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Args {
    #[command(subcommand)]
    command: Task,
    #[command(flatten)]
    common: Common,
}

const AFTER_HELP: &str = "\
Examples:
  pyox build app.py          a script, with what it says about itself (PEP 723)
  pyox build                 the project in this folder
  pyox run -- --help         builds it and runs it
  pyox collect --help        a stage of the chain, as pyox-collect";

#[derive(Debug, Subcommand)]
enum Task {
    /// Make the executables of a script or a project
    Build(BuildArgs),
    /// Make an executable and run it
    Run {
        #[command(flatten)]
        build: BuildArgs,
        /// Arguments for it, behind `--`
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<OsString>,
    },
    /// Begin a new application in a folder of that name
    Init {
        /// The folder, and the name of the application
        name: PathBuf,
        /// A Rust program with Python in it
        #[arg(long)]
        rust: bool,
        /// The Python that it is compiled for, as pyox-fetch takes it
        #[arg(long, value_name = "SPEC", default_value = "host", requires = "rust")]
        python: String,
    },
    /// Prepare a Rust or Python project that is there; it can be done again
    Add {
        /// The project's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The Python that a Rust program is compiled for, as pyox-fetch takes it
        #[arg(long, value_name = "SPEC", default_value = "host")]
        python: String,
    },
    /// Remove the executables that `pyox build` has made
    Clean {
        /// The project's folder or script
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Tell what is missing here, and how to get it
    Doctor,
    /// Tell where the cache is and how large its parts are
    #[command(args_conflicts_with_subcommands = true)]
    Cache {
        /// Remove all that is in it
        #[arg(long)]
        clear: bool,
        #[command(subcommand)]
        task: Option<CacheTask>,
    },
    /// Print the path of rules for Make: `include $(shell pyox makefile)`
    Makefile,
    /// `fetch`, `collect`, `pack`, `link` and `inspect` run that stage
    #[command(external_subcommand)]
    Stage(Vec<OsString>),
}

#[derive(Debug, Subcommand)]
enum CacheTask {
    /// Read all that is in it, tell what is damaged, and remove that; it is made again when it is needed
    Verify,
}

#[derive(Debug, ClapArgs)]
// Each is an option of the command line.
#[allow(clippy::struct_excessive_bools)]
struct BuildArgs {
    /// A script, or a folder with a pyproject.toml, a pyox.toml or a pyoxidizer.toml
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The Python to embed, as pyox-fetch takes it; of several the first that can be had
    #[arg(long, value_name = "SPEC")]
    python: Vec<String>,
    /// Make it for another machine, such as aarch64-unknown-linux-gnu, with the archive of cpython@3.X for that, or with a Python for
    /// it that is named by --python
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Link libc and all: the executable needs nothing but the kernel
    #[arg(long = "static", conflicts_with = "dynamic")]
    static_: bool,
    /// Use the platform's loader and libc: the executable can load extension modules
    #[arg(long)]
    dynamic: bool,
    /// How much of the executables' start is done beforehand, see docs/snapshot.md: `none`, `interpreter`, `stdlib` or
    /// `application` [default: interpreter, where there can be a snapshot]
    #[arg(long, value_name = "LEVEL", conflicts_with = "emit")]
    snapshot: Option<pyox::Snapshot>,
    /// Compress everything as well as that goes: the smallest executables, slower start and imports
    #[arg(long)]
    small: bool,
    /// Make only the program of that name
    #[arg(long, value_name = "NAME")]
    program: Vec<String>,
    /// Make one executable of all programs, which answers by the name that it is called by
    #[arg(long)]
    multicall: bool,
    /// Take an extra of the project too
    #[arg(long, value_name = "NAME")]
    extra: Vec<String>,
    /// Take a dependency group of the project too
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// Write the one executable to a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "folder")]
    output: Option<PathBuf>,
    /// Write the executables to a folder [default: dist in the project's folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Write something else into a folder: `artifacts` for another build system, `staticlib` or `cdylib`
    #[arg(long, num_args = 2, value_names = ["KIND", "DIR"], conflicts_with_all = ["output", "folder"])]
    emit: Option<Vec<String>>,
    /// Resolve and install dependencies again
    #[arg(long)]
    upgrade: bool,
    /// Download nothing: take what the caches have, and folders of wheels
    #[arg(long, conflicts_with = "upgrade")]
    offline: bool,
    /// Who installs projects: uv where it is on PATH, else pip
    #[arg(long, value_name = "NAME")]
    installer: Option<Installer>,
    /// How many jobs to run at once; by default one for each core
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox", |args: &Args| &args.common, run)
}

fn run(args: &Args, reporter: &dyn Reporter) -> Result<Answer> {
    match &args.command {
        Task::Build(build) => {
            for built in build.build(reporter)? {
                output::text(None, format!("{}\n", summary::summary(&built)).as_bytes())?;
            }
        }
        Task::Run { build, arguments } => {
            let built = build.build(reporter)?;
            let [built] = built.as_slice() else {
                let names: Vec<_> =
                    built.iter().filter_map(|built| built.path.file_name()).collect();
                let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
                let what = format!("expected one program to run, got {}", built.len());
                return Err(Fault::new("pyox run", what)
                    .hint(format_args!("choose one by --program: {}", names.join(", "))));
            };
            return Err(Command::new(&built.path).args(arguments).exec()).fault_at(&built.path);
        }
        Task::Init { name, rust, python } => {
            let changes = if *rust {
                init::rust_program(name, &python_of(python, reporter)?)?
            } else {
                init::application(name)?
            };
            let next = if *rust { "cargo run" } else { "pyox run" };
            let name = name.display();
            show_changes(&name.to_string(), &changes, &format!("cd {name} && {next}"))?;
        }
        Task::Add { path, python } => {
            let changes = init::add(path, || python_of(python, reporter))?;
            let is_rust = path.join("Cargo.toml").is_file();
            let next = if is_rust { "cargo build" } else { "pyox build" };
            show_changes(&path.display().to_string(), &changes, next)?;
        }
        Task::Clean { path } => clean(path, reporter)?,
        Task::Doctor => return doctor(reporter),
        Task::Cache { task: Some(CacheTask::Verify), .. } => return verify_cache(),
        Task::Cache { clear, task: None } => show_cache(*clear)?,
        Task::Makefile => {
            // Make includes files.
            let path = cache::folder("documents")?.join("pyox.mk");
            files::write(&path, include_bytes!("pyox.mk"))?;
            output::text(None, format!("{}\n", path.display()).as_bytes())?;
        }
        Task::Stage(words) => return Err(stage(words)),
    }
    Ok(Answer::Done)
}

impl BuildArgs {
    fn build(&self, reporter: &dyn Reporter) -> Result<Vec<Built>> {
        let target = self.target.as_deref();
        let project = Project::open_with(&self.path, &self.extra, &self.group, target, reporter)?;
        // A script's executable belongs to whoever builds it, and not into the script's folder.
        let beside = (!self.path.is_dir()).then(|| PathBuf::from("dist"));
        let options = BuildOptions {
            python: self.python.clone(),
            target: self.target.clone(),
            mode: match (self.static_, self.dynamic) {
                (true, _) => Some(LinkMode::Static),
                (_, true) => Some(LinkMode::Dynamic),
                _ => None,
            },
            programs: self.program.clone(),
            folder: self.folder.clone().or(beside),
            output: self.output.clone(),
            emit: match self.emit.as_deref() {
                Some([kind, folder]) => Some((kind.parse::<Emit>()?, folder.into())),
                _ => None,
            },
            multicall: self.multicall,
            snapshot: self.snapshot,
            small: self.small,
            upgrade: self.upgrade,
            offline: self.offline,
            installer: self.installer,
            jobs: self.jobs,
        };
        build(&project, &options, reporter)
    }
}

/// What a Rust program has to know of the Python that it is compiled for.
fn python_of(spec: &str, reporter: &dyn Reporter) -> Result<init::Python, Fault> {
    let specs = [pyox::fetch::Spec::parse(spec)?];
    let found = pyox::fetch::fetch(&specs, &pyox::fetch::Options::default(), reporter)?;
    let (version, tag) = (found.python.version, found.python.tag);
    Ok(init::Python { spec: spec.to_owned(), version, tag })
}

fn show_changes(place: &str, changes: &[Change], next: &str) -> Result<()> {
    let mut text = String::new();
    let made: Vec<&str> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Made(file) => Some(file.as_str()),
            _ => None,
        })
        .collect();
    // Writing to a string cannot fail.
    if changes.is_empty() {
        let _ = writeln!(text, "{place}: nothing to do");
    }
    if !made.is_empty() {
        let _ = writeln!(text, "{place}: made {}", made.join(", "));
    }
    for change in changes {
        let _ = match change {
            Change::Made(_) => Ok(()),
            Change::Renewed(file) => writeln!(text, "{place}: brought {file} up to date"),
            Change::Added(file, what) => writeln!(text, "{place}: added {what} to {file}"),
            Change::Asked(file, what) => writeln!(text, "{place}: {file} is yours: add {what}"),
        };
    }
    let _ = writeln!(text, "next: {next}");
    output::text(None, text.as_bytes())
}

/// Becomes the program of a stage; gives what went wrong.
fn stage(words: &[OsString]) -> Fault {
    const STAGES: [&str; 6] = ["fetch", "collect", "pack", "link", "snapshot", "inspect"];
    let (name, arguments) = words
        .split_first()
        .map_or((String::new(), words), |(name, rest)| (name.to_string_lossy().into_owned(), rest));
    if !STAGES.contains(&name.as_str()) {
        let what = format!("expected a command that is known, got `{name}`");
        return Fault::new("pyox", what).hint("`pyox --help` shows all of them");
    }
    let program = format!("pyox-{name}");
    let beside = env::current_exe().map(|own| own.with_file_name(&program));
    let path = beside.ok().filter(|path| path.is_file()).unwrap_or_else(|| program.clone().into());
    let error = Command::new(path).args(arguments).exec();
    Fault::new(program, &error).hint("it lies beside pyox, or on PATH").caused_by(error)
}

fn clean(path: &Path, reporter: &dyn Reporter) -> Result<()> {
    let project = Project::open(path, reporter)?;
    let folder = if path.is_dir() { project.root.join("dist") } else { PathBuf::from("dist") };
    let programs = project.programs.iter().map(|program| &program.name);
    // One that is several programs has the project's name.
    for name in programs.chain([&project.name]) {
        let file = folder.join(name);
        // Nothing else that bears the name is touched.
        if pyox::link::is_executable(&file) {
            std::fs::remove_file(&file).fault_at(&file)?;
            output::text(None, format!("{}: removed\n", file.display()).as_bytes())?;
        }
    }
    for file in project.archives(&folder).into_iter().filter(|file| file.is_file()) {
        std::fs::remove_file(&file).fault_at(&file)?;
        output::text(None, format!("{}: removed\n", file.display()).as_bytes())?;
    }
    Ok(())
}

fn doctor(reporter: &dyn Reporter) -> Result<Answer> {
    let mut is_well = true;
    let mut say = |good: bool, what: &str| {
        is_well &= good;
        output::text(
            None,
            format!("{} {what}\n", if good { "ok     " } else { "missing" }).as_bytes(),
        )
    };
    let options = pyox::fetch::Options { project: Some(".".into()), ..Default::default() };
    match pyox::fetch::fetch(&[pyox::fetch::Spec::parse("host")?], &options, reporter) {
        Ok(found) => {
            let python = &found.python;
            say(true, &format!("a Python to embed: {} {}", python.version, found.root.display()))?;
            let runtime = pyox::link::find_runtime(&found.target, &python.tag);
            say(
                runtime.is_ok(),
                &match &runtime {
                    Ok(path) => format!("the run-time library: {}", path.display()),
                    Err(fault) => fault.to_string(),
                },
            )?;
        }
        Err(fault) => {
            say(false, &format!("a Python to embed: {fault}"))?;
            if let Some(hint) = fault.way_out() {
                say(true, &format!("to get one: {hint}"))?;
            }
        }
    }
    let compiler = Command::new("cc").arg("--version").output();
    let compiler = compiler.ok().filter(|done| done.status.success());
    let said = compiler.as_ref().map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
    say(
        compiler.is_some(),
        &match said.as_deref().and_then(|said| said.lines().next()) {
            Some(line) => format!("a C compiler, for the first executable of a Python: {line}"),
            None => {
                "a C compiler, for the first executable of a Python: on Debian, apt-get install gcc"
                    .into()
            }
        },
    )?;
    say(true, &format!("the cache: {}", cache::root()?.display()))?;
    Ok(if is_well { Answer::Done } else { Answer::No })
}

fn show_cache(clear: bool) -> Result<()> {
    let root = cache::root()?;
    let mut text = format!("{}\n", root.display());
    for (name, size) in cache::parts()? {
        if clear {
            cache::remove(&name)?;
        }
        let done = if clear { "removed " } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<14} {done}{:>9.1} MiB", mib(size));
    }
    output::text(None, text.as_bytes())
}

/// Answers no if something was damaged.
fn verify_cache() -> Result<Answer> {
    let root = cache::root()?;
    let mut text = format!("{}\n", root.display());
    let mut is_whole = true;
    for (name, found) in pyox::verify_cache()? {
        let _ = write!(text, "  {name:<14} {:>6} whole", found.whole);
        if found.unknown > 0 {
            let _ = write!(text, ", {} with nothing to tell by", found.unknown);
        }
        text.push('\n');
        for (path, why) in found.damaged {
            is_whole = false;
            let path = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let _ = writeln!(text, "  {}: damaged, and removed: {}", shown(&path), shown(&why));
        }
    }
    output::text(None, text.as_bytes())?;
    Ok(if is_whole { Answer::Done } else { Answer::No })
}

#[allow(clippy::cast_precision_loss)] // It is rounded to a digit.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
