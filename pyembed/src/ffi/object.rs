//! Owned references to Python objects, and what can be done with them.

// Methods take `self` as proof that the thread is attached, even if they do not use it.
#![allow(clippy::unused_self)]

use std::ffi::{CStr, CString, OsStr};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{self, NonNull};

use pyo3_ffi as c;

use super::own;

/// The calling thread is attached to the interpreter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attached<'py>(PhantomData<(&'py (), *const ())>);

/// An owned reference to a Python object.
#[derive(Debug)]
pub(crate) struct Object<'py> {
    pointer: NonNull<c::PyObject>,
    attached: Attached<'py>,
}

/// A reference that is kept for as long as the interpreter runs.
#[derive(Debug)]
pub(crate) struct Kept(NonNull<c::PyObject>);

// SAFETY: the object can only be reached with a proof of being attached, which one thread has at a time.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    /// The object.
    pub(crate) fn get<'py>(&self, attached: Attached<'py>) -> Object<'py> {
        // SAFETY: the kept reference keeps the object alive, and we are attached.
        unsafe { c::Py_INCREF(self.0.as_ptr()) };
        Object { pointer: self.0, attached }
    }
}

/// A Python exception is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raised;

/// What calls into Python give.
pub(crate) type Result<T, E = Raised> = std::result::Result<T, E>;

/// An exception that was taken off the interpreter, to look at it.
#[derive(Debug)]
pub(crate) struct Unset<'py>(Object<'py>);

/// The exceptions that this crate raises or looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exception {
    ImportError,
    KeyboardInterrupt,
    RuntimeError,
    SystemError,
    SystemExit,
    TypeError,
}

impl Exception {
    fn pointer(self) -> *mut c::PyObject {
        // SAFETY: CPython sets these once, before any object can exist, and never changes them.
        unsafe {
            match self {
                Self::ImportError => c::PyExc_ImportError,
                Self::KeyboardInterrupt => c::PyExc_KeyboardInterrupt,
                Self::RuntimeError => c::PyExc_RuntimeError,
                Self::SystemError => c::PyExc_SystemError,
                Self::SystemExit => c::PyExc_SystemExit,
                Self::TypeError => c::PyExc_TypeError,
            }
        }
    }
}

impl<'py> Attached<'py> {
    /// Takes it as given.
    ///
    /// # Safety
    /// The calling thread must be attached to an initialised interpreter for all of `'py`.
    pub(super) const unsafe fn assume() -> Self {
        Self(PhantomData)
    }

