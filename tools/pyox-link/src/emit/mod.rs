//! `--emit`: what other programs are linked with, in place of an executable.
//!
//! | kind | for |
//! |---|---|
//! | [`artifacts`] | build systems that link themselves: Cargo, Make |
//! | [`library`] | programs in any language: one static or shared library with Python in it |

pub(crate) mod artifacts;
pub(crate) mod library;

use std::str::FromStr;

use pyox_schema::{LinkMode, LinkPlan};

use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use pyox_blob::layout::{ELF_SECTION, PAGE};
use pyox_stage::{Fault, FaultExt, Kind, Result};

/// What is made in place of an executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// The parts for another build system.
    Artifacts,
    /// An archive, `libNAME.a`.
    StaticLibrary,
    /// A shared object, `libNAME.so`.
    SharedLibrary,
}

impl FromStr for Emit {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "artifacts" => Ok(Self::Artifacts),
            "staticlib" => Ok(Self::StaticLibrary),
            "cdylib" => Ok(Self::SharedLibrary),
            _ => {
                let what = format!("expected `artifacts`, `staticlib` or `cdylib`, got `{text}`");
                Err(Fault::new("--emit", what))
            }
        }
    }
}

/// What the header declares is in every run-time library.
const HEADER: &[u8] = include_bytes!("../../../../pyembed/c/pyembed.h");

/// The name that pyembed finds a blob by.
const SYMBOL: &[u8] = b"pyox_blob";

/// Refuses a plan in which nothing is linked.
fn check_linked(plan: &LinkPlan) -> Result<()> {
    if plan.mode == LinkMode::Portable {
        let what =
            "expected a Python with its static library: what is linked with it has it inside";
        return Err(Fault::new("--emit", what).of_kind(Kind::Unsupported));
    }
    Ok(())
}

/// A blob as an object file.
fn blob_object(blob: &[u8]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let kind = SectionKind::ReadOnlyData;
    let section = object.add_section(Vec::new(), ELF_SECTION.as_bytes().to_vec(), kind);
    object.set_section_data(section, blob, PAGE as u64);
    object.add_symbol(Symbol {
        name: SYMBOL.to_vec(),
        value: 0,
        size: blob.len() as u64,
        kind: SymbolKind::Data,
        // Another library of the same process may have a blob of its own.
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    object.write().fault("the blob as an object file")
}
