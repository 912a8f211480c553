//! Sets, whose tables hold the elements with their hashes.

use pyo3_ffi as c;

use super::hashes::{PERTURB_SHIFT, hash_of};

/// A set, as CPython 3.11 to 3.15 has it.
#[repr(C)]
pub(super) struct Set {
    base: c::PyObject,
    pub(super) fill: isize,
    used: isize,
    mask: isize,
    pub(super) table: *mut SetEntry,
    pub(super) hash: isize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SetEntry {
    pub(super) key: *mut c::PyObject,
    hash: isize,
}

/// How many neighbours CPython tries in a set before it jumps.
const LINEAR_PROBES: usize = 9;
impl Set {
    /// The entries that are in use.
    pub(super) unsafe fn entries(set: *mut Self) -> impl Iterator<Item = SetEntry> {
        // SAFETY: the table has one more place than the mask says. What was deleted has the hash -1.
        unsafe {
            (0..=(*set).mask.cast_unsigned())
                .map(move |place| *(*set).table.add(place))
                .filter(|entry| !entry.key.is_null() && entry.hash != -1)
        }
    }

    /// Forgets the hashes of the elements, and puts them into the order of their addresses.
    pub(super) unsafe fn erase(set: *mut Self) {
        // SAFETY: a set, as it was noted, whose table has room for its elements.
        unsafe {
            let mut keys: Vec<_> = Self::entries(set).map(|entry| entry.key).collect();
            keys.sort_by_key(|key| key.addr());
            let table = (*set).table;
            table.write_bytes(0, (*set).mask.cast_unsigned() + 1);
            for (place, key) in keys.into_iter().enumerate() {
                table.add(place).write(SetEntry { key, hash: 0 });
            }
        }
    }

    /// Hashes the elements, and fills the table.
    pub(super) unsafe fn renew(set: *mut Self) {
        // SAFETY: a set, as it was noted.
        unsafe {
            let entries: Vec<SetEntry> = Self::entries(set)
                .map(|entry| SetEntry { key: entry.key, hash: hash_of(entry.key, entry.hash) })
                .collect();
            let (table, mask) = ((*set).table, (*set).mask.cast_unsigned());
            table.write_bytes(0, mask + 1);
            for entry in &entries {
                Self::place(table, mask, entry.hash).write(*entry);
            }
            (*set).fill = entries.len().cast_signed();
        }
    }

    /// The place of an element, as CPython looks for it.
    pub(super) unsafe fn place(table: *mut SetEntry, mask: usize, hash: isize) -> *mut SetEntry {
        let mut perturb = hash.cast_unsigned();
        let mut at = perturb & mask;
        loop {
            let probes = if at + LINEAR_PROBES <= mask { LINEAR_PROBES } else { 0 };
            for neighbour in at..=at + probes {
                // SAFETY: no place is behind the mask.
                let place = unsafe { table.add(neighbour) };
                // SAFETY: as above.
                if unsafe { (*place).key.is_null() } {
                    return place;
                }
            }
            perturb >>= PERTURB_SHIFT;
            at = at.wrapping_mul(5).wrapping_add(1).wrapping_add(perturb) & mask;
        }
    }
}
