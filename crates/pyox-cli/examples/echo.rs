//! The smallest tool: stdin to stdout, or to a file. The tests of the two ends of a pipe run it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, input, output};

/// Copies its input to its output
#[derive(Debug, Parser)]
struct Args {
    /// What to copy
    file: Option<PathBuf>,
    /// Where to
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    pyox_cli::run(
        "echo",
        |args: &Args| &args.common,
        |args, _| {
            let bytes = input::read(args.file.as_deref(), "anything")?;
            output::text(args.output.as_deref(), &bytes)?;
            Ok(Answer::Done)
        },
    )
}
