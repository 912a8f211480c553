//! What a file needs of the system: symbols by their versions, and a processor.

use std::fmt;
use std::str::FromStr;

use object::elf::{
    self, Dyn64, FileHeader64, ProgramHeader64, STB_WEAK, Verneed, VersionFlags, Versym,
};
use object::pod::{self, Pod};
use object::read::elf::{
    Dyn as _, FileHeader, GnuHashTable, HashTable, NoteIterator, ProgramHeader as _, Sym as _,
};
use object::{Endianness, FileKind};

use crate::Error;

type Header = FileHeader64<Endianness>;
type Segment = ProgramHeader64<Endianness>;
type Symbol = elf::Sym64<Endianness>;

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// Two numbers with a dot between them, and possibly more behind them: `2.28`, `2.2.5`.
impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.all(|part| part.is_ok())) {
            (Some(Ok(major)), Some(Ok(minor)), true) => Ok(Self { major, minor }),
            _ => Err(Error(format!("expected a version such as 2.28, got {text:?}"))),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version of a library's symbols that a file needs. The loader refuses the file where the library has no such version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The library's SONAME.
    pub library: String,
    /// The version's name, such as `GLIBC_2.34`.
    pub version: String,
    /// Whether the file does without: all its symbols of that version are weak.
    pub is_weak: bool,
    /// The symbols of that version.
    pub symbols: Vec<String>,
}

impl Need {
    /// The version of glibc that has it, if it is glibc's.
    #[must_use]
    pub fn glibc(&self) -> Option<Version> {
        match self.version.strip_prefix("GLIBC_")? {
            // Not symbols, but what the loader can do.
            "ABI_DT_RELR" => Some(Version { major: 2, minor: 36 }),
            "ABI_GNU_TLS" | "ABI_GNU2_TLS" => Some(Version { major: 2, minor: 42 }),
            version => version.parse().ok(),
        }
    }
}

/// `dlsym@GLIBC_2.34`, or the version alone where no symbol is known.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbols.first() {
            Some(symbol) => write!(f, "{symbol}@{}", self.version),
            None => f.write_str(&self.version),
        }
    }
}

/// What a file needs of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// By library and version, in the file's order.
    pub versions: Vec<Need>,
    /// Symbols that it needs of no particular version, and not weakly.
    pub unversioned: Vec<String>,
    /// The oldest kernel, by the file's note, such as `3.2.0`.
    pub kernel: Option<String>,
    /// The processor, where the file says it.
    pub processor: Option<Processor>,
}

impl Needs {
    /// Reads them from the bytes of a 64-bit file. Without a dynamic section it needs no symbols.
    ///
    /// Symbols are looked at once, which takes some microseconds for a thousand.
    ///
    /// # Errors
    ///
    /// If the bytes are no 64-bit ELF file, or one that is cut off or damaged.
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        if !matches!(FileKind::parse(bytes), Ok(FileKind::Elf64)) {
            return Err(Error("expected a 64-bit ELF file, got another format".to_owned()));
        }
        let header = Header::parse(bytes)?;
        let endian = header.endian()?;
        let segments = header.program_headers(endian, bytes)?;
        let image = Image { bytes, endian, segments };
        let mut needs = Self::default();
        image.symbols(&mut needs)?;
        image.notes(&mut needs)?;
        Ok(needs)
    }

    /// The oldest glibc that the file loads with, if it needs one.
    #[must_use]
    pub fn glibc(&self) -> Option<Version> {
        self.versions.iter().filter(|need| !need.is_weak).filter_map(Need::glibc).max()
    }
}

/// Levels of x86-64, as GNU property notes mark them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// Every one.
    Baseline,
    /// With SSE 4.2 and the like.
    V2,
    /// With AVX2 and the like.
    V3,
    /// With AVX-512 and the like.
    V4,
}

impl Processor {
    fn of(mark: u32) -> Option<Self> {
        let marks = [
            (elf::GNU_PROPERTY_X86_ISA_1_V4, Self::V4),
            (elf::GNU_PROPERTY_X86_ISA_1_V3, Self::V3),
            (elf::GNU_PROPERTY_X86_ISA_1_V2, Self::V2),
            (elf::GNU_PROPERTY_X86_ISA_1_BASELINE, Self::Baseline),
        ];
        marks.into_iter().find(|(bit, _)| mark & bit != 0).map(|(_, level)| level)
    }
}

/// As compilers call it: `x86-64-v2`.
impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "x86-64",
            Self::V2 => "x86-64-v2",
            Self::V3 => "x86-64-v3",
            Self::V4 => "x86-64-v4",
        })
    }
}

/// A file as the loader sees it.
struct Image<'a> {
    bytes: &'a [u8],
    endian: Endianness,
    segments: &'a [Segment],
}

