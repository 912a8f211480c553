//! CPython's release tarball out of Debian's source package.
//!
//! Why: where only a package mirror can be reached, the release tarball is still there: Debian's
//! `pythonX.Y_….orig.tar.*` holds the bytes that python.org published, and the mirror is the one that
//! the system already uses. apt-get works in a private state folder, so that the system's own lists and
//! configuration stay as they are; it needs no `deb-src` entry and no root. Cost: one suite's source
//! index (some 10 MB) besides the tarball.

use std::fs;
use std::path::Path;
use std::process::Command;

use pyox_stage::{Fault, FaultExt as _, Kind, Partial, Result, files};

use crate::sources::{Release, SourcePackage};

/// Where the system's apt looks for its sources.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];

/// A mirror of Debian's archive, as the system's apt knows it.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    uri: String,
    /// Its keyring; apt's default where the entry names none.
    signed_by: Option<String>,
}

/// Fetches the tarball of a release into `folder`, verified.
pub(crate) fn fetch(release: &Release, package: &SourcePackage, folder: &Path) -> Result<()> {
    let mirror = mirror(&system_sources(), &package.suite).ok_or_else(|| {
        Fault::new(SOURCES.join(", "), "no Debian archive among apt's sources")
            .of_kind(Kind::Missing)
    })?;

    let scratch = Partial::new(folder)?;
    let place = scratch.path();
    for name in ["lists/partial", "cache/archives/partial", "out"] {
        fs::create_dir_all(place.join(name)).fault_at(place)?;
    }
    let options = mirror.signed_by.map_or_else(
        || "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]".to_owned(),
        |key| format!("[signed-by={key}]"),
    );
    let list = format!("deb-src {options} {} {} main\n", mirror.uri, package.suite);
    fs::write(place.join("sources.list"), list).fault_at(place)?;
    // The system's hooks are for its own lists (images often delete downloaded packages there).
    let hooks = "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
                 #clear APT::Update::Post-Invoke-Success;\n";
    fs::write(place.join("apt.conf"), hooks).fault_at(place)?;

    apt(place, &["update"])?;
    let source = format!("{}/{}", package.package, package.suite);
    apt(place, &["source", "--download-only", "--tar-only", &source])?;

    let out = place.join("out");
    let tarball = fs::read_dir(&out)
        .fault_at(&out)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
        .filter(|path| !path.to_string_lossy().ends_with(".asc"))
        .ok_or_else(|| Fault::new(&source, "apt-get fetched no .orig.tar"))?;
    let (found, _) = files::digest(&tarball)?;
    if found != release.sha256 {
        return Err(Fault::mismatch(format_args!("Debian's {source}"), &release.sha256, &found));
    }
    let path = folder.join(release.file());
    fs::rename(&tarball, &path).fault_at(&path)
}

/// Runs apt-get with its state in `place`.
fn apt(place: &Path, arguments: &[&str]) -> Result<()> {
    let set = |key: &str, value: &str| format!("{key}={}", place.join(value).display());
    let output = Command::new("apt-get")
        .arg("-q")
        .arg("-c")
        .arg(place.join("apt.conf"))
        .args(["-o", &set("Dir::Etc::sourcelist", "sources.list")])
        .args(["-o", "Dir::Etc::sourceparts=/dev/null"])
        .args(["-o", &set("Dir::State::lists", "lists")])
        .args(["-o", &set("Dir::Cache", "cache")])
        // apt's unprivileged user cannot enter a private folder; the digest is what is relied on.
        .args(["-o", "APT::Sandbox::User="])
        .args(["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=0"])
        .args(arguments)
        .current_dir(place.join("out"))
        .env("LC_ALL", "C")
        .output()
        .fault("apt-get")?;
    // `update` exits with 0 where a list could not be fetched, and says so with an E: or W: line.
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr.lines().find(|line| line.starts_with("E:")).unwrap_or("no message");
    let program = format!("apt-get {}", arguments[0]);
    Err(Fault::new(&program, line).of_kind(Kind::Command { program, status: output.status }))
}

