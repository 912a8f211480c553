//! Installed Pythons that were described before.
//!
//! Describing one costs starting it, starting the C compiler once for each library, and reading its archives. The document
//! stays the same as long as the files and folders that it tells about do, by inode, length and times, as git's index
//! decides. A version manager's shim is a script that may mean another Python each time, so it is always asked which one; that
//! one may have been described before.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use pyox_schema::{Digest, Distribution, Document};
use pyox_stage::verify::Verdict;
use pyox_stage::{Compiler, Stamp, cache, files};
use serde::{Deserialize, Serialize};

/// Where the linker finds libraries: what is installed there decides whether a static link is possible.
fn libraries(machine: &str, compiler: &Compiler) -> [PathBuf; 4] {
    let of_machine = format!("{machine}-linux-gnu");
    let mut options = compiler.arguments.iter();
    let root = options.find_map(|option| option.strip_prefix("--sysroot="));
    let system = Path::new(root.unwrap_or("/")).join("usr");
    [
        system.join("lib"),
        system.join("local/lib"),
        system.join("lib").join(&of_machine),
        // A cross compiler's.
        system.join(&of_machine).join("lib"),
    ]
}

/// Counts up when a document says more of the same Python.
const RECIPE: u32 = 5;

#[derive(Debug, Serialize, Deserialize)]
struct Memo {
    #[serde(default)]
    recipe: u32,
    /// The linker driver on PATH, where there is one.
    compiler: Option<PathBuf>,
    /// What it always gets.
    arguments: Vec<String>,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    document: String,
    /// The digest of the whole document: what was damaged is described again.
    sha256: Digest,
}

/// The document that was made before, if it would be the same now.
pub(crate) fn recall(program: &Path) -> Option<Distribution> {
    let memo: Memo = serde_json::from_slice(&fs::read(store(program)?).ok()?).ok()?;
    let mut stamps = memo.stamps.iter();
    let is_same = stamps.all(|(path, before)| Stamp::of(path).ok() == *before)
        && Digest::of(memo.document.as_bytes()) == memo.sha256;
    if !is_same || memo.recipe != RECIPE {
        return None;
    }
    let distribution = Distribution::from_json(memo.document.as_bytes()).ok()?;
    let compiler = compiler(&distribution);
    let is_same = on_path(&compiler) == memo.compiler && compiler.arguments == memo.arguments;
    is_same.then_some(distribution)
}

/// Keeps a document. Nothing depends on it, so it does not matter where that fails.
pub(crate) fn keep(program: &Path, distribution: &Distribution) {
    let Some(store) = store(program) else { return };
    let Ok(document) = String::from_utf8(distribution.to_json()) else { return };
    let paths = &distribution.paths;
    let own = [
        Some(&paths.executable),
        Some(&paths.stdlib),
        paths.dynload.as_ref(),
        paths.include.as_ref(),
    ];
    let own = own.into_iter().flatten().map(|path| distribution.path(path));
    let named = distribution.files().into_keys().map(|path| distribution.root.join(path));
    let compiler = compiler(distribution);
    let program_of_it = on_path(&compiler);
    // A virtual environment may be made anew with another Python.
    let environment = program.parent().and_then(Path::parent).map(|it| it.join("pyvenv.cfg"));
    let about = program_of_it.clone().into_iter().chain([program.to_owned()]).chain(environment);
    let about = about.chain(own).chain(named);
    let stamps = about.chain(libraries(distribution.machine(), &compiler));
    let memo = Memo {
        recipe: RECIPE,
        compiler: program_of_it,
        arguments: compiler.arguments,
        stamps: stamps.map(|path| (path.clone(), Stamp::of(&path).ok())).collect(),
        sha256: Digest::of(document.as_bytes()),
        document,
    };
    if let Ok(json) = serde_json::to_vec(&memo) {
        let _ = files::write(&store, &json);
    }
}

/// Whether a memo in a file is as it was written.
#[must_use]
pub fn check(path: &Path) -> Verdict {
    let memo = fs::read(path).ok().and_then(|json| serde_json::from_slice::<Memo>(&json).ok());
    match memo {
        Some(memo) if Digest::of(memo.document.as_bytes()) == memo.sha256 => Verdict::Whole,
        _ => Verdict::Damaged("its digest is another".to_owned()),
    }
}

/// Where the memo of a program is; none for what is no program of the machine.
fn store(program: &Path) -> Option<PathBuf> {
    let program = std::path::absolute(program).ok()?;
    let mut magic = [0; 4];
    std::io::Read::read_exact(&mut fs::File::open(&program).ok()?, &mut magic).ok()?;
    let name = Digest::of(program.to_str()?.as_bytes());
    let folder = cache::folder("documents").ok()?;
    pyox_elf::is_elf(&magic).then(|| folder.join(format!("host-{name}.json")))
}

/// The linker driver, as the environment has it.
fn compiler(distribution: &Distribution) -> Compiler {
    Compiler::of(&distribution.target, &distribution.link.driver)
}

/// The file that a linker driver is.
fn on_path(compiler: &Compiler) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(&compiler.program));
    candidates.find(|path| path.is_file())
}
