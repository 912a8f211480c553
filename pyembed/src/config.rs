//! What an interpreter starts with.
//!
//! The defaults are those of `python -I -S`: isolated from the environment, the user's folders and
//! `site`, but with the signal handlers, streams and locale that `python` has. Every field of
//! CPython's `PyPreConfig` and `PyConfig` can be set by the name that CPython documents it under
//! (<https://docs.python.org/3/c-api/init_config.html>).

use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use pyox_blob::config::{Run, Setting, Value};
use pyox_blob::tree::Tree;
use pyox_blob::{Blob, Config};

use crate::ffi::BuiltinInit;
use crate::role::Role;
use crate::surroundings::expand;
use crate::{Error, ffi};

/// What an interpreter starts with: a blob, a configuration, and a command line.
///
/// ```no_run
/// use pyembed::{MainPythonInterpreter, PythonConfig, Run, Value};
///
/// # fn main() -> Result<(), pyembed::Error> {
/// let config = PythonConfig::embedded()?
///     .config("bytes_warning", Value::Integer(1))
///     .search_path("/usr/lib/my-application/plugins")
///     .run(Run::Module("application.check".into()));
/// std::process::exit(MainPythonInterpreter::new(config)?.run());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PythonConfig {
    pub(crate) blob: Blob<'static>,
    pub(crate) record: Config,
    pub(crate) argv: Vec<OsString>,
    pub(crate) executable: PathBuf,
    /// Folders that follow the packed ones in `sys.path`.
    pub(crate) search_path: Vec<PathBuf>,
    /// Further blobs, each with the path of its file.
    pub(crate) more: Vec<(Blob<'static>, PathBuf)>,
    /// Modules that are part of the program.
    pub(crate) builtin: Vec<(&'static CStr, BuiltinInit)>,
    /// What this process is; settled when it starts.
    pub(crate) role: Role,
}

impl PythonConfig {
    /// The configuration in the blob that is linked in, with the command line of this process.
    ///
    /// # Errors
    ///
    /// [`Error::NoBlob`] in a program without one, and [`Error::Blob`] for one that is damaged.
    pub fn embedded() -> Result<Self, Error> {
        Self::from_blob(ffi::embedded().ok_or(Error::NoBlob)?)
    }

    /// The configuration in the blob of a file, which is mapped into memory and stays so.
    ///
    /// The file must stay as it is: pages of it are read when they are needed. To exchange it, rename another over it.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where it cannot be mapped, and [`Error::Blob`] where it holds no blob.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = ffi::map(path).map_err(|error| Error::File { path: path.into(), error })?;
        Self::from_blob(bytes)
    }

    /// The configuration in a blob that the caller has in memory, at a multiple of eight bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`] where there is no blob, or a damaged one.
    pub fn from_blob(bytes: &'static [u8]) -> Result<Self, Error> {
        let blob = match Blob::open(bytes) {
            // A runner that no blob has joined is full of zeroes.
            Err(pyox_blob::Error::NotABlob) if bytes.iter().take(8).all(|byte| *byte == 0) => {
                return Err(Error::NoBlob);
            }
            other => other?,
        };
        let (record, executable) = (blob.config()?, ffi::executable());
        let folders = record.search_path.iter();
        Ok(Self {
            search_path: folders.map(|folder| expand(folder, &executable).into()).collect(),
            blob,
            record,
            argv: std::env::args_os().collect(),
            executable,
            more: Vec::new(),
            builtin: Vec::new(),
            role: Role::Application,
        })
    }

    /// What runs.
    #[must_use]
    pub fn run(mut self, run: Run) -> Self {
        self.record.run = run;
        self
    }

    /// The command line, program name first: what `sys.argv` will be.
    #[must_use]
    pub fn argv(mut self, argv: impl IntoIterator<Item = OsString>) -> Self {
        self.argv = argv.into_iter().collect();
        self
    }

    /// What `sys.executable` will be: an absolute path.
    #[must_use]
    pub fn executable(mut self, path: impl Into<PathBuf>) -> Self {
        self.executable = path.into();
        self
    }

    /// Appends a folder of the file system to `sys.path`, behind those of the blob.
    #[must_use]
    pub fn search_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.search_path.push(folder.into());
        self
    }

    /// Adds the Python modules of another blob, whose file is mapped into memory: its application and its projects come
    /// behind those of the first blob, as folders below its path that `sys.path` has. They are compiled when they are
    /// imported, so the blob must have sources. What it has of native code is not loaded.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where it cannot be mapped, [`Error::Blob`] where it holds no blob, and [`Error::Python`] for a blob of
    /// another Python.
    pub fn search_blob(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let error = |error| Error::File { path: path.as_ref().into(), error };
        let path = std::path::absolute(path.as_ref()).map_err(error)?;
        let blob = Blob::open(ffi::map(&path).map_err(error)?)?;
        let (expected, found) = (self.record.python, blob.config()?.python);
        if expected != found {
            let name = |(major, minor)| format!("Python {major}.{minor}");
            return Err(Error::Python { expected: name(found), found: name(expected) });
        }
        let tree = Tree::of(found);
        self.search_path.extend([path.join(tree.application), path.join(tree.projects)]);
        self.more.push((blob, path));
        Ok(self)
    }

    /// Adds a module that is part of this program, such as one of `PyO3`. It is found before all packed ones, and `name` has
    /// no dot.
    #[must_use]
    pub fn builtin_module(mut self, name: &'static CStr, init: BuiltinInit) -> Self {
        self.builtin.push((name, init));
        self
    }

    /// Sets a field of `PyPreConfig`.
    #[must_use]
    pub fn preconfig(mut self, name: impl Into<String>, value: Value) -> Self {
        set(&mut self.record.preconfig, name.into(), value);
        self
    }

    /// Sets a field of `PyConfig`.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: Value) -> Self {
        set(&mut self.record.config, name.into(), value);
        self
    }

    /// Whether this process acts as the `python` command.
    pub(crate) fn is_interpreter(&self) -> bool {
        matches!(self.role, Role::Python { .. })
    }

    /// Whether a field of `PyConfig` or `PyPreConfig` is set to something else than the default.
    pub(crate) fn sets(&self, name: &str) -> bool {
        let settings = self.record.config.iter().chain(&self.record.preconfig);
        settings.into_iter().any(|setting| setting.name == name)
    }

    /// `PyPreConfig` as `python -I` has it, and what is set.
    pub(crate) fn to_preconfig(&self) -> Result<ffi::PreConfig, Error> {
        let mut config = ffi::PreConfig::python();
        let interpreter = self.is_interpreter().into();
        let defaults = [
            ("isolated", 1 - interpreter),
            ("use_environment", interpreter),
            ("parse_argv", interpreter),
        ];
        for (name, value) in defaults {
            *config.integer(name).ok_or_else(|| unknown("PyPreConfig", name))? = value;
        }
        for Setting { name, value } in &self.record.preconfig {
            let field = config.integer(name).ok_or_else(|| unknown("PyPreConfig", name))?;
            *field = integer(name, value)?;
        }
        Ok(config)
    }

    /// `PyConfig` as `python -I -S` has it, and what is set. The interpreter must be pre-initialised.
    pub(crate) fn to_config(&self) -> Result<ffi::Config, Error> {
        let mut config = ffi::Config::python();
        let interpreter = self.is_interpreter().into();
        let defaults = [
            // A `python` puts a script's folder into `sys.path`, an application does not.
            ("isolated", 1 - interpreter),
            ("safe_path", 1 - interpreter),
            ("parse_argv", interpreter),
            ("use_environment", interpreter),
            ("site_import", 0),
            ("user_site_directory", 0),
            ("write_bytecode", 0),
            ("pathconfig_warnings", 0),
            ("module_search_paths_set", 1),
        ];
        for (name, value) in defaults {
            *config.integer(name).ok_or_else(|| unknown("PyConfig", name))? = value;
        }
        // The start needs them, and a debug build has them off. `startup.rs` has them for those who may turn them off.
        if let (false, Some(value)) = (self.is_interpreter(), config.integer("use_frozen_modules"))
        {
            *value = 1;
        }
        // The name of library folders below a prefix, which `sysconfig` wants to know.
        config.set_string("platlibdir", "lib")?;
        config.set_argv(&self.c_argv()?)?;
        // The application's tree is an installation whose top is the executable.
        let stdlib = self.executable.join(Tree::of(self.record.python).stdlib);
        for field in ffi::PathField::ALL {
            let path = match field {
                ffi::PathField::StdlibDir => &stdlib,
                _ => &self.executable,
            };
            config.set_path(field, &c_string(path.as_os_str().as_bytes())?)?;
        }
        for Setting { name, value } in &self.record.config {
            apply(&mut config, name, value)?;
        }
        Ok(config)
    }

    pub(crate) fn c_argv(&self) -> Result<Vec<CString>, Error> {
        self.argv.iter().map(|argument| c_string(argument.as_bytes())).collect()
    }
}

