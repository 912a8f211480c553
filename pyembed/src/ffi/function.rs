//! Rust functions that Python calls.
//!
//! A [`Function`] takes its arguments by position or by keyword. Whatever happens in it ends as a result
//! or a Python exception: a panic becomes a `SystemError` and never crosses into C.

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3_ffi as c;

use super::{Attached, Exception, Kept, Object, Raised, Result};

/// The arguments of one call, in the order in which the function declares them.
pub(crate) struct Arguments<'py> {
    values: [Option<Object<'py>>; 3],
}

/// A function that Python can call.
pub(crate) struct Function {
    /// Its name in Python.
    pub(crate) name: &'static CStr,
    /// The names of its parameters, three at most; the first `required` have no default.
    pub(crate) parameters: &'static [&'static str],
    /// How many parameters have no default.
    pub(crate) required: usize,
    /// What it does.
    pub(crate) body: for<'py> fn(Attached<'py>, Arguments<'py>) -> Result<Object<'py>>,
}

impl<'py> Arguments<'py> {
    /// A parameter without a default.
    pub(crate) fn required(&self, place: usize) -> &Object<'py> {
        // `collect` has refused the call where one is missing.
        self.values[place].as_ref().expect("a required argument was checked")
    }

    /// A parameter that may be left out; `None` counts as left out.
    pub(crate) fn optional(&self, place: usize) -> Option<&Object<'py>> {
        self.values[place].as_ref().filter(|value| !value.is_none())
    }
}

impl Function {
    /// Calls the function with what C hands over.
    ///
    /// # Safety
    /// The three must be what CPython passes to a `METH_FASTCALL | METH_KEYWORDS` function.
    unsafe fn call(
        &self,
        args: *const *mut c::PyObject,
        count: isize,
        keywords: *mut c::PyObject,
    ) -> *mut c::PyObject {
        // SAFETY: CPython calls only from a thread that is attached, for as long as the call lasts.
        let attached = unsafe { Attached::assume() };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the three are what CPython passed.
            let arguments = unsafe { self.collect(attached, args, count, keywords)? };
            (self.body)(attached, arguments)
        }));
        match outcome {
            Ok(Ok(object)) => object.into_ptr(),
            Ok(Err(_)) => ptr::null_mut(),
            Err(_) => {
                let name = self.name.to_string_lossy();
                attached.raise(Exception::SystemError, &format!("pyembed: {name}() panicked"));
                ptr::null_mut()
            }
        }
    }

    unsafe fn collect<'py>(
        &self,
        attached: Attached<'py>,
        args: *const *mut c::PyObject,
        count: isize,
        keywords: *mut c::PyObject,
    ) -> Result<Arguments<'py>> {
        let mut values = [None, None, None];
        let positional = usize::try_from(count).unwrap_or(0);
        let wrong = |what: &str| {
            let name = self.name.to_string_lossy();
            attached.raise(Exception::TypeError, &format!("{name}() {what}"))
        };
        if positional > self.parameters.len() {
            return Err(wrong(&format!("takes at most {} arguments", self.parameters.len())));
        }
        // SAFETY: `args` holds `positional` live objects, then one for each name in the tuple `keywords`.
        unsafe {
            for (place, value) in values.iter_mut().take(positional).enumerate() {
                *value = Some(attached.borrowed(*args.add(place))?);
            }
            let named = if keywords.is_null() { 0 } else { c::PyTuple_Size(keywords) };
            for number in 0..named {
                let keyword = attached.borrowed(c::PyTuple_GetItem(keywords, number))?;
                let place = self.parameters.iter().position(|p| keyword.as_str() == Ok(*p));
                let place = place.filter(|place| values[*place].is_none());
                let Some(place) = place else {
                    return Err(wrong("got an unexpected keyword argument"));
                };
                let at = positional + number.unsigned_abs();
                values[place] = Some(attached.borrowed(*args.add(at))?);
            }
        }
        match values.iter().take(self.required).position(Option::is_none) {
            Some(place) => Err(wrong(&format!("missing argument '{}'", self.parameters[place]))),
            None => Ok(Arguments { values }),
        }
    }
}

impl Function {
    /// The Python object for it.
    pub(crate) fn object<'py>(&'static self, attached: Attached<'py>) -> Result<Object<'py>> {
        let (module, this) = (attached.string("pyembed")?, ptr::from_ref(self).cast());
        let builtin = Builtin { name: self.name, doc: CString::default(), capsule: CAPSULE, entry };
        // SAFETY: this function is static, and the capsule holds its address under a name that nobody
        // else uses.
        unsafe { builtin.object(&module, this, attached) }
    }
}

const CAPSULE: &CStr = c"pyembed.Function";
const FALLBACK: &CStr = c"pyembed.Fallback";

/// A function in place of another: it calls that one, and something else where that fails in one way.
pub(crate) struct Fallback {
    /// Its name in Python.
    pub(crate) name: &'static CStr,
    /// Whether `False` counts as failing; otherwise it is `NotADirectoryError`.
    pub(crate) on_false: bool,
    /// What is called then, with the same arguments; `NotImplemented` leaves the outcome as it was.
    pub(crate) handler: for<'py> fn(Attached<'py>, &CStr) -> Result<Object<'py>>,
}

