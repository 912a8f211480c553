//! What the C toolchain of this machine can link: which static libraries it has, and whether an
//! archive holds object files at all. Each library costs one start of `cc` (3 ms).

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use pyox_cli::{Fault, HintExt, Result};

/// Why libraries, named as `-l` takes them, and libc with them cannot be linked statically here; none
/// if they can.
pub(crate) fn missing_static<S: AsRef<str>>(names: &[S]) -> Option<String> {
    let names = names.iter().map(AsRef::as_ref).chain(["c"]);
    let mut missing: Vec<&str> = Vec::new();
    for name in names {
        match has_static(name) {
            Ok(true) => {}
            Ok(false) => missing.push(name),
            Err(error) => return Some(format!("static: no C compiler to ask ({error})")),
        }
    }
    if missing.is_empty() {
        return None;
    }
    let files: Vec<_> = missing.iter().map(|name| format!("lib{name}.a")).collect();
    Some(format!("static: {} not installed", files.join(", ")))
}

fn has_static(name: &str) -> std::io::Result<bool> {
    let file = format!("lib{name}.a");
    // The driver prints a path where it finds the file, and the bare name where it does not.
    let output = Command::new("cc")
        .arg(format!("-print-file-name={file}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let found = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && found.trim() != file && Path::new(found.trim()).is_file())
}

/// Refuses an archive whose members are no ELF object files.
pub(crate) fn check_archive(path: &Path) -> Result<()> {
    let bad = |what: &str| {
        let what = format!("expected an archive of ELF object files, got {what}");
        Fault::at(path, what).into()
    };
    let mut file = BufReader::new(File::open(path).fault_at(path)?);
    let mut magic = [0; 8];
    if file.read_exact(&mut magic).is_err() || !matches!(&magic, b"!<arch>\n" | b"!<thin>\n") {
        return Err(bad("another file"));
    }
    if &magic == b"!<thin>\n" {
        return Err(bad("a thin archive, which only names them"));
    }
    // The first members are the symbol index and the long names; the one after is an object.
    loop {
        let mut header = [0; 60];
        if file.read_exact(&mut header).is_err() {
            return Err(bad("an empty archive"));
        }
        let name = header[..16].trim_ascii();
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|s| s.trim().parse().ok());
        let Some(size): Option<i64> = size else { return Err(bad("a damaged archive")) };
        if !matches!(name, b"/" | b"//" | b"/SYM64/") {
            let mut start = [0; 4];
            let _ = file.read_exact(&mut start);
            return match &start {
                b"BC\xc0\xde" => Err(bad("LLVM bitcode")),
                start if pyox_elf::is_elf(start) => Ok(()),
                _ => Err(bad("an archive of something else")),
            };
        }
        file.seek(SeekFrom::Current(size + (size & 1))).fault_at(path)?;
    }
}
