//! The standard library of the distribution: modules, data, extension modules in files, built-ins.
//!
//! All of it is taken but what [`crate::exclusions`] names, so that whatever an application comes to
//! import at run time is there. Excluded folders are not read, which halves the time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyox_blob::tree;
use pyox_schema::{Distribution, Linkage, Origin, Project, ResourceKind};
use pyox_stage::{Fault, FaultExt, Kind, Result};

use crate::candidate::{Candidate, Expected, Found, Layer, Owner};
use crate::exclusions::{Exclusions, Verdict};
use crate::tree::{File, Tree};

/// The project that the standard library is.
pub(crate) const PROJECT: &str = "python";
/// The folder of extension modules in the application's tree.
const DYNLOAD: &str = "lib-dynload/";

struct Search<'a> {
    distribution: &'a Distribution,
    exclusions: &'a Exclusions,
    owner: Arc<Owner>,
    stdlib: PathBuf,
    dynload: Option<PathBuf>,
    found: Found,
    bytecode: bool,
}

/// Finds the standard library's resources.
pub(crate) fn find(distribution: &Distribution, exclusions: &Exclusions) -> Result<Found> {
    let mut search = Search {
        distribution,
        exclusions,
        owner: Arc::new(Owner {
            project: PROJECT.to_owned(),
            origin: Origin::StandardLibrary,
            reason: "standard library".to_owned(),
        }),
        stdlib: distribution.path(&distribution.paths.stdlib),
        dynload: distribution.paths.dynload.as_deref().map(|path| distribution.path(path)),
        found: Found::default(),
        bytecode: false,
    };
    let suffixes = &distribution.python.extension_suffixes;

    let mut files = Vec::new();
    let folder = search.stdlib.clone();
    if !folder.is_dir() {
        return Err(Fault::at(&folder, "expected the standard library, found no folder")
            .hint("the distribution is gone: fetch it again with pyox-fetch")
            .of_kind(Kind::Missing));
    }
    search.walk(&folder, "", &mut files)?;
    let tree = Tree { layer: Layer::Stdlib, prefix: "", suffixes, files };
    let candidates = tree.into_candidates()?;
    search.found.candidates.extend(candidates);

    let mut files = Vec::new();
    if let Some(folder) = search.dynload.clone().filter(|folder| folder.is_dir()) {
        search.walk(&folder, DYNLOAD, &mut files)?;
    }
    search.catalogued(&mut files)?;
    let tree = Tree { layer: Layer::Stdlib, prefix: DYNLOAD, suffixes, files };
    let candidates = tree.into_candidates()?;
    search.found.candidates.extend(candidates);

    for extension in distribution.extensions.iter().filter(|e| e.linkage == Linkage::Builtin) {
        let (kind, name) = (ResourceKind::ExtensionModule, extension.name.clone());
        let candidate = Candidate::new(&search.owner, Layer::Builtin, kind, name, None);
        search.found.candidates.push(candidate);
    }

    if search.bytecode {
        let reason = "bytecode; pyox-pack compiles the sources";
        search.found.exclude("__pycache__/", PROJECT, reason);
    }
    search.found.projects.push(Project {
        name: PROJECT.to_owned(),
        version: Some(distribution.python.version.clone()),
    });
    Ok(search.found)
}

/// libpython as a shared library.
pub(crate) fn libpython(distribution: &Distribution) -> Result<Candidate> {
    let Some(file) = &distribution.link.shared_libpython else {
        let version = &distribution.python.version;
        let what = format!("Python {version}: the distribution has no shared libpython");
        return Err(Fault::new("--libpython", what).of_kind(Kind::Unsupported));
    };
    let owner = Owner {
        project: PROJECT.to_owned(),
        origin: Origin::StandardLibrary,
        reason: "the interpreter, for a portable executable".to_owned(),
    };
    let location = tree::libpython(distribution.python.version_info);
    let file_path = Some((location.clone(), distribution.path(&file.path)));
    let kind = ResourceKind::SharedLibrary;
    let mut candidate = Candidate::new(&owner, Layer::Stdlib, kind, location, file_path);
    candidate.expected = Some(Arc::new(Expected {
        sha256: vec![file.sha256],
        witness: "the distribution document".to_owned(),
    }));
    Ok(candidate)
}

