//! Does everything hold that has a checksum?
//!
//! A compressed runner: its checksums, and the SHA-256 of what it decodes to. A blob: header, section table, every section, every record, every payload, what the compressed
//! ones decode to, and the SHA-256 over all. A document: every file that it names, by length and
//! SHA-256. All that is damaged is named, not only the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use pyox_blob::layout::Codec;
use pyox_blob::{Blob, Error, Groups, layout};
use pyox_runner::Compressed;
use pyox_schema::{Digest, Manifest};
use pyox_stage::{Fault, Result};
use serde::Serialize;

use crate::contents::{self, Bytes, Contents};
use crate::input::{Input, Subject};

/// What a check has found.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Whether there is no problem.
    pub ok: bool,
    /// How many resources, or records of a blob, were looked at.
    pub checked: usize,
    /// All that is damaged.
    pub problems: Vec<Problem>,
}

/// Something that is damaged.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// What: a resource, a section, a path.
    pub name: String,
    /// How, with what was expected and what was found.
    pub problem: String,
}

impl Problem {
    fn new(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), problem: problem.into() }
    }
}

/// Checks everything that has a checksum. Reads all of it, files that a document names included.
///
/// # Errors
///
/// If it is nothing that pyox makes, or a blob of another version. Damage is a [`Verdict`] and not an error.
///
/// ```no_run
/// use pyox_inspect::{Input, check};
/// # fn main() -> pyox_stage::Result<()> {
/// for problem in check(&Input::open("app".as_ref())?)?.problems {
///     println!("{}: {}", problem.name, problem.problem);
/// }
/// # Ok(())
/// # }
/// ```
pub fn check(input: &Input<'_>) -> Result<Verdict> {
    let subject = input.subject()?;
    let (checked, problems) = match subject.blob() {
        Some(bytes) => {
            let (checked, mut problems) = check_blob(input, bytes)?;
            if matches!(subject, Subject::Executable(_)) {
                problems.extend(check_runner(&input.bytes));
                problems.extend(check_snapshot(&input.bytes));
            }
            (checked, problems)
        }
        None => check_document(input, &subject)?,
    };
    Ok(Verdict { ok: problems.is_empty(), checked, problems })
}

/// Whether a compressed runner is what it was made of.
fn check_runner(bytes: &[u8]) -> Option<Problem> {
    let fault = Compressed::find(bytes)?.runner().err()?;
    let text = fault.to_string();
    let (place, what) = text.split_once(": ").unwrap_or(("compressed runner", &text));
    Some(Problem::new(place, what))
}

/// Whether a start-up snapshot has the bytes that it was made with.
fn check_snapshot(bytes: &[u8]) -> Option<Problem> {
    let what = match pyox_snapshot::Executable::parse(bytes) {
        Ok(executable) => {
            let (expected, found) = executable.digests()?;
            if expected == found {
                return None;
            }
            mismatch(&expected, &found)
        }
        Err(pyox_snapshot::Refusal::Damaged) => {
            "its headers do not fit the file's length".to_owned()
        }
        // It has none.
        Err(_) => return None,
    };
    Some(Problem::new("snapshot", what))
}

