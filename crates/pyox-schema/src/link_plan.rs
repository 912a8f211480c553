//! `pyox.link-plan/1`: all that a linker needs to make a runner. `docs/formats/link-plan.md`
//! specifies it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{DistributionRef, Document, FileRef};

/// How a runner is linked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The distribution whose libpython is linked.
    pub distribution: DistributionRef,
    /// Whether libc and all is linked in, or the platform's is needed.
    pub mode: LinkMode,
    /// Why this mode and not the other.
    pub reason: String,
    /// The folder that the paths of objects and archives are relative to.
    pub root: PathBuf,
    /// The linker driver.
    pub driver: String,
    /// Objects and archives, in link order.
    pub archives: Vec<FileRef>,
    /// System libraries, as `-l` takes them, in link order.
    pub libraries: Vec<String>,
    /// The driver's further arguments, in their order.
    pub arguments: Vec<String>,
    /// Names of the extension modules in libpython's `inittab`.
    pub inittab: Vec<String>,
    /// The section that receives the blob.
    pub section: String,
}

/// The two shapes of an executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkMode {
    /// libc and all: needs nothing but the kernel, and cannot load shared objects.
    Static,
    /// Needs the platform's loader and libc, and loads extension modules from memory.
    Dynamic,
}

impl Document for LinkPlan {
    const SCHEMA: &'static str = "pyox.link-plan/1";
}

impl LinkMode {
    /// The name that documents and options use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}
