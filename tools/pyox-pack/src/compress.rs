//! Decides how each file is stored, and compresses what is worth it.
//!
//! Sources are cold: they are read for tracebacks, and compressed. Package data is used where it lies, so
//! only what is large and shrinks well is compressed; metadata in between. Native code is copied into
//! memory at the first import that needs it, whatever its form, but unpacking it costs: numpy's import
//! takes 1.4 times as long as from a disk, and as long as from a disk when it is stored. It is compressed
//! where the manifest calls it cold, and where that is asked for. In a small blob everything is compressed, as well as
//! that goes: what is short together with others ([`crate::group`]). Programs are always stored as they are, because each start copies them. Nothing is
//! compressed that would not become a tenth smaller. Frames carry their content's length and no checksum, for the
//! record has one. Results are kept: compressing the standard library's sources takes about a second.

use pyox_blob::layout::{Codec, FileKind, is_program};
use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Store};
use zstd::bulk::Compressor;

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Nothing: a larger blob, made sooner.
    Nothing,
    /// What a start does not need, and shrinks well.
    #[default]
    Cold,
    /// Native code too: a smaller blob, a slower first import of it.
    Native,
    /// Everything but programs, code in groups: the smallest blob, slower imports. No reader of format 1 knows such a blob.
    Small,
}

/// How a file of some kind is compressed.
struct Policy {
    /// Shorter files are stored as they are.
    from: usize,
    level: i32,
}

/// The level that gives the smallest frames in reasonable time: some MB in a second.
const SMALLEST: i32 = 19;

/// Shorter files are in a group, in a small blob.
const ALONE_FROM: usize = 256 << 10;

/// Compresses the files of one blob.
pub(crate) struct Shrinker {
    store: Option<Store>,
    compression: Compression,
}

impl Shrinker {
    /// One that keeps what it made in the cache.
    pub(crate) fn new(compression: Compression) -> Result<Self, Fault> {
        let store = match compression {
            Compression::Nothing => None,
            _ => Some(Store::open("zstd")?),
        };
        Ok(Self { store, compression })
    }

    /// What went wrong with keeping results.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<String> {
        self.store.as_ref()?.trouble()
    }

    /// The form in which a file goes into the blob, or its bytes where it goes into a group. `sha256` is that of the file that
    /// the bytes are made of; `is_cold` is the manifest's word for native code.
    pub(crate) fn stored(
        &self,
        kind: FileKind,
        is_cold: bool,
        bytes: Vec<u8>,
        sha256: &Digest,
    ) -> Result<(Codec, Vec<u8>), Fault> {
        if kind == FileKind::Data && is_program(&bytes) {
            return Ok((Codec::Stored, bytes));
        }
        if self.compression == Compression::Small && !is_native(kind) && bytes.len() < ALONE_FROM {
            return Ok((Codec::Grouped, bytes));
        }
        let policy = self.policy(kind, is_cold).filter(|policy| bytes.len() >= policy.from);
        let Some(Policy { level, .. }) = policy else {
            return Ok((Codec::Stored, bytes));
        };
        let frame = self.kept(&bytes, level, sha256, |frame| {
            // An empty entry remembers that it does not pay.
            if frame.len() > bytes.len() / 10 * 9 { Vec::new() } else { frame }
        })?;
        Ok(if frame.is_empty() { (Codec::Stored, bytes) } else { (Codec::Zstd, frame) })
    }

    /// The smallest frame of a group, whether that pays or not.
    pub(crate) fn frame(&self, bytes: &[u8], sha256: &Digest) -> Result<Vec<u8>, Fault> {
        self.kept(bytes, SMALLEST, sha256, |frame| frame)
    }

    fn policy(&self, kind: FileKind, is_cold: bool) -> Option<Policy> {
        let policy = |from, level| Some(Policy { from, level });
        match (self.compression, kind) {
            (Compression::Nothing, _) => None,
            (Compression::Small, _) => policy(128, SMALLEST),
            (_, FileKind::Source) => policy(128, 9),
            (_, FileKind::Metadata) => policy(4 << 10, 9),
            (_, FileKind::Data) => policy(64 << 10, 9),
            // The standard library's, which is packed again and again and compressed once.
            (_, FileKind::Extension | FileKind::Library) if is_cold => policy(4 << 10, 9),
            // Large: quick to pack matters more than the last percent.
            (Compression::Native, _) => policy(4 << 10, 3),
            (Compression::Cold, _) => None,
        }
    }

    /// A frame from the store, or a new one, as `choose` makes it. Of one file the same bytes are made each time, but for another
    /// version of what makes them, which length and checksum tell.
    fn kept(
        &self,
        bytes: &[u8],
        level: i32,
        sha256: &Digest,
        choose: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        let version = zstd::zstd_safe::version_number();
        let len = bytes.len() as u64;
        let key = Store::key(&[
            b"zstd",
            &version.to_le_bytes(),
            &level.to_le_bytes(),
            &sha256.0,
            &len.to_le_bytes(),
            &crc32fast::hash(bytes).to_le_bytes(),
        ]);
        if let Some(frame) = self.store.as_ref().and_then(|store| store.get(&key)) {
            return Ok(frame.to_vec());
        }
        let frame = Compressor::new(level).and_then(|mut compressor| compressor.compress(bytes));
        let frame = choose(frame.fault("zstd")?);
        if let Some(store) = &self.store {
            store.put(&key, &frame);
        }
        Ok(frame)
    }
}

fn is_native(kind: FileKind) -> bool {
    matches!(kind, FileKind::Extension | FileKind::Library)
}
