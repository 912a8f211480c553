//! The executable that comes of the files: the runner's bytes with other headers, and behind them what is libpython's and the
//! libraries'.

use std::collections::{BTreeMap, HashSet};

use object::elf::{
    self as constants, DynamicTag, ET_EXEC, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_STACK, PT_TLS,
};
use pyox_blob::snapshot::{
    DATA_SECTION, Header, IMAGE_ADDRESS, LIBRARY_SECTIONS, PYTHON_DATA_SECTION, PYTHON_SECTIONS,
};

use super::object::{Entry, Segment, long};
use super::tables::{self, Head, Strings, Symbols};
use super::{Link, PAGE, Side};

/// Where a segment or a section lies.
#[derive(Clone, Copy)]
struct Place {
    address: u64,
    offset: u64,
    len: u64,
    /// What is zeroed behind it.
    zeroed: u64,
}

/// What a segment holds.
enum Content {
    New(Vec<u8>),
    /// Pages of the blob.
    There {
        offset: u64,
        len: u64,
    },
}

impl<'a> Link<'a> {
    /// The file. None where something does not fit.
    pub(super) fn write(mut self) -> Option<Vec<u8>> {
        let head = self.head()?;
        let own = self.sections.content(&self.bytes, DATA_SECTION)?.to_vec();
        let header = Header {
            python: self.python().facts()?,
            libraries: self.libraries_facts(&head)?,
            ..Header::read(&own)?
        };
        let mut file = std::mem::take(&mut self.bytes);
        let mut append = |address: u64, bytes: &[u8], zeroed: u64| {
            file.resize(file.len().next_multiple_of(4096), 0);
            let place =
                Place { address, offset: file.len() as u64, len: bytes.len() as u64, zeroed };
            file.extend_from_slice(bytes);
            place
        };
        let mut places = BTreeMap::new();
        for (name, address, content) in self.constants(&head)? {
            let place = match content {
                Content::New(bytes) => append(address, &bytes, 0),
                Content::There { offset, len } => Place { address, offset, len, zeroed: 0 },
            };
            places.insert(name, place);
        }
        for ([constants, data], library) in LIBRARY_SECTIONS.into_iter().zip(self.needed()) {
            places.insert(constants, append(library.start(), &library.constants()?, 0));
            places.insert(data, append(library.data.address, &library.data.bytes, 0));
        }
        let zeroed = self.segment_of(DATA_SECTION).map(|segment| segment.len - segment.file_len)?;
        // One right behind the other, as an image has them.
        let data = &self.python().data;
        places.insert(PYTHON_DATA_SECTION, append(data.address, &data.bytes, 0));
        let own = [&header.to_bytes(), &own[Header::LEN..]].concat();
        places.insert(DATA_SECTION, append(IMAGE_ADDRESS, &own, zeroed));
        self.add_tables(&mut places, &head)?;
        for segment in &self.runner.segments {
            self.write_segment(&mut file, segment, &places)?;
        }
        for section in self.sections.0.iter().filter(|section| section.is_loaded) {
            let name = std::str::from_utf8(&section.name).unwrap_or_default();
            let moved = Place {
                address: self.of_runner(section.address),
                offset: section.offset,
                len: section.len,
                zeroed: 0,
            };
            // A segment of the runner's that nobody has taken is not loaded.
            let spare = Place { address: IMAGE_ADDRESS, len: 0, ..moved };
            let other = if spare_sections().any(|other| other == name) { spare } else { moved };
            let mut place = places.get(name).copied().unwrap_or(other);
            if name == PYTHON_SECTIONS[0] {
                // The tables before it have sections of their own.
                let skipped = (head.bytes.len() as u64).min(place.len);
                place.address += skipped;
                place.offset += skipped;
                place.len -= skipped;
            }
            for (at, value) in [(16, place.address), (24, place.offset), (32, place.len)] {
                put(&mut file, section.header + at, value)?;
            }
        }
        // `e_type` and `e_entry`.
        file.get_mut(16..18)?.copy_from_slice(&ET_EXEC.0.to_le_bytes());
        let entry = self.of_runner(long(&file, 24)?);
        put(&mut file, 24, entry)?;
        Some(file)
    }

