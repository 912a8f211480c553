//! The end of an interpreter that has begun with an image.
//!
//! Objects of the image live for ever, so nothing that they hold would ever be let go of. Clearing all modules as CPython does it
//! would drop references that nobody counts, and take from the program's finalisers what they use. So modules of the image are
//! hidden from CPython before it clears modules. What the program has put into modules, classes, dictionaries and lists of the
//! image is let go of when CPython begins to clear the interpreter itself, so that files are flushed and finalisers run.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3_ffi as c;

use super::super::{Attached, Function, Object, Result, own, start, subinterpreters};
use super::hashes::{Keys, Pointer};
use super::objects::Kind;
use super::{CONTAINERS, is_in_image, is_resumed, kept};

/// Has an interpreter's end prepared, in a process that is recorded: what is registered first is called last, right before CPython
/// clears modules.
pub(crate) fn prepare_end(atexit: &Object<'_>) -> Result<()> {
    for (name, own, original) in
        [(c"_clear", cleared as Method, &CLEAR), (c"_run_exitfuncs", called as Method, &CALL)]
    {
        let function = atexit.attribute(name)?;
        // SAFETY: a function of C without arguments, whose definition is among CPython's data.
        unsafe {
            let definition = (*function.as_ptr().cast::<c::PyCFunctionObject>()).m_ml;
            original.store((*definition).ml_meth.PyCFunction as *mut c_void, Ordering::Relaxed);
            (*definition).ml_meth.PyCFunction = own;
        }
    }
    register(atexit)
}

fn register(atexit: &Object<'_>) -> Result<()> {
    atexit.call_method(c"register", [&HIDE.object(atexit.attached())?]).map(drop)
}

/// A function of `atexit` without arguments.
type Method = unsafe extern "C" fn(*mut c::PyObject, *mut c::PyObject) -> *mut c::PyObject;

/// CPython's own functions, which forget what is registered.
static CLEAR: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static CALL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Whether a program has what is registered called, long before its end perhaps.
static IS_CALLED_BY_PROGRAM: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn cleared(module: *mut c::PyObject, none: *mut c::PyObject) -> *mut c::PyObject {
    // SAFETY: CPython calls it as its own.
    unsafe { forgetting(&CLEAR, module, none) }
}

unsafe extern "C" fn called(module: *mut c::PyObject, none: *mut c::PyObject) -> *mut c::PyObject {
    IS_CALLED_BY_PROGRAM.store(true, Ordering::Relaxed);
    // SAFETY: CPython calls it as its own.
    let result = unsafe { forgetting(&CALL, module, none) };
    IS_CALLED_BY_PROGRAM.store(false, Ordering::Relaxed);
    result
}

/// Calls one of CPython's own, and registers again what it has forgotten.
unsafe fn forgetting(
    original: &AtomicPtr<c_void>,
    module: *mut c::PyObject,
    none: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: the function that was there, and arguments that CPython passes, in a thread that is attached.
    unsafe {
        let original: Method = std::mem::transmute(original.load(Ordering::Relaxed));
        let result = original(module, none);
        if is_resumed() && subinterpreters::is_main(own::thread_state()) {
            let attached = Attached::assume();
            attached.aside(|| register(&attached.borrowed(module)?));
        }
        result
    }
}

/// Called at the end of a process. One that has begun with no image has nothing to hide.
static HIDE: Function = Function {
    name: c"hide",
    parameters: &[],
    required: 0,
    body: |attached, _| {
        if is_resumed() && !IS_CALLED_BY_PROGRAM.load(Ordering::Relaxed) {
            // SAFETY: this thread is attached.
            unsafe { hide_modules() };
        }
        Ok(attached.none())
    },
};

/// Takes the image's modules out of `sys.modules`, where CPython itself puts `None` next, and asks to be told when it clears the
/// interpreter.
unsafe fn hide_modules() {
    // SAFETY: the caller's word. Values of names that are there can be set while a dictionary is looked at.
    unsafe {
        let modules = c::PyImport_GetModuleDict();
        if c::PyDict_CheckExact(modules) == 0 || !start::add_hook(audit) {
            c::PyErr_Clear();
            return;
        }
        each_of(modules, |name, module| {
            if is_in_image(module.addr()) && c::PyModule_Check(module) != 0 {
                set_none(modules, name);
            }
        });
    }
}

/// Lets go of what the program has put into the image, when CPython clears the main interpreter.
unsafe extern "C" fn audit(event: *const c_char, _: *mut c::PyObject, _: *mut c_void) -> c_int {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    // SAFETY: CPython passes a C string, in a thread that is attached to the interpreter.
    unsafe {
        let is_one = CStr::from_ptr(event) == c"cpython.PyInterpreterState_Clear"
            && subinterpreters::is_main(own::thread_state());
        if is_one && !IS_DONE.swap(true, Ordering::Relaxed) {
            let containers = CONTAINERS.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(containers) = containers.map(std::mem::ManuallyDrop::new) {
                containers.restore();
                containers.release();
                flush(c"stdout");
                flush(c"stderr");
            }
        }
    }
    0
}

/// Writes what finalisers have printed: streams of the image are not closed.
unsafe fn flush(stream: &CStr) {
    // SAFETY: this thread is attached.
    unsafe {
        let stream = c::PySys_GetObject(stream.as_ptr());
        if !stream.is_null() && stream != c::Py_None() {
            let done = c::PyObject_CallMethod(stream, c"flush".as_ptr(), ptr::null());
            if done.is_null() { c::PyErr_Clear() } else { c::Py_DECREF(done) }
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
    let (mut at, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
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
            c::PyErr_WriteUnraisable(ptr::null_mut());
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
    /// The names of `builtins` and `sys`, and copies of them: CPython clears both before it clears the interpreter.
    cleared: Vec<[Pointer<c::PyObject>; 2]>,
}

impl Containers {
    /// With copies of the names that CPython clears in any case.
    ///
    /// # Safety
    /// This thread must be attached.
    pub(super) unsafe fn with_names() -> Self {
        // SAFETY: the caller's word. Copies live as long as the image.
        let cleared = unsafe {
            let sys = c::PyImport_AddModule(c"sys".as_ptr());
            let names = [c::PyEval_GetBuiltins(), c::PyModule_GetDict(sys)];
            names.map(|names| [Pointer(names), Pointer(c::PyDict_Copy(names))])
        };
        Self { cleared: cleared.into(), ..Self::default() }
    }

    /// Gives `builtins` and `sys` back what finalisers use.
    unsafe fn restore(&self) {
        for [names, copy] in &self.cleared {
            // SAFETY: dictionaries of the image.
            if unsafe { c::PyDict_Update(names.0, copy.0) } != 0 {
                // SAFETY: this thread is attached.
                unsafe { c::PyErr_Clear() };
            }
        }
    }

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
                    let done = c::PyObject_CallMethod(cache, name, ptr::null());
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
                        c::PyList_SetSlice(list, place, place + 1, ptr::null_mut());
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
