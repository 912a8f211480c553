//! The runner: linked once for a plan, then found in the cache by the plan's digest.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pyox_schema::{Digest, Document, FileRef, LinkMode, LinkPlan, machine_of};
use pyox_stage::{Content, Fault, FaultExt, Kind, Partial, Reporter, Result, Store, cache, files};

use crate::plan::{can_have_snapshot, is_libc, not_movable};
use crate::{python_api, snapshot};

/// Counts up when the way a runner is linked changes without a change of the plan.
const RECIPE: u32 = 10;

/// How much of the linker's output an error shows.
const SHOWN_LINES: usize = 4;

/// The bytes of the runner for a plan.
pub(crate) fn cached(plan: &LinkPlan, ui: &dyn Reporter) -> Result<Content> {
    if plan.mode == LinkMode::Portable {
        // It was linked when pyox was built.
        let path = Path::new(&plan.runtime.path);
        return files::content(path);
    }
    let (store, key) = (Store::open("runners")?, key(plan));
    if let Some(runner) = store.get(&key) {
        ui.detail(format_args!("runner {key} is cached"));
        return Ok(runner);
    }
    let task = ui.begin(None, "linking the runner");
    let runner = link(plan, ui)?;
    drop(task);
    store.put(&key, &runner);
    if let Some(trouble) = store.trouble() {
        ui.warn(format_args!("{trouble}: the runner is not kept for the next run"));
    }
    Ok(runner.into())
}

/// The compressed form of the runner for a plan, or the runner itself where it has none.
pub(crate) fn compressed(plan: &LinkPlan, runner: Content, ui: &dyn Reporter) -> Result<Content> {
    let store = Store::open("runners")?;
    let key = Store::key(&[&key(plan).0, &pyox_runner::recipe().0]);
    if let Some(compressed) = store.get(&key) {
        ui.detail(format_args!("compressed runner {key} is cached"));
        return Ok(compressed);
    }
    let task = ui.begin(None, "compressing the runner");
    let compressed = match pyox_runner::compressed(&runner) {
        Ok(compressed) => compressed,
        Err(fault) => {
            ui.warn(format_args!("{fault}: it stays as it is"));
            return Ok(runner);
        }
    };
    drop(task);
    store.put(&key, &compressed);
    Ok(compressed.into())
}

/// What a runner depends on. Archives count by their digests, so that it does not matter where they lie.
fn key(plan: &LinkPlan) -> Digest {
    let by_name = |archive: &FileRef| {
        let name = Path::new(&archive.path).file_name().unwrap_or_default();
        FileRef { path: name.to_string_lossy().into_owned(), ..archive.clone() }
    };
    let plan = LinkPlan { reason: String::new(), root: PathBuf::new(), ..plan.with_files(by_name) };
    let mut bytes = plan.to_json();
    bytes.extend(RECIPE.to_le_bytes());
    Digest::of(&bytes)
}

/// Whether all archives are what the plan says.
pub(crate) fn check_digests(plan: &LinkPlan) -> Result<()> {
    for archive in plan.files() {
        let path = Path::new(&archive.path);
        let (found, _) = files::digest(path)?;
        if found != archive.sha256 {
            let fault = Fault::mismatch(path.display(), &archive.sha256, &found);
            return Err(fault.hint("fetch the distribution again"));
        }
    }
    Ok(())
}

fn link(plan: &LinkPlan, ui: &dyn Reporter) -> Result<Vec<u8>> {
    check_digests(plan)?;
    // Its name is random, but the linker sees only what is in it.
    let folder = Partial::new(&cache::folder("runners")?)?;
    let mut command = Command::new(&plan.driver);
    command.current_dir(folder.path()).args(command_line(plan, ui, "runner")).env("LC_ALL", "C");
    let mut texts = Vec::new();
    if can_have_snapshot(plan) {
        let sections = snapshot::sections(plan.mode, machine_of(&plan.distribution.target));
        texts.extend([
            (snapshot::SCRIPT, snapshot::script(plan.mode)),
            (snapshot::SECTIONS, sections),
        ]);
        command.args([snapshot::SECTIONS, &format!("-Wl,-T,{}", snapshot::SCRIPT)]);
        command.args(snapshot::arguments(plan.mode));
    }
    if plan.mode == LinkMode::Static {
        texts.push((python_api::FILE, python_api::table(Path::new(&plan.libpython.path))?));
        command.arg(python_api::FILE);
    }
    for (name, text) in texts {
        let path = folder.path().join(name);
        fs::write(&path, text).fault_at(&path)?;
    }
    ui.detail(format_args!("{command:?}"));
    let result = run(&mut command, &plan.driver)?;
    if !result.status.success() {
        return Err(linker_failed(&plan.driver, &result, folder.path()));
    }
    let path = folder.path().join("runner");
    let runner = fs::read(&path).fault_at(&path)?;
    if !pyox_runner::is_runner(&runner) {
        let what =
            format!("{} gave the section {} no segment of its own", plan.driver, plan.section);
        return Err(Fault::new("runner", what)
            .hint("GNU ld and mold are known to do it")
            .of_kind(Kind::Unsupported));
    }
    Ok(runner)
}

