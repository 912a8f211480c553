//! A portable executable as one at fixed addresses that has its libpython inside.
//!
//! A portable executable loads libpython from its blob, at an address that differs from process to process. Here both are linked as
//! the dynamic loader would do it: libpython takes the segments that its runner keeps for it, its writable data comes to lie
//! right before that of the runner, and all that one of them wants of the other is bound. What is left for the loader is
//! what they want of the C library. The result is a dynamic executable like others, which can have a snapshot.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | what a linked file says |
//! | [`tables`] | what the loader reads of the result |
//! | [`file`] | the result |

mod file;
mod object;
mod tables;

use std::borrow::Cow;
use std::collections::HashMap;

use ::object::LittleEndian;
use ::object::elf::{
    self as constants, DT_NEEDED, FileHeader64, PT_TLS, RelocationType, SHF_ALLOC, SectionHeader64,
};
use ::object::read::elf::{FileHeader, SectionHeader};
use pyox_blob::layout::ELF_SECTION;
use pyox_blob::snapshot::{
    DATA_SECTION, FIXED_BLOB_ADDRESS, IMAGE_ADDRESS, MOVABLE_IMAGE_ADDRESS, MOVABLE_PYTHON_ADDRESS,
    OF_LIBC, PYTHON_SECTIONS, WATCHED,
};
use pyox_blob::{Blob, Groups, tree};

use object::{Object, Relocation, Segment, Symbol};
use tables::ALIGNMENT;

/// Relocations that take the address of what they name.
const OF_ADDRESSES: [RelocationType; 3] =
    [constants::R_X86_64_64, constants::R_X86_64_GLOB_DAT, constants::R_X86_64_JUMP_SLOT];
/// Relocations of thread-local data, which are left to the loader.
const OF_THREADS: [RelocationType; 4] = [
    constants::R_X86_64_DTPMOD64,
    constants::R_X86_64_DTPOFF64,
    constants::R_X86_64_TPOFF64,
    constants::R_X86_64_TLSDESC,
];

const PAGE: u64 = 4096;

/// Why what the loader would write to cannot be written to here.
const OF_CONSTANTS: &str = "its libpython has relocations of constants";

/// What the tables take at most, before libpython.
const ROOM_FOR_TABLES: u64 = 4 << 20;

/// Why an executable cannot be linked so.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: &'static str,
}

impl Unfit {
    const ANOTHER_SHAPE: &str = "link it as static or dynamic";

    fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }
}

impl From<String> for Unfit {
    fn from(what: String) -> Self {
        Self { what, hint: Self::ANOTHER_SHAPE }
    }
}

impl From<&str> for Unfit {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

type Result<T, E = Unfit> = std::result::Result<T, E>;

/// The executable at fixed addresses.
pub(crate) fn linked(executable: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Unfit::from("its headers and its length do not fit");
    let sections = Sections::of(executable).ok_or_else(damaged)?;
    let has_room = PYTHON_SECTIONS.iter().all(|name| sections.named(name).is_some());
    let data = sections.named(DATA_SECTION).map(|data| data.address);
    if !has_room || data != Some(MOVABLE_IMAGE_ADDRESS) {
        return Err(if sections.named(ELF_SECTION).is_some() {
            Unfit::from("expected an executable at a fixed address or a portable one, got one linked with `--pie` or by an older pyox")
                .hint("link it again, and without `--pie`")
        } else {
            "expected an executable that pyox-link has made, got something else".into()
        });
    }
    let runner = Object::parse(executable).ok_or_else(damaged)?;
    if runner.machine != constants::EM_X86_64 {
        return Err("a portable executable for this machine can have no snapshot yet".into());
    }
    let library = libpython(sections.content(executable, ELF_SECTION).ok_or_else(damaged)?)?;
    let python = Object::parse(&library).ok_or("its libpython cannot be read")?;
    let mut link = Link::new(runner, python, sections)?;
    if let Cow::Borrowed(bytes) = library {
        // Its pages can be mapped from where they are.
        let start = (bytes.as_ptr().addr() - executable.as_ptr().addr()) as u64;
        link.python_at = Some(start).filter(|start| start.is_multiple_of(PAGE));
    }
    link.bind()?;
    link.write().ok_or_else(damaged)
}

/// The libpython of a blob.
fn libpython(blob: &[u8]) -> Result<Cow<'_, [u8]>> {
    let read = || {
        let blob = Blob::open(blob)?;
        let path = tree::libpython(blob.config()?.python);
        let file = blob.file(&path)?;
        file.map(|file| blob.content_of(&file, &mut Groups::default())).transpose()
    };
    let found: std::result::Result<_, pyox_blob::Error> = read();
    let found = found.map_err(|error| Unfit::from(format!("its blob: {error}")))?;
    found.ok_or_else(|| "expected a libpython in its blob, found none".into())
}

/// Where the headers of an executable's sections are.
struct Sections(Vec<Section>);

struct Section {
    name: Vec<u8>,
    header: usize,
    address: u64,
    offset: u64,
    len: u64,
    is_loaded: bool,
}

