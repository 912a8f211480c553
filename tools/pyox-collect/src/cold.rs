//! Native code of the standard library that the application does not import: it is cold, and the packer compresses it.
//!
//! The application's own sources and those of its projects are followed through all their import statements, and from
//! there the standard library's through those that run when a module is imported. What they miss is imported as well as
//! ever, and a few milliseconds later for each megabyte.

use std::collections::{BTreeMap, BTreeSet};

use pyox_schema::ResourceKind;

use crate::candidate::{Candidate, Layer};
use crate::entry::Wanted;
use crate::imports::Imports;
use crate::known::{Facts, Source};

/// Marks what is cold. `reads` has the facts of each candidate, `wanted` what runs.
pub(crate) fn mark(candidates: &mut [Candidate], reads: &[Option<Facts>], wanted: &Wanted) {
    let reached = reached(candidates, reads, wanted);
    let is_libpython = |candidate: &Candidate| {
        candidate.resource.kind == ResourceKind::SharedLibrary
            && candidate.resource.name.contains("/libpython3")
    };
    // A library is as warm as the warmest of those that need it.
    let warm: BTreeSet<String> = candidates
        .iter()
        .filter(|candidate| {
            is_libpython(candidate) || candidate.is_importable() && !is_cold(candidate, &reached)
        })
        .flat_map(|candidate| candidate.resource.needs.iter().cloned())
        .collect();
    for candidate in candidates {
        candidate.resource.cold = match candidate.resource.kind {
            ResourceKind::ExtensionModule => {
                candidate.path.is_some() && is_cold(candidate, &reached)
            }
            ResourceKind::SharedLibrary => {
                candidate.layer == Layer::Stdlib
                    && !is_libpython(candidate)
                    && !warm.contains(&candidate.resource.name)
            }
            _ => false,
        };
    }
}

fn is_cold(candidate: &Candidate, reached: &BTreeSet<String>) -> bool {
    candidate.layer == Layer::Stdlib && !reached.contains(&candidate.resource.name)
}

/// The names of all importable candidates that the application may import.
fn reached(candidates: &[Candidate], reads: &[Option<Facts>], wanted: &Wanted) -> BTreeSet<String> {
    let numbers: BTreeMap<&str, usize> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.is_importable())
        .map(|(number, candidate)| (candidate.resource.name.as_str(), number))
        .collect();
    let is_own = |&number: &usize| candidates[number].layer != Layer::Stdlib;
    let mut wave: Vec<usize> = numbers.values().copied().filter(is_own).collect();
    for name in named_by(wanted) {
        wave.extend(with_parents(&name).filter_map(|name| numbers.get(name)));
    }
    let mut reached = BTreeSet::new();
    while let Some(number) = wave.pop() {
        let candidate = &candidates[number];
        if !reached.insert(candidate.resource.name.clone()) {
            continue;
        }
        let Some(Source { imports, .. }) =
            reads[number].as_ref().and_then(|facts| facts.source.as_ref())
        else {
            continue;
        };
        // What the standard library's functions import is too much: most of it, from nearly everywhere.
        let later = imports.later.iter().filter(|_| is_own(&number));
        for name in imports.at_once.iter().chain(later) {
            let name = absolute(name, candidate);
            wave.extend(with_parents(&name).filter_map(|name| numbers.get(name)));
        }
    }
    reached
}

/// What the start itself imports.
fn named_by(wanted: &Wanted) -> Vec<String> {
    match wanted {
        Wanted::Code(code) => {
            let Imports { at_once, later } = Imports::of(code.replace(';', "\n").as_bytes());
            at_once.into_iter().chain(later).collect()
        }
        Wanted::Module(name) => vec![name.clone(), format!("{name}.__main__")],
        Wanted::EntryPoint(name) => {
            vec![name.split(':').next().unwrap_or_default().trim().to_owned()]
        }
        Wanted::Repl => vec!["readline".to_owned(), "rlcompleter".to_owned()],
        Wanted::OneOf(programs) => programs.values().flat_map(named_by).collect(),
        Wanted::Script(_) | Wanted::Default => Vec::new(),
    }
}

/// A name as an import statement in `importer` means it.
fn absolute(name: &str, importer: &Candidate) -> String {
    let rest = name.trim_start_matches('.');
    let dots = name.len() - rest.len();
    if dots == 0 {
        return name.to_owned();
    }
    let mut package: Vec<&str> = importer.resource.name.split('.').collect();
    let is_package = importer.resource.kind == ResourceKind::Package;
    package.truncate(package.len().saturating_sub(dots - usize::from(is_package)));
    package.push(rest);
    package.join(".").trim_end_matches('.').to_owned()
}

/// `a.b.c`, `a.b` and `a` of `a.b.c`.
fn with_parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(name.rsplit_once('.')?.0))
}