impl<'a> Image<'a> {
    /// What lies at an address, to the end of its segment.
    fn at(&self, address: u64) -> Result<&'a [u8], Error> {
        let endian = self.endian;
        let loaded = self.segments.iter().filter(|s| s.p_type(endian) == elf::PT_LOAD);
        for segment in loaded {
            let Some(offset) = address.checked_sub(segment.p_vaddr(endian)) else { continue };
            if offset < segment.p_filesz(endian)
                && let Ok(data) = segment.data(endian, self.bytes)
                && let Some(rest) = usize::try_from(offset).ok().and_then(|from| data.get(from..))
            {
                return Ok(rest);
            }
        }
        Err(Error("one of its tables is outside the file".to_owned()))
    }

    fn symbols(&self, needs: &mut Needs) -> Result<(), Error> {
        let endian = self.endian;
        let mut entries: &[Dyn64<Endianness>] = &[];
        for segment in self.segments {
            entries = segment.dynamic(endian, self.bytes)?.unwrap_or(entries);
        }
        let value = |wanted| {
            let mut entries = entries.iter().take_while(|e| e.d_tag(endian) != elf::DT_NULL);
            entries.find(|entry| entry.d_tag(endian) == wanted).map(|entry| entry.d_val(endian))
        };
        let (Some(symtab), Some(strtab)) = (value(elf::DT_SYMTAB), value(elf::DT_STRTAB)) else {
            return Ok(());
        };
        let strings = self.at(strtab)?;
        // A table that finds no symbol does not say how many there are. They end where the next table begins.
        let count = match (value(elf::DT_HASH), value(elf::DT_GNU_HASH)) {
            (Some(table), _) => {
                Some(HashTable::<Header>::parse(endian, self.at(table)?)?.symbol_table_length())
            }
            (None, Some(table)) => {
                GnuHashTable::<Header>::parse(endian, self.at(table)?)?.symbol_table_length(endian)
            }
            (None, None) => None,
        };
        let tables =
            [elf::DT_STRTAB, elf::DT_VERSYM, elf::DT_VERNEED, elf::DT_HASH, elf::DT_GNU_HASH]
                .into_iter()
                .chain([elf::DT_RELA, elf::DT_JMPREL]);
        let next = tables.filter_map(value).filter(|address| *address > symtab).min();
        let room = next.map_or(0, |next| (next - symtab) / size_of::<Symbol>() as u64);
        let count = count.map_or(room, u64::from);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let symbols = records::<Symbol>(self.at(symtab)?, count)?;
        let versions = match value(elf::DT_VERSYM) {
            Some(table) => records::<Versym<Endianness>>(self.at(table)?, count)?,
            None => &[],
        };
        let mut names = Vec::new();
        if let Some(table) = value(elf::DT_VERNEED) {
            self.versions(self.at(table)?, strings, &mut needs.versions, &mut names)?;
        }
        for (number, symbol) in symbols.iter().enumerate().skip(1) {
            if symbol.st_shndx(endian) != elf::SHN_UNDEF {
                continue;
            }
            let version = versions.get(number).map_or(0, |version| version.0.get(endian).index().0);
            let name = || string(strings, symbol.st_name(endian));
            if let Some(place) = names.iter().position(|known| *known == version) {
                needs.versions[place].symbols.push(name()?);
            } else if symbol.st_bind() != STB_WEAK {
                needs.unversioned.push(name()?);
            }
        }
        Ok(())
    }

    /// The versions that are needed, and the numbers by which symbols name them.
    fn versions(
        &self,
        table: &[u8],
        strings: &[u8],
        found: &mut Vec<Need>,
        numbers: &mut Vec<u16>,
    ) -> Result<(), Error> {
        let endian = self.endian;
        let mut rest = table;
        loop {
            let library = record::<Verneed<Endianness>>(rest)?;
            let mut versions = skip(rest, library.vn_aux.get(endian))?;
            for _ in 0..library.vn_cnt.get(endian) {
                let version = record::<elf::Vernaux<Endianness>>(versions)?;
                numbers.push(version.vna_other(endian).index().0);
                let flags: VersionFlags = version.vna_flags.get(endian);
                found.push(Need {
                    library: string(strings, library.vn_file.get(endian))?,
                    version: string(strings, version.vna_name.get(endian))?,
                    is_weak: flags.contains(elf::VER_FLG_WEAK),
                    symbols: Vec::new(),
                });
                versions = skip(versions, version.vna_next.get(endian))?;
            }
            match library.vn_next.get(endian) {
                0 => return Ok(()),
                next => rest = skip(rest, next)?,
            }
        }
    }

    fn notes(&self, needs: &mut Needs) -> Result<(), Error> {
        let endian = self.endian;
        for segment in self.segments.iter().filter(|s| s.p_type(endian) == elf::PT_NOTE) {
            let Ok(data) = segment.data(endian, self.bytes) else {
                return Err(Error("its notes are outside the file".to_owned()));
            };
            let mut notes = NoteIterator::<Header>::new(endian, segment.p_align(endian), data)?;
            while let Some(note) = notes.next()? {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_ABI_TAG {
                    let number = |at| {
                        let bytes = note.desc().get(at..at + 4)?.try_into().ok()?;
                        Some(match endian {
                            Endianness::Little => u32::from_le_bytes(bytes),
                            Endianness::Big => u32::from_be_bytes(bytes),
                        })
                    };
                    // The system, which is 0 for Linux, and three numbers.
                    if let (Some(0), Some(a), Some(b), Some(c)) =
                        (number(0), number(4), number(8), number(12))
                    {
                        needs.kernel = Some(format!("{a}.{b}.{c}"));
                    }
                }
                let Some(mut properties) = note.gnu_properties(endian) else { continue };
                while let Some(property) = properties.next()? {
                    if property.pr_type() == elf::GNU_PROPERTY_X86_ISA_1_NEEDED {
                        needs.processor = Processor::of(property.data_u32(endian)?);
                    }
                }
            }
        }
        Ok(())
    }
}

