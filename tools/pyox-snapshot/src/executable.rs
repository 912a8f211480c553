//! An executable that can have a snapshot: where its segments are, and how an image gets in.
//!
//! The image is appended, and the headers of segment and section are pointed to it. The data as it was linked stays where it
//! is in the file. A second segment, which is there for that, shows it to a process that cannot use the image.

use std::borrow::Cow;

use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, U64};
use pyox_blob::snapshot::{
    BSS_SECTION, DATA_SECTION, Header, IMAGE_ADDRESS, INITIAL_SECTION, Mode, PYTHON_DATA_SECTION,
};
use pyox_schema::Digest;

type Elf = FileHeader64<LittleEndian>;

/// What images begin at multiples of, in the file.
const PAGE: usize = 4096;

/// An executable with the segments that a snapshot needs.
#[derive(Debug)]
pub struct Executable<'a> {
    /// The file, without an image.
    bytes: &'a [u8],
    header: Header,
    image: Cow<'a, [u8]>,
    data: Part,
    /// The data of a libpython, where it is part of the executable. In the file it lies right before the other.
    python: Option<Part>,
    initial: Part,
    bss: usize,
    /// Where the data as it was linked is in the file.
    offset: usize,
}

/// A segment, and the section that names it.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where their headers are in the file.
    segment: usize,
    section: usize,
    /// In memory.
    address: u64,
    /// Where the content begins in the file, and how long it is there.
    start: usize,
    len: usize,
}

/// Why an executable can have no snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no executable for Linux.
    NoElf,
    /// It is loaded at a random address.
    Movable,
    /// It was not linked for that.
    NotLinked,
    /// Its headers do not fit its bytes.
    Damaged,
}

