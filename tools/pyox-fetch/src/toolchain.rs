//! What a C toolchain of this machine can link: which static libraries it has, and whether an
//! archive holds object files at all. Each library costs one start of the driver (3 ms).

use std::path::Path;
use std::process::{Command, Stdio};

use object::ReadRef;
use object::read::ReadCache;
use object::read::archive::ArchiveFile;
use pyox_stage::{Fault, FaultExt, Result, files};

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
    let bytes = files::read(path)?;
    let missing = pyox_elf::missing_in_archive(&bytes, &["Py", "_Py"]).fault_at(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(missing.map(|symbol| format!("{name} lacks {symbol}")))
}

/// Refuses an archive whose members are no ELF object files, by the first of them.
pub(crate) fn check_archive(path: &Path) -> Result<()> {
    let bad = |what: &str| {
        let what = format!("expected an archive of ELF object files, got {what}");
        Fault::at(path, what)
    };
    let file = ReadCache::new(files::open(path)?);
    let archive = ArchiveFile::parse(&file).map_err(|_| bad("another file"))?;
    if archive.is_thin() {
        return Err(bad("a thin archive, which only names them"));
    }
    let Some(member) = archive.members().next() else { return Err(bad("an empty archive")) };
    let (start, len) = member.map_err(|_| bad("a damaged archive"))?.file_range();
    match (&file).read_bytes_at(start, len.min(4)) {
        Ok(b"BC\xc0\xde") => Err(bad("LLVM bitcode")),
        Ok(start) if pyox_elf::is_elf(start) => Ok(()),
        Ok(_) => Err(bad("an archive of something else")),
        Err(()) => Err(bad("a damaged archive")),
    }
}
