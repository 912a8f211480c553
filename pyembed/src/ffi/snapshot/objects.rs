//! The objects of an image: all that stand in the region's blocks and in static memory.
//!
//! Each live block of the region is looked at. An object begins at its start or behind the words that CPython puts before
//! objects: two for the collector, and two more for an instance's dictionary and weak references. It has a count of
//! references, which is no address, and one of all types that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::ops::Range;
use std::ptr;

use pyo3_ffi as c;

use super::super::{Attached, Object, Result};
use super::memory;

/// What matters about the type of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Dictionary,
    OrderedDictionary,
    /// What `functools.lru_cache` makes of a function, and an entry of it.
    Cache,
    CacheEntry,
    Set,
    WeakReference,
    /// A path of `pathlib`, which is text with a hash that Python code keeps.
    Path,
    /// Of the module `datetime`: its hash is kept behind the type.
    Date,
    /// A class that was made by Python or C code as it ran.
    Class,
    Other,
}

/// All types, by their addresses.
pub(super) struct Types(BTreeMap<usize, Kind>);

unsafe extern "C" {
    #[link_name = "PyODict_Type"]
    static mut ORDERED_DICT: c::PyTypeObject;
}

/// A count of references that is higher is an address.
const GREATEST_COUNT: usize = 0x40_0000;

/// The count of an object that lives for ever.
#[cfg(Py_3_14)]
const IMMORTAL: usize = 3 << 30;
#[cfg(all(Py_3_12, not(Py_3_14)))]
const IMMORTAL: usize = 0xffff_ffff;
#[cfg(not(Py_3_12))]
const IMMORTAL: usize = 999_999_999;

/// Behind a count of 32 bits CPython 3.14 has flags of the object, which begin here.
const FLAGS_SHIFT: u32 = 48;
/// The flag of objects that live for ever.
const IMMORTAL_FLAG: usize = 1 << FLAGS_SHIFT;
/// More than any flags.
const FLAGS_END: usize = 1 << (FLAGS_SHIFT + 4);

/// The count in an object's first word, if it can be one.
fn count_in(word: usize) -> Option<usize> {
    if cfg!(Py_3_14) {
        let rest = word & !0xffff_ffff;
        let is_flags = rest < FLAGS_END && rest.trailing_zeros() >= FLAGS_SHIFT;
        return is_flags.then_some(word & 0xffff_ffff);
    }
    Some(word)
}

/// Whether a count is that of such an object. CPython 3.11 counts them like others, from a high number, and 3.14 does so in part.
fn is_immortal(count: usize) -> bool {
    let distance = count.abs_diff(IMMORTAL);
    if cfg!(Py_3_14) {
        count >= 1 << 31
    } else if cfg!(Py_3_12) {
        distance == 0
    } else {
        distance < GREATEST_COUNT
    }
}

/// Has an object live for ever.
///
/// # Safety
/// It must be one.
pub(super) unsafe fn make_immortal(object: *mut c::PyObject) {
    let word: *mut usize = object.cast();
    // SAFETY: the count is an object's first word.
    unsafe {
        let flags = if cfg!(Py_3_14) { *word & !0xffff_ffff | IMMORTAL_FLAG } else { 0 };
        *word = flags | IMMORTAL;
    }
}

/// Where an object can begin in a block, in bytes.
const OFFSETS: [usize; 3] = [0, 16, 32];

impl Types {
    /// Finds them, from `object` on.
    pub(super) fn find(attached: Attached<'_>) -> Result<Self> {
        // SAFETY: static types live for ever.
        let mut left = vec![unsafe { attached.borrowed((&raw mut c::PyBaseObject_Type).cast())? }];
        let subclasses =
            attached.import(c"builtins")?.attribute(c"type")?.attribute(c"__subclasses__")?;
        let dates = match attached.loaded_module("datetime")? {
            Some(_) => {
                let module = attached.import(c"datetime")?;
                vec![module.attribute(c"date")?, module.attribute(c"time")?]
            }
            None => Vec::new(),
        };
        let paths = match attached.loaded_module("pathlib")? {
            Some(module) => vec![module.attribute(c"PurePath")?],
            None => Vec::new(),
        };
        let mut found = BTreeMap::new();
        while let Some(class) = left.pop() {
            let address = class.as_ptr().addr();
            if found.insert(address, Self::kind(&class, &dates, &paths)).is_none() {
                left.extend(subclasses.call([&class])?.iterate()?);
            }
        }
        Ok(Self(found))
    }