impl Sections {
    fn of(bytes: &[u8]) -> Option<Self> {
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

    fn named(&self, name: &str) -> Option<&Section> {
        self.0.iter().find(|section| section.name == name.as_bytes())
    }

    fn content<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let section = self.named(name)?;
        let start = usize::try_from(section.offset).ok()?;
        bytes.get(start..start.checked_add(usize::try_from(section.len).ok()?)?)
    }
}

/// Bytes of memory from an address on.
struct Memory {
    address: u64,
    bytes: Vec<u8>,
}

impl Memory {
    fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }

    fn word(&mut self, address: u64) -> Option<&mut [u8]> {
        let start = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get_mut(start..start.checked_add(8)?)
    }
}

/// The two files, and what comes of them.
struct Link<'a> {
    runner: Object<'a>,
    python: Object<'a>,
    sections: Sections,
    /// What is added to the addresses of each.
    runner_base: u64,
    python_base: u64,
    /// The runner's bytes, with the blob.
    bytes: Vec<u8>,
    /// Where libpython begins in them, if it lies there as it is.
    python_at: Option<u64>,
    /// libpython's writable data, to the beginning of the runner's own.
    data: Memory,
    /// What is left to the loader; with the numbers of symbols below, counted from 1.
    left: Vec<Relocation>,
    /// Symbols, with their final values.
    symbols: Vec<Symbol<'a>>,
}

/// Whose a relocation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Runner,
    Python,
}

impl<'a> Link<'a> {
    fn new(runner: Object<'a>, python: Object<'a>, sections: Sections) -> Result<Self> {
        let needed = python.names(DT_NEEDED).unwrap_or_default();
        let others = needed
            .iter()
            .find(|name| std::str::from_utf8(name).map_or(true, |name| !pyox_elf::is_libc(name)));
        if let Some(name) = others {
            let name = String::from_utf8_lossy(name);
            let what = format!("its libpython needs {name}, which each process must load first");
            return Err(Unfit::from(what).hint(
                "take a CPython whose libpython needs the C library alone, such as `cpython@3.13`",
            ));
        }
        let writable = || python.loaded().filter(|segment| segment.is_writable());
        let start = writable().map(|segment| segment.address).min().ok_or(OF_CONSTANTS)?;
        let end = writable().map(Segment::end).max().ok_or(OF_CONSTANTS)?;
        // What is read, code, what is read: either of the first and the last may be missing. Then what is written to.
        let order: Vec<_> =
            python.loaded().map(|segment| (segment.is_writable(), segment.is_code())).collect();
        let constants = order.iter().take_while(|order| !order.0).count();
        let is_known = matches!(
            &order[..constants],
            [(_, false), (_, true)]
                | [(_, false), (_, true), (_, false)]
                | [(_, true)]
                | [(_, true), (_, false)]
        ) && order[constants..].iter().all(|order| *order == (true, false));
        if !is_known {
            return Err("its libpython has an order of segments that is not known".into());
        }
        let thread_local = python.segment(PT_TLS);
        if thread_local.is_some_and(|segment| segment.alignment > ALIGNMENT as u64) {
            return Err("its libpython aligns thread-local data to more than 64 bytes".into());
        }
        let (start, end) = (start / PAGE * PAGE, end.next_multiple_of(PAGE));
        let runner_base = IMAGE_ADDRESS - MOVABLE_IMAGE_ADDRESS;
        let room = MOVABLE_IMAGE_ADDRESS - MOVABLE_PYTHON_ADDRESS;
        if end + ROOM_FOR_TABLES > room {
            return Err("its libpython is too large".into());
        }
        let python_base = IMAGE_ADDRESS - end;
        let mut data = Memory {
            address: python_base + start,
            bytes: vec![0; usize::try_from(end - start).unwrap_or(0)],
        };
        for segment in writable() {
            let content =
                python.at(segment.address, segment.file_len).ok_or("its libpython is cut short")?;
            let at = usize::try_from(segment.address - start).unwrap_or(0);
            data.bytes[at..at + content.len()].copy_from_slice(content);
        }
        let bytes = runner.bytes.to_vec();
        Ok(Self {
            runner,
            python,
            sections,
            runner_base,
            python_base,
            bytes,
            python_at: None,
            data,
            left: Vec::new(),
            symbols: Vec::new(),
        })
    }

    /// An address of the runner, where it lies in the end. The blob moves farther, to have room for an image before it.
    fn of_runner(&self, address: u64) -> u64 {
        match self.sections.named(ELF_SECTION) {
            Some(blob) if address >= blob.address => {
                (address - blob.address).wrapping_add(FIXED_BLOB_ADDRESS)
            }
            _ => address.wrapping_add(self.runner_base),
        }
    }

    fn base(&self, side: Side, address: u64) -> u64 {
        match side {
            Side::Runner => self.of_runner(address),
            Side::Python => address.wrapping_add(self.python_base),
        }
    }

