//! Files of the blob.

use pyox_blob::Blob;

use super::state::State;
use crate::ffi::Function;

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
            Some(file) => state.placements.path(attached, &file)?,
            None => None,
        };
        path.map_or_else(|| Ok(attached.none()), |path| attached.string(&path))
    },
};
