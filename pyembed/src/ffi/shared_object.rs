//! What the headers of a shared library say of how the dynamic loader goes about it.

use std::ops::Range;

use object::elf::{
    self as constants, DynamicTag, FileHeader64, PF_W, PT_DYNAMIC, PT_LOAD, ProgramHeader64,
    Rela64, SHF_ALLOC, SHF_WRITE, SHT_DYNSYM, SHT_PROGBITS, SectionHeader64, Sym64,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian as LE, Pod, pod};
use pyox_blob::layout::PAGE;

pub(super) type Segment = ProgramHeader64<LE>;
type Section = SectionHeader64<LE>;

/// The headers of a library, and its bytes.
pub(super) struct SharedObject<'a> {
    bytes: &'a [u8],
    segments: &'a [Segment],
    sections: &'a [Section],
    dynamic: Vec<(DynamicTag, u64)>,
    /// Where the dynamic section begins in the file.
    dynamic_at: usize,
}

/// What runs when a library is loaded, by addresses as its file has them.
#[derive(Clone, Copy, Default)]
pub(super) struct Constructors {
    /// The function that is called first; 0 for none.
    pub(super) first: usize,
    /// Where the addresses of the others stand, and how many.
    pub(super) others: (usize, usize),
}

/// A tag that makes the loader skip an entry of the dynamic section: the first of those to which a system can give a meaning, and
/// GNU's has none for it.
pub(super) const SKIPPED: i64 = 0x6000_000d;

/// Entries that tell the loader of constructors.
const OF_CONSTRUCTORS: [DynamicTag; 3] =
    [constants::DT_INIT, constants::DT_INIT_ARRAY, constants::DT_INIT_ARRAYSZ];

/// Tables that the loader reads.
const TABLES: [DynamicTag; 10] = [
    constants::DT_HASH,
    constants::DT_GNU_HASH,
    constants::DT_STRTAB,
    constants::DT_SYMTAB,
    constants::DT_RELA,
    constants::DT_JMPREL,
    constants::DT_RELR,
    constants::DT_VERSYM,
    constants::DT_VERDEF,
    constants::DT_VERNEED,
];

#[cfg(target_arch = "x86_64")]
const CHOSEN_ADDRESS: constants::RelocationType = constants::R_X86_64_IRELATIVE;
#[cfg(target_arch = "aarch64")]
const CHOSEN_ADDRESS: constants::RelocationType = constants::R_AARCH64_IRELATIVE;

