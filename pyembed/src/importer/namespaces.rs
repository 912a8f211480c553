//! Namespace packages (PEP 420): what the executable holds of them, and the portions in the file system.
//!
//! importlib's own class for their `__path__` asks a finder again when `sys.path` changes. That finder is here:
//! it puts the executable's portion first and lets `PathFinder` look for more, as it would without us.

use pyox_blob::Module;

use super::State;
use super::modules::{find, search_path};
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

/// The executable's portion, then those of the file system: a list.
fn portions<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    parent: Option<&Object<'py>>,
) -> Result<Object<'py>> {
    let ours = search_path(attached, module)?;
    let searched = match parent {
        Some(parent) => parent.clone(),
        None => attached.sys(c"path")?,
    };
    // Our own portions would be asked for themselves again.
    let mut outside = Vec::new();
    for place in searched.iterate()? {
        if State::get().location(&place)?.is_none() {
            outside.push(place);
        }
    }
    if outside.is_empty() {
        return Ok(ours);
    }
    let finder = attached.import(c"_frozen_importlib_external")?.attribute(c"PathFinder")?;
    let name = attached.string(module.name)?;
    let found = finder.call_method(c"find_spec", [&name, &attached.list(outside)?])?;
    if !found.is_none() && found.attribute(c"loader")?.is_none() {
        let more = found.attribute(c"submodule_search_locations")?;
        ours.call_method(c"extend", [&more])?;
    }
    Ok(ours)
}
