//! What is only in one of two inputs, and what changed.
//!
//! Manifests, blobs and executables can be compared with each other: a file's bytes by their
//! SHA-256, bytecode where both have it. So a blob equals the manifest that it was packed from.

use std::collections::BTreeMap;

use pyox_schema::Digest;
use pyox_stage::Result;
use serde::Serialize;
use serde_json::Value;

use crate::config::{self, Facts};
use crate::contents::{Bytes, Contents, Kind, Resource};
use crate::input::{Input, Subject};

/// What is different between two inputs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Difference {
    /// Whether nothing is.
    pub equal: bool,
    /// Facts that differ, with both values.
    pub config: Vec<Change>,
    /// Projects that differ in version.
    pub projects: Vec<Change>,
    /// Resources that only the second has.
    pub added: Vec<Resource>,
    /// Resources that only the first has.
    pub removed: Vec<Resource>,
    /// Resources that both have, but not the same.
    pub changed: Vec<ResourceChange>,
}

/// A fact or a version that differs.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The fact's key, or the project's name.
    pub name: String,
    /// What the first says; null if it says nothing.
    pub from: Value,
    /// What the second says; null if it says nothing.
    pub to: Value,
}

/// A resource that differs.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceChange {
    /// What it is in both.
    pub kind: Kind,
    /// Its name in both.
    pub name: String,
    /// Which of its properties differ: `location`, `project`, `package`, `needs`, `file` or `code`.
    pub what: Vec<&'static str>,
    /// As it is in the first.
    pub from: Resource,
    /// As it is in the second.
    pub to: Resource,
}

/// Compares two inputs.
///
/// # Errors
///
/// If one of them is nothing that pyox makes, or a resource's bytes cannot be read.
///
/// ```no_run
/// use pyox_inspect::{Input, diff};
/// # fn main() -> pyox_stage::Result<()> {
/// let (old, new) = (Input::open("old.blob".as_ref())?, Input::open("app".as_ref())?);
/// let added: Vec<_> = diff(&old, &new)?.added.into_iter().map(|resource| resource.name).collect();
/// # Ok(())
/// # }
/// ```
pub fn diff(a: &Input<'_>, b: &Input<'_>) -> Result<Difference> {
    let (one, two) = (a.subject()?, b.subject()?);
    Difference::between(
        (&Contents::of(a, &one)?, &config::of_subject(a, &one)?),
        (&Contents::of(b, &two)?, &config::of_subject(b, &two)?),
        form(&one) == form(&two),
    )
}

/// Inputs of one form hold the same facts.
fn form(subject: &Subject<'_>) -> &'static str {
    match subject {
        Subject::Executable(_) => "blob",
        other => other.kind(),
    }
}

impl Difference {
    fn between(
        (a, a_facts): (&Contents<'_>, &Facts),
        (b, b_facts): (&Contents<'_>, &Facts),
        same_form: bool,
    ) -> Result<Self> {
        // A blob does not say all that its manifest said, but all of the interpreter's settings.
        let matters = |key: &str, there: bool| {
            let settings = ["config.", "preconfig.", "placements."];
            there || same_form || settings.iter().any(|group| key.starts_with(group))
        };
        let mut difference = Self { config: changes(a_facts, b_facts, matters), ..Self::default() };
        difference.projects = changes(&versions(a), &versions(b), |_, _| true);

        let ours = by_name(a);
        let mut theirs = by_name(b);
        for (key, from) in ours {
            match theirs.remove(&key) {
                None => difference.removed.push(from.clone()),
                Some(to) => {
                    let what = differing(a, from, b, to)?;
                    if !what.is_empty() {
                        let (kind, name) = (to.kind, to.name.clone());
                        let (from, to) = (from.clone(), to.clone());
                        difference.changed.push(ResourceChange { kind, name, what, from, to });
                    }
                }
            }
        }
        difference.added = theirs.into_values().cloned().collect();
        difference.equal = difference.config.is_empty()
            && difference.projects.is_empty()
            && difference.added.is_empty()
            && difference.removed.is_empty()
            && difference.changed.is_empty();
        Ok(difference)
    }
}

/// Keyed by kind, name and how many of that name came before: two resources of one name are an
/// error elsewhere, but none may be lost here.
fn by_name<'c>(contents: &'c Contents<'_>) -> BTreeMap<(Kind, &'c str, usize), &'c Resource> {
    let mut seen = BTreeMap::new();
    let mut all = BTreeMap::new();
    for resource in &contents.resources {
        let name = (resource.kind, resource.name.as_str());
        let before = seen.entry(name).or_insert(0);
        all.insert((name.0, name.1, *before), resource);
        *before += 1;
    }
    all
}

fn versions(contents: &Contents<'_>) -> Facts {
    let projects = contents.projects.iter();
    projects.map(|p| (p.name.clone(), Value::from(p.version.clone().unwrap_or_default()))).collect()
}

/// Facts that differ; `matters` is asked, with whether both sides have the fact.
fn changes(a: &Facts, b: &Facts, matters: impl Fn(&str, bool) -> bool) -> Vec<Change> {
    let find = |facts: &Facts, key: &str| {
        facts.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let only_b = b.iter().filter(|(key, _)| find(a, key).is_none());
    a.iter()
        .chain(only_b)
        .filter_map(|(key, _)| {
            let (from, to) = (find(a, key), find(b, key));
            if from == to || !matters(key, from.is_some() && to.is_some()) {
                return None;
            }
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
            Some(Change { name: key.clone(), from, to })
        })
        .collect()
}

/// Which properties of a resource differ between two inputs.
fn differing(
    a: &Contents<'_>,
    from: &Resource,
    b: &Contents<'_>,
    to: &Resource,
) -> Result<Vec<&'static str>> {
    let mut what = Vec::new();
    let both = |x: Option<&String>, y: Option<&String>| x.zip(y).is_some_and(|(x, y)| x != y);
    if both(from.location.as_ref(), to.location.as_ref()) {
        what.push("location");
    }
    if from.project != to.project {
        what.push("project");
    }
    if from.package != to.package {
        what.push("package");
    }
    if from.needs != to.needs {
        what.push("needs");
    }
    let same_place = from.stored.is_some() == to.stored.is_some();
    let differ = match (from.size, to.size) {
        (Some(x), Some(y)) if x != y => true,
        (Some(_), Some(_)) => digest(a, from)? != digest(b, to)?,
        // A blob without sources is no other blob for that than its manifest's.
        (x, y) => same_place && x.is_some() != y.is_some(),
    };
    if differ {
        what.push("file");
    }
    if let (Some(x), Some(y)) = (a.code(from)?, b.code(to)?)
        && x != y
    {
        what.push("code");
    }
    Ok(what)
}

fn digest(contents: &Contents<'_>, resource: &Resource) -> Result<Option<Digest>> {
    match &resource.bytes {
        Bytes::OnDisk(_, Some((_, digest))) => Ok(Some(*digest)),
        _ => Ok(contents.file(resource)?.map(|bytes| Digest::of(&bytes))),
    }
}
