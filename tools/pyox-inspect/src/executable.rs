//! The blob in an executable.
//!
//! It is a section of its own. A file that lost its section headers still has it in a loadable
//! segment, where it is found by its magic number at a multiple of its alignment, and by opening
//! it: the run-time code holds the same eight bytes, but no header around them.

use std::ops::Range;

use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind, elf};
use pyox_blob::{Blob, layout};
use pyox_elf::Elf;
use pyox_stage::{Fault, FaultExt, Result};

use crate::input::Input;

/// An executable that pyox made.
#[derive(Debug)]
pub(crate) struct Executable<'a> {
    /// What it needs of the system.
    pub(crate) elf: Elf,
    /// Its blob's bytes; what is behind the blob in the section or segment is still there.
    pub(crate) blob: &'a [u8],
    /// Where the blob begins in the file.
    pub(crate) offset: u64,
    /// Whether it was found by its section.
    pub(crate) has_section: bool,
}

impl<'a> Executable<'a> {
    /// Finds the blob of an ELF file.
    pub(crate) fn find(input: &'a Input<'_>) -> Result<Self> {
        let elf = Elf::parse(&input.bytes).fault(&input.name)?;
        let found = match FileKind::parse(&input.bytes[..]) {
            Ok(FileKind::Elf64) => find::<elf::FileHeader64<Endianness>>(&input.bytes),
            _ => find::<elf::FileHeader32<Endianness>>(&input.bytes),
        };
        let place = found.fault(&input.name)?;
        let blob_at =
            |offset: u64| usize::try_from(offset).ok().and_then(|at| input.bytes.get(at..));
        match place {
            Place::Section(offset) | Place::Segment(offset)
                if blob_at(offset).is_some_and(|blob| blob.starts_with(&layout::MAGIC)) =>
            {
                let has_section = matches!(place, Place::Section(_));
                let blob = blob_at(offset).unwrap_or_default();
                Ok(Self { elf, blob, offset, has_section })
            }
            Place::Section(_) => Err(Fault::new(
                &input.name,
                "expected an executable with a blob, got a runner without one",
            )
            .hint("pyox-link joins a runner and a blob")),
            _ => {
                let what = "expected an executable that pyox made, got an ELF file without a blob";
                Err(Fault::new(&input.name, what))
            }
        }
    }
}

/// How many places that begin like a blob are tried.
const MOST_CANDIDATES: usize = 16;

#[derive(Clone, Copy)]
enum Place {
    /// The section is there; it begins at this offset.
    Section(u64),
    /// A blob that opens, in a loadable segment.
    Segment(u64),
    Nowhere,
}

fn find<F: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<Place> {
    let header = F::parse(bytes)?;
    let endian = header.endian()?;
    let by_name = header
        .sections(endian, bytes)
        .ok()
        .and_then(|table| table.section_by_name(endian, layout::ELF_SECTION.as_bytes()));
    if let Some((_, section)) = by_name {
        return Ok(Place::Section(section.sh_offset(endian).into()));
    }
    let segments = header.program_headers(endian, bytes)?.iter();
    let loaded = segments.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let mut ranges: Vec<Range<usize>> = loaded
        .filter_map(|segment| {
            let (start, len) = segment.file_range(endian);
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            bytes.get(start..end).map(|_| start..end)
        })
        .collect();
    ranges.sort_by_key(|range| range.start);
    // Segments may overlap: each place is looked at once.
    let mut looked = 0;
    let mut places = ranges.into_iter().flat_map(|range| {
        let behind = looked.max(range.start) - range.start;
        let start = range.start + behind.next_multiple_of(layout::ALIGNMENT);
        looked = looked.max(range.end);
        (start..range.end).step_by(layout::ALIGNMENT).map(move |at| (at, range.end))
    });
    let begins = |(at, end): &(usize, usize)| bytes[*at..*end].starts_with(&layout::MAGIC);
    // Opening one reads a part of it. The run-time code holds the magic number too, but not often.
    let mut candidates = places.by_ref().filter(begins).take(MOST_CANDIDATES);
    let blob = candidates.find(|(at, end)| Blob::open(&bytes[*at..*end]).is_ok());
    Ok(blob.map_or(Place::Nowhere, |(at, _)| Place::Segment(at as u64)))
}

/// What foreign bytes seem to be, for a message.
pub(crate) fn guess(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 9] = [
        (b"MZ", "a Windows executable"),
        (b"\xcf\xfa\xed\xfe", "a Mach-O file"),
        (b"\xca\xfe\xba\xbe", "a Mach-O file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
        (b"\x1f\x8b", "gzip-compressed data"),
        (b"!<arch>\n", "a static library"),
        (b"#!", "a script"),
        (b"[", "a JSON list"),
    ];
    KNOWN
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map_or("something else", |known| known.1)
}