    fn object(&self, side: Side) -> &Object<'a> {
        match side {
            Side::Runner => &self.runner,
            Side::Python => &self.python,
        }
    }

    /// Where names lead, by the addresses of what both objects export. What the runner has goes first, as in the loader's lookups.
    fn exports(&self) -> Result<HashMap<&'a [u8], u64>> {
        let mut exports = HashMap::new();
        for side in [Side::Python, Side::Runner] {
            for symbol in self.object(side).symbols.iter().filter(|symbol| symbol.is_exported()) {
                if symbol.record.st_type() == constants::STT_GNU_IFUNC {
                    return Err("its libpython exports functions that the loader chooses".into());
                }
                if symbol.is_address() {
                    exports.insert(symbol.name, self.base(side, symbol.value()));
                }
            }
        }
        Ok(exports)
    }

    /// Binds what can be bound, and notes what is left.
    fn bind(&mut self) -> Result<()> {
        let exports = self.exports()?;
        // Functions of the C library whose place pyembed's take in libpython, and in no other library.
        let replaced: HashMap<&[u8], u64> = OF_LIBC
            .iter()
            .chain(&WATCHED)
            .filter_map(|name| {
                let own = exports.get(format!("pyembed_{name}").as_bytes())?;
                Some((name.as_bytes(), *own))
            })
            .collect();
        for side in [Side::Python, Side::Runner] {
            let first = self.symbols.len();
            let object = self.object(side);
            let moved = |symbol: &Symbol<'a>| {
                let mut moved = *symbol;
                if symbol.is_address() {
                    moved.record.st_value.set(LittleEndian, self.base(side, symbol.value()));
                }
                moved
            };
            let symbols: Vec<_> = object.symbols.iter().skip(1).map(moved).collect();
            let bound = |relocation: &Relocation| {
                let symbol =
                    object.symbols.get(relocation.symbol).filter(|_| relocation.symbol != 0)?;
                let own = replaced.get(symbol.name).filter(|_| side == Side::Python);
                own.or_else(|| exports.get(symbol.name)).copied()
            };
            let relocations: Vec<_> =
                object.relocations.iter().map(|one| (*one, bound(one))).collect();
            let relative = object.relative.clone();
            self.symbols.extend(symbols);
            for place in relative {
                let place = self.base(side, place);
                let before = self.word(side, place).and_then(|word| object::long(word, 0));
                let value = self.base(side, before.ok_or(OF_CONSTANTS)?);
                self.put(side, place, value)?;
            }
            for (relocation, bound) in relocations {
                self.relocate(side, relocation, bound, first)?;
            }
        }
        // They may call what the others have bound.
        self.left.sort_by_key(|relocation| relocation.kind == constants::R_X86_64_IRELATIVE);
        self.prune();
        Ok(())
    }

    /// Does what a relocation says, or leaves it to the loader; `first` symbols are those of the other object.
    fn relocate(
        &mut self,
        side: Side,
        relocation: Relocation,
        bound: Option<u64>,
        first: usize,
    ) -> Result<()> {
        let Relocation { kind, symbol, .. } = relocation;
        let place = self.base(side, relocation.place);
        let addend = relocation.addend.cast_unsigned();
        if kind == constants::R_X86_64_RELATIVE {
            return self.put(side, place, self.base(side, addend));
        }
        let is_address = OF_ADDRESSES.contains(&kind);
        if let Some(value) = bound.filter(|_| is_address) {
            return self.put(side, place, value.wrapping_add(addend));
        }
        let (symbol, addend) = match kind {
            constants::R_X86_64_IRELATIVE => (0, self.base(side, addend).cast_signed()),
            _ if is_address || kind == constants::R_X86_64_COPY || OF_THREADS.contains(&kind) => {
                (if symbol == 0 { 0 } else { first + symbol }, relocation.addend)
            }
            RelocationType(kind) => {
                return Err(format!("it has a relocation of the unknown kind {kind}").into());
            }
        };
        self.left.push(Relocation { place, kind, symbol, addend });
        Ok(())
    }

    /// Leaves out symbols that nothing of the C library has, and nobody refers to any more.
    fn prune(&mut self) {
        let mut used = vec![false; self.symbols.len() + 1];
        for relocation in &self.left {
            used[relocation.symbol] = true;
        }
        let mut numbers = vec![0; self.symbols.len() + 1];
        let mut kept = Vec::new();
        let mut seen = HashMap::new();
        // Of two that export a name the runner's counts.
        for (place, symbol) in self.symbols.iter().enumerate().rev() {
            let is_first = !symbol.is_exported() || seen.insert(symbol.name, place).is_none();
            if used[place + 1] || (symbol.is_exported() && is_first) {
                kept.push(*symbol);
                numbers[place + 1] = kept.len();
            }
        }
        for relocation in &mut self.left {
            relocation.symbol = numbers[relocation.symbol];
        }
        self.symbols = kept;
    }

    /// The word at an address that is final.
    fn word(&mut self, side: Side, address: u64) -> Option<&mut [u8]> {
        if side == Side::Python {
            return self.data.word(address);
        }
        let at = self.runner.offset(address.checked_sub(self.runner_base)?)?;
        self.bytes.get_mut(at..at.checked_add(8)?)
    }

    fn put(&mut self, side: Side, address: u64, value: u64) -> Result<()> {
        let word = self.word(side, address).ok_or(OF_CONSTANTS)?;
        word.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}
