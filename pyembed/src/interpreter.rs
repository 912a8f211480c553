//! The running interpreter: from a configuration to `__main__`, and to its end.

use std::path::Path;

use crate::{Error, PythonConfig, ffi, files, importer, role, run, snapshot, surroundings};

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
        if !ffi::has_python() {
            files::mount(config.blob, &config.executable);
            importer::load_python(&config.blob, &config.executable).map_err(Error::Start)?;
        }
        let request = snapshot::request(&mut config);
        let profile = ffi::take_profile();
        let place = ffi::Place::take().ok_or(Error::Occupied)?;
        check_version(&config)?;
        files::mount(config.blob, &config.executable);
        for (blob, path) in &config.more {
            files::mount(*blob, path);
        }
        ffi::offer_python();
        config.role = role::settle(&mut config);
        for (name, init) in &config.builtin {
            if !ffi::add_builtin(name, *init) {
                return Err(Error::Start("no memory for the table of built-in modules".into()));
            }
        }
        ffi::pre_initialize(&config.to_preconfig()?, &config.c_argv()?)?;
        if ffi::keeps_its_calls() {
            // Not before, because CPython frees its list of hooks by the allocator that is configured.
            ffi::watch_interpreters();
        }
        ffi::use_large_pages();
        if request.is_some() {
            ffi::take_python();
        }
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
        if let Some(request) = request {
            snapshot::record(attached, &config, request);
        }
        surroundings::prepare(attached, &config)
            .and_then(|()| surroundings::profile(attached, profile.as_deref()))
            .map_err(|raised| Error::Start(attached.take(raised).describe()))?;
        Ok(Self { interpreter, config })
    }

    /// Runs what the configuration says, ends the interpreter, and gives the process's exit status.
    ///
    /// A `SystemExit` ends the process at once, as it does in `python`.
    #[must_use]
    pub fn run(self) -> i32 {
        run::main(self.interpreter, &self.config)
    }

    /// Runs Python source in the namespace of `__main__`, as `python -c` does. What it defines stays there.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), pyembed::Error> {
    /// let interpreter = pyembed::MainPythonInterpreter::new(pyembed::PythonConfig::embedded()?)?;
    /// interpreter.run_code("import application\nengine = application.Engine()")?;
    /// if let Err(pyembed::Error::Raised(error)) = interpreter.run_code("engine.start()") {
    ///     eprint!("{}", error.traceback);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Raised`] for an exception, [`Error::Exit`] for a `SystemExit`. The interpreter goes on.
    pub fn run_code(&self, source: &str) -> Result<(), Error> {
        let attached = self.interpreter.attached();
        run::outcome(attached, run::code(attached, source.as_bytes()))
    }

    /// Runs a module, or a package's `__main__`, as `python -m` does: from the blob, or as `sys.path` has it.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn run_module(&self, name: &str) -> Result<(), Error> {
        let attached = self.interpreter.attached();
        run::outcome(attached, run::any_module(attached, name))
    }

    /// Runs a script of the file system, as `python FILE` does.
    ///
    /// # Errors
    ///
    /// As above; a file that is not there raises `FileNotFoundError`.
    pub fn run_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let attached = self.interpreter.attached();
        run::outcome(attached, run::file(attached, path.as_ref()))
    }

    /// Reads statements from stdin and runs them in the namespace of `__main__`, as an interactive `python` does, until it
    /// ends.
    ///
    /// # Errors
    ///
    /// [`Error::Exit`] where the user called `exit()`. Exceptions are printed, and the session goes on.
    pub fn repl(&self) -> Result<(), Error> {
        let attached = self.interpreter.attached();
        run::outcome(attached, run::repl(attached))
    }

    /// Hands out `PyO3`'s proof that this thread is attached, for all that a program does with Python's objects. Other
    /// threads attach by `pyo3::Python::attach`, while this one is detached (`Python::detach`).
    ///
    /// ```no_run
    /// use pyo3::prelude::*;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let interpreter = pyembed::MainPythonInterpreter::new(pyembed::PythonConfig::embedded()?)?;
    /// let area: f64 = interpreter.attach(|py| {
    ///     py.import("geometry")?.call_method1("area", (2.0,))?.extract::<f64>()
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "pyo3")]
    pub fn attach<T>(&self, body: impl for<'py> FnOnce(pyo3::Python<'py>) -> T) -> T {
        pyo3::Python::attach(body)
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
