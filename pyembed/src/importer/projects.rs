//! Installed projects, for `importlib.metadata`.

use pyox_blob::layout::FileKind;

use super::State;
use super::python::{Half, python_half};
use crate::ffi::{Function, Object};

static PYTHON: Half = python_half!("projects.py");

/// `find_distributions(context=None)`: for `importlib.metadata`.
pub(super) static FIND_DISTRIBUTIONS: Function = Function {
    name: c"find_distributions",
    parameters: &["context"],
    required: 0,
    body: |attached, arguments| {
        let find = PYTHON.get(attached, c"find_distributions")?;
        match arguments.optional(0) {
            Some(context) => find.call([context]),
            None => find.call([]),
        }
    },
};

/// `_metadata_folders()`: the `.dist-info` folders.
pub(super) static METADATA_FOLDERS: Function = Function {
    name: c"_metadata_folders",
    parameters: &[],
    required: 0,
    body: |attached, _| {
        let blob = &State::get().blob;
        let mut folders: Vec<Object<'_>> = Vec::new();
        let mut last = "";
        for file in blob.files() {
            let file = State::checked(attached, "", file)?;
            if file.kind != FileKind::Metadata {
                continue;
            }
            let folder = file.path.split_once('/').map_or("", |(folder, _)| folder);
            if folder != last {
                folders.push(attached.string(folder)?);
                last = folder;
            }
        }
        attached.list(folders)
    },
};