/// What the capsule of a fallback points to.
struct Bound {
    fallback: &'static Fallback,
    original: Kept,
}

impl Fallback {
    /// The Python function that stands in for `original`.
    pub(crate) fn object<'py>(&'static self, original: Object<'py>) -> Result<Object<'py>> {
        let attached = original.attached();
        let module = original.attribute(c"__module__")?;
        // `inspect.signature` reads a built-in function's signature from the head of its text.
        let name = self.name.to_string_lossy();
        let signature = original.attribute(c"__text_signature__")?.to_display()?;
        let text = original.attribute(c"__doc__")?.to_display()?;
        let doc = CString::new(format!("{name}{signature}\n--\n\n{text}")).unwrap_or_default();
        let bound = Box::leak(Box::new(Bound { fallback: self, original: original.keep() }));
        let this = ptr::from_ref(bound).cast();
        let builtin = Builtin { name: self.name, doc, capsule: FALLBACK, entry: fall_back };
        // SAFETY: `bound` is leaked, and the capsule holds its address under a name that nobody else uses.
        unsafe { builtin.object(&module, this, attached) }
    }
}

impl Bound {
    /// # Safety
    /// The three must be what CPython passes to a `METH_FASTCALL | METH_KEYWORDS` function.
    unsafe fn call(
        &self,
        args: *const *mut c::PyObject,
        count: isize,
        keywords: *mut c::PyObject,
    ) -> *mut c::PyObject {
        // SAFETY: CPython calls only from a thread that is attached, for as long as the call lasts; the
        // arguments go on as they came.
        unsafe {
            let attached = Attached::assume();
            let call = |function: &Object<'_>| {
                c::PyObject_Vectorcall(function.as_ptr(), args, count.unsigned_abs(), keywords)
            };
            let outcome = call(&self.original.get(attached));
            let failed = if self.fallback.on_false {
                outcome == c::Py_False()
            } else {
                outcome.is_null() && attached.raised(Exception::NotADirectoryError)
            };
            if !failed {
                return outcome;
            }
            // With an exception, `outcome` is null.
            let exception = outcome.is_null().then(|| attached.take(Raised));
            let other = (self.fallback.handler)(attached, self.fallback.name)
                .map_or(ptr::null_mut(), |handler| call(&handler));
            if other == c::Py_NotImplemented() {
                c::Py_DECREF(other);
                if let Some(exception) = exception {
                    exception.restore();
                }
                return outcome;
            }
            c::Py_XDECREF(outcome);
            other
        }
    }
}

/// Where CPython enters, for every fallback.
unsafe extern "C" fn fall_back(
    capsule: *mut c::PyObject,
    args: *const *mut c::PyObject,
    count: isize,
    keywords: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: the capsule is the one that `Fallback::object` made, of a leaked value; the rest is what
    // CPython passes.
    unsafe {
        let bound: *const Bound = c::PyCapsule_GetPointer(capsule, FALLBACK.as_ptr()).cast();
        let Some(bound) = bound.as_ref() else { return ptr::null_mut() };
        let call = AssertUnwindSafe(|| bound.call(args, count, keywords));
        catch_unwind(call).unwrap_or_else(|_| {
            let name = bound.fallback.name.to_string_lossy();
            Attached::assume()
                .raise(Exception::SystemError, &format!("pyembed: {name}() panicked"));
            ptr::null_mut()
        })
    }
}

/// A built-in function whose `self` is a capsule with a pointer of ours.
struct Builtin {
    name: &'static CStr,
    doc: CString,
    capsule: &'static CStr,
    entry: c::PyCFunctionFastWithKeywords,
}

impl Builtin {
    /// Makes the function, whose `__module__` is `module`.
    ///
    /// # Safety
    /// `this` must stay valid for good and be what `entry` takes the capsule of that name for.
    unsafe fn object<'py>(
        self,
        module: &Object<'py>,
        this: *const std::ffi::c_void,
        attached: Attached<'py>,
    ) -> Result<Object<'py>> {
        // CPython keeps a pointer to the definition; functions are made once and stay.
        let definition = Box::leak(Box::new(c::PyMethodDef {
            ml_name: self.name.as_ptr(),
            ml_meth: c::PyMethodDefPointer { PyCFunctionFastWithKeywords: self.entry },
            ml_flags: c::METH_FASTCALL | c::METH_KEYWORDS,
            ml_doc: self.doc.into_raw(),
        }));
        // SAFETY: definition and names are static, the pointer is the caller's word.
        unsafe {
            let capsule = c::PyCapsule_New(this.cast_mut(), self.capsule.as_ptr(), None);
            let capsule = attached.owned(capsule)?;
            let function = c::PyCFunction_NewEx(definition, capsule.as_ptr(), module.as_ptr());
            attached.owned(function)
        }
    }
}

/// Where CPython enters, for every function.
unsafe extern "C" fn entry(
    capsule: *mut c::PyObject,
    args: *const *mut c::PyObject,
    count: isize,
    keywords: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: the capsule is the one that `Function::object` made, of a static function; the rest is
    // what CPython passes.
    unsafe {
        let function: *const Function = c::PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()).cast();
        match function.as_ref() {
            Some(function) => function.call(args, count, keywords),
            None => ptr::null_mut(),
        }
    }
}
