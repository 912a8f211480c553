//! `host` and `uv`: which Pythons this machine has, and the first of them that will do.
//!
//! The places are asked in an order: `VIRTUAL_ENV`, `PATH`, uv's folder, pyenv's, conda's. A virtual environment stands for
//! the Python that it was made with. Costs the start of each Python that comes before the one that is taken, unless
//! it is remembered.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::Distribution;
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};

use crate::host::{self, Found, MINORS, Machine};
use crate::wish::Wish;

/// Some Pythons that are at one place.
struct Place {
    /// What it is called.
    name: &'static str,
    /// Where it is, for people.
    at: String,
    programs: Vec<PathBuf>,
}

/// The first Python of this machine that can be embedded and will do.
pub(crate) fn host(spec: &str, wish: &Wish, ui: &dyn Reporter) -> Result<Distribution> {
    if let Some(program) = &wish.program {
        return host::describe(program);
    }
    let places = [virtual_environment(), on_path(wish), of_uv(), of_pyenv(), of_conda()];
    first(spec, &places.into_iter().flatten().collect::<Vec<_>>(), wish, ui)
}

/// The first of uv's Pythons that can be embedded and will do.
pub(crate) fn uv(spec: &str, wish: &Wish, ui: &dyn Reporter) -> Result<Distribution> {
    first(spec, &of_uv().into_iter().collect::<Vec<_>>(), wish, ui)
}

fn first(spec: &str, places: &[Place], wish: &Wish, ui: &dyn Reporter) -> Result<Distribution> {
    let order: Vec<_> =
        places.iter().map(|place| format!("{} ({})", place.name, place.at)).collect();
    ui.detail(format_args!("{spec}: looks at {}", order.join(", ")));
    let mut seen = BTreeSet::new();
    let mut passed = Passed::default();
    for (place, program) in places.iter().flat_map(|p| p.programs.iter().map(move |q| (p, q))) {
        let Some(identity) = identity(program) else { continue };
        if !seen.insert(identity) {
            continue;
        }
        let found = match Found::new(program, Machine::Own) {
            Ok(found) => found,
            Err(error) => {
                passed.silent.push(error);
                continue;
            }
        };
        let version = found.version().to_owned();
        if !wish.is_met_by(&version).fault_at(program)? {
            ui.detail(format_args!("{spec}: passed over {}: it is {version}", program.display()));
            passed.others.insert(version);
            continue;
        }
        match found.describe() {
            Ok(distribution) => {
                // Whoever wants a certain version expects that others are passed over.
                let is_news = !passed.is_empty() && wish.is_any();
                let said = passed.errors().map(|error| format!("passed over {error}"));
                for said in said.chain([taken(spec, program, place.name, &distribution)]) {
                    if is_news {
                        ui.note(said);
                    } else {
                        ui.detail(said);
                    }
                }
                return Ok(distribution);
            }
            Err(error) => passed.unfit.push(error),
        }
    }
    Err(passed.fault(spec, places, wish, ui))
}

/// The Pythons that were not taken.
#[derive(Default)]
struct Passed {
    /// Of a version that would do, and why they do not.
    unfit: Vec<Fault>,
    /// Those that do not even tell their version.
    silent: Vec<Fault>,
    /// Other versions.
    others: BTreeSet<String>,
}

impl Passed {
    fn is_empty(&self) -> bool {
        self.errors().next().is_none()
    }

    fn errors(&self) -> impl Iterator<Item = &Fault> {
        self.unfit.iter().chain(&self.silent)
    }

    /// Why there is none.
    fn fault(self, spec: &str, places: &[Place], wish: &Wish, ui: &dyn Reporter) -> Fault {
        if self.unfit.is_empty() && (self.silent.is_empty() || !self.others.is_empty()) {
            let minor = wish.minor().unwrap_or_else(|| "3.13".to_owned());
            let others: Vec<_> = self.others.into_iter().collect();
            let names: Vec<_> = places.iter().map(|place| place.name).collect();
            let found = match others.as_slice() {
                [] => format!("none at {}", names.join(", ")),
                others => others.join(", "),
            };
            return Fault::new(spec, format_args!("expected {wish}, found {found}"))
                .hint(format_args!(
                    "install it (`uv python install {minor}`), or use cpython@{minor} or source@{minor}"
                ))
                .of_kind(Kind::Missing);
        }
        let mut errors = self.unfit.into_iter().chain(self.silent);
        let first = errors.next();
        for error in errors {
            ui.note(format_args!("neither {error}"));
        }
        first.unwrap_or_else(|| Fault::new(spec, "expected a Python, found none"))
    }
}

