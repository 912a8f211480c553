//! `pyox-fetch SPEC…`: obtains a distribution and writes its document.
//!
//! Of several SPECs it takes the first that can be had, so that a script can name what it prefers and
//! what it accepts. The document goes to stdout or `-o`, and is kept in the cache under its digest,
//! where later stages find it.

mod archive;
mod files;
mod host;
mod python_json;
mod source;
mod spec;
mod stdlib;
mod store;
mod toolchain;
mod unpack;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Error;
use clap::Parser;
use pyox_cli::{Answer, Common, Fault, Result, Ui, cache, output};
use pyox_schema::{Digest, Distribution, Document};

use pyox_distribution::Source;
use spec::Spec;

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
    jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    common: Common,
}

impl Args {
    fn jobs(&self) -> usize {
        self.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, Into::into)
    }
}

const AFTER_HELP: &str = "\
SPEC is one of
  host            the first Python 3.11 to 3.14 on PATH that has a static library
  host:PYTHON     the Python with that path
  source@3.X      built from CPython's source, and kept
  source:TARBALL  built from that release tarball, and kept
  cpython@3.X     a release of python-build-standalone (not yet)
  PATH            an archive in python-build-standalone's full format (.tar.zst, .tar.gz), or its
                  unpacked folder";

fn main() -> ExitCode {
    pyox_cli::run("pyox-fetch", |args: &Args| &args.common, run)
}

fn run(args: &Args, ui: &Ui) -> Result<Answer> {
    // All are read first: a mistake in the last one should not wait for a build of the first.
    let specs = args.specs.iter().map(|spec| Spec::parse(spec)).collect::<Result<Vec<_>, _>>()?;
    check_options(&specs, args)?;
    let distribution = first(&specs, args, ui)?;
    if distribution.root.to_str().is_none() {
        // JSON is Unicode, and a document that is not exact is worth nothing.
        return Err(Fault::at(&distribution.root, "expected a path in UTF-8")
            .hint("set PYOX_CACHE_DIR to a folder with such a path")
            .into());
    }
    cache::remember(&distribution)?;
    output::text(args.output.as_deref(), &distribution.to_json())?;
    Ok(Answer::Done)
}

/// Refuses options that would have no effect: whoever gives a digest relies on its check.
fn check_options(specs: &[Spec], args: &Args) -> Result<(), Fault> {
    let none = |fits: fn(&Spec) -> bool| !specs.iter().any(fits);
    if args.sha256.is_some() && none(|s| matches!(s, Spec::Path(_) | Spec::SourceTarball(_))) {
        let what = "expected the path of an archive or source:TARBALL to check, got neither";
        return Err(Fault::new("--sha256", what));
    }
    if args.pgo && none(|s| matches!(s, Spec::SourceVersion(_) | Spec::SourceTarball(_))) {
        return Err(Fault::new("--pgo", "expected source@3.X or source:TARBALL, got neither"));
    }
    Ok(())
}

/// The first distribution that can be had.
fn first(specs: &[Spec], args: &Args, ui: &Ui) -> Result<Distribution> {
    let mut reasons = Vec::new();
    let mut last = None;
    for (at, spec) in specs.iter().enumerate() {
        match fetch(spec, args, ui) {
            Ok(distribution) => {
                if specs.len() > 1 {
                    let version = &distribution.python.version;
                    ui.note(format_args!("{spec}: taken, CPython {version}"));
                }
                return Ok(distribution);
            }
            Err(error) => {
                let reason = with_place(spec, &error);
                // Said at once, because the next one may take minutes.
                if at + 1 < specs.len() {
                    ui.note(format_args!("{reason}; trying the next"));
                }
                reasons.push(reason);
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if specs.len() == 1 => Err(error),
        last => {
            let fault = Fault::new("none can be had", reasons.join("; "));
            let last: Option<&Fault> = last.as_ref().and_then(Error::downcast_ref);
            Err(match last.and_then(Fault::way_out) {
                Some(hint) => fault.hint(hint).into(),
                None => fault.into(),
            })
        }
    }
}

/// An error with its SPEC in front, unless that is its place already.
fn with_place(spec: &Spec, error: &Error) -> String {
    let (spec, error) = (spec.to_string(), format!("{error:#}"));
    if error.starts_with(&spec) { error } else { format!("{spec}: {error}") }
}

fn fetch(spec: &Spec, args: &Args, ui: &Ui) -> Result<Distribution> {
    match spec {
        Spec::Host(None) => host::find(ui),
        Spec::Host(Some(path)) => host::describe(path),
        Spec::Path(path) => archive::open(path, args.sha256.as_ref(), ui),
        Spec::SourceVersion(version) => {
            let source = Source::Version(version.clone());
            source::build(&spec.to_string(), source, args.pgo, args.jobs(), ui)
        }
        Spec::SourceTarball(path) => {
            source::check(path, args.sha256.as_ref())?;
            source::build("source", Source::Tarball(path.clone()), args.pgo, args.jobs(), ui)
        }
        Spec::Release(version) => {
            Err(Fault::new(spec, "python-build-standalone's releases cannot be downloaded yet")
                .hint(format_args!(
                    "download a full archive and name its path, or use source@{version} or host"
                ))
                .into())
        }
    }
}