    fn kind(class: &Object<'_>, dates: &[Object<'_>], paths: &[Object<'_>]) -> Kind {
        let class: *mut c::PyTypeObject = class.as_ptr().cast();
        // SAFETY: all are types.
        unsafe {
            let flags = c::PyType_GetFlags(class);
            let is_below = |other| c::PyType_IsSubtype(class, other) != 0;
            if flags & c::Py_TPFLAGS_UNICODE_SUBCLASS != 0 {
                Kind::Text
            } else if flags & c::Py_TPFLAGS_BYTES_SUBCLASS != 0 {
                Kind::Bytes
            } else if is_below(&raw mut ORDERED_DICT) {
                Kind::OrderedDictionary
            } else if flags & c::Py_TPFLAGS_DICT_SUBCLASS != 0 {
                Kind::Dictionary
            } else if CStr::from_ptr((*class).tp_name) == c"functools._lru_list_elem" {
                Kind::CacheEntry
            } else if CStr::from_ptr((*class).tp_name) == c"functools._lru_cache_wrapper" {
                Kind::Cache
            } else if is_below(&raw mut c::PySet_Type) || is_below(&raw mut c::PyFrozenSet_Type) {
                Kind::Set
            } else if is_below(&raw mut c::_PyWeakref_RefType) {
                Kind::WeakReference
            } else if dates.iter().any(|date| is_below(date.as_ptr().cast())) {
                Kind::Date
            } else if paths.iter().any(|path| is_below(path.as_ptr().cast())) {
                Kind::Path
            } else if is_below(&raw mut c::PyType_Type) {
                Kind::Class
            } else {
                Kind::Other
            }
        }
    }

    /// The object in a block, and what it is.
    pub(super) fn object_in(
        &self,
        block: usize,
        capacity: usize,
    ) -> Option<(*mut c::PyObject, Kind)> {
        OFFSETS.into_iter().find_map(|offset| {
            let object = block + offset;
            if offset + size_of::<c::PyObject>() > capacity {
                return None;
            }
            Some((super::place(object), self.kind_at(object)?))
        })
    }

    /// What an object is that may begin at an address, where there are two words.
    fn kind_at(&self, address: usize) -> Option<Kind> {
        // SAFETY: the caller has looked.
        let [word, class] = unsafe { super::place::<[usize; 2]>(address).read() };
        let is_count = count_in(word)
            .is_some_and(|count| (1..GREATEST_COUNT).contains(&count) || is_immortal(count));
        is_count.then(|| self.0.get(&class).copied()).flatten()
    }

    /// Has paths of `pathlib` compute their hashes again.
    ///
    /// # Safety
    /// This thread must be attached.
    pub(super) unsafe fn forget_hashes(&self) {
        if !self.0.values().any(|kind| *kind == Kind::Path) {
            return;
        }
        let blocks: Vec<_> = memory::live_blocks().collect();
        for (block, capacity) in blocks {
            if let Some((path, Kind::Path)) = self.object_in(block, capacity) {
                // SAFETY: a live object. It may have none.
                unsafe {
                    if c::PyObject_SetAttrString(path, c"_hash".as_ptr(), ptr::null_mut()) != 0 {
                        c::PyErr_Clear();
                    }
                }
            }
        }
    }

    /// Text and bytes in static memory, a range of addresses.
    pub(super) fn statics(data: Range<usize>) -> impl Iterator<Item = *mut c::PyObject> {
        let texts: BTreeSet<usize> =
            [(&raw mut c::PyUnicode_Type).addr(), (&raw mut c::PyBytes_Type).addr()].into();
        (data.start.next_multiple_of(8)..data.end.saturating_sub(size_of::<c::PyASCIIObject>()))
            .step_by(8)
            .filter(move |address| {
                // SAFETY: the words lie between the two addresses.
                let [word, class] = unsafe { super::place::<[usize; 2]>(*address).read() };
                count_in(word).is_some_and(is_immortal) && texts.contains(&class)
            })
            .map(super::place)
    }

    /// The classes that lie in the region: each has keys for the dictionaries of its instances.
    pub(super) fn in_region(&self) -> impl Iterator<Item = *mut c::PyTypeObject> {
        self.0.keys().copied().filter(|address| memory::holds(*address)).map(super::place)
    }
}
