//! Joining: the blob takes the place of the placeholder in the runner's section.
//!
//! The section has a loadable segment of its own, the last in memory. The blob is appended at a multiple of
//! the segment's alignment, and section and segment are pointed to it; everything else stays as the
//! linker wrote it. The kernel then maps the blob with the executable, and tools that rewrite executables,
//! such as `strip` and `objcopy`, treat it like any other section.

use std::io::{self, Write};
use std::path::Path;

use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, U64};
use pyox_blob::layout::ELF_SECTION;
use pyox_stage::{Fault, FaultExt, Result, files};

type Elf = FileHeader64<LittleEndian>;

/// The alignment that every platform's pages fit, where the segment asks for less.
const LEAST_ALIGNMENT: u64 = 4096;

/// The largest alignment that a segment can ask for: that of large pages. The file is padded to it.
const MOST_ALIGNMENT: u64 = 2 << 20;

/// Where the headers that are changed stand in the runner.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Offset of the program header.
    segment: usize,
    /// Offset of the section header.
    section: usize,
    alignment: u64,
}

/// Whether the bytes are a runner that a blob can join.
#[must_use]
pub fn is_runner(runner: &[u8]) -> bool {
    find(runner).is_some()
}

/// A runner with a blob in its section.
pub struct Joined<'a> {
    runner: &'a [u8],
    /// The fields of its headers that point to the blob, in the order of their offsets.
    fields: [(usize, u64); 5],
    /// How many zeroes are between them.
    padding: usize,
    blob: &'a [u8],
}

impl<'a> Joined<'a> {
    /// Finds the place for the blob.
    ///
    /// # Errors
    ///
    /// If it is no runner.
    pub fn new(runner: &'a [u8], blob: &'a [u8]) -> Result<Self> {
        let place = find(runner).ok_or_else(|| {
            let what = format!("expected the section {ELF_SECTION} in its own segment");
            Fault::new("runner", what)
        })?;
        let offset = (runner.len() as u64).next_multiple_of(place.alignment);
        let len = blob.len() as u64;
        // Field offsets of the ELF specification: `p_offset`, `p_filesz` and `p_memsz`; `sh_offset`, `sh_size`.
        let mut fields = [
            (place.segment + 8, offset),
            (place.segment + 32, len),
            (place.segment + 40, len),
            (place.section + 24, offset),
            (place.section + 32, len),
        ];
        fields.sort_unstable();
        let padding = usize::try_from(offset).fault("runner")? - runner.len();
        Ok(Self { runner, fields, padding, blob })
    }

    /// Makes the file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        files::atomically(path, files::EXECUTABLE, |file| self.send(file))
    }

    /// Writes it somewhere else than to a file.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn send(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut done = 0;
        for (at, value) in self.fields {
            to.write_all(&self.runner[done..at])?;
            to.write_all(&value.to_le_bytes())?;
            done = at + size_of_val(&value);
        }
        to.write_all(&self.runner[done..])?;
        to.write_all(&vec![0; self.padding])?;
        to.write_all(self.blob)
    }
}

/// Finds the section, and the segment that holds it and nothing else.
fn find(runner: &[u8]) -> Option<Place> {
    const SEGMENT: usize = size_of::<ProgramHeader64<LittleEndian>>();
    const SECTION: usize = size_of::<SectionHeader64<LittleEndian>>();
    let endian = LittleEndian;
    let elf = Elf::parse(runner).ok()?;
    let sections = elf.sections(endian, runner).ok()?;
    let (index, section) = sections.section_by_name(endian, ELF_SECTION.as_bytes())?;
    let segments = elf.program_headers(endian, runner).ok()?;
    let number = segments.iter().position(|segment| {
        segment.p_type(endian) == PT_LOAD
            && segment.p_vaddr(endian) == section.sh_addr(endian)
            && segment.p_filesz(endian) == section.sh_size(endian)
    })?;
    let segment = &segments[number];
    // Only the last segment in memory can grow.
    let last = segments.iter().filter(|s| s.p_type(endian) == PT_LOAD).map(|s| s.p_vaddr(endian));
    if last.max() != Some(segment.p_vaddr(endian)) {
        return None;
    }
    let offset = |table: U64<LittleEndian>, size: usize, number: usize| {
        usize::try_from(table.get(endian)).ok()?.checked_add(size.checked_mul(number)?)
    };
    let segment_at = offset(elf.e_phoff, SEGMENT, number)?;
    let section_at = offset(elf.e_shoff, SECTION, index.0)?;
    let are_apart = segment_at + SEGMENT <= section_at || section_at + SECTION <= segment_at;
    let alignment = segment.p_align(endian).max(LEAST_ALIGNMENT);
    (are_apart && alignment <= MOST_ALIGNMENT).then_some(Place {
        segment: segment_at,
        section: section_at,
        alignment,
    })
}
