//! What a project says about how it is built: `[tool.pyox]` of a `pyproject.toml` or of a script, or a `pyox.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pyox_collect::{Extensions, Installer};
use pyox_link::Version;
use pyox_schema::{Digest, LinkMode, Placement, Value};
use pyox_stage::{Fault, Result, position};
use serde::{Deserialize, Deserializer, de};

use crate::recording::{self, Snapshot};

/// The settings of a project. A key that is not known is an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Distributions, the first that can be had: `host`, `source@3.13` and so on.
    pub python: Vec<String>,
    /// The SHA-256 of the archive that `python` names.
    pub sha256: Option<Digest>,
    /// The Python versions that it runs on, as `>=3.12`; a `pyproject.toml` says it in `[project]`.
    pub requires_python: Option<String>,
    /// `static` or `dynamic`; by default static where nothing needs a loader.
    pub mode: Option<LinkMode>,
    /// The newest glibc that anything in the executables may need.
    #[serde(deserialize_with = "version")]
    pub max_glibc: Option<Version>,
    /// Folders of packages, scripts and wheels to take beside the project.
    pub apps: Vec<PathBuf>,
    /// Folders whose modules are taken, as if they were on `sys.path`.
    pub paths: Vec<PathBuf>,
    /// Further projects, as pip understands them.
    pub with: Vec<String>,
    /// Requirements files.
    pub requirements: Vec<PathBuf>,
    /// Who installs projects: `uv` or `pip`; by default uv where it is on PATH.
    pub installer: Option<Installer>,
    /// Parts of the standard library to take that are left out by default.
    pub include: Vec<String>,
    /// Modules and packages to leave out.
    pub exclude: Vec<String>,
    /// Which extension modules of the standard library are taken, beside those that `include` names.
    pub extensions: Extensions,
    /// The modules to which the executable is narrowed, by their full names.
    pub only: Option<BTreeSet<String>>,
    /// Fields of `PyConfig`.
    pub config: BTreeMap<String, Value>,
    /// Fields of `PyPreConfig`.
    pub preconfig: BTreeMap<String, Value>,
    /// The level of `python -O`.
    pub optimize: u8,
    /// Whether sources are taken (default: true).
    pub sources: Option<bool>,
    /// Who may use the executable as `python`, see `pyox-collect --interpreter`.
    pub interpreter: Option<bool>,
    /// Where packages' files are at run time.
    pub placement: BTreeMap<String, Placement>,
    /// Attributes of `sys`. In their texts and in the next two settings, `$ORIGIN` is the executable's folder at run time.
    pub sys: BTreeMap<String, Value>,
    /// Folders at the end of `sys.path`.
    pub search_path: Vec<String>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// The variable of the environment that names a folder for lists of imported modules.
    pub module_lists: Option<String>,
    /// Whether what is worth it is compressed (default: true).
    pub compress: Option<bool>,
    /// Whether native code is compressed as well.
    pub compress_native: bool,
    /// Whether everything is, as well as that goes.
    pub small: bool,
    /// Whether the executables begin where a start has ended, and how much of it is done beforehand (default: the
    /// interpreter's start, where there can be a snapshot).
    #[serde(deserialize_with = "recording::setting")]
    pub snapshot: Option<Snapshot>,
    /// Modules that are imported beforehand then.
    pub preload: Vec<String>,
    /// Modules that are not, nor those that import them.
    pub no_preload: Vec<String>,
    /// The file that lists what is imported beforehand, as far as that is safe.
    pub profile: Option<PathBuf>,
    /// Whether several programs become one executable.
    pub multicall: bool,
    /// A folder beside the executables, for the licence texts of the distribution.
    pub licenses: Option<PathBuf>,
    /// The folder in a tar archive that is made of each executable and what lies beside it; empty for none.
    pub tarball: Option<PathBuf>,
    /// Further executables, each with what it runs: a function as `module:function`, a module, or a script's path.
    pub programs: BTreeMap<String, String>,
}

