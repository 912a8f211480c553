//! Files, and what importlib.resources asks of them.

use pyox_blob::Blob;

use super::State;
use super::modules::filename_of;
use crate::ffi::{Attached, Function, Object, Result};

/// `get_data(path)`: the bytes of a file below the executable's path.
pub(super) static GET_DATA: Function = Function {
    name: c"get_data",
    parameters: &["path"],
    required: 1,
    body: |attached, arguments| {
        let path = arguments.required(0).to_str()?;
        if let Some(location) = State::get().location(&path)?
            && let Some(data) = read(attached, &location)?
        {
            return Ok(data);
        }
        // Another spelling, or a real file, as importlib's own loaders read them.
        let file = attached.import(c"_io")?.call_method(c"FileIO", [&path])?;
        let data = file.call_method(c"read", [])?;
        file.call_method(c"close", [])?;
        Ok(data)
    },
};

/// `get_resource_reader(fullname)`: the files of a package, or those beside a module, for `importlib.resources`. All code
/// of the process can open their paths.
pub(super) static GET_RESOURCE_READER: Function = Function {
    name: c"get_resource_reader",
    parameters: &["fullname"],
    required: 1,
    body: |attached, arguments| {
        let loader = attached.import(c"types")?.call_method(c"SimpleNamespace", [])?;
        loader.set_attribute(c"path", &filename_of(attached, arguments.required(0).as_str()?)?)?;
        attached.import(c"importlib.resources.readers")?.call_method(c"FileReader", [&loader])
    },
};

/// Whether a location is a folder; the empty one is the one at the top.
pub(super) fn is_folder(blob: &Blob<'static>, location: &str) -> bool {
    let folder = if location.is_empty() { String::new() } else { format!("{location}/") };
    blob.file_at(blob.first_file_from(&folder)).is_ok_and(|file| file.path.starts_with(&folder))
}

/// `_real_path(location)`: the real path of a file of a package that is not in memory, or `None`.
pub(super) static REAL_PATH: Function = Function {
    name: c"_real_path",
    parameters: &["location"],
    required: 1,
    body: |attached, arguments| {
        let state = State::get();
        let location = arguments.required(0).as_str()?;
        let file = State::checked(attached, location, state.blob.file(location))?;
        let path = match file {
            Some(file) => state.locations.path(attached, &file)?,
            None => None,
        };
        path.map_or_else(|| Ok(attached.none()), |path| attached.string(&path))
    },
};

fn read<'py>(attached: Attached<'py>, location: &str) -> Result<Option<Object<'py>>> {
    let state = State::get();
    let file = State::checked(attached, location, state.blob.file(location))?;
    let Some(file) = file else { return Ok(None) };
    let bytes = State::checked(attached, location, state.read(&file))?;
    attached.bytes(&bytes).map(Some)
}
