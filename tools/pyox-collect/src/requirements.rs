//! Requirements files, and requirements that name a file or a folder.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Result, files};

use crate::projects::{is_made_by_tools, name_of};
use crate::stdlib::has_suffix;
use crate::wheel::project_name;

/// How many files may be included, one by the other.
const MOST_FILES: usize = 1000;

/// How many bytes all of them may have.
const MOST_BYTES: usize = 16 << 20;

/// What a line of a requirements file is.
enum Line<'a> {
    /// Another one that it includes (`-r`), or that it takes versions from (`-c`).
    Other { option: &'static str, name: &'a str },
    /// A project to install so that its folder is used as it is then (`-e`).
    Editable(&'a str),
    /// A page or a folder with archives (`-f`).
    Links(&'a str),
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
        if let Some(place) = behind("--find-links").or_else(|| behind("-f")) {
            return Self::Links(place);
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

/// Requirements files as they were read once: what is asked of them later is asked of the same lines, and the installer gets
/// these too. A pipe can be read only once, and a file can change.
#[derive(Default)]
pub(crate) struct Requirements {
    /// What is to be installed, a line each.
    wanted: String,
    /// What versions are taken from.
    constraints: String,
    names: BTreeSet<String>,
    /// The files and folders that lines name.
    paths: Vec<PathBuf>,
    /// Whether a line names further ones that are not read here.
    names_others: bool,
    /// The files that were read.
    read: BTreeSet<PathBuf>,
}

impl Requirements {
    /// Reads a file and those that it includes, each once.
    pub(crate) fn add(&mut self, path: &Path) -> Result<()> {
        self.add_file(path, false)
    }

    fn add_file(&mut self, path: &Path, is_constraint: bool) -> Result<()> {
        let mut pending = vec![(path.to_owned(), is_constraint)];
        while let Some((path, is_constraint)) = pending.pop() {
            // One file has many spellings. A pipe has no other name.
            let name = path.canonicalize().or_else(|_| absolute(&path)).fault_at(&path)?;
            if !self.read.insert(name) {
                continue;
            }
            if self.read.len() > MOST_FILES {
                let what = format!("expected at most {MOST_FILES} requirements files, got more");
                return Err(Fault::at(&path, what));
            }
            let bytes = files::content_any(&path)?;
            pending.extend(self.add_lines(&path, &bytes, is_constraint));
            if self.wanted.len() + self.constraints.len() > MOST_BYTES {
                let what =
                    format!("expected at most {} MiB of requirements, got more", MOST_BYTES >> 20);
                return Err(Fault::at(&path, what));
            }
        }
        Ok(())
    }

    /// Takes the lines of a file in, and tells which files they include.
    pub(crate) fn add_lines(
        &mut self,
        path: &Path,
        bytes: &[u8],
        is_constraint: bool,
    ) -> Vec<(PathBuf, bool)> {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.trim_start_matches('\u{feff}').lines();
        lines.filter_map(|line| self.add_line(path, line, is_constraint)).collect()
    }

    /// Takes a line in, or tells which file it includes.
    fn add_line(
        &mut self,
        path: &Path,
        line: &str,
        is_constraint: bool,
    ) -> Option<(PathBuf, bool)> {
        let text = match Line::read(line) {
            Line::Other { option, name } => {
                if let Some(other) = resolved(path, name) {
                    return Some((other, is_constraint || option == "-c"));
                }
                // An address, or what is not there, is for the installer to say.
                self.names_others |= option == "-r" && !is_constraint;
                line.to_owned()
            }
            Line::Links(name) => match resolved(path, name) {
                Some(folder) => format!("--find-links {}", folder.display()),
                None => line.to_owned(),
            },
            Line::Editable(what) => self.note(copied(path, what)),
            Line::Plain(plain) if is_constraint || plain.is_empty() => line.to_owned(),
            Line::Plain(plain) => {
                self.note(plain.to_owned());
                line.to_owned()
            }
        };
        let to = if is_constraint { &mut self.constraints } else { &mut self.wanted };
        to.push_str(&text);
        to.push('\n');
        None
    }

    /// Notes what a line names.
    fn note(&mut self, requirement: String) -> String {
        self.paths.extend(path_in(&requirement));
        if !requirement.starts_with(['#', '-']) {
            self.names.insert(project_name(&requirement));
        }
        requirement
    }

    /// Whether nothing is to be installed.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.paths.is_empty() && !self.names_others
    }

    /// The names of the projects, as far as lines have them.
    pub(crate) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Whether a line names a folder.
    pub(crate) fn has_folder(&self) -> bool {
        self.paths.iter().any(|path| path.is_dir())
    }

    /// All that decides what is installed, apart from what the index offers.
    pub(crate) fn key(&self) -> Result<String> {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let mut key =
            format!("requirements {} {}\n", digest(&self.wanted), digest(&self.constraints));
        for path in &self.paths {
            // Writing to a string cannot fail.
            let _ = writeln!(key, "{} {}", path.display(), stamp(path)?);
        }
        Ok(key)
    }

    /// Writes them for an installer beside `path`, and gives the options that name them.
    pub(crate) fn options(&self, path: &Path) -> Result<Vec<OsString>> {
        let mut options = Vec::new();
        for (option, suffix, text) in
            [("-r", "requirements.txt", &self.wanted), ("-c", "constraints.txt", &self.constraints)]
        {
            if !text.is_empty() {
                let own = path.with_extension(suffix);
                files::write(&own, text.as_bytes())?;
                options.extend([option.into(), own.into()]);
            }
        }
        Ok(options)
    }
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

/// Changes when a file changes, or any file below a folder. Reads all of them.
pub(crate) fn stamp(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).fault_at(path)?;
    if metadata.is_file() {
        return Ok(files::digest(path)?.0.to_string());
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
            let path = entry.path();
            // Links to folders are not followed: they may lead round in a circle.
            if entry.file_type().fault_at(&path)?.is_dir() {
                if !is_made_by_tools(&path) {
                    pending.push(path);
                }
            } else if path.is_file() {
                // Times and lengths can be set back.
                lines.push(format!("{} {}", path.display(), files::digest(&path)?.0));
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
        let mut requirements = Requirements::default();
        requirements.add(&path).unwrap();
        let (root, app) = (root.display(), root.join("app"));
        let expected = format!(
            "rich\n{root}/lib[fast]\n--extra-index-url x\n{} ; os_name == 'a'\ngit+https://x@y#egg=z\n",
            app.display()
        );
        assert_eq!(requirements.wanted, expected);
        assert!(requirements.has_folder() && !requirements.is_empty());
    }

    #[test]
    fn a_file_is_read_once_whatever_its_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("sub")).unwrap();
        let path = root.join("r.txt");
        fs::write(&path, "-r sub/../r.txt\n-r sub/../r.txt\nclick\n-c sub/c.txt\n-f sub\n")
            .unwrap();
        fs::write(root.join("sub/c.txt"), "click < 9\n-r ../r.txt\n").unwrap();
        let mut requirements = Requirements::default();
        requirements.add(&path).unwrap();
        assert_eq!(requirements.wanted, format!("click\n--find-links {}/sub\n", root.display()));
        assert_eq!(requirements.constraints, "click < 9\n");
        assert_eq!(requirements.names, ["click".to_owned()].into());
    }

    #[test]
    fn there_is_a_limit_to_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for number in 0..=MOST_FILES {
            let text = format!("-r {}.txt\n", number + 1);
            fs::write(root.join(format!("{number}.txt")), text).unwrap();
        }
        let error = Requirements::default().add(&root.join("0.txt")).unwrap_err().to_string();
        assert!(error.ends_with("expected at most 1000 requirements files, got more"), "{error}");
        let error = Requirements::default().add(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: expected a file or a pipe, got a device");
    }

    #[test]
    fn a_change_shows_whatever_the_times_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.py");
        fs::write(&path, "old").unwrap();
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        let before = stamp(folder.path()).unwrap();
        fs::write(&path, "new").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
        assert_ne!(stamp(folder.path()).unwrap(), before);
    }
}
