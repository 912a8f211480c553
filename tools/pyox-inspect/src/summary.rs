//! What an input is, what runs, and what is in it, on one screen.

use std::borrow::Cow;

use pyox_elf::{Elf, Needs};
use pyox_runner::Compressed;
use pyox_stage::{FaultExt, Result};
use serde::{Serialize, Serializer};

use crate::config::{self, Facts};
use crate::contents::{Contents, Project};
use crate::input::{Input, Subject};
use crate::sums::{By, Sum};

/// What there is to say about an input at first sight.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What it is: `distribution`, `manifest`, `link-plan`, `blob` or `executable`.
    pub kind: &'static str,
    /// Its length.
    pub size: u64,
    /// What an executable needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Shape>,
    /// The start-up snapshot in an executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotFacts>,
    /// The blob that it is or holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobFacts>,
    /// The [`facts`](crate::facts); in JSON an object.
    #[serde(serialize_with = "as_map")]
    pub config: Facts,
    /// Its resources added up by kind.
    pub kinds: Vec<Sum>,
    /// Its resources added up by project.
    pub projects: Vec<Sum>,
    /// The projects, with their versions.
    pub versions: Vec<Project>,
    /// How much a manifest says was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<usize>,
}

/// What an executable needs of the system.
#[derive(Debug, Clone, Serialize)]
pub struct Shape {
    /// `static` or `dynamic`.
    pub mode: &'static str,
    /// The machine that it is for, such as `x86_64`; `None` if pyox does not know it.
    pub architecture: Option<&'static str>,
    /// The loader that it asks for.
    pub interpreter: Option<String>,
    /// The shared libraries that must be there, by their SONAMEs.
    pub needed: Vec<String>,
    /// The version of glibc that must be there, such as `2.35`, or a newer one.
    pub glibc: Option<String>,
    /// How its runner is compressed, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed: Option<CompressedFacts>,
}

/// A compressed runner as it describes itself.
#[derive(Debug, Clone, Serialize)]
pub struct CompressedFacts {
    /// Its length.
    pub size: u64,
    /// The length of the runner that it was made of.
    pub original_size: u64,
    /// SHA-256 of that, in hexadecimal digits.
    pub sha256: String,
}

/// A start-up snapshot as it describes itself.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotFacts {
    /// The length of the image.
    pub size: u64,
    /// How much of it is the recorded process's heap.
    pub heap: u64,
    /// SHA-256 of the image, as it states it, in hexadecimal digits.
    pub sha256: String,
    /// What the image tells: `level`, `hashes`, numbers of `objects` and `texts`, `modules`.
    #[serde(flatten)]
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// A blob as its header and its section table describe it.
#[derive(Debug, Clone, Serialize)]
pub struct BlobFacts {
    /// The version of its format, such as `1.1`.
    pub format: String,
    /// SHA-256 of everything behind its header, as the header states it, in hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub size: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// The executable's section that holds it, if there are section headers.
    pub section: Option<&'static str>,
    /// Its sections.
    pub sections: Vec<SectionFacts>,
}

/// A section of a blob.
#[derive(Debug, Clone, Serialize)]
pub struct SectionFacts {
    /// Its name in the specification.
    pub name: Cow<'static, str>,
    /// Where it begins in the blob.
    pub offset: u64,
    /// Its length.
    pub size: u64,
    /// How many records it holds.
    pub count: u64,
}

/// What an input is, what runs, and what is in it.
///
/// # Errors
///
/// If it is nothing that pyox makes, or damaged where it says so.
pub fn summary(input: &Input<'_>) -> Result<Summary> {
    let subject = input.subject()?;
    let contents = Contents::of(input, &subject)?;
    Ok(Summary {
        kind: subject.kind(),
        size: input.bytes.len() as u64,
        executable: match &subject {
            Subject::Executable(executable) => Some(Shape::of(&executable.elf, &input.bytes)),
            _ => None,
        },
        snapshot: match &subject {
            Subject::Executable(_) => SnapshotFacts::of(&input.bytes),
            _ => None,
        },
        blob: subject.blob().map(|bytes| BlobFacts::of(input, &subject, bytes)).transpose()?,
        config: config::of_subject(input, &subject)?,
        kinds: contents.sums(By::Kind),
        projects: contents.sums(By::Project),
        versions: contents.projects,
        excluded: match &subject {
            Subject::Manifest(manifest) => Some(manifest.excluded.len()),
            _ => None,
        },
    })
}

fn as_map<S: Serializer>(facts: &Facts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(facts.iter().map(|(key, value)| (key, value)))
}

impl Shape {
    fn of(elf: &Elf, bytes: &[u8]) -> Self {
        Self {
            mode: if elf.interpreter.is_some() { "dynamic" } else { "static" },
            architecture: elf.architecture(),
            interpreter: elf.interpreter.clone(),
            needed: elf.needed.clone(),
            glibc: Needs::of(bytes).ok().and_then(|needs| needs.glibc()).map(|v| v.to_string()),
            compressed: CompressedFacts::of(bytes),
        }
    }
}

impl CompressedFacts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let found = Compressed::find(bytes)?;
        Some(Self {
            size: found.size(),
            original_size: found.original_size(),
            sha256: found.digest()?.to_string(),
        })
    }
}

impl SnapshotFacts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let executable = pyox_snapshot::Executable::parse(bytes).ok()?;
        let header = executable.header();
        let facts = executable.facts()?;
        Some(Self {
            size: header.len,
            heap: header.len.saturating_sub(header.heap),
            sha256: pyox_schema::Digest(header.digest).to_string(),
            facts: serde_json::from_slice(facts).unwrap_or_default(),
        })
    }
}

impl BlobFacts {
    fn of(input: &Input<'_>, subject: &Subject<'_>, bytes: &[u8]) -> Result<Self> {
        let blob = input.blob(bytes).fault("blob")?;
        let (offset, section) = match subject {
            Subject::Executable(found) => {
                (found.offset, Some(pyox_blob::layout::ELF_SECTION).filter(|_| found.has_section))
            }
            _ => (0, None),
        };
        let sections = blob.sections().map(|entry| SectionFacts {
            name: entry.section.map_or_else(
                || format!("unknown-{}", entry.code).into(),
                |known| known.name().into(),
            ),
            offset: entry.offset,
            size: entry.len,
            count: entry.count,
        });
        let version = pyox_blob::layout::header::MAJOR;
        let header = blob.bytes();
        Ok(Self {
            format: format!(
                "{}.{}",
                u16::from_le_bytes([header[version], header[version + 1]]),
                u16::from_le_bytes([header[version + 2], header[version + 3]])
            ),
            sha256: pyox_schema::Digest(blob.digest()).to_string(),
            size: header.len() as u64,
            offset,
            section,
            sections: sections.collect(),
        })
    }
}
