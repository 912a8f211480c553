//! Fresh hashes: what an image holds was hashed by the seed of the process that was recorded, which everybody can know.
//!
//! A process that begins with the image gets a seed of its own, and all that depends on it is made anew: the hashes that
//! text and bytes keep, the tables of dictionaries and sets, and CPython's own tables of names.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::ptr;

use pyo3_ffi as c;

use super::kept::Kept;
use super::objects::Kind;
use super::sets::Set;

/// What of an image depends on the seed.
#[derive(Default)]
pub(super) struct Hashed {
    texts: Vec<Pointer<c::PyObject>>,
    references: Vec<Pointer<c::PyObject>>,
    dates: Vec<Pointer<c::PyObject>>,
    keys: Vec<Pointer<Keys>>,
    sets: Vec<Pointer<Set>>,
    /// Those whose elements have a hash that Python code computes; they come last.
    late_keys: Vec<Pointer<Keys>>,
    late_sets: Vec<Pointer<Set>>,
    tables: Vec<Pointer<Table>>,
    kept: Kept,
}

/// The address of something in the image.
pub(super) struct Pointer<T>(pub(super) *mut T);

// SAFETY: an address, for the one thread of a process that begins.
unsafe impl<T> Send for Pointer<T> {}

/// The keys of a dictionary, as CPython 3.11 to 3.15 has them. The table of indices follows, and behind it the entries.
#[repr(C)]
pub(super) struct Keys {
    count: isize,
    log2_size: u8,
    log2_index_bytes: u8,
    kind: u8,
    version: u32,
    usable: isize,
    entries: isize,
}

/// Keys of any type have entries with a hash.
const GENERAL: u8 = 0;

#[repr(C)]
struct GeneralEntry {
    hash: isize,
    key: *mut c::PyObject,
    value: *mut c::PyObject,
}

#[repr(C)]
struct TextEntry {
    key: *mut c::PyObject,
    value: *mut c::PyObject,
}

pub(super) const PERTURB_SHIFT: u32 = 5;

/// A table of CPython's own, from keys of C to values.
#[repr(C)]
pub(super) struct Table {
    len: usize,
    buckets_len: usize,
    buckets: *mut *mut TableEntry,
    get: *const c_void,
    hash: Option<unsafe extern "C" fn(*const c_void) -> usize>,
    compare: *const c_void,
    destroy: [*const c_void; 2],
    allocator: [*const c_void; 2],
}

#[repr(C)]
struct TableEntry {
    next: *mut TableEntry,
    hash: usize,
    key: *const c_void,
}

/// CPython's seed, of three numbers.
const SEED_LEN: usize = 24;

unsafe extern "C" {
    #[link_name = "_Py_HashSecret"]
    static mut SEED: [u8; SEED_LEN];
}

impl Hashed {
    /// Notes an object of the image.
    ///
    /// # Safety
    /// It must be a live one of that kind.
    pub(super) unsafe fn note(&mut self, object: *mut c::PyObject, kind: Kind) {
        // SAFETY: the caller's word.
        unsafe {
            match kind {
                Kind::Text if (*object.cast::<c::PyASCIIObject>()).hash != -1 => {
                    self.texts.push(Pointer(object));
                }
                Kind::Bytes if *bytes_hash(object) != -1 => self.texts.push(Pointer(object)),
                Kind::WeakReference if *reference_hash(object) != -1 => {
                    self.references.push(Pointer(object));
                }
                Kind::Date if *date_hash(object) != -1 => self.dates.push(Pointer(object)),
                Kind::Dictionary | Kind::OrderedDictionary => {
                    self.note_keys((*object.cast::<c::PyDictObject>()).ma_keys.cast());
                    self.kept.note(object, kind);
                }
                Kind::CacheEntry => self.kept.note(object, kind),
                Kind::Set if (*object.cast::<Set>()).fill > 0 => {
                    let set: *mut Set = object.cast();
                    let is_late = Set::entries(set).any(|entry| is_late(entry.key));
                    let sets = if is_late { &mut self.late_sets } else { &mut self.sets };
                    sets.push(Pointer(set));
                }
                _ => {}
            }
        }
    }

    /// Notes a block that is no object, if it is one of CPython's own tables.
    ///
    /// # Safety
    /// The block must be a live one of that capacity.
    pub(super) unsafe fn note_block(&mut self, block: usize, capacity: usize) {
        let table = super::place::<Table>(block);
        // SAFETY: the caller's word.
        if unsafe { capacity >= size_of::<Table>() && Table::is_one(table) } {
            self.tables.push(Pointer(table));
        }
    }

