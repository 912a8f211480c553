//! `pyox init`: a new application, ready to build.

use std::path::Path;

use pyox_stage::{Fault, HintExt, Result, files};

/// Makes a folder with a Python application of that name; gives the files that were made.
///
/// # Errors
///
/// Where something has the name already, or it is no name for a Python project.
pub fn application(folder: &Path) -> Result<Vec<String>> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let module = name.to_lowercase().replace(['-', '.'], "_");
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.ends_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if !is_name {
        let what = "expected a project's name, of letters, digits, `-`, `_` and `.`, got another";
        return Err(Fault::at(folder, what));
    }
    if folder.exists() {
        return Err(Fault::at(folder, "expected a name that is free, but something has it")
            .hint("in a project that is there, `pyox build` needs its pyproject.toml alone"));
    }
    let made = [
        ("pyproject.toml".to_owned(), include_str!("init/pyproject.toml")),
        (format!("src/{module}/__init__.py"), include_str!("init/package.py")),
        (format!("src/{module}/__main__.py"), include_str!("init/main.py")),
        (".gitignore".to_owned(), "/dist/\n__pycache__/\n"),
    ];
    for (path, text) in &made {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).fault_at(parent)?;
        let text = text.replace("@NAME@", name).replace("@MODULE@", &module);
        files::write(&path, text.as_bytes())?;
    }
    Ok(made.into_iter().map(|(path, _)| path).collect())
}
