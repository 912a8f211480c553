//! What is kept between runs: results by the digest of all that they depend on.
//!
//! One file for each result, under a folder of the cache, spread over 256 folders. Reading 1,000 of
//! them takes about 10 ms with a warm page cache, so there is no index that two runs could fight
//! over. A file appears whole or not at all; one that was damaged later is found by its checksum and
//! made again. Trouble with writing never fails a run: it only makes the next one slower.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use pyox_schema::Digest;
use pyox_stage::{Result, cache};

/// Length, then CRC-32, of what follows.
const HEAD: usize = 12;

/// A folder of results.
pub(crate) struct Store {
    folder: PathBuf,
    /// The first thing that went wrong with writing.
    trouble: Mutex<Option<String>>,
}

impl Store {
    /// The store of that name under the cache folder.
    pub(crate) fn open(name: &str) -> Result<Self> {
        Ok(Self { folder: cache::folder(name)?, trouble: Mutex::new(None) })
    }

    /// The key of a result: the digest of what it depends on, each part with its length.
    #[must_use]
    pub(crate) fn key(parts: &[&[u8]]) -> Digest {
        let mut all = Vec::new();
        for part in parts {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
        Digest::of(&all)
    }

    /// The result of that key, where there is one and it is undamaged.
    #[must_use]
    pub(crate) fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(key)).ok()?;
        let (head, body) = bytes.split_first_chunk::<HEAD>()?;
        if *head != Self::head(body) {
            return None;
        }
        bytes.drain(..HEAD);
        Some(bytes)
    }

    /// Keeps a result.
    pub(crate) fn put(&self, key: &Digest, bytes: &[u8]) {
        let path = self.path(key);
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&Self::head(bytes))?;
            file.write_all(bytes)?;
            file.persist(&path).map(|_| ()).map_err(|error| error.error)
        };
        if let Err(error) = write()
            && let Ok(mut trouble) = self.trouble.lock()
        {
            trouble.get_or_insert_with(|| format!("{}: {error}", self.folder.display()));
        }
    }

    /// What went wrong with writing first, if anything did.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().ok()?.clone()
    }

    fn head(body: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        head[8..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        head
    }

    fn path(&self, key: &Digest) -> PathBuf {
        let name = key.to_string();
        self.folder.join(&name[..2]).join(&name[2..])
    }
}