    /// Notes the keys for the dictionaries of a class's instances.
    ///
    /// # Safety
    /// The class must be one that was made at run time.
    pub(super) unsafe fn note_class(&mut self, class: *mut c::PyTypeObject) {
        // SAFETY: the caller's word.
        unsafe { self.note_keys((*class.cast::<c::PyHeapTypeObject>()).ht_cached_keys.cast()) };
    }

    unsafe fn note_keys(&mut self, keys: *mut Keys) {
        // SAFETY: null, or the keys of a dictionary.
        unsafe {
            if keys.is_null() || (*keys).entries == 0 {
                return;
            }
            let is_late =
                (*keys).kind == GENERAL && Keys::general(keys).any(|entry| is_late((*entry).key));
            let list = if is_late { &mut self.late_keys } else { &mut self.keys };
            list.push(Pointer(keys));
        }
    }

    /// To be called when all are noted.
    pub(super) fn complete(&mut self) {
        for list in [&mut self.keys, &mut self.late_keys] {
            list.sort_by_key(|keys| keys.0.addr());
            list.dedup_by_key(|keys| keys.0.addr());
            list.shrink_to_fit();
        }
        self.tables.shrink_to_fit();
        for list in [&mut self.texts, &mut self.references, &mut self.dates] {
            list.shrink_to_fit();
        }
        self.sets.shrink_to_fit();
        self.late_sets.shrink_to_fit();
        self.kept.complete();
    }

    /// How many objects keep a hash.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Addresses in all that is written to when everything is hashed anew, sorted.
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn addresses(&self) -> Vec<usize> {
        let mut all = Vec::new();
        for list in [&self.texts, &self.references, &self.dates] {
            all.extend(list.iter().map(|object| object.0.addr()));
        }
        all.extend(self.keys.iter().chain(&self.late_keys).map(|keys| keys.0.addr()));
        // SAFETY: the caller's word.
        unsafe {
            for set in self.sets.iter().chain(&self.late_sets) {
                all.extend([set.0.addr(), (*set.0).table.addr()]);
            }
            for table in &self.tables {
                all.push((*table.0).buckets.addr());
                all.extend(Table::entries(table.0).iter().map(|entry| entry.addr()));
            }
            self.kept.add_addresses(&mut all);
        }
        all.sort_unstable();
        all
    }

    /// Before an image is taken: what depends on hashes that Python code computes is made the same in all of them, and
    /// complete only when a process hashes it anew.
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn settle(&self) {
        // SAFETY: the caller's word.
        unsafe {
            self.renew_plain();
            for keys in &self.late_keys {
                Keys::erase(keys.0);
            }
            for set in &self.late_sets {
                Set::erase(set.0);
            }
            self.kept.erase();
        }
    }

    /// Keeps only what has one of these texts in it, or was erased.
    ///
    /// # Safety
    /// What was noted must be as it was then.
    pub(super) unsafe fn keep_those_of(&mut self, texts: &BTreeSet<usize>) {
        let is_one = |key: *mut c::PyObject| texts.contains(&key.addr());
        // SAFETY: the caller's word.
        let has = |keys: &Pointer<Keys>| unsafe { Keys::all(keys.0).any(is_one) };
        // SAFETY: as above.
        let holds = |set: &Pointer<Set>| unsafe { Set::entries(set.0).any(|e| is_one(e.key)) };
        self.texts.retain(|text| is_one(text.0));
        self.keys.retain(has);
        self.sets.retain(holds);
        self.references.clear();
        self.dates.clear();
        self.tables.clear();
    }

    /// Hashes everything anew, by the seed of this process.
    ///
    /// # Safety
    /// The thread must be attached, and what was noted must be as it was then.
    pub(super) unsafe fn renew(&self) {
        // SAFETY: the caller's word. Code of Python's may run once the tables of names are complete.
        unsafe {
            self.renew_plain();
            for keys in &self.late_keys {
                Keys::renew(keys.0);
            }
            for set in &self.late_sets {
                Set::renew(set.0);
            }
            self.kept.renew();
        }
    }

    /// The same without that for which Python code would have to run.
    ///
    /// # Safety
    /// As above.
    unsafe fn renew_plain(&self) {
        // SAFETY: the caller's word.
        unsafe {
            for text in &self.texts {
                rehash_text(text.0);
            }
            for reference in &self.references {
                *reference_hash(reference.0) = -1;
            }
            for date in &self.dates {
                *date_hash(date.0) = -1;
            }
            for set in self.sets.iter().chain(&self.late_sets) {
                (*set.0).hash = -1;
            }
            for table in &self.tables {
                Table::renew(table.0);
            }
            for keys in &self.keys {
                Keys::renew(keys.0);
            }
            for set in &self.sets {
                Set::renew(set.0);
            }
        }
    }
}

/// Gives the process a seed of its own.
pub(super) fn take_seed() {
    // SAFETY: nobody hashes at this time.
    unsafe { fill_random(&raw mut SEED) };
}

