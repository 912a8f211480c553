//! What a C toolchain of this machine can link: which static libraries it has, and whether an
//! archive holds object files at all. Each library costs one start of the driver (3 ms).

use std::path::Path;
use std::process::{Command, Stdio};

use object::read::archive::ArchiveFile;
use pyox_stage::{Compiler, Fault, FaultExt, Result, files};

/// The toolchain for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The linker driver, by its usual name.
    pub(crate) driver: String,
    /// What is run in its place, as the environment says.
    compiler: Compiler,
}

impl Toolchain {
    /// The toolchain for a target triple.
    pub(crate) fn of(target: &str) -> Self {
        let driver = Compiler::usual(target);
        Self { compiler: Compiler::of(target, &driver), driver }
    }

    /// Why libraries, named as `-l` takes them, and libc with them cannot be linked statically here;
    /// none if they can.
    pub(crate) fn missing_static<S: AsRef<str>>(&self, names: &[S]) -> Option<String> {
        let mut missing = Vec::new();
        for name in names.iter().map(AsRef::as_ref).chain(["c"]) {
            match self.has_static(name) {
                Ok(true) => {}
                Ok(false) => missing.push(format!("lib{name}.a")),
                Err(_) => {
                    let compiler = self.compiler.program.display();
                    return Some(format!("static: {compiler} is not installed"));
                }
            }
        }
        let missing = (!missing.is_empty()).then(|| missing.join(", "));
        missing.map(|missing| format!("static: not installed: {missing}"))
    }

    fn has_static(&self, name: &str) -> std::io::Result<bool> {
        let file = format!("lib{name}.a");
        // The driver prints a path where it finds the file, and the bare name where it does not.
        let output = Command::new(&self.compiler.program)
            .args(&self.compiler.arguments)
            .arg(format!("-print-file-name={file}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        let found = String::from_utf8_lossy(&output.stdout);
        Ok(output.status.success() && found.trim() != file && Path::new(found.trim()).is_file())
    }
}

/// Why an archive of libpython does not do, where it does not: some builds leave LLVM bitcode in it, and Debian's of 3.13 to
/// 3.15 leaves out objects of HACL*.
pub(crate) fn unfit(path: &Path) -> Result<Option<String>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if objects(path)? == Objects::Bitcode {
        return Ok(Some(format!("{name} holds LLVM bitcode")));
    }
    let bytes = files::read(path)?;
    let missing =
        pyox_elf::missing_in_archive(&bytes, &["Py", "_Py", "python_hashlib_"]).fault_at(path)?;
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

/// What the members of an archive are.
///
/// # Errors
///
/// If one of them is no object file.
pub(crate) fn objects(path: &Path) -> Result<Objects> {
    let file = files::read(path)?;
    let members = members(path, &file)?;
    let is_bitcode = members.iter().any(|(objects, _)| *objects == Objects::Bitcode);
    Ok(if is_bitcode { Objects::Bitcode } else { Objects::Native })
}

/// The members of an archive of object files.
///
/// # Errors
///
/// If it is none.
pub(crate) fn members<'a>(path: &Path, file: &'a [u8]) -> Result<Vec<(Objects, &'a [u8])>> {
    let bad = |what: &str| {
        let what = format!("expected an archive of ELF object files, got {what}");
        Fault::at(path, what)
    };
    let archive = ArchiveFile::parse(file).map_err(|_| bad("another file"))?;
    if archive.is_thin() {
        return Err(bad("a thin archive, which only names them"));
    }
    let mut members = Vec::new();
    for member in archive.members() {
        let data = member.and_then(|member| member.data(file));
        let data = data.map_err(|_| bad("a damaged archive"))?;
        let objects = match data.first_chunk() {
            // The second is a wrapper around the first.
            Some(b"BC\xc0\xde" | b"\xde\xc0\x17\x0b") => Objects::Bitcode,
            _ if pyox_elf::is_elf(data) => Objects::Native,
            _ => return Err(bad("an archive of something else")),
        };
        members.push((objects, data));
    }
    if members.is_empty() {
        return Err(bad("an empty archive"));
    }
    Ok(members)
}
