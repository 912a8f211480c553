//! Rust functions that Python calls.
//!
//! A [`Function`] takes its arguments by position or by keyword. Whatever happens in it ends as a result
//! or a Python exception: a panic becomes a `SystemError` and never crosses into C.

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3_ffi as c;

use super::{Attached, Exception, Object, Result};

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

/// The name of the capsule that points to a function, which nobody else uses.
const CAPSULE: &CStr = c"pyembed.Function";

/// Where CPython enters, for every function.
unsafe extern "C" fn enter(
    capsule: *mut c::PyObject,
    args: *const *mut c::PyObject,
    count: isize,
    keywords: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: the capsule is the one that `object` made, of a static value. CPython calls only from a
    // thread that is attached, for as long as the call lasts; the rest is what it passes.
    unsafe {
        let this: *const Function = c::PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()).cast();
        let Some(this) = this.as_ref() else { return ptr::null_mut() };
        let attached = Attached::assume();
        let passed = Passed { args, count, keywords };
        let call = AssertUnwindSafe(|| {
            this.collect(attached, passed).and_then(|a| (this.body)(attached, a))
        });
        catch_unwind(call).map_or_else(
            |_| {
                let name = this.name.to_string_lossy();
                attached.raise(Exception::SystemError, &format!("pyembed: {name}() panicked"));
                ptr::null_mut()
            },
            |result| result.map_or(ptr::null_mut(), Object::into_ptr),
        )
    }
}

impl Function {
    /// The Python object for it.
    pub(crate) fn object<'py>(&'static self, attached: Attached<'py>) -> Result<Object<'py>> {
        let module = attached.string("pyembed")?;
        // CPython keeps pointers to the definition and its text; functions are made once and stay.
        let signature = CString::new(self.signature()).unwrap_or_default().into_raw();
        let definition = Box::leak(Box::new(c::PyMethodDef {
            ml_name: self.name.as_ptr(),
            ml_meth: c::PyMethodDefPointer { PyCFunctionFastWithKeywords: enter },
            ml_flags: c::METH_FASTCALL | c::METH_KEYWORDS,
            ml_doc: signature,
        }));
        // SAFETY: definition, names and `self` are static, and `enter` takes the pointer for what it is.
        unsafe {
            let pointer = ptr::from_ref(self).cast_mut().cast();
            let capsule = attached.owned(c::PyCapsule_New(pointer, CAPSULE.as_ptr(), None))?;
            attached.owned(c::PyCFunction_NewEx(definition, capsule.as_ptr(), module.as_ptr()))
        }
    }

    /// What `inspect.signature` reads.
    fn signature(&self) -> String {
        let parameters = self.parameters.iter().enumerate().map(|(place, name)| {
            let default = if place < self.required { "" } else { "=None" };
            format!("{name}{default}")
        });
        let parameters = parameters.collect::<Vec<_>>().join(", ");
        format!("{}({parameters})\n--\n\n", self.name.to_string_lossy())
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