fn record<T: Pod>(bytes: &[u8]) -> Result<&T, Error> {
    pod::from_bytes(bytes).map(|(record, _)| record).map_err(|()| too_short())
}

fn records<T: Pod>(bytes: &[u8], count: usize) -> Result<&[T], Error> {
    pod::slice_from_bytes(bytes, count).map(|(records, _)| records).map_err(|()| too_short())
}

/// What lies behind so many bytes; of a chain's last link that is where it began.
fn skip(bytes: &[u8], count: u32) -> Result<&[u8], Error> {
    usize::try_from(count).ok().and_then(|count| bytes.get(count..)).ok_or_else(too_short)
}

fn string(strings: &[u8], offset: u32) -> Result<String, Error> {
    let rest = skip(strings, offset)?;
    let end = rest.iter().position(|byte| *byte == 0).ok_or_else(too_short)?;
    crate::text(&rest[..end])
}

fn too_short() -> Error {
    Error("one of its tables is cut off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_program() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("2.4") < version("2.28"));
        assert_eq!(version("2.2.5"), version("2.2"));
        assert_eq!(version("2.28").to_string(), "2.28");
        for wrong in ["", "2", "2.", "2.x", "v2.28", "2.28.x"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_symbols_of_the_running_program_have_versions() {
        let needs = Needs::of(&this_program()).unwrap();
        let glibc = needs.glibc().unwrap();
        assert!(glibc >= Version { major: 2, minor: 17 } && glibc.major == 2, "{glibc}");
        let of = |name: &str| {
            needs.versions.iter().find(|need| need.symbols.iter().any(|symbol| symbol == name))
        };
        let start = of("__libc_start_main").unwrap();
        assert_eq!((start.library.as_str(), start.is_weak), ("libc.so.6", false));
        assert!(start.glibc() <= Some(glibc));
    }

    #[test]
    fn section_headers_are_not_needed() {
        let mut bytes = this_program();
        let whole = Needs::of(&bytes).unwrap();
        // e_shoff, e_shnum and e_shstrndx of a 64-bit file.
        bytes[40..48].fill(0);
        bytes[60..64].fill(0);
        assert_eq!(Needs::of(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_loaders_must_know_counts_as_a_version() {
        let need = |version: &str| Need {
            library: "libc.so.6".to_owned(),
            version: version.to_owned(),
            is_weak: false,
            symbols: Vec::new(),
        };
        assert_eq!(need("GLIBC_ABI_DT_RELR").glibc().unwrap().to_string(), "2.36");
        assert_eq!(need("GLIBC_2.2.5").glibc().unwrap().to_string(), "2.2");
        assert_eq!(need("GLIBC_PRIVATE").glibc(), None);
        assert_eq!(need("GLIBCXX_3.4").glibc(), None);
        assert_eq!(need("GLIBC_2.34").to_string(), "GLIBC_2.34");
    }

    #[test]
    fn levels_of_processors_are_the_highest_that_is_marked() {
        assert_eq!(Processor::of(0), None);
        assert_eq!(Processor::of(0b1), Some(Processor::Baseline));
        assert_eq!(Processor::of(0b111).unwrap().to_string(), "x86-64-v3");
        assert!(Processor::V2 < Processor::V3);
    }

    #[test]
    fn damage_is_an_error_or_an_answer_but_no_panic() {
        let bytes = this_program();
        for at in 0..2_000 {
            let mut flipped = bytes[..bytes.len().min(200_000)].to_vec();
            flipped[at] ^= 0xff;
            let _ = Needs::of(&flipped);
        }
        for len in (0..bytes.len().min(50_000)).step_by(11) {
            let _ = Needs::of(&bytes[..len]);
        }
        assert!(Needs::of(b"").is_err());
        assert!(Needs::of(b"\x7fELF").is_err());
    }
}
