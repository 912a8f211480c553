//! A portable executable as one at fixed addresses that has its libpython inside.
//!
//! A portable executable loads libpython and what it needs from its blob, at addresses that differ from process to process. Here all are
//! linked as the dynamic loader would do it: libpython takes the segments that its runner keeps for it, right before the runner's data,
//! and all that one of them wants of another is bound. What is left for the loader is
//! what they want of the C library. The result is a dynamic executable like others, which can have a snapshot.
//!
//! The libraries that libpython needs, such as zlib, lie before it. Their data is in no image: it is as their constructors have left
//! it, in the recorded process too.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | what a linked file says |
//! | [`sections`] | where the executable's parts are |
//! | [`library`] | a library that becomes part of it |
//! | [`tables`] | what the loader reads of the result |
//! | [`file`] | the result |

mod file;
mod library;
mod object;
mod sections;
mod tables;

use std::borrow::Cow;
use std::collections::HashMap;

use ::object::LittleEndian;
use ::object::elf::{self as constants, DT_NEEDED, DT_SONAME, PT_TLS, RelocationType};
use pyox_blob::layout::ELF_SECTION;
use pyox_blob::snapshot::{
    DATA_SECTION, FIXED_BLOB_ADDRESS, IMAGE_ADDRESS, LIBRARY_SECTIONS, MOVABLE_IMAGE_ADDRESS,
    MOVABLE_LIBRARIES_ADDRESS, OF_LIBC, PYTHON_SECTIONS, WATCHED,
};
use pyox_blob::{Blob, Groups, tree};

use library::Library;
use object::{Object, Relocation, Segment, Symbol};
use sections::Sections;
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
const OF_CONSTANTS: &str = "its libpython or a library has relocations of constants";

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
    let files = libraries(sections.content(executable, ELF_SECTION).ok_or_else(damaged)?)?;
    let place = |bytes: &Cow<'_, [u8]>| match bytes {
        // Its pages can be mapped from where they are.
        Cow::Borrowed(bytes) => {
            let start = (bytes.as_ptr().addr() - executable.as_ptr().addr()) as u64;
            Some(start).filter(|start| start.is_multiple_of(PAGE))
        }
        Cow::Owned(_) => None,
    };
    let mut objects = Vec::new();
    for (name, bytes) in &files {
        let object = Object::parse(bytes).ok_or_else(|| format!("{name} cannot be read"))?;
        objects.push((name.as_str(), object, place(bytes)));
    }
    let mut link = Link::new(runner, objects, sections)?;
    link.bind()?;
    link.write().ok_or_else(damaged)
}

/// The libpython of a blob, and what it needs, each with its path there.
fn libraries(blob: &[u8]) -> Result<Vec<(String, Cow<'_, [u8]>)>> {
    let read = || {
        let blob = Blob::open(blob)?;
        let path = tree::libpython(blob.config()?.python);
        let Some(python) = blob.file_number(&path)? else { return Ok(None) };
        let mut groups = Groups::default();
        let numbers = blob.load_order(python)?.into_iter().flatten().rev();
        let each = numbers.map(|number| {
            let file = blob.file_at(number)?;
            Ok((file.path.to_owned(), blob.content_of(&file, &mut groups)?))
        });
        each.collect::<std::result::Result<_, _>>().map(Some)
    };
    let found: std::result::Result<Option<_>, pyox_blob::Error> = read();
    let found = found.map_err(|error| Unfit::from(format!("its blob: {error}")))?;
    found.ok_or_else(|| "expected a libpython in its blob, found none".into())
}

/// The files, and what comes of them.
struct Link<'a> {
    runner: Object<'a>,
    sections: Sections,
    /// What is added to the runner's addresses.
    runner_base: u64,
    /// The runner's bytes, with the blob.
    bytes: Vec<u8>,
    /// libpython, which reaches to the beginning of the runner's data; then what it needs.
    libraries: Vec<Library<'a>>,
    /// What is left to the loader; with the numbers of symbols below, counted from 1.
    left: Vec<Relocation>,
    /// Symbols, with their final values.
    symbols: Vec<Symbol<'a>>,
}

/// Whose a relocation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Runner,
    /// The library of that number.
    Library(usize),
}

impl Side {
    /// Whether it is a library that libpython needs.
    fn is_needed(self) -> bool {
        matches!(self, Self::Library(number) if number != PYTHON)
    }
}

/// The number of libpython among the libraries.
const PYTHON: usize = 0;

