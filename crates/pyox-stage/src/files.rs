//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pyox_schema::Document;
use rustix::fs::{AtFlags, CWD, linkat};

use crate::{FaultExt, Result};

/// Permission bits of a file that is read, before the umask.
pub const PLAIN: u32 = 0o666;
/// Permission bits of a file that is run, before the umask.
pub const EXECUTABLE: u32 = 0o777;

/// Reads a document from a file.
///
/// # Errors
///
/// If it cannot be read, or is no such document.
pub fn document<D: Document>(path: &Path) -> Result<D> {
    D::from_json(&fs::read(path).fault_at(path)?).fault_at(path)
}

/// Makes a file with those bytes.
///
/// # Errors
///
/// If it cannot be written. What was there before is still there then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomically(path, PLAIN, |file| file.write_all(bytes))
}

/// Makes a file with the bytes that `write` writes: at once and whole, or not at all.
///
/// The bytes go to a file without a name in the same folder, which the kernel forgets when the
/// process dies, and which gets its name when it is complete. What is there and no plain file, such
/// as a named pipe or `/dev/null`, is written to and not replaced.
///
/// # Errors
///
/// If it cannot be written. What was there before is still there then.
///
/// ```
/// use std::io::Write as _;
/// use pyox_stage::files;
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("list");
/// files::atomically(&path, files::PLAIN, |to| writeln!(to, "one line")).unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"one line\n");
/// ```
pub fn atomically(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let file = File::options().write(true).open(path).fault_at(path)?;
        let mut writer = BufWriter::with_capacity(1 << 16, &file);
        write(&mut writer).and_then(|()| writer.flush()).fault_at(path)?;
        return Ok(());
    }
    let file = tempfile::tempfile_in(folder_of(path)).fault_at(path)?;
    let mut writer = BufWriter::with_capacity(1 << 16, &file);
    write(&mut writer).and_then(|()| writer.flush()).fault_at(path)?;
    drop(writer);
    file.set_permissions(fs::Permissions::from_mode(mode & !umask())).fault_at(path)?;
    publish(&file, path).fault_at(path)?;
    Ok(())
}

/// Gives a nameless file its name, over whatever has it.
fn publish(file: &File, path: &Path) -> io::Result<()> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| linkat(CWD, &descriptor, CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST) => {}
        // No /proc, or a file system without nameless files: copy under a temporary name.
        Err(_) => return copy(file, path),
    }
    // link(2) does not replace, rename(2) does. The name is random: processes of containers that share a folder can
    // have the same number.
    let named =
        tempfile::Builder::new().suffix(".tmp").make_in(folder_of(path), |to| Ok(link(to)?))?;
    named.into_temp_path().persist(path).map_err(|error| error.error)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn copy(file: &File, path: &Path) -> io::Result<()> {
    use io::Seek;
    let mut source = file;
    source.rewind()?;
    let mut named = tempfile::NamedTempFile::new_in(folder_of(path))?;
    io::copy(&mut source, &mut named)?;
    named.as_file().set_permissions(file.metadata()?.permissions())?;
    named.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// The process's umask, which `open(2)` applies but `fchmod(2)` does not.
fn umask() -> u32 {
    // Reading it means setting it; the tools do this before they start a thread that makes files.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}
