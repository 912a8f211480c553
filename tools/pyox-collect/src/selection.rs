//! What is taken if not all is: some extension modules of the standard library, or a list of modules.

use std::collections::BTreeSet;

use pyox_schema::{Distribution, Excluded, Origin, ResourceKind};

use crate::Options;
use crate::candidate::{Candidate, Found};
use crate::exclusions::Exclusions;

/// Takes out what the options do not name.
pub(crate) fn apply(
    found: &mut Found,
    options: &Options,
    distribution: &Distribution,
    exclusions: &Exclusions,
) {
    if let Some(extensions) = options.extensions.of(distribution) {
        let reason = "an extension module that --extensions leaves out; --include takes it";
        leave(found, reason, |candidate| {
            let resource = &candidate.resource;
            resource.kind != ResourceKind::ExtensionModule
                || resource.origin != Origin::StandardLibrary
                || extensions.contains(resource.name.as_str())
                || exclusions.includes(&resource.name)
        });
    }
    if let Some(only) = &options.only {
        let mut taken: BTreeSet<&str> = BTreeSet::from(["__main__"]);
        for name in only {
            // A module needs the packages around it.
            taken.extend(name.match_indices('.').map(|(at, _)| &name[..at]));
            taken.insert(name);
        }
        let tops: BTreeSet<&str> =
            taken.iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
        leave(found, "not among the modules that are asked for", |candidate| {
            let name = candidate.resource.name.as_str();
            match candidate.resource.kind {
                _ if candidate.is_importable() => taken.contains(name),
                ResourceKind::PackageData => tops.contains(name.split('/').next().unwrap_or(name)),
                _ => true,
            }
        });
    }
}

fn leave(found: &mut Found, reason: &str, is_taken: impl Fn(&Candidate) -> bool) {
    let Found { candidates, excluded, .. } = found;
    candidates.retain(|candidate| {
        let is_taken = is_taken(candidate);
        if !is_taken {
            excluded.push(Excluded {
                name: candidate.resource.name.clone(),
                project: candidate.resource.project.clone(),
                reason: reason.to_owned(),
            });
        }
        is_taken
    });
}
