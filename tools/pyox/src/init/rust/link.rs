//! The part of a build script that links Python in. `pyox add` brings this file up to date.
//!
//! `pyox build` makes what is linked, of what the project's pyox.toml or pyproject.toml says. The variable PYOX names the
//! program, where it is not on PATH. PYOX_ARTIFACTS names a folder in which `pyox build --emit artifacts` has made it
//! before; then the program is not needed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What the Python part is made of, beside the files that pyox says itself.
const INPUTS: [&str; 4] = ["pyox.toml", "pyproject.toml", "uv.lock", "python"];

/// Tells Cargo how to link, and gives the program PYOX_ARTIFACTS, for `include!`.
pub fn link() {
    println!("cargo::rerun-if-changed=pyox/build.rs");
    for variable in ["PYOX", "PYOX_ARTIFACTS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let linked = match env::var_os("PYOX_ARTIFACTS") {
        Some(folder) => Ok(given(PathBuf::from(folder))),
        None => make(),
    };
    let linked = linked.and_then(|folder| {
        let lines = folder.join("cargo.txt");
        let lines = fs::read_to_string(&lines).map_err(|error| format!("{}: {error}", lines.display()))?;
        print!("{}", lines.replace("{artifacts}", &folder.display().to_string()));
        println!("cargo::rustc-env=PYOX_ARTIFACTS={}", folder.display());
        Ok(())
    });
    if let Err(error) = linked {
        println!("cargo::error={error}");
    }
}

/// A folder in which the artifacts have been made before.
fn given(folder: PathBuf) -> PathBuf {
    for file in ["app.blob", "cargo.txt"] {
        println!("cargo::rerun-if-changed={}", folder.join(file).display());
    }
    folder
}

/// Has pyox make the artifacts.
fn make() -> Result<PathBuf, String> {
    for input in INPUTS.iter().filter(|input| fs::exists(input).unwrap_or(false)) {
        println!("cargo::rerun-if-changed={input}");
    }
    let folder = PathBuf::from(variable("OUT_DIR")).join("artifacts");
    let features = variable("CARGO_CFG_TARGET_FEATURE");
    let features = features.to_string_lossy();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    let pyox = env::var_os("PYOX").unwrap_or_else(|| "pyox".into());
    let mut command = Command::new(&pyox);
    command.args(["build", if is_static { "--static" } else { "--dynamic" }, "--emit", "artifacts"]);
    match command.arg(&folder).output() {
        Ok(done) if done.status.success() => Ok(folder),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ")),
        Err(error) => Err(format!(
            "{}: {error}: put pyox on PATH, name it in PYOX, or name a folder of artifacts in PYOX_ARTIFACTS",
            pyox.display()
        )),
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_default()
}