    /// The tables for the loader, and the dynamic section that leads there.
    fn head(&mut self) -> Option<Head> {
        let mut strings = Strings::new();
        let table = Symbols::new(&self.symbols, &mut strings);
        for relocation in &mut self.left {
            if let Some(number) = relocation.symbol.checked_sub(1) {
                relocation.symbol = usize::try_from(table.numbers[number]).ok()?;
            }
        }
        let names = self.names(&mut strings)?;
        let mut head = Head::default();
        head.add(".gnu.hash", &table.hashes);
        head.add(".dynsym", &table.records);
        head.add(".dynstr", &strings.into_bytes());
        head.add(".gnu.version", &table.versions);
        head.add(".gnu.version_r", &table.needs);
        head.add(".rela.dyn", &tables::relocations(&self.left));
        head.add(".rela.plt", &[]);
        if let Some(template) = self.thread_template() {
            head.add(".tdata", &template);
        }
        // Room for the index, whose content depends on where it lies.
        head.add(LIBRARIES, &self.libraries_table()?);
        let indices = self.indices()?;
        head.add(".eh_frame_hdr", &vec![0; indices.iter().map(|(index, _)| index.len()).sum()]);
        head.bytes.resize(head.bytes.len().next_multiple_of(4096), 0);
        let start = self.head_address(&head)?;
        let (at, _) = head.find(".eh_frame_hdr")?;
        let index = tables::unwinding(&indices, start + at)?;
        let at = usize::try_from(at).ok()?;
        head.bytes[at..at + index.len()].copy_from_slice(&index);
        let place = |section| head.find(section).map(|(at, len)| (start + at, len));
        let (strings, relocations) = (place(".dynstr")?, place(".rela.dyn")?);
        let dynamic = [
            (constants::DT_GNU_HASH, place(".gnu.hash")?.0),
            (constants::DT_STRTAB, strings.0),
            (constants::DT_STRSZ, strings.1),
            (constants::DT_SYMTAB, place(".dynsym")?.0),
            (constants::DT_SYMENT, 24),
            (constants::DT_RELA, relocations.0),
            (constants::DT_RELASZ, relocations.1),
            (constants::DT_RELAENT, 24),
            (constants::DT_VERSYM, place(".gnu.version")?.0),
            (constants::DT_VERNEED, place(".gnu.version_r")?.0),
            (constants::DT_VERNEEDNUM, table.needs_count),
        ];
        self.write_dynamic(&names, &dynamic)?;
        // How many libraries there are stands in the section's header too, as `sh_info`.
        let info = self.sections.named(".gnu.version_r")?.header + 44;
        let count = u32::try_from(table.needs_count).ok()?;
        self.bytes.get_mut(info..info + 4)?.copy_from_slice(&count.to_le_bytes());
        Some(head)
    }

    /// Where the tables begin: right before libpython.
    fn head_address(&self, head: &Head) -> Option<u64> {
        let start = self.python().start().checked_sub(head.bytes.len() as u64)?;
        self.needed().iter().all(|library| library.data.end() <= start).then_some(start)
    }

    /// The segments for what is not written to, each with its section and its address. A first one without code follows the tables.
    fn constants(&self, head: &Head) -> Option<Vec<(&'static str, u64, Content)>> {
        let [first_section, code_section, rest_section, _, late_section] = PYTHON_SECTIONS;
        let mut first = head.bytes.clone();
        let mut rest = Vec::new();
        let mut sections = [code_section, rest_section].into_iter();
        let python = self.python();
        let constants = python.object.loaded().filter(|segment| !segment.is_writable());
        for (number, segment) in constants.enumerate() {
            let is_late = python.base + segment.address >= python.data.end();
            // From the beginning of its first page.
            let before = segment.address % PAGE;
            let content = python.object.at(segment.address, segment.file_len)?;
            if number == 0 && !segment.is_code() {
                first.resize(first.len() + usize::try_from(before).ok()?, 0);
                first.extend(content);
                continue;
            }
            let there = python.at.filter(|_| segment.offset % PAGE == before);
            let content = if let Some(start) = there {
                let offset = start + segment.offset - before;
                Content::There { offset, len: before + segment.file_len }
            } else {
                let mut bytes = vec![0; usize::try_from(before).ok()?];
                bytes.extend(content);
                Content::New(bytes)
            };
            let section = if is_late { late_section } else { sections.next()? };
            rest.push((section, python.base + segment.address - before, content));
        }
        let mut all = vec![(first_section, self.head_address(head)?, Content::New(first))];
        all.extend(rest);
        Some(all)
    }

