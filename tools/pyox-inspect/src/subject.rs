//! What was given: read whole, and recognised by its first bytes.

use std::path::{Path, PathBuf};

use pyox_blob::{Blob, layout};
use pyox_cli::{Result, input};
use pyox_schema::{Distribution, Document, LinkPlan, Manifest};
use pyox_stage::{Fault, FaultExt};

use crate::executable::{self, Executable};

/// The input's bytes, and how messages name it.
pub(crate) struct Input {
    /// Its path, or `stdin`.
    pub(crate) name: String,
    /// The folder that it lies in; empty for stdin.
    folder: PathBuf,
    /// All of its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// What an input is.
pub(crate) enum Subject<'a> {
    /// A distribution document.
    Distribution(Box<Distribution>),
    /// A manifest.
    Manifest(Box<Manifest>),
    /// A link plan.
    LinkPlan(Box<LinkPlan>),
    /// A blob, not opened yet: it may be damaged.
    Blob(&'a [u8]),
    /// An executable, and the blob in it.
    Executable(Executable<'a>),
}

impl Input {
    /// Reads a file, or stdin.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let bytes = input::read(path, "a document, a blob or an executable")?;
        let folder = path.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        Ok(Self { name: input::name(path), folder, bytes })
    }

    /// Recognises the input.
    pub(crate) fn subject(&self) -> Result<Subject<'_>> {
        let bytes = &self.bytes[..];
        if bytes.starts_with(&layout::MAGIC) {
            return Ok(Subject::Blob(bytes));
        }
        if pyox_elf::is_elf(bytes) {
            return Ok(Subject::Executable(Executable::find(self)?));
        }
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Err(Fault::new(&self.name, "expected something to look into, got nothing")
                .hint("did the stage before fail?")),
            Some(b'{') => self.document(),
            Some(_) => {
                let what = format!(
                    "expected a pyox document, a blob or an executable, got {}",
                    executable::guess(bytes)
                );
                Err(Fault::new(&self.name, what))
            }
        }
    }

    /// Which of the documents it is, whatever its major version: that is for its reader to refuse.
    fn document(&self) -> Result<Subject<'_>> {
        #[derive(serde::Deserialize)]
        struct Head {
            schema: Option<String>,
        }
        let head: Head = serde_json::from_slice(&self.bytes).fault(&self.name)?;
        let schema = head.schema.unwrap_or_default();
        let is = |ours: &str| schema.split('/').next() == ours.split('/').next();
        if is(Distribution::SCHEMA) {
            Ok(Subject::Distribution(Box::new(self.read_as()?)))
        } else if is(Manifest::SCHEMA) {
            Ok(Subject::Manifest(Box::new(self.read_as()?)))
        } else if is(LinkPlan::SCHEMA) {
            let mut plan: LinkPlan = self.read_as()?;
            // A plan among its artifacts has a root relative to itself.
            plan.root = self.folder.join(plan.root).components().collect();
            Ok(Subject::LinkPlan(Box::new(plan)))
        } else {
            let what = format!("schema: expected one of pyox's documents, got `{schema}`");
            Err(Fault::new(&self.name, what))
        }
    }

    fn read_as<D: Document>(&self) -> Result<D> {
        D::from_json(&self.bytes).fault(&self.name)
    }

    /// Opens a blob of this input.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Blob<'a>> {
        Blob::open(bytes).fault(&self.name)
    }
}

impl<'a> Subject<'a> {
    /// What it is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Distribution(_) => "distribution",
            Self::Manifest(_) => "manifest",
            Self::LinkPlan(_) => "link-plan",
            Self::Blob(_) => "blob",
            Self::Executable(_) => "executable",
        }
    }

    /// The blob's bytes, where there is one.
    pub(crate) fn blob(&self) -> Option<&'a [u8]> {
        match self {
            Self::Blob(bytes) => Some(bytes),
            Self::Executable(executable) => Some(executable.blob),
            _ => None,
        }
    }

    /// The folder that a document's relative paths start from.
    pub(crate) fn root(&self) -> PathBuf {
        match self {
            Self::Distribution(distribution) => distribution.root.clone(),
            Self::LinkPlan(plan) => plan.root.clone(),
            _ => PathBuf::new(),
        }
    }
}
