//! `pyox-link`: blob in, executable out.
//!
//! Linking is split in two. A *runner*, `pyembed` and a distribution's libpython with room for a blob, is
//! linked once for a distribution and a mode, and kept in the cache. Joining a blob to it is writing a
//! file: no compiler, no linker, some ten milliseconds.
//!
//! [`plan`] decides between static and dynamic and lists what the linker needs, [`runner`] links or finds
//! the runner, [`join`] puts the blob into its section, [`beside`] writes the folder that some packages
//! want next to it, and [`artifacts`] writes the parts for another build
//! system instead.

mod artifacts;
mod beside;
mod join;
mod plan;
mod python_api;
mod runner;
mod runtime;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_blob::Blob;
use pyox_cli::{Answer, Common, Fault, HintExt, Result, Ui, cache, input, output};
use pyox_schema::{Digest, LinkMode};

/// Joins a blob and a distribution's interpreter into one executable.
#[derive(Debug, Parser)]
#[command(
    name = "pyox-link",
    version,
    after_help = "\
Examples:
  pyox-link app.blob -o app
  pyox-link app.blob -d dist.json --static -o app
  pyox-link app.blob --emit artifacts build/"
)]
struct Cli {
    /// The blob; stdin without one
    blob: Option<PathBuf>,
    /// The distribution's document; without one it is looked up by the digest in the blob
    #[arg(short, long, value_name = "FILE")]
    distribution: Option<PathBuf>,
    /// The executable to write
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Link libc and all: the executable needs nothing but the kernel
    #[arg(long = "static", conflicts_with = "dynamic")]
    static_: bool,
    /// Use the platform's loader and libc: the executable can load extension modules
    #[arg(long)]
    dynamic: bool,
    /// Write what another build system needs into a folder: `--emit artifacts DIR`
    #[arg(long, num_args = 2, value_names = ["KIND", "DIR"], conflicts_with = "output")]
    emit: Option<Vec<String>>,
    /// The folder of the run-time libraries
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-link", |cli: &Cli| &cli.common, link)
}

fn link(cli: &Cli, ui: &Ui) -> Result<Answer> {
    let folder = match cli.emit.as_deref() {
        Some([kind, folder]) if kind == "artifacts" => Some(PathBuf::from(folder)),
        Some([kind, ..]) => {
            return Err(Fault::new("--emit", format!("expected `artifacts`, got `{kind}`")).into());
        }
        _ => {
            output::refuse_terminal(cli.output.as_deref(), "an executable")?;
            None
        }
    };
    let place = input::name(cli.blob.as_deref());
    let bytes = input::read(cli.blob.as_deref(), "a blob")?;
    if bytes.is_empty() {
        let what = "expected a blob, got nothing: did the stage before fail?";
        return Err(Fault::new(place, what).into());
    }
    let blob = Blob::open(&bytes).and_then(|blob| blob.verify().map(|()| blob)).fault(&place)?;
    let config = blob.config().fault(&place)?;
    let digest: Digest = config.distribution.parse().fault(&place)?;
    let distribution = cache::distribution(cli.distribution.as_deref(), &digest)?;

    let wanted = match (cli.static_, cli.dynamic) {
        (true, _) => Some(LinkMode::Static),
        (_, true) => Some(LinkMode::Dynamic),
        _ => None,
    };
    let shared = plan::shared_objects(&blob).fault(&place)?;
    let runtime = runtime::find(cli.runtime.as_deref(), &distribution.python.tag)?;
    let plan = plan::make(&distribution, wanted, &shared, &runtime)?;
    if wanted.is_none() {
        ui.note(format_args!("{}: {}", plan.mode.name(), plan.reason));
    }
    if let Some(folder) = folder {
        artifacts::write(&folder, &plan, &config, &bytes)?;
        beside::write(Some(&folder.join("app")), &blob, &config)?;
        return Ok(Answer::Done);
    }
    let runner = runner::cached(&plan, ui)?;
    // First, so that an executable that is there has its files.
    beside::write(cli.output.as_deref(), &blob, &config)?;
    join::executable(&runner, &bytes, cli.output.as_deref())?;
    Ok(Answer::Done)
}
