//! The content-addressed store of unpacked archives: `distributions/SHA256/` in the cache.
//!
//! An archive is unpacked once; a later run only hashes it. An entry appears under its name by one
//! rename when all of it is on the disk, so that whatever has the name is complete. Until then it is a
//! `.partial-*` folder, locked by the process that fills it: folders that nobody holds a lock on are
//! what a killed run left behind, and the next run removes them. Costs the time to hash the archive
//! twice when it is unpacked (its bytes could change between the check and the use), once when not.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use pyox_cli::{Fault, HintExt, Result, Ui, cache};
use pyox_schema::Digest;
use pyox_schema::digest::Hasher;
use rustix::fs::{FlockOperation, flock};

use crate::unpack::{self, Limits};

const PARTIAL: &str = ".partial-";

/// The folder with an archive's content, unpacked now or before.
pub(crate) fn obtain(archive: &Path, expected: Option<&Digest>, ui: &Ui) -> Result<PathBuf> {
    let file = File::open(archive).fault_at(archive)?;
    let (digest, size) = Digest::of_reader(&file).fault_at(archive)?;
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        let what = format!("digest mismatch: expected sha256 {expected}, got {digest}");
        return Err(Fault::at(archive, what).into());
    }

    let store = cache::folder("distributions")?;
    let entry = store.join(digest.to_string());
    let partial = {
        // Only for a moment: to make a folder and to lock it must be one step for those who sweep.
        let lock = File::open(&store).fault_at(&store)?;
        flock(&lock, FlockOperation::LockExclusive).fault_at(&store)?;
        sweep(&store);
        if entry.is_dir() {
            ui.detail(format_args!("{}: unpacked before", archive.display()));
            return Ok(entry);
        }
        Partial::new(&store)?
    };

    let progress = ui.progress(size, "unpacking");
    let reader =
        Hashing { inner: progress.wrap_read(rewound(&file, archive)?), hash: Hasher::new() };
    let reader = unpack::unpack(archive, reader, partial.folder.path(), &Limits::of(size))?;
    progress.finish_and_clear();
    if reader.hash.finish() != digest {
        return Err(Fault::at(archive, "changed while it was unpacked").into());
    }

    // Without this a power cut could leave the name and not the bytes.
    rustix::fs::syncfs(&partial.lock).fault_at(&entry)?;
    match fs::rename(partial.folder.path(), &entry) {
        Ok(()) => {}
        // Another run was faster, and has the same bytes.
        Err(_) if entry.is_dir() => {}
        Err(error) => return Err(Fault::at(&entry, error).into()),
    }
    Ok(entry)
}

fn rewound<'a>(mut file: &'a File, archive: &Path) -> Result<BufReader<&'a File>> {
    file.rewind().fault_at(archive)?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// A folder that is being filled; removed with all that is in it, unless it has been renamed.
struct Partial {
    folder: tempfile::TempDir,
    lock: File,
}

impl Partial {
    fn new(store: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(store).fault_at(store)?;
        let lock = File::open(folder.path()).fault_at(folder.path())?;
        flock(&lock, FlockOperation::LockExclusive).fault_at(folder.path())?;
        Ok(Self { folder, lock })
    }
}

/// Removes what killed runs left behind. Nothing depends on it, so what cannot be removed stays.
fn sweep(store: &Path) {
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