/// Whether an object's hash is not computed by C code that looks at nothing but the object and its parts.
unsafe fn is_late(key: *mut c::PyObject) -> bool {
    // SAFETY: an object, as the caller says.
    unsafe {
        if c::PyTuple_CheckExact(key) != 0 {
            return (0..c::PyTuple_GET_SIZE(key))
                .any(|place| is_late(c::PyTuple_GET_ITEM(key, place)));
        }
        let class = c::Py_TYPE(key);
        let plain = [
            &raw mut c::PyUnicode_Type,
            &raw mut c::PyBytes_Type,
            &raw mut c::PyLong_Type,
            &raw mut c::PyBool_Type,
            &raw mut c::PyFloat_Type,
        ];
        let by_address = c::PyBaseObject_Type.tp_hash.map(|hash| hash as *const c_void);
        !plain.contains(&class) && (*class).tp_hash.map(|hash| hash as *const c_void) != by_address
    }
}

/// The place of the hash that an object of bytes keeps.
unsafe fn bytes_hash(object: *mut c::PyObject) -> *mut isize {
    // SAFETY: it stands behind the count, the type and the length.
    unsafe { object.cast::<isize>().add(3) }
}

/// The place of the hash that a weak reference keeps.
unsafe fn reference_hash(object: *mut c::PyObject) -> *mut isize {
    // SAFETY: it stands behind the count, the type, the object and the function to be called.
    unsafe { object.cast::<isize>().add(4) }
}

unsafe fn date_hash(object: *mut c::PyObject) -> *mut isize {
    // SAFETY: it stands behind the count and the type.
    unsafe { object.cast::<isize>().add(2) }
}

unsafe fn rehash_text(object: *mut c::PyObject) {
    // SAFETY: text or bytes, whose own type computes the hash from the letters, and keeps it.
    unsafe {
        if c::PyUnicode_Check(object) != 0 {
            (*object.cast::<c::PyASCIIObject>()).hash = -1;
            if let Some(hash) = c::PyUnicode_Type.tp_hash {
                hash(object);
            }
        } else {
            *bytes_hash(object) = -1;
            if let Some(hash) = c::PyBytes_Type.tp_hash {
                hash(object);
            }
        }
    }
}

/// The hash of a key; what it was before, where it has none any more.
pub(super) unsafe fn hash_of(key: *mut c::PyObject, before: isize) -> isize {
    // SAFETY: an object, and the thread is attached.
    unsafe {
        if c::PyUnicode_CheckExact(key) != 0 {
            let kept = (*key.cast::<c::PyASCIIObject>()).hash;
            if kept != -1 {
                return kept;
            }
        }
        match c::PyObject_Hash(key) {
            -1 => {
                c::PyErr_Clear();
                before
            }
            hash => hash,
        }
    }
}

