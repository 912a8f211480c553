//! What this process is: the application, or a `python` for the application's own work.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyox_blob::config::Interpreter;

use crate::surroundings::is_frozen;
use crate::{PythonConfig, child};

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Application,
    /// The `python` command; whether with what `site` brings.
    Python {
        has_site: bool,
    },
    /// A process that `multiprocessing` has started in the way that it has for frozen programs.
    Worker,
    /// It is none of these, for this reason; and what can be done.
    Refused {
        what: String,
        hint: &'static str,
    },
}

/// What a command line means to `python`.
enum Meaning {
    /// It is one of `python`'s; whether without `-S`.
    Python { has_site: bool },
    /// It runs this executable, whose own arguments begin at that place.
    Own(usize),
    /// It is none of `python`'s.
    Foreign,
}

/// How often an application may start itself with arguments of its own, each process from the one before. More is taken
/// for a mistake that would fill the machine with processes.
const DEEPEST: u32 = 16;

/// The first argument of processes that `multiprocessing` starts where `sys.frozen` is true.
const WORKER: &str = "--multiprocessing-fork";

/// Suffixes of what only a `python` can be meant to run, whether it exists or not.
const SCRIPTS: [&str; 4] = ["py", "pyc", "pyw", "pyz"];

/// Options of `python` without a value.
const FLAGS: &[u8] = b"bBdEhiIOPqRsStuvVx?";
const LONG_FLAGS: [&[u8]; 5] =
    [b"--help", b"--help-all", b"--help-env", b"--help-xoptions", b"--version"];

/// Decides, and leaves the application's own command line.
pub(crate) fn settle(config: &mut PythonConfig) -> Role {
    let interpreter = config.record.interpreter;
    // Looked at in any case: it may have brought a descriptor.
    let proof = child::proof();
    let has_proof = proof.is_some();
    child::set_depth(proof.unwrap_or(0));
    let asked = std::env::var_os("PYOX_INTERPRETER").is_some_and(|value| value == "1");
    let meaning = meaning(&config.argv, &config.executable);
    if asked && interpreter == Interpreter::Always {
        return Role::Python { has_site: !matches!(meaning, Meaning::Python { has_site: false }) };
    }
    if config.argv.len() < 2 {
        name_program(config);
        // A `python` without arguments reads its program from stdin.
        let reads = has_proof && interpreter != Interpreter::Never;
        return if reads { Role::Python { has_site: true } } else { Role::Application };
    }
    let is_child = || has_proof || child::is_named_by_ancestor(&config.executable);
    if config.argv[1] == WORKER && is_frozen(&config.record) && is_child() {
        return Role::Worker;
    }
    match meaning {
        Meaning::Python { .. }
            if interpreter == Interpreter::Never && !is_of_multiprocessing(&config.argv) =>
        {
            match call_for_python(config).filter(|_| is_child()) {
                Some(call) => Role::Refused {
                    what: format!("{call}: this executable is no Python interpreter"),
                    hint: "build it without `--no-interpreter`",
                },
                None => Role::Application,
            }
        }
        Meaning::Python { has_site } if is_child() => Role::Python { has_site },
        Meaning::Own(place) if is_child() => {
            config.argv.drain(1..place);
            name_program(config);
            Role::Application
        }
        _ => {
            name_program(config);
            match proof {
                Some(DEEPEST..) => Role::Refused {
                    what: format!(
                        "it has started itself {DEEPEST} times, each from the one before"
                    ),
                    hint: "a script that `sys.executable` is to run must exist",
                },
                depth => {
                    child::set_depth(depth.map_or(0, |depth| depth + 1));
                    Role::Application
                }
            }
        }
    }
}

/// Whether the process is the application beyond doubt, without a look at what whoever has started it may have left for
/// [`settle`]. Leaves the application's own command line then.
pub(crate) fn is_plain(config: &mut PythonConfig) -> bool {
    let has_arguments = config.argv.len() > 1;
    let is_plain = !has_arguments
        || match meaning(&config.argv, &config.executable) {
            _ if config.argv[1] == WORKER => false,
            Meaning::Foreign => true,
            Meaning::Python { .. } | Meaning::Own(_) => {
                !child::is_named_by_ancestor(&config.executable)
            }
        };
    if is_plain {
        name_program(config);
    }
    is_plain
}

/// A program that was found in PATH has its full path as its name, as a script that a `python` runs.
fn name_program(config: &mut PythonConfig) {
    let Some(name) = config.argv.first_mut() else { return };
    if !name.as_bytes().contains(&b'/') && config.executable.file_name() == Some(name) {
        config.executable.as_os_str().clone_into(name);
    }
}

/// Reads a command line as `python` does, up to what runs.
fn meaning(argv: &[OsString], executable: &Path) -> Meaning {
    let (mut place, mut has_site) = (1, true);
    while let Some(argument) = argv.get(place) {
        place += 1;
        let Some(options) = argument.as_bytes().strip_prefix(b"-") else {
            return what_runs(argument, place, executable, has_site);
        };
        if options.is_empty() || LONG_FLAGS.contains(&argument.as_bytes()) {
            return Meaning::Python { has_site };
        }
        if argument == "--check-hash-based-pycs" {
            place += 1;
            continue;
        }
        for (number, option) in options.iter().enumerate() {
            let has_value = number + 1 < options.len() || argv.get(place).is_some();
            match option {
                b'c' | b'm' if has_value => return Meaning::Python { has_site },
                b'W' | b'X' if has_value => {
                    place += usize::from(number + 1 == options.len());
                    break;
                }
                option if FLAGS.contains(option) => has_site &= *option != b'S',
                _ => return Meaning::Foreign,
            }
        }
    }
    Meaning::Python { has_site }
}

/// What the first argument that is no option means; the others begin at `rest`.
fn what_runs(argument: &OsStr, rest: usize, executable: &Path, has_site: bool) -> Meaning {
    let path = Path::new(argument);
    match child::identity(path) {
        None if path.extension().is_some_and(|suffix| SCRIPTS.iter().any(|s| suffix == *s)) => {
            Meaning::Python { has_site }
        }
        None => Meaning::Foreign,
        Some(found) if path == executable || child::own_identity() == Some(found) => {
            Meaning::Own(rest)
        }
        Some(_) => Meaning::Python { has_site },
    }
}

/// A call that can only be meant for `python`: by the name of a packed module, or with code that imports something. What
/// else looks like one may be the application's own.
fn call_for_python(config: &PythonConfig) -> Option<String> {
    let mut arguments = config.argv.iter().skip(1).skip_while(|a| *a != "-c" && *a != "-m");
    let (option, value) = (arguments.next()?, arguments.next()?.to_str()?);
    let is_meant = match option.to_str()? {
        "-m" => matches!(config.blob.module(value), Ok(Some(_))),
        _ => value.contains("import "),
    };
    is_meant.then(|| format!("{} {value}", option.display()))
}

/// Whether a command line is one by which `multiprocessing` starts its own processes.
fn is_of_multiprocessing(argv: &[OsString]) -> bool {
    let code = argv.iter().skip_while(|argument| *argument != "-c").nth(1);
    let code = code.map(|code| code.as_bytes()).unwrap_or_default();
    let code = code.strip_prefix(b"import sys; ").unwrap_or(code);
    code.starts_with(b"from multiprocessing.")
}
