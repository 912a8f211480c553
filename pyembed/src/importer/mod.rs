//! The importer: finder and loader of everything in the blob.
//!
//! One Python class, `pyembed.Importer`, whose methods are static, stands first in `sys.meta_path`. The loaders of the
//! modules that it finds are Python's own loaders of files, except that code comes from the blob. Nearly all of it is Rust.
//! The few parts that must be Python are in [`python`], compiled when they are first needed.
//!
//! Locations look like paths below the executable: the module `json.decoder` of `/opt/app` has the `__file__`
//! `/opt/app/lib/python3.13/json/decoder.py`. `crate::files` serves such paths behind the C library's functions.
//!
//! | file | holds |
//! |---|---|
//! | [`install`] | how the importer comes into an interpreter |
//! | [`startup`] | the time before that |
//! | [`state`] | what an interpreter's importer works with |
//! | [`modules`], [`namespaces`], [`loaders`] | finding modules, and running their code |
//! | [`search`], [`path_entries`] | the order of `sys.path`, and packed folders in it |
//! | [`resources`], [`placements`] | data files; packages whose files are real files |
//! | [`native`], [`images`], [`packed`], [`private`] | shared objects; the files that the loader opens; folders for these |
//! | [`collector`] | the garbage collector meanwhile |
//! | [`patches`], [`python`] | what modules are told in Python |

mod collector;
mod images;
mod install;
mod loaders;
mod modules;
mod namespaces;
mod native;
mod packed;
mod patches;
mod path_entries;
mod placements;
mod private;
mod python;
mod resources;
mod search;
mod startup;
mod state;

pub(crate) use collector::{set_aside, unlisted};
pub(crate) use install::{before_start, install, move_to};
pub(crate) use modules::{is_package, prepare_main};
pub(crate) use native::load_python;
pub(crate) use path_entries::add_python_path;
