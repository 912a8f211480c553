//! Runs one Python interpreter after the other in one process, each ended before the next one starts.
//!
//! Every argument is a step: code that an interpreter runs, `@FILE` for a blob that the following ones have, `NAME=VALUE`
//! for a setting of the next one, `drop` for one that is started and dropped, and `two` for one that is started while
//! another is there. What fails is said on stderr, and the next step follows. The exit status is that of the last step.
//!
//! It is a library, because an executable needs a Python: `pyox-link --runtime` joins it with one, by the name of the
//! run-time library.

// Nobody else defines `main`.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_char, c_int};

use pyembed::{Error, MainPythonInterpreter, PythonConfig, Run, Value};

/// Where C's start-up code enters.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let mut steps = Steps { program, blob: None, settings: Vec::new() };
    arguments.fold(0, |_, step| {
        steps.take(&step.to_string_lossy()).unwrap_or_else(|error| {
            eprintln!("{error}");
            2
        })
    })
}

struct Steps {
    program: OsString,
    blob: Option<&'static [u8]>,
    settings: Vec<(String, String)>,
}

impl Steps {
    fn take(&mut self, step: &str) -> Result<c_int, Error> {
        if let Some(file) = step.strip_prefix('@') {
            let bytes = std::fs::read(file).unwrap_or_default();
            self.blob = Some(bytes.leak());
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
        let config = match self.blob {
            Some(bytes) => PythonConfig::from_blob(bytes),
            None => PythonConfig::embedded(),
        };
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
