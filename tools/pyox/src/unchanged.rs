//! Executables that a build would make again unchanged.

use std::env;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use pyox_schema::{Digest, Document, LinkMode, Manifest};
use pyox_stage::{Result, Stamp, cache, files};
use serde::{Deserialize, Serialize};

use crate::Built;

/// What was made, of what.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    from: Digest,
    executable: Stamp,
    python: String,
    mode: LinkMode,
    glibc: Option<String>,
    projects: Vec<(String, u64)>,
}

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
        let library = pyox_link::find_runtime(&manifest.distribution.target, tag);
        let runtime = library.ok().and_then(|library| Stamp::of(&library).ok());
        let own = env::current_exe().ok().and_then(|own| Stamp::of(&own).ok());
        let mut text = manifest.to_json();
        text.extend(format!("{how} {runtime:?} {own:?}").into_bytes());
        let name = Digest::of(path.as_os_str().as_encoded_bytes());
        let store = cache::folder("builds")?.join(format!("{name}.json"));
        Ok(Self { from: Digest::of(&text), path, store })
    }

    /// What it has made, if that is there as it was made.
    pub(crate) fn made(&self, shown: &Path) -> Option<Built> {
        let record: Record = serde_json::from_slice(&fs::read(&self.store).ok()?).ok()?;
        let is_there = record.from == self.from && Stamp::of(&self.path).ok()? == record.executable;
        is_there.then(|| Built {
            path: shown.to_owned(),
            programs: Vec::new(),
            size: record.executable.len(),
            mode: record.mode,
            glibc: record.glibc,
            python: record.python,
            projects: record.projects,
        })
    }

    /// Notes what it has made. Nothing depends on it, so it does not matter where that fails.
    pub(crate) fn note(&self, built: &Built) {
        let Ok(executable) = Stamp::of(&self.path) else { return };
        let record = Record {
            from: self.from,
            executable,
            python: built.python.clone(),
            mode: built.mode,
            glibc: built.glibc.clone(),
            projects: built.projects.clone(),
        };
        if let Ok(json) = serde_json::to_vec(&record) {
            let _ = files::write(&self.store, &json);
        }
    }
}
