//! `pyox cache verify`: whether what is kept between runs is as it was written.

use std::fs;
use std::path::Path;

use pyox_schema::Digest;
use pyox_stage::verify::{Verdict, Verified, verify};
use pyox_stage::{Result, Store};

/// A folder of the cache: how many folders its entries lie below it, and how one of them is looked at.
type Folder = (&'static str, usize, fn(&Path) -> Verdict);

/// Those whose entries can be told to be whole. What is in `downloads` is checked when all of it has come.
const FOLDERS: [Folder; 9] = [
    ("builds", 1, builds),
    ("bytecode", 2, Store::check),
    ("digests", 1, digests),
    ("distributions", 1, pyox_fetch::verify::unpacked),
    ("documents", 1, documents),
    ("projects", 1, pyox_collect::verify::installed),
    ("runners", 2, Store::check),
    ("source", 1, pyox_fetch::verify::built),
    ("zstd", 2, Store::check),
];

/// Looks at all that is in the cache, and removes what is damaged. It is made again when it is needed.
///
/// Costs reading all of it.
///
/// # Errors
///
/// If a folder cannot be read, is not the user's alone, or something cannot be removed.
pub fn verify_cache() -> Result<Vec<(&'static str, Verified)>> {
    let folders = FOLDERS.into_iter();
    folders.map(|(name, depth, check)| Ok((name, verify(name, depth, &check)?))).collect()
}

/// The name of an entry, without what is behind the dot.
fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}

/// What was made of what, which an executable's time and length are compared with; and lock files as requirements, by their
/// content.
fn builds(path: &Path) -> Verdict {
    let Some(digest) = stem(path).strip_prefix("locked-") else { return Verdict::Unknown };
    match fs::read(path) {
        Ok(bytes) if Digest::of(&bytes).to_string() == digest => Verdict::Whole,
        _ => Verdict::Damaged("its digest is another".to_owned()),
    }
}

fn digests(path: &Path) -> Verdict {
    // How a project was installed: the files are compared with it by their times.
    if stem(path).starts_with("project-") {
        return Verdict::Unknown;
    }
    pyox_collect::verify::digests(path)
}

fn documents(path: &Path) -> Verdict {
    if path.extension().is_none_or(|end| end != "json") {
        return Verdict::Unknown;
    }
    if stem(path).starts_with("host-") {
        return pyox_fetch::verify::memo(path);
    }
    let digest = stem(path).parse().ok();
    let is_whole = digest.zip(fs::read(path).ok());
    match is_whole.and_then(|(digest, json)| pyox_stage::cache::kept(&json, &digest)) {
        Some(_) => Verdict::Whole,
        None => Verdict::Damaged("its digest is another".to_owned()),
    }
}
