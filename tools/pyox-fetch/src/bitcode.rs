//! LLVM bitcode made native: archives that the system's linker reads, of those that only an LLVM linker does.
//!
//! LLD compiles each object by itself (`ld.lld -r`), so that the archive keeps its members, and what is linked with it
//! may replace some of its functions. What was optimised across objects stays so no more; the profile counts. Costs a second of
//! CPU time or less for each object, once: the results are kept beside the archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Kind, Partial, Reporter, Result, files};

use crate::toolchain::{self, Objects};

/// An LLVM linker of this machine.
#[derive(Debug)]
pub(crate) struct Linker {
    program: PathBuf,
    /// What it says that it is.
    pub(crate) version: String,
}

impl Linker {
    /// LLD on `PATH`, clang's, and the one that comes with Rust: an old one does not read what a newer LLVM has made.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let candidates: [fn() -> Option<PathBuf>; 3] = [
            || Some("ld.lld".into()),
            || said(Command::new("clang").arg("-print-prog-name=ld.lld")).map(PathBuf::from),
            || {
                let root = PathBuf::from(said(Command::new("rustc").args(["--print", "sysroot"]))?);
                let targets = fs::read_dir(root.join("lib/rustlib")).ok()?.flatten();
                let mut programs = targets.map(|target| target.path().join("bin/gcc-ld/ld.lld"));
                programs.find(|program| program.is_file())
            },
        ];
        candidates.into_iter().filter_map(|candidate| candidate()).filter_map(|program| {
            let version = version(&said(Command::new(&program).arg("--version"))?)?;
            Some(Self { program, version })
        })
    }

    /// A native archive for one with bitcode, in the folder `build` of a distribution.
    ///
    /// # Errors
    ///
    /// If the linker does not read it: it may be older than what has made it.
    pub(crate) fn native(
        &self,
        archive: &Path,
        build: &Path,
        ui: &dyn Reporter,
    ) -> Result<PathBuf> {
        let file = files::read(archive)?;
        let key = Digest::of(
            [Digest::of(&file).0.as_slice(), self.version.as_bytes()].concat().as_slice(),
        );
        let name = archive.file_name().unwrap_or_default();
        let native = build.join(format!("native-{}", key.short())).join(name);
        if native.is_file() {
            return Ok(native);
        }
        let members = toolchain::members(archive, &file)?;
        let work = Partial::new(build)?;
        let task = ui.begin(
            Some(members.len() as u64),
            &format!("compiling the bitcode of {}", name.to_string_lossy()),
        );
        let next = AtomicUsize::new(0);
        let names: Vec<_> = (0..members.len()).map(|at| format!("{at:04}.o")).collect();
        let compile = || -> Result<()> {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((objects, bytes)) = members.get(at) else { return Ok(()) };
                self.compile(*objects, bytes, &work.path().join(&names[at]))?;
                task.advance(1);
            }
        };
        thread::scope(|scope| {
            let count = available_parallelism().map_or(1, usize::from);
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(compile)).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let mut archiver = Command::new("ar");
        archiver.args(["rcsD", "library.a"]).args(&names).current_dir(work.path());
        run(&mut archiver)?;
        let folder = native.parent().unwrap_or(build);
        fs::create_dir_all(folder).fault_at(folder)?;
        fs::rename(work.path().join("library.a"), &native).fault_at(&native)?;
        Ok(native)
    }

    fn compile(&self, objects: Objects, bytes: &[u8], to: &Path) -> Result<()> {
        if objects == Objects::Native {
            return fs::write(to, bytes).fault_at(to);
        }
        let from = to.with_extension("bc");
        fs::write(&from, bytes).fault_at(&from)?;
        run(Command::new(&self.program).arg("-r").arg(&from).arg("-o").arg(to))?;
        fs::remove_file(&from).fault_at(&from)
    }
}

/// `LLD 14.0.6` in what such a linker says of itself: `LLD 22.1.2 (compatible with GNU linkers)`, with `Debian` or the like before.
fn version(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("LLD ")?;
    Some(format!("LLD {}", rest.split_whitespace().next()?))
}

/// What a program prints, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().fault(&program)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    let line: String = line.trim().chars().take(300).collect();
    Err(Fault::new(&program, line).of_kind(Kind::Command { program, status: output.status }))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn linkers_of_llvm_are_known_by_what_they_say() {
        for (said, expected) in [
            ("LLD 22.1.2 (compatible with GNU linkers)", Some("LLD 22.1.2")),
            ("Debian LLD 14.0.6 (compatible with GNU linkers)", Some("LLD 14.0.6")),
            ("GNU ld (GNU Binutils for Debian) 2.40", None),
            ("LLD", None),
        ] {
            assert_eq!(version(said).as_deref(), expected, "{said}");
        }
    }
}
