//! The tables of a `pyoxidizer.toml`, and the keys that each has.

use std::collections::BTreeMap;
use std::path::Path;

use pyox_stage::{Fault, Result, position};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Spanned, Table};

use crate::settings::{nearest, read_toml};

/// The values of `build_target` that are meant for this platform.
const TARGETS: [&str; 3] = ["all", "default", "x86_64-unknown-linux-gnu"];

const SECTIONS: [(&str, &[&str]); 4] = [
    ("build", &["application_name", "build_path"]),
    ("python_distribution", &["local_path", "url", "sha256"]),
    (
        "embedded_python_config",
        &[
            "dont_write_bytecode",
            "ignore_environment",
            "no_site",
            "no_user_site_directory",
            "optimize_level",
            "program_name",
            "stdio_encoding",
            "unbuffered_stdio",
            "filesystem_importer",
            "sys_frozen",
            "sys_meipass",
            "sys_paths",
            "raw_allocator",
            "terminfo_resolution",
            "terminfo_dirs",
            "write_modules_directory_env",
        ],
    ),
    ("embedded_python_run", &["mode", "code", "module"]),
];

const RULES: [(&str, &[&str]); 12] = [
    (
        "stdlib",
        &[
            "optimize_level",
            "exclude_test_modules",
            "include_source",
            "include_resources",
            "install_location",
            "excludes",
        ],
    ),
    ("stdlib-extensions-policy", &["policy"]),
    ("stdlib-extensions-explicit-includes", &["includes"]),
    ("stdlib-extensions-explicit-excludes", &["excludes"]),
    ("stdlib-extension-variant", &["extension", "variant"]),
    (
        "package-root",
        &["path", "packages", "excludes", "optimize_level", "include_source", "install_location"],
    ),
    ("virtualenv", &["path", "excludes", "optimize_level", "include_source", "install_location"]),
    (
        "pip-install-simple",
        &[
            "package",
            "extra_args",
            "venv_path",
            "excludes",
            "optimize_level",
            "include_source",
            "install_location",
        ],
    ),
    (
        "pip-requirements-file",
        &[
            "requirements_path",
            "extra_args",
            "venv_path",
            "excludes",
            "optimize_level",
            "include_source",
            "install_location",
        ],
    ),
    (
        "setup-py-install",
        &[
            "package_path",
            "extra_env",
            "extra_global_arguments",
            "excludes",
            "optimize_level",
            "include_source",
            "install_location",
        ],
    ),
    ("filter-include", &["files", "glob_files"]),
    ("write-license-files", &["path"]),
];

const DISTRIBUTIONS: [(&str, &[&str]); 2] = [
    ("tarball", &["path_prefix"]),
    ("wix", &["msi_upgrade_code_x86", "msi_upgrade_code_amd64", "bundle_upgrade_code"]),
];

/// A table that is meant for this platform, and where it is: `pyoxidizer.toml:3: [[build]]`.
pub(super) struct At<T> {
    pub(super) place: String,
    pub(super) table: T,
}

impl<T> At<T> {
    pub(super) fn fault(&self, what: impl std::fmt::Display) -> Fault {
        Fault::new(&self.place, what)
    }

    /// A key that its rule cannot do without.
    pub(super) fn need<'a, V>(&self, key: &str, value: Option<&'a V>) -> Result<&'a V> {
        value.ok_or_else(|| self.fault(format_args!("expected a key `{key}`, found none")))
    }
}

/// What a file says, in its order.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) builds: Vec<At<Build>>,
    pub(super) distributions: Vec<At<PythonDistribution>>,
    pub(super) configs: Vec<At<PythonConfig>>,
    pub(super) runs: Vec<At<Run>>,
    pub(super) rules: Vec<At<Rule>>,
    pub(super) packages: Vec<At<Package>>,
}

#[derive(Deserialize)]
pub(super) struct Build {
    pub(super) application_name: Option<String>,
    pub(super) build_path: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PythonDistribution {
    pub(super) local_path: Option<String>,
    pub(super) url: Option<String>,
    pub(super) sha256: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct PythonConfig {
    pub(super) dont_write_bytecode: Option<bool>,
    pub(super) ignore_environment: Option<bool>,
    pub(super) no_site: Option<bool>,
    pub(super) no_user_site_directory: Option<bool>,
    pub(super) optimize_level: Option<i64>,
    pub(super) program_name: Option<String>,
    pub(super) stdio_encoding: Option<String>,
    pub(super) unbuffered_stdio: Option<bool>,
    pub(super) filesystem_importer: Option<bool>,
    pub(super) sys_frozen: Option<bool>,
    pub(super) sys_meipass: Option<bool>,
    pub(super) sys_paths: Option<Vec<String>>,
    pub(super) raw_allocator: Option<String>,
    pub(super) terminfo_resolution: Option<String>,
    pub(super) terminfo_dirs: Option<String>,
    pub(super) write_modules_directory_env: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) mode: String,
    pub(super) code: Option<String>,
    pub(super) module: Option<String>,
}

/// A packaging rule; which keys it has depends on its type.
#[derive(Deserialize)]
pub(super) struct Rule {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) optimize_level: Option<i64>,
    pub(super) include_source: Option<bool>,
    pub(super) exclude_test_modules: Option<bool>,
    pub(super) include_resources: Option<bool>,
    pub(super) install_location: Option<String>,
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) includes: Vec<String>,
    #[serde(default)]
    pub(super) excludes: Vec<String>,
    pub(super) extension: Option<String>,
    pub(super) variant: Option<String>,
    pub(super) path: Option<String>,
    pub(super) packages: Option<Vec<String>>,
    pub(super) package: Option<String>,
    #[serde(default)]
    pub(super) extra_args: Vec<String>,
    pub(super) venv_path: Option<String>,
    pub(super) requirements_path: Option<String>,
    pub(super) package_path: Option<String>,
    #[serde(default)]
    pub(super) extra_env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) extra_global_arguments: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<String>,
    #[serde(default)]
    pub(super) glob_files: Vec<String>,
}

