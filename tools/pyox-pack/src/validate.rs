//! What a manifest must hold before any work begins. It may come from anyone's editor or `jq`, so
//! everything that a later stage would trip over is refused here, in one line that names the place.

use std::collections::{BTreeSet, HashMap, HashSet};

use pyox_blob::layout::{LONGEST_NAME, path_problem};
use pyox_schema::name::is_module_name;
use pyox_schema::{Distribution, Manifest, Resource, ResourceKind, Run};
use pyox_stage::Fault;

/// The minor versions of CPython 3 whose bytecode [`crate::marshal`] knows.
const MINORS: std::ops::RangeInclusive<u8> = 11..=15;

/// How long a name can be to be compared with others.
const LONGEST_GUESS: usize = 200;

/// Checks a manifest by itself.
pub(crate) fn manifest(manifest: &Manifest) -> Result<(), Fault> {
    if manifest.bytecode.optimize > 2 {
        let what = format!("expected 0, 1 or 2, got {}", manifest.bytecode.optimize);
        return Err(Fault::new("bytecode: optimize", what));
    }
    let mut projects = HashSet::new();
    for project in &manifest.projects {
        if !projects.insert(project.name.as_str()) {
            return Err(Fault::new(&project.name, "two projects have this name"));
        }
    }
    let mut names = HashMap::new();
    let mut locations = HashMap::new();
    for resource in &manifest.resources {
        shape(resource)?;
        if !projects.contains(resource.project.as_str()) {
            let what = format!("its project {} is not in the manifest", resource.project);
            return Err(Fault::new(&resource.name, what));
        }
        if is_importable(resource.kind)
            && let Some(other) = names.insert(resource.name.as_str(), resource)
        {
            return Err(twice(&resource.name, "name", other, resource));
        }
        if let Some(location) = &resource.location
            && let Some(other) = locations.insert(location.as_str(), resource)
            && !resource.may_share_location_with(other)
        {
            return Err(twice(location, "location", other, resource));
        }
    }
    folders(&locations)?;
    for resource in &manifest.resources {
        parent(resource, &names)?;
        for need in &resource.needs {
            if !locations.contains_key(need.as_str()) {
                let what = format!("it needs {need}, which is not in the manifest");
                return Err(Fault::new(&resource.name, what));
            }
        }
    }
    if !names.contains_key("encodings") {
        return Err(Fault::new(
            "encodings",
            "the package is missing, and no interpreter starts without",
        )
        .hint("collect the standard library of the distribution"));
    }
    placements(manifest, &names)?;
    environment(manifest)?;
    run(&manifest.run, &names)
}

/// Checks that a manifest and a distribution belong together.
///
/// Returns the bytecode magic number, in the order of a `.pyc` file's first four bytes.
pub(crate) fn distribution(
    manifest: &Manifest,
    distribution: &Distribution,
) -> Result<[u8; 4], Fault> {
    let python = &distribution.python;
    for (what, expected, got) in [
        ("target", &manifest.distribution.target, &distribution.target),
        ("version", &manifest.distribution.version, &python.version),
    ] {
        if expected != got {
            let what = format!("{what}: the manifest is for {expected}, but this one is {got}");
            return Err(Fault::new("distribution", what)
                .hint("collect for this distribution, or name the other one with -d"));
        }
    }
    if python.version_info.0 != 3 || !MINORS.contains(&python.version_info.1) {
        let what = format!("version: expected CPython 3.11 to 3.15, got {}", python.version);
        return Err(Fault::new("distribution", what));
    }
    magic(&python.bytecode_magic).ok_or_else(|| {
        let got = &python.bytecode_magic;
        let what = format!("bytecode_magic: expected 8 hexadecimal digits, got `{got}`");
        Fault::new("distribution", what)
    })
}

fn magic(digits: &str) -> Option<[u8; 4]> {
    let fits = digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| fits).map(u32::to_be_bytes)
}

/// What a resource of its kind must have, and the shape of its names.
fn shape(resource: &Resource) -> Result<(), Fault> {
    let kind = resource.kind;
    let wrong = |what: String| Err(Fault::new(&resource.name, what));
    let (most, got) = (LONGEST_NAME as usize, resource.name.len());
    if is_importable(kind) && got > most {
        return wrong(format!("expected a name of at most {most} bytes, got {got}"));
    }
    if is_importable(kind) && !is_module_name(&resource.name) {
        return wrong("expected a dotted name of identifiers".to_owned());
    }
    if let Some(location) = &resource.location
        && let Some(problem) = path_problem(location)
    {
        return wrong(format!("location: {problem}: {location:?}"));
    }
    let (location, payload) = (resource.location.is_some(), resource.payload.is_some());
    match kind {
        ResourceKind::NamespacePackage if payload => {
            wrong("a namespace package has no payload, but the manifest names one".to_owned())
        }
        ResourceKind::NamespacePackage => Ok(()),
        ResourceKind::ExtensionModule if !payload => Ok(()),
        _ if !payload => wrong(format!("a {} needs a payload, but it has none", kind.name())),
        _ if !location => wrong(format!("a {} needs a location, but it has none", kind.name())),
        _ => Ok(()),
    }
}

fn is_importable(kind: ResourceKind) -> bool {
    use ResourceKind::{ExtensionModule, Module, NamespacePackage, Package};
    matches!(kind, Module | Package | NamespacePackage | ExtensionModule)
}

