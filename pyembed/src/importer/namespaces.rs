//! Namespace packages (PEP 420): what the executable holds of them, and the portions in the file system.
//!
//! importlib's own class for their `__path__` asks a finder again when `sys.path` changes. That finder is here:
//! it puts the executable's portions first and lets `PathFinder` look for more, as it would without us.

use pyox_blob::Module;

use super::modules::{find, location_of};
use super::state::{Root, State};
use super::{resources, search};
use crate::ffi::{Attached, Function, Object, Result};

/// `_find_namespace(fullname, path=None)`: a spec with all portions of a namespace package.
static FIND: Function = Function {
    name: c"_find_namespace",
    parameters: &["fullname", "path"],
    required: 1,
    body: |attached, arguments| {
        let name = arguments.required(0);
        let spec = State::get().module_spec.get(attached).call([name, &attached.none()])?;
        let module = find(attached, name.as_str()?)?;
        let portions = portions(attached, &module, arguments.optional(1))?;
        spec.set_attribute(c"submodule_search_locations", &portions)?;
        Ok(spec)
    },
};

/// The `__path__` of a namespace package.
pub(super) fn path_of<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    parent: Option<&Object<'py>>,
) -> Result<Object<'py>> {
    let external = attached.import(c"_frozen_importlib_external")?;
    let name = attached.string(module.name)?;
    let portions = portions(attached, module, parent)?;
    external.call_method(c"_NamespacePath", [&name, &portions, &FIND.object(attached)?])
}

/// The folders of the executable that belong to a namespace package, in the order of `sys.path`.
fn packed<'py>(attached: Attached<'py>, module: &Module<'static>) -> Result<Vec<Object<'py>>> {
    let state = State::get();
    let inside = module.name.replace('.', "/");
    let folders = state.tree.search_path().map(|folder| format!("{folder}/{inside}"));
    let has_files = |folder: &&String| resources::is_folder(&state.blob, folder);
    let mut found: Vec<&String> = folders.iter().filter(has_files).collect();
    if found.is_empty() {
        // Without sources, the modules say where they were.
        let prefix = format!("{}.", module.name);
        for below in state.blob.modules_from(&prefix) {
            let below = State::checked(attached, module.name, below)?;
            let location = location_of(attached, &below)?.unwrap_or_default();
            let folder = folders.iter().find(|folder| {
                location.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            found.extend(folder.filter(|folder| !found.contains(folder)));
        }
    }
    found.into_iter().map(|folder| state.file_name(attached, module.name, folder)).collect()
}

/// The executable's portions, then those of the file system: a list.
fn portions<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    parent: Option<&Object<'py>>,
) -> Result<Object<'py>> {
    let ours = attached.list(packed(attached, module)?)?;
    let searched = match parent {
        Some(parent) => parent.clone(),
        None => attached.sys(c"path")?,
    };
    // Our own portions would be asked for themselves again.
    let mut outside = Vec::new();
    for place in searched.iterate()? {
        if Root::get().location(&place)?.is_none() {
            outside.push(place);
        }
    }
    if outside.is_empty() {
        return Ok(ours);
    }
    let found = search::outside(attached, module.name, outside)?;
    if !found.is_none() && found.attribute(c"loader")?.is_none() {
        let more = found.attribute(c"submodule_search_locations")?;
        ours.call_method(c"extend", [&more])?;
    }
    Ok(ours)
}
