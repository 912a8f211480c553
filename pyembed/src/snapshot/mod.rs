//! The start-up snapshot as a process sees it: what is done before an image is taken, and what a process that begins with one
//! does instead of a start.
//!
//! An image is taken when the importer is in place and the modules that are to be in it are imported. What differs from
//! process to process is set again here, in place, because modules, classes and default arguments may have bound the objects
//! themselves: the command line, the environment, streams, signal handlers, the time zone.

use std::ffi::{CStr, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use pyox_blob::config::Value;

use crate::ffi::{self, Attached, Image, Object, Result};
use crate::{PythonConfig, files, importer, role, run, surroundings};

mod modules;
mod survey;

use modules::Renewal;

/// Settings that a start with an image follows as well. All others may change what happens before an image is taken.
const ALLOWED: [&str; 16] = [
    "buffered_stdio",
    "bytes_warning",
    "code_debug_ranges",
    "hash_seed",
    "inspect",
    "install_signal_handlers",
    "int_max_str_digits",
    "module_search_paths",
    "optimization_level",
    "quiet",
    "safe_path",
    "use_hash_seed",
    "user_site_directory",
    "verbose",
    "warnoptions",
    "write_bytecode",
];

/// The seed of the process that is recorded: any but 0, which would turn hashing by a seed off.
const SEED: i64 = 1;

/// What is wanted of a recorded process.
pub(crate) struct Request {
    of_process: ffi::Request,
    level: String,
    preload: Vec<String>,
    /// Modules that the image must not hold.
    refused: Vec<String>,
    has_fixed_hashes: bool,
    /// Whether what imports ask of the process is to be told, in place of an image.
    is_survey: bool,
    /// Whether what the application's start imports is imported too.
    wants_start: bool,
    guards: ffi::Guards,
    renewals: Vec<Renewal>,
    /// Members of a JSON object that the image tells of itself.
    facts: String,
}

/// The level that holds the application's own modules.
const APPLICATION: &str = "application";

/// The request, in a process that is recorded; prepares its configuration.
pub(crate) fn request(config: &mut PythonConfig) -> Option<Request> {
    if !ffi::is_recording() {
        return None;
    }
    let of_process = ffi::Request::read();
    let line = |name: &str| of_process.text.lines().find_map(|line| line.strip_prefix(name));
    if !ffi::set_apart(line("apart ")) {
        ffi::fail("the order of the memory is not understood");
    }
    let mut request = Request {
        level: "interpreter".to_owned(),
        preload: Vec::new(),
        refused: Vec::new(),
        has_fixed_hashes: false,
        is_survey: false,
        wants_start: false,
        guards: ffi::Guards::default(),
        renewals: Vec::new(),
        facts: String::new(),
        of_process,
    };
    let (mut seed, mut asks_for_order) = (SEED, false);
    for line in request.of_process.text.lines() {
        match line.split_once(' ') {
            Some(("apart", _)) => {}
            Some(("answer", "order")) => asks_for_order = true,
            None if line == "start" => request.wants_start = true,
            None if line == "survey" => request.is_survey = true,
            None if line == "guard-links" => request.guards.has_no_links = true,
            Some(("renew", rest)) => match Renewal::parse(rest) {
                Some(renewal) => request.renewals.push(renewal),
                None => ffi::fail(&format!("unknown request: {line}")),
            },
            Some(("guard", name)) => request.guards.without(name),
            Some(("facts", members)) => members.clone_into(&mut request.facts),
            Some(("level", level)) => level.clone_into(&mut request.level),
            Some(("preload", name)) => request.preload.push(name.to_owned()),
            Some(("refuse", name)) => request.refused.push(name.to_owned()),
            Some(("fixed-hash-seed", number)) => {
                seed = number.parse().unwrap_or(SEED);
                request.has_fixed_hashes = true;
            }
            _ => ffi::fail(&format!("unknown request: {line}")),
        }
    }
    request.of_process.asks_for_order = asks_for_order;
    let record = &mut config.record;
    for setting in record.config.iter().chain(&record.preconfig) {
        if !ALLOWED.contains(&setting.name.as_str()) {
            ffi::fail(&format!(
                "the application sets {}, which decides how Python starts",
                setting.name
            ));
        }
    }
    if config.sets("use_hash_seed") || config.sets("hash_seed") {
        request.has_fixed_hashes = true;
    } else {
        let settings = [("use_hash_seed", Value::Integer(1)), ("hash_seed", Value::Integer(seed))];
        for (name, value) in settings {
            *config = config.clone().config(name, value);
        }
    }
    // They may be below the executable's folder, and come later.
    // What is looked for there is looked for in vain.
    config.search_path.clear();
    Some(request)
}

/// Imports what is to be in the image, takes it, and ends the process.
pub(crate) fn record(attached: Attached<'_>, config: &PythonConfig, request: Request) -> ! {
    // Which `run::main` does otherwise.
    attached.quietly(|| run::site_builtins(attached));
    let ready = empty_environment(attached).and_then(|()| {
        if request.level == APPLICATION {
            surroundings::set_variables(attached, config)
        } else {
            Ok(())
        }
    });
    if request.is_survey {
        let told = ready.and_then(|()| survey::take(attached, config, &request));
        match told {
            Ok(report) => request.of_process.answer([report.as_bytes()]),
            Err(raised) => ffi::fail(&attached.take(raised).describe()),
        }
    }
    let done = ready
        .and_then(|()| ffi::prepare_end(&importer::unlisted(attached, "atexit")?))
        .and_then(|()| preload(attached, &request))
        .and_then(|()| modules::forget_renewed(attached, &request.renewals))
        .and_then(|()| forget(attached, config))
        .and_then(|()| names(attached));
    let taken = done.and_then(|modules| {
        files::unmount();
        let path = config.executable.as_os_str().as_bytes();
        let (level, is_fixed, more) = (request.level, request.has_fixed_hashes, request.facts);
        ffi::take(attached, request.of_process, path, is_fixed, request.guards, |facts| {
            describe(&level, is_fixed, &modules, facts, &more)
        })
    });
    match taken {
        Ok(()) => ffi::fail("no image was taken"),
        Err(raised) => ffi::fail(&attached.take(raised).describe()),
    }
}

fn preload(attached: Attached<'_>, request: &Request) -> Result<()> {
    let import = attached.import(c"builtins")?.attribute(c"__import__")?;
    let standard = attached.sys(c"stdlib_module_names")?.iterate()?;
    let standard: Vec<&str> = standard.iter().filter_map(Object::text).collect();
    for name in &request.preload {
        let top = name.split('.').next().unwrap_or(name);
        if request.level != APPLICATION && !standard.contains(&top) {
            ffi::fail(&format!("--preload {name}: it is not of the standard library"));
        }
        if let Err(raised) = import.call([&attached.string(name)?]) {
            ffi::fail(&format!("--preload {name}: {}", attached.take(raised).describe()));
        }
        for refused in &request.refused {
            if attached.loaded_module(refused)?.is_some() {
                // The tool knows why.
                ffi::fail(&format!("refused {refused} {name}"));
            }
        }
    }
    Ok(())
}

/// Takes from Python what the recorded process has in its environment.
fn empty_environment(attached: Attached<'_>) -> Result<()> {
    attached.import(c"posix")?.attribute(c"environ")?.call_method(c"clear", []).map(drop)
}

/// Makes the process forget what is its own.
fn forget(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    empty_environment(attached)?;
    let none = attached.list([])?;
    attached.sys(c"argv")?.set_items(&none)?;
    attached.sys(c"orig_argv")?.set_items(&none)?;
    modules::forget(attached)?;
    empty_streams(attached, config)?;
    ffi::collect(attached);
    importer::set_aside(attached)
}

/// Puts nothing below the standard streams, in place of files of the recorded process: CPython notes what kind of files they are.
fn empty_streams(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let memory = attached.import(c"_io")?.attribute(c"BytesIO")?;
    for (number, (_, dunder, _)) in STREAMS.into_iter().enumerate() {
        let text = attached.sys(dunder)?;
        let mut below = memory.call([])?;
        if is_buffered(config, number) {
            let buffer = text.attribute(c"buffer")?;
            buffer.call_method(c"__init__", [&below])?;
            below = buffer;
        }
        text.call_method(c"__init__", [&below, &attached.string("utf-8")?])?;
    }
    Ok(())
}

/// The names of the modules that have been imported.
fn names(attached: Attached<'_>) -> Result<Vec<String>> {
    let names = attached.sys(c"modules")?.iterate()?;
    Ok(names.iter().filter_map(|name| name.text().map(str::to_owned)).collect())
}

/// What the image tells of itself: a JSON object.
fn describe(
    level: &str,
    is_fixed: bool,
    modules: &[String],
    facts: &ffi::Facts,
    more: &str,
) -> String {
    let names: Vec<_> = modules.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "{{\"level\":\"{level}\",\"hashes\":\"{}\",\"objects\":{},\"texts\":{},{more}\"modules\":[{}]}}",
        if is_fixed { "fixed" } else { "fresh" },
        facts.objects,
        facts.texts,
        names.join(",")
    )
}

