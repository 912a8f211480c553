//! Where python-build-standalone's releases are, and what is in them.
//!
//! A mirror has the layout that uv and mise expect, `MIRROR/RELEASE/NAME`; it may have a `latest-release.json` too.
//! Costs one request for the latest release, and one for a release's list of digests.

use std::cmp::Ordering;
use std::env;

use pyox_download::Client;
use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};
use serde::Deserialize;

use super::asset::{Asset, is_release};

/// Where the archives of all releases are.
const DOWNLOADS: &str = "https://github.com/astral-sh/python-build-standalone/releases/download";
/// What says which release is the latest.
const LATEST: &str = "https://raw.githubusercontent.com/astral-sh/python-build-standalone/latest-release/latest-release.json";
/// What lists the releases.
const TAGS: &str =
    "https://api.github.com/repos/astral-sh/python-build-standalone/tags?per_page=100&page=";

/// The variables that name a mirror: pyox's, and uv's.
const VARIABLES: [&str; 2] = ["PYOX_PYTHON_MIRROR", "UV_PYTHON_INSTALL_MIRROR"];

/// The releases.
pub(crate) struct Index<'a> {
    mirror: Option<String>,
    client: &'a Client,
    ui: &'a dyn Reporter,
}

impl<'a> Index<'a> {
    /// The releases at a mirror, that of the environment, or GitHub.
    pub(crate) fn new(mirror: Option<&str>, client: &'a Client, ui: &'a dyn Reporter) -> Self {
        let variable = |name: &&str| env::var(name).ok().filter(|value| !value.is_empty());
        let mirror = mirror.map(str::to_owned).or_else(|| VARIABLES.iter().find_map(variable));
        let mirror = mirror.map(|mirror| mirror.trim_end_matches('/').to_owned());
        Self { mirror, client, ui }
    }

    /// The address of an archive.
    pub(crate) fn address(&self, asset: &Asset) -> String {
        let name = asset.to_string().replace('+', "%2B");
        format!("{}/{}/{name}", self.downloads(), asset.release)
    }

    /// The address that an archive has at the mirror, if there is one.
    pub(crate) fn mirrored(&self, asset: &Asset) -> Option<String> {
        self.mirror.as_ref().map(|_| self.address(asset))
    }

    fn downloads(&self) -> &str {
        self.mirror.as_deref().unwrap_or(DOWNLOADS)
    }

    /// The latest release.
    pub(crate) fn latest(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Latest {
            tag: String,
        }
        let url = match &self.mirror {
            Some(mirror) => format!("{mirror}/latest-release.json"),
            None => LATEST.to_owned(),
        };
        let text = match self.client.document(&url, self.ui) {
            Err(fault) if self.mirror.is_some() && *fault.kind() == Kind::Missing => {
                return Err(
                    fault.hint("name a release that the mirror has, such as cpython@3.13+20260814")
                );
            }
            text => text?,
        };
        let latest: Latest = serde_json::from_str(&text).fault(&url)?;
        if is_release(&latest.tag) {
            return Ok(latest.tag);
        }
        let what =
            format!("tag: expected a date such as 20260814, got `{}`", latest.tag.escape_debug());
        Err(Fault::new(url, what))
    }

    /// The archives of a release with their digests.
    pub(crate) fn archives(&self, release: &str) -> Result<Vec<(Asset, Digest)>> {
        let url = format!("{}/{release}/SHA256SUMS", self.downloads());
        let text = self.client.document(&url, self.ui)?;
        let mut archives = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let entry = line.split_once(char::is_whitespace);
            let entry = entry.and_then(|(digest, name)| Some((digest.parse().ok()?, name)));
            let Some((digest, name)): Option<(Digest, &str)> = entry else {
                let line: String = line.escape_debug().take(80).collect();
                return Err(Fault::new(
                    &url,
                    format_args!("expected digests and names, got `{line}`"),
                ));
            };
            // `*` says that a file was read as bytes.
            let asset = Asset::parse(name.trim_start().trim_start_matches('*'));
            if let Some(asset) = asset.filter(|asset| asset.release == release) {
                archives.push((asset, digest));
            }
        }
        Ok(archives)
    }

    /// The newest release with a version that the latest no longer has.
    ///
    /// Versions grow with the releases, so it takes seven requests or so to find it among a hundred.
    pub(crate) fn release_of(&self, version: &str) -> Result<Option<String>> {
        if self.mirror.is_some() {
            return Ok(None);
        }
        let releases = self.releases()?;
        let (mut newer, mut older) = (0, releases.len());
        // The first that is not too new.
        while newer < older {
            let middle = usize::midpoint(newer, older);
            if self.compare(&releases[middle], version)? == Ordering::Greater {
                newer = middle + 1;
            } else {
                older = middle;
            }
        }
        let Some(release) = releases.into_iter().nth(newer) else { return Ok(None) };
        let is_it = self.compare(&release, version)? == Ordering::Equal;
        Ok(is_it.then_some(release))
    }

    /// How the version of that minor version in a release compares with one.
    fn compare(&self, release: &str, version: &str) -> Result<Ordering> {
        let numbers = |text: &str| -> Vec<u32> {
            text.split('.').map_while(|part| part.parse().ok()).collect()
        };
        let wanted = numbers(version);
        let archives = match self.archives(release) {
            // The first releases had no such list.
            Err(fault) if *fault.kind() == Kind::Missing => return Ok(Ordering::Less),
            archives => archives?,
        };
        let mut found: Vec<_> = archives.iter().map(|(asset, _)| numbers(&asset.version)).collect();
        found.retain(|version| version.len() == 3);
        found.sort();
        let minor = |version: &Vec<u32>| version[..2].to_vec();
        let same = found.iter().rfind(|version| minor(version) == wanted[..2]);
        Ok(match (same, found.first()) {
            (Some(version), _) => version.cmp(&wanted),
            // That minor version had its end before.
            (None, Some(first)) if minor(first)[..] > wanted[..2] => Ordering::Greater,
            (None, _) => Ordering::Less,
        })
    }

    /// All releases, the newest first.
    fn releases(&self) -> Result<Vec<String>> {
        /// More pages than there are.
        const PAGES: u32 = 20;
        #[derive(Deserialize)]
        struct Tag {
            name: String,
        }
        let mut releases = Vec::new();
        for page in 1..=PAGES {
            let url = format!("{TAGS}{page}");
            let text = self.client.document(&url, self.ui).map_err(|fault| {
                fault.hint("name the release: cpython@3.X.Y+DATE needs no list of them")
            })?;
            let tags: Vec<Tag> = serde_json::from_str(&text).fault(&url)?;
            let is_last = tags.len() < 100;
            releases.extend(tags.into_iter().map(|tag| tag.name).filter(|name| is_release(name)));
            if is_last {
                break;
            }
        }
        releases.sort_unstable_by(|a, b| b.cmp(a));
        Ok(releases)
    }
}
