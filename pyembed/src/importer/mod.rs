//! The importer: finder and loader of everything in the blob.
//!
//! One Python class, `pyembed.Importer`, whose methods are static, stands first in `sys.meta_path` and is
//! the `__loader__` of every module it finds. Nearly all of it is Rust; the little that must be Python
//! has a half in [`python`], compiled when it is first needed.
//!
//! Locations look like paths below the executable: the module `json.decoder` of `/opt/app` has the `__file__`
//! `/opt/app/lib/python3.13/json/decoder.py`. `crate::files` serves such paths behind the C library's functions.

mod collector;
mod images;
mod locations;
mod modules;
mod namespaces;
mod native;
mod patches;
mod path_entries;
mod private;
mod python;
mod resources;
mod search;
mod startup;

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use pyox_blob::Blob;
use pyox_blob::tree::Tree;

use crate::PythonConfig;
use crate::ffi::{self, Attached, Function, Kept, Object, Own, Result};

use locations::Locations;

pub(crate) use modules::{is_package, prepare_main};
pub(crate) use path_entries::add_python_path;
pub(crate) use startup::freeze_startup;

/// What the importer works with, in one interpreter; set once, when it is installed.
struct State {
    blob: Blob<'static>,
    /// The executable.
    executable: PathBuf,
    /// Its path as Python has it: what locations begin with.
    root: Kept,
    /// The same as marshalled text.
    root_text: Vec<u8>,
    /// The path without links, where it is another; once it was asked for.
    canonical: OnceLock<Option<Kept>>,
    /// Where in the blob's tree modules lie.
    tree: Tree,
    /// The packages whose files are real files.
    locations: Locations,
    /// `cpython-313`, which `__cached__` has in it.
    cache_tag: String,
    class: Kept,
    module_spec: Kept,
    /// Calls a function so that importlib's own frames are trimmed from tracebacks.
    call_trimmed: Kept,
    exec: Kept,
}

static STATE: Own<State> = Own::new();

/// The importer's methods.
static METHODS: [&Function; 15] = [
    &modules::FIND_SPEC,
    &modules::CREATE_MODULE,
    &modules::EXEC_MODULE,
    &modules::INVALIDATE_CACHES,
    &modules::GET_CODE,
    &modules::GET_SOURCE,
    &modules::GET_FILENAME,
    &modules::IS_PACKAGE,
    &resources::GET_DATA,
    &resources::GET_RESOURCE_READER,
    &resources::REAL_PATH,
    &path_entries::PATH_HOOK,
    &path_entries::ITER_MODULES,
    &path_entries::FIND_IN,
    &path_entries::SPEC,
];

/// The class `pyembed.Importer`. Built-in functions in a class are static methods: they do not bind.
///
/// It has a type of its own, by which `importlib.abc` can know it for a loader.
fn make_class<'py>(attached: Attached<'py>, builtins: &Object<'py>) -> Result<Object<'py>> {
    let namespace = builtins.call_method(c"dict", [])?;
    namespace.set_item(c"__module__", &attached.string("pyembed")?)?;
    let doc = "Finder and loader of the modules in this executable.";
    namespace.set_item(c"__doc__", &attached.string(doc)?)?;
    for method in METHODS {
        namespace.set_item(method.name, &method.object(attached)?)?;
    }
    let name = attached.string("ImporterType")?;
    let bases = attached.tuple([&builtins.attribute(c"type")?])?;
    let members = builtins.call_method(c"dict", [])?;
    members.set_item(c"__module__", &attached.string("pyembed")?)?;
    let metaclass = builtins.call_method(c"type", [&name, &bases, &members])?;
    let (name, bases) = (attached.string("Importer")?, attached.tuple([])?);
    metaclass.call([&name, &bases, &namespace])
}

/// Makes the importer and puts it first, where start-up has not needed it already, and gives the modules that
/// start-up loaded their place in it.
pub(crate) fn install(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    if !startup::has_installed() {
        put_first(attached, config)?;
    }
    *MAIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
    ffi::prepare_by(install_again);
    startup::adopt(attached)?;
    startup::hide_frozen();
    collector::begin(attached)
}

/// What the main interpreter was started with.
static MAIN: Mutex<Option<PythonConfig>> = Mutex::new(None);

/// The same for an interpreter that comes later.
fn install_again(attached: Attached<'_>) -> Result<()> {
    let config = MAIN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(config) = config else { return Ok(()) };
    put_first(attached, &config)?;
    startup::adopt(attached)?;
    collector::begin(attached)
}

