//! The end of an interpreter that has begun with an image.
//!
//! Objects of the image live for ever, so nothing that they hold would ever be let go of. Clearing them all as CPython does it
//! would drop references that nobody counts, and copy every page. What counts is what the program has put there: that is let
//! go of at the time and in the order in which CPython clears modules, so that files are flushed and finalisers run. What it
//! has put into classes, dictionaries and lists of the image follows before the last collection of garbage.

use pyo3_ffi as c;

use super::hashes::Keys;
use super::objects::Kind;
use super::{is_in_image, is_resumed, kept};
use crate::files::interpose;

/// Whether objects of the image live for ever.
fn lives_on(object: *mut c::PyObject) -> bool {
    is_resumed() && is_in_image(object.addr())
}

interpose! {
    fn _PyModule_ClearDict(names: *mut c::PyObject) -> (), else { let _ = names; };
    {
        if lives_on(names) { clear(names) } else { real(names) }
    }
}

interpose! {
    fn _PyModule_Clear(module: *mut c::PyObject) -> (), else { let _ = module; };
    {
        let names = c::PyModule_GetDict(module);
        if !names.is_null() && lives_on(names) { clear(names) } else { real(module) }
    }
}

/// Clears a module's names of what the program has put there: first those that begin with one underscore, then all others but
/// `__builtins__`.
unsafe fn clear(names: *mut c::PyObject) {
    // SAFETY: a dictionary; setting values of names that are there leaves its order alone.
    unsafe {
        for is_first in [true, false] {
            each_of(names, |name, value| {
                if c::PyUnicode_Check(name) == 0 || is_in_image(value.addr()) {
                    return;
                }
                let letter = |place| {
                    let has = place < c::PyUnicode_GetLength(name);
                    if has { c::PyUnicode_ReadChar(name, place) } else { 0 }
                };
                let underscore = u32::from(b'_');
                let is_private = letter(0) == underscore && letter(1) != underscore;
                let is_kept =
                    c::PyUnicode_CompareWithASCIIString(name, c"__builtins__".as_ptr()) == 0;
                if if is_first { is_private } else { !is_kept } {
                    set_none(names, name);
                }
            });
        }
    }
}

/// Calls a function with each key and value. It may change the dictionary.
unsafe fn each_of(
    dictionary: *mut c::PyObject,
    mut call: impl FnMut(*mut c::PyObject, *mut c::PyObject),
) {
    let known: *mut c::PyDictObject = dictionary.cast();
    // SAFETY: a dictionary; without values of its own, all is in its keys. They are read anew for each entry, and this is much
    // faster than the function below.
    unsafe {
        if (*known).ma_values.is_null() {
            let mut at = 0;
            while let Some((key, value)) = Keys::pair((*known).ma_keys.cast(), at) {
                if !value.is_null() {
                    call(key, value);
                }
                at += 1;
            }
            return;
        }
    }
    let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a dictionary, whose keys stay while it is looked at.
    unsafe {
        while c::PyDict_Next(dictionary, &raw mut at, &raw mut key, &raw mut value) != 0 {
            call(key, value);
        }
    }
}

unsafe fn set_none(dictionary: *mut c::PyObject, key: *mut c::PyObject) {
    // SAFETY: both are alive.
    unsafe {
        if c::PyDict_SetItem(dictionary, key, c::Py_None()) != 0 {
            c::PyErr_WriteUnraisable(std::ptr::null_mut());
        }
    }
}

/// What of the image can hold what the program has made.
#[derive(Default)]
pub(super) struct Containers {
    dictionaries: Vec<usize>,
    lists: Vec<usize>,
    classes: Vec<usize>,
    caches: Vec<usize>,
}