impl<'a> SharedObject<'a> {
    /// None if the headers are not as they should be.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let elf = FileHeader64::<LE>::parse(bytes).ok()?;
        let segments = elf.program_headers(LE, bytes).ok()?;
        let page = PAGE as u64;
        let fits = |s: &Segment| {
            let (offset, len) = s.file_range(LE);
            s.p_vaddr(LE) % page == offset % page
                && offset.checked_add(len).is_some_and(|end| end <= bytes.len() as u64)
                && len <= s.p_memsz(LE)
        };
        if !segments.iter().filter(|s| s.p_type(LE) == PT_LOAD).all(fits) {
            return None;
        }
        let dynamic = segments.iter().find(|segment| segment.p_type(LE) == PT_DYNAMIC)?;
        let entries = dynamic.dynamic(LE, bytes).ok()??;
        Some(Self {
            bytes,
            segments,
            // Libraries can do without.
            sections: elf.section_headers(LE, bytes).unwrap_or_default(),
            dynamic: { entries.iter() }
                .map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE)))
                .take_while(|(tag, _)| *tag != constants::DT_NULL)
                .collect(),
            dynamic_at: usize::try_from(dynamic.p_offset(LE)).ok()?,
        })
    }

    pub(super) fn loaded(&self) -> impl Iterator<Item = &'a Segment> {
        self.segments.iter().filter(|segment| segment.p_type(LE) == PT_LOAD)
    }

    /// Whether a segment's pages stay as they are in the file.
    pub(super) fn is_constant(&self, segment: &Segment) -> bool {
        !segment.p_flags(LE).contains(PF_W)
            && self.loaded().filter(|other| meet(segment, other)).count() == 1
    }

    /// Whether the loader writes to segments that are read-only afterwards.
    pub(super) fn has_text_relocations(&self) -> bool {
        let flags = self.value(constants::DT_FLAGS).unwrap_or(0);
        self.value(constants::DT_TEXTREL).is_some() || flags & constants::DF_TEXTREL.0 != 0
    }

    /// Whole pages of the file with code and constants, in their order. The loader maps them, and reads and runs nothing of them
    /// before it comes to the constructors. Empty where that is not certain.
    ///
    /// Costs a look at each relocation and each symbol.
    pub(super) fn unread(&self) -> Vec<Range<usize>> {
        let mut unread: Vec<_> =
            self.sections.iter().filter_map(|section| self.pages_of(section)).collect();
        // Small libraries have none, and need no look at their tables.
        if unread.is_empty() {
            return unread;
        }
        unread.sort_by_key(|pages| pages.start);
        let are_apart = unread.windows(2).all(|two| two[0].end <= two[1].start);
        let is_sound = are_apart
            && self.has_tables_in(&unread) == Some(false)
            && self.chooses_functions() == Some(false);
        if is_sound { unread } else { Vec::new() }
    }

    /// The whole pages of a section with code or constants; `None` for other sections, and for what is not worth it.
    fn pages_of(&self, section: &Section) -> Option<Range<usize>> {
        const LEAST: usize = 4 * PAGE;
        let flags = section.sh_flags.get(LE);
        let is_constant = section.sh_type.get(LE) == SHT_PROGBITS
            && flags.contains(SHF_ALLOC)
            && !flags.contains(SHF_WRITE);
        if !is_constant {
            return None;
        }
        let (offset, size) = (section.sh_offset.get(LE), section.sh_size.get(LE));
        let holds = |segment: &&Segment| {
            offset.checked_sub(segment.p_offset(LE)).is_some_and(|inside| {
                segment.p_vaddr(LE).checked_add(inside) == Some(section.sh_addr.get(LE))
                    && inside.checked_add(size).is_some_and(|end| end <= segment.p_filesz(LE))
            })
        };
        let segment = self.loaded().find(holds)?;
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        let pages = start.checked_next_multiple_of(PAGE)?..end / PAGE * PAGE;
        (self.is_constant(segment) && pages.len() >= LEAST).then_some(pages)
    }

    /// Whether a table that the loader reads begins in one of these ranges, whatever the sections say.
    fn has_tables_in(&self, ranges: &[Range<usize>]) -> Option<bool> {
        let tables = self.dynamic.iter().filter(|(tag, _)| TABLES.contains(tag));
        let offsets: Vec<_> = tables.map(|(_, at)| self.offset(*at)).collect::<Option<_>>()?;
        Some(offsets.iter().any(|at| ranges.iter().any(|range| range.contains(at))))
    }

    /// Whether the loader calls functions of the library to learn what others are (`STT_GNU_IFUNC`).
    fn chooses_functions(&self) -> Option<bool> {
        let tables = [
            (constants::DT_RELA, constants::DT_RELASZ),
            (constants::DT_JMPREL, constants::DT_PLTRELSZ),
        ];
        for (table, len) in tables {
            let Some(table) = self.value(table) else { continue };
            let relocations: &[Rela64<LE>] = self.records(self.offset(table)?, self.value(len)?)?;
            if relocations.iter().any(|it| it.r_type(LE, false) == CHOSEN_ADDRESS) {
                return Some(true);
            }
        }
        let section = self.sections.iter().find(|it| it.sh_type.get(LE) == SHT_DYNSYM)?;
        let start = usize::try_from(section.sh_offset.get(LE)).ok()?;
        let symbols: &[Sym64<LE>] = self.records(start, section.sh_size.get(LE))?;
        Some(symbols.iter().any(|symbol| symbol.st_type() == constants::STT_GNU_IFUNC))
    }

    fn records<T: Pod>(&self, start: usize, len: u64) -> Option<&'a [T]> {
        let bytes = self.bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)?;
        pod::slice_from_all_bytes(bytes).ok()
    }

    /// What runs when it is loaded.
    pub(super) fn constructors(&self) -> Constructors {
        let value = |tag| self.value(tag).and_then(|value| usize::try_from(value).ok());
        let len = value(constants::DT_INIT_ARRAYSZ).unwrap_or(0);
        Constructors {
            first: value(constants::DT_INIT).unwrap_or(0),
            others: (value(constants::DT_INIT_ARRAY).unwrap_or(0), len / size_of::<usize>()),
        }
    }

    /// Where the tags of the entries stand in the file that tell the loader of it.
    pub(super) fn tags_of_constructors(&self) -> impl Iterator<Item = usize> {
        let entries = self.dynamic.iter().enumerate();
        entries
            .filter(|(_, (tag, _))| OF_CONSTRUCTORS.contains(tag))
            .map(|(number, _)| self.dynamic_at + number * size_of::<constants::Dyn64<LE>>())
    }

    fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.dynamic.iter().find(|entry| entry.0 == tag).map(|entry| entry.1)
    }

    /// Where an address is in the file.
    fn offset(&self, address: u64) -> Option<usize> {
        let segment = self.loaded().find(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(LE));
            inside.is_some_and(|inside| inside < segment.p_filesz(LE))
        })?;
        usize::try_from(segment.p_offset(LE) + (address - segment.p_vaddr(LE))).ok()
    }
}

/// Whether two segments have a page of addresses in common, as a segment has with itself. The later of them
/// was mapped over the earlier there.
fn meet(one: &Segment, other: &Segment) -> bool {
    let pages = |segment: &Segment| {
        let (page, start) = (PAGE as u64, segment.p_vaddr(LE));
        (start / page, start.saturating_add(segment.p_memsz(LE)).div_ceil(page))
    };
    let ((start, end), (other_start, other_end)) = (pages(one), pages(other));
    start < other_end && other_start < end
}
