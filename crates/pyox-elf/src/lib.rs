//! What the tools want to know of an ELF file: what it is, what it runs on, what it needs.
//!
//! Everything is read the way the dynamic loader reads it, from the program headers, so that a file
//! without section headers (`strip`, `sstrip`, some packers) gives the same answers. The bytes are
//! untrusted: whatever is out of bounds is an [`Error`], never a panic. Costs a few microseconds for
//! a file of any size, because only the dynamic section and its names are looked at. Names may overlap and repeat in the
//! file, so how long each is and how long they are together has a limit, and so has the number of program headers.
//!
//! ```
//! let bytes = std::fs::read("/proc/self/exe").unwrap();
//! let elf = pyox_elf::Elf::parse(&bytes).unwrap();
//! assert_eq!(elf.architecture(), Some(std::env::consts::ARCH));
//! assert!(elf.needed.iter().any(|name| name.starts_with("libc.so")));
//! ```

#![deny(missing_docs)]

mod needs;

pub use needs::{Need, Needs, Processor, Version};

use std::collections::BTreeSet;
use std::fmt;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::archive::ArchiveFile;
use object::read::elf::{
    Dyn as _, ElfFile64, FileHeader, ProgramHeader as _, SectionHeader as _, Sym as _,
};
use object::{Endianness, FileKind, I64, U64, pod};

/// Facts about one ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// What kind of file it is.
    pub kind: Kind,
    /// The `e_machine` field: see [`Elf::architecture`].
    pub machine: u16,
    /// Whether it is a 64-bit file.
    pub is_64: bool,
    /// The loader that it asks for (`PT_INTERP`); executables that start by themselves have none.
    pub interpreter: Option<String>,
    /// Whether it has a dynamic section, which a plain `-static` executable has not.
    pub is_dynamic: bool,
    /// The name under which others need it (`DT_SONAME`).
    pub soname: Option<String>,
    /// SONAMEs, or paths, of what must be loaded with it (`DT_NEEDED`), in their order.
    pub needed: Vec<String>,
    /// Folders where its needs are looked for, in their order and possibly with `$ORIGIN`:
    /// `DT_RUNPATH`, or the older `DT_RPATH` where that is missing.
    pub runpath: Vec<String>,
}

/// Kinds of ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object file (`ET_REL`).
    Object,
    /// An executable at a fixed address (`ET_EXEC`).
    Executable,
    /// A shared object, or an executable at any address (`ET_DYN`).
    SharedObject,
    /// Something else, such as a core file.
    Other,
}

/// Why bytes are not a usable ELF file: text for people, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Elf {
    /// Reads the facts from a file's bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are no ELF file, or one that is cut off or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        match FileKind::parse(bytes) {
            Ok(FileKind::Elf64) => parse::<FileHeader64<Endianness>>(bytes, true),
            Ok(FileKind::Elf32) => parse::<FileHeader32<Endianness>>(bytes, false),
            _ => Err(Error("expected an ELF file, got another format".to_owned())),
        }
    }

    /// The name of the machine as target triples have it, such as `x86_64`; none for the rare ones.
    #[must_use]
    pub fn architecture(&self) -> Option<&'static str> {
        Some(match (elf::Machine(self.machine), self.is_64) {
            (elf::EM_X86_64, true) => "x86_64",
            (elf::EM_386, false) => "i686",
            (elf::EM_AARCH64, true) => "aarch64",
            (elf::EM_ARM, false) => "armv7",
            (elf::EM_RISCV, true) => "riscv64gc",
            (elf::EM_PPC64, true) => "powerpc64le",
            (elf::EM_S390, true) => "s390x",
            (elf::EM_LOONGARCH, true) => "loongarch64",
            _ => return None,
        })
    }

    /// What it needs apart from libc's family, see [`is_libc`].
    pub fn needed_beyond_libc(&self) -> impl Iterator<Item = &str> {
        self.needed.iter().map(String::as_str).filter(|name| !is_libc(name))
    }
}

