//! `pyox-snapshot`: an executable in, one that starts faster out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, Result, output};
use pyox_snapshot::{Level, Options, Profile, learn, snapshot};
use pyox_stage::{Fault, Reporter};

/// Makes an executable begin where its start has ended
#[derive(Debug, Parser)]
#[command(
    name = "pyox-snapshot",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  pyox-snapshot app -o app-fast
  pyox-snapshot app --preload json --preload asyncio -o app-fast
  pyox-snapshot app --learn app.profile -- --version         run it once, and note what it imports
  pyox-snapshot app --level application --profile app.profile -o app-fast
  pyox-inspect app-fast                                      what the snapshot holds"
)]
struct Cli {
    /// The executable: one of pyox-link at fixed addresses, or a portable one
    executable: PathBuf,
    /// The executable to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "learn")]
    output: Option<PathBuf>,
    /// How much is done beforehand: `interpreter`, `stdlib` (follows from --preload and --profile) or `application`
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Import a module beforehand; can be repeated. With the level `application`, whatever its import asks of the process
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    /// Leave out a module, and all that import it; can be repeated
    #[arg(long, value_name = "MODULE")]
    no_preload: Vec<String>,
    /// Import beforehand what this file lists, as far as that is safe
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Run the executable once, with the arguments behind `--`, and list what it imports in a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "level", "preload", "no_preload", "profile", "fixed_hash_seed"])]
    learn: Option<PathBuf>,
    /// Arguments for that run
    #[arg(last = true, value_name = "ARGUMENT", requires = "learn")]
    arguments: Vec<OsString>,
    /// Use one hash seed in all processes: it starts a little faster, and whoever knows the executable can choose keys
    /// that make its dictionaries slow
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1", require_equals = true, value_parser = clap::value_parser!(u32).range(1..))]
    fixed_hash_seed: Option<u32>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-snapshot", |cli: &Cli| &cli.common, run)
}

fn run(cli: &Cli, reporter: &dyn Reporter) -> Result<Answer> {
    if let Some(path) = &cli.learn {
        let profile = learn(&cli.executable, &cli.arguments, reporter)?;
        output::text(Some(path), profile.to_text().as_bytes())?;
        return Ok(Answer::Done);
    }
    let names_modules = !cli.preload.is_empty() || cli.profile.is_some();
    if cli.level == Some(Level::Interpreter) && names_modules {
        let option = if cli.profile.is_some() { "--profile" } else { "--preload" };
        let what = format!("expected no {option} with the level `interpreter`");
        return Err(Fault::new("--level", what).hint("the level `stdlib` takes modules"));
    }
    let usual = if names_modules { Level::Stdlib } else { Level::Interpreter };
    let options = Options {
        level: cli.level.unwrap_or(usual),
        preload: cli.preload.clone(),
        no_preload: cli.no_preload.clone(),
        profile: cli.profile.as_deref().map(Profile::read).transpose()?,
        fixed_hash_seed: cli.fixed_hash_seed,
    };
    // Without --learn there is one.
    let output = cli.output.as_deref().unwrap_or(&cli.executable);
    snapshot(&cli.executable, output, &options, reporter)?;
    Ok(Answer::Done)
}
