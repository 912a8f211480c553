//! A library that becomes part of the executable: libpython, or one that it needs.

use object::elf::{self as constants, PT_GNU_RELRO};
use pyox_blob::snapshot::{self, MOVABLE_IMAGE_ADDRESS, MOVABLE_LIBRARIES_ADDRESS};

use super::object::{Object, Segment};
use super::{OF_CONSTANTS, PAGE, Result};

/// Bytes of memory from an address on.
pub(super) struct Memory {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

impl Memory {
    pub(super) fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }

    pub(super) fn at(&self, address: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    pub(super) fn word(&mut self, address: u64) -> Option<&mut [u8]> {
        let start = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get_mut(start..start.checked_add(8)?)
    }
}

/// A library that becomes part of the executable.
pub(super) struct Library<'a> {
    pub(super) object: Object<'a>,
    /// What is added to its addresses.
    pub(super) base: u64,
    /// Where it begins in the executable's bytes, if it lies there as it is.
    pub(super) at: Option<u64>,
    /// Its writable data, in whole pages.
    pub(super) data: Memory,
    /// Where its thread-local data begins in that of the executable.
    pub(super) threads: u64,
}

impl<'a> Library<'a> {
    /// That of an object, which is named so in messages, with its addresses as they were linked.
    pub(super) fn of(name: &str, object: Object<'a>, at: Option<u64>) -> Result<Self> {
        let writable = || object.loaded().filter(|segment| segment.is_writable());
        let start = writable().map(|segment| segment.address).min().ok_or(OF_CONSTANTS)?;
        let end = writable().map(Segment::end).max().ok_or(OF_CONSTANTS)?;
        let (start, end) = (start / PAGE * PAGE, end.next_multiple_of(PAGE));
        let last = object.loaded().map(Segment::end).max().unwrap_or(0);
        if last > MOVABLE_IMAGE_ADDRESS - MOVABLE_LIBRARIES_ADDRESS {
            return Err(format!("{name} is too large").into());
        }
        let mut data =
            Memory { address: start, bytes: vec![0; usize::try_from(end - start).unwrap_or(0)] };
        for segment in writable() {
            let content = object.at(segment.address, segment.file_len);
            let content = content.ok_or_else(|| format!("{name} is cut short"))?;
            let at = usize::try_from(segment.address - start).unwrap_or(0);
            data.bytes[at..at + content.len()].copy_from_slice(content);
        }
        Ok(Self { object, base: 0, at, data, threads: 0 })
    }

    /// Where it begins, in whole pages.
    pub(super) fn start(&self) -> u64 {
        let first = self.object.loaded().map(|segment| segment.address).min();
        self.base + first.unwrap_or(0) / PAGE * PAGE
    }

    /// Where it ends, in whole pages.
    pub(super) fn end(&self) -> u64 {
        let last = self.object.loaded().map(Segment::end).max();
        self.base + last.unwrap_or(0).next_multiple_of(PAGE)
    }

    pub(super) fn move_by(&mut self, base: u64) {
        self.base = base;
        self.data.address += base;
    }

    /// What is not written to, from the beginning of its first page.
    pub(super) fn constants(&self) -> Option<Vec<u8>> {
        let first = self.start() - self.base;
        let len = self.data.address - self.start();
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        for segment in self.object.loaded().filter(|segment| !segment.is_writable()) {
            let content = self.object.at(segment.address, segment.file_len)?;
            let at = usize::try_from(segment.address - first).ok()?;
            bytes.get_mut(at..at + content.len())?.copy_from_slice(content);
        }
        Some(bytes)
    }

    /// What the snapshot's header says of it.
    pub(super) fn facts(&self) -> Option<snapshot::Library> {
        let short = |value: u64| u32::try_from(value).ok();
        let moved = |address: u64| match address {
            0 => Some(0),
            address => short(address + self.base),
        };
        let constants = self.object.segment(PT_GNU_RELRO).map_or(0..0, |relro| {
            let of = |address: u64| (address + self.base) / PAGE * PAGE;
            of(relro.address)..of(relro.end())
        });
        Some(snapshot::Library {
            data: [short(self.data.address)?, short(self.data.bytes.len() as u64)?],
            initializer: moved(self.object.value(constants::DT_INIT))?,
            constructors: [
                moved(self.object.value(constants::DT_INIT_ARRAY))?,
                short(self.object.value(constants::DT_INIT_ARRAYSZ))?,
            ],
            constants: [short(constants.start)?, short(constants.end - constants.start)?],
        })
    }
}