/// A shared object without what only linkers and debuggers read: symbols that are not dynamic, and debugging information. Headers of
/// sections stay where the loader maps these. None where nothing would be saved, or the file is no 64-bit shared object
/// whose parts lie in that order.
#[must_use]
pub fn stripped(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.e_type(endian) != elf::ET_DYN {
        return None;
    }
    let end = |segment: &elf::ProgramHeader64<Endianness>| {
        segment.p_offset(endian).checked_add(segment.p_filesz(endian))
    };
    let segments = program_headers(header, endian, bytes).ok()?;
    let ends = segments.iter().map(end).collect::<Option<Vec<_>>>()?;
    let headers = header.e_phoff(endian).checked_add(std::mem::size_of_val(segments) as u64)?;
    let end = usize::try_from(ends.into_iter().max()?.max(headers)).ok()?;
    let mut kept = bytes.get(..end)?.to_vec();
    let sections = mapped_sections(header, endian, bytes, &mut kept).unwrap_or_default();
    let place = if sections.is_empty() { 0 } else { kept.len().next_multiple_of(8) };
    let (kept_header, _) = pod::from_bytes_mut::<FileHeader64<Endianness>>(&mut kept).ok()?;
    let count = u16::try_from(sections.len()).ok()?;
    kept_header.e_shoff.set(endian, place as u64);
    kept_header.e_shnum.set(endian, count);
    kept_header.e_shentsize.set(endian, if count == 0 { 0 } else { header.e_shentsize(endian) });
    kept_header.e_shstrndx.set(endian, elf::SymbolSection(count.saturating_sub(1)));
    kept.resize(place.max(kept.len()), 0);
    kept.extend(pod::bytes_of_slice(&sections));
    (kept.len() < bytes.len()).then_some(kept)
}

/// A shared object without the folders in which the loader would look for what it needs (`DT_RUNPATH`, `DT_RPATH`). None where it has
/// none, or is no 64-bit ELF file.
#[must_use]
pub fn without_run_path(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = program_headers(header, endian, bytes).ok()?;
    let dynamic = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC)?;
    let entries = dynamic.dynamic(endian, bytes).ok()??;
    let is_kept = |entry: &&elf::Dyn64<Endianness>| {
        ![elf::DT_RUNPATH, elf::DT_RPATH].contains(&entry.tag(endian))
    };
    let mut kept: Vec<_> = entries.iter().filter(is_kept).copied().collect();
    if kept.len() == entries.len() {
        return None;
    }
    // Those behind move up, and what is free is empty, as the end of the section is.
    let empty = elf::Dyn64 { d_tag: I64::new(endian, elf::DT_NULL), d_val: U64::new(endian, 0) };
    kept.resize(entries.len(), empty);
    let start = usize::try_from(dynamic.p_offset(endian)).ok()?;
    let kept = pod::bytes_of_slice(&kept);
    let mut bytes = bytes.to_vec();
    bytes.get_mut(start..start + kept.len())?.copy_from_slice(kept);
    Some(bytes)
}

/// The headers of the sections that the loader maps, and of one with their names, which is added to `kept`. None where there are no
/// section headers.
fn mapped_sections(
    header: &FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
    kept: &mut Vec<u8>,
) -> Option<Vec<elf::SectionHeader64<Endianness>>> {
    let all = header.section_headers(endian, bytes).ok()?;
    let names = header.shstrndx(endian, bytes).ok()?;
    let names = all.get(usize::try_from(names).ok()?)?;
    let is_mapped = |section: &elf::SectionHeader64<Endianness>| {
        let end = section.sh_offset(endian).checked_add(section.sh_size(endian));
        section.sh_flags(endian).contains(elf::SHF_ALLOC)
            && (section.sh_type(endian) == elf::SHT_NOBITS || end <= Some(kept.len() as u64))
    };
    // The first is empty.
    let numbers: Vec<usize> = (0..all.len()).filter(|&it| it == 0 || is_mapped(&all[it])).collect();
    let mut new = vec![0; all.len()];
    for (place, &number) in (0_u32..).zip(&numbers) {
        new[number] = place;
    }
    let renumbered =
        |old: u32| usize::try_from(old).ok().and_then(|old| new.get(old).copied()).unwrap_or(0);
    let mut sections: Vec<_> = numbers.iter().map(|&number| all[number]).collect();
    for section in &mut sections {
        section.sh_link.set(endian, renumbered(section.sh_link(endian)));
        if section.sh_flags(endian).contains(elf::SHF_INFO_LINK) {
            section.sh_info.set(endian, renumbered(section.sh_info(endian)));
        }
    }
    let mut names_kept = *names;
    names_kept.sh_offset.set(endian, kept.len() as u64);
    kept.extend(names.data(endian, bytes).ok()?);
    sections.push(names_kept);
    Some(sections)
}

