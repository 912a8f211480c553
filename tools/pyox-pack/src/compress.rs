//! Decides how each file is stored, and compresses what is worth it.
//!
//! Sources are cold: they are read for tracebacks, and compressed. Package data is used where it lies, so
//! only what is large and shrinks well is compressed; metadata in between. Native code is copied into
//! memory at the first import that needs it, whatever its form, but unpacking it costs: numpy's import
//! takes 1.4 times as long as from a disk, and as long as from a disk when it is stored. It is compressed
//! where the manifest calls it cold, and where that is asked for. Programs are always stored as they are, because each start copies them. Nothing is
//! compressed that would not become a tenth smaller. Frames carry their content's length and no checksum, for the
//! record has one. Results are kept: compressing the standard library's sources takes about a second.

use pyox_blob::layout::{Codec, FileKind, is_program};
use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Store};
use zstd::bulk::Compressor;

/// How a file of some kind is compressed.
struct Policy {
    /// Shorter files are stored as they are.
    from: usize,
    level: i32,
}

fn policy(kind: FileKind, is_cold: bool, native: bool) -> Option<Policy> {
    match kind {
        FileKind::Source => Some(Policy { from: 128, level: 9 }),
        FileKind::Metadata => Some(Policy { from: 4 << 10, level: 9 }),
        FileKind::Data => Some(Policy { from: 64 << 10, level: 9 }),
        // The standard library's, which is packed again and again and compressed once.
        FileKind::Extension | FileKind::Library if is_cold => {
            Some(Policy { from: 4 << 10, level: 9 })
        }
        // Large: quick to pack matters more than the last percent.
        FileKind::Extension | FileKind::Library => {
            native.then_some(Policy { from: 4 << 10, level: 3 })
        }
    }
}

/// Compresses the files of one blob.
pub(crate) struct Shrinker {
    store: Option<Store>,
    native: bool,
}

impl Shrinker {
    /// One that keeps what it made in a store; without one it compresses nothing. `native` says whether
    /// it compresses shared objects.
    #[must_use]
    pub(crate) fn new(store: Option<Store>, native: bool) -> Self {
        Self { store, native }
    }

    /// What went wrong with keeping results.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<String> {
        self.store.as_ref()?.trouble()
    }

    /// The form in which a file goes into the blob. `sha256` is that of `bytes`; `is_cold` is the manifest's word for native code.
    pub(crate) fn stored(
        &self,
        kind: FileKind,
        is_cold: bool,
        bytes: Vec<u8>,
        sha256: &Digest,
    ) -> Result<(Codec, Vec<u8>), Fault> {
        let policy = policy(kind, is_cold, self.native)
            .filter(|_| kind != FileKind::Data || !is_program(&bytes));
        let Some(Policy { from, level }) = policy else {
            return Ok((Codec::Stored, bytes));
        };
        let Some(store) = self.store.as_ref().filter(|_| bytes.len() >= from) else {
            return Ok((Codec::Stored, bytes));
        };
        let version = zstd::zstd_safe::version_number();
        let key = Store::key(&[b"zstd", &version.to_le_bytes(), &level.to_le_bytes(), &sha256.0]);
        let frame = if let Some(frame) = store.get(&key) {
            frame
        } else {
            let frame = Compressor::new(level)
                .and_then(|mut compressor| compressor.compress(&bytes))
                .fault("zstd")?;
            // An empty entry remembers that it does not pay.
            let frame = if frame.len() > bytes.len() / 10 * 9 { Vec::new() } else { frame };
            store.put(&key, &frame);
            frame
        };
        Ok(if frame.is_empty() { (Codec::Stored, bytes) } else { (Codec::Zstd, frame) })
    }
}
