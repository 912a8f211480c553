//! Which extension modules of the standard library are taken.

use std::collections::BTreeSet;

use pyox_schema::{Distribution, Extension};
use serde::Deserialize;

/// Which extension modules of the standard library are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Extensions {
    /// All.
    #[default]
    All,
    /// Those without which an interpreter does not start.
    Minimal,
    /// Those that need no libraries of other projects, as `_ssl` and `zlib` do.
    NoLibraries,
    /// Those that need no library under the GPL.
    NoGpl,
}

/// The extension modules without which an interpreter does not start.
const MINIMAL: [&str; 32] = [
    "_abc",
    "_ast",
    "_codecs",
    "_collections",
    "_contextvars",
    "_functools",
    "_imp",
    "_io",
    "_locale",
    "_operator",
    "_signal",
    "_sre",
    "_stat",
    "_string",
    "_suggestions",
    "_symtable",
    "_sysconfig",
    "_thread",
    "_tokenize",
    "_tracemalloc",
    "_typing",
    "_warnings",
    "_weakref",
    "atexit",
    "errno",
    "faulthandler",
    "gc",
    "itertools",
    "marshal",
    "posix",
    "pwd",
    "time",
];

/// Libraries under the GPL, by the start of their names.
const GPL: [&str; 2] = ["readline", "gdbm"];

impl Extensions {
    /// The names of those that are taken; none if all are.
    pub(crate) fn of(self, distribution: &Distribution) -> Option<BTreeSet<&str>> {
        let taken = distribution.extensions.iter().filter(|extension| self.takes(extension));
        (self != Self::All).then(|| taken.map(|extension| extension.name.as_str()).collect())
    }

    fn takes(self, extension: &Extension) -> bool {
        // CPython's own sources are not another project's.
        let is_other = |name: &String| !name.starts_with("Hacl_");
        let is_gpl = |name: &String| {
            let name = name.strip_prefix("lib").unwrap_or(name);
            GPL.iter().any(|start| name.starts_with(start))
        };
        // What has no function to start it is the interpreter's own.
        let is_core = MINIMAL.contains(&extension.name.as_str()) || extension.init.is_none();
        is_core
            || match self {
                Self::All => true,
                Self::Minimal => false,
                Self::NoLibraries => !extension.libraries.iter().any(is_other),
                Self::NoGpl => !extension.libraries.iter().any(is_gpl),
            }
    }
}
