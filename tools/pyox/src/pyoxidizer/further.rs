//! What a `pyoxidizer.toml` wants beyond settings: some of it depends on the distribution, and some is made of the executable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::{Digest, Distribution};
use pyox_stage::{Fault, FaultExt, Reporter, Result, files};

/// What is wanted beyond settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Further {
    /// Why the distribution that is named cannot be had.
    pub(crate) refused: Option<Refusal>,
    /// The digest of the distribution's archive.
    pub(crate) sha256: Option<Digest>,
    /// Virtual environments: where they are named, and the Python that they are for, as `python3.13`.
    pub(crate) environments: Vec<(String, String)>,
    /// Which extension modules of the standard library are taken.
    pub(crate) policy: Policy,
    /// Extension modules that are taken whatever the policy says.
    pub(crate) extensions: BTreeSet<String>,
    /// The names of modules to which the executable is narrowed.
    pub(crate) only: Option<BTreeSet<String>>,
    /// The folder for licence texts, beside the executable.
    pub(crate) licenses: Option<PathBuf>,
    /// The folder in a tar archive of the executable, if there is to be one.
    pub(crate) tarball: Option<PathBuf>,
}

/// A message that is said where it matters.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) place: String,
    pub(crate) what: String,
}

/// Which extension modules of the standard library are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    #[default]
    All,
    Minimal,
    NoLibraries,
    NoGpl,
}

/// The extension modules without which an interpreter does not start.
const MINIMAL: [&str; 32] = [
    "_abc",
    "_ast",
    "_codecs",
    "_collections",
    "_contextvars",
    "_functools",
    "_imp",
    "_io",
    "_locale",
    "_operator",
    "_signal",
    "_sre",
    "_stat",
    "_string",
    "_suggestions",
    "_symtable",
    "_sysconfig",
    "_thread",
    "_tokenize",
    "_tracemalloc",
    "_typing",
    "_warnings",
    "_weakref",
    "atexit",
    "errno",
    "faulthandler",
    "gc",
    "itertools",
    "marshal",
    "posix",
    "pwd",
    "time",
];

/// Libraries under the GPL, by the start of their names.
const GPL: [&str; 2] = ["readline", "gdbm"];

impl Further {
    /// The extension modules of the standard library that are taken; none if all are.
    pub(crate) fn extensions(&self, distribution: &Distribution) -> Option<BTreeSet<String>> {
        let is_library = |name: &&String| !name.starts_with("Hacl_");
        let is_gpl = |name: &String| {
            let name = name.strip_prefix("lib").unwrap_or(name);
            GPL.iter().any(|start| name.starts_with(start))
        };
        let is_taken = |extension: &&pyox_schema::Extension| {
            let name = extension.name.as_str();
            // What has no function to start it is the interpreter's own.
            let is_core = MINIMAL.contains(&name) || extension.init.is_none();
            is_core
                || self.extensions.contains(name)
                || match self.policy {
                    Policy::All => true,
                    Policy::Minimal => false,
                    Policy::NoLibraries => extension.libraries.iter().find(is_library).is_none(),
                    Policy::NoGpl => !extension.libraries.iter().any(is_gpl),
                }
        };
        let taken = distribution.extensions.iter().filter(is_taken);
        (self.policy != Policy::All)
            .then(|| taken.map(|extension| extension.name.clone()).collect())
    }

    /// Refuses a distribution that virtual environments are not for.
    pub(crate) fn check(&self, distribution: &Distribution) -> Result<()> {
        let (major, minor) = distribution.python.version_info;
        let own = format!("python{major}.{minor}");
        match self.environments.iter().find(|(_, python)| *python != own) {
            Some((place, python)) => {
                let what = format!("path: expected an environment of {own}, got one of {python}");
                Err(Fault::new(place, what).hint("name a Python of its version by --python"))
            }
            None => Ok(()),
        }
    }

    /// Makes what is made of an executable.
    pub(crate) fn make(
        &self,
        executable: &Path,
        distribution: &Distribution,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        let folder = executable.parent().unwrap_or(Path::new("."));
        let mut licenses = Vec::new();
        if let Some(path) = &self.licenses {
            let folder = folder.join(path);
            fs::create_dir_all(&folder).fault_at(&folder)?;
            for license in &distribution.licenses {
                let from = distribution.path(license);
                let name = from.file_name().ok_or_else(|| Fault::at(&from, "expected a file"))?;
                files::write(&folder.join(name), &fs::read(&from).fault_at(&from)?)?;
                licenses.push(path.join(name));
            }
            reporter.detail(format_args!("{}: {} texts", folder.display(), licenses.len()));
        }
        let archive = archive_of(executable);
        if let Some(prefix) = &self.tarball {
            let mut names = licenses.clone();
            names.extend(executable.file_name().map(PathBuf::from));
            let beside = name_with(executable, ".files");
            walk(&beside, folder, &mut names)?;
            names.sort();
            let bytes = tar(folder, prefix, &names)?;
            files::write(&archive, &bytes)?;
            reporter.note(format_args!("made {}", archive.display()));
        }
        Ok(())
    }
}

/// The tar archive that is made of an executable.
pub(crate) fn archive_of(executable: &Path) -> PathBuf {
    name_with(executable, ".tar")
}

fn name_with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The files below a folder, relative to another one around it.
fn walk(folder: &Path, around: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).fault_at(folder)? {
        let path = entry.fault_at(folder)?.path();
        if path.is_dir() {
            walk(&path, around, names)?;
        } else if let Ok(name) = path.strip_prefix(around) {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

/// An archive with nothing in it of when and by whom it was made.
fn tar(folder: &Path, prefix: &Path, names: &[PathBuf]) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let mut archive = tar::Builder::new(Vec::new());
    for name in names {
        let path = folder.join(name);
        let bytes = fs::read(&path).fault_at(&path)?;
        let mode = fs::metadata(&path).fault_at(&path)?.permissions().mode();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 });
        header.set_mtime(0);
        let to = prefix.join(name);
        archive.append_data(&mut header, to, bytes.as_slice()).fault_at(&path)?;
    }
    archive.into_inner().fault_at(folder)
}
