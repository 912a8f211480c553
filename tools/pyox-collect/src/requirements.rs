//! Requirements files, and requirements that name a file or a folder.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use pyox_schema::Digest;
use pyox_stage::{FaultExt, Result, files};

use crate::projects::{is_made_by_tools, name_of};
use crate::stdlib::has_suffix;
use crate::wheel::project_name;

/// What a line of a requirements file is.
enum Line<'a> {
    /// Another one that it includes (`-r`), or that it takes versions from (`-c`).
    Other { option: &'static str, name: &'a str },
    /// A project to install so that its folder is used as it is then (`-e`).
    Editable(&'a str),
    /// All else.
    Plain(&'a str),
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let text = line.split(" #").next().unwrap_or_default().trim();
        let behind = |option: &str| {
            let rest = text.strip_prefix(option)?;
            let is_apart = !option.starts_with("--") || rest.starts_with(['=', ' ']);
            is_apart.then(|| rest.trim_start_matches('=').trim())
        };
        for (option, long) in [("-r", "--requirement"), ("-c", "--constraint")] {
            if let Some(name) = behind(long).or_else(|| behind(option)) {
                return Self::Other { option, name };
            }
        }
        match behind("--editable").or_else(|| behind("-e")) {
            Some(what) => Self::Editable(what),
            None => Self::Plain(text),
        }
    }
}

/// A path in a requirements file; seen from the file, or else from the working folder.
fn resolved(file: &Path, name: &str) -> Option<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new("")).join(name);
    let path = if beside.exists() { beside } else { PathBuf::from(name) };
    path.exists().then(|| absolute(&path).unwrap_or(path))
}

/// What `-e` names, without it: pip would leave a link to the folder, and an executable needs what is in there.
fn copied(file: &Path, what: &str) -> String {
    let end = what.find(['[', ';']).unwrap_or(what.len());
    let (path, behind) = what.split_at(end);
    match resolved(file, path.trim_end()) {
        Some(path) => {
            let path = path.canonicalize().unwrap_or(path);
            let space = if behind.starts_with(';') { " " } else { "" };
            format!("{}{space}{behind}", path.display())
        }
        None => what.to_owned(),
    }
}

/// Writes a requirements file that installs the same without `-e`, where one has it; whether it has.
pub(crate) fn without_editable(path: &Path, to: &Path) -> Result<bool> {
    let mut text = String::new();
    let has_any = flatten(path, &mut text, &mut Vec::new())?;
    if has_any {
        files::write(to, text.as_bytes())?;
    }
    Ok(has_any)
}

/// The lines of a file and of those that it includes; whether any has `-e`.
fn flatten(path: &Path, text: &mut String, around: &mut Vec<PathBuf>) -> Result<bool> {
    let bytes = fs::read(path).fault_at(path)?;
    around.push(path.to_owned());
    let mut has_any = false;
    for line in String::from_utf8_lossy(&bytes).lines() {
        // Writing to a string cannot fail.
        let _ = match Line::read(line) {
            Line::Other { option, name } => match resolved(path, name) {
                Some(other) if option == "-r" && !around.contains(&other) => {
                    has_any |= flatten(&other, text, around)?;
                    Ok(())
                }
                Some(other) if option == "-c" => writeln!(text, "-c {}", other.display()),
                Some(_) => Ok(()),
                // An address, or what is not there, is for pip to say.
                None => writeln!(text, "{line}"),
            },
            Line::Editable(what) => {
                has_any = true;
                writeln!(text, "{}", copied(path, what))
            }
            Line::Plain(_) => writeln!(text, "{line}"),
        };
    }
    Ok(has_any)
}

/// Shows all lines of a requirements file and of those that it includes, each with the file that it stands in.
fn visit(
    path: &Path,
    around: &mut Vec<PathBuf>,
    see: &mut dyn FnMut(&Path, &Line) -> Result<()>,
) -> Result<()> {
    let bytes = fs::read(path).fault_at(path)?;
    around.push(path.to_owned());
    for line in String::from_utf8_lossy(&bytes).lines() {
        let line = Line::read(line);
        see(path, &line)?;
        if let Line::Other { name, .. } = line
            && let Some(other) = resolved(path, name).filter(|other| !around.contains(other))
        {
            visit(&other, around, see)?;
        }
    }
    Ok(())
}

