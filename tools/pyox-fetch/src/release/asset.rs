//! The names of python-build-standalone's archives: `cpython-3.13.5+20260814-x86_64-unknown-linux-gnu-FLAVOR.tar.gz`.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;

/// Archives without what only a build needs.
pub(crate) const DEFAULT_FLAVOR: &str = "install_only_stripped";

/// What `full` means, the best first.
const FULL: [&str; 4] = ["pgo+lto-full", "pgo-full", "lto-full", "noopt-full"];

/// An archive of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asset {
    pub(crate) version: String,
    /// The release's date.
    pub(crate) release: String,
    pub(crate) target: String,
    /// `install_only`, `pgo+lto-full` and so on.
    pub(crate) flavor: String,
    end: &'static str,
}

impl Asset {
    /// Reads a name; none for what is no archive of CPython.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, end) =
            [".tar.gz", ".tar.zst"].iter().find_map(|end| Some((name.strip_suffix(end)?, *end)))?;
        let (version, rest) = stem.strip_prefix("cpython-")?.split_once('+')?;
        let (release, rest) = rest.split_once('-')?;
        // Machine, vendor, system, and but for Apple's the C library.
        let count = if rest.contains("-apple-") { 3 } else { 4 };
        let (at, _) = rest.match_indices('-').nth(count - 1)?;
        let (target, flavor) = (&rest[..at], &rest[at + 1..]);
        is_release(release).then(|| Self {
            version: version.to_owned(),
            release: release.to_owned(),
            target: target.to_owned(),
            flavor: flavor.to_owned(),
            end,
        })
    }

    /// Its number, for comparisons; a release goes before those that lead to it.
    pub(crate) fn number(&self) -> Option<(bool, Version)> {
        let version = Version::from_str(&self.version).ok()?;
        Some((!version.any_prerelease(), version))
    }

    /// How good it is where this flavor is wanted; none where it is not of it.
    pub(crate) fn rank(&self, flavor: &str) -> Option<usize> {
        if flavor == "full" {
            return FULL.iter().position(|full| self.flavor == *full);
        }
        (self.flavor == flavor).then_some(0)
    }

    /// Whether the archive has no description of itself, so that its Python must be asked.
    pub(crate) fn is_install_only(&self) -> bool {
        self.flavor.contains("install_only")
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, release, target, flavor, end } = self;
        write!(f, "cpython-{version}+{release}-{target}-{flavor}{end}")
    }
}

/// Whether a text is a release's date.
pub(crate) fn is_release(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (name, version, target, flavor) in [
            (
                "cpython-3.13.5+20260814-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz",
                "3.13.5",
                "x86_64-unknown-linux-gnu",
                "install_only_stripped",
            ),
            (
                "cpython-3.14.0rc1+20260814-x86_64_v3-unknown-linux-musl-freethreaded+pgo+lto-full.tar.zst",
                "3.14.0rc1",
                "x86_64_v3-unknown-linux-musl",
                "freethreaded+pgo+lto-full",
            ),
            (
                "cpython-3.11.9+20260814-aarch64-apple-darwin-debug-full.tar.zst",
                "3.11.9",
                "aarch64-apple-darwin",
                "debug-full",
            ),
        ] {
            let asset = Asset::parse(name).unwrap();
            assert_eq!(
                (&*asset.version, &*asset.target, &*asset.flavor),
                (version, target, flavor)
            );
            assert_eq!(asset.to_string(), name);
        }
        for name in [
            "SHA256SUMS",
            "cpython-3.10.0-x86_64-unknown-linux-gnu-pgo+lto-20211017T1616.tar.zst",
            "cpython-3.13.5+20260814-x86_64-unknown-linux-gnu.tar.gz",
            "cpython-3.13.5+latest-x86_64-unknown-linux-gnu-install_only.tar.gz",
            "pypy-3.13.5+20260814-x86_64-unknown-linux-gnu-install_only.tar.gz",
        ] {
            assert_eq!(Asset::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_release_is_newer_than_what_leads_to_the_next() {
        let number = |version: &str| {
            let name =
                format!("cpython-{version}+20260814-x86_64-unknown-linux-gnu-install_only.tar.gz");
            Asset::parse(&name).unwrap().number()
        };
        assert!(number("3.13.15") > number("3.13.5") && number("3.13.5") > number("3.14.0rc1"));
    }
}