impl<'a> Executable<'a> {
    /// Looks at the bytes of an executable. An image that it has is taken off.
    ///
    /// # Errors
    ///
    /// If it can have no snapshot.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let endian = LittleEndian;
        let elf = Elf::parse(bytes).map_err(|_| Refusal::NoElf)?;
        if elf.e_type(endian) == object::elf::ET_DYN {
            return Err(Refusal::Movable);
        }
        let segments = elf.program_headers(endian, bytes).map_err(|_| Refusal::NoElf)?;
        let sections = elf.sections(endian, bytes).map_err(|_| Refusal::Damaged)?;
        let place = |table: U64<LittleEndian>, size: usize, number: usize| {
            usize::try_from(table.get(endian)).ok()?.checked_add(size.checked_mul(number)?)
        };
        let part = |name: &str| {
            let (index, section) = sections.section_by_name(endian, name.as_bytes())?;
            let address = section.sh_addr(endian);
            let number = segments.iter().position(|segment| {
                segment.p_type(endian) == PT_LOAD && segment.p_vaddr(endian) == address
            })?;
            Some(Part {
                segment: place(elf.e_phoff, elf.e_phentsize.get(endian).into(), number)?,
                section: place(elf.e_shoff, elf.e_shentsize.get(endian).into(), index.0)?,
                address,
                start: usize::try_from(segments[number].p_offset(endian)).ok()?,
                len: usize::try_from(segments[number].p_filesz(endian)).ok()?,
            })
        };
        let data = part(DATA_SECTION).ok_or(Refusal::NotLinked)?;
        let initial = part(INITIAL_SECTION).ok_or(Refusal::NotLinked)?;
        let own = data.content(bytes).ok_or(Refusal::Damaged)?;
        let header = Header::read(own).filter(|_| data.address == IMAGE_ADDRESS);
        let header = header.ok_or(Refusal::NotLinked)?;
        let [address, before] = header.python.data;
        let python = part(PYTHON_DATA_SECTION).filter(|_| before > 0);
        let before = before as usize;
        let is_right = |python: &Part| python.len == before && python.address == u64::from(address);
        if python.is_some() != (before > 0) || !python.iter().all(is_right) {
            return Err(Refusal::Damaged);
        }
        let (bss, section) =
            sections.section_by_name(endian, BSS_SECTION.as_bytes()).ok_or(Refusal::NotLinked)?;
        let end = section.sh_addr(endian).checked_add(section.sh_size(endian));
        let bss = place(elf.e_shoff, elf.e_shentsize.get(endian).into(), bss.0)
            .ok_or(Refusal::Damaged)?;
        let len = before.checked_add(data.len).ok_or(Refusal::Damaged)?;
        let mut executable = Self {
            bytes,
            header,
            image: Cow::Borrowed(&[]),
            data,
            python,
            initial,
            bss,
            offset: 0,
        };
        let header = &mut executable.header;
        if header.mode != Mode::Resume {
            let in_memory = end.and_then(|end| end.checked_sub(IMAGE_ADDRESS));
            header.heap =
                in_memory.and_then(|len| len.checked_add(before as u64)).ok_or(Refusal::Damaged)?;
            header.initial = len as u64;
            executable.offset = data.start.checked_sub(before).ok_or(Refusal::Damaged)?;
            let is_behind = python.is_none_or(|python| python.start == executable.offset);
            return is_behind.then_some(executable).ok_or(Refusal::Damaged);
        }
        let image = match python {
            Some(python) => {
                let before = python.content(bytes).ok_or(Refusal::Damaged)?;
                Cow::Owned([before, own].concat())
            }
            None => Cow::Borrowed(own),
        };
        executable.image = image;
        executable.offset = initial.start;
        // Where the image begins in the file.
        let start = python.map_or(data.start, |python| python.start.min(data.start));
        let is_before =
            |place: usize, len: usize| place.checked_add(len).is_some_and(|end| end <= start);
        if header.len != len as u64
            || header.initial != initial.len as u64
            || header.heap < header.initial
            || initial.len < before + Header::LEN
            || !is_before(initial.start, initial.len)
        {
            return Err(Refusal::Damaged);
        }
        // `strip` puts the sections' headers behind it. Then the image stays where it is, and nothing points to it.
        let (segment, section) = (
            size_of::<ProgramHeader64<LittleEndian>>(),
            size_of::<SectionHeader64<LittleEndian>>(),
        );
        let parts = [data, initial].into_iter().chain(python);
        let headers = parts.flat_map(|part| [(part.segment, segment), (part.section, section)]);
        if headers.chain([(bss, section)]).all(|(place, len)| is_before(place, len)) {
            executable.bytes = &bytes[..start];
        }
        Ok(executable)
    }

    /// What the header says; without an image, what an image is to fit.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The image; empty if there is none.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// The digest that the image was made with, and that of its bytes. `None` if there is no image.
    #[must_use]
    pub fn digests(&self) -> Option<(Digest, Digest)> {
        let digests = || (Digest(self.header.digest), digest(&self.image, self.before()));
        (!self.image.is_empty()).then(digests)
    }

    /// What the image tells of itself, in JSON.
    #[must_use]
    pub fn facts(&self) -> Option<&[u8]> {
        let (start, len) = self.header.facts;
        if self.image.is_empty() {
            return None;
        }
        let start = usize::try_from(start).ok()?;
        self.image.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    /// The executable that writes an image of itself.
    #[must_use]
    pub fn recorder(&self) -> Vec<u8> {
        self.in_mode(Mode::Record)
    }

    /// The executable that lists what it imports.
    #[must_use]
    pub fn profiler(&self) -> Vec<u8> {
        self.in_mode(Mode::Profile)
    }

    /// How far from the beginning of the image the header stands: behind the data of a libpython.
    fn before(&self) -> usize {
        self.header.python.data[1] as usize
    }

    fn in_mode(&self, mode: Mode) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        let Header { python, libraries, .. } = self.header;
        let header = Header { mode, python, libraries, ..Header::EMPTY };
        self.point(&mut bytes, self.offset, self.header.initial, self.header.heap);
        let at = self.offset + self.before();
        bytes[at..at + Header::LEN].copy_from_slice(&header.to_bytes());
        bytes
    }

    /// The executable with another image. `None` if the image does not fit.
    #[must_use]
    pub fn with_image(&self, mut image: Vec<u8>) -> Option<Vec<u8>> {
        let before = self.before();
        let header = Header::read(image.get(before..)?)?;
        let is_right = header.mode == Mode::Resume
            && header.python == self.header.python
            && header.libraries == self.header.libraries
            && header.len == image.len() as u64
            && header.initial == self.header.initial
            && header.heap == self.header.heap;
        if !is_right {
            return None;
        }
        let digest = digest(&image, before);
        image[before..][Header::DIGEST].copy_from_slice(&digest.0);
        let (offset, len) = (self.bytes.len().next_multiple_of(PAGE), image.len() as u64);
        let mut bytes = Vec::with_capacity(offset + image.len());
        bytes.extend(self.bytes);
        bytes.resize(offset, 0);
        self.point(&mut bytes, offset, len, len);
        // What is left of the zeroed data is part of the image.
        put(&mut bytes, self.bss + 16, IMAGE_ADDRESS + len - before as u64);
        put(&mut bytes, self.bss + 24, offset as u64 + len);
        put(&mut bytes, self.bss + 32, 0);
        let initial = self.header.initial;
        self.initial.point(&mut bytes, self.offset as u64, initial, initial);
        bytes.append(&mut image);
        Some(bytes)
    }

    /// Points the segments and their sections to other bytes of the file: so many of the data, and the zeroes behind it in memory.
    fn point(&self, bytes: &mut [u8], offset: usize, len: u64, in_memory: u64) {
        let (offset, before) = (offset as u64, self.before() as u64);
        if let Some(python) = self.python {
            python.point(bytes, offset, before, before);
        }
        self.data.point(bytes, offset + before, len - before, in_memory - before);
    }
}

impl Part {
    fn content(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.start..self.start.checked_add(self.len)?)
    }

    /// Points both headers to bytes of the file.
    fn point(self, bytes: &mut [u8], offset: u64, len: u64, in_memory: u64) {
        // Field offsets of the ELF specification: `p_offset`, `p_filesz` and `p_memsz`; `sh_offset`, `sh_size`.
        for (at, value) in [
            (self.segment + 8, offset),
            (self.segment + 32, len),
            (self.segment + 40, in_memory),
            (self.section + 24, offset),
            (self.section + 32, len),
        ] {
            put(bytes, at, value);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The digest of an image whose header stands there, computed without the one that it has.
fn digest(image: &[u8], header: usize) -> Digest {
    let mut hasher = pyox_schema::digest::Hasher::new();
    hasher.update(&image[..header + Header::DIGEST.start]);
    hasher.update(&[0; 32]);
    hasher.update(&image[header + Header::DIGEST.end..]);
    hasher.finish()
}
