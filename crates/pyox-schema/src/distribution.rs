//! `pyox.distribution/1`: a Python interpreter to embed. `docs/formats/distribution.md` specifies it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep440_rs::{Version, VersionParseError, VersionSpecifiers, VersionSpecifiersParseError};
use serde::{Deserialize, Serialize};

use crate::{Digest, Document};

/// A distribution: where its parts are and how they are linked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The SPEC that it was fetched by, without a path of the machine.
    pub source: String,
    /// The folder that every other path in this document is relative to.
    pub root: PathBuf,
    /// The target triple that it runs on.
    pub target: String,
    /// The interpreter.
    pub python: Python,
    /// Where its parts are.
    pub paths: Paths,
    /// The standard library's identity.
    pub stdlib: Stdlib,
    /// How an executable is linked against it.
    pub link: Link,
    /// Its extension modules, sorted by name.
    pub extensions: Vec<Extension>,
    /// Licence texts of all that is linked into an executable, as paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
}

/// Facts about the interpreter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Python {
    /// Implementation name, `cpython`.
    pub implementation: String,
    /// Full version, such as `3.13.5`.
    pub version: String,
    /// Major and minor version.
    pub version_info: (u8, u8),
    /// Interpreter tag, such as `cp313`.
    pub tag: String,
    /// ABI tag of extension modules, such as `cpython-313-x86_64-linux-gnu`.
    pub soabi: String,
    /// The bytecode magic number in hexadecimal, in the order of a `.pyc` file's first four bytes.
    pub bytecode_magic: String,
    /// File suffixes of extension modules, in the import system's order.
    pub extension_suffixes: Vec<String>,
    /// `sysconfig.get_platform()`, such as `linux-x86_64`.
    pub platform: String,
}

/// Where the parts of a distribution are, relative to its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paths {
    /// The interpreter's executable.
    pub executable: String,
    /// The folder of the standard library.
    pub stdlib: String,
    /// The folder of its extension modules, where it has any in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynload: Option<String>,
    /// The folder of `Python.h`, where it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
    /// Packages of the standard library that hold its tests.
    #[serde(default)]
    pub test_packages: Vec<String>,
}

/// The standard library's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stdlib {
    /// SHA-256 over `path NUL sha256 LF` of each of its files, sorted by path. Not among them are
    /// `__pycache__`, `site-packages`, `dist-packages`, `lib-dynload`, the top-level `config-*`
    /// folders, and links to what is outside of it; a link to a file inside counts as that file.
    pub sha256: Digest,
    /// How many files that were.
    pub files: u64,
}

/// How an executable is linked against a distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Whether an executable with libc and all in it can be made.
    #[serde(rename = "static")]
    pub can_static: bool,
    /// Whether an executable that needs the platform's loader and libc can be made.
    #[serde(rename = "dynamic")]
    pub can_dynamic: bool,
    /// Why one of the two cannot be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `libpython3.X.a`; without one there is the shared library alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libpython: Option<FileRef>,
    /// `libpython3.X-pic.a`: the same compiled for shared libraries, where `libpython` is for executables at a fixed address
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pic_libpython: Option<FileRef>,
    /// `libpython3.X.so.1.0`, for executables that load it from memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_libpython: Option<FileRef>,
    /// Further object files and archives to link, in their order.
    #[serde(default)]
    pub archives: Vec<FileRef>,
    /// Libraries that libpython and the built-in extension modules need, in link order.
    pub libraries: Vec<Library>,
    /// Further arguments for the linker driver.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The linker driver to use, such as `cc`.
    pub driver: String,
    /// `elf`, or `llvm-bitcode:VERSION` for objects that need an LLVM linker.
    pub object_format: String,
}

/// A file of the distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRef {
    /// Relative to the distribution's root.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A library for the linker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Library {
    /// Its name, as `-l` takes it.
    pub name: String,
    /// The static library that the distribution brings; without one the system's is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<FileRef>,
}

