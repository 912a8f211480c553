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
    /// pyembed with a `main`.
    pub runtime: FileRef,
    /// libpython, all of which a dynamic executable offers to extension modules.
    pub libpython: FileRef,
    /// Objects and archives that these need, in link order.
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

/// The shapes of an executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkMode {
    /// libc and all: needs nothing but the kernel, and cannot load shared objects.
    Static,
    /// Needs the platform's loader and libc, and loads extension modules from memory.
    Dynamic,
    /// The same, with libpython as a shared library that it loads from memory too: a runner that has been linked before
    /// serves every Python of a minor version.
    Portable,
}

impl Document for LinkPlan {
    const SCHEMA: &'static str = "pyox.link-plan/1";
}

impl LinkPlan {
    /// All objects and archives, in link order.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        [&self.runtime, &self.libpython].into_iter().chain(&self.archives)
    }

    /// The same plan with other references to the same files.
    #[must_use]
    pub fn with_files(&self, other: impl Fn(&FileRef) -> FileRef) -> Self {
        Self {
            runtime: other(&self.runtime),
            libpython: other(&self.libpython),
            archives: self.archives.iter().map(&other).collect(),
            ..self.clone()
        }
    }
}

impl LinkMode {
    /// The name that documents and options use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Portable => "portable",
        }
    }
}
