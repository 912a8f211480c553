//! The release tarballs: which are known, where they come from, and their verification.
//!
//! Every tarball is verified against a sha256, so it does not matter for trust where it came from: CPython's release
//! address first, and where that cannot be reached, Debian's source package of the same release. A file appears under
//! its name in the download folder only when it is verified. Of a minor version the newest release that can be had is taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use pyox_schema::Digest;
use serde::Deserialize;

use pyox_download::{Client, Want};
use pyox_stage::{Fault, FaultExt as _, Kind, Result, Silent};

use crate::{Event, debian};

/// A release in `sources.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    /// The full version: `3.13.5`.
    pub version: String,
    /// The tarball's digest.
    pub sha256: Digest,
    /// The tarball's release address.
    pub url: String,
    /// The same tarball elsewhere.
    pub debian: Option<SourcePackage>,
}

/// A source package of Debian's archive.
#[derive(Debug, Clone, Deserialize)]
pub struct SourcePackage {
    /// The package's name.
    pub package: String,
    /// The suite that has the right release of it.
    pub suite: String,
}

impl Release {
    /// The minor version: `3.13`.
    #[must_use]
    pub fn minor(&self) -> &str {
        self.version.rsplit_once('.').map_or(&self.version, |(minor, _)| minor)
    }

