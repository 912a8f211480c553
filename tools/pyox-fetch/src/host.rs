//! `host:PYTHON`: an installed CPython as a distribution.
//!
//! The interpreter itself is asked where its parts are (`describe.py`), because only it knows how its
//! builder laid it out; what it says is then checked against the files. Nothing is copied: the document
//! points into the installation, and the digests in it tell later stages when that has changed. Costs
//! an interpreter start (20 ms; a version manager's shim adds its own) and reading the libraries.
//!
//! A Python for another machine can be asked where an emulator runs it. What it is for is then what its file says.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pyox_elf::{Elf, is_libc_link_name};
use pyox_schema::{
    Distribution, Document, Extension, Library, Link, Linkage, Paths, Python, machine_of,
};
use pyox_stage::{Fault, FaultExt, Kind, Result};
use serde::Deserialize;

use crate::toolchain::Toolchain;
use crate::{files, memo, stdlib, toolchain};

const DESCRIBE: &str = include_str!("describe.py");

/// The minor versions of CPython 3 that pyox embeds.
pub(crate) const MINORS: std::ops::RangeInclusive<u8> = 11..=15;

/// What `describe.py` prints.
#[derive(Debug, Deserialize)]
struct Facts {
    implementation: String,
    version_info: (u8, u8),
    version: String,
    details: Option<Details>,
}

/// What it prints for a CPython that is new enough.
#[derive(Debug, Deserialize)]
struct Details {
    prefix: PathBuf,
    executable: PathBuf,
    tag: String,
    soabi: String,
    magic: String,
    suffixes: Vec<String>,
    platform: String,
    debug: bool,
    free_threaded: bool,
    stdlib: PathBuf,
    dynload: Option<PathBuf>,
    include: Option<PathBuf>,
    library: String,
    libraries: Vec<PathBuf>,
    shared_library: String,
    shared_libraries: Vec<PathBuf>,
    link: Vec<String>,
    builtins: Vec<String>,
    module_link: std::collections::BTreeMap<String, Vec<String>>,
}

/// The document of one installed Python, for whatever machine.
pub(crate) fn describe(program: &Path) -> Result<Distribution> {
    Found::new(program, Machine::Any)?.describe()
}

/// Whose Pythons will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// This machine's.
    Own,
    /// Those that can be run here, by an emulator too.
    Any,
}

/// A Python that has told its version.
pub(crate) struct Found<'a> {
    program: &'a Path,
    answer: Answer,
}

enum Answer {
    /// It was described before.
    Known(Box<Distribution>),
    Asked(Box<Facts>),
}

impl<'a> Found<'a> {
    /// Asks a Python what it is.
    pub(crate) fn new(program: &'a Path, wanted: Machine) -> Result<Self> {
        let known = memo::recall(program);
        let foreign = match &known {
            Some(distribution) => {
                let machine = distribution.machine();
                (machine != env::consts::ARCH).then(|| machine.to_owned())
            }
            None => foreign_machine(program)?,
        };
        if let (Machine::Own, Some(machine)) = (wanted, &foreign) {
            return Err(unfit(program, env::consts::ARCH, machine));
        }
        let answer = match known {
            Some(distribution) => Answer::Known(Box::new(distribution)),
            None => Answer::Asked(Box::new(ask(program).map_err(|error| match &foreign {
                Some(machine) => does_not_run(program, machine, error),
                None => error,
            })?)),
        };
        Ok(Self { program, answer })
    }

    pub(crate) fn version(&self) -> &str {
        match &self.answer {
            Answer::Known(distribution) => &distribution.python.version,
            Answer::Asked(facts) => &facts.version,
        }
    }

    /// Its document.
    pub(crate) fn describe(self) -> Result<Distribution> {
        match self.answer {
            Answer::Known(distribution) => Ok(*distribution),
            Answer::Asked(facts) => {
                // What a shim stands for, or what an environment was made with.
                let base = facts.details.as_ref().map(|details| details.executable.clone());
                let base = base.filter(|base| base != self.program);
                let known = base.as_deref().and_then(memo::recall);
                let is_known = known.is_some();
                let distribution = match known {
                    Some(distribution) => distribution,
                    None => look_at(self.program, *facts)?,
                };
                if let Some(base) = base.filter(|_| !is_known) {
                    memo::keep(&base, &distribution);
                }
                memo::keep(self.program, &distribution);
                Ok(distribution)
            }
        }
    }
}

/// The virtual environment that a Python belongs to.
pub(crate) fn environment(program: &Path) -> Option<&Path> {
    program.parent()?.parent().filter(|folder| folder.join("pyvenv.cfg").is_file())
}

