//! One of the two files that are linked: what its headers and its dynamic section say, with all addresses as they are linked.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf::{FileHeader64, PF_W, PF_X, PT_DYNAMIC, PT_LOAD, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::tag;

type Elf = FileHeader64<LittleEndian>;

/// How many libraries and versions of them are read: they have numbers of 16 bits. Records can lead back to themselves.
const MOST_VERSIONS: u32 = 1 << 16;

/// How long a name can be.
const LONGEST_NAME: usize = 1 << 14;

/// What addresses and lengths in an object are less than.
const LARGEST: u64 = 1 << 31;

/// A program header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_len: u64,
    pub(super) len: u64,
    pub(super) alignment: u64,
    /// Where the header stands in the file.
    pub(super) header: usize,
}

impl Segment {
    pub(super) fn is_loaded(&self) -> bool {
        self.kind == PT_LOAD.0
    }

    pub(super) fn is_writable(&self) -> bool {
        self.flags & PF_W.0 != 0
    }

    pub(super) fn is_code(&self) -> bool {
        self.flags & PF_X.0 != 0
    }

    pub(super) fn end(&self) -> u64 {
        self.address + self.len
    }
}

/// A library, and the name of a version of it.
pub(super) type Version<'a> = (&'a [u8], &'a [u8]);

/// A dynamic symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a [u8],
    pub(super) info: u8,
    pub(super) other: u8,
    pub(super) section: u16,
    pub(super) value: u64,
    pub(super) size: u64,
    /// The library and the version that it is wanted of.
    pub(super) version: Option<Version<'a>>,
}

impl Symbol<'_> {
    pub(super) fn kind(&self) -> u8 {
        self.info & 0xf
    }

    pub(super) fn is_defined(&self) -> bool {
        self.section != 0
    }

    /// Whether others can refer to it.
    pub(super) fn is_exported(&self) -> bool {
        self.is_defined() && self.info >> 4 != 0 && self.other & 3 != 2 && self.other & 3 != 1
    }

    /// Whether its value is an address of the object.
    pub(super) fn is_address(&self) -> bool {
        const ABSOLUTE: u16 = 0xfff1;
        const THREAD_LOCAL: u8 = 6;
        self.is_defined() && self.section != ABSOLUTE && self.kind() != THREAD_LOCAL
    }
}

/// A relocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relocation {
    pub(super) place: u64,
    pub(super) kind: u32,
    pub(super) symbol: usize,
    pub(super) addend: i64,
}

/// A linked file.
pub(super) struct Object<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) machine: u16,
    pub(super) segments: Vec<Segment>,
    /// The dynamic section, without its end.
    pub(super) dynamic: Vec<(u64, u64)>,
    pub(super) symbols: Vec<Symbol<'a>>,
    pub(super) relocations: Vec<Relocation>,
    /// Words to which the object's own address is added.
    pub(super) relative: Vec<u64>,
}