    /// Wraps a new reference, or passes on the exception that came instead of one.
    ///
    /// # Safety
    /// `pointer` must be null with an exception set, or a reference that the caller owns.
    pub(super) unsafe fn owned(self, pointer: *mut c::PyObject) -> Result<Object<'py>> {
        NonNull::new(pointer).map(|pointer| Object { pointer, attached: self }).ok_or(Raised)
    }

    /// Wraps a borrowed reference by taking one of its own.
    ///
    /// # Safety
    /// `pointer` must be null with an exception set, or point to a live object.
    pub(super) unsafe fn borrowed(self, pointer: *mut c::PyObject) -> Result<Object<'py>> {
        // SAFETY: Py_XINCREF accepts null, and the caller vouches for the rest.
        unsafe {
            c::Py_XINCREF(pointer);
            self.owned(pointer)
        }
    }

    /// Turns C's `0` and `-1` into a result.
    pub(super) fn check(self, status: i32) -> Result<()> {
        if status < 0 { Err(Raised) } else { Ok(()) }
    }

    pub(crate) fn none(self) -> Object<'py> {
        // SAFETY: `None` is alive as long as the interpreter is.
        unsafe {
            let none = c::Py_None();
            c::Py_INCREF(none);
            Object { pointer: NonNull::new_unchecked(none), attached: self }
        }
    }

    pub(crate) fn bool(self, value: bool) -> Object<'py> {
        // SAFETY: `True` and `False` are alive as long as the interpreter is.
        unsafe {
            let object = if value { c::Py_True() } else { c::Py_False() };
            c::Py_INCREF(object);
            Object { pointer: NonNull::new_unchecked(object), attached: self }
        }
    }

    pub(crate) fn string(self, text: &str) -> Result<Object<'py>> {
        // SAFETY: pointer and length are those of a `str`, which CPython copies.
        unsafe {
            self.owned(c::PyUnicode_FromStringAndSize(
                text.as_ptr().cast(),
                length(text.as_bytes()),
            ))
        }
    }

    /// A path, decoded as `os.fsdecode` does it.
    pub(crate) fn path(self, path: &OsStr) -> Result<Object<'py>> {
        let path = CString::new(path.as_bytes()).unwrap_or_default();
        // SAFETY: a C string, which CPython copies. (While it starts, it wants one that ends with a zero.)
        unsafe { self.owned(c::PyUnicode_DecodeFSDefault(path.as_ptr())) }
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<Object<'py>> {
        // SAFETY: pointer and length are those of a slice, which CPython copies.
        unsafe { self.owned(c::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), length(bytes))) }
    }

    pub(crate) fn integer(self, value: i64) -> Result<Object<'py>> {
        // SAFETY: takes any value.
        unsafe { self.owned(c::PyLong_FromLongLong(value)) }
    }

    pub(crate) fn list(self, items: impl IntoIterator<Item = Object<'py>>) -> Result<Object<'py>> {
        // SAFETY: `PyList_Append` takes its own reference to a live object.
        unsafe {
            let list = self.owned(c::PyList_New(0))?;
            for item in items {
                self.check(c::PyList_Append(list.as_ptr(), item.as_ptr()))?;
            }
            Ok(list)
        }
    }

    pub(crate) fn tuple<const N: usize>(self, items: [&Object<'py>; N]) -> Result<Object<'py>> {
        // SAFETY: the tuple is new and has N places, each of which takes over one reference.
        unsafe {
            let tuple = self.owned(c::PyTuple_New(N.cast_signed()))?;
            for (place, item) in (0..).zip(items) {
                c::Py_INCREF(item.as_ptr());
                self.check(c::PyTuple_SetItem(tuple.as_ptr(), place, item.as_ptr()))?;
            }
            Ok(tuple)
        }
    }

    /// The module of that dotted name itself, imported if it has not been.
    pub(crate) fn import(self, name: &CStr) -> Result<Object<'py>> {
        // SAFETY: `name` is a C string.
        unsafe { self.owned(c::PyImport_ImportModule(name.as_ptr())) }
    }

    /// A module that is not in `sys.modules`.
    pub(crate) fn new_module(self, name: &CStr) -> Result<Object<'py>> {
        // SAFETY: `name` is a C string.
        unsafe { self.owned(c::PyModule_New(name.as_ptr())) }
    }

    /// The module of that name in `sys.modules`, made there if it is missing.
    pub(crate) fn add_module(self, name: &CStr) -> Result<Object<'py>> {
        // SAFETY: `name` is a C string; the result is borrowed from `sys.modules`.
        unsafe { self.borrowed(c::PyImport_AddModule(name.as_ptr())) }
    }

    /// The module of that name in `sys.modules`.
    pub(crate) fn loaded_module(self, name: &str) -> Result<Option<Object<'py>>> {
        // SAFETY: the dictionary is borrowed from the interpreter; the name is a live object.
        unsafe {
            let modules = self.borrowed(c::PyImport_GetModuleDict())?;
            modules.item(&self.string(name)?)
        }
    }

    /// An attribute of `sys`.
    pub(crate) fn sys(self, name: &CStr) -> Result<Object<'py>> {
        // SAFETY: `name` is a C string; the result is borrowed, and null without an exception.
        unsafe {
            let object = c::PySys_GetObject(name.as_ptr());
            if object.is_null() {
                return Err(self.raise(
                    Exception::RuntimeError,
                    &format!("lost sys.{}", name.to_string_lossy()),
                ));
            }
            self.borrowed(object)
        }
    }

    /// The object that a marshal stream describes. The bytes are read where they lie.
    pub(crate) fn unmarshal(self, bytes: &[u8]) -> Result<Object<'py>> {
        // SAFETY: pointer and length are those of a slice; CPython checks the stream against them.
        unsafe {
            self.owned(c::PyMarshal_ReadObjectFromString(bytes.as_ptr().cast(), length(bytes)))
        }
    }

    /// Compiles source, as `compile(source, filename, "exec")` does.
    pub(crate) fn compile(self, source: &CStr, filename: &CStr) -> Result<Object<'py>> {
        // SAFETY: both are C strings.
        unsafe {
            self.owned(c::Py_CompileString(source.as_ptr(), filename.as_ptr(), c::Py_file_input))
        }
    }

    /// Sets an exception.
    pub(crate) fn raise(self, exception: Exception, message: &str) -> Raised {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: the exception class is alive, and the message a C string in UTF-8.
        unsafe { c::PyErr_SetString(exception.pointer(), message.as_ptr()) };
        Raised
    }

    /// Sets an `ImportError` for a module.
    pub(crate) fn raise_import_error(self, message: &str, name: &str) -> Raised {
        self.raise_import_error_at(message, name, &self.none())
    }

    /// Sets an `ImportError` for a module, with the path of its file.
    pub(crate) fn raise_import_error_at(
        self,
        message: &str,
        name: &str,
        path: &Object<'py>,
    ) -> Raised {
        let attempt = || -> Result<()> {
            let (message, name) = (self.string(message)?, self.string(name)?);
            // SAFETY: all three are live objects.
            unsafe { c::PyErr_SetImportError(message.as_ptr(), name.as_ptr(), path.as_ptr()) };
            Ok(())
        };
        // Out of memory: then that is what is raised.
        attempt().map_or_else(|raised| raised, |()| Raised)
    }

    /// Whether the exception that is set is of a class.
    pub(crate) fn raised(self, exception: Exception) -> bool {
        // SAFETY: an exception is set, as `Raised` says, and the class is alive.
        unsafe { c::PyErr_ExceptionMatches(exception.pointer()) != 0 }
    }

    /// Does something whose failure does not matter.
    pub(crate) fn quietly(self, body: impl FnOnce() -> Result<()>) {
        if body().is_err() {
            // SAFETY: we are attached.
            unsafe { c::PyErr_Clear() };
        }
    }

    /// Does something while an exception is set, which it leaves as it is.
    pub(crate) fn aside(self, body: impl FnOnce() -> Result<()>) {
        let (mut class, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // `PyErr_GetRaisedException` came with 3.12.
        #[allow(deprecated)]
        // SAFETY: the three get references of ours, which are given back.
        unsafe {
            c::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut trace);
            self.quietly(body);
            c::PyErr_Restore(class, value, trace);
        }
    }

    /// Takes the exception that is set off the interpreter.
    pub(crate) fn take(self, _: Raised) -> Unset<'py> {
        let (mut class, mut value, mut trace) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // `PyErr_GetRaisedException` came with 3.12.
        #[allow(deprecated)]
        // SAFETY: the three get references of ours; normalising makes `value` an instance, and the
        // traceback belongs on it.
        unsafe {
            c::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut trace);
            c::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut trace);
            if !trace.is_null() {
                c::PyException_SetTraceback(value, trace);
            }
            c::Py_XDECREF(class);
            c::Py_XDECREF(trace);
            Unset(self.owned(value).unwrap_or_else(|Raised| self.none()))
        }
    }
}