impl Search<'_> {
    /// Collects the files below a folder whose location is `prefix`.
    fn walk(&mut self, folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
        for entry in fs::read_dir(folder).fault_at(folder)? {
            let entry = entry.fault_at(folder)?;
            let path = entry.path();
            let file_name = utf8(&path)?;
            // Links are followed: Debian has some in its standard library.
            let kind = match entry.file_type().fault_at(&path)? {
                kind if kind.is_symlink() => match fs::metadata(&path) {
                    Ok(metadata) => metadata.file_type(),
                    // A link to a package that is not installed.
                    Err(_) => continue,
                },
                kind => kind,
            };
            let location = format!("{prefix}{file_name}");
            if kind.is_dir() {
                if self.is_elsewhere(&path, &file_name) {
                    continue;
                }
                match self.exclusions.stdlib(&location, &self.distribution.paths.test_packages) {
                    Verdict::Take => self.walk(&path, &format!("{location}/"), files)?,
                    Verdict::Enter(reason) => {
                        self.leave(&location, &path, reason);
                        self.walk(&path, &format!("{location}/"), files)?;
                    }
                    // Inside a folder that is left out but for a part of it.
                    Verdict::Leave(_) if self.is_left(prefix) => {}
                    Verdict::Leave(reason) => self.leave(&location, &path, reason),
                }
            } else if kind.is_file() && !is_bytecode(&file_name) {
                self.file(location, path, &file_name, prefix, files);
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        location: String,
        path: PathBuf,
        file_name: &str,
        prefix: &str,
        files: &mut Vec<File>,
    ) {
        let suffixes = &self.distribution.python.extension_suffixes;
        let stem = suffixes
            .iter()
            .map(String::as_str)
            .chain([".py"])
            .find_map(|suffix| file_name.strip_suffix(suffix))
            .unwrap_or(file_name);
        let parent = prefix.trim_end_matches('/');
        let named = if stem == "__init__" { parent } else { &format!("{prefix}{stem}") };
        match self.exclusions.stdlib(named, &self.distribution.paths.test_packages) {
            Verdict::Take | Verdict::Enter(_) => {}
            Verdict::Leave(_) if self.is_left(prefix) => return,
            Verdict::Leave(reason) => {
                let name =
                    if prefix == DYNLOAD { stem.to_owned() } else { named.replace('/', ".") };
                return self.found.exclude(name, PROJECT, reason);
            }
        }
        let owner = Arc::clone(&self.owner);
        files.push(File { location, path, owner, expected: None });
    }

    /// Notes a folder that is left out.
    fn leave(&mut self, location: &str, path: &Path, reason: String) {
        let name = if path.join("__init__.py").exists() {
            format!("{}.*", location.replace('/', "."))
        } else {
            format!("{location}/")
        };
        self.found.exclude(name, PROJECT, reason);
    }

    /// Whether the folder around has been noted as left out.
    fn is_left(&self, prefix: &str) -> bool {
        let around = prefix.trim_end_matches('/');
        !around.is_empty()
            && prefix != DYNLOAD
            && self.exclusions.stdlib(around, &self.distribution.paths.test_packages)
                != Verdict::Take
    }

    /// Folders below the standard library that are none of it.
    fn is_elsewhere(&mut self, path: &Path, file_name: &str) -> bool {
        match file_name {
            "__pycache__" => {
                self.bytecode = true;
                true
            }
            "site-packages" | "dist-packages" => {
                let reason = "installed in the distribution; name projects by --with or -r";
                self.found.exclude(format!("{file_name}/"), PROJECT, reason);
                true
            }
            _ => self.dynload.as_deref() == Some(path),
        }
    }

    /// Adds extension modules that the document lists outside `lib-dynload`, and the digests that the
    /// document gives of all.
    fn catalogued(&mut self, files: &mut Vec<File>) -> Result<()> {
        let mut there: BTreeSet<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let catalogue = self.distribution.extensions.iter().filter_map(|extension| {
            extension
                .file
                .as_ref()
                .map(|file| (self.distribution.path(&file.path), extension, file))
        });
        for (path, extension, reference) in catalogue {
            let expected = Some(Arc::new(Expected {
                sha256: vec![reference.sha256],
                witness: "the distribution document".to_owned(),
            }));
            if let Some(file) = files.iter_mut().find(|file| file.path == path) {
                file.expected = expected;
                continue;
            }
            let is_dynload = self.dynload.as_deref().is_some_and(|folder| path.starts_with(folder));
            if is_dynload || !there.insert(path.clone()) {
                // Left out above, by name.
                continue;
            }
            let file_name = utf8(&path)?;
            let folder = extension
                .name
                .rsplit_once('.')
                .map_or(String::new(), |(package, _)| format!("{}/", package.replace('.', "/")));
            let location = format!("{DYNLOAD}{folder}{file_name}");
            let owner = Arc::clone(&self.owner);
            files.push(File { location, path, owner, expected });
        }
        Ok(())
    }
}

/// Compiled sources that lie beside them, as old installations have it.
pub(crate) fn is_bytecode(file_name: &str) -> bool {
    has_suffix(file_name, "pyc")
}

/// Whether a file's name ends in a dot and that suffix.
pub(crate) fn has_suffix(file_name: &str, suffix: &str) -> bool {
    Path::new(file_name).extension().is_some_and(|extension| extension == suffix)
}

/// The last part of a path as text.
pub(crate) fn utf8(path: &Path) -> Result<String> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Fault::at(path, "expected a name in UTF-8, got other bytes")),
    }
}
