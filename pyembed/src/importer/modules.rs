//! Modules: finding them, running them, and what is asked about them.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyox_blob::Module;
use pyox_blob::layout::ModuleKind;

use super::search::{self, Finds};
use super::state::State;
use super::{collector, namespaces, patches, startup};
use crate::ffi::{self, Arguments, Attached, Exception, Function, Object, Result};
use crate::groups;

/// `find_spec(fullname, path=None, target=None)`: the spec of a module in the blob, else `None`.
///
/// The application's `__main__` is not to be found: `runpy` looks for that of the folder or the zip that it runs.
pub(super) static FIND_SPEC: Function = Function {
    name: c"find_spec",
    parameters: &["fullname", "path", "target"],
    required: 1,
    body: |attached, arguments| {
        let name = arguments.required(0);
        // A `str` with surrogates is the name of no module in the blob.
        let Some(name) = name.text() else { return Ok(attached.none()) };
        if name == "gc" {
            collector::thaw(attached)?;
        }
        match State::checked(attached, name, State::get().blob.module(name))? {
            // Python's own importer knows what is compiled in.
            None
            | Some(Module { kind: ModuleKind::Builtin, .. } | Module { name: "__main__", .. }) => {
                Ok(attached.none())
            }
            Some(_) if State::get().placements.means_another(name) => Ok(attached.none()),
            Some(module) => match search::look(attached, &module, arguments.optional(1))? {
                Finds::Packed => spec_of(attached, &module, arguments.optional(1)),
                Finds::Other(spec) => Ok(spec),
                Finds::Unknown => Ok(attached.none()),
            },
        }
    },
};

/// `create_module(spec)`: `None`, for Python's default.
pub(super) static CREATE_MODULE: Function = Function {
    name: c"create_module",
    parameters: &["spec"],
    required: 1,
    body: |attached, _| Ok(attached.none()),
};

/// `exec_module(module)`: runs a module's code in its namespace.
pub(super) static EXEC_MODULE: Function = Function {
    name: c"exec_module",
    parameters: &["module"],
    required: 1,
    body: |attached, arguments| {
        let object = arguments.required(0);
        let name = object.attribute(c"__name__")?;
        let spec = object.attribute(c"__spec__")?;
        // `importlib.reload` and `runpy` go by the spec; a module may rename itself.
        let found = if spec.is_none() { name } else { spec.attribute(c"name")? };
        let module = find(attached, found.as_str()?)?;
        let state = State::get();
        let code = code_of(attached, &module)?;
        let namespace = object.namespace()?;
        collector::deferred(attached, || {
            state.placements.run(module.name, || {
                state.call_trimmed.get(attached).call([
                    &state.exec.get(attached),
                    &code,
                    &namespace,
                ])
            })
        })?;
        patches::apply(module.name, object)?;
        Ok(attached.none())
    },
};

/// `invalidate_caches()`: there are none.
pub(super) static INVALIDATE_CACHES: Function = Function {
    name: c"invalidate_caches",
    parameters: &[],
    required: 0,
    body: |attached, _| Ok(attached.none()),
};

/// `get_code(fullname)`: a module's code object; `None` for an extension module.
pub(super) static GET_CODE: Function = Function {
    name: c"get_code",
    parameters: &["fullname"],
    required: 1,
    body: |attached, arguments| {
        let module = named(attached, &arguments)?;
        if has_code(&module) { code_of(attached, &module) } else { Ok(attached.none()) }
    },
};

/// `get_source(fullname)`: a module's source text; `None` where the blob does not hold it.
pub(super) static GET_SOURCE: Function = Function {
    name: c"get_source",
    parameters: &["fullname"],
    required: 1,
    body: |attached, arguments| {
        let module = named(attached, &arguments)?;
        let Some(file) = module.file.filter(|_| has_code(&module)) else {
            return Ok(attached.none());
        };
        let state = State::get();
        let bytes = state.blob.file_at(file).and_then(|file| state.read(&file));
        let bytes = attached.bytes(&State::checked(attached, module.name, bytes)?)?;
        attached.import(c"importlib.util")?.call_method(c"decode_source", [&bytes])
    },
};

/// What the `__file__` of a module is.
pub(super) fn filename_of<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
) -> Result<Object<'py>> {
    match location_of(attached, module)? {
        Some(location) => State::get().file_name(attached, module.name, &location),
        None => Err(attached.raise_import_error("a namespace package has no file", module.name)),
    }
}

/// The spec of a module.
///
/// `parent` is the `__path__` of the package that it is in, which only namespace packages look at.
pub(super) fn spec_of<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    parent: Option<&Object<'py>>,
) -> Result<Object<'py>> {
    let state = State::get();
    let name = attached.string(module.name)?;
    if module.kind == ModuleKind::Namespace {
        // Without a loader, importlib makes a namespace package of it, with its own loader and reader.
        let spec = state.module_spec.get(attached).call([&name, &attached.none()])?;
        let path = namespaces::path_of(attached, module, parent)?;
        spec.set_attribute(c"submodule_search_locations", &path)?;
        return Ok(spec);
    }
    let file = filename_of(attached, module)?;
    let loader = state.loaders.of(module, &name, &file)?;
    spec_by(module, &name, &file, &loader)
}

