//! The order of `sys.path`: which of two resources of one name an `import` would find.
//!
//! Built-in modules come before all entries. The application is first, then the standard library, then the installed
//! projects, as for a script in a virtual environment. A regular package or module wins over a namespace package in any
//! order, and hides what other entries have below its name. Namespace packages of several entries are one. What loses is
//! listed, and not dropped in silence.

use std::collections::BTreeMap;

use pyox_schema::ResourceKind;
use pyox_schema::name::is_identifier;
use pyox_stage::{Fault, Result, files};

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
    let mut places: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    let mut others: Vec<usize> =
        (0..candidates.len()).filter(|&number| !candidates[number].is_importable()).collect();
    others.sort_by_key(|&number| candidates[number].layer);
    let importable: Vec<usize> = (0..candidates.len()).filter(|&n| keep[n]).collect();
    for number in importable {
        if let Some(location) = &candidates[number].resource.location {
            let layer = entry(candidates[number].layer);
            places.entry((layer, location)).or_insert(number);
        }
    }
    for number in others {
        let candidate = &candidates[number];
        let Some(location) = candidate.resource.location.as_deref() else { continue };
        // Nothing hides what no import looks for.
        let is_beside = candidate.layer == Layer::Installation;
        if is_beside || !hidden_by(&holders, &as_module(location), candidate.layer) {
            let place = (entry(candidate.layer), location);
            keep[number] = *places.entry(place).or_insert(number) == number;
        }
    }

    let mut shadowed: BTreeMap<(String, String), String> = BTreeMap::new();
    for (number, candidate) in candidates.iter().enumerate() {
        if keep[number] || candidate.resource.kind == ResourceKind::NamespacePackage {
            continue;
        }
        let name = candidate.resource.name.clone();
        let dotted = if candidate.is_importable() { name.clone() } else { as_module(&name) };
        let winner = parents(&dotted)
            .chain([dotted.as_str()])
            .find_map(|name| holders.get(name).filter(|holder| holder.entry.is_some()));
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
        let reason = format!(
            "hidden by `{top}` of {}, which comes first on sys.path",
            winner.resource.project
        );
        shadowed.insert((shown, candidate.resource.project.clone()), reason);
    }
    for ((name, project), reason) in shadowed {
        found.exclude(name, &project, reason);
    }
    let mut keep = keep.into_iter();
    found.candidates.retain(|_| keep.next().unwrap_or_default());
    Ok(())
}

/// The dotted name that a module in the place of a data file would have: the packages around both
/// are the same. A folder that can be no package, such as `numpy.libs`, belongs to none.
fn as_module(location: &str) -> String {
    let mut parts: Vec<&str> = location.split('/').collect();
    parts.pop();
    let packages = parts.iter().take_while(|part| is_identifier(part)).count();
    parts.truncate(packages);
    parts.push("");
    parts.join(".")
}

/// Whether a package around a name belongs to an earlier or other entry of `sys.path`.
fn hidden_by(holders: &BTreeMap<&str, Holder>, name: &str, layer: Layer) -> bool {
    parents(name)
        .filter_map(|parent| holders.get(parent))
        .any(|holder| holder.entry.is_some_and(|other| other != entry(layer)))
}

const fn entry(layer: Layer) -> u8 {
    match layer {
        Layer::Builtin => 0,
        Layer::Application(_) => 1,
        Layer::Stdlib => 2,
        Layer::Projects => 3,
        Layer::Installation => 4,
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
    if files::read(one)? == files::read(two)? {
        return Ok(());
    }
    let name = &first.resource.name;
    let what = format!("expected one module `{name}`, but {} is another", two.display());
    Err(Fault::at(one, what).hint("rename one of the two, or leave one out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Owner;
    use pyox_schema::Origin;

    fn found(resources: &[(Layer, ResourceKind, &str, &str)]) -> Found {
        let mut found = Found::default();
        for &(layer, kind, name, location) in resources {
            let project = format!("{layer:?}");
            let owner = Owner { project, origin: Origin::default(), reason: String::new() };
            let file = (!location.is_empty()).then(|| (location.to_owned(), location.into()));
            found.candidates.push(Candidate::new(&owner, layer, kind, name.to_owned(), file));
        }
        found
    }

    fn kept(resources: &[(Layer, ResourceKind, &str, &str)]) -> Vec<(Layer, String)> {
        let mut found = found(resources);
        apply(&mut found).unwrap();
        found.candidates.into_iter().map(|c| (c.layer, c.resource.name)).collect()
    }

    const APP: Layer = Layer::Application(0);

    #[test]
    fn the_application_hides_the_library_and_the_library_hides_projects() {
        use ResourceKind::{ExtensionModule, Module, Package, PackageData};
        let resources = [
            (Layer::Builtin, ExtensionModule, "math", ""),
            (APP, Package, "json", "json/__init__.py"),
            (APP, Module, "math", "math.py"),
            (Layer::Stdlib, Package, "json", "json/__init__.py"),
            (Layer::Stdlib, Module, "json.decoder", "json/decoder.py"),
            (Layer::Stdlib, PackageData, "json/x.txt", "json/x.txt"),
            (Layer::Stdlib, Module, "enum", "enum.py"),
            (Layer::Projects, Module, "enum", "enum.py"),
            (Layer::Projects, PackageData, "json.libs/y", "json.libs/y"),
        ];
        let expected = [
            (Layer::Builtin, "math".to_owned()),
            (APP, "json".to_owned()),
            (Layer::Stdlib, "enum".to_owned()),
            (Layer::Projects, "json.libs/y".to_owned()),
        ];
        assert_eq!(kept(&resources), expected);
        let mut found = found(&resources);
        apply(&mut found).unwrap();
        let excluded: Vec<_> = found.excluded.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(excluded, ["enum", "json", "json.*", "math"]);
    }

    #[test]
    fn namespaces_join_and_give_way_to_packages() {
        use ResourceKind::{Module, NamespacePackage, Package};
        let joined = kept(&[
            (APP, NamespacePackage, "ns", ""),
            (APP, Module, "ns.a", "ns/a.py"),
            (Layer::Projects, NamespacePackage, "ns", ""),
            (Layer::Projects, Module, "ns.b", "ns/b.py"),
        ]);
        let names: Vec<_> = joined.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["ns", "ns.a", "ns.b"]);
        let regular = kept(&[
            (APP, NamespacePackage, "ns", ""),
            (APP, Module, "ns.a", "ns/a.py"),
            (Layer::Projects, Package, "ns", "ns/__init__.py"),
            (Layer::Projects, Module, "ns.b", "ns/b.py"),
        ]);
        let names: Vec<_> = regular.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["ns", "ns.b"]);
    }
}
