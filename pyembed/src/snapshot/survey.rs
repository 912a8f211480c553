//! A survey: what the import of modules asks of the process, told instead of an image.
//!
//! Each module that `pyox-snapshot` may preload is imported, and what is asked meanwhile is noted for the module whose code
//! runs. `pyox-snapshot` decides what follows. Most of it is in `survey.py`; what C code asks is seen by `ffi::watch`.

use std::ffi::CStr;

use pyox_blob::config::Run;

use super::Request;
use crate::ffi::{self, Arguments, Attached, Function, Object, Result};
use crate::{PythonConfig, importer};

const SOURCE: &CStr =
    match CStr::from_bytes_with_nul(concat!(include_str!("survey.py"), "\0").as_bytes()) {
        Ok(source) => source,
        Err(_) => panic!("expected one NUL, at the end"),
    };

static DRAIN: Function = Function { name: c"drain", parameters: &[], required: 0, body: drain };

/// What C code has asked since the last call: pairs of words and of what they are about.
fn drain<'py>(attached: Attached<'py>, _: Arguments<'py>) -> Result<Object<'py>> {
    let notes = ffi::notes();
    let pairs = notes
        .iter()
        .map(|(what, of)| attached.tuple([&attached.string(what)?, &attached.string(of)?]));
    attached.list(pairs.collect::<Result<Vec<_>>>()?)
}

/// Imports modules, and what the application's start imports if that is wanted, and gives a report in JSON.
pub(super) fn take(
    attached: Attached<'_>,
    config: &PythonConfig,
    request: &Request,
) -> Result<String> {
    let builtins = attached.import(c"builtins")?;
    let globals = builtins.call_method(c"dict", [])?;
    globals.set_item(c"__name__", &attached.string("pyembed")?)?;
    globals.set_item(c"__builtins__", &builtins)?;
    globals.set_item(c"drain", &DRAIN.object(attached)?)?;
    globals.set_item(c"ROOT", &attached.path(config.executable.as_os_str())?)?;
    globals.set_item(c"SEARCHES", &attached.bool(!config.record.search_path.is_empty()))?;
    globals.set_item(c"MOVES", &attached.bool(ffi::has_loader()))?;
    globals.set_item(c"NATIVE", &attached.string(pyox_blob::snapshot::NATIVE)?)?;
    let renewed = builtins.call_method(c"dict", [])?;
    for renewal in &request.renewals {
        let module = attached.string(&renewal.module)?;
        let names = renewed.call_method(c"setdefault", [&module, &attached.list([])?])?;
        names.call_method(c"append", [&attached.string(&renewal.name)?])?;
    }
    globals.set_item(c"RENEWED", &renewed)?;
    globals.set_item(c"STANDARD", &attached.bool(request.level != super::APPLICATION))?;
    let given = builtins.call_method(c"dict", [])?;
    for (name, value) in &config.record.environment {
        let has_folder = attached.bool(value.contains("$ORIGIN"));
        given.call_method(c"__setitem__", [&attached.string(name)?, &has_folder])?;
    }
    globals.set_item(c"GIVEN", &given)?;
    let (of_start, code) = match &config.record.run {
        run if request.wants_start => of_start(attached, run)?,
        _ => (None, attached.none()),
    };
    let names = request.preload.iter().chain(&of_start);
    let names = names.map(|name| attached.string(name)).collect::<Result<Vec<_>>>()?;
    globals.set_item(c"NAMES", &attached.list(names)?)?;
    globals.set_item(c"CODE", &code)?;
    let code = attached.compile(SOURCE, c"<pyembed>")?;
    ffi::watch();
    code.execute(&globals)?;
    let report = globals.item(&attached.string("REPORT")?)?;
    report.map_or_else(|| Ok(String::new()), |report| report.as_str().map(str::to_owned))
}

/// What the application's start imports: a module, or what some code imports.
fn of_start<'py>(attached: Attached<'py>, run: &Run) -> Result<(Option<String>, Object<'py>)> {
    let main_of = |name: &str, by_name| {
        importer::prepare_main(attached, name, &attached.add_module(c"__main__")?, by_name)
    };
    Ok(match run {
        Run::EntryPoint { module, .. } => (Some(module.clone()), attached.none()),
        Run::Script => (None, main_of("__main__", false)?),
        Run::Module(name) if importer::is_package(attached, name)? => {
            (Some(name.clone()), main_of(&format!("{name}.__main__"), true)?)
        }
        Run::Module(name) => (None, main_of(name, true)?),
        Run::Code(_) | Run::Repl => (None, attached.none()),
    })
}
