//! A compressed runner as it was, byte for byte, for tools that look into an executable.

use std::borrow::Cow;

use object::LittleEndian;
use object::elf::PT_LOAD;
use object::read::elf::{FileHeader, ProgramHeader};
use pyox_schema::Digest;
use pyox_stage::{Fault, Result};

use crate::addresses::RUNNER_ADDRESS;
use crate::calls;
use crate::join::Joined;
use crate::layout::{
    self, CRC, Elf, Filter, HEADER, LARGEST, MAGIC, MOST_PIECES, Piece, RECORD, VERSION, u32_at,
    u64_at,
};

/// A compressed runner in an executable.
#[derive(Debug, Clone, Copy)]
pub struct Compressed<'a> {
    bytes: &'a [u8],
    /// What lies in the last segment, which is the blob's.
    blob: &'a [u8],
}

impl<'a> Compressed<'a> {
    /// Finds the compressed runner of an executable, by the headers that the kernel reads. `None` if it has none.
    #[must_use]
    pub fn find(executable: &'a [u8]) -> Option<Self> {
        let endian = LittleEndian;
        let elf = Elf::parse(executable).ok()?;
        let segments = elf.program_headers(endian, executable).ok()?;
        let loaded = || segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
        let runner = loaded().find(|segment| segment.p_vaddr(endian) == RUNNER_ADDRESS)?;
        let bytes = runner.data(endian, executable).ok()?;
        let last = loaded().max_by_key(|segment| segment.p_vaddr(endian))?;
        let blob = last.data(endian, executable).ok()?;
        bytes.starts_with(&MAGIC).then_some(Self { bytes, blob })
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// How many bytes it is made of, as it says itself.
    #[must_use]
    pub fn original_size(&self) -> u64 {
        u64_at(self.bytes, 16).unwrap_or_default()
    }

    /// SHA-256 of the runner that it was made of, as it says itself. `None` if it is cut off.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        Some(Digest(*self.bytes.get(32..)?.first_chunk()?))
    }

    /// The runner that it was made of.
    ///
    /// # Errors
    ///
    /// If it is of another version, or damaged: its checksums, or its SHA-256, do not hold.
    pub fn runner(&self) -> Result<Vec<u8>> {
        let version = u32_at(self.bytes, 8).ok_or_else(|| damaged("it is cut off"))?;
        if version != VERSION {
            return Err(damaged(&format!("expected version {VERSION}, got {version}")));
        }
        let runner = self.decoded()?;
        let (expected, found) = (self.digest(), Digest::of(&runner));
        match expected {
            Some(expected) if expected != found => {
                let (expected, found) = (expected.short(), found.short());
                Err(damaged(&format!("expected SHA-256 {expected}, found {found}")))
            }
            _ => Ok(runner),
        }
    }

    fn decoded(&self) -> Result<Vec<u8>> {
        let count = u32_at(self.bytes, 12).filter(|count| *count <= MOST_PIECES);
        let len = Some(self.original_size()).filter(|len| *len <= LARGEST);
        let (Some(count), Some(len), Some(stored)) = (count, len, u32_at(self.bytes, CRC)) else {
            return Err(damaged("its header says what cannot be"));
        };
        let head = self.bytes.get(..HEADER + RECORD * count as usize);
        let head = head.ok_or_else(|| damaged("it is cut off"))?;
        let found = layout::crc(head);
        if found != stored {
            return Err(damaged(&format!("expected CRC-32 {stored:08x}, found {found:08x}")));
        }
        let mut runner = Vec::new();
        for record in head[HEADER..].chunks_exact(RECORD) {
            let piece = Piece::read(record).ok_or_else(|| damaged("it has an unknown filter"))?;
            if piece.len > len - runner.len() as u64 {
                return Err(damaged("its pieces are longer than all of it"));
            }
            runner.extend(self.piece(&piece)?);
        }
        if runner.len() as u64 != len {
            return Err(damaged(&format!("expected {len} bytes, got {}", runner.len())));
        }
        Ok(runner)
    }

    fn piece(&self, piece: &Piece) -> Result<Vec<u8>> {
        if piece.len == 0 {
            return Ok(Vec::new());
        }
        let frame = || {
            let start = usize::try_from(piece.frame).ok()?;
            let len = usize::try_from(piece.frame_len).ok()?;
            self.bytes.get(start..start.checked_add(len)?)
        };
        let frame = frame().ok_or_else(|| damaged("it is cut off"))?;
        let len = usize::try_from(piece.len).unwrap_or_default();
        let mut bytes = zstd::bulk::decompress(frame, len)
            .map_err(|error| damaged(&format!("a piece does not decode: {error}")))?;
        if bytes.len() != len {
            return Err(damaged(&format!("expected a piece of {len} bytes, got {}", bytes.len())));
        }
        if piece.filter == Filter::X86Calls {
            calls::relative(&mut bytes);
        }
        Ok(bytes)
    }
}

/// An executable as it is without compression of its runner: the same bytes if that is not compressed.
///
/// # Errors
///
/// As [`Compressed::runner`].
pub fn expanded(executable: &[u8]) -> Result<Cow<'_, [u8]>> {
    let Some(compressed) = Compressed::find(executable) else { return Ok(executable.into()) };
    let mut whole = Vec::new();
    let runner = compressed.runner()?;
    // Writing to memory cannot fail.
    let _ = Joined::new(&runner, compressed.blob)?.send(&mut whole);
    Ok(whole.into())
}

fn damaged(what: &str) -> Fault {
    Fault::new("compressed runner", what)
}
