//! What modules of the standard library know of the process that has imported them: they forget it before an image is taken,
//! and learn anew in a process that begins with it.
//!
//! `tools/pyox-snapshot/src/stdlib.rs` names the modules for which that cannot be done.

use std::ffi::{CStr, CString};
use std::sync::{Mutex, PoisonError};

use crate::ffi::{self, Attached, Kept, Object, Result};

/// A name in a module of the application that each process computes anew.
pub(super) struct Renewal {
    pub(super) module: String,
    pub(super) name: String,
    /// Statements that set it, for the module's namespace.
    code: String,
}

impl Renewal {
    /// Of a module's name, the name in it and the code, whose lines end with `\\n` but for the last.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (module, name, code) = (parts.next()?, parts.next()?, parts.next()?);
        let code = code.replace("\\n", "\n");
        Some(Self { module: module.to_owned(), name: name.to_owned(), code })
    }
}

/// Namespaces and what runs in them, in this order.
static RENEWALS: Mutex<Vec<(Kept, Kept)>> = Mutex::new(Vec::new());

/// Before an image is taken: what the names say is of the process that was recorded.
pub(super) fn forget_renewed(attached: Attached<'_>, renewals: &[Renewal]) -> Result<()> {
    for renewal in renewals {
        let Some(module) = attached.loaded_module(&renewal.module)? else { continue };
        let code = CString::new(renewal.code.as_str()).unwrap_or_default();
        let code = attached.compile(&code, c"<pyembed>")?;
        let name = CString::new(renewal.name.as_str()).unwrap_or_default();
        module.set_attribute(&name, &attached.none())?;
        let renewal = (module.namespace()?.keep(), code.keep());
        RENEWALS.lock().unwrap_or_else(PoisonError::into_inner).push(renewal);
    }
    Ok(())
}

/// Gives the main thread another number in `threading`, where it is found by its number.
fn move_main_thread(attached: Attached<'_>, from: Option<i64>, to: i64) -> Result<()> {
    let Some(threading) = attached.loaded_module("threading")? else { return Ok(()) };
    let number = match from {
        Some(from) => attached.integer(from)?,
        None => threading.call_method(c"get_ident", [])?,
    };
    let thread = threading.attribute(c"_active")?.call_method(c"pop", [&number])?;
    let number = attached.integer(to)?;
    threading.attribute(c"_active")?.call_method(c"__setitem__", [&number, &thread])?;
    thread.set_attribute(c"_ident", &number)?;
    // Set again as after a fork.
    thread.set_attribute(c"_native_id", &attached.integer(0)?)?;
    if cfg!(Py_3_13) {
        let handle = threading.call_method(c"_make_thread_handle", [&number])?;
        thread.set_attribute(c"_handle", &handle)?;
    }
    Ok(())
}

/// Before an image is taken.
pub(super) fn forget(attached: Attached<'_>) -> Result<()> {
    move_main_thread(attached, None, 0)?;
    let (zero, none) = (attached.integer(0)?, attached.none());
    if let Some(random) = attached.loaded_module("random")? {
        // It takes random numbers as after a fork.
        random.call_method(c"seed", [&zero])?;
    }
    if let Some(logging) = attached.loaded_module("logging")? {
        logging.set_attribute(c"_startTime", &zero)?;
    }
    if let Some(sysconfig) = attached.loaded_module("sysconfig")? {
        // It gathers them again when it is asked.
        sysconfig.set_attribute(c"_CONFIG_VARS", &none)?;
        sysconfig.set_attribute(c"_CONFIG_VARS_INITIALIZED", &attached.bool(false))?;
        sysconfig.set_attribute(c"_PROJECT_BASE", &none)?;
    }
    if let Some(process) = attached.loaded_module("multiprocessing.process")? {
        process.set_attribute(c"ORIGINAL_DIR", &none)?;
        set_key(&process, &attached.bytes(&[])?)?;
    }
    Ok(())
}

/// Sets the key by which processes of `multiprocessing` know each other.
fn set_key(process: &Object<'_>, bytes: &Object<'_>) -> Result<()> {
    let key = process.attribute(c"AuthenticationString")?.call([bytes])?;
    process.attribute(c"_current_process")?.attribute(c"_config")?.set_item(c"authkey", &key)
}

/// In a process that begins with the image, before Python code runs as after a fork.
pub(super) fn take_main_thread(attached: Attached<'_>) -> Result<()> {
    move_main_thread(attached, Some(0), ffi::thread_number())
}

/// And afterwards.
pub(super) fn renew(attached: Attached<'_>) -> Result<()> {
    let module = |name: &CStr| attached.import(name);
    if let Some(time) = attached.loaded_module("time")? {
        time.call_method(c"tzset", [])?;
        if let Some(logging) = attached.loaded_module("logging")? {
            let now = if cfg!(Py_3_13) { c"time_ns" } else { c"time" };
            logging.set_attribute(c"_startTime", &time.call_method(now, [])?)?;
        }
    }
    let has_openssl = ["_hashlib", "_ssl"].map(|name| attached.loaded_module(name));
    if has_openssl.into_iter().any(|module| matches!(module, Ok(Some(_)))) {
        ffi::configure_openssl();
    }
    if let Some(sysconfig) = attached.loaded_module("sysconfig")? {
        let path = module(c"os.path")?;
        let executable = path.call_method(c"realpath", [&attached.sys(c"executable")?])?;
        sysconfig.set_attribute(c"_PROJECT_BASE", &path.call_method(c"dirname", [&executable])?)?;
    }
    if let Some(process) = attached.loaded_module("multiprocessing.process")? {
        let os = module(c"os")?;
        // There may be none.
        attached
            .quietly(|| process.set_attribute(c"ORIGINAL_DIR", &os.call_method(c"getcwd", [])?));
        set_key(&process, &os.call_method(c"urandom", [&attached.integer(32)?])?)?;
    }
    // They stay: their memory is the image's.
    let renewals = RENEWALS.lock().unwrap_or_else(PoisonError::into_inner);
    for (namespace, code) in renewals.iter() {
        code.get(attached).execute(&namespace.get(attached))?;
    }
    Ok(())
}
