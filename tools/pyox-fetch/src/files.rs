//! References to a distribution's files: paths relative to its root, size and digest.

use std::path::Path;

use pyox_schema::FileRef;
use pyox_stage::{Fault, Result};

/// A path below `root`, as documents write it.
pub(crate) fn relative(root: &Path, path: &Path) -> Result<String> {
    let below = path
        .strip_prefix(root)
        .map_err(|_| Fault::at(path, format_args!("expected a path below {}", root.display())))?;
    match below.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Fault::at(path, "expected a path in UTF-8")),
    }
}

/// A reference to the file `path` of the distribution at `root`; reads all of it.
pub(crate) fn reference(root: &Path, path: &str) -> Result<FileRef> {
    let full = root.join(path);
    let (sha256, size) = pyox_stage::files::digest(&full)?;
    Ok(FileRef { path: path.to_owned(), size, sha256 })
}
