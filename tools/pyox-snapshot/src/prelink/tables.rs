//! The tables of the linked executable for the dynamic loader: symbols and their versions, and relocations.

use std::collections::BTreeMap;

use object::LittleEndian;
use object::elf::{Rela64, gnu_hash, hash as sysv_hash};
use object::endian::{I64, U64};
use object::pod;

use super::object::{Relocation, Symbol, Version};

/// Tables that the executable's first segment of libpython begins with, each in the section whose place it takes.
#[derive(Default)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    /// Each section, where it begins, and its length.
    pub(super) sections: Vec<(&'static str, u64, u64)>,
}

impl Head {
    /// Adds a table, at a multiple of what any of them is aligned to.
    pub(super) fn add(&mut self, section: &'static str, bytes: &[u8]) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        self.sections.push((section, self.bytes.len() as u64, bytes.len() as u64));
        self.bytes.extend_from_slice(bytes);
    }

    /// Where a table is, if it is there, and how long.
    pub(super) fn find(&self, section: &str) -> Option<(u64, u64)> {
        let found = self.sections.iter().find(|table| table.0 == section)?;
        Some((found.1, found.2))
    }
}

/// What tables begin at multiples of.
pub(super) const ALIGNMENT: usize = 64;

/// A table of strings, each once.
pub(super) struct Strings {
    bytes: Vec<u8>,
    known: BTreeMap<Vec<u8>, u32>,
}

