//! The shared libraries that extension modules need, as the dynamic loader would find them.
//!
//! Each ELF file's `DT_NEEDED` is followed: to the libraries that a wheel brings (through `$ORIGIN`),
//! and to those of the system, which become resources under `lib/`. Those for another machine lie where a Python for it is
//! installed. libc's family stays with the platform, and so do, for wheels, the libraries that every manylinux platform promises.
//! Costs one parse of each file, which the reading has done already.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pyox_blob::tree::LIBRARIES;
use pyox_elf::is_libc;
use pyox_schema::{Distribution, Origin, ResourceKind};
use pyox_stage::{Reporter, Result, Silent};

use crate::candidate::{Candidate, Found, Layer, Owner};
use crate::exclusions::Exclusions;
use crate::known::{Facts, Native};
use crate::payloads::Reader;
use crate::stdlib;

/// What a wheel that follows the manylinux policies (PEP 513, PEP 599, PEP 600) may count on.
const MANYLINUX: &[&str] = &[
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libatomic.so.1",
    "libnsl.so.1",
    "libX11.so.6",
    "libXext.so.6",
    "libXrender.so.1",
    "libICE.so.6",
    "libSM.so.6",
    "libGL.so.1",
    "libgobject-2.0.so.0",
    "libgthread-2.0.so.0",
    "libglib-2.0.so.0",
    "libz.so.1",
    "libexpat.so.1",
];

/// Where a need is met.
enum Provider {
    /// By the platform that the executable will run on.
    Platform,
    /// By the candidate of that number.
    Candidate(usize),
    /// By a file of the system that is no candidate yet.
    System(PathBuf),
}

struct Search<'a> {
    found: &'a mut Found,
    reads: &'a mut Vec<Option<Facts>>,
    reader: &'a Reader,
    exclusions: &'a Exclusions,
    distribution: &'a Distribution,
    /// Candidates with a file, by that.
    by_path: BTreeMap<PathBuf, usize>,
    /// Shared libraries by SONAME and by file name.
    by_name: BTreeMap<String, usize>,
    /// The direct needs of each candidate that has been looked at.
    direct: BTreeMap<usize, Vec<usize>>,
    missing: BTreeMap<String, BTreeSet<String>>,
    system: Option<BTreeMap<String, Vec<PathBuf>>>,
}

/// Adds the libraries that `found` needs, and writes into each resource what to load before it.
pub(crate) fn follow(
    found: &mut Found,
    reads: &mut Vec<Option<Facts>>,
    reader: &Reader,
    exclusions: &Exclusions,
    distribution: &Distribution,
    ui: &dyn Reporter,
) -> Result<()> {
    let mut search = Search {
        by_path: BTreeMap::new(),
        by_name: BTreeMap::new(),
        direct: BTreeMap::new(),
        missing: BTreeMap::new(),
        system: None,
        found,
        reads,
        reader,
        exclusions,
        distribution,
    };
    for number in 0..search.found.candidates.len() {
        search.register(number);
    }
    // The standard library first: what it takes along serves the wheels too.
    for stdlib in [true, false] {
        let mut wave: Vec<usize> = (0..search.found.candidates.len())
            .filter(|&n| (search.found.candidates[n].layer == Layer::Stdlib) == stdlib)
            .collect();
        while !wave.is_empty() {
            wave = search.wave(&wave)?;
        }
    }
    for (name, users) in &search.missing {
        let users: Vec<_> = users.iter().map(String::as_str).collect();
        let users = users.join(", ");
        ui.warn(format_args!("{name}: expected a shared library, found none; needed by {users}"));
    }
    if !search.missing.is_empty() {
        ui.hint("install what brings it, or --exclude the extension module that needs it");
    }
    for number in 0..search.found.candidates.len() {
        let mut order = Vec::new();
        search.closure(number, &mut vec![number], &mut order);
        let needs =
            order.iter().filter_map(|&n| search.found.candidates[n].resource.location.clone());
        search.found.candidates[number].resource.needs = needs.collect();
    }
    Ok(())
}