    /// The runner's segment that begins with a section.
    fn segment_of(&self, section: &str) -> Option<&Segment> {
        let address = self.sections.named(section)?.address;
        self.runner.loaded().find(|segment| segment.address == address)
    }

    /// Adds the places of the tables.
    fn add_tables(&self, places: &mut BTreeMap<&str, Place>, head: &Head) -> Option<()> {
        let start = *places.get(PYTHON_SECTIONS[0])?;
        for &(name, at, len) in &head.sections {
            let (address, offset) = (start.address + at, start.offset + at);
            places.insert(name, Place { address, offset, len, zeroed: 0 });
        }
        if let Some(segment) = self.thread_local() {
            let template = places.get_mut(".tdata")?;
            template.zeroed = segment.len - template.len;
            let (address, offset) =
                (template.address + template.len, template.offset + template.len);
            let place = Place { address, offset, len: template.zeroed, zeroed: 0 };
            places.insert(".tbss", place);
        }
        Some(())
    }

    /// Writes a program header.
    fn write_segment(
        &self,
        file: &mut [u8],
        segment: &Segment,
        places: &BTreeMap<&str, Place>,
    ) -> Option<()> {
        let taken = spare_sections()
            .chain([DATA_SECTION])
            .find(|name| self.segment_of(name).is_some_and(|other| other.header == segment.header));
        let name = match segment.kind {
            PT_GNU_STACK => return Some(()),
            PT_TLS => Some(".tdata"),
            PT_GNU_EH_FRAME => Some(".eh_frame_hdr"),
            _ => taken,
        };
        let place = name.and_then(|name| places.get(name)).copied();
        if taken.is_some() && place.is_none() {
            // Nothing is there: `PT_NULL`.
            file.get_mut(segment.header..segment.header + 4)?.fill(0);
            return Some(());
        }
        let place = place.unwrap_or(Place {
            address: self.of_runner(segment.address),
            offset: segment.offset,
            len: segment.file_len,
            zeroed: segment.len - segment.file_len,
        });
        let Place { address, offset, len, zeroed } = place;
        let in_memory = len + zeroed;
        for (at, value) in [(8, offset), (16, address), (24, address), (32, len), (40, in_memory)] {
            put(file, segment.header + at, value)?;
        }
        if let Some(merged) = self.thread_local().filter(|_| segment.kind == PT_TLS) {
            put(file, segment.header + 48, merged.alignment)?;
        }
        Some(())
    }

    /// The entries of the dynamic section that are names: what is needed, and libpython's own, by which other libraries find it.
    fn names(&self, strings: &mut Strings) -> Option<Vec<Entry>> {
        let mut needed = self.runner.names(constants::DT_NEEDED)?;
        let mut seen = HashSet::new();
        for library in &self.libraries {
            needed.extend(library.object.names(constants::DT_NEEDED)?);
            // It is here.
            seen.extend(library.object.names(constants::DT_SONAME)?);
        }
        // The loader itself is searched last.
        needed.sort_by_key(|name| name.starts_with(b"ld-"));
        needed.retain(|name| seen.insert(*name));
        let needed = needed.into_iter().map(|name| (constants::DT_NEEDED, name));
        let own = self
            .python()
            .object
            .names(constants::DT_SONAME)?
            .into_iter()
            .map(|name| (constants::DT_SONAME, name));
        Some(needed.chain(own).map(|(tag, name)| (tag, strings.add(name).into())).collect())
    }