/// The machine that a Python is for, if that is not this one; by its own file, since the kernel's words for what it cannot
/// run are that there is no such file.
///
/// # Errors
///
/// If no executable could be made of it, whoever runs it.
fn foreign_machine(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).fault_at(program)?;
    if !pyox_elf::is_elf(&bytes) {
        return Ok(None);
    }
    let elf = Elf::parse(&bytes).fault_at(program)?;
    let machine = elf.architecture().unwrap_or("another machine");
    if !elf.is_64 {
        return Err(unfit(program, "64 bits", &format!("32 bits ({machine})")));
    }
    if cfg!(target_env = "gnu") && is_musl(&elf) {
        return Err(unfit(program, "glibc", "musl"));
    }
    Ok((machine != env::consts::ARCH).then(|| machine.to_owned()))
}

fn unfit(program: &Path, expected: &str, got: &str) -> Fault {
    Fault::at(program, format_args!("expected a Python for {expected}, got one for {got}"))
        .of_kind(Kind::Unsupported)
}

/// A Python for another machine, which was tried and did not answer.
fn does_not_run(program: &Path, machine: &str, error: Fault) -> Fault {
    let said = error.to_string();
    let place = format!("{}: ", program.display());
    let why = said.strip_prefix(&place).unwrap_or(&said);
    unfit(program, env::consts::ARCH, &format!("{machine}, which does not run here: {why}"))
        .hint(format_args!(
            "qemu-{machine}, registered with binfmt_misc, runs it; QEMU_LD_PREFIX names the folder with its C library"
        ))
        .caused_by(error)
        .of_kind(Kind::Unsupported)
}

fn is_musl(elf: &Elf) -> bool {
    elf.interpreter.as_ref().is_some_and(|loader| loader.contains("ld-musl"))
}

fn look_at(program: &Path, facts: Facts) -> Result<Distribution> {
    let (major, minor) = facts.version_info;
    if facts.implementation != "cpython" {
        let what = format!("expected CPython, got {} {}", facts.implementation, facts.version);
        return Err(Fault::at(program, what).of_kind(Kind::Unsupported));
    }
    let Some(details) = facts.details.filter(|_| major == 3 && MINORS.contains(&minor)) else {
        let what = format!("expected CPython 3.11 to 3.15, got {}", facts.version);
        return Err(Fault::at(program, what).of_kind(Kind::Unsupported));
    };
    if details.free_threaded || details.debug {
        let kind = if details.free_threaded { "a free-threaded" } else { "a debug" };
        let what = format!("expected a release build of CPython, got {kind} build");
        return Err(Fault::at(program, what).of_kind(Kind::Unsupported));
    }
    let elf = read_elf(&details.executable)?;
    let target = target(&details.executable, &elf)?;
    let (archive, shared) = libpython(program, (major, minor), &details, &target)?;
    let unfit = archive.as_deref().map(toolchain::unfit).transpose()?.flatten();
    if let (Some(unfit), None) = (&unfit, &shared) {
        let what = format!("{unfit}, and there is no {}", details.shared_library);
        return Err(Fault::at(program, what).of_kind(Kind::Unsupported));
    }
    let archive = archive.filter(|_| unfit.is_none());
    let position = position(&elf);
    let pic = archive.as_deref().filter(|_| !position.is_empty()).and_then(pic_beside);
    let parts: Vec<&PathBuf> = archive.iter().chain(&shared).collect();
    let root = common_root(&details, &parts);
    let relative = |path: &Path| files::relative(&root, path);
    let survey = stdlib::survey(&details.stdlib)?;
    let libraries = link_names(&details.link);
    let toolchain = Toolchain::of(&target);
    let why_not_static = match &archive {
        Some(_) => toolchain.missing_static(&libraries),
        None => {
            Some(unfit.unwrap_or_else(|| format!("there is no static library {}", details.library)))
        }
    };
    let mut extensions = builtins(&details);
    extensions.extend(files_of(&root, &details, &extensions)?);
    extensions.sort_unstable_by(|a, b| a.name.cmp(&b.name));

    Ok(Distribution {
        schema: Distribution::SCHEMA.to_owned(),
        source: "host".to_owned(),
        target,
        python: Python {
            implementation: facts.implementation,
            version: facts.version,
            version_info: (major, minor),
            tag: details.tag.clone(),
            soabi: details.soabi.clone(),
            bytecode_magic: details.magic.clone(),
            extension_suffixes: details.suffixes.clone(),
            platform: details.platform.clone(),
        },
        paths: Paths {
            executable: relative(&details.executable)?,
            stdlib: relative(&details.stdlib)?,
            dynload: details.dynload.as_deref().map(relative).transpose()?,
            include: details.include.as_deref().map(relative).transpose()?,
            test_packages: survey.test_packages,
        },
        stdlib: survey.stdlib,
        link: Link {
            can_static: why_not_static.is_none(),
            can_dynamic: archive.is_some(),
            reason: why_not_static,
            libpython: archive
                .map(|path| files::reference(&root, &relative(&path)?))
                .transpose()?,
            pic_libpython: pic
                .map(|path| files::reference(&root, &relative(&path)?))
                .transpose()?,
            shared_libpython: shared
                .map(|path| files::reference(&root, &relative(&path)?))
                .transpose()?,
            archives: Vec::new(),
            libraries: libraries.into_iter().map(|name| Library { name, archive: None }).collect(),
            arguments: position,
            driver: toolchain.driver,
            object_format: "elf".to_owned(),
        },
        licenses: licenses(&root, minor, &details),
        extensions,
        root,
    })
}