/// The spec of a module that has a file, under the name by which it is imported, with its loader.
pub(super) fn spec_by<'py>(
    module: &Module<'static>,
    name: &Object<'py>,
    file: &Object<'py>,
    loader: &Object<'py>,
) -> Result<Object<'py>> {
    let (state, attached) = (State::get(), file.attached());
    let spec = state.module_spec.get(attached).call([name, loader])?;
    spec.set_attribute(c"origin", file)?;
    spec.set_attribute(c"_set_fileattr", &attached.bool(true))?;
    let location = location_of(attached, module)?.unwrap_or_default();
    if let Some((folder, stem)) = source_parts(&location) {
        let cached = format!("{folder}__pycache__/{stem}.{}.pyc", state.cache_tag);
        let cached = state.file_name(attached, module.name, &cached)?;
        spec.set_attribute(c"cached", &cached)?;
    }
    if module.is_package {
        spec.set_attribute(c"submodule_search_locations", &search_path(attached, module)?)?;
    }
    Ok(spec)
}

/// A module's code object, which names its file as `__file__` does.
///
/// CPython gives the name to code that it has loaded. Here it is in its place before, in a copy of the bytes.
pub(super) fn code_of<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
) -> Result<Object<'py>> {
    thread_local! {
        static COPY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let state = State::get();
    let blob = &state.blob;
    let code = groups::with(|groups| blob.code(module, groups));
    let code = State::checked(attached, module.name, code)?;
    let name = State::checked(attached, module.name, blob.file_name(module, &code))?;
    let object = match name {
        None => attached.unmarshal(&code)?,
        Some(name) => {
            let file = state.file_text(attached, module.name, name.text())?;
            // A process that is recorded leaves nothing behind.
            let is_kept = !ffi::is_recording();
            let mut copy = if is_kept { COPY.take() } else { Vec::new() };
            copy.clear();
            name.write_with(&file, &mut copy);
            let object = attached.unmarshal(&copy);
            copy.shrink_to(KEPT);
            if is_kept {
                COPY.set(copy);
            }
            object?
        }
    };
    // Code is read once; without this the pages of all that was ever imported stay resident.
    let read = READ.fetch_add(code.len(), Ordering::Relaxed) + code.len();
    if read >= KEPT {
        READ.fetch_sub(read, Ordering::Relaxed);
        ffi::let_go(blob.bytes());
    }
    Ok(object)
}

/// How many bytes of code have been read since the blob's pages were let go of, and how many may be.
static READ: AtomicUsize = AtomicUsize::new(0);
const KEPT: usize = 1 << 20;

/// The record of a module that must be there.
pub(super) fn find(attached: Attached<'_>, name: &str) -> Result<Module<'static>> {
    State::checked(attached, name, State::get().blob.module(name))?.ok_or_else(|| {
        attached.raise_import_error(&format!("no module named {name:?} in this executable"), name)
    })
}

fn named(attached: Attached<'_>, arguments: &Arguments<'_>) -> Result<Module<'static>> {
    find(attached, arguments.required(0).as_str()?)
}

fn has_code(module: &Module<'_>) -> bool {
    matches!(module.kind, ModuleKind::Module | ModuleKind::Package)
}

/// The `__path__` of a package that has a file: the folder of that.
fn search_path<'py>(attached: Attached<'py>, module: &Module<'static>) -> Result<Object<'py>> {
    let location = location_of(attached, module)?.unwrap_or_default();
    let folder = location.rsplit_once('/').map_or("", |(folder, _)| folder);
    attached.list([State::get().file_name(attached, module.name, folder)?])
}

/// Where a module lies in the application's tree.
pub(super) fn location_of(
    attached: Attached<'_>,
    module: &Module<'static>,
) -> Result<Option<Cow<'static, str>>> {
    let location = groups::with(|groups| State::get().blob.location(module, groups));
    State::checked(attached, module.name, location)
}

/// `a/b.py` is `a/` and `b`.
fn source_parts(location: &str) -> Option<(&str, &str)> {
    let stem = location.strip_suffix(".py")?;
    let folder = stem.rfind('/').map_or(0, |slash| slash + 1);
    Some(stem.split_at(folder))
}

/// Whether the module of that name is a package.
pub(crate) fn is_package(attached: Attached<'_>, name: &str) -> Result<bool> {
    find(attached, name).map(|module| module.is_package)
}

/// Puts the module's attributes on `__main__` and gives its code, to be run there.
pub(crate) fn prepare_main<'py>(
    attached: Attached<'py>,
    name: &str,
    main: &Object<'py>,
    keep_spec: bool,
) -> Result<Object<'py>> {
    let module = find(attached, name)?;
    if !has_code(&module) {
        let what = format!("{name}: an {} cannot be run", module.kind.name());
        return Err(attached.raise(Exception::ImportError, &what));
    }
    let spec = spec_of(attached, &module, None)?;
    let package = if module.is_package {
        name
    } else {
        name.rsplit_once('.').map_or("", |(parent, _)| parent)
    };
    main.set_attribute(c"__loader__", &spec.attribute(c"loader")?)?;
    main.set_attribute(c"__file__", &spec.attribute(c"origin")?)?;
    if keep_spec {
        startup::set_cached(main, &spec.attribute(c"cached")?)?;
        main.set_attribute(c"__package__", &attached.string(package)?)?;
        main.set_attribute(c"__spec__", &spec)?;
    } else {
        startup::set_cached(main, &attached.none())?;
        main.set_attribute(c"__spec__", &attached.none())?;
    }
    code_of(attached, &module)
}