impl<'a> Object<'a> {
    /// None where headers or tables do not fit the bytes.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let endian = LittleEndian;
        let elf = Elf::parse(bytes).ok()?;
        let first = usize::try_from(elf.e_phoff.get(endian)).ok()?;
        let headers = elf.program_headers(endian, bytes).ok()?;
        let segments: Vec<_> = headers
            .iter()
            .enumerate()
            .map(|(number, header)| Segment {
                kind: header.p_type(endian).0,
                flags: header.p_flags(endian).0,
                offset: header.p_offset(endian),
                address: header.p_vaddr(endian),
                file_len: header.p_filesz(endian),
                len: header.p_memsz(endian),
                alignment: header.p_align(endian),
                header: first + number * size_of::<ProgramHeader64<LittleEndian>>(),
            })
            .collect();
        // No sum of them overflows then.
        let is_sane = |segment: &Segment| {
            segment.address < LARGEST
                && segment.file_len <= segment.len
                && segment.len < LARGEST
                && segment.alignment < LARGEST
        };
        if !segments.iter().all(is_sane) {
            return None;
        }
        let mut object = Self {
            bytes,
            machine: elf.e_machine(endian).0,
            segments,
            dynamic: Vec::new(),
            symbols: Vec::new(),
            relocations: Vec::new(),
            relative: Vec::new(),
        };
        let dynamic = object.segment(PT_DYNAMIC.0)?;
        for entry in object.file(dynamic.offset, dynamic.file_len)?.chunks_exact(16) {
            match (long(entry, 0)?, long(entry, 8)?) {
                (0, _) => break,
                entry => object.dynamic.push(entry),
            }
        }
        object.relocations = object.find_relocations()?;
        object.relative = object.find_relative()?;
        object.symbols = object.find_symbols()?;
        Some(object)
    }

    pub(super) fn segment(&self, kind: u32) -> Option<Segment> {
        self.segments.iter().find(|segment| segment.kind == kind).copied()
    }

    pub(super) fn loaded(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.is_loaded())
    }

    /// The first value of that tag; 0 where there is none.
    pub(super) fn value(&self, tag: u64) -> u64 {
        self.dynamic.iter().find(|entry| entry.0 == tag).map_or(0, |entry| entry.1)
    }

    fn file(&self, offset: u64, len: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    /// Where an address is in the file.
    pub(super) fn offset(&self, address: u64) -> Option<usize> {
        let holds = |segment: &&Segment| {
            (segment.address..segment.address + segment.file_len).contains(&address)
        };
        let segment = self.loaded().find(holds)?;
        usize::try_from(segment.offset.checked_add(address - segment.address)?).ok()
    }

    pub(super) fn at(&self, address: u64, len: u64) -> Option<&'a [u8]> {
        self.file(self.offset(address)? as u64, len)
    }

    fn table(&self, start: u64, len: u64) -> Option<&'a [u8]> {
        match (self.value(start), self.value(len)) {
            (0, _) | (_, 0) => Some(&[]),
            (address, len) => self.at(address, len),
        }
    }

    fn find_relocations(&self) -> Option<Vec<Relocation>> {
        let tables = [(tag::RELA, tag::RELASZ), (tag::JMPREL, tag::PLTRELSZ)];
        let mut found = Vec::new();
        for (start, len) in tables {
            for record in self.table(start, len)?.chunks_exact(24) {
                found.push(Relocation {
                    place: long(record, 0)?,
                    kind: word(record, 8)?,
                    symbol: usize::try_from(word(record, 12)?).ok()?,
                    addend: long(record, 16)?.cast_signed(),
                });
            }
        }
        Some(found)
    }

    /// The places in a packed table: an address, or the bits of the 63 words behind the last.
    fn find_relative(&self) -> Option<Vec<u64>> {
        let (mut found, mut next) = (Vec::new(), 0_u64);
        for entry in self.table(tag::RELR, tag::RELRSZ)?.chunks_exact(8) {
            let entry = long(entry, 0)?;
            if entry & 1 == 0 {
                found.push(entry);
                next = entry.checked_add(8)?;
            } else {
                let set = (0..63).filter(|bit| entry >> (bit + 1) & 1 != 0);
                found.extend(set.map(|bit| next.saturating_add(bit * 8)));
                next = next.checked_add(63 * 8)?;
            }
        }
        Some(found)
    }

    fn find_symbols(&self) -> Option<Vec<Symbol<'a>>> {
        let used = self.relocations.iter().map(|relocation| relocation.symbol).max();
        let count = self.hashed_symbols()?.max(used.map_or(0, |last| last + 1));
        let table =
            self.at(self.value(tag::SYMTAB), u64::try_from(count).ok()?.checked_mul(24)?)?;
        let strings = self.table(tag::STRTAB, tag::STRSZ)?;
        let versions = self.versions(strings)?;
        let numbers = match self.value(tag::VERSYM) {
            0 => &[][..],
            address => self.at(address, u64::try_from(count).ok()? * 2)?,
        };
        let symbol = |number: usize| {
            let record = &table[number * 24..][..24];
            let version = numbers
                .get(number * 2..number * 2 + 2)
                .and_then(|bytes| versions.get(&u16::from_le_bytes([bytes[0], bytes[1]])).copied());
            Some(Symbol {
                name: string(strings, word(record, 0)?)?,
                info: record[4],
                other: record[5],
                section: u16::from_le_bytes([record[6], record[7]]),
                value: long(record, 8)?,
                size: long(record, 16)?,
                version,
            })
        };
        (0..count).map(symbol).collect()
    }

    /// How many symbols there are, as far as GNU's hash table tells: it has all that are defined, and they come last.
    fn hashed_symbols(&self) -> Option<usize> {
        let table = self.value(tag::GNU_HASH);
        let head = self.at(table, 16)?;
        let [buckets, first, filter] = [word(head, 0)?, word(head, 4)?, word(head, 8)?];
        let buckets_at = table.checked_add(16)?.checked_add(u64::from(filter) * 8)?;
        let heads = self.at(buckets_at, u64::from(buckets) * 4)?;
        let mut last = heads.chunks_exact(4).filter_map(|head| word(head, 0)).max().unwrap_or(0);
        if last < first {
            return usize::try_from(first).ok();
        }
        let chains = buckets_at + u64::from(buckets) * 4;
        // The last of a chain has its lowest bit set.
        while word(self.at(chains + u64::from(last - first) * 4, 4)?, 0)? & 1 == 0 {
            last = last.checked_add(1)?;
        }
        usize::try_from(last + 1).ok()
    }

    /// The library and the version that each number stands for.
    fn versions(&self, strings: &'a [u8]) -> Option<HashMap<u16, Version<'a>>> {
        let (mut found, mut at) = (HashMap::new(), self.value(tag::VERNEED));
        let mut left = MOST_VERSIONS;
        for _ in 0..self.value(tag::VERNEEDNUM) {
            left = left.checked_sub(1)?;
            let need = self.at(at, 16)?;
            let library = string(strings, word(need, 4)?)?;
            let mut version_at = at.checked_add(u64::from(word(need, 8)?))?;
            for _ in 0..u16::from_le_bytes([need[2], need[3]]) {
                left = left.checked_sub(1)?;
                let version = self.at(version_at, 16)?;
                let number = u16::from_le_bytes([version[6], version[7]]);
                found.insert(number, (library, string(strings, word(version, 8)?)?));
                version_at = version_at.checked_add(u64::from(word(version, 12)?))?;
            }
            at = at.checked_add(u64::from(word(need, 12)?))?;
        }
        Some(found)
    }

    /// The names of that tag, such as those of the libraries that it needs.
    pub(super) fn names(&self, tag: u64) -> Option<Vec<&'a [u8]>> {
        let strings = self.table(tag::STRTAB, tag::STRSZ)?;
        let entries = self.dynamic.iter().filter(|entry| entry.0 == tag);
        entries.map(|entry| string(strings, u32::try_from(entry.1).ok()?)).collect()
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn string(strings: &[u8], at: u32) -> Option<&[u8]> {
    let text = strings.get(usize::try_from(at).ok()?..)?;
    let text = &text[..text.len().min(LONGEST_NAME)];
    text.get(..text.iter().position(|byte| *byte == 0)?)
}
