//! The running interpreter: from a configuration to `__main__`, and to an exit status.

use crate::{Error, PythonConfig, ffi, files, importer, role, run};

/// The interpreter of this process. There can be one at a time.
#[derive(Debug)]
pub struct MainPythonInterpreter {
    config: PythonConfig,
    attached: ffi::Attached<'static>,
}

impl MainPythonInterpreter {
    /// Starts the interpreter, with the importer in place. This thread is then attached to it.
    pub fn new(mut config: PythonConfig) -> Result<Self, Error> {
        check_version(&config)?;
        files::mount(config.blob, &config.executable);
        config.role = role::settle(&mut config);
        ffi::pre_initialize(&config.to_preconfig()?, &config.c_argv()?)?;
        ffi::use_large_pages();
        importer::freeze_startup(&config)?;
        if !config.sets("site_import") {
            // Nobody's code runs that could see it.
            ffi::start_without_collections();
        }
        let attached = ffi::initialize(&config.to_config()?)?;
        check_bytecode(attached, &config)?;
        importer::install(attached, &config).map_err(|raised| {
            Error::Start(format!("the importer: {}", attached.take(raised).describe()))
        })?;
        Ok(Self { config, attached })
    }

    /// Runs what the configuration says, ends the interpreter, and gives the process's exit status.
    ///
    /// A `SystemExit` ends the process at once, as it does in `python`.
    #[must_use]
    pub fn run(self) -> i32 {
        run::main(self.attached, &self.config)
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