fn set(settings: &mut Vec<Setting>, name: String, value: Value) {
    match settings.iter_mut().find(|setting| setting.name == name) {
        Some(setting) => setting.value = value,
        None => settings.push(Setting { name, value }),
    }
}

fn apply(config: &mut ffi::Config, name: &str, value: &Value) -> Result<(), Error> {
    let known = match value {
        Value::Integer(seed) if name == "hash_seed" => {
            config.set_hash_seed(u64::try_from(*seed).map_err(|_| range(name, *seed))?);
            true
        }
        Value::Integer(_) | Value::Boolean(_) => match config.integer(name) {
            Some(field) => {
                *field = integer(name, value)?;
                true
            }
            None => false,
        },
        Value::Text(text) => config.set_string(name, text)?,
        Value::List(items) => config.set_list(name, items)?,
    };
    if known { Ok(()) } else { Err(unknown("PyConfig", name)) }
}

fn integer(name: &str, value: &Value) -> Result<i32, Error> {
    match value {
        Value::Integer(value) => i32::try_from(*value).map_err(|_| range(name, *value)),
        Value::Boolean(value) => Ok((*value).into()),
        _ => Err(Error::Setting(format!("{name}: expected an integer"))),
    }
}

fn range(name: &str, value: i64) -> Error {
    Error::Setting(format!("{name}: {value} is out of range"))
}

fn unknown(structure: &str, name: &str) -> Error {
    Error::Setting(format!("{name}: this Python's {structure} has no such field of that type"))
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| {
        let text = OsString::from_vec(bytes.to_vec());
        Error::Setting(format!("{}: expected no NUL byte", text.display()))
    })
}
