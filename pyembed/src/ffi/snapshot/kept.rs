//! Hashes that structures of CPython keep beside dictionaries and sets: entries of `functools.lru_cache`, and the nodes of an
//! `OrderedDict`. Both are used to find an entry again when it goes.

use pyo3_ffi as c;

use super::hashes::{Pointer, hash_of};
use super::objects::Kind;

/// An entry of a cache, as CPython 3.11 to 3.15 has it.
#[repr(C)]
struct Entry {
    base: c::PyObject,
    previous: *mut Entry,
    next: *mut Entry,
    hash: isize,
    key: *mut c::PyObject,
}

/// A cache begins with an entry that is the root of all others; as CPython 3.12 to 3.14 has it.
#[repr(C)]
struct Cache {
    root: Entry,
    result: *mut c::PyObject,
    wrapper: usize,
    is_typed: usize,
    entries: *mut c::PyObject,
}

/// The dictionary in which a cache finds its entries, and in which nothing else may stand.
///
/// # Safety
/// The object must be such a cache.
pub(super) unsafe fn entries_of(cache: *mut c::PyObject) -> *mut c::PyObject {
    // SAFETY: the caller's word.
    unsafe { (*cache.cast::<Cache>()).entries }
}

/// An `OrderedDict` begins with a dictionary; then its nodes, from the first on.
#[repr(C)]
struct Ordered {
    base: c::PyDictObject,
    first: *mut Node,
}

#[repr(C)]
struct Node {
    key: *mut c::PyObject,
    hash: isize,
    next: *mut Node,
}

/// Those of an image.
#[derive(Default)]
pub(super) struct Kept {
    entries: Vec<Pointer<c::PyObject>>,
    ordered: Vec<Pointer<c::PyObject>>,
}

impl Kept {
    /// Notes an object of that kind.
    pub(super) fn note(&mut self, object: *mut c::PyObject, kind: Kind) {
        match kind {
            Kind::CacheEntry => self.entries.push(Pointer(object)),
            Kind::OrderedDictionary => self.ordered.push(Pointer(object)),
            _ => {}
        }
    }

    /// Forgets what room is not used.
    pub(super) fn complete(&mut self) {
        self.entries.shrink_to_fit();
        self.ordered.shrink_to_fit();
    }

    /// Forgets the hashes.
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn erase(&self) {
        // SAFETY: the caller's word.
        unsafe { self.each(|_, hash| *hash = 0) };
    }

    /// Adds the places of the hashes.
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn add_addresses(&self, to: &mut Vec<usize>) {
        // SAFETY: the caller's word.
        unsafe { self.each(|_, hash| to.push(hash.addr())) };
    }

    /// Hashes all keys anew.
    ///
    /// # Safety
    /// The thread must be attached, what was noted as it was then, and all dictionaries complete: code of Python's may run.
    pub(super) unsafe fn renew(&self) {
        // SAFETY: the caller's word.
        unsafe { self.each(|key, hash| *hash = hash_of(key, *hash)) };
    }

    /// Calls a function with each key and where its hash is kept.
    unsafe fn each(&self, mut call: impl FnMut(*mut c::PyObject, *mut isize)) {
        // SAFETY: the caller's word.
        unsafe {
            for entry in &self.entries {
                let entry: *mut Entry = entry.0.cast();
                // An entry that is about to go has none.
                if !(*entry).key.is_null() {
                    call((*entry).key, &raw mut (*entry).hash);
                }
            }
            for ordered in &self.ordered {
                let mut node = (*ordered.0.cast::<Ordered>()).first;
                while !node.is_null() {
                    call((*node).key, &raw mut (*node).hash);
                    node = (*node).next;
                }
            }
        }
    }
}
