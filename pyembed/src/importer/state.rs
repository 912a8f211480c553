//! What the importer works with, in one interpreter.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pyox_blob::Blob;
use pyox_blob::tree::Tree;

use super::loaders::Loaders;
use super::packed::Packed;
use super::placements::Placements;
use crate::ffi::{self, Attached, Kept, Object, Own, Result};

/// What the importer works with, in one interpreter; set once, when it is installed.
pub(super) struct State {
    pub(super) blob: Blob<'static>,
    /// Where in the blob's tree modules lie.
    pub(super) tree: Tree,
    /// The packages whose files are real files.
    pub(super) placements: Placements,
    /// `cpython-313`, which `__cached__` has in it.
    pub(super) cache_tag: String,
    pub(super) class: Kept,
    pub(super) module_spec: Kept,
    /// Calls a function so that importlib's own frames are trimmed from tracebacks.
    pub(super) call_trimmed: Kept,
    pub(super) exec: Kept,
    pub(super) loaders: Loaders,
}

static STATE: Own<State> = Own::new();

/// The executable, whose path locations begin with; set before the state, and again when an image of the interpreter is
/// used by an executable with another path.
pub(super) struct Root {
    pub(super) executable: PathBuf,
    /// Its path as Python has it.
    pub(super) object: Kept,
    /// The same as marshalled text.
    text: Vec<u8>,
    /// The path without links, where it is another; once it was asked for.
    canonical: OnceLock<Option<Kept>>,
}

static ROOT: Own<Root> = Own::new();

impl Root {
    /// Makes a path the one of this interpreter's executable. `object` is the path as Python has it.
    pub(super) fn set(executable: &Path, object: &Object<'_>) {
        ROOT.replace(Self {
            executable: executable.to_owned(),
            object: object.clone().keep(),
            text: ffi::decoded(executable),
            canonical: OnceLock::new(),
        });
    }

    pub(super) fn get() -> &'static Self {
        ROOT.get().expect("it is set before the state")
    }

    /// The path below the executable's.
    pub(super) fn path_of<'py>(
        &self,
        attached: Attached<'py>,
        location: &str,
    ) -> Result<Object<'py>> {
        self.object.get(attached).concatenate(&attached.string(&format!("/{location}"))?)
    }

    /// The location of a path that begins with the executable's; empty for the executable itself.
    ///
    /// Locations are text, so what is not, in a path, belongs to none.
    pub(super) fn location(&self, path: &Object<'_>) -> Result<Option<String>> {
        let attached = path.attached();
        let mut rest = path.after(&self.object.get(attached))?;
        if rest.is_none()
            && let Some(root) = self.canonical(attached)
        {
            rest = path.after(&root.get(attached))?;
        }
        let location = rest.as_ref().and_then(Object::text);
        let location = location
            .and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') });
        Ok(location.map(str::to_owned))
    }

    /// The executable's path without links, where that is another.
    fn canonical(&self, attached: Attached<'_>) -> Option<&Kept> {
        let ask = || {
            let path = fs::canonicalize(&self.executable).ok()?;
            if path == self.executable {
                return None;
            }
            let text = attached.path(path.as_os_str());
            text.map_err(|raised| drop(attached.take(raised))).ok().map(Object::keep)
        };
        self.canonical.get_or_init(ask).as_ref()
    }
}

impl State {
    /// What was installed. Python can only call what `install` made.
    pub(super) fn get() -> &'static Self {
        Self::of_here().expect("the importer's methods exist only once it is installed")
    }

    /// The same for code that is called without an importer too.
    pub(super) fn of_here() -> Option<&'static Self> {
        STATE.get()
    }

    /// Makes it the one of this interpreter.
    pub(super) fn set(self) {
        STATE.get_or_set(self);
    }

    /// The `__file__` of something of a module that lies at a location.
    pub(super) fn file_name<'py>(
        &self,
        attached: Attached<'py>,
        module: &str,
        location: &str,
    ) -> Result<Object<'py>> {
        if let Some(root) = self.placements.root(attached, module)? {
            return attached.string(&format!("{root}/{location}"));
        }
        Root::get().path_of(attached, location)
    }

    /// The same as text in the form that marshal has.
    pub(super) fn file_text(
        &self,
        attached: Attached<'_>,
        module: &str,
        location: &str,
    ) -> Result<Vec<u8>> {
        let root = self.placements.root(attached, module)?;
        let root = root.map_or(Root::get().text.as_slice(), str::as_bytes);
        Ok([root, b"/", location.as_bytes()].concat())
    }

    /// Passes a damaged blob on as an `ImportError`.
    pub(super) fn checked<T>(
        attached: Attached<'_>,
        name: &str,
        result: Result<T, pyox_blob::Error>,
    ) -> Result<T> {
        result.map_err(|error| attached.raise_import_error(&error.to_string(), name))
    }

    /// What loading a shared object takes.
    pub(super) fn packed(&self) -> Packed<'_> {
        Packed { blob: &self.blob, executable: &Root::get().executable }
    }

    /// A file's bytes, decoded.
    pub(super) fn read(
        &self,
        file: &pyox_blob::File<'static>,
    ) -> Result<Cow<'static, [u8]>, pyox_blob::Error> {
        self.packed().read(file)
    }
}
