//! The configuration record: how the interpreter starts and what it runs.
//!
//! It is encoded by bincode 2.0.1 in its standard configuration (little-endian, variable-length
//! integers); `docs/formats/blob.md` writes that encoding down to the byte.

use bincode::{Decode, Encode};

use crate::Error;

/// How the interpreter starts, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Config {
    /// The Python version of the bytecode: major and minor.
    pub python: (u8, u8),
    /// The bytecode magic number, as `PyImport_GetMagicNumber()` returns it.
    pub bytecode_magic: u32,
    /// The digest of the distribution that the blob was made for, 64 hexadecimal digits.
    pub distribution: String,
    /// What runs.
    pub run: Run,
    /// Fields of `PyPreConfig` that differ from pyembed's defaults, by their names.
    pub preconfig: Vec<Setting>,
    /// Fields of `PyConfig` that differ from pyembed's defaults, by their names.
    pub config: Vec<Setting>,
    /// When the executable takes the interpreter's own command line (`-m`, `-c`, a script).
    pub interpreter: Interpreter,
    /// Packages, by their dotted names, whose files are real files at run time; sorted by name. All
    /// others stay in memory.
    pub placements: Vec<(String, Placement)>,
    /// Attributes of `sys`, sorted by name. In their texts and in the next two fields, `$ORIGIN` is the executable's folder.
    pub sys: Vec<Setting>,
    /// Folders at the end of `sys.path`.
    pub search_path: Vec<String>,
    /// Variables of the environment and their values, sorted by name.
    pub environment: Vec<(String, String)>,
    /// The variable of the environment that names a folder for lists of imported modules.
    pub module_lists: Option<String>,
}

/// When an executable acts as the `python` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Interpreter {
    /// Never.
    Never,
    /// Where the application itself has started it, and where `PYOX_INTERPRETER` is `1` in the environment.
    Always,
    /// Where the application itself has started it.
    Children,
}

/// Where a package's files are real files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Placement {
    /// In a private folder of the user's cache, written when the package is first imported.
    Cache,
    /// In the folder `EXECUTABLE.files` beside the executable, which `pyox-link` writes.
    Beside,
}

/// What the executable runs as `__main__`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Run {
    /// `python`'s interactive interpreter.
    Repl,
    /// A module, or a package's `__main__`, as `python -m` runs it.
    Module(String),
    /// The module record `__main__`, as `python FILE` runs it.
    Script,
    /// A statement, as `python -c` runs it: Python source.
    Code(String),
    /// A function of a module, as an installed console script runs it.
    EntryPoint {
        /// The module to import.
        module: String,
        /// The attribute to call; dotted for an attribute of an attribute.
        function: String,
    },
}

/// One field of `PyPreConfig` or `PyConfig`, or attribute of `sys`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Setting {
    /// Its name; a field's is that of CPython's documentation, such as `utf8_mode`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Value {
    /// For `int` and `unsigned long` fields.
    Integer(i64),
    /// For `wchar_t*` fields.
    Text(String),
    /// For `PyWideStringList` fields.
    List(Vec<String>),
    /// For attributes of `sys`; the structures have integers instead.
    Boolean(bool),
}

impl Interpreter {
    /// The name that documents use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::Children => "children",
        }
    }
}

impl Placement {
    /// The manifest's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Beside => "beside",
        }
    }
}

impl Config {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Encoding owned strings and integers into memory has no failing case.
        bincode::encode_to_vec(self, bincode::config::standard()).unwrap_or_default()
    }

    /// Reads a record, all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the bytes are no record, or more than one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        // The limit stops a forged length from reserving memory that the record cannot fill.
        let options = bincode::config::standard().with_limit::<{ 1 << 24 }>();
        match bincode::decode_from_slice(bytes, options) {
            Ok((config, read)) if read == bytes.len() => Ok(config),
            Ok((_, read)) => Err(Error::Malformed(format!(
                "config: expected a record of {} bytes, found one of {read}",
                bytes.len()
            ))),
            Err(error) => Err(Error::Malformed(format!("config: {error}"))),
        }
    }
}
