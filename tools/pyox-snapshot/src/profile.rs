//! Profiles: which modules an application's start imports, learned from a run of it.
//!
//! A profile is a text file with the name of a module on each line, in the order in which they were imported. What follows
//! a `#` is a comment. The same run gives the same profile.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use pyox_blob::snapshot::PROFILE;
use pyox_stage::{Fault, FaultExt as _, Kind, Reporter, Result, files};

use crate::{parsed, prepared};

/// The modules that an application's start imports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Their names, in the order in which they were imported.
    pub modules: Vec<String>,
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has a line that is no module's name.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).fault_at(path)?;
        let mut modules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if !name.is_empty() {
                if !is_module(name) {
                    let place = format!("{}:{}", path.display(), number + 1);
                    let what = format!("expected the name of a module, got `{name}`");
                    return Err(Fault::new(place, what));
                }
                modules.push(name.to_owned());
            }
        }
        Ok(Self { modules })
    }

    /// Its text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let head =
            "# What the application's start imports, in this order: for pyox-snapshot --profile.\n";
        let lines = self.modules.iter().map(|name| format!("{name}\n"));
        [head.to_owned()].into_iter().chain(lines).collect()
    }
}

/// Whether a text can be the full name of a module.
pub(crate) fn is_module(name: &str) -> bool {
    name.split('.').all(|part| {
        part.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
            && !part.is_empty()
    })
}

/// Runs an executable once, with these arguments, and this process's streams, folder and environment. Gives what its run has
/// imported.
///
/// # Errors
///
/// If the executable can have no snapshot, or its run leaves no list, as one that is killed does. What its exit status is
/// does not matter.
pub fn learn(from: &Path, arguments: &[OsString], reporter: &dyn Reporter) -> Result<Profile> {
    let content = files::content(from)?;
    let bytes = prepared(&content, from)?;
    let executable = parsed(&bytes, from)?;
    let folder = tempfile::tempdir().fault("temporary folder")?;
    // Programs show their own name.
    let path = folder.path().join(from.file_name().unwrap_or(from.as_os_str()));
    fs::write(&path, executable.profiler()).fault_at(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).fault_at(&path)?;
    let list = folder.path().join("modules");
    reporter.detail(format_args!("{} runs", from.display()));
    let status = Command::new(&path).args(arguments).env(PROFILE, &list).status();
    let status = status.map_err(|error| {
        let what = format!("the executable cannot be run: {error}");
        Fault::at(from, what).hint("TMPDIR names a folder from which programs can be run")
    })?;
    let Ok(text) = fs::read_to_string(&list) else {
        let what = format!("it left no list of its modules, and ended with {status}");
        let kind = Kind::Command { program: from.display().to_string(), status };
        return Err(Fault::at(from, what)
            .hint("a run that ends by itself leaves one")
            .of_kind(kind));
    };
    if !status.success() {
        reporter.warn(format_args!("{}: its run ended with {status}", from.display()));
    }
    let modules = text.lines().filter(|name| is_module(name)).map(str::to_owned).collect();
    Ok(Profile { modules })
}
