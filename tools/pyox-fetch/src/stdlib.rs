//! The standard library as a whole: its identity, and which of its packages are tests.
//!
//! Not of it are `site-packages` and `dist-packages` (other projects), `__pycache__` (made on the
//! way), `config-*` (build files), `lib-dynload` (each of its files has a reference of its own in the
//! document), and what a link leads to outside of the folder (the machine's own configuration, such as
//! Debian's `sitecustomize.py`). A link to a file inside counts as that file, and a link to a folder is
//! not followed. Costs reading some 30 MB: 40 ms, or the half of it without the test packages.

use std::path::Path;

use pyox_schema::{Digest, Stdlib};
use pyox_stage::{Fault, FaultExt, Result};
use walkdir::{DirEntry, WalkDir};

use crate::files;

/// What a walk over the standard library's folder finds.
pub(crate) struct Survey {
    /// Its identity.
    pub(crate) stdlib: Stdlib,
    /// Dotted names of its packages of tests.
    pub(crate) test_packages: Vec<String>,
}

/// Walks over the standard library.
pub(crate) fn survey(folder: &Path) -> Result<Survey> {
    let inside = folder.canonicalize().fault_at(folder)?;
    let mut files = Vec::new();
    let mut test_packages = Vec::new();
    for entry in WalkDir::new(&inside).into_iter().filter_entry(belongs) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(&inside).to_owned();
            let what = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
            Fault::at(&path, what).caused_by(error)
        })?;
        let path = entry.path();
        if entry.file_type().is_dir() {
            let is_tests =
                matches!(entry.file_name().to_str(), Some("test" | "tests" | "idle_test"));
            if is_tests && path.join("__init__.py").is_file() {
                test_packages.push(files::relative(&inside, path)?.replace('/', "."));
            }
        } else if path.canonicalize().is_ok_and(|real| real.starts_with(&inside) && real.is_file())
        {
            files.push(files::relative(&inside, path)?);
        }
    }
    if !files.iter().any(|path| path == "os.py") {
        let what = "expected a standard library, but there is no os.py in it";
        return Err(Fault::at(folder, what));
    }
    files.sort_unstable();
    test_packages.sort_unstable();
    // `test.support.test`, say, is a test already because `test` is one.
    let outermost = |name: &String, all: &[String]| {
        !all.iter()
            .any(|other| name.strip_prefix(other.as_str()).is_some_and(|r| r.starts_with('.')))
    };
    let test_packages =
        test_packages.iter().filter(|name| outermost(name, &test_packages)).cloned().collect();

    let mut listing = Vec::with_capacity(files.len() * 100);
    for path in &files {
        let file = files::reference(&inside, path)?;
        listing.extend_from_slice(format!("{path}\0{}\n", file.sha256).as_bytes());
    }
    let stdlib = Stdlib { sha256: Digest::of(&listing), files: files.len() as u64 };
    Ok(Survey { stdlib, test_packages })
}

fn belongs(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let skipped = ["__pycache__", "site-packages", "dist-packages", "lib-dynload"];
    entry.depth() == 0
        || !entry.file_type().is_dir()
        || !(skipped.contains(&&*name) || (entry.depth() == 1 && name.starts_with("config-")))
}
