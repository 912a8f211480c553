//! What a C toolchain of this machine can link: which static libraries it has, and whether an
//! archive holds object files at all. Each library costs one start of the driver (3 ms).

use std::fs::{self, File};
use std::io::{BufReader, Read};
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

/// Why an archive of libpython does not do, where it does not: some builds leave LLVM bitcode in it, and Debian's of 3.14 and
/// 3.15 leaves out the objects of HACL*.
pub(crate) fn unfit(path: &Path) -> Result<Option<String>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if objects(path)? == Objects::Bitcode {
        return Ok(Some(format!("{name} holds LLVM bitcode")));
    }
    let bytes = fs::read(path).fault_at(path)?;
    let missing = pyox_elf::missing_in_archive(&bytes, &["Py", "_Py"]).fault_at(path)?;
    Ok(missing.map(|symbol| format!("{name} lacks {symbol}")))
}

/// What the members of an archive are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objects {
    /// ELF object files.
    Native,
    /// LLVM's intermediate code, some of them at least.
    Bitcode,
}

/// Looks at all members of an archive, and refuses one with others than object files.
pub(crate) fn objects(path: &Path) -> Result<Objects> {
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
    let mut found = None;
    loop {
        let mut header = [0; 60];
        if file.read_exact(&mut header).is_err() {
            return found.ok_or_else(|| bad("an empty archive"));
        }
        let name = header[..16].trim_ascii();
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|s| s.trim().parse().ok());
        let Some(size): Option<u32> = size else { return Err(bad("a damaged archive")) };
        let mut rest = i64::from(size + (size & 1));
        // The first members are the symbol index and the long names.
        if !matches!(name, b"/" | b"//" | b"/SYM64/") {
            let mut start = [0; 4];
            if size < 4 || file.read_exact(&mut start).is_err() {
                return Err(bad("an archive of something else"));
            }
            rest -= 4;
            match &start {
                // The second is a wrapper around the first.
                b"BC\xc0\xde" | b"\xde\xc0\x17\x0b" => found = Some(Objects::Bitcode),
                start if pyox_elf::is_elf(start) => found = found.or(Some(Objects::Native)),
                _ => return Err(bad("an archive of something else")),
            }
        }
        file.seek_relative(rest).fault_at(path)?;
    }
}
