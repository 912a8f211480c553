//! Files, which are taken by their digest.
//!
//! What has come of a file lies beside it, as `NAME.part`, until it is whole and has the right digest. A run that is
//! killed leaves it to the next one. One run at a time writes to it; another one waits, and finds the file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Reporter, Result, Task};
use reqwest::StatusCode;
use reqwest::Url;
use rustix::fs::{FlockOperation, flock};

use crate::answer::{self, Failure, header};
use crate::{Client, again, local, parse, shown};

/// A file that is longer than that is none that pyox needs.
const LONGEST: u64 = 8 << 30;

/// A file of the network.
#[derive(Debug, Clone)]
pub struct Want {
    /// Where it is.
    pub url: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its length, where that is known.
    pub size: Option<u64>,
}

impl Client {
    /// Gets a file to a path, unless it is there already.
    ///
    /// Costs the download, and reading the file once.
    ///
    /// # Errors
    ///
    /// [`Digest`](pyox_stage::Kind::Digest) if the server has another file, [`Missing`](pyox_stage::Kind::Missing) if it
    /// has none. Otherwise if it cannot be reached, refuses, or breaks off again and again; and if the file cannot be
    /// written.
    pub fn file(&self, want: &Want, path: &Path, reporter: &dyn Reporter) -> Result<()> {
        if is_there(want, path)? {
            return Ok(());
        }
        let url = parse(&want.url)?;
        let name = part(path);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&name).fault_at(&name)?;
        // Where there are no locks, two runs at once spoil it, and the digest tells.
        let _ = flock(&file, FlockOperation::LockExclusive);
        if is_there(want, path)? {
            return Ok(());
        }
        let done = self.fill(want, &url, &mut file, &name, reporter);
        if done.is_err() && file.metadata().is_ok_and(|part| part.len() == 0) {
            let _ = fs::remove_file(&name);
        }
        done?;
        file.sync_all().fault_at(&name)?;
        fs::rename(&name, path).fault_at(path)
    }

    /// Gets what is missing of a file, until it has the right digest.
    fn fill(
        &self,
        want: &Want,
        url: &Url,
        file: &mut File,
        name: &Path,
        reporter: &dyn Reporter,
    ) -> Result<()> {
        let mut left_behind = file.metadata().fault_at(name)?.len() > 0;
        loop {
            let mut transfer = Transfer { want, url, file: &mut *file, name, task: None };
            again(reporter, || transfer.go_on(self, reporter))?;
            let found = digest(file).fault_at(name)?;
            if found == want.sha256 {
                return Ok(());
            }
            file.set_len(0).fault_at(name)?;
            if !left_behind {
                return Err(Fault::mismatch(shown(url), &want.sha256, &found));
            }
            // What an earlier run has left may be of another file.
            reporter.detail(format_args!("{}: what was left of it is no good", shown(url)));
            left_behind = false;
        }
    }
}

/// Whether the right file is there. A file that rotted goes away.
fn is_there(want: &Want, path: &Path) -> Result<bool> {
    let Ok(mut file) = File::open(path) else { return Ok(false) };
    if digest(&mut file).fault_at(path)? == want.sha256 {
        return Ok(true);
    }
    fs::remove_file(path).fault_at(path)?;
    Ok(false)
}

fn digest(file: &mut File) -> std::io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    Ok(Digest::of_reader(file)?.0)
}

/// Where the bytes of a file are until it is whole.
fn part(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// A file that is coming.
struct Transfer<'a> {
    want: &'a Want,
    url: &'a Url,
    file: &'a mut File,
    name: &'a Path,
    task: Option<Box<dyn Task>>,
}

