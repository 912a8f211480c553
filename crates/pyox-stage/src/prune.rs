//! Entries of the cache that nobody has used for long.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{Fault, FaultExt, Partial, Result};

/// The variable with the bytes that installed projects may take.
const VARIABLE: &str = "PYOX_CACHE_LIMIT";

/// The bytes that they may take without it.
const LIMIT: u64 = 10 << 30;

/// What was used so lately stays in any case: a manifest that names its files may not have been packed yet.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Notes that a folder of the cache is in use. Nothing depends on it, so it does not matter where that fails.
pub fn touch(folder: &Path) {
    if let Ok(file) = File::open(folder) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes the folders in `within` that were used least recently, until the others take no more than
/// `PYOX_CACHE_LIMIT`, 10 GiB without it; gives their names. What was used within a day stays.
///
/// Costs reading the names of all files. Another process may prune at the same time, and may use what stays.
///
/// # Errors
///
/// Where the limit is no size.
pub fn prune(within: &Path) -> Result<Vec<String>> {
    let limit = limit()?;
    let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(within).fault_at(within)?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_entry = path.is_dir() && !name.as_encoded_bytes().starts_with(b".");
        if let (true, Ok(used)) = (is_entry, entry.metadata().and_then(|it| it.modified())) {
            entries.push((used, size(&path).unwrap_or_default(), path));
        }
    }
    entries.sort();
    let mut total: u64 = entries.iter().map(|entry| entry.1).sum();
    let mut removed = Vec::new();
    for (used, size, path) in entries {
        let is_old = used.elapsed().is_ok_and(|age| age > KEPT);
        if total <= limit || !is_old {
            break;
        }
        // At once for whoever looks for it: a folder that is half removed must not bear the name.
        let away = Partial::new(within)?;
        if fs::rename(&path, away.path().join("old")).is_ok() {
            total = total.saturating_sub(size);
            removed.extend(path.file_name().and_then(|name| Some(name.to_str()?.to_owned())));
        }
    }
    Ok(removed)
}

fn limit() -> Result<u64> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else {
        return Ok(LIMIT);
    };
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().trim_end_matches("iB").trim_end_matches('B') {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(shift);
    bytes.and_then(|(number, shift)| number.checked_mul(1 << shift)).ok_or_else(|| {
        Fault::new(VARIABLE, format_args!("expected a size such as `10G`, got `{text}`"))
    })
}

/// The bytes in a folder; of a file with several names its part.
fn size(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len() / metadata.nlink().max(1));
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
