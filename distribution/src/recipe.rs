//! The recipe: unpack, configure, make, install.
//!
//! Everything that could differ between two machines or two runs is pinned here: a cleared environment,
//! the date in `sys.version`, no debug information, no pkg-config. CPython is built inside its own source
//! tree, so the compiler only ever sees relative paths and no object file holds one of this machine.
//!
//! The static libraries are copied into the tree and found there before the system's shared ones, so the
//! `python` that is built (and later runs from the archive) needs nothing but the C library either.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::UNIX_EPOCH;

use pyox_stage::{Fault, FaultExt as _, Kind, Result};

use crate::libraries::{Found, LIBRARIES, Version, compiler};
use crate::{Event, Flavor, setup};

/// To be raised with every change that changes an archive's bytes and that [`fingerprint`] does not see.
const RECIPE: u32 = 1;

/// The installation prefix in the archive's own files; python finds its real one when it starts.
pub(crate) const PREFIX: &str = "/install";

/// The folder with the static libraries: beside the build tree, where `make clean`, a part of an optimised
/// build, does not remove them.
const STATIC_LIBRARIES: &str = "static-libraries";

/// Arguments of `configure` for every build.
const CONFIGURE: &[&str] = &[
    "--prefix=/install",
    "--disable-test-modules",
    "--with-ensurepip=no",
    "--with-readline=editline",
    "--with-system-expat=no",
    "--with-system-libmpdec=no",
];

/// Arguments of `configure` for an optimised build; gcc's LTO makes fat objects by CPython's choice. It would
/// also add debug information if it knew that the compiler can.
const CONFIGURE_PGO: &[&str] = &["--enable-optimizations", "--with-lto", "ac_cv_prog_cc_g=no"];

/// Arguments of `configure` for a build by clang with link-time optimisation, the thin one by CPython's choice.
const CONFIGURE_LTO: &[&str] = &["--with-lto", "ac_cv_prog_cc_g=no"];

/// Arguments of `configure` for a debug build.
const CONFIGURE_DEBUG: &[&str] = &["--with-pydebug"];

/// The environment of every step, on top of an empty one with only `PATH`.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("CC", "gcc"),
    ("CXX", "g++"),
    ("ARFLAGS", "rcsD"),
    ("LDFLAGS_NODIST", "-L../static-libraries"),
    ("MODULE_BUILDTYPE", "static"),
    // pkg-config would find libraries (libb2) that are not in the table of libraries. What it is
    // needed for is the wide-character curses.
    ("PKG_CONFIG", "false"),
    ("CURSES_CFLAGS", "-D_DEFAULT_SOURCE"),
    ("CURSES_LIBS", "-lncursesw -ltinfo"),
    ("PANEL_CFLAGS", "-D_DEFAULT_SOURCE"),
    ("PANEL_LIBS", "-lpanelw -lncursesw -ltinfo"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PYTHONHASHSEED", "0"),
];

/// What of it is another for a build by clang: no other linker than LLVM's reads its objects. That would have a program need
/// gcc's shared library; and as the objects are what such a build is for, it optimises the programs no further.
const ENVIRONMENT_LTO: &[(&str, &str)] =
    &[("LDFLAGS_NODIST", "-fuse-ld=lld -Wl,--lto-O0 -static-libgcc -L../static-libraries")];

/// The folders that the build's sources are named from.
const SOURCES: &[&str] =
    &["./", "Include/", "Modules/", "Objects/", "Parser/", "Programs/", "Python/", "build/"];

/// What every build is compiled with: a stack that was written over, and a buffer that the C library is told to write past, end
/// the process. The value may be set already, where a compiler has one of its own.
const HARDENING: &str =
    "-fwrapv -Wall -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2";

/// The compiler's own flags: no debug information, which would double the archive.
///
/// What link-time optimisation needs is in the objects, compressed. It has the names of the sources, and
/// where one is relative the build folder too; so there all are made absolute.
fn opt(flavor: Flavor) -> String {
    let absolute = |folder: &&str| {
        format!(" -fdebug-prefix-map={folder}=/build/{}", folder.trim_start_matches("./"))
    };
    match flavor {
        Flavor::Plain => format!("-DNDEBUG -O2 {HARDENING}"),
        // A shared libpython can be made of the same objects.
        Flavor::Lto => format!("-DNDEBUG -O2 -fPIC {HARDENING}"),
        Flavor::Debug => format!("-O1 {HARDENING}"),
        Flavor::Optimized => {
            let absolute: String = SOURCES.iter().map(absolute).collect();
            format!("-DNDEBUG -O3 {HARDENING}{absolute}")
        }
    }
}