    /// The segment of thread-local data without its place, where a library has some. The runner's code knows how far its own lies before
    /// the end, so the others' come first.
    fn thread_local(&self) -> Option<Segment> {
        let own = self.runner.segment(PT_TLS)?;
        let others = self.libraries.iter().filter_map(|library| {
            let segment = library.object.segment(PT_TLS)?;
            Some((library.threads + segment.len, segment.alignment))
        });
        let (len, alignment) = others.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))?;
        let alignment = own.alignment.max(alignment).max(1);
        let own_len = own.len.next_multiple_of(own.alignment.max(1));
        Some(Segment { len: (len + own_len).next_multiple_of(alignment), alignment, ..own })
    }

    /// What thread-local data begins with. Addresses in it are bound already.
    fn thread_template(&self) -> Option<Vec<u8>> {
        let (own, all) = (self.runner.segment(PT_TLS)?, self.thread_local()?);
        let mut bytes = Vec::new();
        for library in &self.libraries {
            let Some(segment) = library.object.segment(PT_TLS) else { continue };
            bytes.resize(usize::try_from(library.threads).ok()?, 0);
            bytes.extend(library.data.at(library.base + segment.address, segment.file_len)?);
        }
        let own_len = own.len.next_multiple_of(own.alignment.max(1));
        bytes.resize(usize::try_from(all.len - own_len).ok()?, 0);
        let start = self.runner.offset(own.address)?;
        bytes.extend(self.bytes.get(start..start + usize::try_from(own.file_len).ok()?)?);
        Some(bytes)
    }

    /// The indices for unwinding, each with its address in the end.
    fn indices(&self) -> Option<Vec<(&'a [u8], u64)>> {
        let mut indices = Vec::new();
        for side in [Side::Runner].into_iter().chain((0..self.libraries.len()).map(Side::Library)) {
            let object = self.object(side);
            if let Some(segment) = object.segment(PT_GNU_EH_FRAME) {
                let bytes = object.at(segment.address, segment.file_len)?;
                indices.push((bytes, self.base(side, segment.address)));
            }
        }
        Some(indices)
    }

    /// Writes the dynamic section, where the runner has it.
    fn write_dynamic(&mut self, names: &[Entry], tables: &[Entry]) -> Option<()> {
        /// What the new tables replace, and what belongs to late binding.
        const GONE: [DynamicTag; 6] = [
            constants::DT_NEEDED,
            constants::DT_PLTGOT,
            constants::DT_PLTREL,
            constants::DT_PLTRELSZ,
            constants::DT_JMPREL,
            constants::DT_RELACOUNT,
        ];
        let is_kept = |entry: &&Entry| {
            !GONE.contains(&entry.0) && tables.iter().all(|table| table.0 != entry.0)
        };
        let moved = |&(tag, value): &Entry| match tag {
            constants::DT_INIT_ARRAY | constants::DT_INIT => (tag, self.of_runner(value)),
            constants::DT_FLAGS_1 => (tag, value & !constants::DF_1_PIE.0),
            _ => (tag, value),
        };
        let kept = self.runner.dynamic.iter().filter(is_kept).map(moved);
        let mut bytes: Vec<u8> = names
            .iter()
            .copied()
            .chain(kept)
            .chain(tables.iter().copied())
            .flat_map(|(DynamicTag(tag), value)| [tag.cast_unsigned(), value])
            .flat_map(u64::to_le_bytes)
            .collect();
        let segment = self.runner.segment(PT_DYNAMIC)?;
        let (start, len) =
            (usize::try_from(segment.offset).ok()?, usize::try_from(segment.file_len).ok()?);
        // An empty entry is its end.
        if bytes.len() + 16 > len {
            return None;
        }
        bytes.resize(len, 0);
        self.bytes.get_mut(start..start + len)?.copy_from_slice(&bytes);
        Some(())
    }

    /// What the snapshot's header says of the libraries that libpython needs.
    fn libraries_facts(&self, head: &Head) -> Option<[u32; 2]> {
        let count = u32::try_from(self.needed().len()).ok()?;
        let (at, _) = head.find(LIBRARIES)?;
        let table = u32::try_from(self.head_address(head)? + at).ok()?;
        Some(if count == 0 { [0; 2] } else { [table, count] })
    }

    fn libraries_table(&self) -> Option<Vec<u8>> {
        let records = self.needed().iter().map(|library| Some(library.facts()?.to_bytes()));
        Some(records.collect::<Option<Vec<_>>>()?.concat())
    }
}

/// The table of libraries, which no section is about.
const LIBRARIES: &str = "libraries";

/// The sections whose segments libpython and what it needs can take.
fn spare_sections() -> impl Iterator<Item = &'static str> {
    LIBRARY_SECTIONS.into_iter().flatten().chain(PYTHON_SECTIONS)
}

fn put(bytes: &mut [u8], at: usize, value: u64) -> Option<()> {
    bytes.get_mut(at..at.checked_add(8)?)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}
