//! The start-up snapshots of executables: which one each gets, and how.

use std::path::Path;
use std::str::FromStr;

use pyox_link::Link;
use pyox_snapshot::{self as snapshot, Level, Options, Profile};
use pyox_stage::{Fault, Reporter, Result};
use serde::{Deserialize, Deserializer, de};

use crate::{BuildOptions, Settings};

/// Whether an executable begins where a start has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    /// No, its start is as ever.
    No,
    /// Yes, and so much of the start is done beforehand.
    Of(Level),
}

impl FromStr for Snapshot {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::No),
            level => level.parse().map(Self::Of),
        }
    }
}

/// Reads the setting: `false`, `true` for the level that needs no names, or the name of a level.
pub(crate) fn setting<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<Snapshot>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected true, false or the name of a level")]
    enum Setting {
        Wanted(bool),
        Named(String),
    }
    match Setting::deserialize(from)? {
        Setting::Wanted(false) => Ok(Some(Snapshot::No)),
        Setting::Wanted(true) => Ok(Some(Snapshot::Of(Level::Interpreter))),
        Setting::Named(name) => name.parse().map(Some).map_err(de::Error::custom),
    }
}

/// What is done with executables that have been linked.
#[derive(Debug)]
pub(crate) enum Recording {
    /// Nothing.
    Nothing,
    /// A snapshot of the interpreter's start, where there can be one: nobody has asked for it, and nobody sees it.
    IfPossible,
    /// The snapshot that was asked for.
    Wanted(Options),
}

impl Recording {
    /// What the caller wants, or else the project, or else what serves all. `root` is the project's folder.
    pub(crate) fn of(options: &BuildOptions, settings: &Settings, root: &Path) -> Result<Self> {
        let names_modules = !settings.preload.is_empty() || settings.profile.is_some();
        let level = match options.snapshot.or(settings.snapshot) {
            Some(Snapshot::No) => return Ok(Self::Nothing),
            // It is made on this machine, and is not small.
            None if options.target.is_some() || options.small || settings.small => {
                return Ok(Self::Nothing);
            }
            None | Some(Snapshot::Of(Level::Interpreter)) if names_modules => Level::Stdlib,
            None => return Ok(Self::IfPossible),
            Some(Snapshot::Of(level)) => level,
        };
        let profile = settings.profile.as_ref().map(|path| root.join(path));
        Ok(Self::Wanted(Options {
            level,
            preload: settings.preload.clone(),
            no_preload: settings.no_preload.clone(),
            profile: profile.as_deref().map(Profile::read).transpose()?,
            fixed_hash_seed: None,
        }))
    }

    /// Makes a linked executable that has it.
    pub(crate) fn make(&self, link: &Link<'_>, path: &Path, reporter: &dyn Reporter) -> Result<()> {
        let usual = Options::default();
        let (options, is_wanted) = match self {
            Self::Nothing => return link.executable(path, reporter),
            Self::IfPossible => (&usual, false),
            Self::Wanted(options) => (options, true),
        };
        link.executable_with(path, reporter, |executable| {
            match snapshot::with_snapshot(&executable, path, options, reporter) {
                Ok(bytes) => Ok(bytes.into()),
                Err(fault) if is_wanted => Err(fault),
                Err(fault) => {
                    reporter.detail(format_args!("no snapshot: {fault}"));
                    Ok(executable)
                }
            }
        })
    }
}