fn twice(place: &str, what: &str, one: &Resource, other: &Resource) -> Fault {
    let describe = |resource: &Resource| {
        let name = resource.location.as_ref().unwrap_or(&resource.name);
        format!("{} {name} of {}", resource.kind.name(), resource.project)
    };
    let text = format!("two resources have this {what}: {}, {}", describe(one), describe(other));
    Fault::new(place, text)
}

/// A location must not be the folder of another.
fn folders(locations: &HashMap<&str, &Resource>) -> Result<(), Fault> {
    let sorted: BTreeSet<&str> = locations.keys().copied().collect();
    // In this order what is in a folder comes behind what begins with its name.
    let mut around: Vec<&str> = Vec::new();
    for location in sorted {
        while around.last().is_some_and(|around| !location.starts_with(around)) {
            around.pop();
        }
        if let Some(file) = around.last()
            && location[file.len()..].starts_with('/')
        {
            return Err(Fault::new(
                file,
                format_args!("it is a file, and the folder of {location}"),
            ));
        }
        around.push(location);
    }
    Ok(())
}

/// A dotted name needs its package.
fn parent(resource: &Resource, names: &HashMap<&str, &Resource>) -> Result<(), Fault> {
    let Some((parent, _)) = resource.name.rsplit_once('.').filter(|_| is_importable(resource.kind))
    else {
        return Ok(());
    };
    match names.get(parent) {
        Some(found) if is_package(found) => Ok(()),
        Some(found) => {
            let what = format!("expected {parent} to be a package, got a {}", found.kind.name());
            Err(Fault::new(&resource.name, what))
        }
        None => {
            let what = format!("its package {parent} is not in the manifest");
            Err(Fault::new(&resource.name, what)
                .hint("a folder without __init__.py is a namespace-package resource"))
        }
    }
}

fn is_package(resource: &Resource) -> bool {
    use ResourceKind::{NamespacePackage, Package};
    resource.package || matches!(resource.kind, Package | NamespacePackage)
}

/// Each placement is that of a package or a top-level module, and none lies in another.
fn placements(manifest: &Manifest, names: &HashMap<&str, &Resource>) -> Result<(), Fault> {
    for package in manifest.placements.keys() {
        let place = || format!("placements: {package}");
        match names.get(package.as_str()) {
            None => {
                return Err(Fault::new(place(), "the manifest has no such package"));
            }
            Some(resource) if !is_package(resource) && package.contains('.') => {
                let what = "expected a package or a top-level module, got a module of a package";
                return Err(Fault::new(place(), what));
            }
            Some(_) => {}
        }
        let around = package.match_indices('.').map(|(dot, _)| &package[..dot]);
        if let Some(outer) = around.into_iter().find(|name| manifest.placements.contains_key(*name))
        {
            let what = format!("it lies in {outer}, which has a placement itself");
            return Err(Fault::new(place(), what));
        }
    }
    Ok(())
}

/// Names that `sys` and the environment can have.
fn environment(manifest: &Manifest) -> Result<(), Fault> {
    if let Some(name) = manifest.sys.keys().find(|name| name.contains('.') || !is_module_name(name))
    {
        return Err(Fault::new("sys", format_args!("expected an identifier, got `{name}`")));
    }
    let names = manifest.environment.keys().chain(&manifest.module_lists);
    match names.into_iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => {
            let what = format!("expected the name of a variable, got `{name}`");
            Err(Fault::new("environment", what))
        }
        None => Ok(()),
    }
}

/// What runs must be there.
fn run(run: &Run, names: &HashMap<&str, &Resource>) -> Result<(), Fault> {
    let there = |module: &str| match names.get(module) {
        Some(resource) => Ok(*resource),
        None => Err(missing(module, names)),
    };
    match run {
        Run::Repl | Run::Code { .. } => Ok(()),
        Run::Script => there("__main__").map(|_| ()),
        Run::Module { module } => {
            let main = format!("{module}.__main__");
            if !is_package(there(module)?) || names.contains_key(main.as_str()) {
                return Ok(());
            }
            let what = format!("the package {module} has no {main}, so it cannot run");
            Err(Fault::new("run", what).hint("name a module of it, or an entry point"))
        }
        Run::EntryPoint { module, function } => {
            if !is_module_name(function) {
                let what = format!("function: expected a dotted name, got `{function}`");
                return Err(Fault::new("run", what));
            }
            there(module).map(|_| ())
        }
    }
}

fn missing(module: &str, names: &HashMap<&str, &Resource>) -> Fault {
    // Comparing takes the product of both lengths.
    let most = |name: &str| 1 + module.len().min(name.len()) / 4;
    let is_likely = |name: &&&str| {
        name.len() <= LONGEST_GUESS && module.len().abs_diff(name.len()) <= 4 * most(name)
    };
    let mut close: Vec<_> = names
        .keys()
        .filter(|name| module.len() <= LONGEST_GUESS && is_likely(name))
        .map(|name| (strsim::levenshtein(module, name), *name))
        .filter(|(distance, name)| *distance <= most(name))
        .collect();
    close.sort_unstable();
    let fault = Fault::new("run", format_args!("the module {module} is not in the manifest"));
    match close.iter().take(3).map(|(_, name)| *name).collect::<Vec<_>>().as_slice() {
        [] => fault,
        close => fault.hint(format_args!("did you mean {}?", close.join(" or "))),
    }
}
