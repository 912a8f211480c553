//! The running interpreter: from a configuration to `__main__`, and to its end.

use crate::{Error, PythonConfig, ffi, files, importer, role, run};

/// The main interpreter of this process: started by [`new`](Self::new), ended by [`run`](Self::run) or when it is dropped.
///
/// There can be one at a time; another may follow, with another blob as well. It stays in the thread that has started it.
/// What CPython itself keeps beyond an interpreter's end stays, and so do shared objects of the blob that were loaded.
#[derive(Debug)]
pub struct MainPythonInterpreter {
    interpreter: ffi::Interpreter,
    config: PythonConfig,
}

impl MainPythonInterpreter {
    /// Starts the interpreter, with the importer in place. This thread is then attached to it.
    ///
    /// # Errors
    ///
    /// [`Error::Occupied`] where the process has an interpreter; [`Error::Python`], [`Error::Setting`] and
    /// [`Error::Blob`] where configuration, blob and the Python that is linked in do not fit, and [`Error::Start`] where
    /// CPython or the importer fails. No interpreter is left behind, with one exception: CPython cannot undo a start of
    /// its own that fails half-way, such as one with an encoding that it lacks. Every later call then gives
    /// [`Error::Occupied`].
    pub fn new(mut config: PythonConfig) -> Result<Self, Error> {
        let place = ffi::Place::take().ok_or(Error::Occupied)?;
        check_version(&config)?;
        files::mount(config.blob, &config.executable);
        config.role = role::settle(&mut config);
        ffi::pre_initialize(&config.to_preconfig()?, &config.c_argv()?)?;
        ffi::use_large_pages();
        importer::before_start(&config)?;
        if !config.sets("site_import") {
            // Nobody's code runs that could see it.
            ffi::start_without_collections();
        }
        let interpreter = ffi::Interpreter::start(place, &config.to_config()?)?;
        let attached = interpreter.attached();
        check_bytecode(attached, &config)?;
        importer::install(attached, &config).map_err(|raised| {
            Error::Start(format!("the importer: {}", attached.take(raised).describe()))
        })?;
        Ok(Self { interpreter, config })
    }

    /// Runs what the configuration says, ends the interpreter, and gives the process's exit status.
    ///
    /// A `SystemExit` ends the process at once, as it does in `python`.
    #[must_use]
    pub fn run(self) -> i32 {
        run::main(self.interpreter, &self.config)
    }
}

/// Bytecode of another Python would be undefined behaviour, so it never runs: not even the modules that
/// the start itself imports, before the interpreter can tell its magic number.
fn check_version(config: &PythonConfig) -> Result<(), Error> {
    let ((major, minor), found) = (config.record.python, ffi::python_version());
    if found.starts_with(&format!("{major}.{minor}.")) {
        return Ok(());
    }
    Err(Error::Python {
        expected: format!("Python {major}.{minor}"),
        found: format!("Python {found}"),
    })
}

/// Bytecode changes within a minor version only before its release.
fn check_bytecode(attached: ffi::Attached<'_>, config: &PythonConfig) -> Result<(), Error> {
    let (expected, found) = (config.record.bytecode_magic, ffi::bytecode_magic(attached));
    if expected == found {
        return Ok(());
    }
    let (major, minor) = config.record.python;
    Err(Error::Python {
        expected: format!("Python {major}.{minor} (bytecode {expected:08x})"),
        found: format!("one with bytecode {found:08x}"),
    })
}
