//! From the files below one entry of `sys.path` to resources: the one place that decides what each
//! file is.
//!
//! The rules are those of importlib's `FileFinder`. In a folder, a package comes before a module, and
//! an extension module before a source; a folder without `__init__` is a namespace package if
//! it has modules below it (PEP 420). Files that lose, and files that are not modules, are data and stay readable
//! as resources. Sorting makes it `n log n` in the number of files. Only files that are named like a shared
//! library are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyox_schema::ResourceKind;
use pyox_schema::name::{is_identifier, is_module_word};
use pyox_stage::{FaultExt, Result, files};

use crate::candidate::{Candidate, Expected, Layer, Owner};

/// A file of a tree.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its path in the application's tree, with `/` between the parts.
    pub(crate) location: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Whose it is.
    pub(crate) owner: Arc<Owner>,
    /// What its bytes must be, where somebody says so.
    pub(crate) expected: Option<Arc<Expected>>,
}

impl File {
    /// The candidate that it is.
    pub(crate) fn candidate(&self, layer: Layer, kind: ResourceKind, name: String) -> Candidate {
        let place = Some((self.location.clone(), self.path.clone()));
        let mut candidate = Candidate::new(&self.owner, layer, kind, name, place);
        candidate.expected.clone_from(&self.expected);
        candidate
    }

    /// What it is where it is no module.
    pub(crate) fn kind_of_data(&self) -> Result<ResourceKind> {
        let is_library = is_shared_library(self)?;
        Ok(if is_library { ResourceKind::SharedLibrary } else { ResourceKind::PackageData })
    }
}

/// The files below one entry of `sys.path`.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    /// Which entry.
    pub(crate) layer: Layer,
    /// Where it lies in the application's tree: empty, or a path that ends in `/`.
    pub(crate) prefix: &'a str,
    /// Suffixes of extension modules, in the import system's order.
    pub(crate) suffixes: &'a [String],
    /// The files; the location of each begins with `prefix`.
    pub(crate) files: Vec<File>,
}

/// What a file would be imported as.
struct Claim {
    name: String,
    /// Smaller is looked at first; see [`Tree::claim`].
    rank: usize,
    kind: ResourceKind,
    package: bool,
}

/// Ranks of packages are below it, those of modules above.
const MODULES: usize = 1000;

