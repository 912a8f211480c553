//! What runs as `__main__`, and how the process ends.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use pyox_blob::config::Run;

use crate::PythonConfig;
use crate::ffi::{self, Attached, Exception, Object, Result};
use crate::importer;

/// The exit status when the streams cannot be flushed at the end, as in `python`.
const FLUSH_FAILED: i32 = 120;

/// The exit status of a call that cannot be served.
const MISUSED: i32 = 2;

/// Runs what the configuration says and ends the interpreter.
pub(crate) fn main(attached: Attached<'_>, config: &PythonConfig) -> i32 {
    let helper = multiprocessing_helper(config);
    if helper.is_none()
        && let Some(what) = unserved_interpreter_call(config)
    {
        eprintln!("{}: error: {what}: this executable is no Python interpreter", name_of(config));
        eprintln!("{}: hint: build it with `pyox-collect --interpreter`", name_of(config));
        ffi::finalize(attached);
        return MISUSED;
    }
    let is_repl = helper.is_none() && config.record.run == Run::Repl;
    if is_repl || config.is_interpreter() {
        // Without them the session goes on; CPython has nothing to report yet.
        attached.quietly(|| site_builtins(attached));
        return ffi::run_main(attached);
    }
    let outcome = match helper {
        Some(helper) => run_helper(attached, &helper),
        None => execute(attached, &config.record.run),
    };
    let (status, interrupted) = if let Ok(status) = outcome {
        (status, false)
    } else {
        let interrupted = attached.raised(Exception::KeyboardInterrupt);
        ffi::print_exception(attached);
        (1, interrupted)
    };
    let flushed = ffi::finalize(attached);
    if interrupted {
        // Whoever waits for this process must see that Ctrl-C ended it.
        ffi::die_of_interrupt();
    }
    if flushed { status } else { FLUSH_FAILED }
}

fn run_helper(attached: Attached<'_>, helper: &Helper<'_>) -> Result<i32> {
    let argv = helper.argv.iter().map(|a| attached.string(&a.to_string_lossy()));
    attached.set_sys(c"argv", &attached.list(argv.collect::<Result<Vec<_>>>()?)?)?;
    run_code(attached, helper.code.as_bytes())
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

/// A process that `multiprocessing` starts for its own needs.
struct Helper<'a> {
    code: std::borrow::Cow<'a, str>,
    argv: Vec<&'a OsStr>,
}

/// `multiprocessing` starts `sys.executable [options] -c CODE [arguments]` for the processes of spawn and
/// forkserver and for its resource tracker; no other code of that kind is run.
fn multiprocessing_helper(config: &PythonConfig) -> Option<Helper<'_>> {
    const KNOWN: [&[u8]; 3] = [
        b"from multiprocessing.spawn import spawn_main; spawn_main(",
        b"from multiprocessing.resource_tracker import main;main(",
        b"from multiprocessing.forkserver import main; main(",
    ];
    let (option, mut arguments) = interpreter_option(config)?;
    if option != "-c" {
        return None;
    }
    let code = arguments.next()?;
    if !KNOWN.iter().any(|known| code.as_bytes().starts_with(known)) {
        return None;
    }
    let argv = std::iter::once(OsStr::new("-c")).chain(arguments).collect();
    Some(Helper { code: code.to_string_lossy(), argv })
}

/// The first of `-c` and `-m` on the command line, if only options of `python` come before it; and what
/// comes behind it.
fn interpreter_option(config: &PythonConfig) -> Option<(&OsStr, impl Iterator<Item = &OsStr>)> {
    let mut arguments = config.argv.iter().map(OsString::as_os_str).skip(1);
    loop {
        let option = arguments.next()?;
        match option.as_bytes() {
            b"-c" | b"-m" => return Some((option, arguments)),
            // The one option with a separate value among those that `subprocess` passes on.
            b"-X" => drop(arguments.next()?),
            option if option.starts_with(b"-") => {}
            _ => return None,
        }
    }
}

/// What the application asks of a `python` by starting `sys.executable`, where it is not one.
///
/// The application would start once more, and might do the same again, without end.
fn unserved_interpreter_call(config: &PythonConfig) -> Option<String> {
    let (option, mut arguments) = interpreter_option(config)?;
    let value = arguments.next()?.to_str()?;
    let meant = match option.to_str()? {
        "-m" => matches!(config.blob.module(value), Ok(Some(_))),
        _ => value.contains("import "),
    };
    let refused = meant && !config.record.interpreter && crate::config::is_child_of_itself();
    refused.then(|| format!("{} {value}", option.display()))
}

fn name_of(config: &PythonConfig) -> String {
    config.executable.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