    /// The tarball's file name.
    #[must_use]
    pub fn file(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

/// All releases that are known by version: minor versions in their order, the newest release of each first.
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

/// The releases of a minor version, the newest first, or the one of a full version.
///
/// A digest makes any release known, at CPython's release address.
///
/// # Errors
///
/// If there is none, with those that are known; and if the digest is that of another tarball.
pub fn find(version: &str, sha256: Option<&Digest>) -> Result<Vec<Release>> {
    let all = releases().iter();
    let found = all.filter(|release| release.minor() == version || release.version == version);
    let mut found: Vec<_> = found.cloned().collect();
    let Some(sha256) = sha256 else {
        if found.is_empty() {
            return Err(unknown(version));
        }
        return Ok(found);
    };
    if found.is_empty() && version.matches('.').count() == 2 {
        let url = format!("https://www.python.org/ftp/python/{version}/Python-{version}.tar.xz");
        return Ok(vec![Release {
            version: version.to_owned(),
            sha256: *sha256,
            url,
            debian: None,
        }]);
    }
    let known: Vec<_> = found.iter().map(|release| release.sha256.to_string()).collect();
    found.retain(|release| release.sha256 == *sha256);
    if found.is_empty() {
        if known.is_empty() {
            return Err(unknown(version));
        }
        let known = known.join(" or ");
        let what = format_args!("digest mismatch: expected sha256 {sha256}, got {known}");
        return Err(Fault::new(version, what));
    }
    Ok(found)
}

fn unknown(version: &str) -> Fault {
    let mut known: Vec<_> = releases().iter().map(Release::minor).collect();
    known.dedup();
    let known = known.join(", ");
    Fault::new("unknown version", format_args!("expected one of {known}, got {version}")).hint(
        "name the release and its digest (source@3.X.Y --sha256), or its tarball (source:TARBALL)",
    )
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

/// The folder of the tarballs, and the network that they come from.
pub(crate) struct Downloads {
    folder: PathBuf,
    client: Client,
    is_offline: bool,
}

impl Downloads {
    pub(crate) fn new(folder: PathBuf, is_offline: bool) -> Result<Self> {
        fs::create_dir_all(&folder).fault_at(&folder)?;
        let client = Client::new(is_offline)?;
        Ok(Self { folder, client, is_offline })
    }

    /// The first of some releases that has been built, which needs no tarball, or whose tarball can be had.
    pub(crate) fn first(
        &self,
        releases: Vec<Release>,
        is_built: impl Fn(&Release) -> bool,
        progress: &mut dyn FnMut(Event),
    ) -> Result<(Release, Option<PathBuf>)> {
        let mut reasons = Vec::new();
        let count = releases.len();
        for (at, release) in releases.into_iter().enumerate() {
            if is_built(&release) {
                return Ok((release, None));
            }
            let is_last = at + 1 == count;
            if !is_last && self.is_absent(&release) {
                continue;
            }
            match self.obtain(&release, progress) {
                Ok(tarball) => return Ok((release, Some(tarball))),
                Err(error) if is_last && reasons.is_empty() => return Err(error),
                Err(error) => {
                    let reason = error.to_string();
                    if !is_last {
                        self.note_absence(&release);
                        let version = release.version.clone();
                        progress(Event::Absent { version, reason: reason.clone() });
                    }
                    reasons.push(reason);
                }
            }
        }
        let reasons = reasons.join("; ");
        Err(Fault::new("no release can be had", reasons)
            .of_kind(Kind::Missing)
            .hint("use source:TARBALL"))
    }

    /// The verified tarball of a release, downloaded where it is not there yet.
    fn obtain(&self, release: &Release, progress: &mut dyn FnMut(Event)) -> Result<PathBuf> {
        let path = self.folder.join(release.file());
        let want = Want { url: release.url.clone(), sha256: release.sha256, size: None };
        if !path.is_file() {
            progress(Event::Downloading(release.url.clone()));
        }
        let Err(first) = self.client.file(&want, &path, &Silent) else { return Ok(path) };
        let mut reasons = first.to_string();
        if let Some(debian) = release.debian.as_ref().filter(|_| !self.is_offline) {
            let SourcePackage { package, suite } = debian;
            progress(Event::Downloading(format!("Debian's source package {package} ({suite})")));
            let Err(second) = debian::fetch(release, debian, &self.folder) else { return Ok(path) };
            reasons = format!("{reasons}; {second}");
        }
        let (file, sha256) = (release.file(), release.sha256);
        let fault = Fault::new(file, format_args!("cannot be had: {reasons}"));
        Err(fault.of_kind(Kind::Missing).hint(format_args!(
            "put it there yourself, as {} with sha256 {sha256}, or use source:TARBALL",
            path.display()
        )))
    }

    /// Whether a release could not be had within the last day: then those who may take another one need not wait again.
    fn is_absent(&self, release: &Release) -> bool {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let noted = fs::metadata(self.absence(release)).and_then(|file| file.modified());
        noted.is_ok_and(|noted| noted.elapsed().is_ok_and(|age| age < DAY))
            && !self.folder.join(release.file()).is_file()
    }

    /// Nothing depends on it, so it does not matter where that fails.
    fn note_absence(&self, release: &Release) {
        if !self.is_offline {
            let _ = fs::write(self.absence(release), "");
        }
    }

    fn absence(&self, release: &Release) -> PathBuf {
        self.folder.join(format!("{}.absent", release.file()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_table_parses_and_has_the_newest_first() {
        let number = |release: &Release| -> Vec<u32> {
            release.version.split('.').map(|part| part.parse().unwrap()).collect()
        };
        for pair in releases().windows(2) {
            let (a, b) = (number(&pair[0]), number(&pair[1]));
            assert!(a[..2] < b[..2] || (a[..2] == b[..2] && a > b), "{a:?} {b:?}");
        }
        for release in releases() {
            assert!(release.url.starts_with("https://www.python.org/ftp/python/"));
            assert_eq!(stem(Path::new(release.file())), release.version);
        }
    }

    #[test]
    fn a_minor_version_has_several_releases_and_a_full_one_is_itself() {
        let versions = |version: &str| {
            let found = find(version, None).unwrap();
            found.iter().map(|release| release.version.clone()).collect::<Vec<_>>()
        };
        assert_eq!(versions("3.13"), ["3.13.18", "3.13.15", "3.13.5"]);
        assert_eq!(versions("3.13.5"), ["3.13.5"]);
        assert_eq!(find("3.11.2", None).unwrap()[0].minor(), "3.11");
    }

    #[test]
    fn an_unknown_version_lists_the_known_ones() {
        let error = find("3.9", None).unwrap_err();
        assert!(error.to_string().starts_with("unknown version: expected one of 3.11, 3.13"));
        assert!(error.way_out().unwrap().contains("source:TARBALL"));
    }

    #[test]
    fn a_digest_makes_a_release_known_or_chooses_among_the_known() {
        let digest = Digest::of(b"a tarball");
        let made = &find("3.12.9", Some(&digest)).unwrap()[0];
        assert_eq!(made.url, "https://www.python.org/ftp/python/3.12.9/Python-3.12.9.tar.xz");
        assert_eq!((made.minor(), made.sha256), ("3.12", digest));
        assert!(find("3.12", Some(&digest)).is_err());
        let older = &find("3.13.5", None).unwrap()[0].sha256;
        assert_eq!(find("3.13", Some(older)).unwrap()[0].version, "3.13.5");
        let error = find("3.13.5", Some(&digest)).unwrap_err().to_string();
        assert!(
            error.contains(&digest.to_string()) && error.contains(&older.to_string()),
            "{error}"
        );
    }

    /// A release at an address where nobody is.
    fn release(version: &str, tarball: &[u8]) -> Release {
        Release {
            version: version.into(),
            sha256: Digest::of(tarball),
            url: format!("http://127.0.0.1:9/Python-{version}.tgz"),
            debian: None,
        }
    }

    #[test]
    fn a_verified_tarball_is_not_downloaded_again_and_a_rotten_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Python-3.13.99.tgz");
        fs::write(&path, "the release").unwrap();
        let downloads = Downloads::new(folder.path().to_owned(), false).unwrap();
        let release = release("3.13.99", b"the release");
        let mut quiet = |event| panic!("{event:?}");
        assert_eq!(downloads.obtain(&release, &mut quiet).unwrap(), path);

        fs::write(&path, "rotten").unwrap();
        let error = downloads.obtain(&release, &mut |_| {}).unwrap_err().to_string();
        assert!(
            error.contains("http://127.0.0.1:9/Python-3.13.99.tgz: cannot be reached"),
            "{error}"
        );
        assert!(!path.exists());
    }

    #[test]
    fn where_the_newest_cannot_be_had_the_next_is_taken_and_that_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Python-3.13.98.tgz");
        fs::write(&path, "the older release").unwrap();
        let downloads = Downloads::new(folder.path().to_owned(), false).unwrap();
        let releases =
            || vec![release("3.13.99", b"the release"), release("3.13.98", b"the older release")];
        let first = |is_built: fn(&Release) -> bool| {
            let mut events = Vec::new();
            let found = downloads.first(releases(), is_built, &mut |event| events.push(event));
            let (release, tarball) = found.unwrap();
            let absent = events.iter().any(|event| matches!(event, Event::Absent { .. }));
            (release.version, tarball, absent)
        };
        let none = |_: &Release| false;
        assert_eq!(first(none), ("3.13.98".to_owned(), Some(path.clone()), true));
        assert_eq!(first(none), ("3.13.98".to_owned(), Some(path), false));
        assert_eq!(first(|_| true), ("3.13.99".to_owned(), None, false));
        let only = releases().swap_remove(0);
        assert!(downloads.first(vec![only], none, &mut |_| {}).is_err());
    }

    /// A server that has the older tarball alone. Gives its address, and how often it was asked for what it does not have.
    fn server(has: &'static str, tarball: &'static [u8]) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let missed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&missed);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                BufReader::new(&stream).read_line(&mut request).unwrap();
                let (status, body) = if request.contains(has) {
                    ("200 OK", tarball)
                } else {
                    count.fetch_add(1, Ordering::Relaxed);
                    ("404 Not Found", &b""[..])
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            }
        });
        (address, missed)
    }

