//! The order of `sys.path`: which of two resources of one name an `import` would find.
//!
//! The application comes first, then the standard library, then the installed projects, as for a
//! script in a virtual environment. A regular package or module wins over a namespace package whatever
//! the order, and hides all that other entries have below that name; namespace packages of
//! several entries are one. What loses is listed, not dropped in silence.

use std::collections::BTreeMap;

use pyox_cli::{Fault, HintExt, Result};
use pyox_schema::ResourceKind;

use crate::candidate::{Candidate, Found, Layer};
use crate::tree::parents;

/// Who has a name.
#[derive(Debug, Clone, Copy)]
struct Holder {
    /// The candidate's number.
    number: usize,
    /// The entry of `sys.path`; none for a namespace package, which belongs to all.
    entry: Option<u8>,
}

/// Keeps what an `import` would find, and lists the rest as excluded.
pub(crate) fn apply(found: &mut Found) -> Result<()> {
    let candidates = &found.candidates;
    let mut order: Vec<usize> =
        (0..candidates.len()).filter(|&number| candidates[number].is_importable()).collect();
    order.sort_by_key(|&number| {
        let candidate = &candidates[number];
        let namespace = candidate.resource.kind == ResourceKind::NamespacePackage;
        (&candidate.resource.name, namespace, candidate.layer)
    });

    let mut holders: BTreeMap<&str, Holder> = BTreeMap::new();
    let mut keep = vec![false; candidates.len()];
    for number in order {
        let candidate = &candidates[number];
        let name = candidate.resource.name.as_str();
        if hidden_by(&holders, name, candidate.layer) {
            continue;
        }
        match holders.get(name) {
            None => {
                let namespace = candidate.resource.kind == ResourceKind::NamespacePackage;
                let entry = (!namespace).then(|| entry(candidate.layer));
                holders.insert(name, Holder { number, entry });
                keep[number] = true;
            }
            Some(holder) => refuse_two_of_one_name(&candidates[holder.number], candidate)?,
        }
    }

    // Files that are no modules: they follow the package around them, and the first path wins.
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others: Vec<usize> =
        (0..candidates.len()).filter(|&number| !candidates[number].is_importable()).collect();
    others.sort_by_key(|&number| candidates[number].layer);
    let importable: Vec<usize> = (0..candidates.len()).filter(|&n| keep[n]).collect();
    for number in importable {
        if let Some(location) = &candidates[number].resource.location {
            places.entry(location).or_insert(number);
        }
    }
    for number in others {
        let candidate = &candidates[number];
        let Some(location) = candidate.resource.location.as_deref() else { continue };
        let dotted = location.replace('/', ".");
        if !location.contains('/') || !hidden_by(&holders, &dotted, candidate.layer) {
            keep[number] = *places.entry(location).or_insert(number) == number;
        }
    }

    let mut shadowed: BTreeMap<(String, String), String> = BTreeMap::new();
    for (number, candidate) in candidates.iter().enumerate() {
        if keep[number] || candidate.resource.kind == ResourceKind::NamespacePackage {
            continue;
        }
        let name = candidate.resource.name.clone();
        let dotted = name.replace('/', ".");
        let winner = parents(&dotted)
            .chain([dotted.as_str()])
            .find_map(|name| holders.get(name).filter(|holder| holder.entry.is_some()))
            .or_else(|| None);
        let Some(winner) = winner.map(|holder| &candidates[holder.number]) else {
            shadowed.insert(
                (name, candidate.resource.project.clone()),
                "another file of that path comes first on sys.path".to_owned(),
            );
            continue;
        };
        // One line for a package that is hidden, not one for each of its modules.
        let top = &winner.resource.name;
        let shown = if *top == name { name } else { format!("{top}.*") };
        let reason =
            format!("hidden by `{top}` of {}, which comes first on sys.path", winner.resource.project);
        shadowed.insert((shown, candidate.resource.project.clone()), reason);
    }
    for ((name, project), reason) in shadowed {
        found.exclude(name, &project, reason);
    }
    let mut keep = keep.into_iter();
    found.candidates.retain(|_| keep.next().unwrap_or_default());
    Ok(())
}

/// Whether a package around a name belongs to an earlier or other entry of `sys.path`.
fn hidden_by(holders: &BTreeMap<&str, Holder>, name: &str, layer: Layer) -> bool {
    parents(name)
        .filter_map(|parent| holders.get(parent))
        .any(|holder| holder.entry.is_some_and(|other| other != entry(layer)))
}

const fn entry(layer: Layer) -> u8 {
    match layer {
        Layer::Application(_) => 0,
        Layer::Stdlib => 1,
        Layer::Projects => 2,
    }
}

/// Two APPs may bring the same file, but not two files of one name.
fn refuse_two_of_one_name(first: &Candidate, second: &Candidate) -> Result<()> {
    let both = matches!(
        (first.layer, second.layer),
        (Layer::Application(one), Layer::Application(two)) if one != two
    );
    let (Some(one), Some(two)) = (&first.path, &second.path) else { return Ok(()) };
    if !both || one == two {
        return Ok(());
    }
    if std::fs::read(one).fault_at(one)? == std::fs::read(two).fault_at(two)? {
        return Ok(());
    }
    let name = &first.resource.name;
    let what = format!("expected one module `{name}`, but {} is another", two.display());
    Err(Fault::at(one, what).hint("rename one of the two, or leave one out").into())
}
