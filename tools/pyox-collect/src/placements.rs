//! Where the files of packages are at run time: `--placement`, and the knowledge base.
//!
//! Nearly all packages run from memory. `placements.toml` lists those that were seen to need real files, with
//! the reason; it is data, so that it can be read and extended by people who write no Rust. What the user
//! says goes before what it says.

use std::collections::BTreeMap;

use pyox_schema::{Placement, ResourceKind};
use pyox_stage::{Fault, Reporter, Result};
use serde::Deserialize;

use crate::candidate::{Candidate, is_dotted_name};

/// The knowledge base.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Knowledge {
    #[serde(default)]
    placement: Vec<Entry>,
}

/// A package that needs real files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    package: String,
    policy: Placement,
    reason: String,
}

/// Reads the values of `--placement`, each `PACKAGE=memory`, `=cache` or `=beside`.
///
/// ```
/// use pyox_collect::placements;
/// use pyox_schema::Placement;
///
/// let found = placements::parse(&["cv2=cache".to_owned()]).unwrap();
/// assert_eq!(found["cv2"], Placement::Cache);
/// assert!(placements::parse(&["cv2=disk".to_owned()]).is_err());
/// ```
///
/// # Errors
///
/// If one has another form, or a package is named twice.
pub fn parse(options: &[String]) -> Result<BTreeMap<String, Placement>> {
    let mut placements = BTreeMap::new();
    for option in options {
        let wrong = |what: &str| Fault::new(format_args!("--placement {option}"), what);
        let (package, policy) = option
            .split_once('=')
            .ok_or_else(|| wrong("expected PACKAGE=memory, =cache or =beside, got no `=`"))?;
        if !is_dotted_name(package) {
            return Err(wrong("expected a package's dotted name before `=`"));
        }
        let policies = [Placement::Memory, Placement::Cache, Placement::Beside];
        let policy = policies.into_iter().find(|known| known.name() == policy);
        let policy = policy.ok_or_else(|| {
            wrong("expected memory, cache or beside behind `=`, got something else")
        })?;
        if placements.insert(package.to_owned(), policy).is_some() {
            return Err(wrong("expected each package once, got it again"));
        }
    }
    Ok(placements)
}

/// The manifest's placements: what the user wants, and what the knowledge base says of the rest.
pub(crate) fn decide(
    wanted: BTreeMap<String, Placement>,
    candidates: &[Candidate],
    ui: &dyn Reporter,
) -> Result<BTreeMap<String, Placement>> {
    for package in wanted.keys() {
        check(package, &wanted, candidates)?;
    }
    let mut placements = wanted;
    for entry in knowledge() {
        // What lies in a package that the user has spoken about is spoken about.
        let spoken = placements.keys().any(|name| overlap(name, &entry.package));
        if !spoken && is_taken(&entry.package, candidates) {
            let (package, policy) = (&entry.package, entry.policy.name());
            ui.note(format_args!("{package}: placement {policy}: {}", entry.reason));
            placements.insert(entry.package, entry.policy);
        }
    }
    // It is what a package without an entry has.
    placements.retain(|_, placement| *placement != Placement::Memory);
    Ok(placements)
}

fn knowledge() -> Vec<Entry> {
    // A test holds that it can be read.
    let knowledge: Option<Knowledge> = toml::from_str(include_str!("placements.toml")).ok();
    knowledge.map(|knowledge| knowledge.placement).unwrap_or_default()
}

fn check(
    package: &str,
    wanted: &BTreeMap<String, Placement>,
    candidates: &[Candidate],
) -> Result<(), Fault> {
    let wrong = |what: &str| Err(Fault::new(format_args!("--placement {package}"), what));
    if !is_taken(package, candidates) {
        let is_module = candidates.iter().any(|c| c.is_importable() && c.resource.name == package);
        return wrong(if is_module {
            "expected a package or a top-level module, got a module of a package"
        } else {
            "expected the name of a package that is taken, found none that has it"
        });
    }
    let real = |name: &str| wanted.get(name).is_some_and(|l| *l != Placement::Memory);
    match wanted.keys().find(|other| *other != package && overlap(other, package)) {
        Some(other) if real(other) && real(package) => {
            let what = format!("expected packages that are not inside each other, got {other} too");
            wrong(&what)
        }
        _ => Ok(()),
    }
}

/// Whether something that can have a placement has that name.
fn is_taken(package: &str, candidates: &[Candidate]) -> bool {
    use ResourceKind::{NamespacePackage, Package};
    candidates.iter().any(|candidate| {
        let resource = &candidate.resource;
        candidate.is_importable()
            && resource.name == package
            && (matches!(resource.kind, Package | NamespacePackage)
                || resource.package
                || !package.contains('.'))
    })
}

/// Whether one of two packages is the other, or lies in it.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knowledge_base_can_be_read() {
        let knowledge: Knowledge = toml::from_str(include_str!("placements.toml")).unwrap();
        assert!(!knowledge.placement.is_empty());
        for entry in &knowledge.placement {
            assert!(is_dotted_name(&entry.package), "{entry:?}");
            assert_ne!(entry.policy, Placement::Memory, "{entry:?}");
            assert!(!entry.reason.is_empty() && !entry.reason.ends_with('.'), "{entry:?}");
        }
        let sorted = knowledge.placement.is_sorted_by(|a, b| a.package < b.package);
        assert!(sorted, "expected each package once, in the order of the names");
    }

    #[test]
    fn an_option_names_a_package_and_a_policy() {
        let one = |option: &str| parse(&[option.to_owned()]);
        assert_eq!(one("a.b=cache").unwrap()["a.b"], Placement::Cache);
        assert_eq!(one("a=memory").unwrap()["a"], Placement::Memory);
        for option in ["a", "a=", "=cache", "a=disk", "a-b=cache", "a..b=cache"] {
            assert!(one(option).is_err(), "{option}");
        }
        assert!(parse(&["a=cache".to_owned(), "a=beside".to_owned()]).is_err());
    }

    #[test]
    fn packages_overlap_by_parts_of_their_names() {
        assert!(overlap("a", "a.b") && overlap("a.b", "a") && overlap("a", "a"));
        assert!(!overlap("a", "ab") && !overlap("a.b", "a.c"));
    }
}
