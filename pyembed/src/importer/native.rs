//! Extension modules and shared libraries, from memory.
//!
//! An extension module is made by Python's own loader, which is told the path that [`images`] gives for its
//! shared object. Libraries that it needs are loaded before it, each once; the dynamic loader then finds
//! them by their SONAMEs.

use std::sync::OnceLock;

use pyox_blob::{File, Module};

use super::{State, images};
use crate::ffi::{Attached, Function, Kept, Object, Result, open_library};

/// `_ctypes.dlopen`, before it was replaced.
static DLOPEN: OnceLock<Kept> = OnceLock::new();

/// `_dlopen(name, mode=0)` of ctypes: a library by its path below the executable comes from memory.
pub(super) static CTYPES_DLOPEN: Function = Function {
    name: c"dlopen",
    parameters: &["name", "mode"],
    required: 1,
    body: |attached, arguments| {
        let state = State::get();
        let name = arguments.required(0);
        let mode = match arguments.optional(1) {
            Some(mode) => mode.clone(),
            None => attached.integer(0)?,
        };
        let Some(original) = DLOPEN.get() else { return Ok(attached.none()) };
        let location = match name.as_str() {
            Ok(name) => state.location(name),
            // `None` stands for the executable itself; anything else is refused by the original.
            Err(raised) => {
                drop(attached.take(raised));
                None
            }
        };
        let Some(location) = location.filter(|location| !location.is_empty()) else {
            return original.get(attached).call([name, &mode]);
        };
        let Some(number) = State::checked(attached, location, state.blob.file_number(location))?
        else {
            return original.get(attached).call([name, &mode]);
        };
        load_needs(attached, location, &state.file(attached, location, number)?)?;
        let image = images::of(attached, location, number)?;
        original.get(attached).call([&attached.string(image.path())?, &mode])
    },
};

/// Lets ctypes load libraries from memory; to be called once its module has run.
pub(super) fn install_ctypes(ctypes: &Object<'_>) -> Result<()> {
    let attached = ctypes.attached();
    let original = ctypes.attribute(c"_dlopen")?.keep();
    DLOPEN.get_or_init(|| original);
    ctypes.set_attribute(c"_dlopen", &CTYPES_DLOPEN.object(attached)?)
}

/// `create_module` for an extension module.
pub(super) fn create<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    spec: &Object<'py>,
) -> Result<Object<'py>> {
    let state = State::get();
    let number = module
        .file
        .ok_or_else(|| attached.raise_import_error("its shared object is missing", module.name))?;
    load_needs(attached, module.name, &state.file(attached, module.name, number)?)?;
    let image = images::of(attached, module.name, number)?;
    // `_imp.create_dynamic` opens what the origin names.
    let origin = spec.attribute(c"origin")?;
    spec.set_attribute(c"origin", &attached.string(image.path())?)?;
    let create = attached.import(c"_imp")?.attribute(c"create_dynamic")?;
    let created = state.call_trimmed.get(attached).call([&create, spec]);
    drop(image);
    match created {
        Ok(created) => {
            spec.set_attribute(c"origin", &origin)?;
            // Modules of the older kind have been told the path that was opened.
            attached.quietly(|| created.set_attribute(c"__file__", &origin));
            Ok(created)
        }
        Err(raised) => {
            attached.aside(|| spec.set_attribute(c"origin", &origin));
            Err(raised)
        }
    }
}

/// `exec_module` for an extension module.
pub(super) fn execute<'py>(attached: Attached<'py>, module: &Object<'py>) -> Result<Object<'py>> {
    let execute = attached.import(c"_imp")?.attribute(c"exec_dynamic")?;
    State::get().call_trimmed.get(attached).call([&execute, module])?;
    Ok(attached.none())
}

/// Loads the libraries that a shared object needs, nearest to none first.
fn load_needs(attached: Attached<'_>, module: &str, file: &File<'static>) -> Result<()> {
    for need in needs(attached, module, file)? {
        load(attached, module, need)?;
    }
    Ok(())
}

/// Loads a library and what it needs, unless that has been done.
///
/// Libraries that need each other (harfbuzz and freetype do) cannot be found by SONAME, because each
/// would have to be loaded before the other: their images name each other by path.
fn load(attached: Attached<'_>, module: &str, number: u32) -> Result<()> {
    if images::is_loaded(number) {
        return Ok(());
    }
    let state = State::get();
    let mut circle = vec![number];
    for need in needs(attached, module, &state.file(attached, module, number)?)? {
        let back = needs(attached, module, &state.file(attached, module, need)?)?;
        if need != number && back.contains(&number) {
            circle.push(need);
        }
    }
    for &member in &circle {
        for need in needs(attached, module, &state.file(attached, module, member)?)? {
            if !circle.contains(&need) {
                load(attached, module, need)?;
            }
        }
    }
    let image = if circle.len() == 1 {
        images::of(attached, module, number)?
    } else {
        images::of_circle(attached, module, &circle)?
    };
    open_library(image.path()).map_err(|error| {
        let path = state.blob.file_at(number).map_or("a library", |file| file.path);
        attached.raise_import_error(&format!("{path}: {error}"), module)
    })
}

/// The numbers of the libraries that a file needs, dependencies first.
fn needs(attached: Attached<'_>, module: &str, file: &File<'static>) -> Result<Vec<u32>> {
    State::checked(attached, module, State::get().blob.needs(file)).map(Iterator::collect)
}
