//! Files that are read as what they are, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use pyox_schema::{Digest, Document};
use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use crate::{Content, Fault, FaultExt, Result};

/// Permission bits of a file that is read, before the umask.
pub const PLAIN: u32 = 0o666;
/// Permission bits of a file that is run, before the umask.
pub const EXECUTABLE: u32 = 0o777;

/// How many bytes are read of what is no file: a pipe has no length, and may have no end.
const MOST_OF_A_PIPE: u64 = 4 << 30;

/// How many bytes a document may have. That of fifty thousand modules has a tenth of it.
const MOST_OF_A_DOCUMENT: u64 = 256 << 20;

/// Opens a file to read. Only a plain file will do: a named pipe would make its reader wait, and a device may have no end.
///
/// # Errors
///
/// If it cannot be opened, or is no plain file.
pub fn open(path: &Path) -> Result<File> {
    // What waits for a writer when it is opened is told after that.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).fault_at(path)?;
    let kind = file.metadata().fault_at(path)?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(Fault::at(path, format_args!("expected a file, got {}", name_of(kind))))
}

/// Reads all of a plain file.
///
/// # Errors
///
/// If it cannot be read, or is no plain file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let len = file.metadata().fault_at(path)?.len();
    let mut bytes = Vec::new();
    bytes.try_reserve(usize::try_from(len).fault_at(path)?).fault_at(path)?;
    file.read_to_end(&mut bytes).fault_at(path)?;
    Ok(bytes)
}

/// What is in a plain file.
///
/// # Errors
///
/// If it cannot be read, or is no plain file.
pub fn content(path: &Path) -> Result<Content> {
    content_of(&open(path)?, &path.display().to_string())
}

/// The digest of a plain file, and its length.
///
/// # Errors
///
/// If it cannot be read, or is no plain file.
pub fn digest(path: &Path) -> Result<(Digest, u64)> {
    Digest::of_reader(open(path)?).fault_at(path)
}

/// What is in a file or comes through a pipe. A device will not do, apart from `/dev/null`.
///
/// # Errors
///
/// If it cannot be read, is a device, or has more bytes than a pipe may have.
pub fn content_any(path: &Path) -> Result<Content> {
    content_of(&File::open(path).fault_at(path)?, &path.display().to_string())
}

/// The same of what is open already, such as stdin. `place` is how messages name it.
///
/// # Errors
///
/// As above.
pub fn content_of(file: &File, place: &str) -> Result<Content> {
    Content::map(file).map_or_else(|| read_open(file, place).map(Content::from), Ok)
}

fn read_open(file: &File, place: &str) -> Result<Vec<u8>> {
    let kind = file.metadata().fault(place)?.file_type();
    let mut bytes = Vec::new();
    if kind.is_file() {
        { file }.read_to_end(&mut bytes).fault(place)?;
        return Ok(bytes);
    }
    if kind.is_block_device() || kind.is_dir() {
        return Err(Fault::new(
            place,
            format_args!("expected a file or a pipe, got {}", name_of(kind)),
        ));
    }
    // `/dev/null` ends, `/dev/zero` and `/dev/random` do not.
    let most = if kind.is_char_device() { 0 } else { MOST_OF_A_PIPE };
    { file }.take(most + 1).read_to_end(&mut bytes).fault(place)?;
    if bytes.len() as u64 <= most {
        return Ok(bytes);
    }
    if kind.is_char_device() {
        return Err(Fault::new(place, "expected a file or a pipe, got a device"));
    }
    Err(Fault::new(place, "expected at most 4 GiB through a pipe, got more").hint("name a file"))
}

fn name_of(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Reads a document from a file or a pipe.
///
/// # Errors
///
/// If it cannot be read, or is no such document.
pub fn document<D: Document>(path: &Path) -> Result<D> {
    parse(&content_any(path)?, path.display())
}

/// Reads a document from its bytes. `place` is how messages name it.
///
/// # Errors
///
/// If they are no such document, or one of more than 256 MiB.
pub fn parse<D: Document>(bytes: &[u8], place: impl std::fmt::Display) -> Result<D> {
    if bytes.len() as u64 > MOST_OF_A_DOCUMENT {
        return Err(Fault::new(place, "expected a document of at most 256 MiB, got more"));
    }
    D::from_json(bytes).fault(place)
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
    let file = nameless(path, write)?;
    file.set_permissions(fs::Permissions::from_mode(mode & !umask())).fault_at(path)?;
    publish(&file, path).fault_at(path)?;
    Ok(())
}

/// The bytes that `write` writes on the way to a file: they lie in the same folder without a name, until they are dropped.
///
/// # Errors
///
/// If they cannot be written.
pub fn aside(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<Content> {
    let mut file = nameless(path, write)?;
    file.rewind().fault_at(path)?;
    content_of(&file, &path.display().to_string())
}

fn nameless(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<File> {
    let file = tempfile::tempfile_in(folder_of(path)).fault_at(path)?;
    let mut writer = BufWriter::with_capacity(1 << 16, &file);
    write(&mut writer).and_then(|()| writer.flush()).fault_at(path)?;
    drop(writer);
    Ok(file)
}

/// Gives a nameless file its name, over whatever has it.
pub(crate) fn publish(file: &File, path: &Path) -> io::Result<()> {
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
