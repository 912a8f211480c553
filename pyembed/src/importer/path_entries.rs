//! Paths below the executable as entries of `sys.path`.

use std::collections::BTreeMap;

use pyox_blob::Module;
use pyox_blob::layout::{FileKind, ModuleKind};

use super::modules::{filename_of, location_of, spec_by, spec_of};
use super::python::{Half, python_half};
use super::resources;
use super::state::{Root, State};
use crate::ffi::{Attached, Exception, Function, Object, Result};

static PYTHON: Half = python_half!("path_entries.py");
static RENAMED: Half = python_half!("renamed.py");

/// The path hook for paths below the executable's.
pub(super) static PATH_HOOK: Function = Function {
    name: c"_path_hook",
    parameters: &["path"],
    required: 1,
    body: |attached, arguments| {
        let path = arguments.required(0);
        let Some(location) = Root::get().location(path)? else {
            return Err(attached.raise(Exception::ImportError, "not a path of this executable"));
        };
        let folder = location.trim_matches('/');
        if !is_folder(attached, folder)? {
            return Err(attached.raise(Exception::ImportError, "not a folder of this executable"));
        }
        PYTHON.get(attached, c"PathEntryFinder")?.call([path])
    },
};

/// Whether a folder holds files or, where sources were left out, modules.
fn is_folder(attached: Attached<'_>, folder: &str) -> Result<bool> {
    let blob = &State::get().blob;
    if resources::is_folder(blob, folder) {
        return Ok(true);
    }
    if State::checked(attached, folder, blob.module("encodings"))?.is_some_and(|m| m.file.is_some())
    {
        return Ok(false);
    }
    modules_in(attached, folder).map(|modules| !modules.is_empty())
}

/// `_iter_modules(path, prefix="")`: modules directly in a folder, `(prefix and name, is package)` each, by the names of
/// their files.
pub(super) static ITER_MODULES: Function = Function {
    name: c"_iter_modules",
    parameters: &["path", "prefix"],
    required: 1,
    body: |attached, arguments| {
        let folder = Root::get().location(arguments.required(0))?.unwrap_or_default();
        let none = attached.string("")?;
        let prefix = arguments.optional(1).unwrap_or(&none);
        let modules = modules_in(attached, folder.trim_matches('/'))?.into_iter();
        let pairs = modules.map(|(name, is_package)| {
            let name = prefix.concatenate(&attached.string(&name)?)?;
            attached.tuple([&name, &attached.bool(is_package)])
        });
        attached.list(pairs.collect::<Result<Vec<_>>>()?)
    },
};

/// The names of the modules directly in a folder, and whether they are packages. Looks at each of the blob's records.
fn modules_in(attached: Attached<'_>, folder: &str) -> Result<BTreeMap<String, bool>> {
    let mut names = BTreeMap::new();
    for module in State::get().blob.modules() {
        let module = State::checked(attached, folder, module)?;
        if let Some(location) = location_of(attached, &module)?
            && let (around, name) = place(&location, module.is_package)
            && around == folder
        {
            names.insert(name.to_owned(), module.is_package);
        }
    }
    Ok(names)
}

/// `_find_in(path, fullname, target=None)`: the spec of what an import of the last part of a name finds in a folder;
/// `None` where that is nothing. `__init__` is the package whose folder it is, as a module of it.
pub(super) static FIND_IN: Function = Function {
    name: c"_find_in",
    parameters: &["path", "fullname", "target"],
    required: 2,
    body: |attached, arguments| {
        let (path, asked) = (arguments.required(0), arguments.required(1));
        let location = Root::get().location(path)?.unwrap_or_default();
        let folder = location.trim_matches('/');
        // A name with surrogates is no packed file's.
        let Some(name) = asked.text() else { return Ok(attached.none()) };
        let tail = name.rsplit_once('.').map_or(name, |(_, tail)| tail);
        let Some(module) = find_in(attached, folder, tail)? else {
            if let Some(file) = source_in(attached, folder, tail)? {
                let external = attached.import(c"_frozen_importlib_external")?;
                let file = Root::get().path_of(attached, &file)?;
                return external.call_method(c"spec_from_file_location", [asked, &file]);
            }
            return namespace_in(attached, path, folder, tail, asked);
        };
        if module.name == name || module.kind == ModuleKind::Namespace {
            return spec_of(attached, &module, None);
        }
        let file = filename_of(attached, &module)?;
        let loader = if module.kind == ModuleKind::Extension {
            State::get().loaders.of(&module, asked, &file)?
        } else {
            let packed = attached.string(module.name)?;
            RENAMED.get(attached, c"Renamed")?.call([asked, &file, &packed])?
        };
        let spec = spec_by(&module, asked, &file, &loader)?;
        if tail == "__init__" {
            spec.set_attribute(c"submodule_search_locations", &attached.none())?;
        }
        Ok(spec)
    },
};

