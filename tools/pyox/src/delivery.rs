//! What is made of an executable: licence texts beside it, and an archive of all.

use std::fs;
use std::path::{Component, Path, PathBuf};

use pyox_schema::Distribution;
use pyox_stage::{Fault, FaultExt, Reporter, Result, files};

use crate::Settings;

/// Makes what the settings ask for.
pub(crate) fn make(
    settings: &Settings,
    executable: &Path,
    distribution: &Distribution,
    reporter: &dyn Reporter,
) -> Result<()> {
    let folder = executable.parent().unwrap_or(Path::new("."));
    let mut names = Vec::new();
    if let Some(path) = &settings.licenses {
        let path = inside(path).ok_or_else(|| outside("licenses", path))?;
        names.extend(licenses(folder, &path, distribution)?);
        reporter.detail(format_args!("{}: {} texts", folder.join(path).display(), names.len()));
    }
    if let Some(prefix) = &settings.tarball {
        let prefix = inside(prefix).ok_or_else(|| outside("tarball", prefix))?;
        names.extend(executable.file_name().map(PathBuf::from));
        walk(&name_with(executable, ".files"), folder, &mut names)?;
        names.sort();
        let archive = archive_of(executable);
        files::write(&archive, &tar(folder, &prefix, &names)?)?;
        reporter.note(format_args!("made {}", archive.display()));
    }
    Ok(())
}

/// A path that leads nowhere out of the folder that it is relative to.
pub(crate) fn inside(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| matches!(part, Component::Normal(_)).then(|| part.as_os_str())).collect()
}

fn outside(setting: &str, path: &Path) -> Fault {
    Fault::new(setting, format_args!("expected a relative path, got `{}`", path.display()))
}

/// Writes the licence texts of a distribution; gives their names.
fn licenses(folder: &Path, path: &Path, distribution: &Distribution) -> Result<Vec<PathBuf>> {
    let to = folder.join(path);
    fs::create_dir_all(&to).fault_at(&to)?;
    let mut names = Vec::new();
    for license in &distribution.licenses {
        let from = distribution.path(license);
        let name = from.file_name().ok_or_else(|| Fault::at(&from, "expected a file"))?;
        files::write(&to.join(name), &fs::read(&from).fault_at(&from)?)?;
        names.push(path.join(name));
    }
    Ok(names)
}

/// The tar archive that is made of an executable.
pub(crate) fn archive_of(executable: &Path) -> PathBuf {
    name_with(executable, ".tar")
}

fn name_with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The files below a folder, relative to another one around it.
fn walk(folder: &Path, around: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).fault_at(folder)? {
        let path = entry.fault_at(folder)?.path();
        if path.is_dir() {
            walk(&path, around, names)?;
        } else if let Ok(name) = path.strip_prefix(around) {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

/// An archive with nothing in it of when and by whom it was made.
fn tar(folder: &Path, prefix: &Path, names: &[PathBuf]) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let mut archive = tar::Builder::new(Vec::new());
    for name in names {
        let path = folder.join(name);
        let bytes = fs::read(&path).fault_at(&path)?;
        let mode = fs::metadata(&path).fault_at(&path)?.permissions().mode();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 });
        header.set_mtime(0);
        let to = prefix.join(name);
        archive.append_data(&mut header, to, bytes.as_slice()).fault_at(&path)?;
    }
    archive.into_inner().fault_at(folder)
}
