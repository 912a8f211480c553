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

/// What CPython passes to a `METH_FASTCALL | METH_KEYWORDS` function.
#[derive(Clone, Copy)]
struct Passed {
    args: *const *mut c::PyObject,
    count: isize,
    keywords: *mut c::PyObject,
}

/// What a built-in function's capsule points to.
trait Callable {
    /// The capsule's name, which nobody else uses.
    const CAPSULE: &CStr;

    /// The function's name in Python.
    fn name(&self) -> &'static CStr;

    /// Calls it; null where an exception is set.
    ///
    /// # Safety
    /// `passed` must be what CPython has passed to this call.
    unsafe fn call(&self, attached: Attached<'_>, passed: Passed) -> *mut c::PyObject;
}

/// Where CPython enters, for every function.
unsafe extern "C" fn enter<T: Callable + 'static>(
    capsule: *mut c::PyObject,
    args: *const *mut c::PyObject,
    count: isize,
    keywords: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: the capsule is the one that `object` made, of a static value. CPython calls only from a
    // thread that is attached, for as long as the call lasts; the rest is what it passes.
    unsafe {
        let this: *const T = c::PyCapsule_GetPointer(capsule, T::CAPSULE.as_ptr()).cast();
        let Some(this) = this.as_ref() else { return ptr::null_mut() };
        let attached = Attached::assume();
        let passed = Passed { args, count, keywords };
        let call = AssertUnwindSafe(|| this.call(attached, passed));
        catch_unwind(call).unwrap_or_else(|_| {
            let name = this.name().to_string_lossy();
            attached.raise(Exception::SystemError, &format!("pyembed: {name}() panicked"));
            ptr::null_mut()
        })
    }
}

/// Makes the built-in function, whose `self` is a capsule that points to `this`.
fn object<'py, T: Callable>(
    this: &'static T,
    doc: CString,
    module: &Object<'py>,
) -> Result<Object<'py>> {
    let attached = module.attached();
    // CPython keeps a pointer to the definition; functions are made once and stay.
    let definition = Box::leak(Box::new(c::PyMethodDef {
        ml_name: this.name().as_ptr(),
        ml_meth: c::PyMethodDefPointer { PyCFunctionFastWithKeywords: enter::<T> },
        ml_flags: c::METH_FASTCALL | c::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    }));
    // SAFETY: definition, names and `this` are static, and `enter::<T>` takes the pointer for what it is.
    unsafe {
        let pointer = ptr::from_ref(this).cast_mut().cast();
        let capsule = attached.owned(c::PyCapsule_New(pointer, T::CAPSULE.as_ptr(), None))?;
        attached.owned(c::PyCFunction_NewEx(definition, capsule.as_ptr(), module.as_ptr()))
    }
}

impl Callable for Function {
    const CAPSULE: &CStr = c"pyembed.Function";

    fn name(&self) -> &'static CStr {
        self.name
    }

    unsafe fn call(&self, attached: Attached<'_>, passed: Passed) -> *mut c::PyObject {
        // SAFETY: the caller's word.
        unsafe { self.collect(attached, passed) }
            .and_then(|arguments| (self.body)(attached, arguments))
            .map_or(ptr::null_mut(), Object::into_ptr)
    }
}

impl Function {
    /// The Python object for it.
    pub(crate) fn object<'py>(&'static self, attached: Attached<'py>) -> Result<Object<'py>> {
        object(self, CString::default(), &attached.string("pyembed")?)
    }

    /// Puts the arguments of a call in the order of the parameters.
    ///
    /// # Safety
    /// `passed` must be what CPython has passed to this call.
    unsafe fn collect<'py>(
        &self,
        attached: Attached<'py>,
        passed: Passed,
    ) -> Result<Arguments<'py>> {
        let Passed { args, count, keywords } = passed;
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
        let module = original.attribute(c"__module__")?;
        // `inspect.signature` reads a built-in function's signature from the head of its text.
        let name = self.name.to_string_lossy();
        let signature = original.attribute(c"__text_signature__")?.to_display()?;
        let text = original.attribute(c"__doc__")?.to_display()?;
        let doc = CString::new(format!("{name}{signature}\n--\n\n{text}")).unwrap_or_default();
        let bound = Box::leak(Box::new(Bound { fallback: self, original: original.keep() }));
        object(bound, doc, &module)
    }
}

impl Callable for Bound {
    const CAPSULE: &CStr = c"pyembed.Fallback";

    fn name(&self) -> &'static CStr {
        self.fallback.name
    }

    unsafe fn call(&self, attached: Attached<'_>, passed: Passed) -> *mut c::PyObject {
        // SAFETY: the arguments go on as they came.
        unsafe {
            let call = |function: &Object<'_>| {
                let Passed { args, count, keywords } = passed;
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
