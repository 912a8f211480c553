//! Checks all of a blob, whoever wrote it.
//!
//! What writes files by a blob's paths, or hands out its records without end, relies on this check, so it is the same for
//! all of them. Time and memory are linear in the blob's length for any input: names have a limit, a payload is read once
//! however many records share it, and what must not overlap is added up.

use std::collections::BTreeSet;

use super::{Blob, File, Module, Payload, Table, check_crc, malformed, outside, slice};
use crate::layout::{self, GROUP_SIZE, NEED_SIZE};
use crate::{Config, Error, Groups, package};

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
    /// What lies in groups, with the group's number.
    grouped: Vec<(u32, Item<'a>)>,
}

/// What has a payload.
enum Item<'a> {
    Module(Module<'a>),
    File(File<'a>),
}

impl Item<'_> {
    fn payload(&self) -> &Payload {
        match self {
            Self::Module(module) => &module.code,
            Self::File(file) => &file.stored,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Module(module) => format!("module {}", module.name),
            Self::File(file) => format!("file {}", file.path),
        }
    }
}

/// How far a group has been checked.
#[derive(Default)]
struct Checked {
    last: Option<(u64, u64, u32)>,
    end: u64,
}

impl<'a> Check<'a> {
    fn new(blob: Blob<'a>) -> Self {
        Self {
            blob,
            read: BTreeSet::new(),
            bytes: 0,
            needs: 0,
            looks: 0,
            around: Vec::new(),
            grouped: Vec::new(),
        }
    }

    /// Checks, and tells of each fault, as long as the answer is yes.
    fn all(&mut self, tell: &mut dyn FnMut(Error) -> bool) {
        let blob = self.blob;
        let mut is_wanted = |result: Result<(), Error>| result.err().is_none_or(&mut *tell);
        let is_done = blob.sections().all(|entry| is_wanted(blob.check_section(&entry)))
            && (0..blob.modules.len_u32()).all(|number| is_wanted(self.module(number)))
            && (0..blob.files.len_u32()).all(|number| is_wanted(self.file(number)))
            && (0..).take(blob.project_count()).all(|number| is_wanted(self.project(number)))
            && self.groups(&mut is_wanted);
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
        if let Some(group) = module.code.group {
            self.grouped.push((group, Item::Module(module)));
        } else {
            if self.payload(&module.code, place)? {
                blob.payload(&module.code, place)?;
            }
            self.file_name(&module, blob.unchecked(&module.code, place)?)?;
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
        if let Some(group) = file.stored.group {
            self.grouped.push((group, Item::File(file)));
        } else if self.payload(&file.stored, || format!("file {}", file.path))? {
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

    /// The name of a module's file, in its code.
    fn file_name(&self, module: &Module<'_>, code: &[u8]) -> Result<(), Error> {
        if let Some(name) = self.blob.file_name(module, code)?
            && let Some(problem) = layout::path_problem(name.text())
        {
            let (module, name) = (module.name, name.text());
            return Err(malformed(format!("module {module}: its file's name {name:?}: {problem}")));
        }
        Ok(())
    }

    /// Decodes each group once, and checks what lies in it.
    fn groups(&mut self, is_wanted: &mut dyn FnMut(Result<(), Error>) -> bool) -> bool {
        let blob = self.blob;
        if !blob.groups.len().is_multiple_of(GROUP_SIZE)
            && !is_wanted(Err(malformed("groups: their records do not fit the section".to_owned())))
        {
            return false;
        }
        let mut items = std::mem::take(&mut self.grouped);
        items.sort_by_key(|(group, item)| (*group, item.payload().offset, item.payload().len));
        let known = u32::try_from(blob.groups.len() / GROUP_SIZE).unwrap_or(u32::MAX);
        let mut items = items.as_slice();
        for number in 0..known {
            let (own, rest) = items.split_at(items.partition_point(|(group, _)| *group <= number));
            items = rest;
            let mut groups = Groups::default();
            match self.group(number, &mut groups) {
                Ok(bytes) => {
                    let mut checked = Checked::default();
                    let mut all = own.iter().map(|(_, item)| self.item(item, bytes, &mut checked));
                    if !all.all(&mut *is_wanted) {
                        return false;
                    }
                }
                Err(error) => {
                    if !is_wanted(Err(error)) {
                        return false;
                    }
                }
            }
        }
        items.iter().all(|(group, item)| {
            is_wanted(Err(malformed(format!("{}: group {group}: no such record", item.place()))))
        })
    }

    fn group<'g>(&mut self, number: u32, groups: &'g mut Groups<'a>) -> Result<&'g [u8], Error> {
        let group = self.blob.group(number)?;
        self.payload(&group.stored, || format!("group {number}"))?;
        self.blob.decoded(number, groups)
    }

    /// What lies in a group; the one before it begins no later.
    fn item(&self, item: &Item<'_>, group: &[u8], checked: &mut Checked) -> Result<(), Error> {
        let payload = item.payload();
        let bytes = slice(group, payload.offset, payload.len)
            .ok_or_else(|| outside(&item.place(), payload))?;
        let this = (payload.offset, payload.len, payload.crc);
        if checked.last != Some(this) && payload.len > 0 {
            if payload.offset < checked.end {
                let what = "its bytes are those of others too";
                return Err(malformed(format!("{}: {what}", item.place())));
            }
            checked.end = payload.offset + payload.len;
            check_crc(bytes, payload.crc, || item.place())?;
            checked.last = Some(this);
        }
        match item {
            Item::Module(module) => self.file_name(module, bytes),
            Item::File(_) => Ok(()),
        }
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
