//! `pyox-fetch SPEC…`: obtains a distribution and writes its document.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, Result, output};
use pyox_fetch::{LockFile, Options, Spec};
use pyox_schema::{Digest, Document};
use pyox_stage::Reporter;

/// Obtain a Python distribution and print its document
#[derive(Debug, Parser)]
#[command(name = "pyox-fetch", version, after_help = AFTER_HELP)]
struct Args {
    /// Where it comes from; of several the first that can be had
    #[arg(required_unless_present = "list", value_name = "SPEC")]
    specs: Vec<String>,
    /// Write the document to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The archive's or tarball's SHA-256, checked before anything in it is looked at
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// Build source@… with profile-guided and link-time optimisation (takes ten times as long)
    #[arg(long)]
    pgo: bool,
    /// How many compilers run at once [default: one for each core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Download nothing
    #[arg(long)]
    offline: bool,
    /// List the archives that cpython@… may mean, and fetch none
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    releases: Releases,
}

/// Which of python-build-standalone's archives, and from where.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Releases of python-build-standalone")]
struct Releases {
    /// Take an archive for another machine [default: this one]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Take another archive than `install_only_stripped`: `full` for the best full one, or one by its name, as
    /// --list has it
    #[arg(long, value_name = "NAME")]
    flavor: Option<String>,
    /// Download from URL/DATE/NAME in place of GitHub [env: `PYOX_PYTHON_MIRROR`, `UV_PYTHON_INSTALL_MIRROR`]
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Obey FILE, and note there what is chosen [default: pyox.lock]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Obey no lock file, and write none
    #[arg(long, conflicts_with = "lock")]
    no_lock: bool,
    /// Choose anew, whatever the lock file says
    #[arg(long)]
    upgrade: bool,
}

const AFTER_HELP: &str = "\
SPEC is one of
  host            the first Python 3.11 to 3.15 of this machine with its library: of VIRTUAL_ENV,
                  PATH, uv, pyenv, conda; .python-version and requires-python of the project choose
  host@3.X        the same of that version, whatever the project says
  host:PYTHON     the Python with that path
  uv, uv@3.X      the newest that uv has installed, or of that version
  source@3.X      built from CPython's source, and kept: the newest release that can be had
  source@3.X.Y    that release
  source@3.X+debug  that with CPython's assertions, for tests of pyox itself
  source@3.X+lto    that by clang with link-time optimisation, for tests too
  source:TARBALL  built from that release tarball, and kept
  cpython@3.X     downloaded from python-build-standalone's latest release, and noted in pyox.lock;
                  cpython@3.X.Y a certain version, cpython@3.X+20260814 a certain release
  PATH            such an archive (.tar.gz, .tar.zst), or its unpacked folder
  https://…       the address of such an archive, with its digest by --sha256; kept";

fn main() -> ExitCode {
    pyox_cli::run("pyox-fetch", |args: &Args| &args.common, run)
}

fn run(args: &Args, reporter: &dyn Reporter) -> Result<Answer> {
    // All are read first: a mistake in the last one should not wait for a build of the first.
    let specs: Vec<_> =
        args.specs.iter().map(|spec| Spec::parse(spec)).collect::<pyox_stage::Result<_>>()?;
    let defaults = Options::default();
    let options = Options {
        sha256: args.sha256,
        pgo: args.pgo,
        jobs: args.jobs.unwrap_or(defaults.jobs),
        project: Some(PathBuf::from(".")),
        offline: args.offline,
        target: args.releases.target.clone(),
        flavor: args.releases.flavor.clone(),
        mirror: args.releases.mirror.clone(),
        lock: match &args.releases.lock {
            _ if args.releases.no_lock => LockFile::Unused,
            Some(path) => LockFile::At(path.clone()),
            None => LockFile::OfProject,
        },
        upgrade: args.releases.upgrade,
        ..defaults
    };
    if args.list {
        return list(&specs, &options, args.output.as_deref(), reporter);
    }
    let distribution = pyox_fetch::fetch(&specs, &options, reporter)?;
    output::text(args.output.as_deref(), &distribution.to_json())?;
    Ok(Answer::Done)
}

/// Lists the archives of each SPEC; of all of CPython 3 if there is none.
fn list(
    specs: &[Spec],
    options: &Options,
    output: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<Answer> {
    let all = [Spec::Release("3".to_owned(), None)];
    let mut text = String::new();
    for spec in if specs.is_empty() { &all } else { specs } {
        for line in pyox_fetch::list(spec, options, reporter)? {
            text.push_str(&line);
            text.push('\n');
        }
    }
    output::text(output, text.as_bytes())?;
    Ok(Answer::Done)
}
