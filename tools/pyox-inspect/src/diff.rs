//! `--diff A B`: what is only in one of two inputs, and what changed.
//!
//! Manifests, blobs and executables can be compared with each other: a file's bytes by their
//! SHA-256, bytecode where both have it. So a blob equals the manifest that it was packed from.

use std::collections::BTreeMap;
use std::path::Path;

use pyox_cli::{Answer, Result, output};
use pyox_schema::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::config::{self, Facts};
use crate::contents::{Bytes, Contents, Kind, Resource};
use crate::subject::{Input, Subject};
use crate::text::{self, Align, Table, shown};

#[derive(Default, Serialize)]
struct Difference {
    equal: bool,
    /// Facts that differ, with both values.
    config: Vec<Change>,
    /// Projects that differ in version.
    projects: Vec<Change>,
    added: Vec<Resource>,
    removed: Vec<Resource>,
    changed: Vec<ResourceChange>,
}

#[derive(Serialize)]
struct Change {
    name: String,
    from: Value,
    to: Value,
}

#[derive(Serialize)]
struct ResourceChange {
    kind: Kind,
    name: String,
    /// Which of its properties differ.
    what: Vec<&'static str>,
    from: Resource,
    to: Resource,
}

/// Compares two inputs.
pub(crate) fn run(a: &Path, b: &Path, json: bool, to: Option<&Path>) -> Result<Answer> {
    let (a, b) = (Input::read(Some(a))?, Input::read(Some(b))?);
    let (one, two) = (a.subject()?, b.subject()?);
    let difference = Difference::between(
        (&Contents::of(&a, &one)?, &config::facts(&a, &one)?),
        (&Contents::of(&b, &two)?, &config::facts(&b, &two)?),
        form(&one) == form(&two),
    )?;
    output::text(to, &if json { text::json(&difference)? } else { difference.text() })?;
    Ok(if difference.equal { Answer::Done } else { Answer::No })
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

    fn text(&self) -> Vec<u8> {
        let mut table = Table::new(&[Align::Left; 4]);
        let sets = [("config", &self.config), ("project", &self.projects)];
        for (label, changes) in sets {
            for change in changes {
                let (from, to) = (value(&change.from), value(&change.to));
                let sign = match (&change.from, &change.to) {
                    (Value::Null, _) => "+",
                    (_, Value::Null) => "-",
                    _ => "~",
                };
                table.row([
                    sign.into(),
                    label.into(),
                    shown(&change.name),
                    format!("{from} -> {to}").into(),
                ]);
            }
        }
        let gone = self.removed.iter().map(|resource| ("-", resource));
        for (sign, resource) in gone.chain(self.added.iter().map(|resource| ("+", resource))) {
            table.row([
                sign.into(),
                resource.kind.name().into(),
                shown(&resource.name),
                text::size(resource.room()).into(),
            ]);
        }
        for change in &self.changed {
            let (from, to) = (change.from.room(), change.to.room());
            let size = if from == to {
                text::size(to)
            } else {
                format!("{} -> {}", text::size(from), text::size(to))
            };
            table.row([
                "~".into(),
                change.kind.name().into(),
                shown(&change.name),
                format!("{} ({size})", change.what.join(", ")).into(),
            ]);
        }
        let mut out = String::new();
        table.write("", &mut out);
        out.into_bytes()
    }
}

fn value(value: &Value) -> String {
    if value.is_null() { "(none)".to_owned() } else { config::plain(value) }
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
