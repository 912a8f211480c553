//! The digests of an unpacked archive's files: `sums` beside its one folder, as `sha256sum` writes them.
//!
//! They are for `pyox cache verify` alone. Whoever uses a file checks it by the digest that the distribution document has.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use pyox_schema::Digest;
use pyox_stage::verify::Verdict;
use pyox_stage::{FaultExt, Result, files};
use walkdir::WalkDir;

const NAME: &str = "sums";

/// Writes the digests of all files below a folder.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut text = String::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.fault_at(folder)?;
        let path = entry.path();
        // A name that is none in UTF-8 cannot be written down.
        if let (true, Some(name)) = (entry.file_type().is_file(), relative(folder, path)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}  {name}", files::digest(path)?.0);
        }
    }
    let path = folder.join(NAME);
    fs::write(&path, text).fault_at(&path)
}

fn relative<'a>(folder: &Path, path: &'a Path) -> Option<&'a str> {
    path.strip_prefix(folder).ok()?.to_str().filter(|name| !name.contains('\n'))
}

/// Whether an archive's files are as they were unpacked. What is there besides was made later.
#[must_use]
pub fn check(entry: &Path) -> Verdict {
    // Older versions wrote none.
    let Ok(text) = fs::read_to_string(entry.join(NAME)) else { return Verdict::Unknown };
    for line in text.lines() {
        let parts = line.split_once("  ");
        let Some((sha256, name)) = parts.and_then(|(a, b)| Some((Digest::from_str(a).ok()?, b)))
        else {
            return Verdict::Damaged(format!("{NAME}: its list of digests is no list"));
        };
        match files::digest(&entry.join(name)) {
            Ok((found, _)) if found == sha256 => {}
            Ok(_) => return Verdict::Damaged(format!("{name}: its digest is another")),
            Err(fault) => return Verdict::Damaged(fault.to_string()),
        }
    }
    Verdict::Whole
}
