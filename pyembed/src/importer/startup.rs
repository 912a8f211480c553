//! The time before the importer: what CPython imports while it starts, and what becomes of it.

use std::borrow::Cow;
use std::env;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyox_blob::layout::ModuleKind;
use pyox_blob::{Blob, Module};

use super::modules::spec_of;
use super::state::State;
use crate::ffi::{self, Attached, Object, Result};
use crate::{Error, PythonConfig, groups};

/// What every start imports, where text is UTF-8.
const ALWAYS: [&str; 3] = ["encodings", "encodings.aliases", "encodings.utf_8"];

/// What CPython imports before the importer is there if warnings are configured: `re` serves patterns.
const FOR_WARNINGS: [&str; 15] = [
    "_py_warnings",
    "collections",
    "copyreg",
    "enum",
    "functools",
    "keyword",
    "operator",
    "re",
    "re._casefix",
    "re._compiler",
    "re._constants",
    "re._parser",
    "reprlib",
    "types",
    "warnings",
];

/// Modules that are frozen into libpython, and are in the blob as well.
const IN_LIBPYTHON: [&str; 3] = ["abc", "codecs", "io"];

/// Settings that configure warnings, of `PyConfig` and `PyPreConfig`.
const WARNING_SETTINGS: [&str; 3] = ["warnoptions", "dev_mode", "bytes_warning"];

/// Settings with which another codec may be needed before the importer is there.
const CODEC_SETTINGS: [&str; 2] = ["filesystem_encoding", "stdio_encoding"];

/// What codecs of East Asian text are written in; extension modules in some distributions.
const CODEC_MODULES: [&str; 7] = [
    "_codecs_cn",
    "_codecs_hk",
    "_codecs_iso2022",
    "_codecs_jp",
    "_codecs_kr",
    "_codecs_tw",
    "_multibytecodec",
];

/// The encoding of the locale `C`, in which Python's text is UTF-8.
const ASCII: &CStr = c"ANSI_X3.4-1968";

