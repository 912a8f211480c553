//! `pyox-fetch SPEC…`: obtains a distribution and writes its document.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, Result, output};
use pyox_fetch::{Options, Spec};
use pyox_schema::{Digest, Document};
use pyox_stage::Reporter;

/// Obtain a Python distribution and print its document
#[derive(Debug, Parser)]
#[command(name = "pyox-fetch", version, after_help = AFTER_HELP)]
struct Args {
    /// Where it comes from; of several the first that can be had
    #[arg(required = true, value_name = "SPEC")]
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
    #[command(flatten)]
    common: Common,
}

const AFTER_HELP: &str = "\
SPEC is one of
  host            the first Python 3.11 to 3.15 of this machine that has its library: of VIRTUAL_ENV, PATH,
                  uv, pyenv, conda; .python-version and requires-python of the project choose
  host@3.X        the same of that version, whatever the project says
  host:PYTHON     the Python with that path
  uv, uv@3.X      the newest that uv has installed, or of that version
  source@3.X      built from CPython's source, and kept
  source:TARBALL  built from that release tarball, and kept
  cpython@3.X     a release of python-build-standalone (not yet)
  PATH            an archive in python-build-standalone's full format (.tar.zst, .tar.gz), or its
                  unpacked folder
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
        ..defaults
    };
    let distribution = pyox_fetch::fetch(&specs, &options, reporter)?;
    output::text(args.output.as_deref(), &distribution.to_json())?;
    Ok(Answer::Done)
}
