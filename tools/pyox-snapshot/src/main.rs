//! `pyox-snapshot`: an executable in, one that starts faster out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use pyox_cli::{Answer, Common, Result};
use pyox_snapshot::{Options, snapshot};
use pyox_stage::{Fault, Kind, Reporter};

/// Makes an executable begin where its start has ended
#[derive(Debug, Parser)]
#[command(
    name = "pyox-snapshot",
    version,
    after_help = "\
Examples:
  pyox-snapshot app -o app-fast
  pyox-snapshot app --preload json --preload asyncio -o app-fast
  pyox-inspect app-fast                         what the snapshot holds"
)]
struct Cli {
    /// The executable: a static or dynamic one of pyox-link
    executable: PathBuf,
    /// The executable to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How much is done beforehand; `stdlib` follows from --preload
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Import a module of the standard library beforehand; can be repeated
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    /// Use one hash seed in all processes: it starts a little faster, and whoever knows the executable can choose keys
    /// that make its dictionaries slow
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1", require_equals = true, value_parser = clap::value_parser!(u32).range(1..))]
    fixed_hash_seed: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// The levels by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// The interpreter that has started
    Interpreter,
    /// And modules of the standard library
    Stdlib,
    /// And the application's own modules
    Application,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-snapshot", |cli: &Cli| &cli.common, run)
}

fn run(cli: &Cli, reporter: &dyn Reporter) -> Result<Answer> {
    let level = match cli.level {
        Some(Level::Application) => {
            let what = "the level `application` is not implemented yet";
            return Err(Fault::new("--level", what)
                .hint("`--level stdlib --preload MODULE` imports modules of the standard library")
                .of_kind(Kind::Unsupported));
        }
        Some(Level::Interpreter) if !cli.preload.is_empty() => {
            let what = "expected no --preload with the level `interpreter`";
            return Err(Fault::new("--level", what).hint("the level `stdlib` takes modules"));
        }
        Some(Level::Interpreter) => pyox_snapshot::Level::Interpreter,
        None if cli.preload.is_empty() => pyox_snapshot::Level::Interpreter,
        Some(Level::Stdlib) | None => pyox_snapshot::Level::Stdlib,
    };
    let options =
        Options { level, preload: cli.preload.clone(), fixed_hash_seed: cli.fixed_hash_seed };
    snapshot(&cli.executable, &cli.output, &options, reporter)?;
    Ok(Answer::Done)
}
