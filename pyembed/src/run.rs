//! What runs as `__main__`, and how the process ends.

use std::ffi::CString;
use std::path::Path;

use pyox_blob::config::Run;

use crate::ffi::{self, Attached, Exception, Interpreter, Object, Result};
use crate::role::Role;
use crate::{Error, PythonConfig, PythonError, importer};

/// The exit status when the streams cannot be flushed at the end, as in `python`.
const FLUSH_FAILED: i32 = 120;

/// The exit status of a call that cannot be served.
const MISUSED: i32 = 2;

/// Runs what the configuration says and ends the interpreter.
pub(crate) fn main(interpreter: Interpreter, config: &PythonConfig) -> i32 {
    let attached = interpreter.attached();
    if let Role::Refused { what, hint } = &config.role {
        eprintln!("{}: error: {what}", name_of(config));
        eprintln!("{}: hint: {hint}", name_of(config));
        interpreter.finalize();
        return MISUSED;
    }
    let is_repl = config.role == Role::Application && config.record.run == Run::Repl;
    let is_session = (is_repl || config.is_interpreter()) && ffi::begins_session(attached);
    // What `site` brings, where it does not itself. Programs have it in children too, to which `multiprocessing` passes `-S` on.
    // Without that the program goes on; CPython has nothing to report yet.
    let is_without = is_session && config.role == Role::Python { has_site: false };
    let has_words = !config.sets("site_import") && !is_without;
    if has_words && !ffi::is_resumed() {
        attached.quietly(|| site_builtins(attached));
    }
    if config.is_interpreter() {
        attached.quietly(|| importer::add_python_path(attached));
    }
    if is_repl || config.is_interpreter() {
        if has_words && is_session {
            attached.quietly(|| site_session(attached));
            ffi::greet_with_site(attached);
        }
        return interpreter.run_main();
    }
    let (status, interrupted) = interpreter.as_program(|| {
        let outcome = match config.role {
            Role::Worker => worker(attached),
            _ => execute(attached, &config.record.run),
        };
        if outcome.is_ok() {
            return (0, false);
        }
        let interrupted = attached.raised(Exception::KeyboardInterrupt);
        ffi::print_exception(attached);
        (1, interrupted)
    });
    let flushed = interpreter.finalize();
    if interrupted {
        // Whoever waits for this process must see that Ctrl-C ended it.
        ffi::die_of_interrupt();
    }
    if flushed { status } else { FLUSH_FAILED }
}