/// What `configure` gets besides.
fn configure(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::Plain => &[],
        Flavor::Optimized => CONFIGURE_PGO,
        Flavor::Lto => CONFIGURE_LTO,
        Flavor::Debug => CONFIGURE_DEBUG,
    }
}

/// The environment of every step of a build, besides.
fn environment(flavor: Flavor) -> &'static [(&'static str, &'static str)] {
    if flavor == Flavor::Lto { ENVIRONMENT_LTO } else { &[] }
}

/// The part of a build's key that this crate decides.
pub(crate) fn fingerprint(flavor: Flavor) -> String {
    let configure = configure(flavor);
    let mut text = format!("recipe {RECIPE}\n{CONFIGURE:?}{configure:?}{ENVIRONMENT:?}\n");
    let _ = writeln!(text, "{}", opt(flavor));
    for (name, value) in environment(flavor) {
        let _ = writeln!(text, "{name}={value}");
    }
    for library in LIBRARIES {
        let _ = writeln!(text, "{library:?}");
    }
    for (name, _) in setup::LEFT_OUT {
        let _ = writeln!(text, "without {name}");
    }
    text.push_str(include_str!("../describe.py"));
    text.push_str(include_str!("../smoke.py"));
    text
}

/// CPython's source tree, unpacked.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The tree's root, where `configure` lies.
    pub root: PathBuf,
    /// Its version.
    pub version: Version,
    /// When the release was made, in seconds since 1970: the date that `sys.version` shows.
    pub epoch: u64,
}

/// Unpacks a release tarball into a folder.
pub(crate) fn unpack(tarball: &Path, folder: &Path, log: &Path) -> Result<Tree> {
    let mut command = Command::new("tar");
    command.arg("-xf").arg(fs::canonicalize(tarball).fault_at(tarball)?);
    command.args(["--no-same-owner", "-C"]).arg(folder);
    if !logged(&mut command, log)?.success() {
        return Err(Fault::at(tarball, "cannot be unpacked by tar"));
    }
    let root = fs::read_dir(folder)
        .fault_at(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("Include/patchlevel.h").is_file())
        .ok_or_else(|| Fault::at(tarball, "not a release of CPython"))?;
    let header = root.join("Include/patchlevel.h");
    let version = version(&fs::read_to_string(&header).fault_at(&header)?)
        .ok_or_else(|| Fault::at(&header, "no version in it"))?;
    if version < (3, 11) {
        let (major, minor) = version;
        let what = format_args!(
            "unsupported version: expected CPython 3.11 or later, got {major}.{minor}"
        );
        return Err(Fault::at(tarball, what).of_kind(Kind::Unsupported));
    }
    // Every release touches this header, so its time is the release's.
    let epoch = header
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs());
    Ok(Tree { root, version, epoch })
}

/// The version in `patchlevel.h`.
fn version(header: &str) -> Option<Version> {
    let number = |name: &str| {
        header.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse().ok())?
        })
    };
    Some((number("PY_MAJOR_VERSION")?, number("PY_MINOR_VERSION")?))
}

/// One build in a tree.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    pub tree: &'a Tree,
    pub libraries: &'a [Found],
    pub flavor: Flavor,
    pub jobs: usize,
    pub log: &'a Path,
}