/// The module that an import of `tail` from a folder finds.
fn find_in(attached: Attached<'_>, folder: &str, tail: &str) -> Result<Option<Module<'static>>> {
    let state = State::get();
    let Some((_, inside)) = state.tree.split(folder) else { return Ok(None) };
    let package = inside.replace('/', ".");
    let full = match (tail, package.as_str()) {
        ("__init__", package) => package.to_owned(),
        (tail, "") => tail.to_owned(),
        (tail, package) => format!("{package}.{tail}"),
    };
    let Some(module) = State::checked(attached, &full, state.blob.module(&full))? else {
        return Ok(None);
    };
    let location = location_of(attached, &module)?.unwrap_or_default();
    let is_there = if tail == "__init__" {
        module.kind == ModuleKind::Package
            && location.rsplit_once('/').is_some_and(|(around, _)| around == folder)
    } else {
        place(&location, module.is_package) == (folder, tail)
    };
    Ok(Some(module).filter(|_| is_there))
}

/// A source that was packed as data, because it does not compile: Python reads it, and says what is wrong with it.
fn source_in(attached: Attached<'_>, folder: &str, tail: &str) -> Result<Option<String>> {
    let blob = &State::get().blob;
    for file in ["/__init__.py", ".py"] {
        let slash = if folder.is_empty() { "" } else { "/" };
        let location = format!("{folder}{slash}{tail}{file}");
        let found = State::checked(attached, tail, blob.file(&location))?;
        if found.is_some_and(|file| file.kind == FileKind::Data) {
            return Ok(Some(location));
        }
    }
    Ok(None)
}

/// A folder is a namespace package to an import, as everywhere (PEP 420).
fn namespace_in<'py>(
    attached: Attached<'py>,
    path: &Object<'py>,
    folder: &str,
    tail: &str,
    fullname: &Object<'py>,
) -> Result<Object<'py>> {
    let inside = if folder.is_empty() { tail.to_owned() } else { format!("{folder}/{tail}") };
    if tail.is_empty() || !resources::is_folder(&State::get().blob, &inside) {
        return Ok(attached.none());
    }
    let spec = State::get().module_spec.get(attached).call([fullname, &attached.none()])?;
    let path = path.call_method(c"rstrip", [&attached.string("/")?])?;
    let path = path.concatenate(&attached.string(&format!("/{tail}"))?)?;
    spec.set_attribute(c"submodule_search_locations", &attached.list([path])?)?;
    Ok(spec)
}

/// The folder that a module is imported from, and its name there: `a/b` and `c` for `a/b/c.py` and `a/b/c/__init__.py`.
pub(super) fn place(location: &str, is_package: bool) -> (&str, &str) {
    let (folder, file) = location.rsplit_once('/').unwrap_or(("", location));
    if is_package {
        folder.rsplit_once('/').unwrap_or(("", folder))
    } else {
        (folder, file.split_once('.').map_or(file, |(stem, _)| stem))
    }
}

/// Puts the entries of PYTHONPATH in front of `sys.path`, unless the command line says otherwise.
pub(crate) fn add_python_path(attached: Attached<'_>) -> Result<()> {
    let Some(value) = std::env::var_os("PYTHONPATH").filter(|value| !value.is_empty()) else {
        return Ok(());
    };
    if attached.sys(c"flags")?.attribute(c"ignore_environment")?.as_integer()? != 0 {
        return Ok(());
    }
    let path = attached.sys(c"path")?;
    let entries: Vec<_> = std::env::split_paths(&value).collect();
    for entry in entries.iter().rev() {
        path.insert_first(&attached.path(entry.as_os_str())?)?;
    }
    Ok(())
}
