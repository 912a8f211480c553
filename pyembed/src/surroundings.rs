//! What a program finds beside its modules: attributes of `sys`, folders on `sys.path`, variables of the environment, and at
//! its end lists of what it has imported.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use pyox_blob::config::{Config, Value};

use crate::PythonConfig;
use crate::ffi::{Attached, Exception, Object, Result};

/// What stands for the executable's folder.
const ORIGIN: &str = "$ORIGIN";

/// Writes the names of modules.
const LISTS: &str = include_str!("module_lists.py");

/// Writes the names of those that a start with a snapshot may have beforehand.
const PROFILE: &str = include_str!("profile.py");

/// Whether `sys.frozen` is true: `multiprocessing` then starts this executable with a command line of its own.
pub(crate) fn is_frozen(record: &Config) -> bool {
    record.sys.iter().any(|setting| {
        setting.name == "frozen"
            && !matches!(setting.value, Value::Boolean(false) | Value::Integer(0))
    })
}

/// A text with the executable's folder in it.
pub(crate) fn expand(text: &str, executable: &Path) -> OsString {
    let folder = executable.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes();
    let parts: Vec<&[u8]> = text.split(ORIGIN).map(str::as_bytes).collect();
    OsString::from_vec(parts.join(folder))
}

/// Sets the attributes of `sys`, in each interpreter.
pub(crate) fn name_in_sys(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    for setting in &config.record.sys {
        let value = match &setting.value {
            Value::Boolean(value) => attached.bool(*value),
            Value::Integer(value) => attached.integer(*value)?,
            Value::Text(value) => text(attached, value, config)?,
            Value::List(items) => {
                let items = items.iter().map(|item| text(attached, item, config));
                attached.list(items.collect::<Result<Vec<_>>>()?)?
            }
        };
        let name = c_string(attached, &setting.name)?;
        attached.import(c"sys")?.set_attribute(&name, &value)?;
    }
    Ok(())
}

/// Sets the variables of the environment.
pub(crate) fn set_variables(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let record = &config.record;
    if !record.environment.is_empty() {
        // Which sets them for C as well.
        let environment = attached.import(c"os")?.attribute(c"environ")?;
        for (name, value) in &record.environment {
            let (name, value) = (attached.string(name)?, text(attached, value, config)?);
            environment.call_method(c"__setitem__", [&name, &value])?;
        }
    }
    Ok(())
}

/// Sets the variables of the environment, and sees to the lists of modules.
pub(crate) fn prepare(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let record = &config.record;
    set_variables(attached, config)?;
    let folder = record.module_lists.as_ref().and_then(env::var_os);
    match folder.filter(|folder| !folder.is_empty()) {
        Some(folder) => run(attached, LISTS, c"FOLDER", &folder),
        None => Ok(()),
    }
}

/// Sees to the list of what is imported, if it is to be in a file.
pub(crate) fn profile(attached: Attached<'_>, file: Option<&OsStr>) -> Result<()> {
    file.map_or(Ok(()), |file| run(attached, PROFILE, c"FILE", file))
}

/// Runs source that has a path under a name.
fn run(attached: Attached<'_>, source: &str, name: &CStr, path: &OsStr) -> Result<()> {
    let names = attached.import(c"builtins")?.call_method(c"dict", [])?;
    names.set_item(name, &attached.path(path)?)?;
    attached.compile(&c_string(attached, source)?, c"<pyembed>")?.execute(&names).map(drop)
}

fn text<'py>(attached: Attached<'py>, text: &str, config: &PythonConfig) -> Result<Object<'py>> {
    if text.contains(ORIGIN) {
        attached.path(&expand(text, &config.executable))
    } else {
        attached.string(text)
    }
}

fn c_string(attached: Attached<'_>, text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| attached.raise(Exception::RuntimeError, "the blob has a name with a NUL"))
}
