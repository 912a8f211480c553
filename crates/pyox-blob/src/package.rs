//! Which files are a package's: what is written where its files are to be real files.
//!
//! `docs/formats/blob.md` says it with the configuration's placements. It is here because two have to agree
//! on it, the run-time library and the tool that writes the folder beside the executable.

use crate::layout::{FileKind, ModuleKind, path_problem};
use crate::tree::Tree;
use crate::{Blob, Error, File, Groups, Module};

/// The project of the standard library, whose files outside of packages are nobody's.
const PYTHON: &str = "python";

/// The files of one package, or of one top-level module.
#[derive(Debug, Clone)]
pub struct PackageFiles<'a> {
    blob: Blob<'a>,
    tree: Tree,
    /// The package's folders, each with a `/` at the end. A namespace package may have several.
    folders: Vec<String>,
    /// The path of a module's own file.
    own: Option<&'a str>,
    /// The number of its project, where that has files outside of packages.
    project: Option<u32>,
}

impl<'a> PackageFiles<'a> {
    /// The files of the package of that dotted name: none if the blob does not hold the package.
    ///
    /// Only dotted names are taken, because names become folders.
    ///
    /// # Errors
    ///
    /// If `package` is not a dotted name, or a record on the way is damaged.
    pub fn new(blob: &Blob<'a>, package: &str) -> Result<Self, Error> {
        if !is_dotted_name(package) {
            return Err(Error::Malformed(format!("{package:?} is no package's name")));
        }
        let tree = Tree::of(blob.config()?.python);
        let module = blob.module(package)?.filter(|module| module.kind != ModuleKind::Builtin);
        let own = match module.and_then(|module| module.file) {
            Some(number) => Some(blob.file_at(number)?.path),
            None => None,
        };
        let project = match module {
            Some(module) if blob.project(module.project)?.name != PYTHON => Some(module.project),
            _ => None,
        };
        let folders = match module {
            Some(module) => folders(blob, &tree, &module)?,
            None => Vec::new(),
        };
        Ok(Self { blob: *blob, tree, folders, own, project })
    }

    /// The package's folders, each with a `/` at the end; none for a module.
    #[must_use]
    pub fn folders(&self) -> &[String] {
        &self.folders
    }

    /// Whether a file is one of them.
    #[must_use]
    pub fn contains(&self, file: &File<'a>) -> bool {
        if self.folders.iter().any(|folder| file.path.starts_with(folder))
            || self.own == Some(file.path)
        {
            return true;
        }
        // `NAME.libs/`, `bin/` and the like, which a wheel brings beside its packages.
        self.project == Some(file.project)
            && matches!(file.kind, FileKind::Data | FileKind::Library)
            && match self.tree.split(file.path) {
                Some((_, rest)) => rest
                    .split_once('/')
                    .is_some_and(|(top, _)| matches!(self.blob.module(top), Ok(None))),
                None => true,
            }
    }

    /// All of them, sorted by path. Looks at each of the blob's records.
    ///
    /// # Errors
    ///
    /// If a record is damaged, or the path of one of them leads out of the tree.
    pub fn all(&self) -> Result<Vec<File<'a>>, Error> {
        let mut files = Vec::new();
        for file in self.blob.files() {
            let file = file?;
            if self.contains(&file) {
                if let Some(problem) = path_problem(file.path) {
                    return Err(Error::Malformed(format!(
                        "file {:?}: its path: {problem}",
                        file.path
                    )));
                }
                files.push(file);
            }
        }
        Ok(files)
    }
}

/// The folders of a package, each with a `/` at the end.
fn folders(blob: &Blob<'_>, tree: &Tree, module: &Module<'_>) -> Result<Vec<String>, Error> {
    if module.kind == ModuleKind::Namespace {
        let inside = module.name.replace('.', "/");
        return Ok(tree.search_path().map(|folder| format!("{folder}/{inside}/")).into());
    }
    let location = blob.location(module, &mut Groups::default())?.filter(|_| module.is_package);
    let folder = location.as_deref().and_then(|location| Some(location.rsplit_once('/')?.0));
    Ok(folder.map(|folder| format!("{folder}/")).into_iter().collect())
}

/// Whether a text can be the dotted name of a package: parts that are not empty and that no path gives a meaning to.
pub(crate) fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(|part| !part.is_empty() && !part.contains(['/', '\\', '\0']))
}
