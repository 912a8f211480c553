//! Runs one Python interpreter after the other in one process, each ended before the next one starts.
//!
//! Every argument is a step: code that an interpreter runs, `@FILE` for a blob that the following ones have, `NAME=VALUE`
//! for a setting of the next one, `+FOLDER` for a folder in its `sys.path`, `+@FILE` for a further blob, `drop` for one that is started and dropped, and
//! `two` for one that is started while another is there. `stay` starts one that the following steps `code SOURCE`,
//! `module NAME`, `file PATH` and `repl` go on with. What fails is said on stderr, and the next step follows. The exit status
//! is that of the last step.
//!
//! It is a library, because an executable needs a Python: `pyox-link --runtime` joins it with one, by the name of the
//! run-time library.

// Nobody else defines `main`.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_char, c_int};

use pyembed::{Error, MainPythonInterpreter, PythonConfig, Run, Value};

// Room for a blob, as the runner has it.
std::arch::global_asm!(
    r#".section .pyox_blob, "a", @progbits"#,
    ".balign 4096",
    ".globl pyox_blob",
    ".hidden pyox_blob",
    "pyox_blob:",
    ".zero 4096",
    ".previous",
);

/// Where C's start-up code enters.
///
/// # Safety
/// To be called once, with what the process was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: this is the first call, with what the process was given. There is no snapshot, so it gives nothing.
    unsafe { pyembed::enter(count, arguments) }.unwrap_or_else(steps)
}

fn steps() -> c_int {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let mut steps =
        Steps { program, blob: None, folders: Vec::new(), settings: Vec::new(), running: None };
    arguments.fold(0, |_, step| match steps.take(&step.to_string_lossy()) {
        Ok(status) => status,
        Err(Error::Raised(error)) => {
            eprint!("{error}\n{}", error.traceback);
            1
        }
        Err(error) => {
            eprintln!("{error}");
            2
        }
    })
}

struct Steps {
    program: OsString,
    blob: Option<String>,
    folders: Vec<String>,
    settings: Vec<(String, String)>,
    running: Option<MainPythonInterpreter>,
}

impl Steps {
    fn take(&mut self, step: &str) -> Result<c_int, Error> {
        if let Some(interpreter) = &self.running {
            let (what, with) = step.split_once(' ').unwrap_or((step, ""));
            let done = match what {
                "code" => Some(interpreter.run_code(with)),
                "module" => Some(interpreter.run_module(with)),
                "file" => Some(interpreter.run_file(with)),
                "repl" => Some(interpreter.repl()),
                _ => None,
            };
            if let Some(done) = done {
                return done.map(|()| 0);
            }
            self.running = None;
        }
        if let Some(file) = step.strip_prefix('@') {
            self.blob = Some(file.to_owned());
        } else if let Some(folder) = step.strip_prefix('+') {
            self.folders.push(folder.to_owned());
        } else if step == "stay" {
            self.running = Some(MainPythonInterpreter::new(self.config()?)?);
        } else if step == "drop" {
            drop(MainPythonInterpreter::new(self.config()?)?);
        } else if step == "two" {
            let first = MainPythonInterpreter::new(self.config()?)?;
            let second = MainPythonInterpreter::new(self.config()?);
            drop(first);
            second?;
        } else if let Some((name, value)) = step.split_once('=').filter(|(name, _)| is_name(name)) {
            self.settings.push((name.to_owned(), value.to_owned()));
        } else {
            let config = self.config()?.run(Run::Code(step.to_owned()));
            return Ok(MainPythonInterpreter::new(config)?.run());
        }
        Ok(0)
    }

    fn config(&mut self) -> Result<PythonConfig, Error> {
        let config = match &self.blob {
            Some(file) => PythonConfig::from_file(file),
            None => PythonConfig::embedded(),
        };
        let config = self.folders.drain(..).try_fold(config?, |config, folder| {
            match folder.strip_prefix('@') {
                Some(file) => config.search_blob(file),
                None => Ok(config.search_path(folder)),
            }
        });
        let settings = self.settings.drain(..);
        Ok(settings.fold(config?.argv([self.program.clone()]), |config, (name, value)| {
            let value = value.parse().map_or(Value::Text(value), Value::Integer);
            config.config(name, value)
        }))
    }
}

fn is_name(text: &str) -> bool {
    text.as_bytes().iter().all(|letter| letter.is_ascii_lowercase() || *letter == b'_')
}
