//! Decides how each file is stored, and compresses what is worth it.
//!
//! Sources and native code are cold: a source is read for a traceback, a shared object is copied out of
//! the blob once whatever its form. Both are compressed. Package data is used where it lies, so
//! only what is large and shrinks well is compressed; metadata in between. Nothing is compressed that
//! would not become a tenth smaller. Frames carry their content's length and no checksum, for the
//! record has one. Results are kept: compressing the standard library's sources takes about a second.

use pyox_blob::layout::{Codec, FileKind};
use pyox_cli::{Fault, HintExt};
use pyox_schema::Digest;
use zstd::bulk::Compressor;

use crate::store::Store;

/// How a file of some kind is compressed.
struct Policy {
    /// Shorter files are stored as they are.
    from: usize,
    level: i32,
}

fn policy(kind: FileKind) -> Policy {
    match kind {
        FileKind::Source => Policy { from: 128, level: 9 },
        FileKind::Metadata => Policy { from: 4 << 10, level: 9 },
        FileKind::Data => Policy { from: 64 << 10, level: 9 },
        // Large, and often changed by nobody: quick to pack matters more than the last percent.
        FileKind::Extension | FileKind::Library => Policy { from: 4 << 10, level: 3 },
    }
}

/// Compresses the files of one blob.
pub struct Shrinker {
    store: Option<Store>,
}

impl Shrinker {
    /// One that keeps what it made in a store; without one it compresses nothing.
    #[must_use]
    pub fn new(store: Option<Store>) -> Self {
        Self { store }
    }

    /// What went wrong with keeping results.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.store.as_ref()?.trouble()
    }

    /// The form in which a file goes into the blob. `sha256` is that of `bytes`.
    pub fn stored(
        &self,
        kind: FileKind,
        bytes: Vec<u8>,
        sha256: &Digest,
    ) -> Result<(Codec, Vec<u8>), Fault> {
        let Policy { from, level } = policy(kind);
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
