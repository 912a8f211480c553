//! Groups: payloads that are compressed together, so that what they have in common is stored once.

use crate::Error;

/// The groups that were decoded last, for a caller that reads one payload after the other: neighbours are in one group.
///
/// Keeps two MiB of decoded groups, or one group that is larger. Whoever reads a single payload passes a new one.
#[derive(Debug, Default)]
pub struct Groups<'a> {
    /// The last one was used last.
    recent: Vec<Decoded<'a>>,
}

/// A frame and what it stands for.
#[derive(Debug)]
struct Decoded<'a> {
    stored: &'a [u8],
    bytes: Vec<u8>,
}

/// How many decoded bytes are kept.
const KEPT: usize = 2 << 20;

impl<'a> Groups<'a> {
    /// What a frame decodes to, which must be `len` bytes. Two blobs' frames are told apart by where they lie.
    pub(crate) fn decoded(
        &mut self,
        stored: &'a [u8],
        len: usize,
        place: impl Fn() -> String,
    ) -> Result<&[u8], Error> {
        let is_it =
            |known: &Decoded| std::ptr::eq(known.stored, stored) && known.bytes.len() == len;
        if let Some(at) = self.recent.iter().position(is_it) {
            self.recent[at..].rotate_left(1);
        } else {
            let bytes = decoded(stored, len, place)?;
            let mut kept: usize = self.recent.iter().map(|known| known.bytes.len()).sum();
            while kept + len > KEPT && !self.recent.is_empty() {
                kept -= self.recent.remove(0).bytes.len();
            }
            self.recent.push(Decoded { stored, bytes });
        }
        Ok(self.recent.last().map_or(&[], |known| &known.bytes))
    }
}

/// What a zstd frame decodes to. No more room is made than for `len` bytes.
pub(crate) fn decoded(
    stored: &[u8],
    len: usize,
    place: impl Fn() -> String,
) -> Result<Vec<u8>, Error> {
    let malformed = |what| Error::Malformed(format!("{}: {what}", place()));
    let bytes = zstd::bulk::decompress(stored, len)
        .map_err(|error| malformed(format!("expected {len} bytes of a zstd frame: {error}")))?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    Err(malformed(format!("expected {len} bytes, its stored bytes decode to {}", bytes.len())))
}
