//! The release tarballs: which are known, where they come from, and their verification.
//!
//! Every tarball is verified against a pinned sha256, so it does not matter for trust where it came
//! from: CPython's release address first, and where that cannot be reached, Debian's source package of
//! the same release. A file appears under its name in the download folder only when it is verified.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use pyox_schema::Digest;
use serde::Deserialize;

use crate::{Error, Event, Result, debian};

/// A release in `sources.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    /// The minor version: `3.13`.
    pub minor: String,
    /// The full version: `3.13.5`.
    pub version: String,
    /// The tarball's file name.
    pub file: String,
    /// The tarball's digest.
    pub sha256: Digest,
    /// Its release address.
    pub url: String,
    /// The same tarball elsewhere.
    pub debian: SourcePackage,
}

/// A source package of Debian's archive.
#[derive(Debug, Clone, Deserialize)]
pub struct SourcePackage {
    /// The package's name.
    pub package: String,
    /// The suite that has the right release of it.
    pub suite: String,
}

/// All releases that are known by version, oldest first.
///
/// # Panics
///
/// Where the table that is compiled in does not parse, which a test rules out.
pub fn releases() -> &'static [Release] {
    #[derive(Deserialize)]
    struct Table {
        release: Vec<Release>,
    }
    static TABLE: OnceLock<Vec<Release>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let table: Table = toml::from_str(include_str!("../sources.toml")).expect("sources.toml");
        table.release
    })
}

/// The release of a minor or full version.
///
/// # Errors
///
/// If there is none, with those that are known.
pub fn find(version: &str) -> Result<&'static Release> {
    releases()
        .iter()
        .find(|release| release.minor == version || release.version == version)
        .ok_or_else(|| {
            let known: Vec<_> = releases().iter().map(|release| release.minor.as_str()).collect();
            Error::new(format!(
                "source@{version}: unknown version: expected one of {}, got {version}",
                known.join(", ")
            ))
            .with_hint("source:TARBALL builds any release tarball of CPython 3.11 or later")
        })
}

/// The sha256 of a file.
pub(crate) fn digest_of(path: &Path) -> Result<Digest> {
    let file = File::open(path).map_err(Error::io(path))?;
    Ok(Digest::of_reader(file).map_err(Error::io(path))?.0)
}

/// What to call the build of a tarball: its file name without extension and `Python-`, reduced to
/// characters that are safe in a file name.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_prefix("Python-").unwrap_or(&name);
    let stem = [".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    stem.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '_' })
        .collect()
}

/// The verified tarball of a release in `folder`, downloaded where it is not there yet.
pub(crate) fn obtain(
    release: &Release,
    folder: &Path,
    progress: &mut dyn FnMut(Event),
) -> Result<PathBuf> {
    let path = folder.join(&release.file);
    if path.is_file() {
        // A file that rotted in the cache is downloaded again.
        if digest_of(&path)? == release.sha256 {
            return Ok(path);
        }
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;

    progress(Event::Downloading(release.url.clone()));
    let first = match download(&release.url, &release.sha256, &path) {
        Ok(()) => return Ok(path),
        Err(error) => error,
    };
    progress(Event::Downloading(format!(
        "Debian's source package {} ({})",
        release.debian.package, release.debian.suite
    )));
    debian::fetch(release, folder).map_err(|second| {
        Error::new(format!("{}: cannot be had: {first}; {second}", release.file)).with_hint(
            format!(
                "put it there yourself, as {} with sha256 {}, or use source:TARBALL",
                path.display(),
                release.sha256
            ),
        )
    })?;
    Ok(path)
}

/// Downloads what an address has, and makes a file of it if its digest is right.
///
/// Costs the download, of ten minutes at most.
///
/// # Errors
///
/// If nobody is there, for another digest, and if the file cannot be written. Nothing is left behind then.
pub fn download(url: &str, sha256: &Digest, path: &Path) -> Result<()> {
    let fail = |error: reqwest::Error| {
        // reqwest's own text names the address and leaves the cause to `source()`.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Error::new(format!("{url}: {cause}"))
    };
    // An error says that a provider is set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Long enough for a slow line to send 30 MB, short enough to notice quickly that nobody is there.
    let client = reqwest::blocking::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(600))
        .build()
        .map_err(fail)?;
    let response = client
        .get(url)
        .send()
        .and_then(reqwest::blocking::Response::error_for_status)
        .map_err(fail)?;
    store(response, url, sha256, path)
}

