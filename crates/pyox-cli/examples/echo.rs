//! The smallest tool: stdin to stdout, or to a file. The tests of the two ends of a pipe run it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pyox_cli::{Answer, Common, input, output};
use pyox_stage::FaultExt as _;

/// Copies its input to its output
#[derive(Debug, Parser)]
struct Args {
    /// What to copy
    file: Option<PathBuf>,
    /// Tell the sum of its bytes instead
    #[arg(long)]
    sum: bool,
    /// Say when it is open, and wait for a line on stdin
    #[arg(long)]
    wait: bool,
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
            if args.wait {
                eprintln!("open");
                std::io::stdin().read_line(&mut String::new()).fault("stdin")?;
            }
            if args.sum {
                let sum: u64 = bytes.iter().copied().map(u64::from).sum();
                output::text(args.output.as_deref(), sum.to_string().as_bytes())?;
            } else {
                output::text(args.output.as_deref(), &bytes)?;
            }
            Ok(Answer::Done)
        },
    )
}
