//! `cpython@…`: a release of python-build-standalone, over the network.
//!
//! A SPEC, a target and a flavor choose an archive, by the list of digests of a release. What was chosen is noted in
//! `pyox.lock`, and later runs take the same archive by its digest: those need the network only until it is in the cache.

mod asset;
mod index;
mod lock;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pyox_download::{Client, Want};
use pyox_schema::{Digest, Distribution, machine_of};
use pyox_stage::{Fault, Kind, Reporter, Result};

use crate::wish::is_of;
use crate::{Options, archive, store};
pub(crate) use asset::is_release;
use asset::{Asset, DEFAULT_FLAVOR};
use index::Index;
use lock::{Entry, Lock};

/// The name of the lock file.
const LOCK: &str = "pyox.lock";

/// What a SPEC and the options ask for.
struct Choice<'a> {
    spec: &'a str,
    version: &'a str,
    release: Option<&'a str>,
    target: String,
    flavor: &'a str,
}

/// The distribution of a release.
pub(crate) fn obtain(
    spec: &str,
    version: &str,
    release: Option<&str>,
    options: &Options,
    ui: &dyn Reporter,
) -> Result<Distribution> {
    let choice = Choice::new(spec, version, release, options);
    let client = Client::new(options.offline)?;
    let index = Index::new(options.mirror.as_deref(), &client, ui);
    let path = lock_path(options);
    let lock = path.as_deref().map(Lock::read).transpose()?.unwrap_or_default();
    let locked = match &path {
        Some(path) if !options.upgrade => {
            lock.chosen(path, (spec, &choice.target, choice.flavor))?
        }
        _ => None,
    };
    let is_locked = locked.is_some();
    let (asset, want) = if let Some((entry, asset, sha256)) = locked {
        let url = index.mirrored(&asset).unwrap_or_else(|| entry.url.clone());
        (asset, Want { url, sha256, size: entry.size })
    } else {
        let (asset, sha256) = choice.make(&index)?;
        let url = index.address(&asset);
        (asset, Want { url, sha256, size: None })
    };
    choice.check(&asset, &want, options)?;
    ui.detail(format_args!("{spec}: {asset}"));

    let (entry, size) = store::download(&want, &client, ui)?;
    if let Some(path) = path.as_ref().filter(|_| !is_locked) {
        let entry = Entry {
            spec: spec.to_owned(),
            target: choice.target.clone(),
            flavor: choice.flavor.to_owned(),
            url: want.url.clone(),
            size,
            sha256: want.sha256.to_string(),
        };
        lock.choose(path, entry)?;
        ui.note(format_args!("{spec}: {asset}, noted in {}", path.display()));
    }
    let mut distribution = archive::unpacked(&entry, &want.url, ui)?;
    if machine_of(&distribution.target) != machine_of(&asset.target) {
        let what =
            format!("expected a Python for {}, got one for {}", asset.target, distribution.target);
        return Err(Fault::new(&want.url, what));
    }
    spec.clone_into(&mut distribution.source);
    Ok(distribution)
}

/// The archives that a SPEC may mean, each as the SPEC, target and flavor that name it.
pub(crate) fn list(
    spec: &str,
    version: &str,
    release: Option<&str>,
    options: &Options,
    ui: &dyn Reporter,
) -> Result<Vec<String>> {
    let choice = Choice::new(spec, version, release, options);
    let client = Client::new(options.offline)?;
    let index = Index::new(options.mirror.as_deref(), &client, ui);
    let release = release.map_or_else(|| index.latest(), |release| Ok(release.to_owned()))?;
    let mut archives: Vec<_> =
        index.archives(&release)?.into_iter().map(|(asset, _)| asset).collect();
    archives.retain(|asset| {
        is_of(&asset.version, version)
            && asset.target == choice.target
            && options.flavor.as_ref().is_none_or(|flavor| asset.rank(flavor).is_some())
    });
    archives.sort_by_key(|asset| (std::cmp::Reverse(asset.number()), asset.flavor.clone()));
    Ok(archives
        .iter()
        .map(|asset| {
            let Asset { version, release, target, flavor, .. } = asset;
            format!("cpython@{version}+{release} --target {target} --flavor {flavor}")
        })
        .collect())
}