impl<'a> Link<'a> {
    /// Gives each of them its place: libpython, which comes first, right before the runner's data, and what it needs from where there
    /// is room for it.
    fn new(
        runner: Object<'a>,
        objects: Vec<(&str, Object<'a>, Option<u64>)>,
        sections: Sections,
    ) -> Result<Self> {
        let names = own_names(objects.iter().map(|(_, object, _)| object));
        for (path, object, _) in &objects {
            let needed = object.names(DT_NEEDED).unwrap_or_default();
            let is_there = |name: &&[u8]| {
                names.contains(name) || std::str::from_utf8(name).is_ok_and(pyox_elf::is_libc)
            };
            if let Some(name) = needed.iter().find(|name| !is_there(name)) {
                let name = String::from_utf8_lossy(name);
                return Err(format!("{path} needs {name}, which is not in its blob").into());
            }
        }
        let (mut libraries, mut threads) = (Vec::new(), 0_u64);
        for (name, object, at) in objects {
            let of_threads = object.segment(PT_TLS);
            if of_threads.is_some_and(|segment| segment.alignment > ALIGNMENT as u64) {
                return Err(format!("{name} aligns thread-local data to more than 64 bytes").into());
            }
            let is_python = libraries.is_empty();
            if !has_known_order(&object, is_python) {
                return Err(format!("{name} has an order of segments that is not known").into());
            }
            let mut library = Library::of(name, object, at)?;
            if let Some(segment) = of_threads {
                if segment.len > ROOM_FOR_TABLES {
                    return Err(format!("{name} has too much thread-local data").into());
                }
                library.threads = threads.next_multiple_of(segment.alignment.max(1));
                threads = library.threads + segment.len;
            }
            libraries.push(library);
        }
        if libraries.len() > 1 + LIBRARY_SECTIONS.len() {
            let (count, most) = (libraries.len() - 1, LIBRARY_SECTIONS.len());
            return Err(
                format!("its libpython needs {count} libraries, expected at most {most}").into()
            );
        }
        let has_room = |names: &[&str; 2]| names.iter().all(|name| sections.named(name).is_some());
        if libraries.len() > 1 && !LIBRARY_SECTIONS.iter().all(has_room) {
            return Err(Unfit::from("an older pyox has linked it").hint("link it again"));
        }
        let runner_base = IMAGE_ADDRESS - MOVABLE_IMAGE_ADDRESS;
        let mut free = runner_base + MOVABLE_LIBRARIES_ADDRESS;
        let (python, needed) = libraries.split_at_mut(1);
        for library in needed {
            let base = free - library.start();
            library.move_by(base);
            free = library.end();
        }
        let len = python[0].end();
        if free + len + ROOM_FOR_TABLES > IMAGE_ADDRESS {
            return Err("its libpython and what it needs are too large".into());
        }
        python[0].move_by(IMAGE_ADDRESS - len);
        let bytes = runner.bytes.to_vec();
        Ok(Self {
            runner,
            sections,
            runner_base,
            bytes,
            libraries,
            left: Vec::new(),
            symbols: Vec::new(),
        })
    }

    fn python(&self) -> &Library<'a> {
        &self.libraries[PYTHON]
    }

    /// What libpython needs.
    fn needed(&self) -> &[Library<'a>] {
        &self.libraries[PYTHON + 1..]
    }

