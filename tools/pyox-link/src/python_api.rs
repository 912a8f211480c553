//! The names of CPython's C API, for static executables: `ctypes.pythonapi` looks functions up by them.
//!
//! A static executable has no symbols that a loader could look for, so it gets a table: for each function and variable
//! that libpython exports, its name and its address, sorted by name. It is written for the assembler.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use object::LittleEndian;
use object::elf::{FileHeader64, SHN_UNDEF, STB_GLOBAL, STB_WEAK, STV_DEFAULT};
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, Sym};
use pyox_stage::{FaultExt, Result, files};

/// The file's name.
pub(crate) const FILE: &str = "python_api.s";

/// The table of what a libpython exports.
pub(crate) fn table(libpython: &Path) -> Result<String> {
    let bytes = files::read(libpython)?;
    let names = exported(&bytes).fault_at(libpython)?;
    let mut text = String::from(
        ".section .data.rel.ro.pyembed_python_api, \"aw\", @progbits\n.balign 8\n.globl pyembed_python_api\n\
         pyembed_python_api:\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, ".quad {}", names.len());
    for (number, name) in names.iter().enumerate() {
        // Weak: what else nobody needs is not linked for its name, and has no address.
        let _ = writeln!(text, ".weak {name}\n.quad .Lname{number}, {name}");
    }
    text.push_str(".section .rodata.pyembed_python_api, \"a\", @progbits\n");
    for (number, name) in names.iter().enumerate() {
        let _ = writeln!(text, ".Lname{number}: .asciz \"{name}\"");
    }
    text.push_str(".section .note.GNU-stack, \"\", @progbits\n");
    Ok(text)
}

/// The names that the objects of an archive define for others, of those that CPython's are named like. Objects of
/// another kind, such as a compiler's own for link-time optimisation, have none.
fn exported(archive: &[u8]) -> Result<BTreeSet<String>, object::read::Error> {
    let endian = LittleEndian;
    let mut names = BTreeSet::new();
    for member in ArchiveFile::parse(archive)?.members() {
        let object = member?.data(archive)?;
        let Ok(elf) = FileHeader64::<LittleEndian>::parse(object) else { continue };
        let symbols =
            elf.sections(endian, object)?.symbols(endian, object, object::elf::SHT_SYMTAB)?;
        for symbol in symbols.iter() {
            let is_exported = symbol.st_shndx(endian) != SHN_UNDEF
                && matches!(symbol.st_bind(), STB_GLOBAL | STB_WEAK)
                && symbol.st_visibility() == STV_DEFAULT;
            let name =
                std::str::from_utf8(symbol.name(endian, symbols.strings())?).unwrap_or_default();
            let is_python = name.starts_with("Py") || name.starts_with("_Py");
            let is_plain = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
            if is_exported && is_python && is_plain {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}