/// What tells a Python from others: a shim is one program under many names.
fn identity(program: &Path) -> Option<(PathBuf, OsString)> {
    let real = program.canonicalize().ok()?;
    let is_shim = !real.file_name()?.to_string_lossy().starts_with("python");
    let name = if is_shim { program.file_name()?.to_owned() } else { OsString::new() };
    Some((real, name))
}

fn taken(spec: &str, program: &Path, place: &str, distribution: &Distribution) -> String {
    let version = &distribution.python.version;
    let base = distribution.path(&distribution.paths.executable);
    match host::environment(program) {
        Some(environment) => format!(
            "{spec}: CPython {version}, {}, the base of {} ({place})",
            base.display(),
            environment.display()
        ),
        None => format!("{spec}: CPython {version}, {} ({place})", program.display()),
    }
}

/// The environment that is active.
fn virtual_environment() -> Option<Place> {
    let folder = variable("VIRTUAL_ENV")?;
    let programs = vec![folder.join("bin/python")];
    Some(Place { name: "VIRTUAL_ENV", at: folder.display().to_string(), programs })
}

/// `python3` in each folder of `PATH`, then the versioned names, the newest first.
///
/// All of one name come before the next name: a version manager's shim often stands before the
/// system's Python and knows nothing of that version.
fn on_path(wish: &Wish) -> Option<Place> {
    let path = env::var_os("PATH")?;
    let versioned = match wish.minor() {
        Some(minor) => vec![format!("python{minor}")],
        None => MINORS.rev().map(|minor| format!("python3.{minor}")).collect(),
    };
    let names = ["python3".to_owned()].into_iter().chain(versioned);
    let programs = names.flat_map(|name| {
        env::split_paths(&path).map(move |folder| folder.join(&name)).collect::<Vec<_>>()
    });
    let programs = programs.filter(|program| program.is_file()).collect();
    Some(Place { name: "PATH", at: path.to_string_lossy().into_owned(), programs })
}

/// Those that `uv python install` has brought.
fn of_uv() -> Option<Place> {
    let data =
        || variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    let folder = variable("UV_PYTHON_INSTALL_DIR").or_else(|| Some(data()?.join("uv/python")))?;
    Some(Place { name: "uv", programs: installed(&folder), at: folder.display().to_string() })
}

fn of_pyenv() -> Option<Place> {
    let usual = || Some(variable("HOME")?.join(".pyenv"));
    let folder = variable("PYENV_ROOT").or_else(usual)?.join("versions");
    Some(Place { name: "pyenv", programs: installed(&folder), at: folder.display().to_string() })
}

/// The active environment, the base installation, and the base's environments.
fn of_conda() -> Option<Place> {
    let of_program = || Some(variable("CONDA_EXE")?.parent()?.parent()?.to_owned());
    let root = variable("CONDA_ROOT").or_else(of_program);
    let folders: Vec<_> = variable("CONDA_PREFIX").into_iter().chain(root.clone()).collect();
    let at: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let mut programs: Vec<_> = folders.iter().map(|folder| folder.join("bin/python3")).collect();
    programs.extend(root.into_iter().flat_map(|root| installed(&root.join("envs"))));
    (!at.is_empty()).then(|| Place { name: "conda", programs, at: at.join(", ") })
}

/// The Pythons in the folders below a folder, the newest first by the folders' names.
fn installed(folder: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let version = version.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
        version
            .take(1)
            .flat_map(|text| text.split('.'))
            .map_while(|part| part.parse().ok())
            .collect()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort_by_cached_key(|path| (std::cmp::Reverse(number(path)), path.clone()));
    let programs = folders.iter().filter_map(|folder| {
        ["bin/python3", "bin/python"]
            .iter()
            .map(|name| folder.join(name))
            .find(|path| path.exists())
    });
    programs.collect()
}

/// The path in a variable of the environment.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