/// Begins with the image and runs the application. Gives the exit status, or none if the image cannot be used.
pub(crate) fn resume(image: Image) -> Option<i32> {
    let mut config = PythonConfig::embedded().ok()?;
    if !role::is_plain(&mut config) || !image.fits(config.executable.as_os_str().as_bytes()) {
        return None;
    }
    let interpreter =
        image.adopt(config.executable.as_os_str().as_bytes(), modules::take_main_thread);
    let attached = interpreter.attached();
    let ready = renew(attached, &config).and_then(|()| surroundings::prepare(attached, &config));
    if let Err(raised) = ready {
        let name = config.executable.file_name().unwrap_or_default();
        eprintln!("{}: error: {}", name.display(), attached.take(raised).describe());
        return Some(2);
    }
    ffi::leave_to_the_system();
    Some(run::main(interpreter, &config))
}

/// Sets what differs from process to process.
fn renew(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    files::mount(config.blob, &config.executable);
    importer::move_to(attached, config)?;
    if !has(config, "install_signal_handlers", 0) {
        signals(attached)?;
    }
    environment(attached)?;
    let arguments = config.argv.iter().map(|argument| attached.path(argument));
    let arguments = attached.list(arguments.collect::<Result<Vec<_>>>()?)?;
    attached.sys(c"argv")?.set_items(&arguments)?;
    attached.sys(c"orig_argv")?.set_items(&arguments)?;
    for number in 0..3 {
        stream(attached, config, number)?;
    }
    modules::renew(attached)?;
    fresh_main(attached)
}

