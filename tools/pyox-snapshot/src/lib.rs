//! From an executable to one that begins where its start has ended.
//!
//! A copy of the executable is run up to where its interpreter has started and the modules that are wanted are imported. It
//! writes its own memory, the *image*, which becomes the content of the executable's writable segment: the kernel then maps
//! it at the next start. `docs/formats/snapshot.md` specifies the image, `pyembed/src/ffi/snapshot/` makes and uses it.

#![deny(missing_docs)]

mod executable;
mod stdlib;

pub use executable::{Executable, Refusal};

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pyox_blob::snapshot::PATH_LEN;
use pyox_stage::{Fault, FaultExt as _, Kind, Reporter, Result, files};

/// How much of an interpreter's work an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The interpreter that has started, and no module besides.
    #[default]
    Interpreter,
    /// And modules of the standard library.
    Stdlib,
}

/// What an image is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it holds.
    pub level: Level,
    /// Modules to import, in this order.
    pub preload: Vec<String>,
    /// A seed for the hashes of all processes. Without one, each process has its own.
    pub fixed_hash_seed: Option<u32>,
}

/// Makes the executable with a snapshot. Runs the one that is given, for as long as its start takes.
///
/// # Errors
///
/// If the executable can have no snapshot, a module cannot be imported or is not safe to be, or the result cannot be written.
pub fn snapshot(from: &Path, to: &Path, options: &Options, reporter: &dyn Reporter) -> Result<()> {
    let executable = open(from)?;
    let task = reporter.begin(None, "recording the start");
    let image = record(&executable, from, options)?;
    drop(task);
    let bytes = executable.with_image(image).ok_or_else(|| {
        Fault::at(from, "its image is not complete").hint("is it an executable of this pyox?")
    })?;
    files::atomically(to, files::EXECUTABLE, |file| file.write_all(&bytes))
}

/// Reads an executable that can have a snapshot.
///
/// # Errors
///
/// If it cannot be read, or can have none.
pub fn open(path: &Path) -> Result<Executable> {
    let bytes = fs::read(path).fault_at(path)?;
    Executable::parse(bytes).map_err(|refusal| {
        let what = match refusal {
            Refusal::NoElf => "expected an executable that pyox-link has made, got something else",
            Refusal::Dynamic => {
                "expected a static executable: those that need a loader have no snapshots yet"
            }
            Refusal::Movable => {
                "expected an executable at a fixed address, got one that was linked with `--pie`"
            }
            Refusal::NotLinked => {
                "expected an executable of a pyox that knows snapshots, got another one"
            }
            Refusal::Damaged => "its headers and its length do not fit",
        };
        let fault = Fault::at(path, what).of_kind(Kind::Unsupported);
        match refusal {
            Refusal::Dynamic => fault.hint("link it with `pyox-link --static`"),
            Refusal::Movable => fault.hint("link it without `--pie`"),
            Refusal::NotLinked | Refusal::NoElf | Refusal::Damaged => fault.hint("link it again"),
        }
    })
}

/// Runs the executable up to where an image is taken.
fn record(executable: &Executable, from: &Path, options: &Options) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().fault("temporary folder")?;
    let path = recorder_path(folder.path())?;
    let around = path.parent().unwrap_or(folder.path());
    fs::create_dir_all(around).fault_at(around)?;
    fs::write(&path, executable.recorder()).fault_at(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).fault_at(&path)?;
    let mut image = tempfile::tempfile_in(folder.path()).fault("temporary folder")?;
    let mut request = tempfile::tempfile_in(folder.path()).fault("temporary folder")?;
    request.write_all(options.request().as_bytes()).fault("temporary folder")?;
    request.rewind().fault("temporary folder")?;
    let to = image.try_clone().fault("temporary folder")?;
    let done = Command::new(&path)
        .env_clear()
        .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC0")])
        .current_dir(folder.path())
        .stdin(request)
        .stdout(to)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| {
            let what = format!("the executable cannot be run: {error}");
            Fault::at(from, what).hint("TMPDIR names a folder from which programs can be run")
        })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let line = said.lines().rev().find(|line| !line.trim().is_empty());
        let what = line.map_or_else(
            || format!("the start that was recorded ended with {}", done.status),
            str::to_owned,
        );
        if let Some(fault) = refusal(&what) {
            return Err(fault);
        }
        let status = done.status;
        let kind = Kind::Command { program: from.display().to_string(), status };
        return Err(Fault::at(from, what).of_kind(kind));
    }
    read_all(&mut image).fault("temporary folder")
}

/// What the recorded process means by a module that it has found and must not hold.
fn refusal(said: &str) -> Option<Fault> {
    let (refused, preloaded) = said.strip_prefix("refused ")?.split_once(' ')?;
    let why = stdlib::REFUSED.iter().find(|(name, _)| *name == refused)?.1;
    let what = if refused == preloaded {
        format!("{preloaded}: {why}")
    } else {
        format!("{preloaded}: it imports {refused}: {why}")
    };
    Some(Fault::new("--preload", what).of_kind(Kind::Unsupported))
}

fn read_all(file: &mut File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path of the length that the recorded process must have.
fn recorder_path(folder: &Path) -> Result<PathBuf> {
    /// No name of a file is longer.
    const LONGEST: usize = 200;
    let mut path = folder.to_owned();
    loop {
        let left = PATH_LEN.checked_sub(path.as_os_str().len() + 1).filter(|left| *left > 0);
        let Some(left) = left else {
            let what = format!("expected a path shorter than {PATH_LEN} bytes");
            return Err(Fault::at(folder, what).hint("TMPDIR names another folder"));
        };
        // So that what is left is never a slash alone.
        let len = if left > LONGEST { LONGEST.min(left - 2) } else { left };
        path.push("r".repeat(len));
        if left <= LONGEST {
            return Ok(path);
        }
    }
}

impl Level {
    /// Its name, as options have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Stdlib => "stdlib",
        }
    }
}

impl Options {
    /// What the recorded process reads.
    fn request(&self) -> String {
        let refused = stdlib::REFUSED.iter().map(|(name, _)| format!("refuse {name}"));
        let preloaded = self.preload.iter().map(|name| format!("preload {name}"));
        let seed = self.fixed_hash_seed.map(|seed| format!("fixed-hash-seed {seed}"));
        let lines = [format!("level {}", self.level.name())];
        let lines = lines.into_iter().chain(refused).chain(preloaded).chain(seed);
        lines.map(|line| line + "\n").collect()
    }
}
