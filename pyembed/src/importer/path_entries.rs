//! Paths below the executable as entries of `sys.path`.

use std::collections::BTreeMap;

use super::modules::{find, location_of, spec_of};
use super::python::{Half, python_half};
use super::{State, resources};
use crate::ffi::{Attached, Exception, Function, Result};

static PYTHON: Half = python_half!("path_entries.py");

/// The path hook for paths below the executable's.
pub(super) static PATH_HOOK: Function = Function {
    name: c"_path_hook",
    parameters: &["path"],
    required: 1,
    body: |attached, arguments| {
        let path = arguments.required(0);
        match State::get().location(path)? {
            Some(location) => {
                let location = attached.string(&location)?;
                PYTHON.get(attached, c"PathEntryFinder")?.call([path, &location])
            }
            None => Err(attached.raise(Exception::ImportError, "not a path of this executable")),
        }
    },
};

/// `_spec(fullname)`: the spec of a packed module, whatever comes before it on `sys.path`.
pub(super) static SPEC: Function = Function {
    name: c"_spec",
    parameters: &["fullname"],
    required: 1,
    body: |attached, arguments| {
        let module = find(attached, arguments.required(0).as_str()?)?;
        spec_of(attached, &module, None)
    },
};

/// `_list_modules(folder)`: modules directly in a folder, `(name, is package)` each, by the names of their files.
pub(super) static LIST_MODULES: Function = Function {
    name: c"_list_modules",
    parameters: &["folder"],
    required: 1,
    body: |attached, arguments| {
        let folder = arguments.required(0).as_str()?;
        let mut names = BTreeMap::new();
        for module in State::get().blob.modules() {
            let module = State::checked(attached, folder, module)?;
            if let Some(location) = location_of(attached, &module)?
                && let (around, name) = place(location, module.is_package)
                && around == folder
            {
                names.insert(name, module.is_package);
            }
        }
        let pairs = names.into_iter();
        let pairs = pairs.map(|(name, is_package)| resources::pair(attached, name, is_package));
        attached.list(pairs.collect::<Result<Vec<_>>>()?)
    },
};

/// `_find_in(folder, name)`: the full name of the module that an import of `name` from a folder finds, or `None`. For
/// `__init__` it is the package whose folder it is.
pub(super) static FIND_IN: Function = Function {
    name: c"_find_in",
    parameters: &["folder", "name"],
    required: 2,
    body: |attached, arguments| {
        let folder = arguments.required(0).as_str()?;
        let Some(name) = arguments.required(1).text() else { return Ok(attached.none()) };
        let state = State::get();
        let Some((_, inside)) = state.tree.split(folder) else { return Ok(attached.none()) };
        let package = inside.replace('/', ".");
        let full = match (name, package.as_str()) {
            ("__init__", package) => package.to_owned(),
            (name, "") => name.to_owned(),
            (name, package) => format!("{package}.{name}"),
        };
        let Some(module) = State::checked(attached, &full, state.blob.module(&full))? else {
            return Ok(attached.none());
        };
        let location = location_of(attached, &module)?.unwrap_or_default();
        let is_there = if name == "__init__" {
            location.rsplit_once('/').is_some_and(|(around, _)| around == folder)
        } else {
            place(location, module.is_package) == (folder, name)
        };
        if is_there { attached.string(&full) } else { Ok(attached.none()) }
    },
};

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