/// An extension module of the standard library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    /// Its dotted name.
    pub name: String,
    /// Whether it is in libpython or in a file of its own.
    pub linkage: Linkage,
    /// Its initialisation function, such as `PyInit__ssl`; none for modules of the core that the
    /// interpreter initialises itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Its shared object, for [`Linkage::File`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// What it needs: `-l` names for a built-in, SONAMEs for a file. libc's family is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
}

/// Where an extension module's code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Linkage {
    /// In libpython.
    Builtin,
    /// In a shared object.
    File,
}

impl Document for Distribution {
    const SCHEMA: &'static str = "pyox.distribution/1";
}

impl Python {
    /// Whether it is one of the versions of a `requires-python`, such as `>=3.12`.
    ///
    /// # Errors
    ///
    /// If either is not what PEP 440 allows.
    pub fn meets(&self, requires_python: &str) -> Result<bool, VersionError> {
        let version = Version::from_str(&self.version).map_err(VersionError::Version)?;
        Ok(specifiers(requires_python)?.contains(&version))
    }
}

/// The machine of a target triple, as ELF files name it: `x86_64` for `x86_64_v3-unknown-linux-gnu` too.
///
/// ```
/// assert_eq!(pyox_schema::machine_of("aarch64-unknown-linux-gnu"), "aarch64");
/// assert_eq!(pyox_schema::machine_of("x86_64_v3-unknown-linux-musl"), "x86_64");
/// ```
#[must_use]
pub fn machine_of(target: &str) -> &str {
    let first = target.split('-').next().unwrap_or_default();
    if first.starts_with("x86_64_v") { "x86_64" } else { first }
}

/// The specifiers in a `requires-python`.
///
/// # Errors
///
/// If it is not what PEP 440 allows.
pub fn specifiers(text: &str) -> Result<VersionSpecifiers, VersionError> {
    VersionSpecifiers::from_str(text)
        .map_err(|error| VersionError::Specifiers { text: text.to_owned(), error })
}

/// Why a version cannot be compared with what is required.
#[derive(Debug)]
pub enum VersionError {
    /// The distribution's version.
    Version(VersionParseError),
    /// The `requires-python`.
    Specifiers {
        /// What it says.
        text: String,
        /// What is wrong with it.
        error: VersionSpecifiersParseError,
    },
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(error) => error.fmt(f),
            Self::Specifiers { text, error } => {
                // The lines behind it draw a picture.
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                write!(f, "requires-python: expected version specifiers, got `{text}`: {why}")
            }
        }
    }
}

impl std::error::Error for VersionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Version(error) => error,
            Self::Specifiers { error, .. } => error,
        })
    }
}

impl Distribution {
    /// A path of the distribution on this machine.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The machine that it runs on, such as `x86_64`.
    #[must_use]
    pub fn machine(&self) -> &str {
        machine_of(&self.target)
    }

    /// The distribution's identity: the digest of this document without [`Distribution::root`], so
    /// that it is the same on every machine that has the same distribution. Whether it can be linked statically does not
    /// count, nor why not, nor the linker driver's name: that depends on the machine and on what else is installed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut identity = Self { root: PathBuf::new(), ..self.clone() };
        identity.link.can_static = false;
        identity.link.reason = None;
        identity.link.driver.clear();
        Digest::of(&identity.to_json())
    }

    /// Every file that the document names, with what the document says of it.
    #[must_use]
    pub fn files(&self) -> BTreeMap<&Path, &FileRef> {
        let libraries = self.link.libraries.iter().filter_map(|library| library.archive.as_ref());
        let extensions = self.extensions.iter().filter_map(|extension| extension.file.as_ref());
        let libpython =
            [&self.link.libpython, &self.link.pic_libpython, &self.link.shared_libpython];
        libpython
            .into_iter()
            .flatten()
            .chain(&self.link.archives)
            .chain(libraries)
            .chain(extensions)
            .map(|file| (Path::new(&file.path), file))
            .collect()
    }
}
