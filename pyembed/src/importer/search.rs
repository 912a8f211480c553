//! Whether an import finds a packed module: `sys.path` or a package's `__path__` decides, as in any Python.

use pyox_blob::Module;
use pyox_blob::layout::ModuleKind;

use super::modules::location_of;
use super::path_entries::place;
use super::state::{Root, State};
use crate::ffi::{Attached, Object, Result};

/// What an import finds.
pub(super) enum Finds<'py> {
    /// The packed module.
    Packed,
    /// What lies in a folder before that of the packed module, by its spec.
    Other(Object<'py>),
    /// Whatever the importers behind this one find: the packed module lies in none of the package's folders.
    Unknown,
}

/// What an import finds that has the name of a packed module. `parent` is the `__path__` of the package that it is in.
///
/// A namespace package gives way to a regular one in any folder. A folder of the executable that was taken out of
/// `sys.path` stays the last one: little works without the standard library.
pub(super) fn look<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    parent: Option<&Object<'py>>,
) -> Result<Finds<'py>> {
    let state = State::get();
    if state.placements.has_module(module.name) {
        // Its package's folder is a real one.
        return Ok(Finds::Packed);
    }
    let location = location_of(attached, module)?;
    let folder = location.as_deref().map(|location| place(location, module.is_package).0);
    let is_namespace = module.kind == ModuleKind::Namespace;
    if folder.is_none() && !is_namespace {
        return Ok(Finds::Packed);
    }
    let parent = parent.filter(|parent| !parent.is_none());
    let Some(searched) = searched(attached, parent) else { return Ok(Finds::Packed) };
    let mut before = Vec::new();
    let mut is_there = is_namespace || parent.is_none();
    for entry in searched {
        match Root::get().location(&entry)? {
            None => before.push(entry),
            Some(inside) if folder == Some(inside.trim_end_matches('/')) => {
                is_there = true;
                break;
            }
            Some(_) => {}
        }
    }
    if !is_there {
        return Ok(Finds::Unknown);
    }
    if before.is_empty() {
        return Ok(Finds::Packed);
    }
    let found = outside(attached, module.name, before)?;
    let is_module = !found.is_none() && !found.attribute(c"loader")?.is_none();
    Ok(if is_module { Finds::Other(found) } else { Finds::Packed })
}

/// The spec of what importlib itself finds under a name in folders that are not the executable's, or `None`.
pub(super) fn outside<'py>(
    attached: Attached<'py>,
    name: &str,
    folders: Vec<Object<'py>>,
) -> Result<Object<'py>> {
    let finder = attached.import(c"_frozen_importlib_external")?.attribute(c"PathFinder")?;
    finder.call_method(c"find_spec", [&attached.string(name)?, &attached.list(folders)?])
}

/// The entries of a package's path, or of `sys.path`; none if it is not a list, as at the end of an interpreter.
fn searched<'py>(
    attached: Attached<'py>,
    parent: Option<&Object<'py>>,
) -> Option<Vec<Object<'py>>> {
    let entries = match parent {
        Some(parent) => parent.iterate(),
        None => attached.sys(c"path").and_then(|path| path.iterate()),
    };
    entries.map_err(|raised| drop(attached.take(raised))).ok()
}