/// The texts of all of apt's source lists, the main one first.
fn system_sources() -> Vec<String> {
    let mut texts = Vec::new();
    texts.extend(fs::read_to_string(SOURCES[0]));
    let mut parts: Vec<_> = fs::read_dir(SOURCES[1])
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    texts.extend(parts.iter().filter_map(|path| fs::read_to_string(path).ok()));
    texts
}

/// The first Debian archive in the texts of source lists, of either syntax.
///
/// Debian's archive is told from a vendor's by its path, which mirrors keep (`…/debian`), or by having
/// the very suite that is looked for; `deb` entries will do, as a mirror has the sources too.
fn mirror(texts: &[String], suite: &str) -> Option<Mirror> {
    texts.iter().flat_map(|text| entries(text)).find_map(|(mirror, suites, components)| {
        let debian = mirror.uri.trim_end_matches('/').ends_with("/debian")
            || suites.iter().any(|name| name == suite);
        (debian && components.iter().any(|name| name == "main")).then_some(mirror)
    })
}

type Entry = (Mirror, Vec<String>, Vec<String>);

/// The `deb` and `deb-src` entries of one source list: each with its suites and components.
fn entries(text: &str) -> Vec<Entry> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if let (Some(uris), Some(suites)) = (field("URIs"), field("Suites")) {
            let components = words(&field("Components").unwrap_or_default());
            // A key may also be written into the entry, on lines of its own; that is not a path.
            let signed_by = field("Signed-By").filter(|value| value.starts_with('/'));
            if let Some(uri) = words(&uris).into_iter().next() {
                found.push((Mirror { uri, signed_by }, words(&suites), components));
            }
            continue;
        }
        for line in stanza.lines() {
            let Some(rest) = ["deb ", "deb-src "].iter().find_map(|kind| line.strip_prefix(kind))
            else {
                continue;
            };
            let rest = rest.trim_start();
            let (options, rest) = rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .map_or(("", rest), |(options, rest)| (options, rest));
            let signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(str::to_owned);
            let mut rest = words(rest).into_iter();
            if let (Some(uri), Some(suite)) = (rest.next(), rest.next()) {
                found.push((Mirror { uri, signed_by }, vec![suite], rest.collect()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(texts: &[&str]) -> Option<Mirror> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        mirror(&texts, "trixie")
    }

    #[test]
    fn the_mirror_is_read_from_a_deb822_list() {
        let vendor =
            "Types: deb\nURIs: https://vendor.example/apt\nSuites: nodistro\nComponents: main\n";
        let debian = "# comment\nTypes: deb\n# another\nURIs: http://mirror.example/debian\n\
                      Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
                      Types: deb\nURIs: http://mirror.example/debian-security\nSuites: s\nComponents: main\n";
        assert_eq!(
            find(&[vendor, debian]),
            Some(Mirror {
                uri: "http://mirror.example/debian".into(),
                signed_by: Some("/k.gpg".into())
            })
        );
    }

    #[test]
    fn the_mirror_is_read_from_a_one_line_list() {
        let list = "deb https://vendor.example/apt cloud main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://m.example/x trixie main contrib\n";
        assert_eq!(
            find(&[list]),
            Some(Mirror { uri: "http://m.example/x".into(), signed_by: Some("/k.gpg".into()) })
        );
        let bare =
            "# deb http://no.example/debian a main\ndeb http://m.example/debian/ bookworm main\n";
        assert_eq!(
            find(&[bare]),
            Some(Mirror { uri: "http://m.example/debian/".into(), signed_by: None })
        );
    }

    #[test]
    fn a_system_without_debian_has_no_mirror() {
        assert_eq!(find(&["deb http://archive.example/ubuntu noble main universe\n"]), None);
        assert_eq!(find(&["", "URIs:\nSuites:\n"]), None);
    }
}
