//! Files, and what importlib.resources asks of them.

use super::State;
use super::python::{Half, python_half};
use crate::ffi::{Attached, Function, Object, Result};

static PYTHON: Half = python_half!("resources.py");

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

/// `get_resource_reader(fullname)`: for `importlib.resources`.
pub(super) static GET_RESOURCE_READER: Function = Function {
    name: c"get_resource_reader",
    parameters: &["fullname"],
    required: 1,
    body: |attached, arguments| PYTHON.get(attached, c"reader")?.call([arguments.required(0)]),
};

/// `_list_files(folder)`: names in a folder, `(name, is folder)` each; a folder ends with `/` or is empty.
pub(super) static LIST_FILES: Function = Function {
    name: c"_list_files",
    parameters: &["folder"],
    required: 1,
    body: |attached, arguments| {
        let folder = arguments.required(0).as_str()?;
        let blob = &State::get().blob;
        let mut names = Vec::new();
        let mut number = blob.first_file_from(folder);
        while let Ok(file) = blob.file_at(number) {
            let Some(rest) = file.path.strip_prefix(folder) else { break };
            if let Some((name, _)) = rest.split_once('/') {
                names.push(pair(attached, name, true)?);
                // `0` follows `/`: past everything in that folder.
                number = blob.first_file_from(&format!("{folder}{name}0"));
            } else {
                names.push(pair(attached, rest, false)?);
                number += 1;
            }
        }
        attached.list(names)
    },
};

/// `_read(location)`: a file's bytes, or `None`.
pub(super) static READ: Function = Function {
    name: c"_read",
    parameters: &["location"],
    required: 1,
    body: |attached, arguments| {
        let data = read(attached, arguments.required(0).as_str()?)?;
        Ok(data.unwrap_or_else(|| attached.none()))
    },
};

/// `_kind(location)`: `"file"`, `"folder"`, or `None`.
pub(super) static KIND: Function = Function {
    name: c"_kind",
    parameters: &["location"],
    required: 1,
    body: |attached, arguments| {
        let location = arguments.required(0).as_str()?;
        let blob = &State::get().blob;
        if State::checked(attached, location, blob.file(location))?.is_some() {
            return attached.string("file");
        }
        let folder = if location.is_empty() { String::new() } else { format!("{location}/") };
        match blob.file_at(blob.first_file_from(&folder)) {
            Ok(file) if file.path.starts_with(&folder) => attached.string("folder"),
            _ => Ok(attached.none()),
        }
    },
};

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

pub(super) fn pair<'py>(attached: Attached<'py>, name: &str, flag: bool) -> Result<Object<'py>> {
    attached.tuple([&attached.string(name)?, &attached.bool(flag)])
}