/// Runs `describe.py` in an interpreter that is isolated from the user's environment.
fn ask(program: &Path) -> Result<Facts> {
    let mut child = Command::new(program)
        // `-B`: it may be one of the store's, which stays as it is.
        .args(["-I", "-S", "-B", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .fault_at(program)?;
    // The program is far smaller than a pipe's buffer, so this cannot wait for a child that does not
    // read; one that has gone away already is told by its exit status.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(DESCRIBE.as_bytes());
    }
    let output = child.wait_with_output().fault_at(program)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        let last: String = last.trim().chars().take(200).collect();
        let what = format!("expected a Python, but it failed ({}): {last}", output.status);
        let (program, fault) = (program.display().to_string(), Fault::at(program, what));
        return Err(fault.of_kind(Kind::Command { program, status: output.status }));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let what = "expected a Python, but it does not answer as one";
        Fault::at(program, what).caused_by(error)
    })
}

/// Its libraries, the static and the shared one. One of them must be there.
fn libpython(
    program: &Path,
    (major, minor): (u8, u8),
    details: &Details,
    target: &str,
) -> Result<(Option<PathBuf>, Option<PathBuf>)> {
    let archive = details.libraries.first();
    let shared = details.shared_libraries.first();
    if let Some(path) = shared {
        check_shared(path, machine_of(target))?;
    }
    if archive.or(shared).is_none() {
        let what = format!(
            "expected its library, {} or {}, but there is neither",
            details.library, details.shared_library
        );
        // Debian and its derivatives install into /usr, version managers build from source.
        let hint = if details.prefix == Path::new("/usr") {
            format!("install it: apt install libpython{major}.{minor}-dev")
        } else {
            "build that Python with it (pyenv: PYTHON_CONFIGURE_OPTS=--with-static-libpython \
             pyenv install --force), or use source@3.13"
                .to_owned()
        };
        return Err(Fault::at(program, what).hint(hint).of_kind(Kind::Missing));
    }
    Ok((archive.cloned(), shared.cloned()))
}

/// Refuses a shared library that does not offer Python to whoever loads it on that machine.
pub(crate) fn check_shared(path: &Path, machine: &str) -> Result<()> {
    const FUNCTION: &str = "Py_InitializeFromConfig";
    let bytes = pyox_stage::files::read(path)?;
    let elf = Elf::parse(&bytes).fault_at(path)?;
    if elf.architecture() != Some(machine) {
        let got = elf.architecture().unwrap_or("another machine");
        let what = format!("expected Python's library for {machine}, got one for {got}");
        return Err(Fault::at(path, what).of_kind(Kind::Unsupported));
    }
    if pyox_elf::exports(&bytes, FUNCTION).fault_at(path)? {
        return Ok(());
    }
    let what = format!("expected Python's library, but it does not export {FUNCTION}");
    Err(Fault::at(path, what).hint("install that Python again"))
}

/// The folder that holds all parts: the prefix where that is so, else the root of the file system.
fn common_root(details: &Details, libraries: &[&PathBuf]) -> PathBuf {
    let parts = [&details.executable, &details.stdlib].into_iter().chain(libraries.iter().copied());
    let optional = details.dynload.iter().chain(&details.include);
    if parts.chain(optional).all(|part| part.starts_with(&details.prefix)) {
        details.prefix.clone()
    } else {
        PathBuf::from("/")
    }
}

