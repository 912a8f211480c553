//! What runs as `__main__`, and how the process ends.

use std::ffi::CString;

use pyox_blob::config::Run;

use crate::PythonConfig;
use crate::ffi::{self, Attached, Exception, Interpreter, Object, Result};
use crate::importer;
use crate::role::Role;

/// The exit status when the streams cannot be flushed at the end, as in `python`.
const FLUSH_FAILED: i32 = 120;

/// The exit status of a call that cannot be served.
const MISUSED: i32 = 2;

/// Runs what the configuration says and ends the interpreter.
pub(crate) fn main(interpreter: Interpreter, config: &PythonConfig) -> i32 {
    let attached = interpreter.attached();
    match &config.role {
        Role::Refused { what, hint } => {
            eprintln!("{}: error: {what}", name_of(config));
            eprintln!("{}: hint: {hint}", name_of(config));
            interpreter.finalize();
            return MISUSED;
        }
        Role::Python { has_site } => {
            // Without them the session goes on; CPython has nothing to report yet.
            attached.quietly(|| importer::add_python_path(attached));
            if *has_site {
                attached.quietly(|| site_builtins(attached));
            }
            return interpreter.run_main();
        }
        Role::Application if config.record.run == Run::Repl => {
            attached.quietly(|| site_builtins(attached));
            return interpreter.run_main();
        }
        Role::Application => {}
    }
    let outcome = execute(attached, &config.record.run);
    let (status, interrupted) = if let Ok(status) = outcome {
        (status, false)
    } else {
        let interrupted = attached.raised(Exception::KeyboardInterrupt);
        ffi::print_exception(attached);
        (1, interrupted)
    };
    let flushed = interpreter.finalize();
    if interrupted {
        // Whoever waits for this process must see that Ctrl-C ended it.
        ffi::die_of_interrupt();
    }
    if flushed { status } else { FLUSH_FAILED }
}

fn execute(attached: Attached<'_>, run: &Run) -> Result<i32> {
    match run {
        // `main` has left that to CPython.
        Run::Repl => Ok(0),
        Run::Code(code) => run_code(attached, code.as_bytes()),
        Run::Script => run_module(attached, "__main__", false),
        Run::Module(name) => {
            let package = importer::is_package(attached, name)?;
            if package {
                attached.import(&c_string(attached, name.as_bytes())?)?;
                run_module(attached, &format!("{name}.__main__"), true)
            } else {
                if let Some((parent, _)) = name.rsplit_once('.') {
                    attached.import(&c_string(attached, parent.as_bytes())?)?;
                }
                run_module(attached, name, true)
            }
        }
        Run::EntryPoint { module, function } => {
            let mut callable = attached.import(&c_string(attached, module.as_bytes())?)?;
            for name in function.split('.') {
                callable = callable.attribute(&c_string(attached, name.as_bytes())?)?;
            }
            // `sys.exit(main())`, as installed console scripts have it.
            let value = callable.call([])?;
            if !value.is_none() {
                attached.sys(c"exit").and_then(|exit| exit.call([&value]))?;
            }
            Ok(0)
        }
    }
}

/// Runs a module's code as `__main__`.
fn run_module(attached: Attached<'_>, name: &str, by_name: bool) -> Result<i32> {
    let main = attached.add_module(c"__main__")?;
    let code = importer::prepare_main(attached, name, &main, by_name)?;
    run_in(&main, &code)
}

/// Runs Python source as `__main__`, as `python -c` does.
fn run_code(attached: Attached<'_>, source: &[u8]) -> Result<i32> {
    let main = attached.add_module(c"__main__")?;
    let code = attached.compile(&c_string(attached, source)?, c"<string>")?;
    run_in(&main, &code)
}

fn run_in(main: &Object<'_>, code: &Object<'_>) -> Result<i32> {
    code.execute(&main.namespace()?).map(|_| 0)
}

fn c_string(attached: Attached<'_>, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| attached.raise(Exception::RuntimeError, "the blob names a module with a NUL"))
}

/// `exit`, `quit` and `help`, which a session without `site` would lack.
fn site_builtins(attached: Attached<'_>) -> Result<()> {
    let builtins = attached.import(c"builtins")?;
    let site = attached.import(c"_sitebuiltins")?;
    let (quitter, end) = (site.attribute(c"Quitter")?, attached.string("Ctrl-D (i.e. EOF)")?);
    for (name, text) in [(c"exit", "exit"), (c"quit", "quit")] {
        builtins.set_attribute(name, &quitter.call([&attached.string(text)?, &end])?)?;
    }
    builtins.set_attribute(c"help", &site.attribute(c"_Helper")?.call([])?)
}

fn name_of(config: &PythonConfig) -> String {
    config.executable.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
