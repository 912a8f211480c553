//! Checks all of a blob, whoever wrote it.
//!
//! What writes files by a blob's paths, or hands out its records without end, relies on this check, so it is the same for
//! all of them. Time and memory are linear in the blob's length for any input: names have a limit, a payload is read once
//! however many records share it, and what must not overlap is added up.

use std::collections::BTreeSet;

use super::{Blob, Payload, Table, malformed};
use crate::layout::{self, NEED_SIZE};
use crate::{Config, Error, package};

/// How many faults are named at most.
const MOST_FAULTS: usize = 1000;

/// How many slots of an index searches may look at for each record on the average. A half full index takes 1.5.
const MOST_LOOKS: usize = 64;

impl Blob<'_> {
    /// Checks every section and every record, and says what is wrong first. Linear in the blob's
    /// length.
    ///
    /// The header's SHA-256 is the caller's to check: this crate has no use for one.
    ///
    /// # Errors
    ///
    /// What is wrong first.
    pub fn verify(&self) -> Result<(), Error> {
        let mut first = None;
        Check::new(*self).all(&mut |fault| {
            first = Some(fault);
            false
        });
        first.map_or(Ok(()), Err)
    }

    /// Checks what [`Blob::verify`] checks, and says everything that is wrong, as far as a thousand faults say it. A damaged
    /// payload is named twice: by its own checksum and by its section's.
    #[must_use]
    pub fn faults(&self) -> Vec<Error> {
        let mut faults = Vec::new();
        Check::new(*self).all(&mut |fault| {
            faults.push(fault);
            faults.len() < MOST_FAULTS
        });
        faults
    }
}

/// A check that is under way.
struct Check<'a> {
    blob: Blob<'a>,
    /// The payloads that were read, with what their records say of their checksum.
    read: BTreeSet<(u64, u64, u32)>,
    /// How many bytes they have.
    bytes: u64,
    /// How many needs files have.
    needs: u64,
    /// How many slots of the indexes were looked at.
    looks: usize,
    /// Paths of files, each the beginning of the next.
    around: Vec<&'a str>,
}

impl<'a> Check<'a> {
    fn new(blob: Blob<'a>) -> Self {
        Self { blob, read: BTreeSet::new(), bytes: 0, needs: 0, looks: 0, around: Vec::new() }
    }

    /// Checks, and tells of each fault, as long as the answer is yes.
    fn all(&mut self, tell: &mut dyn FnMut(Error) -> bool) {
        let blob = self.blob;
        let mut is_wanted = |result: Result<(), Error>| result.err().is_none_or(&mut *tell);
        let is_done = blob.sections().all(|entry| is_wanted(blob.check_section(&entry)))
            && (0..blob.modules.len_u32()).all(|number| is_wanted(self.module(number)))
            && (0..blob.files.len_u32()).all(|number| is_wanted(self.file(number)))
            && (0..).take(blob.project_count()).all(|number| is_wanted(self.project(number)));
        if is_done {
            is_wanted(blob.config().and_then(|config| placements(&config)));
        }
    }

    fn module(&mut self, number: u32) -> Result<(), Error> {
        let blob = self.blob;
        let module = blob.module_at(number)?;
        if !package::is_dotted_name(module.name) {
            return Err(malformed(format!("module {:?}: expected a dotted name", module.name)));
        }
        let place = || format!("module {}", module.name);
        if self.payload(&module.code, place)? {
            blob.code(&module)?;
        }
        let code = blob.unchecked(&module.code, place)?;
        if let Some(name) = blob.file_name(&module, code)?
            && let Some(problem) = layout::path_problem(name.text())
        {
            let (module, name) = (module.name, name.text());
            return Err(malformed(format!("module {module}: its file's name {name:?}: {problem}")));
        }
        blob.project(module.project)?;
        if let Some(file) = module.file {
            blob.file_at(file)?;
        }
        self.order(&blob.modules, module.name, number)?;
        self.found(&blob.modules, module.name, number)
    }

    fn file(&mut self, number: u32) -> Result<(), Error> {
        let blob = self.blob;
        let file = blob.file_at(number)?;
        if self.payload(&file.stored, || format!("file {}", file.path))? {
            blob.stored(&file)?;
        }
        blob.project(file.project)?;
        let needs = blob.needs(&file)?;
        self.needs += u64::from(file.needs.1);
        if self.needs > (blob.needs.len() / NEED_SIZE) as u64 {
            return Err(malformed(format!("file {}: its needs are another file's", file.path)));
        }
        for need in needs {
            blob.file_at(need)?;
        }
        if let Some(problem) = layout::path_problem(file.path) {
            return Err(malformed(format!("file {:?}: its path: {problem}", file.path)));
        }
        self.folder(file.path)?;
        self.order(&blob.files, file.path, number)?;
        self.found(&blob.files, file.path, number)
    }

    fn project(&self, number: u32) -> Result<(), Error> {
        self.blob.project(number).map(|_| ())
    }

    /// Whether a payload has yet to be read. Payloads do not overlap, but records may share one.
    fn payload(&mut self, payload: &Payload, place: impl Fn() -> String) -> Result<bool, Error> {
        if payload.len == 0 || !self.read.insert((payload.offset, payload.len, payload.crc)) {
            return Ok(false);
        }
        self.bytes = self.bytes.saturating_add(payload.len);
        if self.bytes > self.blob.bytes.len() as u64 {
            return Err(malformed(format!("{}: its bytes are those of others too", place())));
        }
        Ok(true)
    }

    /// No path is the folder of another. In the order of paths, a folder's files come behind what begins with its name, so
    /// it is enough to remember those paths that the next one may begin with.
    fn folder(&mut self, path: &'a str) -> Result<(), Error> {
        while self.around.last().is_some_and(|around| !path.starts_with(around)) {
            self.around.pop();
        }
        let folder = self.around.last().copied();
        self.around.push(path);
        match folder.filter(|folder| path[folder.len()..].starts_with('/')) {
            Some(folder) => Err(malformed(format!("file {folder}: it is the folder of {path}"))),
            None => Ok(()),
        }
    }

    /// Records are sorted by name, and each has one of its own.
    fn order(&self, table: &Table<'a>, name: &str, number: u32) -> Result<(), Error> {
        let before = number.checked_sub(1).and_then(|before| table.record(before).ok());
        match before.and_then(|record| self.blob.name_of(record)) {
            Some(before) if before > name => {
                Err(malformed(format!("{} {name:?}: out of order, behind {before:?}", table.what)))
            }
            _ => Ok(()),
        }
    }

    /// The index must find what the table holds: a name that stands twice is found once.
    fn found(&mut self, table: &Table<'a>, name: &str, number: u32) -> Result<(), Error> {
        let most = MOST_LOOKS * (1024 + self.blob.modules.len() + self.blob.files.len());
        if self.looks > most {
            let what =
                "expected an index that finds a name in 64 steps on the average, got a slower one";
            return Err(malformed(format!("{} {name}: {what}", table.what)));
        }
        if self.blob.search(table, name, &mut self.looks) == Some(number) {
            return Ok(());
        }
        Err(malformed(format!("{} {name}: the index does not find it", table.what)))
    }
}

/// The names of packages with files of their own become folders.
fn placements(config: &Config) -> Result<(), Error> {
    match config.placements.iter().find(|(package, _)| !package::is_dotted_name(package)) {
        Some((package, _)) => Err(malformed(format!(
            "config: placement {package:?}: expected a package's dotted name"
        ))),
        None => Ok(()),
    }
}
