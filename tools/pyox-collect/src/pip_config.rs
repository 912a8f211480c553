//! What pip has been told by its own configuration: variables, and files.
//!
//! uv does not read it, so it gets what concerns indexes as options. pip gets all of it as variables, apart from what would
//! install things elsewhere, and reads no file. What decides which projects are installed is part of the key under which they
//! are kept.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pyox_schema::{Digest, Distribution};
use pyox_stage::{Result, files};

use crate::inline::Indexes;

/// Options of uv's that mean the same as pip's configuration with some indexes in addition.
pub(crate) fn options(indexes: &Indexes, distribution: &Distribution) -> Vec<OsString> {
    let settings = settings(distribution);
    let words = |key: &str| {
        settings
            .get(key)
            .map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let mut all = indexes.clone();
    // What uv has been told itself counts as before.
    let is_told = ["UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if !is_told {
        all.index = all.index.or_else(|| settings.get("index-url").cloned());
        all.extra.splice(0..0, words("extra-index-url").unwrap_or_default());
    }
    all.find_links.splice(0..0, words("find-links").unwrap_or_default());
    let says_yes =
        |value: &String| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on");
    all.no_index |= settings.get("no-index").is_some_and(says_yes);
    let mut options: Vec<OsString> = all.options().into_iter().map(OsString::from).collect();
    for (key, option) in
        [("constraint", "--constraints"), ("trusted-host", "--allow-insecure-host")]
    {
        for word in words(key).unwrap_or_default() {
            options.extend([option.into(), word.into()]);
        }
    }
    options
}

/// Settings that say where things go, what is installed beside what is asked for, or what becomes of the output.
const OF_PLACES: [&str; 16] = [
    "config-file",
    "dry-run",
    "editable",
    "log",
    "prefix",
    "python",
    "quiet",
    "report",
    "require-virtualenv",
    "requirement",
    "root",
    "src",
    "target",
    "upgrade",
    "user",
    "verbose",
];

/// Settings that do not decide what is installed.
const OF_MANNERS: [&str; 16] = [
    "cache-dir",
    "cert",
    "client-cert",
    "default-timeout",
    "disable-pip-version-check",
    "keyring-provider",
    "no-cache-dir",
    "no-color",
    "no-input",
    "no-python-version-warning",
    "no-warn-script-location",
    "progress-bar",
    "proxy",
    "retries",
    "root-user-action",
    "timeout",
];

/// Has a pip take these settings, and no others.
pub(crate) fn apply(command: &mut Command, distribution: &Distribution) {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PIP_") {
            command.env_remove(name);
        }
    }
    command.env("PIP_CONFIG_FILE", "/dev/null");
    for (key, value) in settings(distribution) {
        if !OF_PLACES.contains(&key.as_str()) {
            command.env(format!("PIP_{}", key.to_uppercase().replace('-', "_")), value);
        }
    }
}

/// What decides which projects are installed, of pip's settings and uv's.
pub(crate) fn key(distribution: &Distribution) -> Result<String> {
    let mut text = String::new();
    for (key, value) in settings(distribution) {
        let is_idle = |list: &[&str]| list.contains(&key.as_str());
        if is_idle(&OF_PLACES) || is_idle(&OF_MANNERS) {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "pip {key} {value}");
        if key.ends_with("constraint") {
            for path in value.split_whitespace().map(Path::new).filter(|path| path.is_file()) {
                let _ = writeln!(text, "constraint {}", files::digest(path)?.0);
            }
        }
    }
    for (name, value) in env::vars().filter(|(name, _)| is_choice_of_uv(name)) {
        let _ = writeln!(text, "{name} {value}");
    }
    for settings in settings_of_uv() {
        let _ = writeln!(text, "uv {}", Digest::of(settings.as_bytes()));
    }
    Ok(text)
}