impl Build<'_> {
    /// The version with a dot: `3.13`.
    pub(crate) fn minor(&self) -> String {
        format!("{}.{}", self.tree.version.0, self.tree.version.1)
    }

    /// The installed tree, as `PREFIX` of the archive.
    pub(crate) fn install(&self) -> PathBuf {
        self.tree.root.join("pyox-root").join(PREFIX.trim_start_matches('/'))
    }

    /// The file's name of the static libpython.
    pub(crate) fn libpython(&self) -> String {
        format!("libpython{}{}.a", self.minor(), self.abi_flags())
    }

    /// `sys.abiflags`.
    fn abi_flags(&self) -> &'static str {
        if self.flavor == Flavor::Debug { "d" } else { "" }
    }

    /// The folder with the static libraries of the system.
    pub(crate) fn static_libraries(&self) -> PathBuf {
        self.tree.root.with_file_name(STATIC_LIBRARIES)
    }

    /// The installed interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.install().join(format!("bin/python{}", self.minor()))
    }

    /// A command in the tree, with the build's environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.tree.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        command.envs(ENVIRONMENT.iter().chain(environment(self.flavor)).copied());
        let compiler = compiler(self.flavor);
        let words = [compiler.get_program()].into_iter().chain(compiler.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        command.env("CC", words.join(" "));
        command.env("OPT", opt(self.flavor));
        command.env("SOURCE_DATE_EPOCH", self.tree.epoch.to_string());
        command
    }

    /// Configures, compiles and installs.
    pub(crate) fn run(&self, progress: &mut dyn FnMut(Event)) -> Result<()> {
        self.configure(progress)?;
        self.compile(progress)?;
        self.install_tree(progress)
    }

    fn configure(&self, progress: &mut dyn FnMut(Event)) -> Result<()> {
        progress(Event::Configuring);
        let folder = self.static_libraries();
        fs::create_dir(&folder).fault_at(&folder)?;
        for found in self.libraries {
            let copy = folder.join(format!("lib{}.a", found.library.name));
            fs::copy(&found.path, &copy).fault_at(&copy)?;
        }
        let mut command = self.command("./configure");
        command.args(CONFIGURE).args(configure(self.flavor));
        self.step(&mut command, "configure")?;

        self.rewrite("Modules/Setup.stdlib", "Modules/Setup.local", |text| {
            setup::local(text, self.tree.version)
        })?;
        self.rewrite("Modules/Setup", "Modules/Setup", setup::without_modules)
    }

    fn compile(&self, progress: &mut dyn FnMut(Event)) -> Result<()> {
        let is_compilation = |line: &str| line.contains(" -c ") && line.contains(".o");
        // This also lets make renew its own files, as Setup.local is new.
        let plan = self.make().arg("-n").output();
        let plan = plan.fault("make")?;
        let planned = String::from_utf8_lossy(&plan.stdout)
            .lines()
            .filter(|line| is_compilation(line))
            .count();
        // An optimised build compiles everything twice, with the profile's run in between.
        let times = if self.flavor == Flavor::Optimized { 2 } else { 1 };
        let mut total = planned.max(1) * times;
        let mut done = 0;
        progress(Event::Compiling { done, total });

        let mut log = self.open_log()?;
        let mut child = self
            .make()
            .arg(format!("-j{}", self.jobs))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().fault_at(self.log)?)
            .spawn()
            .fault("make")?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line);
                writeln!(log, "{line}").fault_at(self.log)?;
                if is_compilation(&line) {
                    done += 1;
                    total = total.max(done);
                    progress(Event::Compiling { done, total });
                } else if line.contains("PROFILE_TASK") || line.contains("to generate profile data")
                {
                    progress(Event::Profiling);
                }
            }
        }
        let status = child.wait().fault("make")?;
        if status.success() { Ok(()) } else { Err(self.failed("make", status)) }
    }

    fn install_tree(&self, progress: &mut dyn FnMut(Event)) -> Result<()> {
        progress(Event::Installing);
        // Compiling the standard library to bytecode takes as long as installing all the rest, and
        // the archive holds none. The Makefile that gets installed stays as it is. (It is copied only
        // now: make has renewed it for the new Setup files.)
        self.rewrite("Makefile", "Makefile.install", |text| {
            let call = "$(DESTDIR)$(LIBDEST)/compileall.py";
            let rules = "\npyox-objects:\n\t@echo $(LIBRARY_OBJS)\n";
            text.replace(call, &format!("{call} --help >/dev/null")) + rules
        })?;
        let mut command = self.make();
        command.args(["-f", "Makefile.install", "install"]);
        command.arg(format!("DESTDIR={}", self.tree.root.join("pyox-root").display()));
        self.step(&mut command, "make install")
    }

    /// The members of libpython, relative to the tree, in make's order.
    pub(crate) fn library_objects(&self) -> Result<Vec<String>> {
        let mut command = self.make();
        command.args(["-s", "-f", "Makefile.install", "pyox-objects"]);
        let text = self.output(&mut command, "make pyox-objects")?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// make, with all static libraries at the end of every link.
    ///
    /// There each of them resolves what the others left open, in any order; CPython's own list of
    /// libraries only works for shared ones, which know what they need themselves.
    fn make(&self) -> Command {
        let names: Vec<_> =
            self.libraries.iter().map(|found| format!("-l{}", found.library.name)).collect();
        let mut command = self.command("make");
        command.arg(format!("LIBM=-Wl,--start-group {} -Wl,--end-group -lm", names.join(" ")));
        command
    }

    /// Writes one file of the tree from another.
    fn rewrite(&self, from: &str, to: &str, change: impl Fn(&str) -> String) -> Result<()> {
        let from = self.tree.root.join(from);
        let text = fs::read_to_string(&from).fault_at(&from)?;
        let to = self.tree.root.join(to);
        fs::write(&to, change(&text)).fault_at(&to)
    }

    /// What a command prints; its messages go to the log.
    pub(crate) fn output(&self, command: &mut Command, name: &str) -> Result<String> {
        let output = command.stdin(Stdio::null()).stderr(self.open_log()?).output().fault(name)?;
        if !output.status.success() {
            return Err(self.failed(name, output.status));
        }
        String::from_utf8(output.stdout).map_err(|_| Fault::new(name, "not UTF-8"))
    }

    /// Runs a command whose output goes to the log.
    pub(crate) fn step(&self, command: &mut Command, name: &str) -> Result<()> {
        let status = logged(command, self.log)?;
        if status.success() { Ok(()) } else { Err(self.failed(name, status)) }
    }

    fn failed(&self, name: &str, status: ExitStatus) -> Fault {
        // The first line of a compiler or linker says more than make's last.
        let text = fs::read(self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let cause = text
            .lines()
            .rev()
            .take(400)
            .filter(|line| line.contains("error: ") || line.contains("undefined reference"))
            .last()
            .map_or_else(String::new, |line| format!(": {}", line.trim()));
        Fault::new(
            format_args!("cpython {}: {name}", self.minor()),
            format_args!("{status}{cause}"),
        )
        .of_kind(Kind::Command { program: name.to_owned(), status })
    }

    fn open_log(&self) -> Result<File> {
        OpenOptions::new().append(true).open(self.log).fault_at(self.log)
    }
}

/// Runs a command with both outputs appended to the log.
fn logged(command: &mut Command, log: &Path) -> Result<ExitStatus> {
    let file = OpenOptions::new().append(true).open(log).fault_at(log)?;
    let copy = file.try_clone().fault_at(log)?;
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(file).stderr(copy).status().fault(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_header() {
        let header = "/* x */\n#define PY_MAJOR_VERSION        3\n#define PY_MINOR_VERSION 13\n";
        assert_eq!(version(header), Some((3, 13)));
        assert_eq!(version("#define PY_MAJOR_VERSION 3\n"), None);
    }

    #[test]
    fn a_tarball_of_an_old_release_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "").unwrap();
        let header = folder.path().join("Python-3.10.0/Include/patchlevel.h");
        fs::create_dir_all(header.parent().unwrap()).unwrap();
        fs::write(&header, "#define PY_MAJOR_VERSION 3\n#define PY_MINOR_VERSION 10\n").unwrap();
        let tarball = folder.path().join("Python-3.10.0.tar");
        let tar = Command::new("tar")
            .arg("-cf")
            .arg(&tarball)
            .args(["-C".as_ref(), folder.path(), "Python-3.10.0".as_ref()])
            .status();
        assert!(tar.unwrap().success());
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let error = unpack(&tarball, &into, &log).unwrap_err().to_string();
        assert!(
            error.ends_with("unsupported version: expected CPython 3.11 or later, got 3.10"),
            "{error}"
        );
    }

    #[test]
    fn the_recipe_is_part_of_the_key() {
        let text = fingerprint(Flavor::Plain);
        for part in ["--with-readline=editline", "libssl-dev", "-O2", "without _tkinter"] {
            assert!(text.contains(part), "{part}");
        }
        // A change of the one kind of build makes none of the other again.
        let (optimized, debug) = (fingerprint(Flavor::Optimized), fingerprint(Flavor::Debug));
        assert!(optimized.contains("--with-lto") && !text.contains("--with-lto"));
        // Assertions are compiled in.
        assert!(debug.contains("--with-pydebug") && !debug.contains("NDEBUG"));
        assert!(fingerprint(Flavor::Lto).contains("-fuse-ld=lld") && !text.contains("lld"));
    }
}