fn has(config: &PythonConfig, name: &str, number: i64) -> bool {
    config.record.config.iter().any(|setting| {
        setting.name == name
            && match setting.value {
                Value::Integer(value) => value == number,
                Value::Boolean(value) => i64::from(value) == number,
                _ => false,
            }
    })
}

/// What CPython does at its start: it notes which signals are ignored, ignores two, and handles SIGINT.
fn signals(attached: Attached<'_>) -> Result<()> {
    /// CPython ignores them.
    const IGNORED: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];
    let module = attached.import(c"_signal")?;
    for signal in IGNORED {
        ffi::ignore(signal);
    }
    for signal in 1..=libc::SIGRTMAX() {
        let handler = match ffi::is_ignored(signal) {
            Some(true) if !IGNORED.contains(&signal) => c"SIG_IGN",
            Some(false) if signal == libc::SIGINT => c"default_int_handler",
            _ => continue,
        };
        let number = attached.integer(signal.into())?;
        module.call_method(c"signal", [&number, &module.attribute(handler)?])?;
    }
    Ok(())
}

/// Fills `posix.environ`, which is the dictionary of `os.environ` as well.
fn environment(attached: Attached<'_>) -> Result<()> {
    let environ = attached.import(c"posix")?.attribute(c"environ")?;
    for (name, value) in std::env::vars_os() {
        let name = attached.bytes(&name.into_vec())?;
        // Of a variable that is there twice the first counts.
        environ.call_method(c"setdefault", [&name, &attached.bytes(&value.into_vec())?])?;
    }
    Ok(())
}