/// Makes the importer and puts it first.
fn put_first(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let bootstrap = attached.import(c"_frozen_importlib")?;
    let builtins = attached.import(c"builtins")?;
    let class = make_class(attached, &builtins)?;
    let implementation = attached.sys(c"implementation")?;
    let state = State {
        blob: config.blob,
        executable: config.executable.clone(),
        root: attached.path(config.executable.as_os_str())?.keep(),
        root_text: ffi::decoded(&config.executable),
        canonical: OnceLock::new(),
        tree: Tree::of(config.record.python),
        locations: State::checked(
            attached,
            "locations",
            Locations::new(&config.blob, &config.record.locations),
        )?,
        cache_tag: implementation.attribute(c"cache_tag")?.as_str()?.to_owned(),
        class: class.clone().keep(),
        module_spec: bootstrap.attribute(c"ModuleSpec")?.keep(),
        call_trimmed: bootstrap.attribute(c"_call_with_frames_removed")?.keep(),
        exec: builtins.attribute(c"exec")?.keep(),
    };
    STATE.get_or_set(state);
    attached.sys(c"meta_path")?.insert_first(&class)?;
    attached.sys(c"path_hooks")?.insert_first(&class.attribute(c"_path_hook")?)?;
    if !config.sets("module_search_paths") {
        let (state, path) = (State::get(), attached.sys(c"path")?);
        for folder in state.tree.search_path() {
            path.call_method(c"append", [&state.path_of(attached, folder)?])?;
        }
    }
    native::install();
    collector::install(attached)
}

impl State {
    /// What was installed. Python can only call what `install` made.
    fn get() -> &'static Self {
        STATE.get().expect("the importer's methods exist only once it is installed")
    }

    /// The `__file__` of something of a module that lies at a location.
    fn file_name<'py>(
        &self,
        attached: Attached<'py>,
        module: &str,
        location: &str,
    ) -> Result<Object<'py>> {
        if let Some(root) = self.locations.root(attached, module)? {
            return attached.string(&format!("{root}/{location}"));
        }
        self.path_of(attached, location)
    }

    /// The path below the executable's.
    fn path_of<'py>(&self, attached: Attached<'py>, location: &str) -> Result<Object<'py>> {
        self.root.get(attached).concatenate(&attached.string(&format!("/{location}"))?)
    }

    /// The same as text in the form that marshal has.
    fn file_text(&self, attached: Attached<'_>, module: &str, location: &str) -> Result<Vec<u8>> {
        let root = self.locations.root(attached, module)?;
        let root = root.map_or(self.root_text.as_slice(), str::as_bytes);
        Ok([root, b"/", location.as_bytes()].concat())
    }

    /// The location of a path that begins with the executable's; empty for the executable itself.
    ///
    /// Locations are text, so what is not, in a path, belongs to none.
    fn location(&self, path: &Object<'_>) -> Result<Option<String>> {
        let attached = path.attached();
        let mut rest = path.after(&self.root.get(attached))?;
        if rest.is_none()
            && let Some(root) = self.canonical(attached)
        {
            rest = path.after(&root.get(attached))?;
        }
        let location = rest.as_ref().and_then(Object::text);
        let location = location
            .and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') });
        Ok(location.map(str::to_owned))
    }

    /// The executable's path without links, where that is another.
    fn canonical(&self, attached: Attached<'_>) -> Option<&Kept> {
        let ask = || {
            let path = fs::canonicalize(&self.executable).ok()?;
            if path == self.executable {
                return None;
            }
            let text = attached.path(path.as_os_str());
            text.map_err(|raised| drop(attached.take(raised))).ok().map(Object::keep)
        };
        self.canonical.get_or_init(ask).as_ref()
    }

    /// Passes a damaged blob on as an `ImportError`.
    fn checked<T>(
        attached: Attached<'_>,
        name: &str,
        result: Result<T, pyox_blob::Error>,
    ) -> Result<T> {
        result.map_err(|error| attached.raise_import_error(&error.to_string(), name))
    }

    /// A file's bytes, decoded.
    fn read(
        &self,
        file: &pyox_blob::File<'static>,
    ) -> Result<Cow<'static, [u8]>, pyox_blob::Error> {
        use pyox_blob::layout::Codec;
        let stored = self.blob.stored(file)?;
        match file.codec {
            Codec::Stored => Ok(Cow::Borrowed(stored)),
            Codec::Zstd => usize::try_from(file.len)
                .map_err(|error| error.to_string())
                .and_then(|len| zstd::bulk::decompress(stored, len).map_err(|e| e.to_string()))
                .map(Cow::Owned)
                .map_err(|error| {
                    pyox_blob::Error::Malformed(format!("file {}: {error}", file.path))
                }),
        }
    }
}
