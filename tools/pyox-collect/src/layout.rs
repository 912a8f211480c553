//! From an installation as into a Python of its own to one folder: modules at the top, and `bin/`, `share/` and the like
//! beside them.

use std::fs;
use std::path::{Path, PathBuf};

use pyox_stage::{Fault, FaultExt, Result, files};

use crate::projects::name_of;
use crate::record::{self, Row};

/// Moves what is installed below `prefix` to `target`.
pub(crate) fn flatten(prefix: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target).fault_at(target)?;
    if !prefix.is_dir() {
        return Ok(());
    }
    // Debian's pip puts a folder more in between.
    let local = prefix.join("local");
    let root = if local.is_dir() { &local } else { prefix };
    let mut modules: Vec<PathBuf> = Vec::new();
    for lib in ["lib", "lib64"] {
        for python in entries(&root.join(lib))? {
            for name in ["site-packages", "dist-packages"] {
                modules.push(python.join(name));
            }
        }
    }
    for folder in modules.iter().filter(|folder| folder.is_dir()) {
        rewrite_records(root, folder)?;
        merge(folder, target)?;
        fs::remove_dir_all(folder).fault_at(folder)?;
        // Where nothing else is in it, it has been made for the modules.
        let _ = folder.parent().map(fs::remove_dir);
    }
    for entry in entries(root)? {
        if entry.is_dir() {
            merge(&entry, &target.join(entry.file_name().unwrap_or_default()))?;
        }
    }
    // An empty one would be a package to those who look.
    let _ = fs::remove_dir(target.join("lib"));
    let _ = fs::remove_dir(target.join("lib64"));
    fs::remove_dir_all(prefix).fault_at(prefix)
}

/// Lets each `RECORD` name files that are no modules by their path from the top, behind three times `..`: a file in `lib/` is
/// two folders above its modules, and not three.
fn rewrite_records(root: &Path, modules: &Path) -> Result<()> {
    let place = modules.strip_prefix(root).unwrap_or(modules);
    for folder in entries(modules)? {
        let path = folder.join("RECORD");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let rows = record::parse(&text, name_of(&folder))?.into_iter().map(|row| {
            let ups = row.path.matches("../").count();
            let above = place.ancestors().nth(ups).filter(|_| row.path.starts_with("../"));
            match above.and_then(|above| {
                above.join(row.path.trim_start_matches("../")).to_str().map(str::to_owned)
            }) {
                Some(path) => Row { path: format!("../../../{path}"), ..row },
                None => row,
            }
        });
        let rows: Vec<String> = rows.map(|row| row.to_string()).collect();
        files::write(&path, (rows.join("\n") + "\n").as_bytes())?;
    }
    Ok(())
}

/// Moves what is in a folder into another one.
fn merge(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).fault_at(to)?;
    for entry in entries(from)? {
        let place = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() && !entry.is_symlink() && place.exists() {
            merge(&entry, &place)?;
        } else if place.exists() {
            return Err(Fault::at(
                &place,
                "expected one file of that name, but two projects bring it",
            ));
        } else {
            fs::rename(&entry, &place).fault_at(&entry)?;
        }
    }
    Ok(())
}

/// What is in a folder; nothing where it is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder).fault_at(folder)?.map(|entry| Ok(entry.fault_at(folder)?.path())).collect()
}
