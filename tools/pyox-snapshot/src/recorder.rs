//! Runs of an executable that records its start.
//!
//! Each run is confined: an empty environment but for the locale and the time zone, a folder of its own, and what the process
//! itself gives up. It reads a request from stdin and answers on stdout.

use std::fs::{self, File, FileTimes};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use pyox_blob::snapshot::PATH_LEN;
use pyox_stage::{Fault, FaultExt as _, Kind, Result};
use tempfile::TempDir;

use crate::{Executable, stdlib};

/// The copy of an executable that records its start.
pub(crate) struct Recorder<'a> {
    /// The executable that it is a copy of, for messages.
    from: &'a Path,
    folder: TempDir,
    path: PathBuf,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(executable: &Executable<'_>, from: &'a Path) -> Result<Self> {
        let folder = tempfile::tempdir().fault("temporary folder")?;
        let path = recorder_path(folder.path())?;
        let around = path.parent().unwrap_or(folder.path());
        fs::create_dir_all(around).fault_at(around)?;
        fs::write(&path, executable.recorder()).fault_at(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).fault_at(&path)?;
        // Packed files have its times, and caches keep them.
        let times = FileTimes::new().set_accessed(UNIX_EPOCH).set_modified(UNIX_EPOCH);
        let file = File::options().write(true).open(&path).fault_at(&path)?;
        file.set_times(times).fault_at(&path)?;
        Ok(Self { from, folder, path })
    }

    /// What is wrong with the executable.
    pub(crate) fn fault(&self, what: String) -> Fault {
        Fault::at(self.from, what).of_kind(Kind::Unsupported)
    }

    /// A text of the recorded process, with the executable's name in the place of the copy's path.
    pub(crate) fn named(&self, text: &str) -> String {
        let path = self.path.to_string_lossy();
        text.replace(&*path, &self.from.to_string_lossy())
    }

    /// The image for a request. A first run tells which blocks of its memory each process writes to, and the second one sets
    /// them apart.
    pub(crate) fn image(&self, request: &str) -> Result<Vec<u8>> {
        let order = self.run(&format!("{request}answer order\n"))?;
        self.run(&format!("{request}apart {}\n", String::from_utf8_lossy(&order)))
    }

    /// Its answer to a request.
    pub(crate) fn run(&self, text: &str) -> Result<Vec<u8>> {
        let folder = self.folder.path();
        let mut answer = tempfile::tempfile_in(folder).fault("temporary folder")?;
        let mut request = tempfile::tempfile_in(folder).fault("temporary folder")?;
        request.write_all(text.as_bytes()).fault("temporary folder")?;
        request.rewind().fault("temporary folder")?;
        let working = tempfile::tempdir_in(folder).fault("temporary folder")?;
        let to = answer.try_clone().fault("temporary folder")?;
        let done = Command::new(&self.path)
            .env_clear()
            // The configuration of OpenSSL is that of the process that begins with the image.
            .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC0"), ("OPENSSL_CONF", "/dev/null")])
            .current_dir(working.path())
            .stdin(request)
            .stdout(to)
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| {
                let what = format!("the executable cannot be run: {error}");
                Fault::at(self.from, what)
                    .hint("TMPDIR names a folder from which programs can be run")
            })?;
        if done.status.success() {
            return read_all(&mut answer).fault("temporary folder");
        }
        let said = self.named(&String::from_utf8_lossy(&done.stderr));
        let line = said.lines().rev().find(|line| !line.trim().is_empty());
        let what = line.map_or_else(
            || format!("the start that was recorded ended with {}", done.status),
            str::to_owned,
        );
        if let Some(fault) = refusal(&what) {
            return Err(fault);
        }
        let kind = Kind::Command { program: self.from.display().to_string(), status: done.status };
        Err(Fault::at(self.from, what).of_kind(kind))
    }
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

/// A path of the length that the recorded process must have. What CPython looks for around an executable has names of the same
/// lengths, wherever the folder is.
fn recorder_path(folder: &Path) -> Result<PathBuf> {
    /// No name of a file is longer.
    const LONGEST: usize = 200;
    /// The last folders and the file, with a slash before each.
    const END: [usize; 3] = [41; 3];
    let end: usize = END.iter().sum();
    let mut path = folder.to_owned();
    loop {
        let left = (PATH_LEN - end).checked_sub(path.as_os_str().len());
        // So that what is left is never a slash alone.
        let len = match left {
            Some(0) => break,
            Some(left) if left > LONGEST => LONGEST.min(left - 3),
            Some(left) if left > 1 => left - 1,
            _ => {
                let what = format!("expected a path shorter than {} bytes", PATH_LEN - end);
                return Err(Fault::at(folder, what).hint("TMPDIR names another folder"));
            }
        };
        path.push("r".repeat(len));
    }
    path.extend(END.map(|len| "r".repeat(len - 1)));
    Ok(path)
}
