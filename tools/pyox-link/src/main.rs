//! `pyox-link`: blob in, executable out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use pyox_cli::{Answer, Common, Result, input, output};
use pyox_link::{Emit, Link, Options, Version};
use pyox_schema::LinkMode;
use pyox_stage::Reporter;

/// Joins a blob and a distribution's interpreter into one executable.
#[derive(Debug, Parser)]
#[command(
    name = "pyox-link",
    version,
    after_help = "\
Examples:
  pyox-link app.blob -o app
  pyox-link app.blob -d dist.json --static -o app
  pyox-link app.blob --emit artifacts build/
  pyox-link app.blob --emit staticlib build/ --name app"
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
    /// What the executable is: `static`, `dynamic`, or `portable`: dynamic, with a shared libpython from memory and a
    /// runner that is linked already
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["static_", "dynamic"])]
    shape: Option<Shape>,
    /// Let the executable be loaded at a random address: a longer start, and no snapshot
    #[arg(long, conflicts_with = "emit")]
    pie: bool,
    /// Write something else into a folder: `artifacts` for another build system, `staticlib` or `cdylib`
    #[arg(long, num_args = 2, value_names = ["KIND", "DIR"], conflicts_with = "output")]
    emit: Option<Vec<String>>,
    /// What the library of `--emit` is called
    #[arg(long, default_value = "app")]
    name: String,
    /// Fail if the distribution is for another target than this, such as aarch64-unknown-linux-gnu
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Fail if anything in the executable needs a newer glibc than this, such as 2.28
    #[arg(long, value_name = "VERSION")]
    max_glibc: Option<Version>,
    /// The folder of the run-time libraries
    #[arg(long, value_name = "DIR")]
    runtime: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The shapes by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    Static,
    Dynamic,
    Portable,
}

impl From<Shape> for LinkMode {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Static => Self::Static,
            Shape::Dynamic => Self::Dynamic,
            Shape::Portable => Self::Portable,
        }
    }
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-link", |cli: &Cli| &cli.common, run)
}

fn run(cli: &Cli, reporter: &dyn Reporter) -> Result<Answer> {
    let emit = if let Some([kind, folder]) = cli.emit.as_deref() {
        Some((kind.parse::<Emit>()?, Path::new(folder)))
    } else {
        output::refuse_terminal(cli.output.as_deref(), "an executable")?;
        None
    };
    let options = Options {
        mode: match (cli.static_, cli.dynamic) {
            (true, _) => Some(LinkMode::Static),
            (_, true) => Some(LinkMode::Dynamic),
            _ => cli.shape.map(LinkMode::from),
        },
        pie: cli.pie,
        distribution: cli.distribution.clone(),
        runtime: cli.runtime.clone(),
        target: cli.target.clone(),
        max_glibc: cli.max_glibc,
    };
    let bytes = input::read(cli.blob.as_deref(), "a blob")?;
    let link = Link::new(&bytes, &input::name(cli.blob.as_deref()), &options, reporter)?;
    match (emit, output::file(cli.output.as_deref())) {
        (Some((kind, folder)), _) => link.emit(kind, folder, &cli.name, reporter)?,
        (None, Some(path)) => link.executable(path, reporter)?,
        (None, None) => output::to_stdout(|stdout| link.send(stdout, reporter))?,
    }
    Ok(Answer::Done)
}
