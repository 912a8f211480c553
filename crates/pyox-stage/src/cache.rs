//! The folder under the user's cache directory, and the distribution documents in it.
//!
//! Nothing in it is needed: whatever is deleted is made again. Everything in it is found by the digest
//! of what it was made from.

use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::{Digest, Distribution, Document};

use crate::{Fault, FaultExt, Kind, Result, files};

/// `$PYOX_CACHE_DIR`, or `pyox` under `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
///
/// If none of these variables is set.
pub fn root() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("PYOX_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| Path::new(&path).join("pyox")))
        .or_else(|| variable("HOME").map(|path| Path::new(&path).join(".cache/pyox")))
        .ok_or_else(|| {
            Fault::new("cache", "expected a home directory, but HOME is not set")
                .hint("set PYOX_CACHE_DIR to a folder that pyox may write to")
        })
}

/// A folder of the cache, made where it is missing.
///
/// # Errors
///
/// If it cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = root()?.join(name);
    fs::create_dir_all(&path).fault_at(&path)?;
    Ok(path)
}

/// Keeps a distribution document, so that later stages find it by its digest.
///
/// # Errors
///
/// If it cannot be written.
pub fn remember(distribution: &Distribution) -> Result<Digest> {
    let digest = distribution.digest();
    let path = document_path(&digest)?;
    let json = distribution.to_json();
    if fs::read(&path).is_ok_and(|there| there == json) {
        return Ok(digest);
    }
    files::write(&path, &json)?;
    Ok(digest)
}

/// The distribution of that digest: `document` where one is named, else as it was remembered.
///
/// # Errors
///
/// If the document is not there or cannot be read ([`Kind::Missing`] if it is not known), or has another digest
/// ([`Kind::Digest`]).
pub fn distribution(document: Option<&Path>, digest: &Digest) -> Result<Distribution> {
    if let Some(path) = document {
        let distribution: Distribution = files::document(path)?;
        let found = distribution.digest();
        if found == *digest {
            return Ok(distribution);
        }
        let what = format!("expected the distribution {}, got {}", digest.short(), found.short());
        return Err(Fault::at(path, what)
            .hint("collect and pack again for this one")
            .of_kind(Kind::Digest { expected: *digest, found }));
    }
    let path = document_path(digest)?;
    if !path.exists() {
        return Err(Fault::new(
            "distribution",
            format_args!("{} is not known here", digest.short()),
        )
        .hint("name its document with -d, or fetch it again with pyox-fetch")
        .of_kind(Kind::Missing));
    }
    files::document(&path)
}

fn document_path(digest: &Digest) -> Result<PathBuf> {
    Ok(folder("documents")?.join(format!("{digest}.json")))
}

/// The folders of the cache by name, each with the bytes in it.
///
/// # Errors
///
/// If there is no cache folder to ask for, or it cannot be read.
pub fn parts() -> Result<Vec<(String, u64)>> {
    let root = root()?;
    if !root.exists() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    for entry in fs::read_dir(&root).fault_at(&root)? {
        let path = entry.fault_at(&root)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            parts.push((name.to_owned(), size(&path).fault_at(&path)?));
        }
    }
    parts.sort();
    Ok(parts)
}

/// Removes a folder of the cache.
///
/// # Errors
///
/// If it cannot be removed.
pub fn remove(name: &str) -> Result<()> {
    let path = root()?.join(name);
    fs::remove_dir_all(&path).fault_at(&path)
}

fn size(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
