//! `pyox init` and `pyox add`: a new application, and what an existing project needs.

mod rust;

use std::fs;
use std::path::Path;

use pyox_stage::{Fault, FaultExt, Result, files};
use toml_edit::DocumentMut;

pub use rust::Python;

/// What has become of one of a project's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Made(String),
    /// It is pyox's own, and was brought up to date.
    Renewed(String),
    /// Something was added to it: the file, and what.
    Added(String, String),
    /// It is the project's own, so that somebody has to add something: the file, and what.
    Asked(String, String),
}

/// Makes a folder with a Python application of that name.
///
/// # Errors
///
/// If something has the name already, or it is no name for a Python project.
pub fn application(folder: &Path) -> Result<Vec<Change>> {
    let name = new_name(folder, |letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))?;
    let module = module_of(name);
    let files = [
        ("pyproject.toml".to_owned(), include_str!("python/pyproject.toml")),
        (format!("src/{module}/__init__.py"), include_str!("python/package.py")),
        (format!("src/{module}/__main__.py"), include_str!("python/main.py")),
        (".gitignore".to_owned(), "/dist/\n__pycache__/\n"),
    ];
    let texts =
        files.map(|(path, text)| (path, text.replace("@NAME@", name).replace("@MODULE@", &module)));
    make(folder, &texts)
}

/// Makes a folder with a Rust program of that name that has Python in it.
///
/// # Errors
///
/// If something has the name already, or it is no name for a crate.
pub fn rust_program(folder: &Path, python: &Python) -> Result<Vec<Change>> {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let name = new_name(folder, is_good)?;
    let mut changes = make(folder, &rust::program(name, python))?;
    changes.extend(rust::vendor(folder)?);
    Ok(changes)
}

/// Prepares a project that is there, in Rust or in Python. What it has stays as it is, but for entries that are missing;
/// to be called again, it changes nothing.
///
/// # Errors
///
/// If there is no project, or one of its files does not parse.
pub fn add(folder: &Path, python: impl FnOnce() -> Result<Python>) -> Result<Vec<Change>> {
    if folder.join("Cargo.toml").is_file() {
        return rust::add(folder, &python()?);
    }
    let path = folder.join("pyproject.toml");
    if !path.is_file() {
        let what = "expected a Cargo.toml or a pyproject.toml in this folder, found neither";
        return Err(Fault::at(folder, what).hint("begin with `pyox init NAME`"));
    }
    let mut changes = Vec::new();
    let mut document = read(&path)?;
    let tools = document.entry("tool").or_insert(toml_edit::table());
    if let Some(tools) = tools.as_table_mut() {
        tools.set_implicit(true);
        if !tools.contains_key("pyox") {
            tools.insert("pyox", toml_edit::table());
            files::write(&path, document.to_string().as_bytes())?;
            changes.push(Change::Added("pyproject.toml".into(), "[tool.pyox]".into()));
        }
    }
    changes.extend(ignore(folder, "/dist/")?);
    Ok(changes)
}

/// The name that a new folder gives its application.
fn new_name(folder: &Path, is_good: impl Fn(char) -> bool) -> Result<&str> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.ends_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(&is_good);
    if !is_name {
        let dot = if is_good('.') { ", `.`" } else { "" };
        let what =
            format!("expected a name of letters, digits, `-`, `_`{dot}, that begins with a letter");
        return Err(Fault::at(folder, what));
    }
    if folder.exists() {
        return Err(Fault::at(folder, "expected a name that is free, but something has it")
            .hint("`pyox add` prepares a project that is there"));
    }
    Ok(name)
}

fn module_of(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

/// Writes files of a project.
fn make(folder: &Path, texts: &[(String, String)]) -> Result<Vec<Change>> {
    let one = |(path, text): &(String, String)| {
        let target = folder.join(path);
        let parent = target.parent().unwrap_or(folder);
        fs::create_dir_all(parent).fault_at(parent)?;
        files::write(&target, text.as_bytes())?;
        Ok(Change::Made(path.clone()))
    };
    texts.iter().map(one).collect()
}

/// Has git ignore a folder, where the project has a list of these.
fn ignore(folder: &Path, pattern: &str) -> Result<Option<Change>> {
    let path = folder.join(".gitignore");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let plain = pattern.trim_matches('/');
    if text.lines().any(|line| line.trim().trim_matches('/') == plain) {
        return Ok(None);
    }
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    files::write(&path, format!("{text}{separator}{pattern}\n").as_bytes())?;
    Ok(Some(Change::Added(".gitignore".into(), pattern.into())))
}

/// A TOML file as its author has laid it out.
fn read(path: &Path) -> Result<DocumentMut> {
    let text = fs::read_to_string(path).fault_at(path)?;
    text.parse().map_err(|error: toml_edit::TomlError| {
        let (line, column) = pyox_stage::position(&text, error.span().map_or(0, |span| span.start));
        let place = format!("{}:{line}:{column}", path.display());
        Fault::new(place, error.message()).caused_by(error)
    })
}
