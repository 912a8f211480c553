//! The tables of a `pyoxidizer.toml`, and the keys that each has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use pyox_stage::{Fault, Result, position};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::settings::nearest;

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

/// A table that is meant for the platform of the executables, and where it and its keys are.
pub(super) struct At<T> {
    section: String,
    place: Place,
    keys: BTreeMap<String, Place>,
    pub(super) table: T,
}

/// A place in a file, with line and column: `pyoxidizer.toml:3:1`.
type Place = String;

impl<T> At<T> {
    /// Where a key is, or the table if it does not have the key.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}: [[{}]]", self.keys.get(key).unwrap_or(&self.place), self.section)
    }

    /// What is wrong with a key.
    pub(super) fn fault(&self, key: &str, what: impl std::fmt::Display) -> Fault {
        Fault::new(self.place(key), format_args!("{key}: {what}"))
    }

    /// A word that a key cannot have.
    pub(super) fn unknown(&self, key: &str, word: &str, known: &[&str]) -> Fault {
        unknown(self.place(key), key, word, known)
    }

    /// A key that its rule cannot do without.
    pub(super) fn need<'a, V>(&self, key: &str, value: Option<&'a V>) -> Result<&'a V> {
        let missing = || format!("expected a key `{key}`, found none");
        value.ok_or_else(|| Fault::new(self.place(key), missing()))
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
    pub(super) fn read(file: &Path, text: &str, target: &str) -> Result<Self> {
        let source = Source { file, text, target };
        let sections = DeTable::parse(text).map_err(|error| source.fault(None, error))?;
        let mut names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        names.extend(["packaging_rule", "distribution"]);
        let mut tables = Self::default();
        for (name, value) in sections.into_inner() {
            let place = source.place(name.span());
            let name = name.into_inner();
            if !names.contains(&name.as_ref()) {
                return Err(unknown(place, "section", &name, &names));
            }
            let DeValue::Array(found) = value.into_inner() else {
                let what = format!("expected tables `[[{name}]]`, got something else");
                return Err(Fault::new(place, what));
            };
            for value in found {
                tables.add(&source, &name, value)?;
            }
        }
        Ok(tables)
    }

    fn add(&mut self, source: &Source, section: &str, value: Spanned<DeValue<'_>>) -> Result<()> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let what = format!("expected a table `[[{section}]]`, got something else");
            return Err(Fault::new(source.place(span), what));
        };
        let table = Raw { section, span, table, source };
        match section {
            "build" => self.builds.extend(table.read(keys(section))?),
            "python_distribution" => self.distributions.extend(table.read(keys(section))?),
            "embedded_python_config" => self.configs.extend(table.read(keys(section))?),
            "embedded_python_run" => self.runs.extend(table.read(keys(section))?),
            "packaging_rule" => {
                let keys = table.keys_by_type(&RULES)?;
                self.rules.extend(table.read(keys)?);
            }
            _ => {
                let keys = table.keys_by_type(&DISTRIBUTIONS)?;
                self.packages.extend(table.read(keys)?);
            }
        }
        Ok(())
    }
}

fn keys(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The file that is read.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    /// The platform of the executables, as a triple.
    target: &'a str,
}

impl Source<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let (line, column) = position(self.text, span.start);
        format!("{}:{line}:{column}", self.file.display())
    }

    /// What the parser says, with the key that it is about.
    fn fault(&self, key: Option<(&str, &str)>, error: toml::de::Error) -> Fault {
        let mut message = error.message().lines().collect::<Vec<_>>().join(", ");
        let mut place = self.place(error.span().unwrap_or_default());
        if let Some((section, key)) = key {
            place = format!("{place}: [[{section}]]");
            message = format!("{key}: {message}");
        }
        Fault::new(place, message).caused_by(error)
    }
}

/// A table as it stands in the file.
struct Raw<'a, 'i> {
    section: &'a str,
    span: Range<usize>,
    table: DeTable<'i>,
    source: &'a Source<'a>,
}

impl Raw<'_, '_> {
    /// The place of a part of it.
    fn place(&self, span: Range<usize>) -> String {
        format!("{}: [[{}]]", self.source.place(span), self.section)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// The keys that it has by its `type`.
    fn keys_by_type(
        &self,
        types: &[(&str, &'static [&'static str])],
    ) -> Result<&'static [&'static str]> {
        let Some(kind) = self.text("type") else {
            let place = self.place(self.span.clone());
            return Err(Fault::new(place, "expected a text `type`, found none"));
        };
        let found = types.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys);
        found.ok_or_else(|| {
            let names: Vec<_> = types.iter().map(|(name, _)| *name).collect();
            let span = self.table.get("type").map_or(self.span.clone(), Spanned::span);
            unknown(self.place(span), "type", kind, &names)
        })
    }

    /// Reads it; nothing if it is meant for another platform.
    fn read<T: DeserializeOwned>(self, known: &[&str]) -> Result<Option<At<T>>> {
        let mut keys = BTreeMap::new();
        let mut values = Vec::new();
        for (key, value) in &self.table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) && !["type", "build_target"].contains(&name) {
                let known: Vec<&str> = known.iter().copied().chain(["build_target"]).collect();
                return Err(unknown(self.place(key.span()), "key", name, &known));
            }
            keys.insert(name.to_owned(), self.source.place(key.span()));
            values.push((value.span(), name.to_owned()));
        }
        let is_meant = match self.table.get("build_target") {
            None => true,
            Some(target) => {
                let word = target.get_ref().as_str().ok_or_else(|| {
                    Fault::new(self.place(target.span()), "build_target: expected a text")
                })?;
                ["all", "default", self.source.target].contains(&word)
            }
        };
        let (section, place) = (self.section.to_owned(), self.source.place(self.span.clone()));
        let value = DeValue::Table(self.table);
        let read = T::deserialize(ValueDeserializer::from(Spanned::new(self.span, value)));
        let table = read.map_err(|error| {
            let at = error.span().unwrap_or_default();
            let value = values.iter().find(|(span, _)| span.contains(&at.start));
            let key = value.map(|(_, name)| (self.section, name.as_str()));
            self.source.fault(key, error)
        })?;
        Ok(is_meant.then_some(At { section, place, keys, table }))
    }
}

/// A word that the format does not have.
fn unknown(place: impl std::fmt::Display, what: &str, word: &str, known: &[&str]) -> Fault {
    let hint = match nearest(word, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Fault::new(place, format_args!("expected a {what} that is known, got `{word}`")).hint(hint)
}