fn check_blob(input: &Input<'_>, bytes: &[u8]) -> Result<(usize, Vec<Problem>)> {
    let blob = match Blob::open(bytes) {
        Ok(blob) => blob,
        // Not damage, but a blob that this reader cannot judge.
        Err(error @ (Error::Version { .. } | Error::NotABlob)) => {
            return Err(Fault::new(&input.name, &error).caused_by(error));
        }
        Err(error) => return Ok((0, vec![problem(&error)])),
    };
    let mut problems: Vec<_> = blob.faults().iter().map(problem).collect();
    let (expected, found) = (
        Digest(blob.digest()),
        Digest::of(blob.bytes().get(layout::HEADER_SIZE..).unwrap_or_default()),
    );
    if expected != found {
        problems.push(Problem::new("sha256", mismatch(&expected, &found)));
    }
    // What does not decode although its checksum holds was packed wrongly. Groups have been decoded.
    let frames = blob.files().flatten().filter(|file| file.codec == Codec::Zstd);
    problems.extend(frames.filter(|file| blob.stored(file).is_ok()).filter_map(|file| {
        let error = contents::decoded(&blob, &file, &mut Groups::default()).err()?;
        Some(Problem::new(format!("file {}", file.path), error))
    }));
    Ok((blob.module_count() + blob.file_count(), problems))
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Checksum { place, expected, found } => {
            Problem::new(place, format!("expected CRC-32 {expected:08x}, found {found:08x}"))
        }
        Error::Malformed(what) => match what.split_once(": ") {
            Some((place, what)) => Problem::new(place, what),
            None => Problem::new("blob", what),
        },
        other => Problem::new("blob", other.to_string().trim_start_matches("blob: ")),
    }
}

fn check_document(input: &Input<'_>, subject: &Subject<'_>) -> Result<(usize, Vec<Problem>)> {
    let contents = Contents::of(input, subject)?;
    let mut problems = Vec::new();
    for resource in &contents.resources {
        if let Bytes::OnDisk(path, expected) = &resource.bytes
            && let Err(what) = check_file(path, expected.as_ref())
        {
            problems.push(Problem::new(&resource.name, format!("{}: {what}", path.display())));
        }
    }
    match subject {
        Subject::Manifest(manifest) => problems.extend(contradictions(manifest)),
        Subject::Distribution(distribution) => {
            let paths = &distribution.paths;
            let optional = paths.dynload.iter().chain(&paths.include);
            for path in [&paths.executable, &paths.stdlib].into_iter().chain(optional) {
                if let Err(error) = std::fs::metadata(subject.root().join(path)) {
                    problems.push(Problem::new(path, plain(&error)));
                }
            }
        }
        _ => {}
    }
    Ok((contents.resources.len(), problems))
}

fn check_file(path: &Path, expected: Option<&(u64, Digest)>) -> Result<(), String> {
    let file = File::open(path).map_err(|error| plain(&error))?;
    let Some((size, digest)) = expected else { return Ok(()) };
    let (found, len) = Digest::of_reader(file).map_err(|error| plain(&error))?;
    if len != *size {
        return Err(format!("expected {size} bytes, got {len}"));
    }
    if found != *digest {
        return Err(mismatch(digest, &found));
    }
    Ok(())
}

/// What a manifest says that cannot all be true.
fn contradictions(manifest: &Manifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    let projects: BTreeSet<_> = manifest.projects.iter().map(|project| &project.name).collect();
    let locations: BTreeSet<_> =
        manifest.resources.iter().filter_map(|resource| resource.location.as_ref()).collect();
    let (mut names, mut taken) = (BTreeSet::new(), BTreeMap::new());
    for resource in &manifest.resources {
        if resource.kind <= pyox_schema::ResourceKind::ExtensionModule
            && !names.insert(&resource.name)
        {
            problems.push(Problem::new(&resource.name, "two resources have this name"));
        }
        if let Some(location) = &resource.location
            && let Some(other) = taken.insert(location, resource)
            && !resource.may_share_location_with(other)
        {
            problems.push(Problem::new(location, "two resources have this location"));
        }
        if !projects.contains(&resource.project) {
            let what = format!("its project {} is not listed", resource.project);
            problems.push(Problem::new(&resource.name, what));
        }
        for need in resource.needs.iter().filter(|need| !locations.contains(need)) {
            problems.push(Problem::new(
                &resource.name,
                format!("it needs {need}, which is not listed"),
            ));
        }
    }
    problems
}

fn mismatch(expected: &Digest, found: &Digest) -> String {
    format!("expected SHA-256 {}, found {}", expected.short(), found.short())
}

/// The system's message in the tools' style.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_lowercase()
}
