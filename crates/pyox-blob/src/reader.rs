//! Finding things in a blob.
//!
//! A [`Blob`] borrows its bytes and hands out slices of them; only what is stored compressed is decoded, and what is in a
//! group is copied out of it. A lookup reads one or two slots of an index and one record; iterating reads the records in order.

use std::borrow::Cow;

use crate::layout::{
    self, Codec, FILE_SIZE, FileKind, GROUP_SIZE, HEADER_SIZE, MODULE_SIZE, ModuleKind, NEED_SIZE,
    PROJECT_SIZE, SECTION_SIZE, SLOT_SIZE, Section,
};
use crate::{Config, Error, FileName, Groups, groups, needs};

mod verify;

/// A blob whose header, section table and configuration have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    bytes: &'a [u8],
    modules: Table<'a>,
    files: Table<'a>,
    needs: &'a [u8],
    projects: &'a [u8],
    strings: &'a [u8],
    /// Empty where the section is missing.
    groups: &'a [u8],
    config: &'a [u8],
}

/// Records of one length, and the index that finds them by name.
#[derive(Debug, Clone, Copy)]
struct Table<'a> {
    records: &'a [u8],
    index: &'a [u8],
    size: usize,
    what: &'static str,
}

/// A module's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module<'a> {
    /// The dotted name.
    pub name: &'a str,
    /// What it is.
    pub kind: ModuleKind,
    /// Whether it is a package of any kind: it then has a `__path__`.
    pub is_package: bool,
    /// Number of its project.
    pub project: u32,
    /// Number of the file record of its source or its shared object.
    pub file: Option<u32>,
    /// Where in its code the name of the file stands; 0 where that is not known.
    file_name: u32,
    code: Payload,
}

/// A file's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// The path in the application's tree, with `/` between its parts.
    pub path: &'a str,
    /// What it is.
    pub kind: FileKind,
    /// How its bytes are stored.
    pub codec: Codec,
    /// How many bytes it has once they are decoded.
    pub len: u64,
    /// Number of its project.
    pub project: u32,
    needs: (u32, u32),
    stored: Payload,
}

/// Where a payload lies, and its CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Payload {
    /// The number of the group in which it is; none for one that lies in the blob as it is.
    group: Option<u32>,
    offset: u64,
    len: u64,
    crc: u32,
}

/// A group: payloads that are compressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    stored: Payload,
    /// How many bytes it decodes to.
    len: u32,
}

/// A project: the unit that PyPI knows. The standard library is the project `python`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Project<'a> {
    /// Its normalised name.
    pub name: &'a str,
    /// Its version; empty where it has none.
    pub version: &'a str,
}

/// One entry of the section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionEntry {
    /// Which section; none for one that this reader does not know.
    pub section: Option<Section>,
    /// Its code, known or not.
    pub code: u32,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
    /// How many records, slots or elements it holds.
    pub count: u64,
    crc: u32,
}

impl Module<'_> {
    /// Length of the marshalled code object, in bytes; 0 without one.
    #[must_use]
    pub fn code_len(&self) -> u64 {
        self.code.len
    }
}

impl File<'_> {
    /// The CRC-32 of the bytes as they are stored; of a file in a group, of its own.
    #[must_use]
    pub fn stored_crc(&self) -> u32 {
        self.stored.crc
    }
}

