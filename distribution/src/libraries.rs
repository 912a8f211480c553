//! The static libraries and the toolchain of the building system.
//!
//! CPython's extension modules need a dozen libraries. Debian's `-dev` packages hold them as static
//! archives, so they are taken as they are: building OpenSSL would double the time for nothing. Nothing
//! is installed from here; what is missing is one error with the line that brings it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pyox_stage::{Compiler, Fault, Kind, Result, files};

use crate::Flavor;

/// A version of CPython: major and minor.
pub(crate) type Version = (u32, u32);

/// A library that goes into the archive.
#[derive(Debug)]
pub(crate) struct Library {
    /// As in `-lNAME`.
    pub name: &'static str,
    /// A header that must be there to compile against it; empty for a library that only others need.
    header: &'static str,
    /// Debian's package of both.
    pub package: &'static str,
    /// What the archive needs itself, in link order; copied libraries or the C library's.
    pub needs: &'static [&'static str],
    /// SPDX identifiers.
    pub licenses: &'static [&'static str],
    /// Whether its authors gave it to the public (there is no SPDX identifier for that).
    pub public_domain: bool,
    /// The versions of CPython that use it: from, and up to but not including.
    used: (Version, Version),
}

const ALWAYS: (Version, Version) = ((3, 11), (4, 0));

const fn library(
    name: &'static str,
    header: &'static str,
    package: &'static str,
    needs: &'static [&'static str],
    licenses: &'static [&'static str],
) -> Library {
    Library { name, header, package, needs, licenses, public_domain: false, used: ALWAYS }
}

/// Every library that a standard extension module needs and that is not part of CPython's own source.
pub(crate) const LIBRARIES: &[Library] = &[
    library("ssl", "openssl/ssl.h", "libssl-dev", &["crypto"], &["Apache-2.0"]),
    library("crypto", "openssl/evp.h", "libssl-dev", &[], &["Apache-2.0"]),
    library("z", "zlib.h", "zlib1g-dev", &[], &["Zlib"]),
    library("bz2", "bzlib.h", "libbz2-dev", &[], &["bzip2-1.0.6"]),
    Library { public_domain: true, ..library("lzma", "lzma.h", "liblzma-dev", &[], &[]) },
    library("ffi", "ffi.h", "libffi-dev", &[], &["MIT"]),
    Library {
        public_domain: true,
        ..library("sqlite3", "sqlite3.h", "libsqlite3-dev", &["m"], &["blessing"])
    },
    library("panelw", "panel.h", "libncurses-dev", &["ncursesw"], &["X11"]),
    library("ncursesw", "curses.h", "libncurses-dev", &["tinfo"], &["X11"]),
    library("edit", "editline/readline.h", "libedit-dev", &["bsd", "tinfo"], &["BSD-3-Clause"]),
    library("tinfo", "term.h", "libncurses-dev", &[], &["X11"]),
    library("bsd", "", "libbsd-dev", &["md"], &["BSD-3-Clause", "BSD-2-Clause", "ISC", "MIT"]),
    library("md", "", "libmd-dev", &[], &["BSD-3-Clause", "BSD-2-Clause", "ISC"]),
    library("uuid", "uuid/uuid.h", "uuid-dev", &[], &["BSD-3-Clause"]),
    Library {
        used: ((3, 11), (3, 13)),
        ..library("crypt", "crypt.h", "libcrypt-dev", &[], &["LGPL-2.1-or-later"])
    },
    Library {
        used: ((3, 14), (4, 0)),
        ..library("zstd", "zstd.h", "libzstd-dev", &[], &["BSD-3-Clause"])
    },
];

/// A library and where its static archive lies.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub library: &'static Library,
    pub path: PathBuf,
}

/// The compiler and the libraries of the building system.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    libraries: Vec<Found>,
    /// The version lines of compiler, linker and make, and the digest of the C library.
    pub versions: String,
    /// The major version of gcc's run-time library, which names its package; clang links it too.
    pub gcc_major: String,
}

impl Toolchain {
    /// Looks for everything that a build needs; a single error names all that is missing.
    pub(crate) fn find(flavor: Flavor) -> Result<Self> {
        let mut missing = Vec::new();
        let mut versions = String::new();
        let tools: &[_] = match flavor {
            Flavor::Lto => &[("clang", "clang"), ("ld.lld", "lld"), ("llvm-ar", "llvm")],
            _ => &[("gcc", "gcc")],
        };
        let others = [("ld", "binutils"), ("make", "make"), ("tar", "tar"), ("xz", "xz-utils")];
        for (tool, package) in tools.iter().copied().chain(others) {
            let command = if tool == tools[0].0 { compiler(flavor) } else { Command::new(tool) };
            match output({ command }.arg("--version")) {
                Some(text) if tool == "clang" && !text.contains("clang version") => {
                    let found = text.lines().next().unwrap_or_default();
                    let what = format_args!(
                        "expected clang for a build with its link-time optimisation, got {found}"
                    );
                    return Err(Fault::new("CC", what).of_kind(Kind::Unsupported));
                }
                Some(text) => {
                    let _ =
                        writeln!(versions, "{tool}: {}", text.lines().next().unwrap_or_default());
                }
                None => missing.push((tool.to_owned(), package)),
            }
        }
        if !missing.is_empty() {
            return Err(absent(&missing));
        }

        let headers = headers_missing(flavor);
        let mut libraries = Vec::new();
        for library in LIBRARIES {
            if library.used.0 > (3, 13) {
                // Only a tarball of that version needs it; the build says so if it is not there.
                libraries.extend(archive(library.name, flavor).map(|path| Found { library, path }));
                continue;
            }
            match archive(library.name, flavor) {
                Some(path) if !headers.contains(&library.header) => {
                    libraries.push(Found { library, path });
                }
                Some(_) => missing.push((library.header.to_owned(), library.package)),
                None => missing.push((format!("lib{}.a", library.name), library.package)),
            }
        }
        let libc = archive("c", flavor);
        if libc.is_none() {
            missing.push(("libc.a".into(), "libc6-dev"));
        }
        if !missing.is_empty() {
            return Err(absent(&missing));
        }
        // The digest stands for the C library's headers and start files too.
        if let Some(libc) = libc {
            let _ = writeln!(versions, "libc: {}", files::digest(&libc)?.0);
        }
        for found in &libraries {
            let _ = writeln!(versions, "{}: {}", found.library.name, files::digest(&found.path)?.0);
        }
        let arguments: Vec<_> =
            compiler(flavor).get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        if !arguments.is_empty() {
            let _ = writeln!(versions, "arguments: {}", arguments.join(" "));
        }
        // It lies in a folder with that name.
        let runtime = archive("gcc", flavor);
        let gcc_major = runtime.as_deref().and_then(|path| path.parent()?.file_name());
        let gcc_major = gcc_major.unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { libraries, versions, gcc_major })
    }

    /// The part of a build's key that the system decides.
    pub(crate) fn fingerprint(&self) -> String {
        self.versions.clone()
    }

    /// The libraries that a version of CPython uses.
    pub(crate) fn libraries_for(&self, version: Version) -> Vec<Found> {
        let used = |found: &&Found| {
            let (from, until) = found.library.used;
            (from..until).contains(&version)
        };
        self.libraries.iter().filter(used).cloned().collect()
    }
}

