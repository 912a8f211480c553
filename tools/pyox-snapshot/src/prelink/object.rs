//! One of the two files that are linked: what its headers and its dynamic section say, with all addresses as they are linked.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf::{
    self as constants, Dyn64, DynamicTag, FileHeader64, Machine, PF_W, PF_X, PT_DYNAMIC, PT_LOAD,
    ProgramFlags, ProgramHeader64, ProgramType, Rela64, RelocationType, Sym64,
};
use object::pod;
use object::read::elf::{FileHeader, ProgramHeader};

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
    pub(super) kind: ProgramType,
    pub(super) flags: ProgramFlags,
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
        self.kind == PT_LOAD
    }

    pub(super) fn is_writable(&self) -> bool {
        self.flags.contains(PF_W)
    }

    pub(super) fn is_code(&self) -> bool {
        self.flags.contains(PF_X)
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
    pub(super) record: Sym64<LittleEndian>,
    /// The library and the version that it is wanted of.
    pub(super) version: Option<Version<'a>>,
}

impl Symbol<'_> {
    pub(super) fn value(&self) -> u64 {
        self.record.st_value.get(LittleEndian)
    }

    pub(super) fn is_defined(&self) -> bool {
        self.record.st_shndx.get(LittleEndian) != constants::SHN_UNDEF
    }

    /// Whether others can refer to it.
    pub(super) fn is_exported(&self) -> bool {
        let is_hidden =
            [constants::STV_HIDDEN, constants::STV_INTERNAL].contains(&self.record.st_visibility());
        self.is_defined() && self.record.st_bind() != constants::STB_LOCAL && !is_hidden
    }

    /// Whether its value is an address of the object.
    pub(super) fn is_address(&self) -> bool {
        self.is_defined()
            && self.record.st_shndx.get(LittleEndian) != constants::SHN_ABS
            && self.record.st_type() != constants::STT_TLS
    }
}

/// A relocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relocation {
    pub(super) place: u64,
    pub(super) kind: RelocationType,
    pub(super) symbol: usize,
    pub(super) addend: i64,
}

/// An entry of the dynamic section.
pub(super) type Entry = (DynamicTag, u64);

/// A linked file.
pub(super) struct Object<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) machine: Machine,
    pub(super) segments: Vec<Segment>,
    /// The dynamic section, without its end.
    pub(super) dynamic: Vec<Entry>,
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
                kind: header.p_type(endian),
                flags: header.p_flags(endian),
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
            machine: elf.e_machine(endian),
            segments,
            dynamic: Vec::new(),
            symbols: Vec::new(),
            relocations: Vec::new(),
            relative: Vec::new(),
        };
        let dynamic = object.segment(PT_DYNAMIC)?;
        let entries = object.file(dynamic.offset, dynamic.file_len)?;
        object.dynamic = pod::slice_from_all_bytes::<Dyn64<_>>(entries)
            .ok()?
            .iter()
            .map(|entry| (entry.d_tag.get(endian), entry.d_val.get(endian)))
            .take_while(|entry| entry.0 != constants::DT_NULL)
            .collect();
        object.relocations = object.find_relocations()?;
        object.relative = object.find_relative()?;
        object.symbols = object.find_symbols()?;
        Some(object)
    }

    pub(super) fn segment(&self, kind: ProgramType) -> Option<Segment> {
        self.segments.iter().find(|segment| segment.kind == kind).copied()
    }

    pub(super) fn loaded(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.is_loaded())
    }

    /// The first value of that tag; 0 where there is none.
    pub(super) fn value(&self, tag: DynamicTag) -> u64 {
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

    fn table(&self, start: DynamicTag, len: DynamicTag) -> Option<&'a [u8]> {
        match (self.value(start), self.value(len)) {
            (0, _) | (_, 0) => Some(&[]),
            (address, len) => self.at(address, len),
        }
    }

    fn find_relocations(&self) -> Option<Vec<Relocation>> {
        let tables = [
            (constants::DT_RELA, constants::DT_RELASZ),
            (constants::DT_JMPREL, constants::DT_PLTRELSZ),
        ];
        let mut found = Vec::new();
        for (start, len) in tables {
            let records = pod::slice_from_all_bytes::<Rela64<_>>(self.table(start, len)?).ok()?;
            for record in records {
                found.push(Relocation {
                    place: record.r_offset.get(LittleEndian),
                    kind: record.r_type(LittleEndian, false),
                    symbol: usize::try_from(record.r_sym(LittleEndian, false)).ok()?,
                    addend: record.r_addend.get(LittleEndian),
                });
            }
        }
        Some(found)
    }

    /// The places in a packed table: an address, or the bits of the 63 words behind the last.
    fn find_relative(&self) -> Option<Vec<u64>> {
        let (mut found, mut next) = (Vec::new(), 0_u64);
        for entry in self.table(constants::DT_RELR, constants::DT_RELRSZ)?.chunks_exact(8) {
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
        let len = u64::try_from(count).ok()?.checked_mul(size_of::<Sym64<LittleEndian>>() as u64)?;
        let table = self.at(self.value(constants::DT_SYMTAB), len)?;
        let records = pod::slice_from_all_bytes::<Sym64<LittleEndian>>(table).ok()?;
        let strings = self.table(constants::DT_STRTAB, constants::DT_STRSZ)?;
        let versions = self.versions(strings)?;
        let numbers = match self.value(constants::DT_VERSYM) {
            0 => &[][..],
            address => self.at(address, u64::try_from(count).ok()? * 2)?,
        };
        let symbol = |(number, record): (usize, &Sym64<_>)| {
            let version = numbers
                .get(number * 2..number * 2 + 2)
                .and_then(|bytes| versions.get(&u16::from_le_bytes([bytes[0], bytes[1]])).copied());
            Some(Symbol {
                name: string(strings, record.st_name.get(LittleEndian))?,
                record: *record,
                version,
            })
        };
        records.iter().enumerate().map(symbol).collect()
    }

    /// How many symbols there are, as far as GNU's hash table tells: it has all that are defined, and they come last.
    fn hashed_symbols(&self) -> Option<usize> {
        let table = self.value(constants::DT_GNU_HASH);
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
        let (mut found, mut at) = (HashMap::new(), self.value(constants::DT_VERNEED));
        let mut left = MOST_VERSIONS;
        for _ in 0..self.value(constants::DT_VERNEEDNUM) {
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
    pub(super) fn names(&self, tag: DynamicTag) -> Option<Vec<&'a [u8]>> {
        let strings = self.table(constants::DT_STRTAB, constants::DT_STRSZ)?;
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