/// Whether a shared object offers a symbol to others.
///
/// # Errors
///
/// If the bytes are no 64-bit ELF file, or one that is cut off or damaged.
pub fn exports(bytes: &[u8], name: &str) -> Result<bool, Error> {
    let file =
        ElfFile64::<Endianness, _>::parse(bytes).map_err(|error| Error(error.to_string()))?;
    let endian = file.endian();
    let symbols = file.elf_dynamic_symbol_table();
    Ok(symbols.iter().any(|symbol| {
        symbol.st_shndx(endian) != elf::SHN_UNDEF
            && symbols.symbol_name(endian, symbol).is_ok_and(|found| found == name.as_bytes())
    }))
}

/// A symbol with one of these beginnings that members of an archive need and none of them has, if there is one. Reads all
/// symbols, some hundred thousand in a tenth of a second.
///
/// # Errors
///
/// If the bytes are no archive, or one that is cut off or damaged. Members that are no 64-bit ELF files are passed over.
pub fn missing_in_archive(bytes: &[u8], beginnings: &[&str]) -> Result<Option<String>, Error> {
    let (mut needed, mut there) = (BTreeSet::new(), BTreeSet::new());
    for member in ArchiveFile::parse(bytes)?.members() {
        let Ok(object) = ElfFile64::<Endianness, _>::parse(member?.data(bytes)?) else { continue };
        let (endian, symbols) = (object.endian(), object.elf_symbol_table());
        for symbol in symbols.iter().filter(|symbol| symbol.st_bind() != elf::STB_LOCAL) {
            let name = symbols.symbol_name(endian, symbol)?;
            if beginnings.iter().any(|beginning| name.starts_with(beginning.as_bytes())) {
                let is_there = symbol.st_shndx(endian) != elf::SHN_UNDEF;
                let is_needed = !is_there && symbol.st_bind() == elf::STB_GLOBAL;
                if is_there {
                    there.insert(name);
                } else if is_needed {
                    needed.insert(name);
                }
            }
        }
    }
    needed.difference(&there).next().map(|name| text(name)).transpose()
}

/// Whether bytes begin as an ELF file does.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Whether a SONAME is of libc's family: the libraries and the loader that come with glibc or musl,
/// which every dynamic executable of that platform has in its process or can count on.
///
/// `libgcc_s` and `libstdc++` are not of it: a minimal system can be without them.
#[must_use]
pub fn is_libc(soname: &str) -> bool {
    let name = soname.rsplit('/').next().unwrap_or(soname);
    if name.starts_with("ld-linux") || name.starts_with("ld-musl-") || name.starts_with("ld64.so") {
        return true;
    }
    let stem = name.split(".so").next().unwrap_or(name);
    stem.strip_prefix("lib").is_some_and(is_libc_link_name) || stem.starts_with("libc.musl-")
}

/// Whether a library's name, as `-l` takes it, is of libc's family, as [`is_libc`] has it.
#[must_use]
pub fn is_libc_link_name(name: &str) -> bool {
    ["c", "m", "mvec", "dl", "pthread", "rt", "util", "resolv", "anl"].contains(&name)
}

