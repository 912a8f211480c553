//! `pyox-inspect`: the command line of the library.

mod show;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use pyox_cli::{Answer, Common, Result, input, output};
use pyox_inspect::{Contents, Input, check, diff, facts, portability, summary};
use pyox_stage::{Fault, FaultExt, Reporter};
use serde::Serialize;
use serde_json::Map;

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
  pyox-inspect --portability app              what is the oldest system that it runs on?
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
    /// Tell the oldest glibc, kernel and processor that its native code needs, and who needs them
    #[arg(long, conflicts_with = "check")]
    portability: bool,
    /// Tell two inputs apart: `-` is only in A, `+` only in B, `~` is in both but changed
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["file", "check", "portability"])]
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
        let difference = diff(&read(Some(&paths[0]))?, &read(Some(&paths[1]))?)?;
        print(args, &difference, show::difference)?;
        return Ok(if difference.equal { Answer::Done } else { Answer::No });
    }
    let Some(command) = &args.command else {
        let input = read(args.file.as_deref())?;
        if args.check {
            let verdict = check(&input)?;
            print(args, &verdict, |verdict| show::verdict(verdict, input.name()))?;
            return Ok(if verdict.ok { Answer::Done } else { Answer::No });
        }
        if args.portability {
            let found = portability(&input)?;
            print(args, &found, |found| show::portability(found, input.name()))?;
            return Ok(Answer::Done);
        }
        let summary = summary(&input)?;
        print(args, &summary, |summary| show::summary(summary, input.name()))?;
        return Ok(Answer::Done);
    };
    if args.file.is_some() || args.check || args.portability {
        let what = "expected the command before the file, and no --check or --portability with it";
        return Err(Fault::new("command line", what).hint("see `pyox-inspect --help`"));
    }
    match command {
        Command::List { file } => {
            let input = read(file.as_deref())?;
            let contents = input.contents()?;
            print(args, &contents.resources, |_| show::list(&contents))?;
        }
        Command::Tree { file, depth } => {
            let input = read(file.as_deref())?;
            print(args, &input.contents()?.tree(*depth), |root| show::tree(root, input.name()))?;
        }
        Command::Config { file } => {
            let facts = facts(&read(file.as_deref())?)?;
            let map: Map<_, _> = facts.iter().cloned().collect();
            print(args, &map, |_| show::facts(&facts))?;
        }
        Command::Size { file, by, bytes } => {
            let by = (*by).into();
            let sums = read(file.as_deref())?.contents()?.sums(by);
            print(args, &sums, |sums| show::sums(sums, by, *bytes))?;
        }
        Command::Cat { file, names, code } => {
            cat(&read(Some(file))?.contents()?, names, *code, to)?;
        }
        Command::Extract { file, names, directory, force } => {
            let written = read(Some(file))?.contents()?.extract(names, directory, *force)?;
            ui.note(format_args!("{}: {written} files", directory.display()));
        }
    }
    Ok(Answer::Done)
}

/// A file, or stdin.
fn read(path: Option<&Path>) -> Result<Input<'static>> {
    if let Some(path) = output::file(path) {
        return Input::open(path);
    }
    let bytes = input::read(None, "a document, a blob or an executable")?;
    Ok(Input::new(&input::name(None), bytes))
}

/// Prints a value: in JSON, or as `show` shows it.
fn print<T: Serialize>(args: &Args, value: &T, show: impl FnOnce(&T) -> String) -> Result<()> {
    let text = if args.json {
        serde_json::to_string_pretty(value).fault("--json")? + "\n"
    } else {
        show(value)
    };
    output::text(args.output.as_deref(), text.as_bytes())
}

/// Prints the bytes of resources, one after the other.
fn cat(contents: &Contents<'_>, names: &[String], code: bool, to: Option<&Path>) -> Result<()> {
    let mut all = Vec::new();
    for name in names {
        let resource = contents.find(name)?;
        let place = format!("{}: {name}", contents.name);
        if code {
            let missing = || Fault::new(&place, "expected bytecode, there is none");
            all.extend_from_slice(&contents.code(resource)?.ok_or_else(missing)?);
            continue;
        }
        let file = contents.file(resource)?.ok_or_else(|| {
            let fault =
                Fault::new(&place, format_args!("{}: it has no file", resource.kind.name()));
            match resource.code {
                Some(_) => fault.hint("the source was left out; --code gives the bytecode"),
                None => fault,
            }
        })?;
        all.extend_from_slice(&file);
    }
    let is_text = std::str::from_utf8(&all).is_ok_and(|text| !text.contains('\0'));
    if !is_text && io::stdout().is_terminal() {
        output::refuse_terminal(to, "this")?;
    }
    output::text(to, &all)
}

impl From<By> for pyox_inspect::By {
    fn from(by: By) -> Self {
        match by {
            By::Project => Self::Project,
            By::Kind => Self::Kind,
            By::Package => Self::Package,
        }
    }
}