/// Where the lock file is; none where nobody wants one.
fn lock_path(options: &Options) -> Option<PathBuf> {
    match &options.lock {
        crate::LockFile::Unused => None,
        crate::LockFile::At(path) => Some(path.clone()),
        crate::LockFile::OfProject => {
            let project = options.project.as_deref()?;
            let is_here = project.as_os_str() == "." || project.as_os_str().is_empty();
            Some(if is_here { Path::new(LOCK).to_owned() } else { project.join(LOCK) })
        }
    }
}

impl<'a> Choice<'a> {
    fn new(
        spec: &'a str,
        version: &'a str,
        release: Option<&'a str>,
        options: &'a Options,
    ) -> Self {
        let here = || format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let target = options.target.clone().unwrap_or_else(here);
        let flavor = options.flavor.as_deref().unwrap_or(DEFAULT_FLAVOR);
        Self { spec, version, release, target, flavor }
    }

    /// Chooses among what there is.
    fn make(&self, index: &Index) -> Result<(Asset, Digest)> {
        let latest =
            self.release.map_or_else(|| index.latest(), |release| Ok(release.to_owned()))?;
        let archives = index.archives(&latest)?;
        if archives.iter().any(|(asset, _)| is_of(&asset.version, self.version)) {
            return self.among(&latest, archives);
        }
        // A later patch release has taken its place.
        let is_full = self.version.matches('.').count() == 2;
        let older =
            if is_full && self.release.is_none() { index.release_of(self.version)? } else { None };
        match older {
            Some(release) => self.among(&release, index.archives(&release)?),
            None => self.among(&latest, archives),
        }
    }

    /// The best of a release's archives.
    fn among(&self, release: &str, archives: Vec<(Asset, Digest)>) -> Result<(Asset, Digest)> {
        let mut left = archives;
        for part in [Part::Version, Part::Target, Part::Flavor] {
            let there: BTreeSet<_> =
                left.iter().map(|(asset, _)| part.of(asset).to_owned()).collect();
            left.retain(|(asset, _)| match part {
                Part::Version => is_of(&asset.version, self.version),
                Part::Target => asset.target == self.target,
                Part::Flavor => asset.rank(self.flavor).is_some(),
            });
            if left.is_empty() {
                let wanted = match part {
                    Part::Version => format!("version {}", self.version),
                    Part::Target => format!("target {}", self.target),
                    Part::Flavor => format!("flavor {}", self.flavor),
                };
                let there = there.into_iter().collect::<Vec<_>>().join(", ");
                let said = format!("release {release} has no {wanted}: expected one of {there}");
                return Err(Fault::new(self.spec, said)
                    .hint("pyox-fetch --list shows what there is")
                    .of_kind(Kind::Missing));
            }
        }
        let best = left
            .into_iter()
            .max_by_key(|(asset, _)| (asset.number(), std::cmp::Reverse(asset.rank(self.flavor))));
        best.ok_or_else(|| Fault::new(self.spec, "there is no such archive").of_kind(Kind::Missing))
    }

    /// Refuses what cannot be used, before it is downloaded.
    fn check(&self, asset: &Asset, want: &Want, options: &Options) -> Result<()> {
        if let Some(expected) = options.sha256.filter(|expected| *expected != want.sha256) {
            let place = format_args!("{}: {asset}", self.spec);
            return Err(Fault::mismatch(place, &expected, &want.sha256));
        }
        // Of another machine's Linux, an emulator may run it.
        if asset.is_install_only() && !asset.target.ends_with("-linux-gnu") {
            let target = &asset.target;
            let what = format!(
                "expected an archive for Linux with glibc, got {target}: its Python cannot be asked here"
            );
            return Err(Fault::new(self.spec, what)
                .hint("--flavor full takes an archive that describes itself")
                .of_kind(Kind::Unsupported));
        }
        Ok(())
    }
}

/// What tells the archives of a release apart.
#[derive(Clone, Copy)]
enum Part {
    Version,
    Target,
    Flavor,
}

impl Part {
    fn of(self, asset: &Asset) -> &str {
        match self {
            Self::Version => &asset.version,
            Self::Target => &asset.target,
            Self::Flavor => &asset.flavor,
        }
    }
}
