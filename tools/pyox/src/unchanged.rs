//! Executables that would come out as they are there already.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use pyox_schema::{Digest, Document, LinkMode, Manifest};
use pyox_stage::{Result, cache, files};
use serde::{Deserialize, Serialize};

use crate::Built;

/// What was made, of what.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    from: Digest,
    executable: Stamp,
    python: String,
    mode: LinkMode,
    projects: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp(u64, u64, i64, i64, i64, i64);

/// A build that may have been done before.
pub(crate) struct Build {
    from: Digest,
    path: PathBuf,
    store: PathBuf,
}

impl Build {
    /// `how` is all that counts beside the manifest; the run-time library and this program count by themselves.
    pub(crate) fn new(manifest: &Manifest, how: &str, tag: &str, path: &Path) -> Result<Self> {
        let path = absolute(path).unwrap_or_else(|_| path.to_owned());
        let runtime = pyox_link::find_runtime(tag).ok().and_then(|library| stamp(&library));
        let own = env::current_exe().ok().and_then(|own| stamp(&own));
        let mut text = manifest.to_json();
        text.extend(format!("{how} {runtime:?} {own:?}").into_bytes());
        let name = Digest::of(path.as_os_str().as_encoded_bytes());
        let store = cache::folder("builds")?.join(format!("{name}.json"));
        Ok(Self { from: Digest::of(&text), path, store })
    }

    /// What it has made, if that is there as it was made.
    pub(crate) fn made(&self, shown: &Path) -> Option<Built> {
        let record: Record = serde_json::from_slice(&fs::read(&self.store).ok()?).ok()?;
        let is_there = record.from == self.from && stamp(&self.path)? == record.executable;
        is_there.then(|| Built {
            path: shown.to_owned(),
            size: record.executable.1,
            mode: record.mode,
            python: record.python,
            projects: record.projects,
        })
    }

    /// Notes what it has made. Nothing depends on it, so it does not matter where that fails.
    pub(crate) fn note(&self, built: &Built) {
        let Some(executable) = stamp(&self.path) else { return };
        let record = Record {
            from: self.from,
            executable,
            python: built.python.clone(),
            mode: built.mode,
            projects: built.projects.clone(),
        };
        if let Ok(json) = serde_json::to_vec(&record) {
            let _ = files::write(&self.store, &json);
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let (modified, changed) =
        ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some(Stamp(found.ino(), found.len(), modified.0, modified.1, changed.0, changed.1))
}