fn execute(attached: Attached<'_>, run: &Run) -> Result<()> {
    match run {
        // `main` has left that to CPython.
        Run::Repl => Ok(()),
        Run::Code(source) => code(attached, source.as_bytes()),
        Run::Script => module(attached, "__main__", false),
        Run::Module(name) => {
            let package = importer::is_package(attached, name)?;
            if package {
                attached.import(&c_string(attached, name.as_bytes())?)?;
                module(attached, &format!("{name}.__main__"), true)
            } else {
                if let Some((parent, _)) = name.rsplit_once('.') {
                    attached.import(&c_string(attached, parent.as_bytes())?)?;
                }
                module(attached, name, true)
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
            Ok(())
        }
    }
}

/// Does what `multiprocessing` wants of a process, and ends it.
fn worker(attached: Attached<'_>) -> Result<()> {
    attached.import(c"multiprocessing.spawn")?.call_method(c"freeze_support", []).map(drop)
}

/// What has become of something that ran: the exception that it raised as a value.
pub(crate) fn outcome(attached: Attached<'_>, done: Result<()>) -> Result<(), Error> {
    let Err(raised) = done else { return Ok(()) };
    let exits = attached.raised(Exception::SystemExit);
    let exception = attached.take(raised);
    let exception = exception.object();
    let error = if exits { exit_status(exception) } else { describe(exception).map(Error::Raised) };
    Err(error.unwrap_or_else(|raised| Error::Start(attached.take(raised).describe())))
}

/// As CPython ends a process: a status as it is, none for 0, and everything else is a message.
fn exit_status(exit: &Object<'_>) -> Result<Error> {
    let code = exit.attribute(c"code")?;
    if code.is_none() {
        return Ok(Error::Exit(0));
    }
    let status = code.as_integer().map_err(|raised| drop(exit.attached().take(raised)));
    if status.is_err() {
        eprintln!("{}", code.to_display()?);
    }
    // The kernel keeps the last byte.
    Ok(Error::Exit(status.map_or(1, |status| i32::try_from(status & 0xff).unwrap_or(1))))
}

fn describe(exception: &Object<'_>) -> Result<PythonError> {
    let traceback = exception.attached().import(c"traceback")?;
    let lines = traceback.call_method(c"format_exception", [exception])?;
    let lines: Vec<String> =
        lines.iterate()?.iter().map(Object::to_display).collect::<Result<_>>()?;
    Ok(PythonError {
        class: exception.class_name(),
        message: exception.to_display()?,
        traceback: lines.concat(),
    })
}

/// Runs a module as `__main__`, wherever it comes from.
pub(crate) fn any_module(attached: Attached<'_>, name: &str) -> Result<()> {
    let runpy = attached.import(c"runpy")?;
    let (name, alter) = (attached.string(name)?, attached.bool(false));
    runpy.call_method(c"_run_module_as_main", [&name, &alter]).map(drop)
}

/// Runs a script of the file system as `__main__`.
pub(crate) fn file(attached: Attached<'_>, path: &Path) -> Result<()> {
    let main = attached.add_module(c"__main__")?;
    let path = attached.path(path.as_os_str())?;
    let source = attached.import(c"io")?.call_method(c"open_code", [&path])?;
    let (bytes, mode) = (source.call_method(c"read", [])?, attached.string("exec")?);
    source.call_method(c"close", [])?;
    let code = attached.import(c"builtins")?.call_method(c"compile", [&bytes, &path, &mode])?;
    main.set_attribute(c"__file__", &path)?;
    run_in(&main, &code)
}

/// A session on stdin, with history where there is `readline`.
pub(crate) fn repl(attached: Attached<'_>) -> Result<()> {
    attached.quietly(|| site_builtins(attached));
    attached.quietly(|| attached.import(c"readline").map(drop));
    let names = attached.add_module(c"__main__")?.namespace()?;
    let console = attached.import(c"code")?.call_method(c"InteractiveConsole", [&names])?;
    console.call_method(c"interact", [&attached.string("")?, &attached.string("")?]).map(drop)
}

/// Runs a module's code as `__main__`.
fn module(attached: Attached<'_>, name: &str, by_name: bool) -> Result<()> {
    let main = attached.add_module(c"__main__")?;
    let code = importer::prepare_main(attached, name, &main, by_name)?;
    run_in(&main, &code)
}

/// Runs Python source in `__main__`, as `python -c` does.
pub(crate) fn code(attached: Attached<'_>, source: &[u8]) -> Result<()> {
    let main = attached.add_module(c"__main__")?;
    let code = attached.compile(&c_string(attached, source)?, c"<string>")?;
    run_in(&main, &code)
}

fn run_in(main: &Object<'_>, code: &Object<'_>) -> Result<()> {
    code.execute(&main.namespace()?).map(drop)
}

fn c_string(attached: Attached<'_>, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| attached.raise(Exception::RuntimeError, "the blob names a module with a NUL"))
}

/// `exit`, `quit` and `help`: programs use them without asking where they come from. It is `site` that brings them.
pub(crate) fn site_builtins(attached: Attached<'_>) -> Result<()> {
    let builtins = attached.import(c"builtins")?;
    let site = attached.import(c"_sitebuiltins")?;
    let (quitter, end) = (site.attribute(c"Quitter")?, attached.string("Ctrl-D (i.e. EOF)")?);
    for (name, text) in [(c"exit", "exit"), (c"quit", "quit")] {
        builtins.set_attribute(name, &quitter.call([&attached.string(text)?, &end])?)?;
    }
    builtins.set_attribute(c"help", &site.attribute(c"_Helper")?.call([])?)
}

/// The rest of it, which sessions alone have: `copyright`, `credits`, `license`, and completion and history by `readline`.
fn site_session(attached: Attached<'_>) -> Result<()> {
    let site = attached.import(c"site")?;
    site.call_method(c"setcopyright", [])?;
    let is_isolated = attached.sys(c"flags")?.attribute(c"isolated")?.as_integer()? != 0;
    if !is_isolated {
        site.call_method(c"enablerlcompleter", [])?;
    }
    Ok(())
}

fn name_of(config: &PythonConfig) -> String {
    config.executable.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
