//! `--emit artifacts`: what another build system needs to make the executable itself.
//!
//! | file | what it is |
//! |---|---|
//! | `libpyembed_runner.a` | pyembed with its functions for C; its `main` stays out where the program has one |
//! | `libpythonX.Y.a`, … | the distribution's archives, and those of the system that they need |
//! | `python_api.s` | the names that `ctypes.pythonapi` looks for, in a static executable |
//! | `app.blob` | the blob |
//! | `blob.o` | the blob, as something to link |
//! | `app.files/` | what is to lie beside the executable, under its name, where packages want that |
//! | `pyembed.h` | the functions for C |
//! | `link-plan.json` | the link plan, its paths relative to this folder |
//! | `app.mk` | the linker's arguments as variables of Make |
//! | `cargo.txt` | the same as lines for a build script, with `{artifacts}` for this folder |
//! | `python_config.rs` | what a Rust program includes |

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pyox_blob::Config;
use pyox_schema::{Digest, Document, FileRef, LinkMode, LinkPlan};
use pyox_stage::{FaultExt, Reporter, Result, files};

use crate::{python_api, runner};

/// The folder of the artifacts in lines for a build script.
const FOLDER: &str = "{artifacts}";

/// What of the plan is for runners alone: a program of somebody else keeps its symbols.
const OF_RUNNERS: [&str; 2] = ["-Wl,--strip-all", "-Wl,--build-id=none"];

/// Writes the artifacts into a folder, which is made where it is missing.
pub(crate) fn write(
    folder: &Path,
    plan: &LinkPlan,
    config: &Config,
    blob: &[u8],
    reporter: &dyn Reporter,
) -> Result<()> {
    super::check_linked(plan)?;
    fs::create_dir_all(folder).fault_at(folder)?;
    let plan = with_system_archives(plan, reporter)?;
    for archive in plan.files() {
        let source = Path::new(&archive.path);
        let mut file = fs::File::open(source).fault_at(source)?;
        files::atomically(&folder.join(name_of(archive)), files::PLAIN, |to| {
            std::io::copy(&mut file, to).map(|_| ())
        })?;
    }
    let text = |name: &str, bytes: &[u8]| files::write(&folder.join(name), bytes);
    if plan.mode == LinkMode::Static {
        text(python_api::FILE, python_api::table(Path::new(&plan.libpython.path))?.as_bytes())?;
    }
    let named = |archive: &FileRef| FileRef { path: name_of(archive), ..archive.clone() };
    let plan = LinkPlan { root: ".".into(), ..plan.with_files(named) };
    text("app.blob", blob)?;
    text("blob.o", &super::blob_object(blob)?)?;
    text("pyembed.h", super::HEADER)?;
    text("link-plan.json", &plan.to_json())?;
    text("app.mk", make_variables(&plan).as_bytes())?;
    text("cargo.txt", cargo_lines(&plan).as_bytes())?;
    text("python_config.rs", rust_config(config, &plan).as_bytes())
}

/// The name of an archive in the folder.
fn name_of(archive: &FileRef) -> String {
    let name = Path::new(&archive.path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The plan with the system's archives in the place of libraries, as a runner is linked.
fn with_system_archives(plan: &LinkPlan, reporter: &dyn Reporter) -> Result<LinkPlan> {
    let mut plan = plan.clone();
    let mut libraries = Vec::new();
    for library in std::mem::take(&mut plan.libraries) {
        match runner::system_archive(&plan, &library, reporter) {
            Some(path) => {
                let (sha256, size) =
                    fs::File::open(&path).and_then(Digest::of_reader).fault_at(&path)?;
                let path = path.to_string_lossy().into_owned();
                plan.archives.push(FileRef { path, size, sha256 });
            }
            None => libraries.push(library),
        }
    }
    plan.libraries = libraries;
    Ok(plan)
}

/// What a linker driver gets behind a program's own objects; `folder` is that of the artifacts.
fn words(plan: &LinkPlan, folder: &str, with_runtime: bool) -> Vec<String> {
    let path = |name: &str| format!("{folder}/{name}");
    let own = plan.arguments.iter().filter(|word| !OF_RUNNERS.contains(&word.as_str()));
    let mut words: Vec<String> = own.cloned().collect();
    words.push(path("blob.o"));
    words.extend(with_runtime.then(|| path(&plan.runtime.path)));
    let whole = plan.mode == LinkMode::Dynamic;
    words.extend(whole.then(|| "-Wl,--whole-archive".to_owned()));
    words.push(path(&plan.libpython.path));
    words.extend(whole.then(|| "-Wl,--no-whole-archive".to_owned()));
    words.extend((!whole).then(|| path(python_api::FILE)));
    words.push("-Wl,--start-group".to_owned());
    words.extend(plan.archives.iter().map(|archive| path(&archive.path)));
    words.extend(plan.libraries.iter().map(|library| format!("-l{library}")));
    words.push("-Wl,--end-group".to_owned());
    words
}

fn make_variables(plan: &LinkPlan) -> String {
    let words = words(plan, "$(PYOX_ARTIFACTS)", true).join(" \\\n    ");
    format!(
        "# A program with Python in it: include this file, compile with $(PYOX_CFLAGS), and link with $(PYOX_LINK)\n\
         # behind the objects. Made by pyox-link.\n\
         PYOX_ARTIFACTS := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))\n\
         PYOX_CFLAGS := -I$(PYOX_ARTIFACTS)\n\
         PYOX_LINK := {words}\n"
    )
}

/// Lines that a Cargo build script prints.
fn cargo_lines(plan: &LinkPlan) -> String {
    // Which linker rustc takes by itself depends on its version, and the plan is for GNU ld.
    let mut text = String::from("cargo:rustc-link-arg=-fuse-ld=bfd\n");
    // pyembed is what Cargo compiles itself.
    // rustc names the C library before, and tells the driver to add nothing.
    let c_library: &[&str] = match plan.mode {
        LinkMode::Static => &["-Wl,--start-group", "-lc", "-lgcc_eh", "-lgcc", "-Wl,--end-group"],
        LinkMode::Dynamic | LinkMode::Portable => &["-lc", "-lgcc"],
    };
    let words = words(plan, FOLDER, false);
    for word in words.iter().map(String::as_str).chain(c_library.iter().copied()) {
        // Cargo's target says that it is static; what rustc has said last is that libraries are shared.
        let word = if word == "-static" { "-Wl,-Bstatic" } else { word };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "cargo:rustc-link-arg={word}");
    }
    text
}

/// What a Rust program includes. The configuration itself is in the blob.
fn rust_config(config: &Config, plan: &LinkPlan) -> String {
    let ((major, minor), version) = (config.python, &plan.distribution.version);
    format!(
        "// Made by pyox-link for a program that depends on pyembed; `pyox-inspect config` shows what the blob says.\n\n\
         const _: () = assert!(\n    \
             pyembed::PYTHON.0 == {major} && pyembed::PYTHON.1 == {minor},\n    \
             \"pyembed was compiled for another Python than {major}.{minor}: PYO3_CONFIG_FILE names the one that it is for\"\n\
         );\n\n\
         /// The Python that is linked in.\n\
         #[allow(dead_code)]\n\
         pub const PYTHON_VERSION: &str = \"{version}\";\n\n\
         /// What the interpreter starts with, as the blob that is linked in says.\n\
         pub fn default_python_config() -> Result<pyembed::PythonConfig, pyembed::Error> {{\n    \
             pyembed::PythonConfig::embedded()\n\
         }}\n"
    )
}