/// The linker driver's arguments for a runner.
pub(crate) fn command_line(plan: &LinkPlan, ui: &dyn Reporter, output: &str) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec!["-o".into(), output.into()];
    line.extend(plan.arguments.iter().map(OsString::from));
    line.push(plan.runtime.path.as_str().into());
    // A dynamic executable offers all of libpython to extension modules.
    let whole = plan.mode == LinkMode::Dynamic;
    line.extend(whole.then(|| "-Wl,--whole-archive".into()));
    line.push(plan.libpython.path.as_str().into());
    line.extend(whole.then(|| "-Wl,--no-whole-archive".into()));
    // Libraries need each other in any order.
    line.push("-Wl,--start-group".into());
    line.extend(plan.archives.iter().map(|archive| archive.path.as_str().into()));
    for library in &plan.libraries {
        let archive = system_archive(plan, library, ui);
        line.push(archive.map_or_else(|| format!("-l{library}").into(), OsString::from));
    }
    line.push("-Wl,--end-group".into());
    line
}

/// A dynamic executable needs the platform's libc alone, so other libraries are linked in where the
/// system has them as archives.
pub(crate) fn system_archive(plan: &LinkPlan, library: &str, ui: &dyn Reporter) -> Option<PathBuf> {
    if plan.mode == LinkMode::Static || is_libc(library) {
        return None;
    }
    let name = format!("lib{library}.a");
    // An argument may say where it looks.
    let mut ask = Command::new(&plan.driver);
    ask.args(&plan.arguments).arg(format!("-print-file-name={name}"));
    let asked = ask.output().ok()?;
    let found = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    if found.is_absolute() {
        return Some(found);
    }
    ui.warn(format_args!("{name}: not found: the executable will need lib{library}.so"));
    None
}

/// Whether a disk has no room for what a linker writes: a runner has 10 MB.
fn is_full(folder: &Path) -> bool {
    const LEAST: u64 = 1 << 20;
    rustix::fs::statvfs(folder)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST)
}

pub(crate) fn run(command: &mut Command, driver: &str) -> Result<Output> {
    command.output().map_err(|error| {
        let fault = Fault::new(driver, format_args!("cannot be run: {error}"));
        let fault = match error.kind() {
            std::io::ErrorKind::NotFound => fault.hint(
                "a runner is linked once for each distribution: install a C compiler for that, \
                 such as Debian's gcc",
            ),
            _ => fault,
        };
        fault.caused_by(error)
    })
}

/// What went wrong in a folder.
pub(crate) fn linker_failed(driver: &str, result: &Output, folder: &Path) -> Fault {
    // Some linkers say nothing of it, because they write through a mapping.
    if let Some(full) = [folder, &std::env::temp_dir()].into_iter().find(|path| is_full(path)) {
        return Fault::at(full, format_args!("the disk is full, so {driver} failed"))
            .hint("make room on it; PYOX_CACHE_DIR and TMPDIR name folders elsewhere")
            .of_kind(Kind::Io(std::io::ErrorKind::StorageFull));
    }
    let text = String::from_utf8_lossy(&result.stderr);
    if text.contains("when making a PIE object") {
        return not_movable();
    }
    // The driver repeats that its linker has failed.
    let said = text.lines().map(str::trim).filter(|line| !line.starts_with("collect2:"));
    let telling = ["undefined", "cannot", "error", "multiple definition", "not found"];
    let (telling, others): (Vec<_>, Vec<_>) =
        said.partition(|line| telling.iter().any(|word| line.contains(word)));
    let lines = if telling.is_empty() { others } else { telling };
    let lines: Vec<_> = lines.into_iter().take(SHOWN_LINES).collect();
    let what = match lines.as_slice() {
        [] => format!("{driver} failed with {}", result.status),
        lines => lines.join("; "),
    };
    let kind = Kind::Command { program: driver.to_owned(), status: result.status };
    Fault::new("runner", what).hint("`pyox-link -v` shows the command").of_kind(kind)
}
