//! Which versions of Python will do, and who says so: the SPEC, or the project's own files.
//!
//! `.python-version` and `requires-python` are looked for in a folder and in those above it, the nearest first, as uv
//! and pyenv do.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep440_rs::Version;
use pyox_schema::specifiers;
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};
use serde::Deserialize;

/// The name of the file that pins a version.
const PIN: &str = ".python-version";

/// What is asked of a Python.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// `3.13` or `3.13.5`, and who wants it.
    version: Option<(String, String)>,
    /// `>=3.12`, and who wants it.
    requires: Option<(String, String)>,
    /// The Python itself, where a project names its path.
    pub(crate) program: Option<PathBuf>,
}

/// What a line of `.python-version` means.
#[derive(Debug, PartialEq, Eq)]
enum Pin {
    Version(String),
    Requires(String),
    Program(PathBuf),
    /// The name of an environment, say, that only the tool which made it knows.
    Unknown,
    /// Another Python than those that pyox embeds.
    Unsupported,
}

impl Wish {
    /// What a SPEC asks for; one without a version asks the project in `folder`.
    ///
    /// # Errors
    ///
    /// If a file of the project is damaged, or pins what pyox does not embed.
    pub(crate) fn new(
        spec: &str,
        version: Option<&str>,
        requires: Option<&str>,
        folder: Option<&Path>,
        ui: &dyn Reporter,
    ) -> Result<Self> {
        let mut wish = Self {
            version: version.map(|version| (version.to_owned(), spec.to_owned())),
            requires: requires.map(|text| (text.to_owned(), "requires-python".to_owned())),
            program: None,
        };
        let folder = folder.filter(|_| version.is_none());
        let Some(folder) = folder else { return Ok(wish) };
        let folder = std::path::absolute(folder).fault_at(folder)?;
        wish.obey_pin(&folder, ui)?;
        wish.obey_project(&folder, ui)?;
        Ok(wish)
    }

    fn obey_pin(&mut self, folder: &Path, ui: &dyn Reporter) -> Result<()> {
        let Some(path) = above(folder, PIN) else { return Ok(()) };
        let text = fs::read_to_string(&path).fault_at(&path)?;
        let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let Some(line) = lines.find(|line| !line.is_empty()) else { return Ok(()) };
        ui.detail(format_args!("{}: wants Python {}", path.display(), line.escape_debug()));
        let place = path.display().to_string();
        match pin(line) {
            Pin::Version(version) => self.version = Some((version, place)),
            Pin::Requires(text) => self.requires = Some((text, place)),
            Pin::Program(program) => {
                let below = path.parent().unwrap_or(folder);
                self.program = Some(below.join(program));
            }
            Pin::Unknown => ui.warn(format_args!(
                "{place}: expected a version such as 3.13, got `{}`: it is ignored",
                line.escape_debug()
            )),
            Pin::Unsupported => {
                let what =
                    format!("expected a CPython with its lock, got `{}`", line.escape_debug());
                return Err(Fault::new(place, what)
                    .hint("name a Python that will do, such as host@3.13")
                    .of_kind(Kind::Unsupported));
            }
        }
        Ok(())
    }

    /// The caller may know the project already, and what it requires.
    fn obey_project(&mut self, folder: &Path, ui: &dyn Reporter) -> Result<()> {
        #[derive(Deserialize)]
        struct File {
            project: Option<Project>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Project {
            requires_python: Option<String>,
        }
        if self.requires.is_some() {
            return Ok(());
        }
        let Some(path) = above(folder, "pyproject.toml") else { return Ok(()) };
        let text = fs::read_to_string(&path).fault_at(&path)?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let what = error.message().to_owned();
            Fault::at(&path, what).caused_by(error)
        })?;
        let Some(text) = file.project.and_then(|project| project.requires_python) else {
            return Ok(());
        };
        ui.detail(format_args!("{}: wants Python {}", path.display(), text.escape_debug()));
        specifiers(&text).fault_at(&path)?;
        self.requires = Some((text, path.display().to_string()));
        Ok(())
    }

    /// Whether any version will do.
    pub(crate) fn is_any(&self) -> bool {
        self.version.is_none() && self.requires.is_none()
    }

    /// The minor version that is wanted, such as `3.13`, where it is said.
    pub(crate) fn minor(&self) -> Option<String> {
        let (version, _) = self.version.as_ref()?;
        let mut parts = version.split('.');
        Some(format!("{}.{}", parts.next()?, parts.next()?))
    }

    /// Whether a version will do.
    ///
    /// # Errors
    ///
    /// If it or what is wanted is no version.
    pub(crate) fn is_met_by(&self, version: &str) -> Result<bool> {
        let is_named = self.version.as_ref().is_none_or(|(wanted, _)| is_of(version, wanted));
        let Some((text, place)) = &self.requires else { return Ok(is_named) };
        // Builds of a checkout have a `+` behind the release that they come after.
        let version = Version::from_str(version.trim_end_matches('+')).fault("version")?;
        Ok(is_named && specifiers(text).fault(place)?.contains(&version))
    }
}