impl<'a> Blob<'a> {
    /// Opens the blob at the start of `bytes`. There may be other bytes behind it.
    ///
    /// This takes the same time for a blob of any size, allocates nothing and copies nothing. It checks the header, the
    /// section table and the configuration. Records and payloads are checked when they are asked for, and all of them by
    /// [`verify`](Self::verify).
    ///
    /// ```
    /// use pyox_blob::{Blob, Error};
    ///
    /// assert!(matches!(Blob::open(b"PK\x03\x04"), Err(Error::NotABlob)));
    /// ```
    ///
    /// # Errors
    ///
    /// If no blob begins there, its major version is another one, it is cut off, or its header, its section table or
    /// its configuration is damaged.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let bytes = checked_header(bytes)?;
        let section = |kind: Section| find_section(bytes, kind);
        let table = |kind, index, size, what| -> Result<Table<'a>, Error> {
            let table = Table { records: section(kind)?, index: section(index)?, size, what };
            table.check_shape().map(|()| table)
        };
        let blob = Self {
            bytes,
            modules: table(Section::Modules, Section::ModuleIndex, MODULE_SIZE, "module")?,
            files: table(Section::Files, Section::FileIndex, FILE_SIZE, "file")?,
            needs: section(Section::Needs)?,
            projects: section(Section::Projects)?,
            strings: section(Section::Strings)?,
            groups: match section(Section::Groups) {
                Err(Error::MissingSection(_)) => &[],
                found => found?,
            },
            config: section(Section::Config)?,
        };
        for entry in blob.sections() {
            if entry.section == Some(Section::Config) {
                blob.check_section(&entry)?;
            }
        }
        Ok(blob)
    }

    /// All bytes of the blob.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The SHA-256 of everything behind the header, as the header states it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        let at = layout::header::DIGEST;
        digest.copy_from_slice(&self.bytes[at..at + 32]);
        digest
    }

    /// The configuration record.
    ///
    /// # Errors
    ///
    /// If the record does not decode.
    pub fn config(&self) -> Result<Config, Error> {
        Config::decode(self.config)
    }

    /// The section table's entries, in its order.
    pub fn sections(&self) -> impl Iterator<Item = SectionEntry> + use<'a> {
        section_entries(self.bytes)
    }

    /// Whether it holds bytecode and files in groups, as a small executable's does.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The module of that dotted name.
    ///
    /// # Errors
    ///
    /// If its record is damaged.
    pub fn module(&self, name: &str) -> Result<Option<Module<'a>>, Error> {
        self.find(&self.modules, name).map_or(Ok(None), |number| self.module_at(number).map(Some))
    }

    /// How many modules there are.
    #[must_use]
    pub fn module_count(&self) -> usize {
        self.modules.len()
    }

    /// The module record of that number; records are sorted by name.
    ///
    /// # Errors
    ///
    /// If there is no record of that number, or it is damaged.
    pub fn module_at(&self, number: u32) -> Result<Module<'a>, Error> {
        use layout::module as at;
        let record = self.modules.record(number)?;
        let name = self.checked_name(&self.modules, number, record, at::RECORD_CRC)?;
        let code = u16_at(record, at::KIND);
        let kind = ModuleKind::from_code(code)
            .ok_or_else(|| malformed(format!("module {name}: unknown kind {code}")))?;
        let flags = u16_at(record, at::FLAGS);
        Ok(Module {
            name,
            kind,
            is_package: matches!(kind, ModuleKind::Package | ModuleKind::Namespace)
                || flags & layout::FLAG_PACKAGE != 0,
            project: u32_at(record, at::PROJECT),
            file: u32_at(record, at::FILE).checked_sub(1),
            file_name: u32_at(record, at::FILE_NAME),
            code: Payload {
                group: u32_at(record, at::GROUP).checked_sub(1),
                offset: u64_at(record, at::CODE_OFFSET),
                len: u64::from(u32_at(record, at::CODE_LENGTH)),
                crc: u32_at(record, at::CODE_CRC),
            },
        })
    }

    /// All modules, sorted by name.
    pub fn modules(&self) -> impl Iterator<Item = Result<Module<'a>, Error>> + '_ {
        (0..self.modules.len_u32()).map(|number| self.module_at(number))
    }

    /// The modules whose names begin with `prefix`, sorted by name.
    pub fn modules_from<'b>(
        &'b self,
        prefix: &'b str,
    ) -> impl Iterator<Item = Result<Module<'a>, Error>> + 'b {
        (self.lower_bound(&self.modules, prefix)..self.modules.len_u32())
            .map(|number| self.module_at(number))
            .take_while(move |module| !matches!(module, Ok(m) if !m.name.starts_with(prefix)))
    }

    /// A module's marshalled code object, checked. Empty if it has none. One in a group is a copy, and costs decoding the group
    /// if that is not one of the last.
    ///
    /// # Errors
    ///
    /// If its checksum or that of its group does not hold, or the group does not decode.
    pub fn code(
        &self,
        module: &Module<'a>,
        groups: &mut Groups<'a>,
    ) -> Result<Cow<'a, [u8]>, Error> {
        self.content(&module.code, groups, || format!("module {}", module.name))
    }

    /// Where the name of its file stands in a module's code. `None` if the record does not say it.
    ///
    /// # Errors
    ///
    /// If there is no name where the record says.
    pub fn file_name<'c>(
        &self,
        module: &Module<'_>,
        code: &'c [u8],
    ) -> Result<Option<FileName<'c>>, Error> {
        if module.file_name == 0 {
            return Ok(None);
        }
        let found = usize::try_from(module.file_name).ok().and_then(|at| FileName::at(code, at));
        let missing = || {
            malformed(format!(
                "module {}: its code has no file's name where the record says",
                module.name
            ))
        };
        found.map(Some).ok_or_else(missing)
    }

    /// Where a module lies in the application's tree: the path of its file, or what its code says if the source was
    /// left out, which costs what [`code`](Self::code) does where that is in a group. `None` if it has neither.
    ///
    /// # Errors
    ///
    /// If its record or the record of its file is damaged, or its group does not decode.
    pub fn location(
        &self,
        module: &Module<'a>,
        groups: &mut Groups<'a>,
    ) -> Result<Option<Cow<'a, str>>, Error> {
        if let Some(number) = module.file {
            return self.file_at(number).map(|file| Some(file.path.into()));
        }
        let place = || format!("module {}", module.name);
        if module.code.group.is_some() {
            let code = self.grouped(&module.code, groups, place)?;
            return Ok(self.file_name(module, code)?.map(|name| name.text().to_owned().into()));
        }
        let code = self.unchecked(&module.code, place)?;
        Ok(self.file_name(module, code)?.map(|name| name.text().into()))
    }

    /// The file of that path.
    ///
    /// # Errors
    ///
    /// If its record is damaged.
    pub fn file(&self, path: &str) -> Result<Option<File<'a>>, Error> {
        self.find(&self.files, path).map_or(Ok(None), |number| self.file_at(number).map(Some))
    }

    /// The number of the file record of that path.
    ///
    /// # Errors
    ///
    /// If its record is damaged.
    pub fn file_number(&self, path: &str) -> Result<Option<u32>, Error> {
        self.find(&self.files, path)
            .map_or(Ok(None), |number| self.file_at(number).map(|_| Some(number)))
    }

    /// How many files there are.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The file record of that number; records are sorted by path.
    ///
    /// # Errors
    ///
    /// If there is no record of that number, or it is damaged.
    pub fn file_at(&self, number: u32) -> Result<File<'a>, Error> {
        use layout::file as at;
        let record = self.files.record(number)?;
        let path = self.checked_name(&self.files, number, record, at::RECORD_CRC)?;
        let (kind, codec) = (u16_at(record, at::KIND), u16_at(record, at::CODEC));
        let codec = Codec::from_code(codec)
            .ok_or_else(|| malformed(format!("file {path}: unknown codec {codec}")))?;
        let (stored, len) = (u64_at(record, at::STORED_LENGTH), u64_at(record, at::LENGTH));
        // Whoever decodes the bytes makes room for them first.
        let fits = match codec {
            Codec::Stored => len == stored,
            Codec::Zstd => len / layout::MOST_ZSTD_RATIO <= stored,
            Codec::Grouped => true,
        };
        if !fits {
            let what = format!("{stored} stored bytes cannot decode to {len}");
            return Err(malformed(format!("file {path}: {what}")));
        }
        let group = match codec {
            Codec::Stored | Codec::Zstd => None,
            Codec::Grouped => Some(u32::try_from(stored).unwrap_or(u32::MAX)),
        };
        Ok(File {
            path,
            kind: FileKind::from_code(kind)
                .ok_or_else(|| malformed(format!("file {path}: unknown kind {kind}")))?,
            codec,
            len,
            project: u32_at(record, at::PROJECT),
            needs: (u32_at(record, at::NEEDS_FIRST), u32_at(record, at::NEEDS_COUNT)),
            stored: Payload {
                group,
                offset: u64_at(record, at::OFFSET),
                len: if group.is_some() { len } else { stored },
                crc: u32_at(record, at::CRC),
            },
        })
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = Result<File<'a>, Error>> + '_ {
        (0..self.files.len_u32()).map(|number| self.file_at(number))
    }

    /// The number of the first file whose path is not less than `path`, in byte order.
    #[must_use]
    pub fn first_file_from(&self, path: &str) -> u32 {
        self.lower_bound(&self.files, path)
    }

    /// A file's bytes, decoded and checked. Memory is made for as many as the record says.
    ///
    /// # Errors
    ///
    /// If the bytes lie outside of the blob or the file's group, a checksum does not hold, or they do not decode.
    pub fn content_of(
        &self,
        file: &File<'a>,
        groups: &mut Groups<'a>,
    ) -> Result<Cow<'a, [u8]>, Error> {
        let place = || format!("file {}", file.path);
        let stored = self.content(&file.stored, groups, place)?;
        if file.codec != Codec::Zstd {
            return Ok(stored);
        }
        let len = usize::try_from(file.len).unwrap_or(usize::MAX);
        groups::decoded(&stored, len, place).map(Cow::Owned)
    }

    /// A file's bytes as they are stored, checked; not for a file in a group. [`File::codec`] says how to decode them.
    ///
    /// # Errors
    ///
    /// If the bytes lie outside of the blob, or their checksum does not hold.
    pub fn stored(&self, file: &File<'a>) -> Result<&'a [u8], Error> {
        self.payload(&file.stored, || format!("file {}", file.path))
    }

    /// A file's bytes as they are stored, unchecked, for a caller that has read them before.
    ///
    /// # Errors
    ///
    /// If the bytes lie outside of the blob.
    pub fn stored_unchecked(&self, file: &File<'a>) -> Result<&'a [u8], Error> {
        self.unchecked(&file.stored, || format!("file {}", file.path))
    }

    /// A file's bytes as they are stored, in pieces of `size` bytes, so that a large file can be copied without
    /// being in memory twice. The checksum is known after the last piece. If it does not hold, the last item is an
    /// error, and the pieces before must not be used.
    ///
    /// # Errors
    ///
    /// If the bytes lie outside of the blob.
    pub fn stored_pieces(
        &self,
        file: &File<'a>,
        size: usize,
    ) -> Result<impl Iterator<Item = Result<&'a [u8], Error>> + use<'a>, Error> {
        let (bytes, path, crc) = (self.stored_unchecked(file)?, file.path, file.stored.crc);
        let mut hasher = crc32fast::Hasher::new();
        let mut pieces = bytes.chunks(size.max(1));
        let mut ended = false;
        Ok(std::iter::from_fn(move || {
            if let Some(piece) = pieces.next() {
                hasher.update(piece);
                return Some(Ok(piece));
            }
            if std::mem::replace(&mut ended, true) {
                return None;
            }
            let found = hasher.clone().finalize();
            let place = format!("file {path}");
            (found != crc).then_some(Err(Error::Checksum { place, expected: crc, found }))
        }))
    }

    /// The numbers of the files that must be loaded before this one, in their order.
    ///
    /// # Errors
    ///
    /// If the list lies outside of its section.
    pub fn needs(&self, file: &File<'a>) -> Result<impl Iterator<Item = u32> + use<'a>, Error> {
        let (first, count) = (file.needs.0 as usize, file.needs.1 as usize);
        let bytes = first
            .checked_mul(NEED_SIZE)
            .zip(first.checked_add(count).and_then(|end| end.checked_mul(NEED_SIZE)))
            .and_then(|(start, end)| self.needs.get(start..end))
            .ok_or_else(|| malformed(format!("file {}: needs lie outside", file.path)))?;
        Ok(bytes.chunks_exact(NEED_SIZE).map(|number| u32_at(number, 0)))
    }

    /// The order in which a file and all that it needs are to be loaded: groups of file numbers, one group after the
    /// other. Files of one group need each other. The file itself is in the last group. Linear in the needs.
    ///
    /// # Errors
    ///
    /// If a record on the way is damaged.
    pub fn load_order(&self, number: u32) -> Result<Vec<Vec<u32>>, Error> {
        needs::order(number, |number| Ok(self.needs(&self.file_at(number)?)?.collect()))
    }

    /// The project of that number.
    ///
    /// # Errors
    ///
    /// If there is no record of that number, or it is damaged.
    pub fn project(&self, number: u32) -> Result<Project<'a>, Error> {
        use layout::project as at;
        let record = record_at(self.projects, PROJECT_SIZE, number)
            .ok_or_else(|| malformed(format!("project {number}: no such record")))?;
        let string = |offset, length| {
            self.string(u32_at(record, offset), u32_at(record, length))
                .ok_or_else(|| malformed(format!("project {number}: its name lies outside")))
        };
        Ok(Project {
            name: string(at::NAME_OFFSET, at::NAME_LENGTH)?,
            version: string(at::VERSION_OFFSET, at::VERSION_LENGTH)?,
        })
    }

    /// How many projects there are.
    #[must_use]
    pub fn project_count(&self) -> usize {
        self.projects.len() / PROJECT_SIZE
    }

    /// How many bytes a module's code takes in the blob: of a group in proportion, rounded up. 0 where it has none.
    ///
    /// # Errors
    ///
    /// If the record of its group is damaged.
    pub fn code_size(&self, module: &Module<'_>) -> Result<u64, Error> {
        self.size(&module.code)
    }

    /// How many bytes a file takes in the blob: of a group in proportion, rounded up.
    ///
    /// # Errors
    ///
    /// If the record of its group is damaged.
    pub fn stored_size(&self, file: &File<'_>) -> Result<u64, Error> {
        self.size(&file.stored)
    }

    fn size(&self, payload: &Payload) -> Result<u64, Error> {
        let Some(number) = payload.group else { return Ok(payload.len) };
        let group = self.group(number)?;
        let all = payload.len.saturating_mul(group.stored.len);
        Ok(all.div_ceil(u64::from(group.len).max(1)))
    }

    fn group(&self, number: u32) -> Result<Group, Error> {
        use layout::group as at;
        let place = || format!("group {number}");
        let record = record_at(self.groups, GROUP_SIZE, number)
            .ok_or_else(|| malformed(format!("{}: no such record", place())))?;
        check_crc(&record[..at::RECORD_CRC], u32_at(record, at::RECORD_CRC), place)?;
        let (stored, len) = (u32_at(record, at::STORED_LENGTH), u32_at(record, at::LENGTH));
        if len > layout::LARGEST_GROUP {
            let most = layout::LARGEST_GROUP;
            let what = format!("expected a group of at most {most} bytes, got {len}");
            return Err(malformed(format!("{}: {what}", place())));
        }
        if u64::from(len) / layout::MOST_ZSTD_RATIO > u64::from(stored) {
            let what = format!("{stored} stored bytes cannot decode to {len}");
            return Err(malformed(format!("{}: {what}", place())));
        }
        let (offset, crc) = (u64_at(record, at::OFFSET), u32_at(record, at::CRC));
        Ok(Group { stored: Payload { group: None, offset, len: stored.into(), crc }, len })
    }

    /// The decoded bytes of a group.
    fn decoded<'g>(&self, number: u32, groups: &'g mut Groups<'a>) -> Result<&'g [u8], Error> {
        let place = || format!("group {number}");
        let group = self.group(number)?;
        let stored = self.payload(&group.stored, place)?;
        groups.decoded(stored, group.len as usize, place)
    }

    /// The bytes of a payload in a group, unchecked.
    fn grouped<'g>(
        &self,
        payload: &Payload,
        groups: &'g mut Groups<'a>,
        place: impl Fn() -> String,
    ) -> Result<&'g [u8], Error> {
        let number = payload.group.unwrap_or_default();
        let group = self.decoded(number, groups).map_err(|error| error.within(&place()))?;
        let outside = || outside(&place(), payload);
        slice(group, payload.offset, payload.len).ok_or_else(outside)
    }

    /// The bytes of a payload, checked.
    fn content(
        &self,
        payload: &Payload,
        groups: &mut Groups<'a>,
        place: impl Fn() -> String,
    ) -> Result<Cow<'a, [u8]>, Error> {
        if payload.group.is_none() || payload.len == 0 {
            return self.payload(payload, place).map(Cow::Borrowed);
        }
        let bytes = self.grouped(payload, groups, &place)?;
        check_crc(bytes, payload.crc, place).map(|()| bytes.to_owned().into())
    }

    fn check_section(&self, entry: &SectionEntry) -> Result<(), Error> {
        let place = || match entry.section {
            Some(section) => format!("section {}", section.name()),
            None => format!("section {}", entry.code),
        };
        let payload = Payload { group: None, offset: entry.offset, len: entry.len, crc: entry.crc };
        self.payload(&payload, place).map(|_| ())
    }

    fn payload(&self, p: &Payload, place: impl Fn() -> String) -> Result<&'a [u8], Error> {
        if p.len == 0 {
            return Ok(&[]);
        }
        let bytes = self.unchecked(p, &place)?;
        check_crc(bytes, p.crc, place).map(|()| bytes)
    }

    fn unchecked(&self, p: &Payload, place: impl Fn() -> String) -> Result<&'a [u8], Error> {
        // What is in a group has no bytes of its own.
        let found =
            if p.group.is_some() && p.len > 0 { None } else { slice(self.bytes, p.offset, p.len) };
        found.ok_or_else(|| outside(&place(), p))
    }

    fn string(&self, offset: u32, len: u32) -> Option<&'a str> {
        std::str::from_utf8(slice(self.strings, offset.into(), len.into())?).ok()
    }

    /// A record's name, once the checksum over both holds.
    fn checked_name(
        &self,
        table: &Table<'a>,
        number: u32,
        record: &[u8],
        crc_at: usize,
    ) -> Result<&'a str, Error> {
        let place = || format!("{} record {number}", table.what);
        let name = self
            .name_of(record)
            .ok_or_else(|| malformed(format!("{}: {}", place(), self.name_problem(record))))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(name.as_bytes());
        hasher.update(&record[8..crc_at]);
        let (expected, found) = (u32_at(record, crc_at), hasher.finalize());
        if expected == found {
            return Ok(name);
        }
        Err(Error::Checksum { place: place(), expected, found })
    }

    /// Both record kinds begin with their name's offset and length.
    fn name_of(&self, record: &[u8]) -> Option<&'a str> {
        let len = u32_at(record, 4);
        // Records may refer to one text, so without a limit a small blob could name gigabytes.
        (len <= layout::LONGEST_NAME).then(|| self.string(u32_at(record, 0), len))?
    }

    fn name_problem(&self, record: &[u8]) -> String {
        let len = u32_at(record, 4);
        if len > layout::LONGEST_NAME {
            return format!("expected a name of at most {} bytes, got {len}", layout::LONGEST_NAME);
        }
        match slice(self.strings, u32_at(record, 0).into(), len.into()) {
            Some(_) => "its name is not UTF-8".to_owned(),
            None => "its name lies outside".to_owned(),
        }
    }

    fn find(&self, table: &Table<'a>, name: &str) -> Option<u32> {
        self.search(table, name, &mut 0)
    }

    /// Finds a name, and counts the slots that it looks at.
    fn search(&self, table: &Table<'a>, name: &str, looks: &mut usize) -> Option<u32> {
        let slots = table.index.len() / SLOT_SIZE;
        let hash = layout::hash(name.as_bytes());
        let (tag, mask) = ((hash >> 32) as u32, slots.checked_sub(1)?);
        // Truncation keeps the low bits, which are all that the mask lets through.
        #[allow(clippy::cast_possible_truncation)]
        let start = hash as usize;
        // A damaged index may have no empty slot; no search visits a slot twice.
        for step in 0..slots {
            *looks += 1;
            let slot = &table.index[(start.wrapping_add(step) & mask) * SLOT_SIZE..][..SLOT_SIZE];
            let number = u32_at(slot, 4).checked_sub(1)?;
            if u32_at(slot, 0) == tag
                && let Ok(record) = table.record(number)
                && u32_at(record, 4) as usize == name.len()
                && slice(self.strings, u32_at(record, 0).into(), name.len() as u64)
                    == Some(name.as_bytes())
            {
                return Some(number);
            }
        }
        None
    }

    fn lower_bound(&self, table: &Table<'a>, name: &str) -> u32 {
        let (mut low, mut high) = (0, table.len_u32());
        while low < high {
            let middle = low + (high - low) / 2;
            let before = table
                .record(middle)
                .is_ok_and(|record| self.name_of(record).is_some_and(|found| found < name));
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl<'a> Table<'a> {
    fn check_shape(&self) -> Result<(), Error> {
        let slots = self.index.len() / SLOT_SIZE;
        if self.records.len().is_multiple_of(self.size)
            && u32::try_from(self.records.len()).is_ok()
            && self.index.len().is_multiple_of(SLOT_SIZE)
            && slots.is_power_of_two()
        {
            return Ok(());
        }
        Err(malformed(format!(
            "{} table: {} bytes of records and {} of index do not fit the format",
            self.what,
            self.records.len(),
            self.index.len()
        )))
    }

    fn len(&self) -> usize {
        self.records.len() / self.size
    }

    /// [`Table::check_shape`] has seen that it fits.
    fn len_u32(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn record(&self, number: u32) -> Result<&'a [u8], Error> {
        record_at(self.records, self.size, number)
            .ok_or_else(|| malformed(format!("{} record {number}: no such record", self.what)))
    }
}

/// Checks header and section table, and cuts `bytes` to the blob's length.
fn checked_header(bytes: &[u8]) -> Result<&[u8], Error> {
    use layout::header as at;
    let header = bytes.get(..HEADER_SIZE).ok_or(Error::NotABlob)?;
    if !header.starts_with(&layout::MAGIC) {
        return Err(Error::NotABlob);
    }
    let (major, minor) = (u16_at(header, at::MAJOR), u16_at(header, at::MINOR));
    if !(1..=layout::MAJOR).contains(&major) {
        return Err(Error::Version { major, minor });
    }
    check_crc(&header[..at::HEADER_CRC], u32_at(header, at::HEADER_CRC), || "header".to_owned())?;
    let size = u64_at(header, at::SIZE);
    let whole = usize::try_from(size)
        .ok()
        .and_then(|size| bytes.get(..size))
        .ok_or(Error::Truncated { expected: size, found: bytes.len() as u64 })?;
    let sections = u32_at(header, at::SECTION_COUNT);
    if sections > layout::MOST_SECTIONS {
        let most = layout::MOST_SECTIONS;
        return Err(malformed(format!("expected at most {most} sections, got {sections}")));
    }
    let table = (sections as usize)
        .checked_mul(SECTION_SIZE)
        .and_then(|len| whole.get(HEADER_SIZE..)?.get(..len))
        .ok_or_else(|| malformed("section table: lies outside".to_owned()))?;
    check_crc(table, u32_at(header, at::TABLE_CRC), || "section table".to_owned())?;
    Ok(whole)
}

fn section_entries(bytes: &[u8]) -> impl Iterator<Item = SectionEntry> + use<'_> {
    use layout::section as at;
    let count = u32_at(bytes, layout::header::SECTION_COUNT) as usize;
    bytes[HEADER_SIZE..].chunks_exact(SECTION_SIZE).take(count).map(|entry| {
        let code = u32_at(entry, at::KIND);
        SectionEntry {
            section: Section::from_code(code),
            code,
            offset: u64_at(entry, at::OFFSET),
            len: u64_at(entry, at::LENGTH),
            count: u64_at(entry, at::COUNT),
            crc: u32_at(entry, at::CRC),
        }
    })
}

fn find_section(bytes: &[u8], kind: Section) -> Result<&[u8], Error> {
    let entry = section_entries(bytes)
        .find(|entry| entry.section == Some(kind))
        .ok_or(Error::MissingSection(kind.name()))?;
    slice(bytes, entry.offset, entry.len)
        .ok_or_else(|| malformed(format!("section {}: lies outside", kind.name())))
}

fn check_crc(bytes: &[u8], expected: u32, place: impl Fn() -> String) -> Result<(), Error> {
    let found = crc32fast::hash(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum { place: place(), expected, found })
}

fn outside(place: &str, payload: &Payload) -> Error {
    let Payload { len, offset, .. } = payload;
    malformed(format!("{place}: {len} bytes at {offset} lie outside"))
}

fn malformed(what: String) -> Error {
    Error::Malformed(what)
}

fn slice(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(len).ok()?)
}

fn record_at(records: &[u8], size: usize, number: u32) -> Option<&[u8]> {
    records.get((number as usize).checked_mul(size)?..)?.get(..size)
}

// The three below are only called with a record, slot or header of checked length.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
