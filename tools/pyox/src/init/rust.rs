//! Rust programs with Python in them: the project's files, and pyembed's sources in its folder `pyox/`.

use std::fs;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result, files};

use super::{Change, make, module_of, read};

include!(concat!(env!("OUT_DIR"), "/vendored.rs"));

/// The folder of what is pyox's own in a project.
const OWN: &str = "pyox";

/// The Python that a program is to have.
#[derive(Debug, Clone)]
pub struct Python {
    /// As `pyox-fetch` takes it.
    pub spec: String,
    /// The version, such as `3.13.5`.
    pub version: String,
    /// The interpreter's tag, such as `cp313`.
    pub tag: String,
}

impl Python {
    fn minor_version(&self) -> String {
        self.version.split('.').take(2).collect::<Vec<_>>().join(".")
    }

    /// Cargo's variables: which Python the crates are compiled for.
    fn config_file(&self) -> String {
        format!("{OWN}/pyembed/abi/{}.txt", self.tag)
    }
}

/// The files of a new program, but for those in `pyox/`.
pub(super) fn program(name: &str, python: &Python) -> Vec<(String, String)> {
    let module = module_of(name);
    let fill = |text: &str| {
        let spec = match python.spec.as_str() {
            "host" => String::new(),
            spec => format!("python = [{spec:?}]\n"),
        };
        text.replace("@NAME@", name)
            .replace("@MODULE@", &module)
            .replace("@PYTHON@", &spec)
            .replace("@SPEC@", &python.spec)
            .replace("@VERSION@", &python.minor_version())
    };
    let config = format!(
        "# Which Python pyembed and PyO3 are compiled for.\n[env]\n\
         PYO3_CONFIG_FILE = {{ value = \"{}\", relative = true }}\n",
        python.config_file()
    );
    [
        ("Cargo.toml".to_owned(), include_str!("rust/Cargo.toml")),
        ("build.rs".to_owned(), include_str!("rust/build.rs")),
        ("src/main.rs".to_owned(), include_str!("rust/main.rs")),
        ("pyox.toml".to_owned(), include_str!("rust/pyox.toml")),
        (format!("python/{module}/__init__.py"), include_str!("rust/package.py")),
        ("Makefile".to_owned(), include_str!("rust/Makefile")),
        (".cargo/config.toml".to_owned(), config.as_str()),
        (".gitignore".to_owned(), "/target/\n/build/\n__pycache__/\n"),
    ]
    .map(|(path, text)| (path, fill(text)))
    .into()
}

/// Puts pyembed's sources and the part of the build script into a project, or brings them up to date.
pub(super) fn vendor(folder: &Path) -> Result<Option<Change>> {
    let own = folder.join(OWN);
    let is_new = !own.exists();
    let mut changed = false;
    let link = ("build.rs", include_str!("rust/link.rs"));
    for (path, text) in FILES.iter().copied().chain([link]) {
        let target = own.join(path);
        if fs::read(&target).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        let parent = target.parent().unwrap_or(&own);
        fs::create_dir_all(parent).fault_at(parent)?;
        files::write(&target, text.as_bytes())?;
        changed = true;
    }
    let name = format!("{OWN}/");
    let change = if is_new { Change::Made(name) } else { Change::Renewed(name) };
    Ok(changed.then_some(change))
}

/// Prepares an existing Cargo project.
pub(super) fn add(folder: &Path, python: &Python) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let path = folder.join("Cargo.toml");
    let mut manifest = read(&path)?;
    let Some(package) = manifest.get("package") else {
        let what = "expected a [package], found none";
        return Err(Fault::at(&path, what).hint("name the folder of a member of the workspace"));
    };
    let text = |key| package.get(key).and_then(|value| value.as_str());
    let name = text("name").unwrap_or("app").to_owned();
    let script = text("build").unwrap_or("build.rs").to_owned();
    let dependencies = manifest.entry("dependencies").or_insert(toml_edit::table());
    if let Some(dependencies) =
        dependencies.as_table_like_mut().filter(|d| !d.contains_key("pyembed"))
    {
        let mut pyembed = toml_edit::InlineTable::new();
        pyembed.insert("path", format!("{OWN}/pyembed").into());
        dependencies.insert("pyembed", toml_edit::value(pyembed));
        files::write(&path, manifest.to_string().as_bytes())?;
        changes.push(Change::Added("Cargo.toml".into(), "the dependency pyembed".into()));
    }
    changes.extend(vendor(folder)?);
    changes.extend(add_variable(folder, python)?);
    match fs::read_to_string(folder.join(&script)) {
        Ok(text) if text.contains("pyox/build.rs") => {}
        Ok(_) => {
            let what =
                "`#[path = \"pyox/build.rs\"] mod python;`, and `python::link();` in its main";
            changes.push(Change::Asked(script.clone(), what.into()));
        }
        Err(_) => {
            let text = include_str!("rust/build.rs").to_owned();
            changes.extend(make(folder, &[(script, text)])?);
        }
    }
    if !folder.join("pyox.toml").exists() && !folder.join("pyproject.toml").exists() {
        let files = program(&name, python).into_iter();
        let files: Vec<_> = files
            .filter(|(path, _)| path.starts_with("pyox.toml") || path.starts_with("python/"))
            .filter(|(path, _)| !folder.join(path).exists())
            .collect();
        changes.extend(make(folder, &files)?);
    }
    Ok(changes)
}

/// Has Cargo say which Python the crates are compiled for, where it does not yet.
fn add_variable(folder: &Path, python: &Python) -> Result<Option<Change>> {
    const FILE: &str = ".cargo/config.toml";
    const VARIABLE: &str = "PYO3_CONFIG_FILE";
    let path = folder.join(FILE);
    if !path.exists() {
        let files = program("", python);
        let config: Vec<_> = files.into_iter().filter(|(path, _)| path == FILE).collect();
        return Ok(make(folder, &config)?.pop());
    }
    let mut config = read(&path)?;
    let variables = config.entry("env").or_insert(toml_edit::table());
    let Some(variables) = variables.as_table_like_mut().filter(|v| !v.contains_key(VARIABLE))
    else {
        return Ok(None);
    };
    let mut value = toml_edit::InlineTable::new();
    value.insert("value", python.config_file().into());
    value.insert("relative", true.into());
    variables.insert(VARIABLE, toml_edit::value(value));
    files::write(&path, config.to_string().as_bytes())?;
    Ok(Some(Change::Added(FILE.into(), format!("{VARIABLE} of Python {}", python.minor_version()))))
}
