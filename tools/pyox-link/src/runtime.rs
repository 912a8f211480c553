//! Where the run-time libraries are: `libpyembed_runner.a` and `portable-runner`, for each minor version of Python.
//!
//! They lie in `lib/pyox/runtime/TAG/` beside the folder of an installed `pyox-link`, or in the `runtime/TAG/`
//! of the build folder that it was built in. Those for another target than its own are in `TARGET/TAG/` there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pyox_schema::FileRef;
use pyox_stage::{Fault, FaultExt, Kind, Result, files};

/// The library's file name.
const LIBRARY: &str = "libpyembed_runner.a";

/// The name of the runner that is linked without libpython.
const RUNNER: &str = "portable-runner";

/// The target that this tool was built for.
pub(crate) const OWN_TARGET: &str = env!("PYOX_TARGET");

/// The run-time files for a target, and an interpreter's tag, such as `cp313`.
pub(crate) struct Runtime {
    folders: Vec<PathBuf>,
    target: String,
    /// Where they lie in each of the folders.
    inside: PathBuf,
}

impl Runtime {
    /// Those of a folder, or of the usual ones.
    pub(crate) fn new(folder: Option<&Path>, target: &str, tag: &str) -> Self {
        let folders = folder.map_or_else(usual_folders, |folder| vec![folder.to_owned()]);
        let of_target = if target == OWN_TARGET { Path::new("") } else { Path::new(target) };
        Self { folders, target: target.to_owned(), inside: of_target.join(tag) }
    }

    /// pyembed, to be linked.
    pub(crate) fn library(&self) -> Result<FileRef> {
        self.find(LIBRARY)
    }

    /// pyembed in a runner that has been linked.
    pub(crate) fn runner(&self) -> Result<FileRef> {
        self.find(RUNNER)
    }

    /// Where the first of these is.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn library_path(&self) -> Result<PathBuf> {
        self.path(LIBRARY)
    }

    fn find(&self, name: &str) -> Result<FileRef> {
        let path = self.path(name)?;
        let (sha256, size) = files::digest(&path)?;
        let path = path.into_os_string().into_string();
        let path = path.map_err(|path| Fault::at(Path::new(&path), "expected a path in UTF-8"))?;
        Ok(FileRef { path, size, sha256 })
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let wanted = self.inside.join(name);
        let paths = self.folders.iter().map(|folder| folder.join(&wanted));
        let Some(path) = { paths }.find(|path| path.is_file()) else {
            let searched: Vec<_> = self.folders.iter().map(|f| f.display().to_string()).collect();
            let what = format!("expected {} in one of {}", wanted.display(), searched.join(", "));
            let target = match self.target.as_str() {
                OWN_TARGET => String::new(),
                other => format!(" TARGET={other}"),
            };
            let hint =
                format!("build it with `make runtime{target}`, or name its folder with --runtime");
            return Err(Fault::new("run-time library", what).hint(hint).of_kind(Kind::Missing));
        };
        // The compiler works in another folder.
        std::path::absolute(&path).fault_at(&path)
    }
}

/// Where this program is. Without `/proc`, the kernel still tells how it was started.
fn own_path() -> PathBuf {
    let started = || fs::canonicalize(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()));
    std::env::current_exe().or_else(|_| started()).unwrap_or_default()
}

fn usual_folders() -> Vec<PathBuf> {
    let tool = own_path();
    let beside = tool.parent().unwrap_or(Path::new("."));
    let variable = std::env::var_os("PYOX_RUNTIME_DIR").filter(|value| !value.is_empty());
    variable
        .map(PathBuf::from)
        .into_iter()
        .chain([beside.join("../lib/pyox/runtime"), beside.join("../runtime")])
        .collect()
}