impl Tree<'_> {
    /// The resources that the files are, in no particular order.
    pub(crate) fn into_candidates(self) -> Result<Vec<Candidate>> {
        let packages: BTreeSet<&str> = self
            .files
            .iter()
            .filter_map(|file| file.location.strip_suffix("/__init__.py"))
            .collect();
        let claims = self.files.iter().map(|file| self.claim(file, &packages));
        let claims = claims.collect::<Result<Vec<_>>>()?;

        // The best claim for each name, by the number of its file.
        let mut best: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, claim) in claims.iter().enumerate() {
            let Some(claim) = claim else { continue };
            let winner = best.entry(&claim.name).or_insert(number);
            if claims[*winner].as_ref().is_some_and(|other| claim.rank < other.rank) {
                *winner = number;
            }
        }

        // A parent sorts before its children, so one pass decides who can be reached by an import.
        let mut reached: BTreeMap<&str, bool> = BTreeMap::new();
        let mut namespaces: BTreeMap<&str, usize> = BTreeMap::new();
        for (&name, &number) in &best {
            let is_package = claims[number].as_ref().is_some_and(|claim| claim.rank < MODULES);
            let hidden = parents(name).any(|parent| reached.get(parent) == Some(&false));
            if hidden {
                // Nothing below it can be imported either.
                reached.insert(name, false);
                continue;
            }
            for parent in parents(name).filter(|parent| !best.contains_key(parent)) {
                namespaces.entry(parent).or_insert(number);
            }
            reached.insert(name, is_package);
        }
        let winners: BTreeSet<usize> = best
            .iter()
            .filter(|(name, _)| !parents(name).any(|parent| reached.get(parent) == Some(&false)))
            .map(|(_, &number)| number)
            .collect();

        let mut candidates: Vec<Candidate> = namespaces
            .iter()
            .map(|(&name, &number)| {
                let kind = ResourceKind::NamespacePackage;
                Candidate::new(&self.files[number].owner, self.layer, kind, name.to_owned(), None)
            })
            .collect();
        for (number, file) in self.files.iter().enumerate() {
            let claim = claims[number].as_ref().filter(|_| winners.contains(&number));
            let (kind, name, package) = match claim {
                Some(claim) => (claim.kind, claim.name.clone(), claim.package),
                None => (file.kind_of_data()?, file.location.clone(), false),
            };
            let mut candidate = file.candidate(self.layer, kind, name);
            candidate.resource.package = package;
            candidates.push(candidate);
        }
        Ok(candidates)
    }

    /// What a file would be imported as, if nothing else had that name. `packages` are the folders
    /// with an `__init__.py`.
    fn claim(&self, file: &File, packages: &BTreeSet<&str>) -> Result<Option<Claim>> {
        let relative = file.location.strip_prefix(self.prefix).unwrap_or(&file.location);
        let (folder, file_name) = relative.rsplit_once('/').unwrap_or(("", relative));
        if !folder.is_empty() && !folder.split('/').all(is_identifier) {
            return Ok(None);
        }
        let suffix = self.suffixes.iter().position(|suffix| file_name.ends_with(suffix.as_str()));
        let (stem, order, extension) = match (suffix, file_name.strip_suffix(".py")) {
            (Some(order), _) => {
                let stem = &file_name[..file_name.len() - self.suffixes[order].len()];
                // Compiled code imports helpers by names that no source could (mypyc makes
                // `85cae5__mypyc`), so any name will do. A plain `.so` may as well be a library.
                let plain = self.suffixes[order] == ".so";
                if stem.is_empty() || stem.contains('.') || plain && !initialises(file, stem)? {
                    return Ok(None);
                }
                (stem, order, true)
            }
            // `sysconfig` imports `_sysconfigdata__linux_x86_64-linux-gnu`.
            (None, Some(stem)) if is_identifier(stem) || stem.starts_with("_sysconfigdata_") => {
                (stem, self.suffixes.len(), false)
            }
            // Packages import modules of theirs by computed names: migrations are called
            // `0001_initial`, tables of character widths `unicode17-0-0`.
            (None, Some(stem)) if is_module_word(stem) && packages.contains(in_package(file)) => {
                (stem, self.suffixes.len(), false)
            }
            _ => return Ok(None),
        };
        let folder = folder.replace('/', ".");
        let package = stem == "__init__";
        let name = match (folder.is_empty(), package) {
            // An `__init__` beside top-level modules is imported as nothing else.
            (true, _) => stem.to_owned(),
            (false, true) => folder,
            (false, false) => format!("{folder}.{stem}"),
        };
        let package = package && name != "__init__";
        Ok(Some(Claim {
            name,
            rank: if package { order } else { MODULES + order },
            kind: match (extension, package) {
                (true, _) => ResourceKind::ExtensionModule,
                (false, true) => ResourceKind::Package,
                (false, false) => ResourceKind::Module,
            },
            package: extension && package,
        }))
    }
}

/// The folder that a file lies in.
fn in_package(file: &File) -> &str {
    file.location.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The dotted names of the packages around a module, the outermost first.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at])
}

/// Whether a file holds the initialisation function of a module, by the name in its tables.
fn initialises(file: &File, stem: &str) -> Result<bool> {
    let bytes = files::read(&file.path)?;
    let symbol = format!("\0PyInit_{stem}\0");
    Ok(bytes.windows(symbol.len()).any(|window| window == symbol.as_bytes()))
}

/// Whether a file is named like a shared library (`libfoo.so.1`) and is one.
fn is_shared_library(file: &File) -> Result<bool> {
    let name = file.location.rsplit('/').next().unwrap_or_default();
    let named = name.match_indices(".so").any(|(at, found)| {
        let rest = &name[at + found.len()..];
        rest.is_empty()
            || rest.starts_with('.') && rest.bytes().all(|b| b == b'.' || b.is_ascii_digit())
    });
    Ok(named && pyox_elf::is_elf(&first_bytes(&file.path)?))
}