impl<'py> Unset<'py> {
    /// The exception itself.
    pub(crate) fn object(&self) -> &Object<'py> {
        &self.0
    }

    /// What `str()` says of it, for a message of our own.
    pub(crate) fn describe(&self) -> String {
        let class = self.0.class_name();
        match self.0.to_display() {
            Ok(text) if text.is_empty() => class,
            Ok(text) => format!("{class}: {text}"),
            Err(Raised) => {
                // SAFETY: we are attached, as the object proves.
                unsafe { c::PyErr_Clear() };
                class
            }
        }
    }
}

impl<'py> Object<'py> {
    pub(super) fn as_ptr(&self) -> *mut c::PyObject {
        self.pointer.as_ptr()
    }

    /// Gives the reference away.
    pub(super) fn into_ptr(self) -> *mut c::PyObject {
        let pointer = self.pointer.as_ptr();
        std::mem::forget(self);
        pointer
    }

    pub(crate) fn attached(&self) -> Attached<'py> {
        self.attached
    }

    /// Keeps the object for as long as the interpreter runs.
    pub(crate) fn keep(self) -> Kept {
        let kept = Kept(self.pointer);
        // SAFETY: we are attached, as the object proves.
        if !unsafe { own::keep(self.pointer) } {
            std::mem::forget(self);
        }
        kept
    }

    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: compares addresses.
        unsafe { self.as_ptr() == c::Py_None() }
    }

    pub(crate) fn attribute(&self, name: &CStr) -> Result<Object<'py>> {
        // SAFETY: `self` is alive and `name` a C string.
        unsafe { self.attached.owned(c::PyObject_GetAttrString(self.as_ptr(), name.as_ptr())) }
    }

    pub(crate) fn set_attribute(&self, name: &CStr, value: &Object<'py>) -> Result<()> {
        // SAFETY: both objects are alive and `name` is a C string.
        self.attached.check(unsafe {
            c::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr())
        })
    }

    /// What iterating over it gives.
    pub(crate) fn iterate(&self) -> Result<Vec<Object<'py>>> {
        // SAFETY: `self` is alive, and so is the iterator; each item is a new reference.
        unsafe {
            let iterator = self.attached.owned(c::PyObject_GetIter(self.as_ptr()))?;
            let mut items = Vec::new();
            loop {
                let item = c::PyIter_Next(iterator.as_ptr());
                if item.is_null() {
                    let ended = c::PyErr_Occurred().is_null();
                    return if ended { Ok(items) } else { Err(Raised) };
                }
                items.push(self.attached.owned(item)?);
            }
        }
    }

    /// An item of a tuple.
    pub(crate) fn item_at(&self, place: usize) -> Result<Object<'py>> {
        // SAFETY: CPython checks type and length; the result is borrowed.
        unsafe { self.attached.borrowed(c::PyTuple_GetItem(self.as_ptr(), place.cast_signed())) }
    }

    /// The value of a key in a dictionary.
    pub(crate) fn item(&self, key: &Object<'py>) -> Result<Option<Object<'py>>> {
        // SAFETY: both are alive; the result is borrowed, and null with or without an exception.
        unsafe {
            let value = c::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
            if value.is_null() && !c::PyErr_Occurred().is_null() {
                return Err(Raised);
            }
            Ok(self.attached.borrowed(value).ok())
        }
    }

    pub(crate) fn set_item(&self, key: &CStr, value: &Object<'py>) -> Result<()> {
        // SAFETY: all is alive, and `self` is checked to be a dictionary by CPython.
        self.attached
            .check(unsafe { c::PyDict_SetItemString(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// Gives a list other items, and stays the same object.
    pub(crate) fn set_items(&self, items: &Object<'py>) -> Result<()> {
        // SAFETY: both are alive, and CPython checks that they are lists.
        self.attached
            .check(unsafe { c::PyList_SetSlice(self.as_ptr(), 0, isize::MAX, items.as_ptr()) })
    }

    /// Puts an item in front of all others of a list.
    pub(crate) fn insert_first(&self, item: &Object<'py>) -> Result<()> {
        // SAFETY: both are alive, and `self` is checked to be a list by CPython.
        self.attached.check(unsafe { c::PyList_Insert(self.as_ptr(), 0, item.as_ptr()) })
    }

    pub(crate) fn call<const N: usize>(&self, arguments: [&Object<'py>; N]) -> Result<Object<'py>> {
        let pointers = arguments.map(Object::as_ptr);
        // SAFETY: N live arguments, none of them by keyword.
        unsafe {
            self.attached.owned(c::PyObject_Vectorcall(
                self.as_ptr(),
                pointers.as_ptr(),
                N,
                ptr::null_mut(),
            ))
        }
    }

    pub(crate) fn call_method<const N: usize>(
        &self,
        name: &CStr,
        arguments: [&Object<'py>; N],
    ) -> Result<Object<'py>> {
        self.attribute(name)?.call(arguments)
    }

    /// Runs a code object, as `exec(code, globals)` does.
    pub(crate) fn execute(&self, globals: &Object<'py>) -> Result<Object<'py>> {
        // SAFETY: `self` is a code object where it comes from `unmarshal` or `compile`, and CPython's
        // evaluation would not check: we do. `globals` is checked too.
        unsafe {
            if c::PyCode_Check(self.as_ptr()) == 0 || c::PyDict_Check(globals.as_ptr()) == 0 {
                return Err(self
                    .attached
                    .raise(Exception::TypeError, "expected a code object and a dictionary"));
            }
            self.attached.owned(c::PyEval_EvalCode(
                self.as_ptr(),
                globals.as_ptr(),
                globals.as_ptr(),
            ))
        }
    }

    /// A module's namespace.
    pub(crate) fn namespace(&self) -> Result<Object<'py>> {
        // SAFETY: CPython checks that it is a module; the result is borrowed from it.
        unsafe { self.attached.borrowed(c::PyModule_GetDict(self.as_ptr())) }
    }

    /// The text of a `str`. It lives as long as the object does.
    pub(crate) fn as_str(&self) -> Result<&str> {
        let mut len = 0;
        // SAFETY: CPython checks the type and keeps the UTF-8 form with the object.
        unsafe {
            let text = c::PyUnicode_AsUTF8AndSize(self.as_ptr(), &raw mut len);
            if text.is_null() {
                return Err(Raised);
            }
            let bytes = std::slice::from_raw_parts(text.cast(), usize::try_from(len).unwrap_or(0));
            Ok(std::str::from_utf8_unchecked(bytes))
        }
    }

    /// Like [`Self::as_str`], but `None` if this is not a `str` or holds surrogates, as undecodable paths do.
    pub(crate) fn text(&self) -> Option<&str> {
        self.as_str().map_err(|raised| drop(self.attached.take(raised))).ok()
    }

    /// The two texts joined.
    pub(crate) fn concatenate(&self, other: &Object<'py>) -> Result<Object<'py>> {
        // SAFETY: both are alive, and CPython checks their types.
        unsafe { self.attached.owned(c::PyUnicode_Concat(self.as_ptr(), other.as_ptr())) }
    }

    /// What follows a prefix; `None` if this is not text that begins with it.
    pub(crate) fn after(&self, prefix: &Object<'py>) -> Result<Option<Object<'py>>> {
        // SAFETY: both are alive; what is no `str` goes no further.
        unsafe {
            if c::PyUnicode_Check(self.as_ptr()) == 0 {
                return Ok(None);
            }
            let (start, end) = (c::PyUnicode_GetLength(prefix.as_ptr()), isize::MAX);
            match c::PyUnicode_Tailmatch(self.as_ptr(), prefix.as_ptr(), 0, end, -1) {
                -1 => Err(Raised),
                0 => Ok(None),
                _ => {
                    self.attached.owned(c::PyUnicode_Substring(self.as_ptr(), start, end)).map(Some)
                }
            }
        }
    }

    /// The value of an `int`.
    pub(crate) fn as_integer(&self) -> Result<i64> {
        // SAFETY: CPython checks the type; -1 is an error only with an exception set.
        unsafe {
            let value = c::PyLong_AsLongLong(self.as_ptr());
            if value == -1 && !c::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
        }
    }

    /// `str(self)`.
    pub(crate) fn to_str(&self) -> Result<Object<'py>> {
        // SAFETY: `self` is alive.
        unsafe { self.attached.owned(c::PyObject_Str(self.as_ptr())) }
    }

    /// The text of `str(self)`.
    pub(crate) fn to_display(&self) -> Result<String> {
        self.to_str()?.as_str().map(str::to_owned)
    }

    /// The name of its type, with the module for those that are written in C.
    pub(crate) fn class_name(&self) -> String {
        // SAFETY: every object has a type, and that a name.
        unsafe {
            let class = c::Py_TYPE(self.as_ptr());
            CStr::from_ptr((*class).tp_name).to_string_lossy().into_owned()
        }
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        // SAFETY: `self` is alive and we are attached.
        unsafe { c::Py_INCREF(self.as_ptr()) };
        Self { pointer: self.pointer, attached: self.attached }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and we are attached, as `self.attached` proves.
        unsafe { c::Py_DECREF(self.as_ptr()) };
    }
}

/// A slice's length as C counts it: no slice is longer than `isize::MAX`.
fn length(bytes: &[u8]) -> isize {
    bytes.len().cast_signed()
}