impl Strings {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0], known: BTreeMap::new() }
    }

    /// Where a string stands.
    #[allow(clippy::cast_possible_truncation)] // They come from two files that have less than that.
    pub(super) fn add(&mut self, string: &[u8]) -> u32 {
        *self.known.entry(string.to_vec()).or_insert_with(|| {
            let at = self.bytes.len() as u32;
            self.bytes.extend_from_slice(string);
            self.bytes.push(0);
            at
        })
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Symbols in the order of the loader's hash table, and the tables that go with them.
pub(super) struct Symbols {
    pub(super) records: Vec<u8>,
    pub(super) hashes: Vec<u8>,
    pub(super) versions: Vec<u8>,
    pub(super) needs: Vec<u8>,
    /// How many libraries versions are wanted of.
    pub(super) needs_count: u64,
    /// The new number of each symbol that was given.
    pub(super) numbers: Vec<u32>,
}

impl Symbols {
    /// Of symbols without the empty first one.
    #[allow(clippy::cast_possible_truncation)] // As above.
    pub(super) fn new(given: &[Symbol<'_>], strings: &mut Strings) -> Self {
        let defined = given.iter().filter(|symbol| symbol.is_defined()).count();
        let buckets = (defined / 4).max(1) as u32;
        let mut order: Vec<usize> = (0..given.len()).collect();
        let bucket = |symbol: &Symbol<'_>| gnu_hash(symbol.name) % buckets;
        order.sort_by_key(|&number| {
            let symbol = &given[number];
            (symbol.is_defined(), if symbol.is_defined() { bucket(symbol) } else { 0 }, number)
        });
        let mut numbers = vec![0; given.len()];
        for (place, &number) in order.iter().enumerate() {
            numbers[number] = place as u32 + 1;
        }
        let ordered = || order.iter().map(|&number| &given[number]);
        let (needs, needs_count, known) = needs(given, strings);
        let (mut records, mut versions) = (vec![0; 24], vec![0; 2]);
        for symbol in ordered() {
            let mut record = symbol.record;
            record.st_name.set(LittleEndian, strings.add(symbol.name));
            records.extend(pod::bytes_of(&record));
            let version = symbol.version.filter(|_| !symbol.is_defined());
            let number = version.and_then(|version| known.get(&version).copied()).unwrap_or(1);
            versions.extend(number.to_le_bytes());
        }
        let first = (given.len() - defined + 1) as u32;
        let defined: Vec<_> = ordered().filter(|symbol| symbol.is_defined()).collect();
        let hashes = hash_table(&defined, buckets, first);
        Self { records, hashes, versions, needs, needs_count, numbers }
    }
}

/// GNU's hash table: a filter of one bit in two, the first symbol of each bucket, and the hashes, of which the last of a bucket's is
/// odd.
#[allow(clippy::cast_possible_truncation)] // As above.
fn hash_table(defined: &[&Symbol<'_>], buckets: u32, first: u32) -> Vec<u8> {
    const SHIFT: u32 = 6;
    let words = (defined.len() / 8).next_power_of_two();
    let mut filter = vec![0_u64; words];
    let mut heads = vec![0_u32; buckets as usize];
    let mut chain = Vec::with_capacity(defined.len());
    for (place, symbol) in defined.iter().enumerate() {
        let hash = gnu_hash(symbol.name);
        let word = &mut filter[(hash as usize / 64) % words];
        *word |= 1 << (hash % 64) | 1 << ((hash >> SHIFT) % 64);
        let bucket = hash % buckets;
        let head = &mut heads[bucket as usize];
        if *head == 0 {
            *head = first + place as u32;
        }
        let is_last =
            defined.get(place + 1).is_none_or(|next| gnu_hash(next.name) % buckets != bucket);
        chain.push(hash & !1 | u32::from(is_last));
    }
    let mut table = Vec::new();
    for word in [buckets, first, words as u32, SHIFT] {
        table.extend(word.to_le_bytes());
    }
    table.extend(filter.into_iter().flat_map(u64::to_le_bytes));
    table.extend(heads.into_iter().chain(chain).flat_map(u32::to_le_bytes));
    table
}

/// The versions that are wanted of libraries: their table, how many libraries there are, and the number of each version.
#[allow(clippy::cast_possible_truncation)] // As above.
fn needs<'a>(
    symbols: &[Symbol<'a>],
    strings: &mut Strings,
) -> (Vec<u8>, u64, BTreeMap<Version<'a>, u16>) {
    /// Numbers 0 and 1 are those of symbols without a version.
    const FIRST: u16 = 2;
    let mut libraries = BTreeMap::<&[u8], Vec<&[u8]>>::new();
    for (library, version) in symbols.iter().filter_map(|symbol| symbol.version) {
        let versions = libraries.entry(library).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    let (mut table, mut numbers) = (Vec::new(), BTreeMap::new());
    let count = libraries.len();
    for (place, (library, versions)) in libraries.into_iter().enumerate() {
        let is_last = place + 1 == count;
        table.extend(1_u16.to_le_bytes());
        table.extend((versions.len() as u16).to_le_bytes());
        let next = if is_last { 0 } else { 16 + 16 * versions.len() as u32 };
        for word in [strings.add(library), 16, next] {
            table.extend(word.to_le_bytes());
        }
        for (place, version) in versions.iter().enumerate() {
            let number = FIRST + numbers.len() as u16;
            numbers.insert((library, *version), number);
            table.extend(sysv_hash(version).to_le_bytes());
            table.extend([0, 0]);
            table.extend(number.to_le_bytes());
            let next = if place + 1 == versions.len() { 0 } else { 16_u32 };
            for word in [strings.add(version), next] {
                table.extend(word.to_le_bytes());
            }
        }
    }
    (table, count as u64, numbers)
}

/// A table of relocations.
#[allow(clippy::cast_possible_truncation)] // As above.
pub(super) fn relocations(all: &[Relocation]) -> Vec<u8> {
    let record = |relocation: &Relocation| Rela64 {
        r_offset: U64::new(LittleEndian, relocation.place),
        r_info: Rela64::r_info(LittleEndian, false, relocation.symbol as u32, relocation.kind),
        r_addend: I64::new(LittleEndian, relocation.addend),
    };
    pod::bytes_of_slice(&all.iter().map(record).collect::<Vec<_>>()).to_vec()
}

/// The indices of tables for unwinding of several objects, each with its address, as one at `to`. It is as long as they are
/// together, but for their heads. None if one has a form that GNU ld does not make.
pub(super) fn unwinding(objects: &[(&[u8], u64)], to: u64) -> Option<Vec<u8>> {
    /// Version 1; the table's address and addresses in it are distances of 32 bits, and the count has 32 bits.
    const HEAD: [u8; 4] = [1, 0x1b, 3, 0x3b];
    let mut entries = Vec::new();
    let mut tables = None;
    let distance = |from: u64, to: u64| i32::try_from(to.cast_signed() - from.cast_signed()).ok();
    for (index, address) in objects {
        let signed = |at: usize| index.get(at..)?.first_chunk().map(|b| i32::from_le_bytes(*b));
        if index.get(..4)? != HEAD {
            return None;
        }
        tables.get_or_insert((address + 4).checked_add_signed(signed(4)?.into())?);
        for number in 0..usize::try_from(signed(8)?).ok()? {
            let moved = |at: usize| {
                distance(to, address.checked_add_signed(signed(12 + number * 8 + at)?.into())?)
            };
            entries.push((moved(0)?, moved(4)?));
        }
    }
    entries.sort_unstable();
    let mut index = HEAD.to_vec();
    index.extend(distance(to + 4, tables?)?.to_le_bytes());
    index.extend(u32::try_from(entries.len()).ok()?.to_le_bytes());
    for (start, table) in entries {
        index.extend(start.to_le_bytes());
        index.extend(table.to_le_bytes());
    }
    Some(index)
}
