//! Paths below the executable as entries of `sys.path`.

use pyox_blob::layout::ModuleKind;

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
        if State::get().location(path)?.is_some() {
            PYTHON.get(attached, c"PathEntryFinder")?.call([path])
        } else {
            let what = "not a path of this executable";
            Err(attached.raise(Exception::ImportError, what))
        }
    },
};

/// `_list_modules(package)`: modules directly in a package, `(name, is package)` each; `""` for the top.
pub(super) static LIST_MODULES: Function = Function {
    name: c"_list_modules",
    parameters: &["package"],
    required: 1,
    body: |attached, arguments| {
        let package = arguments.required(0).as_str()?;
        let prefix = if package.is_empty() { String::new() } else { format!("{package}.") };
        let mut modules = Vec::new();
        for module in State::get().blob.modules() {
            let module = State::checked(attached, package, module)?;
            if let Some(name) = module.name.strip_prefix(&prefix)
                && !name.contains('.')
                && module.kind != ModuleKind::Builtin
            {
                modules.push(resources::pair(attached, name, module.is_package)?);
            }
        }
        attached.list(modules)
    },
};

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