/// What is made of the executable.
#[derive(Deserialize)]
pub(super) struct Package {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) path_prefix: Option<String>,
}

impl Tables {
    /// Reads a file. A section or key that the format does not have is an error, with the nearest one.
    pub(super) fn read(file: &Path, text: &str) -> Result<Self> {
        let sections: BTreeMap<String, toml::Value> = read_toml(file, text)?;
        let mut names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        names.extend(["packaging_rule", "distribution"]);
        if let Some(name) = sections.keys().find(|name| !names.contains(&name.as_str())) {
            let place = format!("{}:{}", file.display(), line_of_word(text, name));
            return Err(unknown(place, "section", name, &names));
        }
        let sections: BTreeMap<String, Vec<Spanned<Table>>> = read_toml(file, text)?;
        let mut tables = Self::default();
        for (name, found) in sections {
            for spanned in found {
                let (line, _) = position(text, spanned.span().start);
                let place = format!("{}:{line}: [[{name}]]", file.display());
                let table = spanned.into_inner();
                match name.as_str() {
                    "build" => tables.builds.extend(one(table, place, keys(&name))?),
                    "python_distribution" => {
                        tables.distributions.extend(one(table, place, keys(&name))?);
                    }
                    "embedded_python_config" => {
                        tables.configs.extend(one(table, place, keys(&name))?);
                    }
                    "embedded_python_run" => tables.runs.extend(one(table, place, keys(&name))?),
                    "packaging_rule" => {
                        let keys = typed(&table, &place, &RULES)?;
                        tables.rules.extend(one(table, place, keys)?);
                    }
                    _ => {
                        let keys = typed(&table, &place, &DISTRIBUTIONS)?;
                        tables.packages.extend(one(table, place, keys)?);
                    }
                }
            }
        }
        Ok(tables)
    }
}

fn keys(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The keys that a table has by its `type`.
fn typed(
    table: &Table,
    place: &str,
    types: &[(&str, &'static [&'static str])],
) -> Result<&'static [&'static str]> {
    let kind = table.get("type").and_then(toml::Value::as_str);
    let kind = kind.ok_or_else(|| Fault::new(place, "expected a text `type`, found none"))?;
    let found = types.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys);
    found.ok_or_else(|| {
        let names: Vec<_> = types.iter().map(|(name, _)| *name).collect();
        unknown(place, "type", kind, &names)
    })
}

/// Reads a table; nothing if it is meant for another platform.
fn one<T: DeserializeOwned>(
    mut table: Table,
    place: String,
    keys: &[&str],
) -> Result<Option<At<T>>> {
    let target = table.remove("build_target");
    if let Some(key) = table.keys().find(|key| *key != "type" && !keys.contains(&key.as_str())) {
        let keys: Vec<&str> = keys.iter().copied().chain(["build_target"]).collect();
        return Err(unknown(place, "key", key, &keys));
    }
    let table = toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        let text = error.to_string();
        let message = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Fault::new(&place, message).caused_by(error)
    })?;
    let is_meant = match &target {
        None => true,
        Some(toml::Value::String(target)) => TARGETS.contains(&target.as_str()),
        Some(other) => {
            let what = format_args!("build_target: expected a text, got `{other}`").to_string();
            return Err(Fault::new(place, what));
        }
    };
    Ok(is_meant.then_some(At { place, table }))
}

/// A word that the format does not have.
pub(super) fn unknown(
    place: impl std::fmt::Display,
    what: &str,
    word: &str,
    known: &[&str],
) -> Fault {
    let hint = match nearest(word, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Fault::new(place, format_args!("expected a {what} that is known, got `{word}`")).hint(hint)
}

/// The first line that has a word.
fn line_of_word(text: &str, word: &str) -> usize {
    text.lines().position(|line| line.contains(word)).unwrap_or_default() + 1
}
