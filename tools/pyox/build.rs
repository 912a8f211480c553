//! Makes the run-time crate part of `pyox`, so that `pyox init --rust` can give it to a project.
//!
//! In the project there is no workspace of ours: what the crates' manifests inherit from it is written into them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toml::{Table, Value};

/// The crates, each with its folder in the repository.
const CRATES: [(&str, &str); 3] = [
    ("pyembed", "pyembed"),
    ("pyox-blob", "crates/pyox-blob"),
    ("pyox-private", "crates/pyox-private"),
];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the repository");
    let workspace = read(&root.join("Cargo.toml"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut list = String::from("pub(super) const FILES: &[(&str, &str)] = &[\n");
    for (name, folder) in CRATES {
        let folder = root.join(folder);
        let manifest = out.join(format!("{name}.toml"));
        let text = standalone(&read(&folder.join("Cargo.toml")), &workspace).to_string();
        fs::write(&manifest, text).expect("a file of the build");
        add(&mut list, &format!("{name}/Cargo.toml"), &manifest);
        for part in ["build.rs", "src", "abi"] {
            add_all(&mut list, &format!("{name}/{part}"), &folder.join(part));
        }
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    for licence in ["LICENSE-MPL-2.0", "LICENSE-APACHE"] {
        add(&mut list, &format!("pyembed/{licence}"), &root.join(licence));
    }
    list.push_str("];\n");
    fs::write(out.join("vendored.rs"), list).expect("a file of the build");
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
}

/// A member's manifest as it would be without the workspace.
fn standalone(member: &Table, workspace: &Table) -> Table {
    let shared = workspace["workspace"].as_table().expect("a workspace");
    let mut manifest = member.clone();
    for key in ["lints", "example", "dev-dependencies"] {
        manifest.remove(key);
    }
    let package = manifest["package"].as_table_mut().expect("a package");
    inherit(package, shared["package"].as_table().expect("workspace.package"));
    for kind in ["dependencies", "build-dependencies"] {
        if let Some(dependencies) = manifest.get_mut(kind).and_then(Value::as_table_mut) {
            inherit(
                dependencies,
                shared["dependencies"].as_table().expect("workspace.dependencies"),
            );
        }
    }
    manifest
}

/// Takes what entries inherit from the table of the same name.
fn inherit(table: &mut Table, shared: &Table) {
    for (key, value) in table.iter_mut() {
        let Some(own) = value.as_table().filter(|own| own.contains_key("workspace")) else {
            continue;
        };
        let mut taken = match &shared[key] {
            Value::String(version) if own.len() > 1 => {
                Value::Table(Table::from_iter([("version".into(), version.clone().into())]))
            }
            other => other.clone(),
        };
        if let Value::Table(taken) = &mut taken {
            taken.extend(own.clone());
            taken.remove("workspace");
            if taken.contains_key("path") {
                taken.insert("path".into(), format!("../{key}").into());
            }
        }
        *value = taken;
    }
}

fn add_all(list: &mut String, name: &str, path: &Path) {
    if path.is_file() {
        return add(list, name, path);
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for entry in entries {
        let part = entry.file_name().expect("a name").to_string_lossy();
        add_all(list, &format!("{name}/{part}"), &entry);
    }
}

fn add(list: &mut String, name: &str, path: &Path) {
    let path = path.to_str().expect("a path in UTF-8");
    writeln!(list, "    ({name:?}, include_str!({path:?})),").expect("a string");
}

fn read(path: &Path) -> Table {
    fs::read_to_string(path).expect("a manifest").parse().expect("TOML")
}

fn variable(name: &str) -> String {
    env::var(name).expect("a variable of Cargo")
}
