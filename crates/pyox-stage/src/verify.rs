//! Whether what is in the cache is as it was written.
//!
//! Each folder of the cache has its own way to tell, which its stage knows; here its entries are looked at in turn, and what is
//! damaged goes away. It is made again when it is needed. Costs reading all of it.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::{FaultExt, Partial, Result, cache};

/// What a look at an entry has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it was written.
    Whole,
    /// There is nothing to tell it by.
    Unknown,
    /// It is not, and why.
    Damaged(String),
}

/// What a look at a folder of the cache has found.
#[derive(Debug, Default)]
pub struct Verified {
    /// How many entries are as they were written.
    pub whole: usize,
    /// How many there is nothing to tell by.
    pub unknown: usize,
    /// Those that were damaged, and why. They are gone.
    pub damaged: Vec<(PathBuf, String)>,
}

/// Looks at all entries of a folder of the cache, so many folders below it, and removes those that are damaged.
///
/// What another run is writing has a name that begins with a dot, and is left alone.
///
/// # Errors
///
/// If the folder cannot be read, is not the user's alone, or an entry cannot be removed.
pub fn verify(name: &str, depth: usize, check: &dyn Fn(&Path) -> Verdict) -> Result<Verified> {
    let mut found = Verified::default();
    if !cache::root()?.join(name).is_dir() {
        return Ok(found);
    }
    let folder = cache::folder(name)?;
    let is_named = |entry: &DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(&folder).min_depth(1).max_depth(depth).sort_by_file_name();
    for entry in entries.into_iter().filter_entry(is_named) {
        let entry = entry.fault_at(&folder)?;
        if entry.depth() < depth {
            continue;
        }
        match check(entry.path()) {
            Verdict::Whole => found.whole += 1,
            Verdict::Unknown => found.unknown += 1,
            Verdict::Damaged(why) => {
                remove(&folder, entry.path())?;
                found.damaged.push((entry.into_path(), why));
            }
        }
    }
    Ok(found)
}

/// Removes an entry at once for whoever looks for it.
fn remove(folder: &Path, entry: &Path) -> Result<()> {
    if !entry.is_dir() {
        return fs::remove_file(entry).fault_at(entry);
    }
    let away = Partial::new(folder)?;
    fs::rename(entry, away.path().join("old")).fault_at(entry)
}
