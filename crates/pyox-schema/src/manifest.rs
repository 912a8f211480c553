//! `pyox.manifest/1`: the resources of an application and how its interpreter runs.
//! `docs/formats/manifest.md` specifies it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Digest, Document};

/// What goes into a blob, by reference, and what the executable does with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The distribution that all this is for.
    pub distribution: DistributionRef,
    /// What the executable runs.
    pub run: Run,
    /// Fields of `PyPreConfig` to set, by their names in CPython's documentation.
    #[serde(default)]
    pub preconfig: BTreeMap<String, Value>,
    /// Fields of `PyConfig` to set, by their names in CPython's documentation.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
    /// Whether the executable can also be a Python interpreter, see `docs/formats/manifest.md`; without a word, for
    /// the application's own children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<bool>,
    /// How sources become bytecode.
    #[serde(default)]
    pub bytecode: Bytecode,
    /// Where the files of a package are at run time, by its dotted name; in memory without an entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub placements: BTreeMap<String, Placement>,
    /// Attributes of `sys` to set, by name; `$ORIGIN` in a text is the executable's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sys: BTreeMap<String, Value>,
    /// Folders at the end of `sys.path`; `$ORIGIN` is the executable's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<String>,
    /// Variables of the environment to set; `$ORIGIN` is the executable's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The variable of the environment that names a folder for lists of imported modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_lists: Option<String>,
    /// The projects that resources belong to, sorted by name.
    pub projects: Vec<Project>,
    /// What is taken, sorted by kind and name.
    pub resources: Vec<Resource>,
    /// What was found and left out, and why.
    #[serde(default)]
    pub excluded: Vec<Excluded>,
}

/// A distribution, named by its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistributionRef {
    /// The digest of the distribution document, see [`crate::Distribution::digest`].
    pub sha256: Digest,
    /// Full Python version, such as `3.13.5`.
    pub version: String,
    /// The target triple.
    pub target: String,
}

/// What the executable runs as `__main__`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Run {
    /// The interactive interpreter.
    Repl,
    /// A module, or a package's `__main__`, as `python -m` runs it.
    Module {
        /// Its dotted name.
        module: String,
    },
    /// The module resource `__main__`, as `python FILE` runs it.
    Script,
    /// Python source, as `python -c` runs it.
    Code {
        /// The source.
        code: String,
    },
    /// A function, as an installed console script runs it.
    EntryPoint {
        /// The module to import.
        module: String,
        /// The attribute to call, dotted where it is an attribute of one.
        function: String,
    },
}

/// The value of a field of `PyPreConfig` or `PyConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// For fields that CPython documents as true or false.
    Boolean(bool),
    /// For `int` and `unsigned long` fields.
    Integer(i64),
    /// For `wchar_t*` fields.
    Text(String),
    /// For `PyWideStringList` fields.
    List(Vec<String>),
}

/// How sources become bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bytecode {
    /// The optimisation level, as `python -O` counts it: 0, 1 or 2.
    pub optimize: u8,
    /// Whether the blob holds the sources too, for tracebacks and `inspect`.
    pub sources: bool,
}

impl Default for Bytecode {
    fn default() -> Self {
        Self { optimize: 0, sources: true }
    }
}

/// Where the files of a package are at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// In memory; the process alone can open them.
    Memory,
    /// In a private folder of the user's cache, written when the package is first imported.
    Cache,
    /// In a folder beside the executable, written by `pyox-link`.
    Beside,
}

/// A project: what PyPI knows by a name. The standard library is the project `python`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Project {
    /// Its normalised name (PEP 503).
    pub name: String,
    /// Its version, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// The dotted name of something importable; for the others the same as `location`.
    pub name: String,
    /// Its path in the application's tree, with `/` between the parts, such as `app/main.py`.
    /// Namespace packages and built-in extension modules have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Its bytes; none for namespace packages and built-in extension modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// For an extension module that is itself a package (`foo/__init__.cpython-….so`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub package: bool,
    /// For extension modules and shared libraries: locations of the shared libraries to load before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// For extension modules and shared libraries: whether the application is not expected to import it, so that its size matters
    /// more than its import's time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
    /// The name of the project that it comes from.
    pub project: String,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_project")]
    pub origin: Origin,
    /// Why it was taken, for people.
    pub reason: String,
}

/// Where a resource comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Its author has written it for this application: a source of it that does not compile is an error.
    Application,
    /// The distribution.
    StandardLibrary,
    /// A project that was installed.
    #[default]
    Project,
    /// The system, for something else that needs it.
    System,
}

impl Origin {
    // By reference, as serde calls it.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_project(&self) -> bool {
        *self == Self::Project
    }
}

impl Resource {
    /// Whether both may have one location: a file can be two modules, a script as `__main__` and under its own name.
    #[must_use]
    pub fn may_share_location_with(&self, other: &Self) -> bool {
        let is_module = |resource: &Self| resource.kind == ResourceKind::Module;
        let digest = |resource: &Self| resource.payload.as_ref().map(|payload| payload.sha256);
        is_module(self) && is_module(other) && digest(self) == digest(other)
    }
}

/// The kinds of resource, in the order in which a manifest lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// A module: its source.
    Module,
    /// A package: the source of its `__init__`.
    Package,
    /// A package without a module of its own.
    NamespacePackage,
    /// An extension module: its shared object, or none where it is built in.
    ExtensionModule,
    /// A file of a package that is no module.
    PackageData,
    /// A file of a `.dist-info` folder.
    Metadata,
    /// A shared library that extension modules need.
    SharedLibrary,
}

/// A resource's bytes, by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The file that holds them.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Digest,
}

/// Something that was found and left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Excluded {
    /// A dotted name, or a path in the application's tree; one that ends in `.*` or `/` stands for
    /// everything below it.
    pub name: String,
    /// The project that it belongs to.
    pub project: String,
    /// Why it was left out, and how to have it where there is a way.
    pub reason: String,
}

impl Document for Manifest {
    const SCHEMA: &'static str = "pyox.manifest/1";
}

impl Placement {
    /// The name that the manifest writes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cache => "cache",
            Self::Beside => "beside",
        }
    }
}

impl ResourceKind {
    /// The name that the manifest writes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Package => "package",
            Self::NamespacePackage => "namespace-package",
            Self::ExtensionModule => "extension-module",
            Self::PackageData => "package-data",
            Self::Metadata => "metadata",
            Self::SharedLibrary => "shared-library",
        }
    }
}