/// How many bytes of program headers a file may have: the kernel starts no executable with more.
const MOST_HEADERS: usize = 64 << 10;

/// How long a name may be: the longest path that Linux takes.
const LONGEST_NAME: usize = 4096;

/// How long all names together may be. Libraries have some hundred bytes of them.
const MOST_NAMES: usize = 1 << 20;

/// A file's program headers, unless they are more than the kernel would take.
fn program_headers<'a, F: FileHeader<Endian = Endianness>>(
    header: &F,
    endian: Endianness,
    bytes: &'a [u8],
) -> Result<&'a [F::ProgramHeader], Error> {
    let segments = header.program_headers(endian, bytes)?;
    if std::mem::size_of_val(segments) <= MOST_HEADERS {
        return Ok(segments);
    }
    let what = format!("expected at most 64 KiB of program headers, got {}", segments.len());
    Err(Error(what))
}

fn parse<F: FileHeader<Endian = Endianness>>(bytes: &[u8], is_64: bool) -> Result<Elf, Error> {
    let header = F::parse(bytes)?;
    let endian = header.endian()?;
    let segments = program_headers(header, endian, bytes)?;

    let mut interpreter = None;
    let mut dynamic = None;
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            interpreter = Some(text(path)?);
        }
        if let Some(entries) = segment.dynamic(endian, bytes)? {
            dynamic = Some(entries);
        }
        // The loader maps it all the same, and the process ends where it is first touched.
        if segment.p_type(endian) == elf::PT_LOAD && segment.data(endian, bytes).is_err() {
            return Err(Error("it ends within what is to be loaded".to_owned()));
        }
    }

    let mut found = Elf {
        kind: match header.e_type(endian) {
            elf::ET_REL => Kind::Object,
            elf::ET_EXEC => Kind::Executable,
            elf::ET_DYN => Kind::SharedObject,
            _ => Kind::Other,
        },
        machine: header.e_machine(endian).0,
        is_64,
        interpreter,
        is_dynamic: dynamic.is_some(),
        soname: None,
        needed: Vec::new(),
        runpath: Vec::new(),
    };

    let entries = || {
        dynamic
            .into_iter()
            .flatten()
            .map(|entry| -> (_, u64) { (entry.d_tag(endian), entry.d_val(endian).into()) })
            .take_while(|(tag, _)| *tag != elf::DT_NULL)
    };
    let value = |wanted| entries().find(|(tag, _)| *tag == wanted).map(|(_, value)| value);

    // The names are in a table that the dynamic section gives by its address in memory.
    let names = match (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) {
        (Some(address), Some(size)) => segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .find_map(|segment| segment.data_range(endian, bytes, address, size).ok().flatten())
            .ok_or_else(|| Error("its table of names is outside the file".to_owned()))?,
        _ if dynamic.is_some() => return Err(Error("it has no table of names".to_owned())),
        _ => &[],
    };
    let mut left = MOST_NAMES;
    let mut name = |offset: u64| {
        let rest = usize::try_from(offset).ok().and_then(|offset| names.get(offset..));
        let outside = || Error(format!("the name at {offset} is outside its table of names"));
        let rest = rest.ok_or_else(outside)?;
        let end = rest.iter().take(LONGEST_NAME + 1).position(|byte| *byte == 0);
        let end = end.ok_or_else(|| {
            if rest.len() <= LONGEST_NAME {
                return outside();
            }
            Error(format!("expected names of at most {LONGEST_NAME} bytes, got a longer one"))
        })?;
        left = left.checked_sub(end + 1).ok_or_else(|| {
            Error("expected at most 1 MiB of names of libraries, got more".to_owned())
        })?;
        text(&rest[..end])
    };
    for (tag, value) in entries() {
        match tag {
            elf::DT_NEEDED => found.needed.push(name(value)?),
            elf::DT_SONAME => found.soname = Some(name(value)?),
            _ => {}
        }
    }
    if let Some(offset) = value(elf::DT_RUNPATH).or_else(|| value(elf::DT_RPATH)) {
        let folders = name(offset)?;
        found.runpath = folders.split(':').filter(|f| !f.is_empty()).map(str::to_owned).collect();
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error("one of its names is not UTF-8".to_owned()))
}