/// Makes a file of what a reader gives, if and only if its digest is right.
pub(crate) fn store(
    mut reader: impl Read,
    place: &str,
    sha256: &Digest,
    path: &Path,
) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // A temporary file is removed on every way out of here but `persist`.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(folder))?;
    std::io::copy(&mut reader, &mut file)
        .map_err(|error| Error::new(format!("{place}: {error}")))?;
    file.flush().map_err(Error::io(file.path()))?;
    let got = digest_of(file.path())?;
    if got != *sha256 {
        let what = format!("{place}: digest mismatch: expected sha256 {sha256}, got {got}");
        return Err(Error::new(what));
    }
    file.persist(path).map_err(|error| Error::io(path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses_and_names_each_version_once() {
        let minors: Vec<_> = releases().iter().map(|release| release.minor.as_str()).collect();
        assert_eq!(minors, ["3.11", "3.13"]);
        for release in releases() {
            assert!(release.version.starts_with(&format!("{}.", release.minor)));
            assert!(release.url.ends_with(&release.file));
            assert_eq!(stem(Path::new(&release.file)), release.version);
        }
    }

    #[test]
    fn a_version_is_found_by_its_minor_and_by_its_full_name() {
        assert_eq!(find("3.13").unwrap().version, "3.13.5");
        assert_eq!(find("3.11.2").unwrap().minor, "3.11");
    }

    #[test]
    fn an_unknown_version_lists_the_known_ones() {
        let error = find("3.9").unwrap_err();
        assert_eq!(
            error.to_string(),
            "source@3.9: unknown version: expected one of 3.11, 3.13, got 3.9"
        );
        assert!(error.hint().unwrap().contains("source:TARBALL"));
    }

    fn release(sha256: Digest) -> Release {
        Release {
            sha256,
            file: "Python-0.tgz".into(),
            url: "http://127.0.0.1:9/Python-0.tgz".into(),
            debian: SourcePackage { package: "no-such-package".into(), suite: "none".into() },
            ..find("3.13").unwrap().clone()
        }
    }

    #[test]
    fn a_wrong_digest_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Python-0.tgz");
        let sha256 = Digest::of(b"the release");
        let error = store(&b"something else"[..], "http://x", &sha256, &path).unwrap_err();
        let (want, got) = (Digest::of(b"the release"), Digest::of(b"something else"));
        assert_eq!(
            error.to_string(),
            format!("http://x: digest mismatch: expected sha256 {want}, got {got}")
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        store(&b"the release"[..], "http://x", &sha256, &path).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"the release");
    }

    #[test]
    fn a_verified_tarball_is_not_downloaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Python-0.tgz");
        fs::write(&path, "the release").unwrap();
        let found = obtain(&release(Digest::of(b"the release")), folder.path(), &mut |event| {
            panic!("{event:?}")
        });
        assert_eq!(found.unwrap(), path);
    }

    #[test]
    fn a_rotten_tarball_is_deleted_and_an_address_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Python-0.tgz");
        fs::write(&path, "rotten").unwrap();
        let release = release(Digest::of(b"the release"));
        let error = download(&release.url, &release.sha256, &path).unwrap_err();
        assert!(error.to_string().starts_with("http://127.0.0.1:9/Python-0.tgz: "), "{error}");
        assert!(obtain(&release, folder.path(), &mut |_| {}).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_tarball_names_its_build() {
        assert_eq!(stem(Path::new("/x/Python-3.12.1.tar.xz")), "3.12.1");
        assert_eq!(stem(Path::new("my python.tgz")), "my_python");
    }
}