/// Whether a variable of uv's can decide what is installed.
fn is_choice_of_uv(name: &str) -> bool {
    const MANNERS: [&str; 12] = [
        "CACHE",
        "CONCURRENT",
        "HTTP",
        "INSTALL",
        "LINK",
        "LOG",
        "NATIVE",
        "NO_CACHE",
        "NO_PROGRESS",
        "PROJECT",
        "PYTHON",
        "TOOL",
    ];
    name.strip_prefix("UV_").is_some_and(|rest| !MANNERS.iter().any(|word| rest.starts_with(word)))
}

/// The files in which uv finds settings: the user's, the machine's, and the first in the working folder or above.
fn settings_of_uv() -> Vec<String> {
    let home = variable("HOME").map(|home| home.join(".config"));
    let user = variable("XDG_CONFIG_HOME").or(home).map(|folder| folder.join("uv/uv.toml"));
    let named = variable("UV_CONFIG_FILE");
    let fixed = user.into_iter().chain([PathBuf::from("/etc/uv/uv.toml")]).chain(named);
    let mut found: Vec<String> = fixed.filter_map(|path| fs::read_to_string(path).ok()).collect();
    let here = env::current_dir().unwrap_or_default();
    for folder in here.ancestors() {
        if let Ok(text) = fs::read_to_string(folder.join("uv.toml")) {
            found.push(text);
            break;
        }
        let project = fs::read_to_string(folder.join("pyproject.toml")).unwrap_or_default();
        let table = project.parse::<toml::Table>().unwrap_or_default();
        if let Some(settings) = table.get("tool").and_then(|tool| tool.get("uv")) {
            found.push(settings.to_string());
            break;
        }
    }
    found
}

/// pip's settings: of its files, the later before the earlier, and of the environment before all of them.
fn settings(distribution: &Distribution) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for path in configuration(distribution) {
        if let Ok(text) = fs::read_to_string(&path) {
            read(&text, &mut settings);
        }
    }
    for (name, value) in env::vars() {
        if let Some(key) = name.strip_prefix("PIP_").filter(|_| !value.is_empty()) {
            settings.insert(key.to_lowercase().replace('_', "-"), value);
        }
    }
    settings
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// pip's files: the machine's, the user's, those of its own Python and of the virtual environment, and one that is named.
fn configuration(distribution: &Distribution) -> Vec<PathBuf> {
    let own = variable("PIP_CONFIG_FILE");
    if own.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let machine = env::var_os("XDG_CONFIG_DIRS").filter(|value| !value.is_empty());
    let machine = machine.unwrap_or_else(|| "/etc/xdg".into());
    let mut files: Vec<PathBuf> =
        env::split_paths(&machine).map(|folder| folder.join("pip/pip.conf")).collect();
    files.push(PathBuf::from("/etc/pip.conf"));
    files.extend(home.map(|home| home.join(".pip/pip.conf")));
    files.extend(config.map(|config| config.join("pip/pip.conf")));
    // `lib/python3.X` in the folder that `sys.prefix` names.
    let stdlib = distribution.path(&distribution.paths.stdlib);
    files.extend(stdlib.ancestors().nth(2).map(|prefix| prefix.join("pip.conf")));
    files.extend(variable("VIRTUAL_ENV").map(|folder| folder.join("pip.conf")));
    files.extend(own);
    files
}

/// Reads a file of sections with `key = value`; a value goes on in lines that are indented.
fn read(text: &str, settings: &mut BTreeMap<String, String>) {
    let mut sections: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    let mut section = "";
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = sections.get_mut(section).and_then(|lines| lines.last_mut()) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(['=', ':']) {
            let key = key.trim().to_lowercase().replace('_', "-");
            sections.entry(section).or_default().push((key, value.trim().to_owned()));
        }
    }
    for name in ["global", "install"] {
        settings.extend(sections.remove(name).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_sections() {
        let mut settings = BTreeMap::new();
        let text = "[install]\nno_index = yes\n# no\n[global]\nextra-index-url =\n    one\n    two\nno-index = no\n[list]\nindex-url = x\n";
        read(text, &mut settings);
        let expected = [("extra-index-url", " one two"), ("no-index", "yes")];
        assert_eq!(
            settings,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
    }
}
