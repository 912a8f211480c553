//! The bytes of a compressed runner, as `docs/formats/runner.md` specifies them. All numbers are little-endian.

use object::elf::FileHeader64;
use object::{LittleEndian, read};

pub(crate) type Elf = FileHeader64<LittleEndian>;
pub(crate) type Segment = <Elf as read::elf::FileHeader>::ProgramHeader;

/// The section of the code that unpacks it.
pub(crate) const UNPACKER_SECTION: &str = ".pyox_unpacker";

/// The section that holds it.
pub(crate) const RUNNER_SECTION: &str = ".pyox_runner";

/// What it begins with.
pub(crate) const MAGIC: [u8; 8] = *b"PYOXRUNR";

/// The version of the layout. Readers refuse others.
pub(crate) const VERSION: u32 = 1;

/// Length of the header, which the records of the pieces follow.
pub(crate) const HEADER: usize = 72;

/// Where the CRC-32 of the header and the records is. It is computed without itself.
pub(crate) const CRC: usize = 64;

/// Length of a piece's record.
pub(crate) const RECORD: usize = 48;

/// How many pieces a runner can have: it has two for a segment.
pub(crate) const MOST_PIECES: u32 = 256;

/// How large a runner can be: ten times what one has.
pub(crate) const LARGEST: u64 = 256 << 20;

/// The unit of memory.
pub(crate) const PAGE: u64 = 4096;

/// How a piece was changed before it was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// It was not.
    None = 0,
    /// The distances of calls and jumps of x86 became targets.
    X86Calls = 1,
}

impl Filter {
    fn of(code: u32) -> Option<Self> {
        [Self::None, Self::X86Calls].into_iter().find(|filter| *filter as u32 == code)
    }
}

/// A part of the runner's file: a segment, or what lies between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it lies in memory; 0 for what is in the file alone.
    pub(crate) address: u64,
    /// Its length there.
    pub(crate) in_memory: u64,
    /// Its length in the file.
    pub(crate) len: u64,
    /// Where its zstd frame begins, from the header on.
    pub(crate) frame: u64,
    /// The frame's length.
    pub(crate) frame_len: u64,
    /// What the process may do with it, as `p_flags` has it.
    pub(crate) rights: u32,
    /// What was done to it.
    pub(crate) filter: Filter,
}

impl Piece {
    pub(crate) fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let fields = [self.address, self.in_memory, self.len, self.frame, self.frame_len];
        for (to, field) in bytes.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&self.rights.to_le_bytes());
        bytes[44..].copy_from_slice(&(self.filter as u32).to_le_bytes());
        bytes
    }

    /// Reads a record of this length. `None` for a filter that is not known.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let long = |at| u64_at(record, at);
        Some(Self {
            address: long(0)?,
            in_memory: long(8)?,
            len: long(16)?,
            frame: long(24)?,
            frame_len: long(32)?,
            rights: u32_at(record, 40)?,
            filter: Filter::of(u32_at(record, 44)?)?,
        })
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The CRC-32 of the header and the records, in one slice.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CRC]);
    hasher.update(&bytes[CRC + 4..]);
    hasher.finalize()
}