/// The standard streams, by their descriptors: two names in `sys`, and the mode.
const STREAMS: [(&CStr, &CStr, &str); 3] = [
    (c"stdin", c"__stdin__", "rb"),
    (c"stdout", c"__stdout__", "wb"),
    (c"stderr", c"__stderr__", "wb"),
];

/// Whether a standard stream has a buffer of bytes.
fn is_buffered(config: &PythonConfig, number: usize) -> bool {
    number == 0 || !has(config, "buffered_stdio", 0)
}

/// Opens a standard stream as CPython does, in the object that is there.
fn stream(attached: Attached<'_>, config: &PythonConfig, number: usize) -> Result<()> {
    let (name, dunder, mode) = STREAMS[number];
    let descriptor = c_int::try_from(number).unwrap_or(-1);
    let text = attached.sys(dunder)?;
    let sys = attached.import(c"sys")?;
    if !ffi::is_open(descriptor) {
        sys.set_attribute(name, &attached.none())?;
        return sys.set_attribute(dunder, &attached.none());
    }
    let io = attached.import(c"_io")?;
    let descriptor = attached.integer(descriptor.into())?;
    let raw = io.attribute(c"FileIO")?.call([
        &descriptor,
        &attached.string(mode)?,
        &attached.bool(false),
    ])?;
    let label = attached.string(&format!("<{}>", name.to_string_lossy()))?;
    raw.set_attribute(c"name", &label)?;
    let is_terminal = raw.call_method(c"isatty", [])?.as_integer()? != 0;
    let below = if is_buffered(config, number) {
        let buffer = text.attribute(c"buffer")?;
        buffer.call_method(c"__init__", [&raw, &raw.attribute(c"_blksize")?])?;
        buffer
    } else {
        raw
    };
    let errors = match number {
        2 => "backslashreplace",
        _ if ffi::is_c_locale() || ffi::is_utf8_mode() => "surrogateescape",
        _ => "strict",
    };
    let is_lined = !has(config, "buffered_stdio", 0);
    text.call_method(
        c"__init__",
        [
            &below,
            &attached.string("utf-8")?,
            &attached.string(errors)?,
            &attached.string("\n")?,
            &attached.bool(is_lined && (is_terminal || number == 2)),
            &attached.bool(!is_lined),
        ],
    )?;
    Ok(())
}

/// Replaces `__main__`, so that what the application has in it dies with it: nothing of an image ever does.
fn fresh_main(attached: Attached<'_>) -> Result<()> {
    let name = c"__main__";
    let old = attached.add_module(name)?;
    let main = attached.new_module(name)?;
    let namespace = old.namespace()?;
    let has = |name: &CStr| namespace.item(&attached.string(&name.to_string_lossy())?);
    if has(c"__annotations__")?.is_some() {
        let annotations = attached.import(c"builtins")?.call_method(c"dict", [])?;
        main.set_attribute(c"__annotations__", &annotations)?;
    }
    for name in [c"__builtins__", c"__loader__"] {
        if let Some(value) = has(name)? {
            main.set_attribute(name, &value)?;
        }
    }
    let modules = attached.sys(c"modules")?;
    let other = c"__mp_main__";
    // Another name, which `multiprocessing` gives it.
    if attached.loaded_module(&other.to_string_lossy())?.is_some() {
        modules.set_item(other, &main)?;
    }
    modules.set_item(name, &main)
}