/// `Python 3.13 (host@3.13)`, for messages.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("a Python");
        }
        f.write_str("Python ")?;
        for (at, (text, place)) in self.version.iter().chain(&self.requires).enumerate() {
            write!(f, "{}{text} ({place})", if at == 0 { "" } else { " and " })?;
        }
        Ok(())
    }
}

/// Whether a version is one of those that `3.13` or `3.13.5` names.
pub(crate) fn is_of(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| {
        let is_minor = wanted.matches('.').count() < 2;
        rest.is_empty() || (is_minor && rest.starts_with('.'))
    })
}

/// The nearest file of that name in a folder or above it.
fn above(folder: &Path, name: &str) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Reads a pin as pyenv and uv write it: `3.13`, `3.13.5`, `cpython@3.13`, `cpython-3.13.5-linux-x86_64-gnu`, `>=3.12`, or
/// the path of a Python.
fn pin(line: &str) -> Pin {
    if line.contains('/') {
        return Pin::Program(line.into());
    }
    if line.starts_with(['<', '>', '=', '!', '~']) {
        return specifiers(line).map_or(Pin::Unknown, |_| Pin::Requires(line.to_owned()));
    }
    let name = line.to_lowercase();
    if ["pypy", "graalpy", "pyodide", "stackless", "jython", "micropython"]
        .iter()
        .any(|other| name.starts_with(other))
    {
        return Pin::Unsupported;
    }
    let version = ["cpython", "python", "cp"].iter().find_map(|it| name.strip_prefix(it));
    let version = version.unwrap_or(&name).trim_start_matches(['@', '-']);
    let version = version.split('-').next().unwrap_or_default();
    let (version, variant) = version.split_once('+').unwrap_or((version, ""));
    let number = version.trim_end_matches('t');
    let is_version = !number.is_empty()
        && number
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match is_version {
        false => Pin::Unknown,
        true if number != version || variant.starts_with("freethreaded") => Pin::Unsupported,
        // `cp313`
        true if !number.contains('.') && number.len() > 1 => {
            Pin::Version(format!("{}.{}", &number[..1], &number[1..]))
        }
        true => Pin::Version(number.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_itself_and_those_below_it() {
        for (version, wanted, is) in [
            ("3.13.5", "3.13", true),
            ("3.13.5", "3.13.5", true),
            ("3.13.5", "3", true),
            ("3.15.0rc1", "3.15", true),
            ("3.13.15", "3.13.1", false),
            ("3.13.0rc1", "3.13.0", false),
            ("3.13.5", "3.1", false),
        ] {
            assert_eq!(is_of(version, wanted), is, "{version} {wanted}");
        }
    }

    #[test]
    fn pins_are_read_as_other_tools_write_them() {
        let version = |text: &str| Pin::Version(text.to_owned());
        for (line, expected) in [
            ("3.13", version("3.13")),
            ("3", version("3")),
            ("3.13.5", version("3.13.5")),
            ("python3.12", version("3.12")),
            ("cpython@3.13", version("3.13")),
            ("cpython-3.12.1-linux-x86_64-gnu", version("3.12.1")),
            ("3.13-dev", version("3.13")),
            ("cp313", version("3.13")),
            (">=3.11,<3.13", Pin::Requires(">=3.11,<3.13".to_owned())),
            ("/usr/bin/python3", Pin::Program("/usr/bin/python3".into())),
            ("pypy@3.10", Pin::Unsupported),
            ("3.13t", Pin::Unsupported),
            ("3.13+freethreaded", Pin::Unsupported),
            ("system", Pin::Unknown),
            ("my-env", Pin::Unknown),
            ("miniconda3-latest", Pin::Unknown),
        ] {
            assert_eq!(pin(line), expected, "{line}");
        }
    }
}
