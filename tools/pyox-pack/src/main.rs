//! `pyox-pack`: compiles and packs a manifest into a blob.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, Result, input, output};
use pyox_pack::{Compression, Options, pack};
use pyox_schema::Manifest;
use pyox_stage::Reporter;

/// Compile and pack a manifest's resources into a blob
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The manifest; stdin where it is - or left out
    manifest: Option<PathBuf>,
    /// The distribution's document; by default the one that the manifest names by its digest
    #[arg(short, long, value_name = "DIST.json")]
    distribution: Option<PathBuf>,
    /// Write the blob to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many jobs to run at once; by default one for each core
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Store every file as it is: a larger blob, made sooner
    #[arg(long, conflicts_with_all = ["compress_native", "small"])]
    no_compress: bool,
    /// Compress extension modules and shared libraries too: a smaller blob, a slower first import
    #[arg(long)]
    compress_native: bool,
    /// Compress everything, bytecode included, as well as that goes: the smallest blob, slower imports
    #[arg(long)]
    small: bool,
    /// Compile with this CPython, of exactly the same version, if the distribution's own does not run here
    #[arg(long, value_name = "PYTHON")]
    compile_with: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-pack", |args: &Args| &args.common, run)
}

fn run(args: &Args, reporter: &dyn Reporter) -> Result<Answer> {
    let output = args.output.as_deref();
    output::refuse_terminal(output, "a blob")?;
    let manifest: Manifest = input::document(args.manifest.as_deref())?;
    let options = Options {
        distribution: args.distribution.as_deref(),
        jobs: args.jobs.unwrap_or(Options::default().jobs),
        compression: match args {
            Args { no_compress: true, .. } => Compression::Nothing,
            Args { small: true, .. } => Compression::Small,
            Args { compress_native: true, .. } => Compression::Native,
            _ => Compression::default(),
        },
        compile_with: args.compile_with.as_deref(),
    };
    let blob = pack(&manifest, &options, reporter)?;
    output::binary(output, "a blob", &blob)?;
    Ok(Answer::Done)
}