unsafe fn fill_random(seed: *mut [u8; SEED_LEN]) {
    let mut done = 0;
    while done < SEED_LEN {
        // SAFETY: room for so many bytes.
        let got =
            unsafe { libc::getrandom(seed.cast::<u8>().add(done).cast(), SEED_LEN - done, 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {
            }
            Err(_) => {
                eprintln!("error: the system gives no random numbers");
                std::process::abort();
            }
        }
    }
}

impl Keys {
    unsafe fn indices(keys: *mut Self) -> *mut u8 {
        // SAFETY: they follow the structure.
        unsafe { keys.add(1).cast() }
    }

    /// Where the entries begin.
    unsafe fn entries<T>(keys: *mut Self) -> *mut T {
        // SAFETY: they follow the indices, at a multiple of eight.
        unsafe {
            let bytes = 1_usize << (*keys).log2_index_bytes;
            super::place(Self::indices(keys).expose_provenance() + bytes)
        }
    }

    /// The entries of keys of any type, but for those that were deleted.
    unsafe fn general(keys: *mut Self) -> impl Iterator<Item = *mut GeneralEntry> {
        // SAFETY: they follow the indices.
        unsafe {
            let first: *mut GeneralEntry = Self::entries(keys);
            (0..(*keys).entries.cast_unsigned())
                .map(move |place| first.add(place))
                .filter(|entry| !(**entry).key.is_null())
        }
    }

    /// An entry's key and value, which are null if it was deleted; nothing behind the last.
    pub(super) unsafe fn pair(
        keys: *mut Self,
        place: usize,
    ) -> Option<(*mut c::PyObject, *mut c::PyObject)> {
        // SAFETY: the entries follow the indices.
        unsafe {
            if place >= (*keys).entries.cast_unsigned() {
                return None;
            }
            Some(if (*keys).kind == GENERAL {
                let entry = Self::entries::<GeneralEntry>(keys).add(place);
                ((*entry).key, (*entry).value)
            } else {
                let entry = Self::entries::<TextEntry>(keys).add(place);
                ((*entry).key, (*entry).value)
            })
        }
    }

    /// All keys.
    unsafe fn all(keys: *mut Self) -> impl Iterator<Item = *mut c::PyObject> {
        // SAFETY: the places are those of entries.
        (0..).map_while(move |place| unsafe { Self::pair(keys, place) }).map(|(key, _)| key)
    }

    /// Forgets the hashes of keys of any type, and what follows from them.
    unsafe fn erase(keys: *mut Self) {
        // SAFETY: keys of a dictionary.
        unsafe {
            for entry in Self::general(keys) {
                (*entry).hash = 0;
            }
            Self::indices(keys).write_bytes(0xff, 1 << (*keys).log2_index_bytes);
        }
    }

    /// Hashes the keys, and fills the table of indices.
    unsafe fn renew(keys: *mut Self) {
        // SAFETY: keys of a dictionary, whose table is larger than its entries are many.
        unsafe {
            let indices = Self::indices(keys);
            let bytes = 1_usize << (*keys).log2_index_bytes;
            let width = (*keys).log2_index_bytes - (*keys).log2_size;
            let mask = (1_usize << (*keys).log2_size) - 1;
            if (*keys).kind == GENERAL {
                // First, because code of Python's may run.
                for entry in Self::general(keys) {
                    (*entry).hash = hash_of((*entry).key, (*entry).hash);
                }
            }
            indices.write_bytes(0xff, bytes);
            for place in 0..(*keys).entries.cast_unsigned() {
                let hash = if (*keys).kind == GENERAL {
                    let entry = Self::entries::<GeneralEntry>(keys).add(place);
                    if (*entry).key.is_null() {
                        continue;
                    }
                    (*entry).hash
                } else {
                    let entry = Self::entries::<TextEntry>(keys).add(place);
                    if (*entry).key.is_null() {
                        continue;
                    }
                    hash_of((*entry).key, 0)
                };
                let mut perturb = hash.cast_unsigned();
                let mut at = perturb & mask;
                while !put_where_free(indices, width, at, place) {
                    perturb >>= PERTURB_SHIFT;
                    at = at.wrapping_mul(5).wrapping_add(perturb).wrapping_add(1) & mask;
                }
            }
        }
    }
}

/// Writes an index, of `2^width` bytes, into a place of a table that is still free.
#[allow(clippy::cast_possible_truncation)] // The table has indices of that width because they fit.
unsafe fn put_where_free(indices: *mut u8, width: u8, at: usize, index: usize) -> bool {
    macro_rules! put {
        ($type:ty) => {{
            // SAFETY: the place is one of the table's.
            unsafe {
                let place = super::place::<$type>(indices.expose_provenance()).add(at);
                let is_free = *place == <$type>::MAX;
                if is_free {
                    *place = index as $type;
                }
                is_free
            }
        }};
    }
    match width {
        0 => put!(u8),
        1 => put!(u16),
        2 => put!(u32),
        _ => put!(u64),
    }
}

impl Table {
    /// Whether a block of that length is a table: by its allocator, which is one of CPython's two, and its buckets.
    unsafe fn is_one(table: *mut Self) -> bool {
        let allocators = [
            [c::PyMem_Malloc as *const c_void, c::PyMem_Free as *const c_void],
            [c::PyMem_RawMalloc as *const c_void, c::PyMem_RawFree as *const c_void],
        ];
        // SAFETY: any words can be read as such a record.
        unsafe {
            allocators.contains(&(*table).allocator)
                && (*table).hash.is_some()
                && (*table).buckets_len.is_power_of_two()
                && super::holds((*table).buckets.addr())
        }
    }

    unsafe fn entries(table: *mut Self) -> Vec<*mut TableEntry> {
        // SAFETY: a table of CPython's.
        unsafe {
            let mut all = Vec::with_capacity((*table).len);
            for bucket in 0..(*table).buckets_len {
                let mut entry = *(*table).buckets.add(bucket);
                while !entry.is_null() {
                    all.push(entry);
                    entry = (*entry).next;
                }
            }
            all
        }
    }

    unsafe fn renew(table: *mut Self) {
        // SAFETY: a table of CPython's, whose function hashes its keys; the number of buckets is a power of two.
        unsafe {
            let Some(hash) = (*table).hash else { return };
            let (all, buckets, len) =
                (Self::entries(table), (*table).buckets, (*table).buckets_len);
            for bucket in 0..len {
                *buckets.add(bucket) = ptr::null_mut();
            }
            for entry in all {
                (*entry).hash = hash((*entry).key);
                let bucket = buckets.add((*entry).hash & (len - 1));
                (*entry).next = *bucket;
                *bucket = entry;
            }
        }
    }
}
