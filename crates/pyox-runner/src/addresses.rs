//! Where what starts a compressed runner lies in memory: above all that an image of a snapshot can reach, below the blob.

/// Where the file's first bytes lie, its headers.
pub(crate) const HEADERS_ADDRESS: u64 = 0x5f00_0000;

/// Where the unpacker's first instruction lies.
pub(crate) const UNPACKER_ADDRESS: u64 = 0x5f00_1000;

/// Where the compressed runner lies.
pub(crate) const RUNNER_ADDRESS: u64 = 0x5f10_0000;
