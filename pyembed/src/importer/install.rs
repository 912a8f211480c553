//! How the importer comes into an interpreter: the class that Python sees, and its place in `sys`.

use std::sync::{Mutex, PoisonError};

use pyox_blob::tree::Tree;

use super::loaders::{Loaders, make_class};
use super::placements::Placements;
use super::state::{Root, State};
use super::{collector, modules, native, patches, path_entries, resources, startup};
use crate::ffi::{self, Attached, Function, Result};
use crate::{Error, PythonConfig, surroundings};

/// The importer's methods.
static METHODS: [&Function; 8] = [
    &modules::FIND_SPEC,
    &modules::INVALIDATE_CACHES,
    &modules::GET_CODE,
    &modules::GET_SOURCE,
    &resources::REAL_PATH,
    &path_entries::PATH_HOOK,
    &path_entries::ITER_MODULES,
    &path_entries::FIND_IN,
];

/// To be called before the interpreter starts: offers what its start imports.
pub(crate) fn before_start(config: &PythonConfig) -> Result<(), Error> {
    startup::freeze_startup(config, put_first)
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
    startup::hide_frozen(attached)?;
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
    startup::hide_frozen(attached)?;
    collector::begin(attached)
}

/// Tells the importer of an image about the executable that uses it.
pub(crate) fn move_to(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    // The object itself has been told.
    Root::set(&config.executable, &Root::get().object.get(attached));
    *MAIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
    search(attached, config)?;
    if let Some(ssl) = attached.loaded_module("ssl")? {
        patches::apply("ssl", &ssl)?;
    }
    surroundings::name_in_sys(attached, config)
}

/// Appends the configuration's folders to `sys.path`.
fn search(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let path = attached.sys(c"path")?;
    for folder in &config.search_path {
        path.call_method(c"append", [&attached.path(folder.as_os_str())?])?;
    }
    Ok(())
}

/// Makes the importer and puts it first.
fn put_first(attached: Attached<'_>, config: &PythonConfig) -> Result<()> {
    let bootstrap = attached.import(c"_frozen_importlib")?;
    let doc = "Finder of the modules in this executable.";
    let class = make_class(attached, "Importer", doc, None, &METHODS)?;
    let implementation = attached.sys(c"implementation")?;
    Root::set(&config.executable, &attached.path(config.executable.as_os_str())?);
    let state = State {
        blob: config.blob,
        tree: Tree::of(config.record.python),
        placements: State::checked(
            attached,
            "placements",
            Placements::new(&config.blob, &config.record.placements),
        )?,
        cache_tag: implementation.attribute(c"cache_tag")?.as_str()?.to_owned(),
        class: class.clone().keep(),
        module_spec: bootstrap.attribute(c"ModuleSpec")?.keep(),
        call_trimmed: bootstrap.attribute(c"_call_with_frames_removed")?.keep(),
        exec: attached.import(c"builtins")?.attribute(c"exec")?.keep(),
        loaders: Loaders::new(attached)?,
    };
    state.set();
    attached.sys(c"meta_path")?.insert_first(&class)?;
    attached.sys(c"path_hooks")?.insert_first(&class.attribute(c"_path_hook")?)?;
    if !config.sets("module_search_paths") {
        let (state, path) = (State::get(), attached.sys(c"path")?);
        for folder in state.tree.search_path() {
            path.call_method(c"append", [&Root::get().path_of(attached, folder)?])?;
        }
    }
    search(attached, config)?;
    surroundings::name_in_sys(attached, config)?;
    native::install();
    collector::install(attached)
}
