//! `OUTPUT.files/`: the files of packages that are to lie beside the executable.
//!
//! The executable compares each with its blob before it uses it, so a folder that belongs to another build is
//! an error at run time and no surprise. What an earlier link left in a package's folder is removed, because
//! packages list their folders. Anything else in `OUTPUT.files/` is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use pyox_blob::config::Placement;
use pyox_blob::layout::is_program;
use pyox_blob::package::PackageFiles;
use pyox_blob::{Blob, Config, Groups};
use pyox_stage::{Fault, FaultExt, Result, files};

/// Writes the folder that belongs to an executable, where any package wants it.
pub(crate) fn write(executable: Option<&Path>, blob: &Blob<'_>, config: &Config) -> Result<()> {
    let placed = || config.placements.iter().filter(|(_, at)| *at == Placement::Beside);
    let Some((first, _)) = placed().next() else { return Ok(()) };
    let Some(executable) = executable.filter(|path| path.as_os_str() != "-") else {
        let what =
            format!("the files of {first} belong into a folder beside it, so it needs a name");
        return Err(Fault::new("stdout", what).hint("write it to a file with -o"));
    };
    let mut folder = executable.as_os_str().to_owned();
    folder.push(".files");
    let folder = PathBuf::from(folder);
    let (mut written, mut groups) = (BTreeSet::new(), Groups::default());
    for (package, _) in placed() {
        let files = PackageFiles::new(blob, package).fault("blob")?;
        for file in files.all().fault("blob")? {
            let path = folder.join(file.path);
            let bytes = blob.content_of(&file, &mut groups).fault("blob")?;
            let mode = if is_program(&bytes) { files::EXECUTABLE } else { files::PLAIN };
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).fault_at(parent)?;
            files::atomically(&path, mode, |to| to.write_all(&bytes))?;
            written.insert(path);
        }
        for own in files.folders() {
            remove_others(&folder.join(own), &written)?;
        }
    }
    Ok(())
}

/// Removes the files of a package's folder that are not its own.
fn remove_others(folder: &Path, written: &BTreeSet<PathBuf>) -> Result<()> {
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(&folder).fault_at(&folder)? {
            let path = entry.fault_at(&folder)?.path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            } else if !written.contains(&path) {
                fs::remove_file(&path).fault_at(&path)?;
            }
        }
    }
    Ok(())
}
