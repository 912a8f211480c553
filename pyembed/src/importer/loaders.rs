//! Loaders: what the `__loader__` of a packed module is.
//!
//! They are instances of Python's own classes for files, with a module's name and path, because paths below the executable
//! can be read like all others. Only code comes from elsewhere: a subclass has a few static methods for that.

use std::sync::OnceLock;

use pyox_blob::Module;
use pyox_blob::layout::ModuleKind;

use super::state::State;
use super::{modules, native};
use crate::ffi::{Attached, Function, Kept, Object, Result};

/// The classes, in one interpreter.
pub(super) struct Loaders {
    source: Kept,
    extension: Kept,
    /// For extension modules that Python's own class cannot load; made for the first of them.
    own_extension: OnceLock<Kept>,
}

const DOC: &str = "Loads a module in this executable.";

impl Loaders {
    /// Makes the subclass for modules with code.
    pub(super) fn new(attached: Attached<'_>) -> Result<Self> {
        let external = attached.import(c"_frozen_importlib_external")?;
        let source = external.attribute(c"SourceFileLoader")?;
        let extension = external.attribute(c"ExtensionFileLoader")?;
        let methods = [
            &modules::CREATE_MODULE,
            &modules::EXEC_MODULE,
            &modules::GET_CODE,
            &modules::GET_SOURCE,
        ];
        Ok(Self {
            source: make_class(attached, "Loader", DOC, Some(&source), &methods)?.keep(),
            extension: extension.keep(),
            own_extension: OnceLock::new(),
        })
    }

    fn own_extension(&self, attached: Attached<'_>) -> Result<&Kept> {
        if let Some(class) = self.own_extension.get() {
            return Ok(class);
        }
        let base = self.extension.get(attached);
        let methods = [&native::CREATE_MODULE];
        let class = make_class(attached, "ExtensionLoader", DOC, Some(&base), &methods)?;
        Ok(self.own_extension.get_or_init(|| class.keep()))
    }

    /// The class for modules with code.
    pub(super) fn source<'py>(&self, attached: Attached<'py>) -> Object<'py> {
        self.source.get(attached)
    }

    /// The loader of a module that lies at a path, under the name by which it is imported.
    pub(super) fn of<'py>(
        &self,
        module: &Module<'static>,
        name: &Object<'py>,
        path: &Object<'py>,
    ) -> Result<Object<'py>> {
        let state = State::get();
        let class = if module.kind != ModuleKind::Extension {
            &self.source
        } else if state.placements.has_module(module.name) || path.text().is_none() {
            self.own_extension(path.attached())?
        } else {
            &self.extension
        };
        class.get(path.attached()).call([name, path])
    }
}

/// A class with static methods: built-in functions in a class do not bind.
pub(super) fn make_class<'py>(
    attached: Attached<'py>,
    name: &str,
    doc: &str,
    base: Option<&Object<'py>>,
    methods: &[&'static Function],
) -> Result<Object<'py>> {
    let builtins = attached.import(c"builtins")?;
    let namespace = builtins.call_method(c"dict", [])?;
    namespace.set_item(c"__module__", &attached.string("pyembed")?)?;
    namespace.set_item(c"__doc__", &attached.string(doc)?)?;
    for method in methods {
        namespace.set_item(method.name, &method.object(attached)?)?;
    }
    let bases = base.map_or_else(|| attached.tuple([]), |base| attached.tuple([base]))?;
    builtins.call_method(c"type", [&attached.string(name)?, &bases, &namespace])
}