/// The compiler: gcc, or clang for LLVM bitcode, where no variable names another one.
pub(crate) fn compiler(flavor: Flavor) -> Command {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let found = Compiler::of(&target, if flavor == Flavor::Lto { "clang" } else { "gcc" });
    let mut command = Command::new(found.program);
    command.args(found.arguments);
    command
}

/// The error for missing tools, headers and libraries: what, and of which package.
fn absent(missing: &[(String, &str)]) -> Fault {
    let names: Vec<_> = missing.iter().map(|(name, _)| name.as_str()).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Fault::new("build dependencies", format_args!("not installed: {}", names.join(", ")))
        .of_kind(Kind::Missing)
        .hint(format_args!("apt-get install {}", packages.join(" ")))
}

/// Where the linker would find a static library.
fn archive(name: &str, flavor: Flavor) -> Option<PathBuf> {
    // The compiler prints the bare name back where it finds nothing.
    let text = output(compiler(flavor).arg(format!("-print-file-name=lib{name}.a")))?;
    let path = PathBuf::from(text.trim());
    path.is_absolute().then(|| fs::canonicalize(path).ok()).flatten()
}

/// The headers of [`LIBRARIES`] that the compiler does not find: one run of the preprocessor.
fn headers_missing(flavor: Flavor) -> Vec<&'static str> {
    let headers: Vec<_> = LIBRARIES
        .iter()
        .map(|library| library.header)
        .filter(|header| !header.is_empty())
        .collect();
    let mut source = String::new();
    for (index, header) in headers.iter().enumerate() {
        let _ = writeln!(source, "#if !__has_include(<{header}>)\nMISSING {index}\n#endif");
    }
    let text = (|| {
        let mut child = compiler(flavor)
            .args(["-E", "-P", "-x", "c", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(source.as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&child.wait_with_output().ok()?.stdout).into_owned())
    })();
    let text = text.unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("MISSING ")?.parse::<usize>().ok())
        .filter_map(|index| headers.get(index).copied())
        .collect()
}

/// What a command prints; nothing where it cannot run or fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.env("LC_ALL", "C").stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_error_with_one_line_to_type() {
        let error = absent(&[
            ("openssl/ssl.h".into(), "libssl-dev"),
            ("libcrypto.a".into(), "libssl-dev"),
            ("libbz2.a".into(), "libbz2-dev"),
        ]);
        assert_eq!(
            error.to_string(),
            "build dependencies: not installed: openssl/ssl.h, libcrypto.a, libbz2.a"
        );
        assert_eq!(error.way_out(), Some("apt-get install libbz2-dev libssl-dev"));
    }

    #[test]
    fn every_package_is_in_the_list_that_make_installs() {
        let listed: Vec<_> = include_str!("../packages.txt").lines().collect();
        assert!(listed.is_sorted());
        for library in LIBRARIES.iter().filter(|library| library.used.0 <= (3, 13)) {
            assert!(listed.contains(&library.package), "{}", library.package);
        }
    }

    #[test]
    fn what_a_library_needs_is_a_library_or_of_the_c_library() {
        for need in LIBRARIES.iter().flat_map(|library| library.needs) {
            assert!(*need == "m" || LIBRARIES.iter().any(|library| library.name == *need));
        }
    }

    #[test]
    fn a_version_gets_its_libraries_only() {
        let toolchain = Toolchain::find(Flavor::Plain).unwrap();
        let names = |version| {
            let found = toolchain.libraries_for(version);
            found.iter().map(|found| found.library.name).collect::<Vec<_>>()
        };
        assert!(names((3, 11)).contains(&"crypt") && !names((3, 13)).contains(&"crypt"));
        assert!(names((3, 13)).contains(&"ssl") && !names((3, 13)).contains(&"zstd"));
    }

    #[test]
    fn a_library_that_is_not_there_has_no_archive() {
        assert_eq!(archive("pyox-no-such-library", Flavor::Plain), None);
        assert!(archive("c", Flavor::Plain).unwrap().ends_with("libc.a"));
    }
}
