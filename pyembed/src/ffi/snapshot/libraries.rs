//! Libraries that libpython needs, where `pyox-snapshot` has made them part of the executable with it.
//!
//! Their data is in no image: it is as their constructors leave it, which each process calls. So they must keep nothing while a process
//! is recorded.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use pyox_blob::snapshot::Library;

use super::{address, header, place};

/// A checksum of their data before a recorded process has used them.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Library> {
    let [table, count] = header().map_or([0; 2], |header| header.libraries).map(address);
    let record = move |number| {
        // SAFETY: the header tells of the table, which is mapped.
        unsafe { place::<[u8; Library::LEN]>(table + number * Library::LEN).read() }
    };
    (0..count).filter_map(move |number| Library::read(&record(number)))
}

/// Notes what they have in their data.
pub(super) fn remember() {
    BEFORE.store(checksum(), Ordering::Relaxed);
}

/// Whether one of them has written to its data since. To be asked once, because an image holds nothing of it.
pub(super) fn have_changed() -> bool {
    BEFORE.swap(0, Ordering::Relaxed) != checksum()
}

fn checksum() -> u64 {
    let mut hasher = DefaultHasher::new();
    for library in all() {
        let [start, len] = library.data.map(address);
        // SAFETY: data that is mapped, and that no other thread writes to.
        hasher.write(unsafe { std::slice::from_raw_parts(place::<u8>(start), len) });
    }
    hasher.finish()
}
