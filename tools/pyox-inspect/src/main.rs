//! `pyox-inspect`: looks into whatever the pipeline makes.
//!
//! The input is recognised by its content, so there is one tool and one set of questions for a
//! distribution document, a manifest, a link plan, a blob and a finished executable. All of them
//! become the same [`contents::Contents`], and every question is answered once, for all. The input
//! is read into memory whole; nothing in it is run or trusted.

mod check;
mod config;
mod contents;
mod diff;
mod executable;
mod extract;
mod list;
mod subject;
mod summary;
mod text;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use pyox_cli::{Answer, Common, Result, output};
use pyox_stage::{Fault, Reporter};

use crate::contents::Contents;
use crate::subject::Input;

const TOOL: &str = "pyox-inspect";

const USAGE: &str = "\
pyox-inspect [OPTIONS] [FILE]
       pyox-inspect [OPTIONS] --diff A B
       pyox-inspect [OPTIONS] COMMAND [FILE] …";

const EXAMPLES: &str = "\
FILE is a distribution document, a manifest, a link plan, a blob or an executable; without one, or
with `-`, it is read from stdin. A file that is named like a command is written `./list`.

Examples:
  pyox-inspect app                            what it is, what runs, how big
  pyox-inspect list app | grep ' rich '       every resource of the project rich
  pyox-inspect size --by package app          what takes the room
  pyox-inspect cat app json.decoder           a module's source
  pyox-inspect cat --code app json.decoder    its bytecode, as marshal writes it
  pyox-inspect extract app -C out rich        the package rich, as files below out/
  pyox-inspect --check app                    do all checksums hold?
  pyox-inspect --diff old.blob app            what changed between two
  pyox-collect hello.py | pyox-inspect size   in a pipe, before it is packed

Exit status: 0 done; 1 damaged (--check) or different (--diff); 2 the input cannot be read.";

/// Looks into distributions, manifests, link plans, blobs and executables
#[derive(Debug, Parser)]
#[command(name = TOOL, version, override_usage = USAGE, after_help = EXAMPLES)]
struct Args {
    /// What to look into
    file: Option<PathBuf>,
    /// Check every checksum, and name what is damaged
    #[arg(long)]
    check: bool,
    /// Tell two inputs apart: `-` is only in A, `+` only in B, `~` is in both but changed
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["file", "check"])]
    diff: Option<Vec<PathBuf>>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// Write the answer to a file
    #[arg(short, long, value_name = "FILE", global = true)]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line for each resource: kind, size in bytes, project, name
    List {
        /// What to look into
        file: Option<PathBuf>,
    },
    /// The resources as a tree of folders, with their sizes
    Tree {
        /// What to look into
        file: Option<PathBuf>,
        /// How many levels to show
        #[arg(short = 'L', long, value_name = "LEVELS")]
        depth: Option<usize>,
    },
    /// The bytes of resources: of a module its source, of others the file
    Cat {
        /// What to look into
        file: PathBuf,
        /// Dotted names or paths, as `list` shows them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// A module's bytecode, marshalled, instead of its source
        #[arg(long)]
        code: bool,
    },
    /// Writes resources as files: the whole tree, or what is named and everything below it
    Extract {
        /// What to look into
        file: PathBuf,
        /// Dotted names or paths, as `list` shows them
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// The folder to write to; it is made where it is missing
        #[arg(short = 'C', long, value_name = "DIR")]
        directory: PathBuf,
        /// Replace files that are there
        #[arg(short, long)]
        force: bool,
    },
    /// How the interpreter is configured and what it runs; of a distribution: its facts
    Config {
        /// What to look into
        file: Option<PathBuf>,
    },
    /// What takes how much room
    Size {
        /// What to look into
        file: Option<PathBuf>,
        /// What to add up by
        #[arg(long, value_name = "WHAT", default_value = "project")]
        by: By,
        /// Exact numbers of bytes
        #[arg(short, long)]
        bytes: bool,
    },
}

/// What `size` adds up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The project that PyPI knows
    Project,
    /// The kind of resource
    Kind,
    /// The top-level import package, or the top-level folder
    Package,
}

fn main() -> ExitCode {
    pyox_cli::run(TOOL, |args: &Args| &args.common, body)
}

fn body(args: &Args, ui: &dyn Reporter) -> Result<Answer> {
    let to = args.output.as_deref();
    if let Some(paths) = &args.diff {
        if args.command.is_some() {
            return Err(Fault::new("--diff", "expected two files and no command"));
        }
        return diff::run(&paths[0], &paths[1], args.json, to);
    }
    let Some(command) = &args.command else {
        let input = Input::read(args.file.as_deref())?;
        if args.check {
            return check::run(&input, args.json, to);
        }
        output::text(to, &summary::answer(&input, args.json)?)?;
        return Ok(Answer::Done);
    };
    if args.file.is_some() || args.check {
        let what = "expected the command before the file, and no --check with it";
        return Err(Fault::new("command line", what).hint("see `pyox-inspect --help`"));
    }
    command.run(args.json, to, ui)?;
    Ok(Answer::Done)
}

impl Command {
    fn run(&self, json: bool, to: Option<&Path>, ui: &dyn Reporter) -> Result<()> {
        let (Self::List { file }
        | Self::Tree { file, .. }
        | Self::Config { file }
        | Self::Size { file, .. }) = self
        else {
            return self.run_on_named(to, ui);
        };
        let input = Input::read(file.as_deref())?;
        let subject = input.subject()?;
        if matches!(self, Self::Config { .. }) {
            return output::text(to, &config::answer(&input, &subject, json)?);
        }
        let contents = Contents::of(&input, &subject)?;
        let answer = match self {
            Self::Tree { depth, .. } => tree::answer(&contents, *depth, json)?,
            Self::Size { by, bytes, .. } => list::sizes(&contents, *by, *bytes, json)?,
            _ => list::answer(&contents, json)?,
        };
        output::text(to, &answer)
    }

    fn run_on_named(&self, to: Option<&Path>, ui: &dyn Reporter) -> Result<()> {
        let (Self::Cat { file, .. } | Self::Extract { file, .. }) = self else { return Ok(()) };
        let input = Input::read(Some(file))?;
        let subject = input.subject()?;
        let contents = Contents::of(&input, &subject)?;
        match self {
            Self::Extract { names, directory, force, .. } => {
                extract::run(&contents, names, directory, *force, ui)
            }
            Self::Cat { names, code, .. } => extract::cat(&contents, names, *code, to),
            _ => Ok(()),
        }
    }
}
