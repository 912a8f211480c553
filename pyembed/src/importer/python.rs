//! The halves of this module's parts that are written in Python.
//!
//! Each lies beside the Rust file that uses it and is compiled when something in it is first needed, so it is short. It has
//! `Importer`, `Loader` and `ROOT`, the executable's path, as globals. A location is a path below ROOT, with `/`
//! between its parts.

use std::ffi::CStr;

use super::state::{Root, State};
use crate::ffi::{Attached, Kept, Object, Own, Result};

/// The Python half of a part.
pub(super) struct Half {
    source: &'static CStr,
    namespace: Own<Kept>,
}

/// The half in a file of that name.
macro_rules! python_half {
    ($file:literal) => {
        Half::new(concat!(include_str!($file), "\0"))
    };
}
pub(super) use python_half;

impl Half {
    /// A half with that source, which ends with a NUL.
    pub(super) const fn new(source: &'static str) -> Self {
        match CStr::from_bytes_with_nul(source.as_bytes()) {
            Ok(source) => Self { source, namespace: Own::new() },
            Err(_) => panic!("expected one NUL, at the end"),
        }
    }

    /// What it has under a name.
    pub(super) fn get<'py>(&self, attached: Attached<'py>, name: &CStr) -> Result<Object<'py>> {
        let namespace = match self.namespace.get() {
            Some(namespace) => namespace.get(attached),
            None => self.run(attached)?,
        };
        let name = attached.string(&name.to_string_lossy())?;
        namespace.call_method(c"__getitem__", [&name])
    }

    fn run<'py>(&self, attached: Attached<'py>) -> Result<Object<'py>> {
        let builtins = attached.import(c"builtins")?;
        let namespace = builtins.call_method(c"dict", [])?;
        namespace.set_item(c"__name__", &attached.string("pyembed")?)?;
        // As `exec` has it; what C code imports on behalf of a function goes by it.
        namespace.set_item(c"__builtins__", &builtins)?;
        namespace.set_item(c"Importer", &State::get().class.get(attached))?;
        namespace.set_item(c"Loader", &State::get().loaders.source(attached))?;
        namespace.set_item(c"ROOT", &Root::get().object.get(attached))?;
        attached.compile(self.source, c"<pyembed>")?.execute(&namespace)?;
        Ok(self.namespace.get_or_set(namespace.keep()).get(attached))
    }
}