impl Transfer<'_> {
    /// Gets what is missing.
    fn go_on(&mut self, client: &Client, reporter: &dyn Reporter) -> Result<(), Failure> {
        let mut have = self.file.metadata().fault_at(self.name)?.len();
        if self.want.size.is_some_and(|size| have > size) {
            self.clear()?;
            have = 0;
        }
        if self.want.size == Some(have) && have > 0 {
            return Ok(());
        }
        if let Some(path) = local(self.url)? {
            self.clear()?;
            let mut source = File::open(&path).fault_at(&path)?;
            let size = source.metadata().fault_at(&path)?.len();
            self.check_size(size)?;
            return self.take(&mut source, 0, size, reporter);
        }
        let mut response = client.send(self.url, have)?;
        let headers = response.headers();
        if header(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(answer::page(self.url).into());
        }
        let length = header(headers, "content-length").and_then(|text| text.parse::<u64>().ok());
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = header(headers, "content-range").and_then(parse_range);
                let Some((_, total)) = range.filter(|(start, _)| *start == have) else {
                    self.clear()?;
                    let what = "expected the part that was asked for, got another";
                    return Err(self.passing(what));
                };
                let total = total.or(length.map(|length| length + have));
                self.check_size(total.unwrap_or_default())?;
                self.take(&mut response, have, total.unwrap_or_default(), reporter)
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                // All of it may be there; else it is no part of that file.
                let total =
                    header(headers, "content-range").and_then(|text| text.strip_prefix("bytes */"));
                if total.and_then(|text| text.parse().ok()) == Some(have) {
                    return Ok(());
                }
                self.clear()?;
                Err(self.passing("it has less than was got before"))
            }
            StatusCode::OK => {
                self.clear()?;
                self.check_size(length.unwrap_or_default())?;
                self.take(&mut response, 0, length.unwrap_or_default(), reporter)
            }
            status => {
                Err(Fault::new(shown(self.url), format_args!("the server answers {status}")).into())
            }
        }
    }

    fn passing(&self, what: &str) -> Failure {
        let fault = Fault::new(shown(self.url), what);
        Failure { fault, pause: Some(std::time::Duration::ZERO), progress: 0 }
    }

    /// Refuses a file of another length before it comes; 0 is one that is not told.
    fn check_size(&self, found: u64) -> Result<()> {
        match self.want.size {
            Some(size) if found != 0 && found != size => {
                let what = format!("size mismatch: expected {size} bytes, got {found}");
                Err(Fault::new(shown(self.url), what))
            }
            _ if found > LONGEST => Err(self.too_long()),
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> Fault {
        let most = self.want.size.unwrap_or(LONGEST);
        Fault::new(shown(self.url), format_args!("expected at most {most} bytes, got more"))
    }

    fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).fault_at(self.name)
    }

    /// Appends what comes to what is there.
    fn take(
        &mut self,
        from: &mut dyn Read,
        have: u64,
        total: u64,
        reporter: &dyn Reporter,
    ) -> Result<(), Failure> {
        if self.task.is_none() {
            let file = self.url.path().rsplit('/').next().unwrap_or_default();
            let what = format!("downloading {}", file.replace("%2B", "+"));
            let task = reporter.begin((total > 0).then_some(total), &what);
            task.advance(have);
            self.task = Some(task);
        }
        let most = self.want.size.unwrap_or(LONGEST);
        let mut buffer = vec![0; 1 << 16];
        let mut got = 0;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::broken(self.url, &error, got)),
            };
            self.file.write_all(&buffer[..read]).fault_at(self.name)?;
            got += read as u64;
            if have + got > most {
                self.clear()?;
                return Err(self.too_long().into());
            }
            if let Some(task) = &self.task {
                task.advance(read as u64);
            }
        }
        // A server that tells no length may break off without a word.
        match self.want.size {
            Some(size) if have + got < size => {
                let what = format!("the transfer broke: {} of {size} bytes have come", have + got);
                Err(Failure { progress: got, ..self.passing(&what) })
            }
            _ => Ok(()),
        }
    }
}

/// Start and total of `bytes 5-9/10`.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes", "bytes */10", "bytes x-9/10", "items 0-1/2"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_of_this_machine_is_copied_once_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a+b"), folder.path().join("to"));
        fs::write(&from, "the file").unwrap();
        let url = format!("file://{}/a%2Bb", folder.path().display());
        let client = Client::new(true).unwrap();
        let want = Want { url, sha256: Digest::of(b"the file"), size: Some(8) };
        client.file(&want, &to, &pyox_stage::Silent).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"the file");
        assert!(!part(&to).exists());
        // It is there, so the other one is not even looked at; a rotten one comes anew.
        fs::write(&from, "the life").unwrap();
        client.file(&want, &to, &pyox_stage::Silent).unwrap();
        fs::write(&to, "rotten").unwrap();
        let fault = client.file(&want, &to, &pyox_stage::Silent).unwrap_err();
        let kind =
            pyox_stage::Kind::Digest { expected: want.sha256, found: Digest::of(b"the life") };
        assert_eq!(*fault.kind(), kind);
        assert!(!to.exists() && !part(&to).exists());
        fs::write(&from, "the files").unwrap();
        let fault = client.file(&want, &to, &pyox_stage::Silent).unwrap_err();
        assert!(fault.to_string().ends_with("size mismatch: expected 8 bytes, got 9"), "{fault}");
    }
}