    /// All of them; of two that have a name the last one's counts.
    fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        (0..self.libraries.len()).rev().map(Side::Library).chain([Side::Runner])
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
            Side::Library(number) => address.wrapping_add(self.libraries[number].base),
        }
    }

    fn object(&self, side: Side) -> &Object<'a> {
        match side {
            Side::Runner => &self.runner,
            Side::Library(number) => &self.libraries[number].object,
        }
    }

    /// Where names lead, by the addresses of what the runner and libpython export, and of what the libraries do that it needs. What the
    /// runner has goes first, as in the loader's lookups.
    fn exports(&self) -> Result<[HashMap<&'a [u8], u64>; 2]> {
        let mut exports = [HashMap::new(), HashMap::new()];
        for side in self.sides() {
            let is_needed = side.is_needed();
            for symbol in self.object(side).symbols.iter().filter(|symbol| symbol.is_exported()) {
                if symbol.record.st_type() == constants::STT_GNU_IFUNC {
                    let what = if is_needed {
                        "a library that its libpython needs"
                    } else {
                        "its libpython"
                    };
                    return Err(format!("{what} exports functions that the loader chooses").into());
                }
                if symbol.is_address() {
                    let address = self.base(side, symbol.value());
                    exports[usize::from(is_needed)].insert(symbol.name, address);
                }
            }
        }
        Ok(exports)
    }

    /// Binds what can be bound, and notes what is left.
    fn bind(&mut self) -> Result<()> {
        let [exports, of_needed] = self.exports()?;
        let names = own_names(self.needed().iter().map(|library| &library.object));
        // Functions of the C library whose place pyembed's take in libpython and what it needs, and in no other library.
        let replaced: HashMap<&[u8], u64> = OF_LIBC
            .iter()
            .chain(&WATCHED)
            .filter_map(|name| {
                let own = exports.get(format!("pyembed_{name}").as_bytes())?;
                Some((name.as_bytes(), *own))
            })
            .collect();
        for side in self.sides() {
            let first = self.symbols.len();
            let object = self.object(side);
            let is_needed = side.is_needed();
            let moved = |symbol: &Symbol<'a>| {
                let mut moved = *symbol;
                if is_needed && symbol.is_defined() {
                    // Others have their own.
                    moved.record.st_other = constants::SymbolOther(constants::STV_HIDDEN.0);
                }
                if symbol.is_address() {
                    moved.record.st_value.set(LittleEndian, self.base(side, symbol.value()));
                }
                moved
            };
            let symbols: Vec<_> = object.symbols.iter().skip(1).map(moved).collect();
            let bound = |relocation: &Relocation| {
                let symbol =
                    object.symbols.get(relocation.symbol).filter(|_| relocation.symbol != 0)?;
                let own = replaced.get(symbol.name).filter(|_| side != Side::Runner);
                // A version names the library that is meant.
                let is_of_needed =
                    symbol.version.is_none_or(|(library, _)| names.contains(&library));
                let needed = || of_needed.get(symbol.name).filter(|_| is_of_needed);
                own.or_else(|| exports.get(symbol.name)).or_else(needed).copied()
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
        let relocation = if OF_THREADS.contains(&kind) {
            self.in_threads(side, relocation)?
        } else {
            relocation
        };
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
        let of_threads = self.object(side).segment(PT_TLS);
        let is_first = |segment: Segment| {
            (segment.address..segment.address + segment.file_len).contains(&relocation.place)
        };
        if of_threads.is_some_and(is_first) {
            return Err("it has thread-local data that the loader begins".into());
        }
        self.left.push(Relocation { place, kind, symbol, addend });
        Ok(())
    }

    /// Has a relocation of thread-local data lead to a library's, which begins so far behind that of the executable. libpython's, which
    /// is first, can stay as it is.
    fn in_threads(&mut self, side: Side, relocation: Relocation) -> Result<Relocation> {
        let threads = match side {
            Side::Library(number) => self.libraries[number].threads,
            Side::Runner => 0,
        };
        if threads == 0 {
            return Ok(relocation);
        }
        if relocation.symbol != 0 {
            return Err("a library that its libpython needs exports thread-local data".into());
        }
        if relocation.kind != constants::R_X86_64_DTPMOD64 {
            return Ok(Relocation {
                addend: relocation.addend.wrapping_add(threads.cast_signed()),
                ..relocation
            });
        }
        // The next word says where in the module's block.
        let place = self.base(side, relocation.place) + 8;
        let before = self.word(side, place).and_then(|word| object::long(word, 0));
        self.put(side, place, before.ok_or(OF_CONSTANTS)?.wrapping_add(threads))?;
        Ok(relocation)
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
        if let Side::Library(number) = side {
            return self.libraries[number].data.word(address);
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

/// The names by which the loader knows libraries.
fn own_names<'a: 'b, 'b>(objects: impl Iterator<Item = &'b Object<'a>>) -> Vec<&'a [u8]> {
    objects.flat_map(|object| object.names(DT_SONAME).unwrap_or_default()).collect()
}

/// Whether an object has what is read, code, what is read, and then what is written to: either of the first and the third may be
/// missing. A libpython may have code behind that.
fn has_known_order(object: &Object<'_>, is_python: bool) -> bool {
    let order: Vec<_> =
        object.loaded().map(|segment| (segment.is_writable(), segment.is_code())).collect();
    let data = order.iter().position(|order| order.0).unwrap_or(order.len());
    let (before, rest) = order.split_at(data);
    let late = rest.iter().position(|order| !order.0).unwrap_or(rest.len());
    let (data, late) = rest.split_at(late);
    matches!(
        before,
        [(_, false), (_, true)]
            | [(_, false), (_, true), (_, false)]
            | [(_, true)]
            | [(_, true), (_, false)]
    ) && data.iter().all(|order| *order == (true, false))
        && (late.is_empty() || is_python && late == [(false, true)])
}