impl From<object::read::Error> for Error {
    fn from(error: object::read::Error) -> Self {
        Self(error.to_string().to_lowercase())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_program() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn the_running_program_is_what_it_is() {
        let elf = Elf::parse(&this_program()).unwrap();
        assert_eq!(elf.kind, Kind::SharedObject);
        assert_eq!(elf.architecture(), Some(std::env::consts::ARCH));
        assert!(elf.is_dynamic);
        assert!(elf.interpreter.is_some());
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.")), "{:?}", elf.needed);
        assert!(elf.needed_beyond_libc().all(|name| name.starts_with("libgcc_s.")), "{elf:?}");
    }

    #[test]
    fn a_file_without_section_headers_gives_the_same_answers() {
        let mut bytes = this_program();
        let whole = Elf::parse(&bytes).unwrap();
        // e_shoff, e_shnum and e_shstrndx of a 64-bit file.
        bytes[40..48].fill(0);
        bytes[60..64].fill(0);
        assert_eq!(Elf::parse(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_stripped_has_the_sections_that_are_mapped() {
        let bytes = this_program();
        let stripped = stripped(&bytes).unwrap();
        assert_eq!(Elf::parse(&stripped), Elf::parse(&bytes));
        // Their names, those of what they refer to, and whether they are mapped.
        let sections = |bytes: &[u8]| -> Vec<(String, String, bool)> {
            let file = ElfFile64::<Endianness>::parse(bytes).unwrap();
            let (endian, table) = (file.endian(), file.elf_section_table());
            let name = |section: &elf::SectionHeader64<Endianness>| {
                text(table.section_name(endian, section).unwrap()).unwrap()
            };
            let described = |section: &elf::SectionHeader64<Endianness>| {
                let linked = table.section(section.link(endian)).map_or(String::new(), name);
                (name(section), linked, section.sh_flags(endian).contains(elf::SHF_ALLOC))
            };
            table.iter().map(described).collect()
        };
        let (all, kept) = (sections(&bytes), sections(&stripped));
        let expected = |(name, _, is_mapped): &&(String, String, bool)| {
            *is_mapped || name.is_empty() || name == ".shstrtab"
        };
        assert_eq!(kept, all.iter().filter(expected).cloned().collect::<Vec<_>>());
        assert!(kept.len() < all.len(), "{all:?}");
        assert!(kept.contains(&(".dynsym".to_owned(), ".dynstr".to_owned(), true)), "{kept:?}");
        assert_eq!(super::stripped(&stripped), None);
    }

    #[test]
    fn folders_where_needs_are_looked_for_can_go() {
        let (mut bytes, whole) = (this_program(), Elf::parse(&this_program()).unwrap());
        assert_eq!(without_run_path(&bytes), None);
        // Another entry becomes one: the name of the loader's debugging structure has no meaning in a file.
        let file = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
        let segments = file.elf_program_headers();
        let dynamic = segments.iter().find(|it| it.p_type.get(file.endian()) == elf::PT_DYNAMIC);
        let start = usize::try_from(dynamic.unwrap().p_offset.get(file.endian())).unwrap();
        let tag = |number: usize| start + number * 16..start + number * 16 + 8;
        let debug = (0..64).find(|&number| bytes[tag(number)] == 21_u64.to_le_bytes()).unwrap();
        bytes[tag(debug)].copy_from_slice(&29_u64.to_le_bytes());
        let without = without_run_path(&bytes).unwrap();
        assert_eq!((Elf::parse(&without), without_run_path(&without)), (Ok(whole), None));
    }

    #[test]
    fn archives_lack_what_no_member_has() {
        assert!(missing_in_archive(b"no archive", &["Py"]).is_err());
        assert_eq!(missing_in_archive(b"!<arch>\n", &["Py"]), Ok(None));
    }

    #[test]
    fn damage_is_an_error_or_an_answer_but_no_panic() {
        let bytes = this_program();
        for len in (0..bytes.len().min(20_000)).step_by(7) {
            let _ = Elf::parse(&bytes[..len]);
        }
        for at in 0..2_000 {
            let mut flipped = bytes[..bytes.len().min(100_000)].to_vec();
            flipped[at] ^= 0xff;
            let _ = Elf::parse(&flipped);
        }
        assert!(Elf::parse(b"").is_err());
        assert!(Elf::parse(b"#!/bin/sh\n").is_err());
        assert!(Elf::parse(&bytes[..100]).is_err());
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let bytes = this_program();
        let loaded = |len| Elf::parse(&bytes[..len]).is_ok();
        // Section headers, which nothing needs, are at the end.
        let end = (0..bytes.len()).collect::<Vec<_>>().partition_point(|&len| !loaded(len));
        assert!(end > 0 && loaded(bytes.len()));
        let error = Elf::parse(&bytes[..end - 1]).unwrap_err();
        assert_eq!(error.to_string(), "it ends within what is to be loaded");
    }

    /// A shared object with so many segments, whose dynamic section needs a name so many times. The names are as long as
    /// they say and end with the file.
    fn forged(segments: u16, needed: usize, longest: usize) -> Vec<u8> {
        let names_at = 64 + 56 * u64::from(segments) + 16 * (needed as u64 + 3);
        let mut entries: Vec<u64> = [1, 1].repeat(needed);
        entries.extend([5, names_at, 10, longest as u64 + 2, 0, 0]);
        let dynamic: Vec<u8> = entries.iter().flat_map(|value| value.to_le_bytes()).collect();
        let size = names_at + longest as u64 + 2;
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
        bytes.extend([0, 64, 0].map(u64::to_le_bytes).concat());
        bytes.extend([0, 0, 0, 0, 64, 0, 56, 0]);
        bytes.extend([segments, 64, 0, 0].map(u16::to_le_bytes).concat());
        let mut segment = |kind: u32, start: u64, len: u64| {
            bytes.extend([kind, 4].map(u32::to_le_bytes).concat());
            bytes.extend([start, start, start, len, len, 8].map(u64::to_le_bytes).concat());
        };
        let at = names_at - dynamic.len() as u64;
        segment(2, at, dynamic.len() as u64);
        (1..segments).for_each(|_| segment(1, 0, size));
        bytes.extend(dynamic);
        bytes.push(0);
        bytes.extend(vec![b'x'; longest]);
        bytes.push(0);
        bytes
    }

    #[test]
    fn names_and_headers_have_limits() {
        let parsed = |segments, needed, longest| {
            Elf::parse(&forged(segments, needed, longest)).map_err(|error| error.to_string())
        };
        assert_eq!(parsed(2, 3, 4096 - 1).unwrap().needed, vec!["x".repeat(4095); 3]);
        let longer = "expected names of at most 4096 bytes, got a longer one";
        assert_eq!(parsed(2, 20_000, 200_000).unwrap_err(), longer);
        let more = "expected at most 1 MiB of names of libraries, got more";
        assert_eq!(parsed(2, 20_000, 4000).unwrap_err(), more);
        assert!(parsed(1000, 1, 10).is_ok());
        let headers = "expected at most 64 KiB of program headers, got 60000";
        assert_eq!(parsed(60_000, 1, 10).unwrap_err(), headers);
    }

    #[test]
    fn libc_is_known_by_its_names() {
        for name in ["libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"] {
            assert!(is_libc(name), "{name}");
        }
        for name in ["ld-musl-x86_64.so.1", "libc.musl-x86_64.so.1", "/lib/ld-linux.so.2"] {
            assert!(is_libc(name), "{name}");
        }
        for name in ["libgcc_s.so.1", "libstdc++.so.6", "libcrypt.so.1", "libmpdec.so.3", "libz.so"]
        {
            assert!(!is_libc(name), "{name}");
        }
    }
}
