//! The content-addressed store of unpacked archives: `distributions/SHA256/` in the cache.
//!
//! An archive is unpacked once; a later run only hashes it. An entry appears under its name by one
//! rename when all of it is on the disk, so that whatever has the name is complete. Costs the time to hash the
//! archive twice when it is unpacked (its bytes could change between the check and the use), once when not.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pyox_download::{Client, Want};
use pyox_schema::Digest;
use pyox_schema::digest::Hasher;
use pyox_stage::{Fault, FaultExt, Kind, Partial, Reporter, Result, Task, cache, files};
use rustix::fs::{FlockOperation, flock};
use walkdir::WalkDir;

use crate::sums;
use crate::unpack::{self, Limits};

/// The file beside the archive's one folder that has the archive's size.
const SIZE: &str = "size";

/// The folder with an archive's content, unpacked now or before.
pub(crate) fn obtain(
    archive: &Path,
    expected: Option<&Digest>,
    ui: &dyn Reporter,
) -> Result<PathBuf> {
    let file = files::open(archive)?;
    let (digest, size) = Digest::of_reader(&file).fault_at(archive)?;
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(Fault::mismatch(archive.display(), expected, &digest));
    }

    let store = cache::folder("distributions")?;
    let entry = store.join(digest.to_string());
    if entry.is_dir() {
        ui.detail(format_args!("{}: unpacked before", archive.display()));
        return Ok(entry);
    }
    let partial = Partial::new(&store)?;

    let task = ui.begin(Some(size), "unpacking");
    let reader = Hashing { inner: rewound(&file, archive)?, hash: Hasher::new(), task: &*task };
    let reader = unpack::unpack(archive, reader, partial.path(), &Limits::of(size))?;
    let found = reader.hash.finish();
    if found != digest {
        let kind = Kind::Digest { expected: digest, found };
        return Err(Fault::at(archive, "changed while it was unpacked").of_kind(kind));
    }

    sums::write(partial.path())?;
    let note = partial.path().join(SIZE);
    fs::write(&note, size.to_string()).fault_at(&note)?;
    partial.sync().fault_at(&entry)?;
    match fs::rename(partial.path(), &entry) {
        Ok(()) => {}
        // Another run was faster, and has the same bytes.
        Err(_) if entry.is_dir() => {}
        error => error.fault_at(&entry)?,
    }
    Ok(entry)
}

/// The folder with the content of an archive of the network, and the archive's size where it is known now; it is
/// downloaded if it was not before.
///
/// The archive lies in `downloads/` until it is unpacked, so that the next run goes on with what a killed one has got.
pub(crate) fn download(
    want: &Want,
    client: &Client,
    ui: &dyn Reporter,
) -> Result<(PathBuf, Option<u64>)> {
    let entry = cache::folder("distributions")?.join(want.sha256.to_string());
    if entry.is_dir() {
        let size = size_of(&entry);
        return Ok((entry, size));
    }
    let downloads = cache::folder("downloads")?;
    forget_old(&downloads);
    let folder = downloads.join(want.sha256.to_string());
    fs::create_dir_all(&folder).fault_at(&folder)?;
    // Where there are no locks, two runs do the same work.
    let turn = File::open(&folder).fault_at(&folder)?;
    let _ = flock(&turn, FlockOperation::LockExclusive);
    if entry.is_dir() {
        let size = size_of(&entry);
        return Ok((entry, size));
    }
    fs::create_dir_all(&folder).fault_at(&folder)?;
    let name = want.url.rsplit('/').next().unwrap_or_default().replace("%2B", "+");
    let path = folder.join(if matches!(&*name, "" | "." | "..") { "archive" } else { &name });
    client.file(want, &path, ui)?;
    let size = fs::metadata(&path).fault_at(&path)?.len();
    let entry = obtain(&path, Some(&want.sha256), ui);
    let _ = fs::remove_dir_all(&folder);
    Ok((entry?, Some(size)))
}

/// Removes what broke off long ago, and that nobody has gone on with.
fn forget_old(downloads: &Path) {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    let is_old = |path: &Path| {
        let files = WalkDir::new(path).into_iter().flatten();
        let mut ages = files.map(|file| file.metadata().ok()?.modified().ok()?.elapsed().ok());
        ages.all(|age| age.is_some_and(|age| age > WEEK))
    };
    for entry in fs::read_dir(downloads).into_iter().flatten().flatten() {
        if is_old(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The size of the archive that an entry is from; those that older versions have made do not tell.
fn size_of(entry: &Path) -> Option<u64> {
    fs::read_to_string(entry.join(SIZE)).ok()?.parse().ok()
}

fn rewound<'a>(mut file: &'a File, archive: &Path) -> Result<BufReader<&'a File>> {
    file.rewind().fault_at(archive)?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Hashes what is read through it, and tells how much that is.
struct Hashing<'a, R> {
    inner: R,
    hash: Hasher,
    task: &'a dyn Task,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.task.advance(read as u64);
        Ok(read)
    }
}
