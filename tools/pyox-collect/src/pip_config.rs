//! What pip has been told of indexes by its own configuration, for uv, which does not read that.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::inline::Indexes;

/// Options of uv's that mean the same as pip's configuration with some indexes in addition.
pub(crate) fn options(indexes: &Indexes) -> Vec<OsString> {
    let settings = settings();
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

/// pip's settings: of its files, the later before the earlier, and of the environment before all of them.
fn settings() -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for path in files() {
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

fn files() -> Vec<PathBuf> {
    let variable =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = variable("PIP_CONFIG_FILE");
    if own.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let mut files = vec![PathBuf::from("/etc/xdg/pip/pip.conf"), PathBuf::from("/etc/pip.conf")];
    files.extend(home.map(|home| home.join(".pip/pip.conf")));
    files.extend(config.map(|config| config.join("pip/pip.conf")));
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