/// All that decides what a requirements file installs, apart from what the index offers.
pub(crate) fn key(path: &Path) -> Result<String> {
    let mut text = String::new();
    let mut last = PathBuf::new();
    visit(path, &mut Vec::new(), &mut |file, line| {
        if file != last {
            file.clone_into(&mut last);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "requirements {}", Digest::of(&fs::read(file).fault_at(file)?));
        }
        let named = match line {
            Line::Other { .. } => return Ok(()),
            Line::Editable(what) => copied(file, what),
            Line::Plain(line) => (*line).to_owned(),
        };
        let stamp = stamp_of_path_in(&named)?;
        if !stamp.is_empty() {
            let _ = writeln!(text, "{named} {stamp}");
        }
        Ok(())
    })?;
    Ok(text)
}

/// The names of the projects that a requirements file names, and whether it names folders.
pub(crate) fn names(path: &Path) -> Result<(BTreeSet<String>, bool)> {
    let (mut names, mut has_folder) = (BTreeSet::new(), false);
    visit(path, &mut Vec::new(), &mut |_, line| {
        match line {
            Line::Plain(line) => {
                names.insert(project_name(line));
                has_folder |= path_in(line).is_some_and(|path| path.is_dir());
            }
            Line::Editable(_) => has_folder = true,
            Line::Other { .. } => {}
        }
        Ok(())
    })?;
    Ok((names, has_folder))
}

/// The file or folder that a requirement names.
pub(crate) fn path_in(requirement: &str) -> Option<PathBuf> {
    let requirement = requirement.split(" ;").next().unwrap_or(requirement);
    let path = requirement.rsplit_once(" @ ").map_or(requirement, |(_, address)| address);
    let path = path.trim_start_matches("file://").replace("%20", " ");
    let path = Path::new(path.split('[').next().unwrap_or(&path));
    let looks_like_one = requirement.contains('/')
        || requirement.starts_with('.')
        || has_suffix(name_of(path), "whl");
    (looks_like_one && path.exists()).then(|| path.to_owned())
}

/// The stamp of the file or folder that a requirement names; empty where it names none.
pub(crate) fn stamp_of_path_in(requirement: &str) -> Result<String> {
    path_in(requirement).map_or(Ok(String::new()), |path| stamp(&path))
}

/// Changes when a file changes, or any file below a folder.
pub(crate) fn stamp(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).fault_at(path)?;
    if metadata.is_file() {
        let file = fs::File::open(path).fault_at(path)?;
        return Ok(Digest::of_reader(file).fault_at(path)?.0.to_string());
    }
    let mut lines = Vec::new();
    // A version may come from the repository.
    let repository = path.join(".git");
    let mut pending = vec![path.to_owned(), repository.join("refs")];
    pending.retain(|folder| folder.is_dir());
    for file in ["HEAD", "packed-refs"] {
        if let Ok(bytes) = fs::read(repository.join(file)) {
            lines.push(format!("{file} {}", Digest::of(&bytes)));
        }
    }
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).fault_at(&folder)? {
            let entry = entry.fault_at(&folder)?;
            let (path, metadata) = (entry.path(), entry.metadata().fault_at(&entry.path())?);
            if metadata.is_dir() && !is_made_by_tools(&path) {
                pending.push(path);
            } else if metadata.is_file() {
                let changed = metadata.modified().ok();
                lines.push(format!("{} {} {changed:?}", path.display(), metadata.len()));
            }
        }
    }
    lines.sort();
    Ok(Digest::of(lines.join("\n").as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_editable_is_named_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("lib")).unwrap();
        fs::create_dir_all(root.join("app/more")).unwrap();
        let path = root.join("app/requirements.txt");
        fs::write(
            &path,
            "rich\n-e ../lib[fast] # a comment\n-r more/other.txt\n--extra-index-url x\n",
        )
        .unwrap();
        fs::write(
            root.join("app/more/other.txt"),
            "--editable=.. ; os_name == 'a'\n-e git+https://x@y#egg=z\n",
        )
        .unwrap();
        let to = root.join("to.txt");
        assert!(without_editable(&path, &to).unwrap());
        let (root, app) = (root.display(), root.join("app"));
        let expected = format!(
            "rich\n{root}/lib[fast]\n{} ; os_name == 'a'\ngit+https://x@y#egg=z\n--extra-index-url x\n",
            app.display()
        );
        assert_eq!(fs::read_to_string(&to).unwrap(), expected);
        fs::write(&path, "rich\n").unwrap();
        assert!(!without_editable(&path, &to).unwrap());
    }
}
