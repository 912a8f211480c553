//! Modules and packages beside a script that it imports, as `python script.py` would find them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pyox_schema::Distribution;
use pyox_stage::{Fault, FaultExt, Kind, Result};

/// The distribution's Python reads the sources, because their grammar is its own.
const CODE: &str = include_str!("siblings.py");

/// What a script imports from its own folder. Costs an interpreter's start, and parsing these sources.
pub(crate) fn find(script: &Path, distribution: &Distribution) -> Result<Vec<PathBuf>> {
    let python = distribution.path(&distribution.paths.executable);
    let script = std::path::absolute(script).fault_at(script)?;
    let done = Command::new(&python)
        .args(["-I", "-S", "-B", "-c", CODE])
        .arg(&script)
        .stdin(Stdio::null())
        .output()
        .fault_at(&python)?;
    let answer = serde_json::from_slice(&done.stdout);
    answer.ok().filter(|_| done.status.success()).ok_or_else(|| {
        let said = String::from_utf8_lossy(&done.stderr);
        let last = said.lines().last().unwrap_or("it says nothing");
        let kind = Kind::Command { program: python.display().to_string(), status: done.status };
        Fault::at(&script, format_args!("its imports cannot be read: {last}")).of_kind(kind)
    })
}
