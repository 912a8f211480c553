//! `PYTHON.json`, python-build-standalone's description of a distribution, in its formats 7 and 8.
//!
//! Only the keys that pyox uses are read. What the format's documentation and its real files disagree
//! about (`object_file_format`, `license_paths`) is accepted in both ways.

use std::collections::BTreeMap;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result, files};
use serde::Deserialize;
use serde_json::Value;

/// The document's name in an archive.
pub(crate) const NAME: &str = "PYTHON.json";

/// The document.
#[derive(Debug, Deserialize)]
pub(crate) struct PythonJson {
    pub(crate) target_triple: String,
    /// Format 8's; format 7 has `optimizations`.
    #[serde(default)]
    build_options: Option<String>,
    #[serde(default)]
    optimizations: Option<String>,
    pub(crate) python_tag: String,
    pub(crate) python_platform_tag: String,
    pub(crate) python_implementation_name: String,
    pub(crate) python_version: String,
    pub(crate) python_major_minor_version: String,
    pub(crate) python_paths: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) python_config_vars: BTreeMap<String, Value>,
    pub(crate) python_exe: String,
    #[serde(default)]
    pub(crate) python_stdlib_test_packages: Vec<String>,
    pub(crate) python_suffixes: BTreeMap<String, Vec<String>>,
    pub(crate) python_bytecode_magic_number: String,
    #[serde(default)]
    pub(crate) python_extension_module_loading: Vec<String>,
    #[serde(default)]
    pub(crate) license_path: Option<String>,
    #[serde(default)]
    object_file_format: Option<String>,
    pub(crate) build_info: BuildInfo,
}

/// The build's artifacts.
#[derive(Debug, Deserialize)]
pub(crate) struct BuildInfo {
    pub(crate) core: Core,
    /// Variants by the extension module's name.
    pub(crate) extensions: BTreeMap<String, Vec<Variant>>,
    #[serde(default)]
    object_file_format: Option<String>,
}

/// libpython.
#[derive(Debug, Deserialize)]
pub(crate) struct Core {
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    #[serde(default)]
    pub(crate) static_lib: Option<String>,
    #[serde(default)]
    pub(crate) shared_lib: Option<String>,
}

/// One way in which an extension module was built.
#[derive(Debug, Deserialize)]
pub(crate) struct Variant {
    #[serde(default)]
    pub(crate) in_core: bool,
    #[serde(default)]
    pub(crate) init_fn: Option<String>,
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    #[serde(default)]
    pub(crate) shared_lib: Option<String>,
    #[serde(default)]
    #[serde(rename = "variant")]
    pub(crate) name: String,
    #[serde(default)]
    license_paths: Vec<String>,
    #[serde(default)]
    license_path: Option<OneOrMany>,
}

/// A library to link.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) path_static: Option<String>,
}

/// A path, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Variant {
    /// Paths of the licences of the libraries that it needs.
    pub(crate) fn licenses(&self) -> impl Iterator<Item = &String> {
        let documented = match &self.license_path {
            Some(OneOrMany::One(path)) => std::slice::from_ref(path),
            Some(OneOrMany::Many(paths)) => paths,
            None => &[],
        };
        self.license_paths.iter().chain(documented)
    }
}

impl PythonJson {
    /// Reads the document of an unpacked distribution.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read(path)?, path)
    }

    /// Reads it from its bytes.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        /// A format's version is a string in all that are known; be sure to see what it is.
        #[derive(Deserialize)]
        struct Head {
            version: Option<Value>,
        }
        let head: Head = serde_json::from_slice(bytes).fault_at(path)?;
        let version = head.version.unwrap_or_default();
        if !matches!(version.as_str(), Some("7" | "8")) {
            let what = format!("version: expected \"7\" or \"8\", got {version}");
            return Err(Fault::at(path, what));
        }
        serde_json::from_slice(bytes).fault_at(path)
    }

    /// The format of its object files: `elf`, or `llvm-bitcode:VERSION`.
    pub(crate) fn object_format(&self) -> String {
        let format =
            self.build_info.object_file_format.as_ref().or(self.object_file_format.as_ref());
        // Some releases have a stray `%` before the version.
        format.map_or_else(|| "elf".to_owned(), |format| format.replace(":%", ":"))
    }

    /// How it was built, joined by `+`.
    pub(crate) fn build_options(&self) -> &str {
        self.build_options.as_ref().or(self.optimizations.as_ref()).map_or("", String::as_str)
    }
}