impl Containers {
    /// Notes an object of that kind.
    ///
    /// # Safety
    /// It must be alive.
    pub(super) unsafe fn note(&mut self, object: *mut c::PyObject, kind: Kind) {
        let address = object.expose_provenance();
        // SAFETY: the caller's word.
        unsafe {
            if kind == Kind::Cache {
                self.caches.push(address);
            } else if c::PyDict_CheckExact(object) != 0 {
                self.dictionaries.push(address);
            } else if c::PyList_CheckExact(object) != 0 {
                self.lists.push(address);
            }
        }
    }

    /// Notes a class that was made at run time. Its names are no dictionary like others: CPython keeps what it has found there.
    ///
    /// # Safety
    /// It must be one.
    pub(super) unsafe fn note_class(&mut self, class: *mut c::PyTypeObject) {
        self.classes.push(class.expose_provenance());
    }

    /// To be called when all are noted.
    pub(super) fn complete(&mut self) {
        // SAFETY: the classes that were noted.
        let names = |class: &usize| unsafe {
            (*super::place::<c::PyTypeObject>(*class)).tp_dict.expose_provenance()
        };
        // Only entries may stand in those of caches.
        let entries = |cache: &usize| {
            // SAFETY: the caches that were noted.
            unsafe { kept::entries_of(super::place(*cache)).expose_provenance() }
        };
        let names: std::collections::BTreeSet<usize> =
            self.classes.iter().map(names).chain(self.caches.iter().map(entries)).collect();
        self.dictionaries.retain(|dictionary| !names.contains(dictionary));
        self.dictionaries.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.classes.shrink_to_fit();
        self.caches.shrink_to_fit();
    }

    /// Lets go of what the program has put into them.
    ///
    /// # Safety
    /// This thread must be attached, to an interpreter that ends.
    pub(super) unsafe fn release(&self) {
        // SAFETY: objects of the image, which live on.
        unsafe {
            for class in &self.classes {
                let class: *mut c::PyTypeObject = super::place(*class);
                let (mut found, names) = (Vec::new(), (*class).tp_dict);
                if names.is_null() {
                    continue;
                }
                each_of(names, |name, value| {
                    if may_hold(value) {
                        found.push(name);
                    }
                });
                for name in found {
                    if c::PyObject_SetAttr(class.cast(), name, c::Py_None()) != 0 {
                        c::PyErr_Clear();
                    }
                }
            }
            for cache in &self.caches {
                let cache: *mut c::PyObject = super::place(*cache);
                let mut has_new = false;
                each_of(kept::entries_of(cache), |_, entry| has_new |= may_hold(entry));
                if has_new {
                    let name = c"cache_clear".as_ptr();
                    let done = c::PyObject_CallMethod(cache, name, std::ptr::null());
                    if done.is_null() { c::PyErr_Clear() } else { c::Py_DECREF(done) }
                }
            }
            for dictionary in &self.dictionaries {
                let dictionary: *mut c::PyObject = super::place(*dictionary);
                each_of(dictionary, |key, value| {
                    if may_hold(value) {
                        set_none(dictionary, key);
                    }
                });
            }
            for list in &self.lists {
                let list: *mut c::PyObject = super::place(*list);
                for place in (0..c::PyList_GET_SIZE(list)).rev() {
                    let item = c::PyList_GET_ITEM(list, place);
                    if !item.is_null() && may_hold(item) {
                        c::PyList_SetSlice(list, place, place + 1, std::ptr::null_mut());
                    }
                }
            }
        }
    }
}

/// Whether a value is the program's own, and more than text or a number. Weak references hold nothing.
unsafe fn may_hold(value: *mut c::PyObject) -> bool {
    if is_in_image(value.addr()) {
        return false;
    }
    // SAFETY: an object.
    unsafe {
        let class = c::Py_TYPE(value);
        let plain = [
            &raw mut c::PyUnicode_Type,
            &raw mut c::PyBytes_Type,
            &raw mut c::PyLong_Type,
            &raw mut c::PyFloat_Type,
        ];
        !plain.contains(&class) && c::PyType_IsSubtype(class, &raw mut c::_PyWeakref_RefType) == 0
    }
}
