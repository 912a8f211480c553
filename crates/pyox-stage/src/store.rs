//! Results that are kept between runs, by the digest of all that they depend on.
//!
//! One file for each result, under a folder of the cache, spread over 256 folders. Reading 1,000 of
//! them takes about 10 ms with a warm page cache, so there is no index that two runs could fight
//! over. A file appears whole or not at all; one that was damaged later is found by its checksum and
//! made again. Trouble with writing never fails a run: it only makes the next one slower.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::verify::Verdict;
use crate::{Content, Result, cache, files};
use pyox_schema::Digest;

/// Length, then CRC-32, of what follows.
const HEAD: usize = 12;

/// A folder of results.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The first thing that went wrong with writing.
    trouble: Mutex<Option<String>>,
}

impl Store {
    /// The store of that name under the cache folder.
    ///
    /// # Errors
    ///
    /// As [`cache::folder`].
    pub fn open(name: &str) -> Result<Self> {
        Ok(Self { folder: cache::folder(name)?, trouble: Mutex::new(None) })
    }

    /// The key of a result: the digest of what it depends on, each part with its length.
    #[must_use]
    pub fn key(parts: &[&[u8]]) -> Digest {
        let mut all = Vec::new();
        for part in parts {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
        Digest::of(&all)
    }

    /// The result of that key, where there is one and it is undamaged.
    #[must_use]
    pub fn get(&self, key: &Digest) -> Option<Content> {
        let bytes = files::content(&self.path(key)).ok()?;
        Self::is_whole(&bytes).then(|| bytes.skip(HEAD))
    }

    fn is_whole(bytes: &[u8]) -> bool {
        let parts = bytes.split_first_chunk::<HEAD>();
        parts.is_some_and(|(head, body)| *head == Self::head(body))
    }

    /// Whether the file of a result is as it was written.
    #[must_use]
    pub fn check(path: &Path) -> Verdict {
        match files::content(path) {
            Ok(bytes) if Self::is_whole(&bytes) => Verdict::Whole,
            Ok(_) => Verdict::Damaged("its checksum is another".to_owned()),
            Err(fault) => Verdict::Damaged(fault.to_string()),
        }
    }

    /// Keeps a result.
    pub fn put(&self, key: &Digest, bytes: &[u8]) {
        let path = self.path(key);
        let write = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            // Without a name until it is whole, so that a run that is killed leaves nothing.
            let mut file = tempfile::tempfile_in(folder)?;
            file.write_all(&Self::head(bytes))?;
            file.write_all(bytes)?;
            files::publish(&file, &path)
        };
        if let Err(error) = write()
            && let Ok(mut trouble) = self.trouble.lock()
        {
            trouble.get_or_insert_with(|| format!("{}: {error}", self.folder.display()));
        }
    }

    /// What went wrong with writing first, if anything did.
    pub fn trouble(&self) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().to_owned(), trouble: Mutex::new(None) };
        let key = Store::key(&[b"a", b"b"]);
        assert_ne!(key, Store::key(&[b"ab", b""]));
        assert!(store.get(&key).is_none());
        store.put(&key, b"result");
        assert_eq!(*store.get(&key).unwrap(), *b"result");
        let path = store.path(&key);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(store.get(&key).is_none(), "{at}");
            assert_ne!(Store::check(&path), Verdict::Whole, "{at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(store.get(&key).is_none(), "{at}");
        }
    }
}