fn version<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Version>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(de::Error::custom)
}

/// The keys of [`Settings`].
const KEYS: [&str; 35] = [
    "python",
    "sha256",
    "requires-python",
    "mode",
    "max-glibc",
    "apps",
    "paths",
    "with",
    "requirements",
    "installer",
    "include",
    "exclude",
    "extensions",
    "only",
    "config",
    "preconfig",
    "optimize",
    "sources",
    "interpreter",
    "placement",
    "sys",
    "search-path",
    "environment",
    "module-lists",
    "compress",
    "compress-native",
    "small",
    "snapshot",
    "preload",
    "no-preload",
    "profile",
    "multicall",
    "licenses",
    "tarball",
    "programs",
];

impl Settings {
    /// The settings in a table of a file; `table` is its name there, for messages.
    ///
    /// # Errors
    ///
    /// For a key that is not known, with the nearest one, or a value of another type.
    pub fn from_table(table: toml::Table, name: &str, place: &Path) -> Result<Self> {
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let what = format!("[{name}]: expected a setting that is known, got `{key}`");
            let hint = match nearest(key, &KEYS) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("settings are {}", KEYS.join(", ")),
            };
            return Err(Fault::at(place, what).hint(hint));
        }
        let settings: Self = toml::Value::Table(table).try_into().map_err(|error| {
            let text = toml::de::Error::to_string(&error);
            let message = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            Fault::at(place, format_args!("[{name}]: {message}")).caused_by(error)
        })?;
        if settings.small && settings.compress == Some(false) {
            let what = format!("[{name}]: small: expected compress = true with it, got false");
            return Err(Fault::at(place, what));
        }
        if settings.optimize > 2 {
            let what = format!("[{name}]: optimize: expected 0, 1 or 2, got {}", settings.optimize);
            return Err(Fault::at(place, what));
        }
        Ok(settings)
    }
}

/// How alike two words are, from 0 to 1, of which one may be meant by the other.
const ALIKE: f64 = 0.8;

/// The known word that is most like another one, if any is.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let rated = known.iter().map(|known| (strsim::jaro_winkler(word, known), *known));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness > ALIKE).map(|(_, known)| known)
}

/// Reads a TOML file; an error names line and column.
pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Fault::new(format_args!("{}:{line}:{column}", path.display()), message).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings> {
        Settings::from_table(text.parse().unwrap(), "tool.pyox", Path::new("f.toml"))
    }

    #[test]
    fn all_keys_are_known() {
        let text = "python = [\"host\"]\nmode = \"static\"\nsources = false\ncompress-native = true\n[placement]\ncv2 = \"cache\"\n[config]\nquiet = true\n[programs]\na = \"m:f\"\n";
        let found = settings(text).unwrap();
        assert_eq!((found.mode, found.sources), (Some(LinkMode::Static), Some(false)));
        assert_eq!(found.placement["cv2"], Placement::Cache);
        for key in KEYS {
            let wrong = format!("{key} = [[1]]");
            assert!(!settings(&wrong).unwrap_err().to_string().contains("is known"), "{key}");
        }
    }

    #[test]
    fn what_is_small_is_compressed() {
        assert!(settings("small = true").unwrap().small);
        let fault = settings("small = true\ncompress = false").unwrap_err().to_string();
        assert!(fault.contains("small: expected compress = true with it, got false"), "{fault}");
    }

    #[test]
    fn a_key_that_is_not_known_has_a_nearest_one() {
        let fault = settings("compres = true").unwrap_err();
        assert_eq!(
            fault.to_string(),
            "f.toml: [tool.pyox]: expected a setting that is known, got `compres`"
        );
        assert_eq!(fault.way_out(), Some("did you mean `compress`?"));
        assert!(
            settings("zzz = 1").unwrap_err().way_out().unwrap().starts_with("settings are python")
        );
        assert!(settings("optimize = 3").is_err() && settings("mode = \"x\"").is_err());
    }
}
