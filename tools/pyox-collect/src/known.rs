//! Digests that an earlier run has computed, so that a second one does not read what has not changed.
//!
//! An entry counts as long as the file's inode, length and times are what they were, which is how
//! git's index decides. If that is fooled, the worst result is an error, because pyox-pack
//! computes every digest again; it then forgets what is kept here. A damaged entry is none, by a checksum of its own.
//! Saves nine tenths of the time of a collect.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use pyox_elf::Elf;
use pyox_schema::Digest;
use pyox_stage::verify::Verdict;
use pyox_stage::{Result, Stamp, cache, files};
use serde::{Deserialize, Serialize};

use crate::imports::Imports;

/// A file changed later than that before it was read may have been changed again since, with the
/// same times.
const SETTLED: Duration = Duration::from_secs(2);

/// The entries of one distribution, or of one set of installed projects.
#[derive(Debug)]
pub(crate) struct Known {
    /// Where they are kept; none keeps nothing.
    store: Option<PathBuf>,
    there: BTreeMap<String, Entry>,
    fresh: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    facts: Facts,
    /// CRC-32 over all else in it, and the path.
    #[serde(default)]
    sum: u32,
}

impl Entry {
    fn new(path: &str, stamp: Stamp, facts: Facts) -> Self {
        let entry = Self { stamp, facts, sum: 0 };
        Self { sum: entry.computed(path), ..entry }
    }

    fn computed(&self, path: &str) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        // Numbers, texts and lists of them, of which none can fail.
        hasher.update(&serde_json::to_vec(&(path, &self.stamp, &self.facts)).unwrap_or_default());
        hasher.finalize()
    }
}

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadAs {
    Bytes,
    /// As a shared object.
    Native,
    /// As a module's source.
    Source,
}

/// What reading a file tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The SHA-256 of its bytes.
    pub(crate) sha256: Digest,
    /// Its length.
    pub(crate) size: u64,
    /// For shared objects that were read as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) native: Option<Native>,
    /// For modules' sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
}

/// What a module's source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The line that [`crate::suspects`] found.
    pub(crate) outside: Option<u32>,
    /// Whether [`crate::tkinter`] is named.
    pub(crate) tkinter: bool,
    pub(crate) imports: Imports,
}

/// What the dynamic loader wants to know of a shared object, as [`Elf`] has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Native {
    /// As target triples name it; none for the rare ones.
    pub(crate) architecture: Option<String>,
    pub(crate) soname: Option<String>,
    pub(crate) needed: Vec<String>,
    pub(crate) runpath: Vec<String>,
}

impl Known {
    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        Self { store: None, there: BTreeMap::new(), fresh: Mutex::default() }
    }

    /// What was kept under a name.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let store = cache::folder("digests")?.join(format!("{name}.json"));
        // Nothing in the cache is needed: what cannot be read is computed again.
        let there = fs::read(&store)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        Ok(Self { store: Some(store), there, fresh: Mutex::default() })
    }

    /// The facts of a file that has not changed, if they are as many as it was read as.
    pub(crate) fn get(&self, path: &Path, read_as: ReadAs) -> Option<Facts> {
        let name = path.to_str()?;
        let entry = self.there.get(name).filter(|entry| entry.sum == entry.computed(name))?;
        let Entry { stamp, facts, .. } = entry;
        let suffices = match read_as {
            ReadAs::Bytes => true,
            ReadAs::Native => facts.native.is_some(),
            ReadAs::Source => facts.source.is_some(),
        };
        (suffices && *stamp == Stamp::of(path).ok()?).then(|| facts.clone())
    }

    /// Keeps the facts of a file; `before` is its state before it was read.
    pub(crate) fn put(&self, path: &Path, before: &Metadata, facts: &Facts) {
        let changed = Duration::from_secs(u64::try_from(before.ctime()).unwrap_or_default());
        let settled = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|now| now > changed + SETTLED);
        if let (true, Some(path), Ok(mut fresh)) = (settled, path.to_str(), self.fresh.lock())
            && self.store.is_some()
        {
            let entry = Entry::new(path, Stamp::from(before), facts.clone());
            fresh.insert(path.to_owned(), entry);
        }
    }

    /// Writes what is new. Nothing depends on it, so it does not matter where that fails.
    pub(crate) fn save(self) {
        let fresh = self.fresh.into_inner().unwrap_or_default();
        let Some(store) = self.store.filter(|_| !fresh.is_empty()) else { return };
        let mut all = self.there;
        all.extend(fresh);
        if let Ok(json) = serde_json::to_vec(&all) {
            let _ = files::write(&store, &json);
        }
    }
}

/// Whether the digests in a file are those of the files that they are about.
///
/// What was changed since counts for nothing, so it is not read.
#[must_use]
pub fn check(path: &Path) -> Verdict {
    let Some(entries) = fs::read(path)
        .ok()
        .and_then(|json| serde_json::from_slice::<BTreeMap<String, Entry>>(&json).ok())
    else {
        return Verdict::Damaged("it is no list of digests".to_owned());
    };
    for (name, entry) in entries {
        if entry.sum != entry.computed(&name) {
            return Verdict::Damaged(format!("{name}: its checksum is another"));
        }
        let about = Path::new(&name);
        let is_same = || Stamp::of(about).is_ok_and(|now| now == entry.stamp);
        let digest = if is_same() { files::digest(about).ok() } else { None };
        // It may have been changed meanwhile.
        if digest.is_some_and(|(found, _)| found != entry.facts.sha256) && is_same() {
            return Verdict::Damaged(format!("{name}: its digest is another"));
        }
    }
    Verdict::Whole
}

impl From<Elf> for Native {
    fn from(elf: Elf) -> Self {
        Self {
            architecture: elf.architecture().map(str::to_owned),
            soname: elf.soname,
            needed: elf.needed,
            runpath: elf.runpath,
        }
    }
}