    #[test]
    fn a_server_without_the_newest_is_asked_for_it_once_a_day() {
        let (address, missed) = server("3.13.98", b"the older release");
        let at = |version: &str, tarball: &[u8]| Release {
            url: format!("{address}/Python-{version}.tgz"),
            ..release(version, tarball)
        };
        let releases = || vec![at("3.13.99", b"the release"), at("3.13.98", b"the older release")];
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().to_owned(), false).unwrap();
        for _ in 0..2 {
            let (found, tarball) = downloads.first(releases(), |_| false, &mut |_| {}).unwrap();
            assert_eq!(found.version, "3.13.98");
            assert_eq!(fs::read(tarball.unwrap()).unwrap(), b"the older release");
            assert_eq!(missed.load(Ordering::Relaxed), 1);
        }
        // Who names the newest gets no other, and is told why.
        let newest = vec![at("3.13.99", b"the release")];
        let error = downloads.first(newest, |_| false, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("Python-3.13.99.tgz: the server answers 404 Not Found"), "{error}");
    }

    #[test]
    fn nothing_is_asked_for_offline_and_nothing_noted_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().to_owned(), true).unwrap();
        let (address, missed) = server("nothing", b"");
        let wanted = Release { url: format!("{address}/a.tgz"), ..release("3.13.99", b"x") };
        let older = Release { version: "3.13.98".into(), ..wanted.clone() };
        let releases = vec![wanted, older];
        let error = downloads.first(releases, |_| false, &mut |_| {}).unwrap_err().to_string();
        assert!(
            error.contains("expected it in the cache, as nothing may be downloaded"),
            "{error}"
        );
        assert_eq!(missed.load(Ordering::Relaxed), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tarball_names_its_build() {
        assert_eq!(stem(Path::new("/x/Python-3.12.1.tar.xz")), "3.12.1");
        assert_eq!(stem(Path::new("my python.tgz")), "my_python");
    }
}
