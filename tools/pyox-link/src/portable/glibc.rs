//! The glibc that a portable runner is linked against: 2.28, as a list of its symbols.
//!
//! A linker takes nothing of a shared library but names and versions. So libraries that have these and nothing else stand
//! for an old glibc, wherever pyox is built. An executable may start with any glibc that is as new.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use pyox_elf::{Needs, Version};
use pyox_stage::{Fault, FaultExt, Kind, Result};

use crate::runner;

/// The version, as a file's needs are compared with it.
const VERSION: Version = Version { major: 2, minor: 28 };

/// What there is for an architecture.
pub(super) struct Glibc {
    /// The code that calls `main`, for the assembler.
    start: &'static str,
    symbols: &'static str,
}

impl Glibc {
    pub(super) fn of(architecture: &str) -> Option<Self> {
        Some(match architecture {
            "x86_64" => {
                Self { start: include_str!("x86_64.s"), symbols: include_str!("x86_64.txt") }
            }
            "aarch64" => {
                Self { start: include_str!("aarch64.s"), symbols: include_str!("aarch64.txt") }
            }
            _ => return None,
        })
    }

    /// Writes the start code and makes the libraries in a folder; gives their file names.
    pub(super) fn write(&self, folder: &Path, driver: &[String]) -> Result<Vec<String>> {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).fault_at(&path)
        };
        write("start.s", self.start)?;
        let mut files = vec!["start.s".to_owned()];
        for (library, versions) in parse(self.symbols) {
            let mut symbols = String::from(".data\n");
            let mut script = String::new();
            for (version, names) in versions {
                let _ = write!(script, "{version} {{ global:");
                for name in names {
                    let (name, kind) = match name.strip_suffix('*') {
                        Some(name) => (name, "object"),
                        None => (name, "function"),
                    };
                    let _ = write!(script, " {name};");
                    let _ = writeln!(
                        symbols,
                        ".globl {name}\n.type {name}, %{kind}\n.size {name}, 8\n{name}: .zero 8"
                    );
                }
                script.push_str(" };\n");
            }
            symbols.push_str(".section .note.GNU-stack, \"\", %progbits\n");
            write("symbols.s", &symbols)?;
            write("versions", &script)?;
            let soname = format!("-Wl,-soname,{library}");
            let arguments = ["-shared", "-nostdlib", "-Wl,--version-script=versions", &soname];
            call(driver, folder, &[&arguments[..], &["-o", library, "symbols.s"]].concat())?;
            files.push(library.to_owned());
        }
        Ok(files)
    }
}

/// A library's SONAME, and its versions with their symbols.
type Library<'a> = (&'a str, Vec<(&'a str, Vec<&'a str>)>);

/// The libraries in their order.
fn parse(symbols: &str) -> Vec<Library<'_>> {
    let mut libraries = Vec::<Library<'_>>::new();
    for line in symbols.lines().filter(|line| !line.starts_with('#')) {
        if let Some(names) = line.strip_prefix(' ') {
            if let Some((_, found)) = libraries.last_mut().and_then(|(_, known)| known.last_mut()) {
                found.extend(names.split_whitespace());
            }
        } else if let Some((library, version)) = line.split_once(' ') {
            if libraries.last().is_none_or(|(last, _)| *last != library) {
                libraries.push((library, Vec::new()));
            }
            if let Some((_, versions)) = libraries.last_mut() {
                versions.push((version, Vec::new()));
            }
        }
    }
    libraries
}

/// Runs the linker driver in a folder.
pub(super) fn call(driver: &[String], folder: &Path, arguments: &[&str]) -> Result<()> {
    let Some((program, first)) = driver.split_first() else {
        return Err(Fault::new("driver", "expected a linker driver, got none"));
    };
    let mut command = Command::new(program);
    command.current_dir(folder).env("LC_ALL", "C").args(first).args(arguments);
    let result = runner::run(&mut command, program)?;
    if result.status.success() {
        Ok(())
    } else {
        Err(runner::linker_failed(program, &result, folder))
    }
}

/// Refuses a runner that needs more than that glibc.
pub(super) fn check(runner: &[u8]) -> Result<()> {
    let needs = Needs::of(runner).fault("runner")?;
    let newer = needs.versions.iter().find(|need| need.glibc() > Some(VERSION));
    let unknown = needs.unversioned.iter().find(|name| !super::is_python(name.as_bytes()));
    let Some(found) = newer.map(ToString::to_string).or(unknown.cloned()) else {
        return Ok(());
    };
    let what = format!("expected symbols of glibc {VERSION} alone, got {found}");
    Err(Fault::new("runner", what)
        .hint("if glibc 2.28 has it, add it to the lists in tools/pyox-link/src/portable")
        .of_kind(Kind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_symbols_are_as_old_as_they_say() {
        for architecture in ["x86_64", "aarch64"] {
            let Glibc { symbols, .. } = Glibc::of(architecture).unwrap();
            let libraries = parse(symbols);
            let (first, versions) = &libraries[0];
            assert_eq!(*first, "libc.so.6");
            assert!(versions.iter().any(|(_, names)| names.contains(&"memcpy")));
            for (version, names) in libraries.into_iter().flat_map(|(_, versions)| versions) {
                let version: Version = version.strip_prefix("GLIBC_").unwrap().parse().unwrap();
                assert!(version <= VERSION && !names.is_empty(), "{version}");
            }
        }
    }
}