/// How the importer is installed.
type Install = fn(Attached<'_>, &PythonConfig) -> Result<()>;

/// How the importer comes to an interpreter whose start may need it, until it is there.
static EARLY: Mutex<Option<(PythonConfig, Install)>> = Mutex::new(None);

/// Whether it has come so.
static HAS_INSTALLED: AtomicBool = AtomicBool::new(false);

fn early() -> MutexGuard<'static, Option<(PythonConfig, Install)>> {
    EARLY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Offers what start-up imports as frozen modules.
///
/// Where text is UTF-8 these are three modules; otherwise any codec may be asked for, so it is all of
/// `encodings`. Warnings that are configured need a few more. A codec that is an extension module cannot be
/// frozen: where there are any, the importer comes as soon as one is imported.
pub(super) fn freeze_startup(config: &PythonConfig, install: Install) -> Result<(), Error> {
    *early() = None;
    HAS_INSTALLED.store(false, Ordering::Relaxed);
    let blob = &config.blob;
    let root = ffi::decoded(&config.executable);
    let locale = ffi::locale_encoding();
    let sets_codec = CODEC_SETTINGS.iter().any(|setting| config.sets(setting))
        || ((config.is_interpreter() || config.sets("use_environment"))
            && env::var_os("PYTHONIOENCODING").is_some());
    let mut modules = Vec::new();
    if sets_codec || locale.as_c_str() != c"UTF-8" {
        for module in blob.modules_from("encodings") {
            modules.push(frozen(blob, &module?, &root)?);
        }
        if (sets_codec || locale.as_c_str() != ASCII) && has_codec_extensions(blob)? {
            *early() = Some((config.clone(), install));
            ffi::watch_imports(install_for_codecs);
        }
    } else {
        for name in ALWAYS {
            let module = blob.module(name)?.ok_or_else(|| {
                let what = format!("module {name}: expected it for the start, found none");
                pyox_blob::Error::Malformed(what)
            })?;
            modules.push(frozen(blob, &module, &root)?);
        }
    }
    let is_interpreter = config.is_interpreter();
    let warns = WARNING_SETTINGS.iter().any(|setting| config.sets(setting)) || is_interpreter;
    // Its command line or its environment may turn off what is frozen into libpython.
    let in_libpython = IN_LIBPYTHON.iter().filter(|_| is_interpreter);
    for name in in_libpython.chain(FOR_WARNINGS.iter().filter(|_| warns)) {
        // Not every version has all.
        if let Some(module) = blob.module(name)? {
            modules.push(frozen(blob, &module, &root)?);
        }
    }
    ffi::freeze(modules.into_iter());
    Ok(())
}

fn has_codec_extensions(blob: &Blob<'static>) -> Result<bool, Error> {
    for name in CODEC_MODULES {
        if blob.module(name)?.is_some_and(|module| module.kind == ModuleKind::Extension) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A module's entry, with code that names its file below the executable's path.
fn frozen(
    blob: &Blob<'static>,
    module: &Module<'static>,
    root: &[u8],
) -> Result<(String, Cow<'static, [u8]>, bool), Error> {
    let mut code = groups::with(|groups| blob.code(module, groups))?;
    if let Some(name) = blob.file_name(module, &code)? {
        let mut named = Vec::new();
        name.write_with(&[root, b"/", name.text().as_bytes()].concat(), &mut named);
        code = named.into();
    }
    Ok((module.name.to_owned(), code, module.is_package))
}

/// Installs the importer while CPython starts, if a codec asks for it.
fn install_for_codecs(attached: Attached<'_>, name: &str) -> Result<()> {
    if !CODEC_MODULES.contains(&name) {
        return Ok(());
    }
    let Some((config, install)) = early().take() else { return Ok(()) };
    HAS_INSTALLED.store(true, Ordering::Relaxed);
    install(attached, &config)
}

/// Whether start-up has needed the importer; afterwards it comes no more by itself.
pub(super) fn has_installed() -> bool {
    *early() = None;
    HAS_INSTALLED.load(Ordering::Relaxed)
}

/// Gives each module that start-up loaded from a frozen table the spec that the importer gives it, so
/// that `__file__`, `get_source` and the like work for it as for all others.
pub(super) fn adopt(attached: Attached<'_>) -> Result<()> {
    let state = State::get();
    for name in ALWAYS.into_iter().chain(IN_LIBPYTHON).chain(FOR_WARNINGS) {
        if let Some(loaded) = attached.loaded_module(name)? {
            let found = State::checked(attached, name, state.blob.module(name))?;
            let Some(module) = found else { continue };
            let spec = spec_of(attached, &module, None)?;
            set_attributes(&loaded, &spec)?;
        }
    }
    Ok(())
}

/// Turns CPython's frozen modules off, once its start is over: all are in the blob, and importlib, imported afresh, would
/// take such modules for CPython's own again.
pub(super) fn hide_frozen(attached: Attached<'_>) -> Result<()> {
    ffi::unfreeze();
    let never = attached.integer(-1)?;
    let imp = attached.import(c"_imp")?;
    imp.call_method(c"_override_frozen_modules_for_tests", [&never]).map(|_| ())
}

/// Sets `__cached__`, which modules have before 3.15.
pub(super) fn set_cached(module: &Object<'_>, cached: &Object<'_>) -> Result<()> {
    if cfg!(Py_3_15) { Ok(()) } else { module.set_attribute(c"__cached__", cached) }
}

/// What importlib sets on a module from its spec.
fn set_attributes(module: &Object<'_>, spec: &Object<'_>) -> Result<()> {
    module.set_attribute(c"__spec__", spec)?;
    module.set_attribute(c"__loader__", &spec.attribute(c"loader")?)?;
    module.set_attribute(c"__file__", &spec.attribute(c"origin")?)?;
    set_cached(module, &spec.attribute(c"cached")?)?;
    let path = spec.attribute(c"submodule_search_locations")?;
    if path.is_none() { Ok(()) } else { module.set_attribute(c"__path__", &path) }
}
