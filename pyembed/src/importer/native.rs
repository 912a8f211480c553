//! Extension modules: shared objects that the loader takes from memory.
//!
//! The bytes go into an anonymous file (memfd), which `dlopen` opens by its name under
//! `/proc/self/fd`. Libraries that an extension needs are loaded before it, each once; the loader then
//! finds them by their SONAMEs. No disk is written, and the descriptor is closed again.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use pyox_blob::Module;
use rustix::fs::{MemfdFlags, memfd_create};

use super::State;
use crate::ffi::{Attached, Object, Result, open_library};

/// Numbers of the file records that have been loaded, and how many files that were in all.
static LOADED: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// `create_module` for an extension module.
pub(super) fn create<'py>(
    attached: Attached<'py>,
    module: &Module<'static>,
    spec: &Object<'py>,
) -> Result<Object<'py>> {
    let state = State::get();
    let number = module
        .file
        .ok_or_else(|| attached.raise_import_error("its shared object is missing", module.name))?;
    let file = State::checked(attached, module.name, state.blob.file_at(number))?;
    for need in State::checked(attached, module.name, state.blob.needs(&file))? {
        load_library(attached, module.name, need)?;
    }
    let (memory, path) = in_memory(attached, module.name, number)?;
    // `_imp.create_dynamic` opens what the origin names.
    let origin = spec.attribute(c"origin")?;
    spec.set_attribute(c"origin", &attached.string(&path)?)?;
    let create = attached.import(c"_imp")?.attribute(c"create_dynamic")?;
    let created = state.call_trimmed.get(attached).call([&create, spec]);
    drop(memory);
    match created {
        Ok(created) => {
            spec.set_attribute(c"origin", &origin)?;
            // Modules of the older kind have been told the path that was opened.
            attached.quietly(|| created.set_attribute(c"__file__", &origin));
            Ok(created)
        }
        Err(raised) => {
            attached.aside(|| spec.set_attribute(c"origin", &origin));
            Err(raised)
        }
    }
}

/// `exec_module` for an extension module.
pub(super) fn execute<'py>(attached: Attached<'py>, module: &Object<'py>) -> Result<Object<'py>> {
    let execute = attached.import(c"_imp")?.attribute(c"exec_dynamic")?;
    State::get().call_trimmed.get(attached).call([&execute, module])?;
    Ok(attached.none())
}

/// Loads a shared library, unless it has been.
fn load_library(attached: Attached<'_>, module: &str, number: u32) -> Result<()> {
    {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if !loaded.get_or_insert_default().insert(number) {
            return Ok(());
        }
    }
    let (_memory, path) = in_memory(attached, module, number)?;
    open_library(&path).map_err(|error| {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get_or_insert_default().remove(&number);
        attached.raise_import_error(&error, module)
    })
}

/// A file's bytes as an anonymous file, and a path by which the loader opens it.
fn in_memory(attached: Attached<'_>, module: &str, number: u32) -> Result<(File, String)> {
    let state = State::get();
    let file = State::checked(attached, module, state.blob.file_at(number))?;
    let bytes = State::checked(attached, module, state.read(&file))?;
    let name = file.path.rsplit('/').next().unwrap_or(file.path);
    let memory =
        memfd_create(name, MemfdFlags::CLOEXEC).map(File::from).map_err(std::io::Error::from);
    let memory = memory.and_then(|mut memory| memory.write_all(&bytes).map(|()| memory));
    match memory {
        Ok(memory) => {
            let path = descriptor_path(memory.as_raw_fd(), number);
            Ok((memory, path))
        }
        Err(error) => {
            let what = format!("{}: cannot be loaded from memory: {error}", file.path);
            Err(attached.raise_import_error(&what, module))
        }
    }
}

/// The path of a descriptor, spelled differently for each file.
///
/// The loader takes two equal paths for one library, but a descriptor's number comes back once it is
/// closed; so the record's number is written into the path, in zeroes and ones of its own kind.
fn descriptor_path(descriptor: i32, number: u32) -> String {
    let mut path = String::from("/proc/self/fd");
    for bit in (0..u32::BITS - number.leading_zeros()).rev() {
        path.push_str(if number >> bit & 1 == 1 { "/./" } else { "//" });
    }
    path.push('/');
    path.push_str(&descriptor.to_string());
    path
}