impl Search<'_> {
    fn native(&self, number: usize) -> Option<&Native> {
        self.reads[number].as_ref()?.native.as_ref()
    }

    fn register(&mut self, number: usize) {
        let candidate = &self.found.candidates[number];
        let Some(path) = candidate.path.clone() else { return };
        let library = candidate.resource.kind == ResourceKind::SharedLibrary;
        let names = [
            self.native(number).and_then(|native| native.soname.clone()),
            path.file_name().and_then(OsStr::to_str).map(str::to_owned),
        ];
        if library {
            for name in names.into_iter().flatten() {
                self.by_name.entry(name).or_insert(number);
            }
        }
        self.by_path.entry(path).or_insert(number);
    }

    /// Looks at the needs of some candidates; gives the libraries that this adds.
    fn wave(&mut self, wave: &[usize]) -> Result<Vec<usize>> {
        let first = self.found.candidates.len();
        let mut added: Vec<Candidate> = Vec::new();
        for &number in wave {
            let Some(native) = self.native(number).cloned() else { continue };
            let mut direct = Vec::new();
            for name in native.needed.iter().filter(|name| !is_libc(name)) {
                match self.provider(name, number, &native) {
                    Some(Provider::Platform) => {}
                    Some(Provider::Candidate(other)) => direct.push(other),
                    Some(Provider::System(path)) => {
                        let other = first + added.len();
                        added.push(system_library(&self.found.candidates[number], name, &path));
                        self.by_path.insert(path, other);
                        self.by_name.insert(name.clone(), other);
                        direct.push(other);
                    }
                    None => {
                        let user = self.found.candidates[number].resource.name.clone();
                        self.missing.entry(name.clone()).or_default().insert(user);
                    }
                }
            }
            self.direct.insert(number, direct);
        }
        self.reads.extend(self.reader.read(&added, &Silent)?);
        self.found.candidates.append(&mut added);
        Ok((first..self.found.candidates.len()).collect())
    }

    /// Who provides a library that `number` needs.
    fn provider(&mut self, name: &str, number: usize, native: &Native) -> Option<Provider> {
        if self.exclusions.leaves_library(name) {
            return Some(Provider::Platform);
        }
        let candidate = &self.found.candidates[number];
        let origin = candidate.path.as_deref().and_then(Path::parent)?.to_owned();
        let layer = candidate.layer;
        for folder in &native.runpath {
            let origin = origin.to_string_lossy();
            let folder = folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &origin);
            let path = without_dots(&Path::new(&folder).join(name));
            // A file of that name may be something else, or damaged; what this wave adds has been looked at.
            if let Some(&other) = self.by_path.get(&path)
                && (other >= self.reads.len() || self.native(other).is_some())
            {
                return Some(Provider::Candidate(other));
            }
            if self.reader.is_library_for(&path, native) {
                return Some(Provider::System(path));
            }
        }
        // Packages load such libraries by hand before the import, from wherever they keep them.
        if let Some(&other) = self.by_name.get(name) {
            return Some(Provider::Candidate(other));
        }
        if layer != Layer::Stdlib && MANYLINUX.contains(&name) {
            return Some(Provider::Platform);
        }
        // The executable has all of libpython in it, and a second one would be another interpreter.
        if name.starts_with("libpython3") {
            return None;
        }
        let system = self.system.get_or_insert_with(|| {
            let mut system = system_libraries();
            of_folders(beside(self.distribution), &mut system);
            system
        });
        let paths = system.get(name)?;
        paths
            .iter()
            .find(|path| self.reader.is_library_for(path, native))
            .cloned()
            .map(Provider::System)
    }

    /// Appends all that a candidate needs, dependencies first and each once.
    fn closure(&self, number: usize, around: &mut Vec<usize>, order: &mut Vec<usize>) {
        for &other in self.direct.get(&number).into_iter().flatten() {
            // Libraries may need each other in a circle; the loader breaks it likewise.
            if around.contains(&other) || order.contains(&other) {
                continue;
            }
            around.push(other);
            self.closure(other, around, order);
            around.pop();
            order.push(other);
        }
    }
}

/// A library of the system as a resource.
fn system_library(user: &Candidate, name: &str, path: &Path) -> Candidate {
    let owner = Owner {
        project: match user.layer {
            Layer::Stdlib => stdlib::PROJECT.to_owned(),
            _ => user.resource.project.clone(),
        },
        origin: Origin::System,
        reason: format!("needed by `{}`", user.resource.name),
    };
    let location = format!("{LIBRARIES}/{name}");
    let kind = ResourceKind::SharedLibrary;
    Candidate::new(&owner, user.layer, kind, location.clone(), Some((location, path.to_owned())))
}

/// The folders of libraries that a distribution is installed with: `lib`, and on Debian `lib/aarch64-linux-gnu`.
fn beside(distribution: &Distribution) -> Vec<PathBuf> {
    let stdlib = distribution.path(&distribution.paths.stdlib);
    let Some(folder) = stdlib.parent() else { return Vec::new() };
    // `cpython-313-aarch64-linux-gnu`
    let triplet = distribution.python.soabi.splitn(3, '-').nth(2);
    let of_machine = triplet.map(|triplet| folder.join(triplet));
    [folder.to_owned()].into_iter().chain(of_machine).collect()
}

/// The system's libraries by SONAME: the loader's cache, then its default folders.
fn system_libraries() -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let listing = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"]
        .iter()
        .find_map(|program| Command::new(program).arg("-p").output().ok())
        .filter(|output| output.status.success());
    let listing = listing.map(|output| output.stdout).unwrap_or_default();
    // `	libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1`
    for line in String::from_utf8_lossy(&listing).lines() {
        if let Some((name, path)) = line.split_once(" => ")
            && let Some(name) = name.split_whitespace().next()
        {
            found.entry(name.to_owned()).or_default().push(PathBuf::from(path));
        }
    }
    if found.is_empty() {
        // musl has no cache.
        let folders = ["/lib", "/usr/local/lib", "/usr/lib", "/lib64", "/usr/lib64"];
        of_folders(folders.map(PathBuf::from), &mut found);
    }
    found
}

/// Adds the libraries of some folders.
fn of_folders(
    folders: impl IntoIterator<Item = PathBuf>,
    found: &mut BTreeMap<String, Vec<PathBuf>>,
) {
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && name.contains(".so")
            {
                found.entry(name).or_default().push(entry.path());
            }
        }
    }
}

/// A path without `.` and `..`, as the loader would walk a tree without links.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_walked() {
        let path = Path::new("/a/numpy/_core/../../numpy.libs/./libx.so");
        assert_eq!(without_dots(path), Path::new("/a/numpy.libs/libx.so"));
    }

    #[test]
    fn the_system_has_a_libc_and_it_is_for_this_machine() {
        let libraries = system_libraries();
        let this = pyox_elf::Elf::parse(&std::fs::read("/proc/self/exe").unwrap()).unwrap();
        let this = Native::from(this);
        let reader = Reader::forgetful(1);
        let libc = this.needed.iter().find(|name| name.starts_with("libc.")).unwrap();
        assert!(
            libraries[libc].iter().any(|path| reader.is_library_for(path, &this)),
            "{libraries:?}"
        );
    }
}