/// The names in `-lNAME` arguments, each where it comes last: a linker takes from an archive only what
/// those before it need.
///
/// Everything else in the variables of a build (`-L`, `-Wl,-rpath`) is of the machine that built it.
fn link_names<'a>(arguments: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in arguments.into_iter().filter_map(|argument| argument.strip_prefix("-l")) {
        names.retain(|other| other != name);
        names.push(name.to_owned());
    }
    names
}

fn builtins(details: &Details) -> Vec<Extension> {
    let extension = |name: &String| {
        let mut libraries = link_names(details.module_link.get(name).into_iter().flatten());
        libraries.retain(|name| !is_libc_link_name(name));
        Extension {
            name: name.clone(),
            linkage: Linkage::Builtin,
            init: init_function(name),
            file: None,
            libraries,
        }
    };
    details.builtins.iter().map(extension).collect()
}

/// The initialisation function of a built-in module, as CPython's `config.c` names it.
pub(crate) fn init_function(name: &str) -> Option<String> {
    match name {
        // The interpreter makes these before there is an import system.
        "builtins" | "sys" => None,
        "marshal" => Some("PyMarshal_Init".to_owned()),
        "_warnings" => Some("_PyWarnings_Init".to_owned()),
        name => Some(format!("PyInit_{name}")),
    }
}

/// The extension modules in files; a built-in of the same name goes before, as it does on import.
fn files_of(root: &Path, details: &Details, builtins: &[Extension]) -> Result<Vec<Extension>> {
    let Some(folder) = &details.dynload else { return Ok(Vec::new()) };
    let mut extensions: Vec<Extension> = Vec::new();
    let mut names: Vec<_> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .fault_at(folder)?;
    names.sort_unstable();
    for file in names {
        let Some(file) = file.to_str() else { continue };
        let name = details.suffixes.iter().find_map(|suffix| file.strip_suffix(suffix.as_str()));
        let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('.')) else {
            continue;
        };
        if builtins.iter().chain(&extensions).any(|extension| extension.name == name) {
            continue;
        }
        let path = folder.join(file);
        let elf = read_elf(&path)?;
        extensions.push(Extension {
            name: name.to_owned(),
            linkage: Linkage::File,
            init: Some(format!("PyInit_{name}")),
            libraries: elf.needed_beyond_libc().map(str::to_owned).collect(),
            file: Some(files::reference(root, &files::relative(root, &path)?)?),
        });
    }
    Ok(extensions)
}

fn read_elf(path: &Path) -> Result<Elf> {
    let bytes = pyox_stage::files::read(path)?;
    Elf::parse(&bytes).fault_at(path)
}

/// How code that is made like the interpreter itself is linked: Debian compiles it for a fixed address,
/// where it is faster, and then no position-independent executable can be made of its objects.
fn position(interpreter: &Elf) -> Vec<String> {
    let fixed = interpreter.kind == pyox_elf::Kind::Executable;
    fixed.then(|| "-no-pie".to_owned()).into_iter().collect()
}

/// The same library compiled for shared libraries, as Debian has it beside the other.
fn pic_beside(archive: &Path) -> Option<PathBuf> {
    let name = archive.file_stem()?.to_str()?;
    let path = archive.with_file_name(format!("{name}-pic.a"));
    path.is_file().then_some(path)
}

/// The target triple of an executable: its machine, and its C library by its loader.
fn target(path: &Path, elf: &Elf) -> Result<String> {
    let Some(architecture) = elf.architecture() else {
        let what = format!("expected a known machine, got ELF's number {}", elf.machine);
        return Err(Fault::at(path, what).of_kind(Kind::Unsupported));
    };
    Ok(format!("{architecture}-unknown-linux-{}", if is_musl(elf) { "musl" } else { "gnu" }))
}

/// Where installations keep the licence: CPython beside its modules, Debian with its packages.
fn licenses(root: &Path, minor: u8, details: &Details) -> Vec<String> {
    let share = root.join("share");
    let candidates = [
        details.stdlib.join("LICENSE.txt"),
        share.join(format!("doc/libpython3.{minor}-dev/copyright")),
        share.join(format!("doc/python3.{minor}/copyright")),
        share.join(format!("licenses/python3.{minor}/LICENSE")),
        share.join("licenses/python/LICENSE"),
    ];
    let found = candidates.iter().find(|path| path.is_file());
    found.and_then(|path| files::relative(root, path).ok()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_taken_from_link_arguments_each_where_it_comes_last() {
        let arguments = "-lm -lz -L/opt/lib -Wl,-rpath,/opt/lib -lexpat -lz -pthread -lm"
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert_eq!(link_names(&arguments), ["expat", "z", "m"]);
    }
}
