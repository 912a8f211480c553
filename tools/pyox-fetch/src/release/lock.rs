//! `pyox.lock`: which archives `cpython@…` has chosen, for later runs and for other people.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Kind, Result, files};
use serde::Deserialize;

use super::asset::Asset;

/// The kind of document, and its version.
const SCHEMA: &str = "pyox.lock/1";

/// The document.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Lock {
    #[serde(default)]
    schema: String,
    #[serde(default, rename = "python")]
    entries: Vec<Entry>,
}

/// An archive that was chosen for a SPEC, a target and a flavor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Entry {
    pub(crate) spec: String,
    pub(crate) target: String,
    pub(crate) flavor: String,
    pub(crate) url: String,
    /// None where the archive was unpacked before anybody noted its size.
    pub(crate) size: Option<u64>,
    pub(crate) sha256: String,
}

impl Entry {
    fn is_of(&self, spec: &str, target: &str, flavor: &str) -> bool {
        self.spec == spec && self.target == target && self.flavor == flavor
    }

    /// The archive that it names.
    pub(crate) fn asset(&self) -> Option<Asset> {
        Asset::parse(&self.url.rsplit('/').next()?.replace("%2B", "+").replace("%2b", "+"))
    }
}

impl Lock {
    /// Reads a lock; one that is not there is empty.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.fault_at(path)?,
        };
        let lock: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| pyox_stage::position(&text, span.start).0);
            let place = line.map_or_else(
                || path.display().to_string(),
                |line| format!("{}:{line}", path.display()),
            );
            Fault::new(place, error.message().to_owned()).caused_by(error)
        })?;
        if lock.schema != SCHEMA {
            let what = format!("schema: expected {SCHEMA}, got `{}`", lock.schema.escape_debug());
            return Err(Fault::at(path, what));
        }
        Ok(lock)
    }

    /// What was chosen before.
    ///
    /// # Errors
    ///
    /// If it was chosen for another target alone, or the entry is not of one piece.
    pub(crate) fn chosen(
        &self,
        path: &Path,
        (spec, target, flavor): (&str, &str, &str),
    ) -> Result<Option<(&Entry, Asset, Digest)>> {
        let Some(entry) = self.entries.iter().find(|entry| entry.is_of(spec, target, flavor))
        else {
            let other =
                self.entries.iter().find(|entry| entry.spec == spec && entry.flavor == flavor);
            let Some(other) = other else { return Ok(None) };
            let what =
                format!("{spec}: expected an entry for {target}, got one for {}", other.target);
            return Err(Fault::at(path, what).hint("--upgrade chooses for this target too"));
        };
        let sha256: Digest =
            entry.sha256.parse().fault(format_args!("{}: {spec}: sha256", path.display()))?;
        let asset =
            entry.asset().filter(|asset| asset.target == target && asset.rank(flavor).is_some());
        let Some(asset) = asset else {
            let url = entry.url.escape_debug();
            let what = format!(
                "{spec}: url: expected that of a {flavor} archive for {target}, got `{url}`"
            );
            return Err(Fault::at(path, what).hint("--upgrade chooses anew"));
        };
        Ok(Some((entry, asset, sha256)))
    }

    /// Notes what was chosen.
    pub(crate) fn choose(mut self, path: &Path, entry: Entry) -> Result<()> {
        self.entries.retain(|other| !other.is_of(&entry.spec, &entry.target, &entry.flavor));
        self.entries.push(entry);
        self.entries.sort();
        let mut text = format!(
            "# Which Pythons pyox-fetch has chosen. Written by pyox-fetch; keep it with the project.\n\
             schema = \"{SCHEMA}\"\n"
        );
        for Entry { spec, target, flavor, url, size, sha256 } in &self.entries {
            let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
            let size = size.map(|size| format!("size = {size}\n")).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[python]]\nspec = {}\ntarget = {}\nflavor = {}\nurl = {}\n{size}sha256 = {}\n",
                quoted(spec),
                quoted(target),
                quoted(flavor),
                quoted(url),
                quoted(sha256)
            );
        }
        match files::write(path, text.as_bytes()) {
            Err(fault) if matches!(fault.kind(), Kind::Io(_)) => {
                Err(fault.hint("--no-lock writes none"))
            }
            done => done,
        }
    }
}
