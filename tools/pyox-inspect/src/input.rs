//! What was given: mapped or read, and recognised by its first bytes.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use pyox_blob::{Blob, layout};
use pyox_schema::{Distribution, Document, LinkPlan, Manifest};
use pyox_stage::{Content, Fault, FaultExt, Result, files};

use crate::contents::Contents;
use crate::executable::{self, Executable};

/// Something to look into: its bytes, and how messages name it.
///
/// It is recognised when it is asked something.
#[derive(Debug)]
pub struct Input<'b> {
    pub(crate) name: String,
    /// The folder that it lies in; empty if it lies in none.
    folder: PathBuf,
    pub(crate) bytes: Bytes<'b>,
}

/// The bytes of an input.
#[derive(Debug)]
pub enum Bytes<'b> {
    /// Somebody else's.
    Borrowed(&'b [u8]),
    /// Its own.
    Owned(Content),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(content) => content,
        }
    }
}

impl<'b, B: AsRef<[u8]> + ?Sized> From<&'b B> for Bytes<'b> {
    fn from(bytes: &'b B) -> Self {
        Self::Borrowed(bytes.as_ref())
    }
}

impl From<Vec<u8>> for Bytes<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes.into())
    }
}

impl From<Content> for Bytes<'_> {
    fn from(content: Content) -> Self {
        Self::Owned(content)
    }
}

/// What an input is.
#[derive(Debug)]
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

impl<'b> Input<'b> {
    /// Opens a file. A large one is mapped.
    ///
    /// # Errors
    ///
    /// If it cannot be read. Whether it is something to look into shows with the first question.
    pub fn open(path: &Path) -> Result<Input<'static>> {
        let bytes = files::content_any(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Input { name: path.display().to_string(), folder, bytes: bytes.into() })
    }

    /// Bytes, or what is in a file. `name` is how messages name them.
    ///
    /// ```
    /// use pyox_inspect::Input;
    ///
    /// let fault = Input::new("stdin", &b"#!/bin/sh"[..]).contents().unwrap_err();
    /// assert!(fault.to_string().starts_with("stdin: expected a pyox document, a blob or an executable"));
    /// ```
    #[must_use]
    pub fn new(name: &str, bytes: impl Into<Bytes<'b>>) -> Self {
        Self { name: name.to_owned(), folder: PathBuf::new(), bytes: bytes.into() }
    }

    /// How messages name it: its path, or the name that it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its resources.
    ///
    /// # Errors
    ///
    /// If it is nothing that pyox makes, or damaged where the resources are listed. Their bytes are not looked at.
    pub fn contents(&self) -> Result<Contents<'_>> {
        Contents::of(self, &self.subject()?)
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
    pub(crate) fn blob<'a>(&self, bytes: &'a [u8]) -> Result<Blob<'a>> {
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
