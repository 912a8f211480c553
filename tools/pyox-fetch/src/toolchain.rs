//! What a C toolchain of this machine can link: which static libraries it has, and whether an
//! archive holds object files at all. Each library costs one start of the driver (3 ms).

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use pyox_stage::{Fault, FaultExt, Result};

/// The toolchain for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The linker driver, by its usual name.
    pub(crate) driver: String,
}

impl Toolchain {
    /// The toolchain for a target triple, by the names that Debian and others give to the drivers.
    pub(crate) fn of(target: &str) -> Self {
        let (architecture, _) = target.split_once('-').unwrap_or((target, ""));
        let musl = target.ends_with("-musl");
        let driver = match (architecture == std::env::consts::ARCH, musl) {
            // Where musl is the system's libc, `cc` is for it and there is no `musl-gcc`.
            (true, musl) if !musl || cfg!(target_env = "musl") => "cc".to_owned(),
            (true, _) => "musl-gcc".to_owned(),
            (false, true) => format!("{architecture}-linux-musl-gcc"),
            (false, false) => format!("{architecture}-linux-gnu-gcc"),
        };
        Self { driver }
    }

    /// Why libraries, named as `-l` takes them, and libc with them cannot be linked statically here;
    /// none if they can.
    pub(crate) fn missing_static<S: AsRef<str>>(&self, names: &[S]) -> Option<String> {
        let mut missing = Vec::new();
        for name in names.iter().map(AsRef::as_ref).chain(["c"]) {
            match self.has_static(name) {
                Ok(true) => {}
                Ok(false) => missing.push(format!("lib{name}.a")),
                Err(_) => return Some(format!("static: {} is not installed", self.driver)),
            }
        }
        let missing = (!missing.is_empty()).then(|| missing.join(", "));
        missing.map(|missing| format!("static: not installed: {missing}"))
    }

    fn has_static(&self, name: &str) -> std::io::Result<bool> {
        let file = format!("lib{name}.a");
        // The driver prints a path where it finds the file, and the bare name where it does not.
        let output = Command::new(&self.driver)
            .arg(format!("-print-file-name={file}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        let found = String::from_utf8_lossy(&output.stdout);
        Ok(output.status.success() && found.trim() != file && Path::new(found.trim()).is_file())
    }
}

/// Why an archive of libpython does not do, where it does not: Debian's of 3.14 and 3.15 leaves out the objects of HACL*.
pub(crate) fn incomplete(path: &Path) -> Result<Option<String>> {
    let bytes = fs::read(path).fault_at(path)?;
    let missing = pyox_elf::missing_in_archive(&bytes, &["Py", "_Py"]).fault_at(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(missing.map(|symbol| format!("{name} lacks {symbol}")))
}

/// Refuses an archive whose members are no ELF object files.
pub(crate) fn check_archive(path: &Path) -> Result<()> {
    let bad = |what: &str| {
        let what = format!("expected an archive of ELF object files, got {what}");
        Fault::at(path, what)
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
