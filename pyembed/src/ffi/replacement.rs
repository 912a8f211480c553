//! Rust functions in the place of CPython's own built-in ones.
//!
//! Such a function has its original's name, documentation and module, and takes arguments as the original does, so
//! that programs see no difference: signatures, names and `pickle` go by these.

use std::ptr;

use pyo3_ffi as c;

use super::function::caught;
use super::{Attached, Exception, Object, Result};

/// What is done in place of a built-in function.
pub(crate) trait Replacement {
    /// The original's name, for messages.
    const NAME: &'static str;

    /// How many arguments the original takes, by position alone.
    const COUNT: usize;

    /// Does it; there are as many arguments as `COUNT` says.
    fn call<'py>(attached: Attached<'py>, arguments: &[Object<'py>]) -> Result<Object<'py>>;
}

/// A function that can take the place of `original`. Gives `original` itself where it is none of the kinds known here,
/// as when something else has replaced it.
pub(crate) fn in_place_of<'py, R: Replacement>(original: &Object<'py>) -> Result<Object<'py>> {
    let attached = original.attached();
    // SAFETY: CPython checks the type, which has this layout; the definition lives as long as the function.
    let definition = unsafe {
        if c::PyCFunction_CheckExact(original.as_ptr()) == 0 {
            return Ok(original.clone());
        }
        &*(*original.as_ptr().cast::<c::PyCFunctionObject>()).m_ml
    };
    let function = match definition.ml_flags {
        c::METH_O => c::PyMethodDefPointer { PyCFunction: one::<R> },
        c::METH_FASTCALL => c::PyMethodDefPointer { PyCFunctionFast: several::<R> },
        _ => return Ok(original.clone()),
    };
    // CPython keeps a pointer to the definition; functions are made once and stay.
    let replaced = Box::leak(Box::new(c::PyMethodDef {
        ml_name: definition.ml_name,
        ml_meth: function,
        ml_flags: definition.ml_flags,
        ml_doc: definition.ml_doc,
    }));
    let (module, name) = (original.attribute(c"__self__")?, original.attribute(c"__module__")?);
    // SAFETY: name and documentation are static, as the original's definition is; the function takes what the flags
    // say.
    unsafe { attached.owned(c::PyCFunction_NewEx(replaced, module.as_ptr(), name.as_ptr())) }
}

/// Where CPython enters with one argument, which it has counted.
unsafe extern "C" fn one<R: Replacement>(
    _: *mut c::PyObject,
    argument: *mut c::PyObject,
) -> *mut c::PyObject {
    // SAFETY: CPython calls only from a thread that is attached, with a live object.
    unsafe {
        let attached = Attached::assume();
        caught(attached, R::NAME, || R::call(attached, &[attached.borrowed(argument)?]))
    }
}

/// Where CPython enters with any number of arguments.
unsafe extern "C" fn several<R: Replacement>(
    _: *mut c::PyObject,
    arguments: *mut *mut c::PyObject,
    count: isize,
) -> *mut c::PyObject {
    // SAFETY: CPython calls only from a thread that is attached, with so many live objects.
    unsafe {
        let attached = Attached::assume();
        let count = usize::try_from(count).unwrap_or(0);
        if count != R::COUNT {
            let what = format!("{} expected {} arguments, got {count}", R::NAME, R::COUNT);
            attached.raise(Exception::TypeError, &what);
            return ptr::null_mut();
        }
        caught(attached, R::NAME, || {
            let taken = (0..count).map(|place| attached.borrowed(*arguments.add(place)));
            R::call(attached, &taken.collect::<Result<Vec<_>>>()?)
        })
    }
}