fn first_bytes(path: &Path) -> Result<[u8; 4]> {
    let mut bytes = [0; 4];
    let mut file = files::open(path)?;
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(error).fault_at(path)?
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(files: &[&str]) -> Vec<(ResourceKind, String)> {
        let owner = Arc::new(Owner {
            project: "p".to_owned(),
            origin: pyox_schema::Origin::default(),
            reason: "r".to_owned(),
        });
        let suffixes = [".cpython-313-x86_64-linux-gnu.so".to_owned(), ".abi3.so".to_owned()];
        let files = files.iter().map(|location| File {
            location: (*location).to_owned(),
            path: PathBuf::from("/nonexistent").join(location),
            owner: Arc::clone(&owner),
            expected: None,
        });
        let tree = Tree {
            layer: Layer::Projects,
            prefix: "",
            suffixes: &suffixes,
            files: files.collect(),
        };
        let mut found: Vec<_> = tree
            .into_candidates()
            .unwrap()
            .into_iter()
            .map(|candidate| (candidate.resource.kind, candidate.resource.name))
            .collect();
        found.sort();
        found
    }

    fn named(kind: ResourceKind, name: &str) -> (ResourceKind, String) {
        (kind, name.to_owned())
    }

    #[test]
    fn packages_modules_and_data_are_told_apart() {
        use ResourceKind::{Module, Package, PackageData};
        assert_eq!(
            kinds(&["a/__init__.py", "a/b.py", "a/c{d.py", "a/e.txt", "a/data/f.json", "g.py"]),
            [
                named(Module, "a.b"),
                named(Module, "g"),
                named(Package, "a"),
                named(PackageData, "a/c{d.py"),
                named(PackageData, "a/data/f.json"),
                named(PackageData, "a/e.txt"),
            ]
        );
    }

    #[test]
    fn a_package_s_modules_need_no_identifiers_but_folders_of_data_hold_no_modules() {
        use ResourceKind::{Module, Package, PackageData};
        assert_eq!(
            kinds(&["a/__init__.py", "a/0001_first.py", "a/v1-2.py", "a/data/3.py", "4.py"]),
            [
                named(Module, "a.0001_first"),
                named(Module, "a.v1-2"),
                named(Package, "a"),
                named(PackageData, "4.py"),
                named(PackageData, "a/data/3.py"),
            ]
        );
    }

    #[test]
    fn a_folder_is_a_namespace_only_with_modules_below() {
        use ResourceKind::{Module, NamespacePackage, Package, PackageData};
        assert_eq!(
            kinds(&["ns/a/b/c.py", "ns/pkg/__init__.py", "ns/icons/x.png", "ns/no-name/d.py"]),
            [
                named(Module, "ns.a.b.c"),
                named(Package, "ns.pkg"),
                named(NamespacePackage, "ns"),
                named(NamespacePackage, "ns.a"),
                named(NamespacePackage, "ns.a.b"),
                named(PackageData, "ns/icons/x.png"),
                named(PackageData, "ns/no-name/d.py"),
            ]
        );
    }

    #[test]
    fn the_finder_s_order_decides_between_two_files_of_one_name() {
        use ResourceKind::{ExtensionModule, Module, Package, PackageData};
        let so = "cpython-313-x86_64-linux-gnu.so";
        assert_eq!(
            kinds(&["a.py", "a/__init__.py", "b.py", &format!("b.{so}"), "c.py", "c/d.py"]),
            [
                named(Module, "c"),
                named(Package, "a"),
                named(ExtensionModule, "b"),
                named(PackageData, "a.py"),
                named(PackageData, "b.py"),
                named(PackageData, "c/d.py"),
            ]
        );
    }

    #[test]
    fn an_extension_module_needs_no_identifier_and_may_be_a_package() {
        let so = "cpython-313-x86_64-linux-gnu.so";
        let found = kinds(&[&format!("85ca__mypyc.{so}"), &format!("p/__init__.{so}"), "p/q.py"]);
        assert_eq!(
            found,
            [
                named(ResourceKind::Module, "p.q"),
                named(ResourceKind::ExtensionModule, "85ca__mypyc"),
                named(ResourceKind::ExtensionModule, "p"),
            ]
        );
    }
}
