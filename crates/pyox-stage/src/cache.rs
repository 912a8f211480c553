//! The folder under the user's cache directory, and the distribution documents in it.
//!
//! Nothing in it is needed: whatever is deleted is made again. Everything in it is found by the digest
//! of what it was made from, and what is read from it is checked. A checksum finds damage. Against those who
//! write what is wrong with the right checksum, the folder must be one that nobody else can change ([`pyox_private`]).

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pyox_schema::{Digest, Distribution, Document};
use walkdir::WalkDir;

use crate::{Compiler, Fault, FaultExt, Kind, Result, files};

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

/// A folder of the cache, made where it is missing. Only its user can read what is made.
///
/// # Errors
///
/// If it cannot be made, or somebody else can change it or what is around it.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = root()?.join(name);
    // Before anything is made, because a planted link would say where.
    check(&path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&path).fault_at(&path)?;
    check(&path)?;
    Ok(path)
}

fn check(path: &Path) -> Result<()> {
    match pyox_private::check(path) {
        Err(pyox_private::Error::Io(path, error)) => Err(error).fault_at(&path),
        other => other.map_err(|error| {
            Fault::new("cache", &error)
                .hint("set PYOX_CACHE_DIR to a folder that belongs to you, and that only you can write to")
                .caused_by(error)
                .of_kind(Kind::Io(ErrorKind::PermissionDenied))
        }),
    }
}

/// Keeps a distribution document, so that later stages find it by its digest.
///
/// # Errors
///
/// If it cannot be written.
pub fn remember(distribution: &Distribution) -> Result<Digest> {
    let digest = distribution.digest();
    let path = document_path(&digest)?;
    let mut document = distribution.clone();
    document.link.driver = Compiler::usual(&document.target);
    let json = document.to_json();
    if fs::read(&path).is_ok_and(|there| there == json) {
        return Ok(digest);
    }
    files::write(&path, &json)?;
    Ok(digest)
}

/// The distribution of that digest: `document` where one is named, else as it was remembered. What was remembered and has
/// another digest now is forgotten.
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
            // It may have been damaged or deleted since.
            let _ = remember(&distribution);
            return Ok(distribution);
        }
        let what = format!("expected the distribution {}, got {}", digest.short(), found.short());
        return Err(Fault::at(path, what)
            .hint("collect and pack again for this one")
            .of_kind(Kind::Digest { expected: *digest, found }));
    }
    let path = document_path(digest)?;
    let what = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => "is not known here",
        Err(error) => return Err(error).fault_at(&path),
        Ok(json) => {
            if let Some(distribution) = kept(&json, digest) {
                return Ok(distribution);
            }
            let _ = fs::remove_file(&path);
            "was known here, but its document in the cache is damaged"
        }
    };
    Err(Fault::new("distribution", format_args!("{} {what}", digest.short()))
        .hint("name its document with -d, or fetch it again with pyox-fetch")
        .of_kind(Kind::Missing))
}

/// The document of that digest, as the cache keeps it. Its linker driver is no part of the digest, and is a program that will
/// run: in the cache it is the usual one.
#[must_use]
pub fn kept(json: &[u8], digest: &Digest) -> Option<Distribution> {
    let document = Distribution::from_json(json).ok()?;
    let is_usual = document.link.driver == Compiler::usual(&document.target);
    (is_usual && document.digest() == *digest).then_some(document)
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
            parts.push((name.to_owned(), size(&path)));
        }
    }
    parts.sort();
    Ok(parts)
}

/// Removes the files in a folder of the cache, and leaves the folder to those who use it.
///
/// # Errors
///
/// If one of them cannot be removed.
pub fn forget(name: &str) -> Result<()> {
    let path = root()?.join(name);
    for entry in fs::read_dir(&path).fault_at(&path)? {
        let path = entry.fault_at(&path)?.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).fault_at(&path),
            _ => {}
        }
    }
    Ok(())
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

/// How many bytes are in a folder. What goes away meanwhile, or may not be read, is not counted.
fn size(path: &Path) -> u64 {
    let files = WalkDir::new(path).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(|file| !file.is_dir())
        .map(|file| file.len())
        .sum()
}
