//! Where the run-time libraries are: `libpyembed_runner.a` and `portable-runner`, for each minor version of Python.
//!
//! They lie in `lib/pyox/runtime/TAG/` beside the folder of an installed `pyox-link`, or in the `runtime/TAG/`
//! of the build folder that it was built in.

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

/// The run-time files for an interpreter's tag, such as `cp313`.
pub(crate) struct Runtime {
    folders: Vec<PathBuf>,
    tag: String,
}

impl Runtime {
    /// Those of a folder, or of the usual ones.
    pub(crate) fn new(folder: Option<&Path>, tag: &str) -> Self {
        let folders = folder.map_or_else(usual_folders, |folder| vec![folder.to_owned()]);
        Self { folders, tag: tag.to_owned() }
    }

    /// pyembed, to be linked.
    pub(crate) fn library(&self) -> Result<FileRef> {
        self.find(LIBRARY)
    }

    /// pyembed in a runner that has been linked.
    pub(crate) fn runner(&self) -> Result<FileRef> {
        self.find(RUNNER)
    }

    fn find(&self, name: &str) -> Result<FileRef> {
        let paths = self.folders.iter().map(|folder| folder.join(&self.tag).join(name));
        let Some(path) = { paths }.find(|path| path.is_file()) else {
            let searched: Vec<_> = self.folders.iter().map(|f| f.display().to_string()).collect();
            let what = format!("expected {}/{name} in one of {}", self.tag, searched.join(", "));
            return Err(Fault::new("run-time library", what)
                .hint("build it with `make runtime`, or name its folder with --runtime")
                .of_kind(Kind::Missing));
        };
        // The compiler works in another folder.
        let path = std::path::absolute(&path).fault_at(&path)?;
        let (sha256, size) = files::digest(&path)?;
        let path = path.into_os_string().into_string();
        let path = path.map_err(|path| Fault::at(Path::new(&path), "expected a path in UTF-8"))?;
        Ok(FileRef { path, size, sha256 })
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
