//! The sections of an executable, by which its parts are found.

use object::LittleEndian;
use object::elf::{FileHeader64, SHF_ALLOC, SectionHeader64};
use object::read::elf::{FileHeader, SectionHeader};

/// Where the headers of an executable's sections are.
pub(super) struct Sections(pub(super) Vec<Section>);

pub(super) struct Section {
    pub(super) name: Vec<u8>,
    pub(super) header: usize,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) is_loaded: bool,
}

impl Sections {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let endian = LittleEndian;
        let elf = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
        let first = usize::try_from(elf.e_shoff.get(endian)).ok()?;
        let sections = elf.sections(endian, bytes).ok()?;
        let each = sections.iter().enumerate().map(|(number, section)| {
            Some(Section {
                name: sections.section_name(endian, section).ok()?.to_vec(),
                header: first + number * size_of::<SectionHeader64<LittleEndian>>(),
                address: section.sh_addr(endian),
                offset: section.sh_offset(endian),
                len: section.sh_size(endian),
                is_loaded: section.sh_flags(endian).contains(SHF_ALLOC),
            })
        });
        each.collect::<Option<_>>().map(Self)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Section> {
        self.0.iter().find(|section| section.name == name.as_bytes())
    }

    pub(super) fn content<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let section = self.named(name)?;
        let start = usize::try_from(section.offset).ok()?;
        bytes.get(start..start.checked_add(usize::try_from(section.len).ok()?)?)
    }
}
