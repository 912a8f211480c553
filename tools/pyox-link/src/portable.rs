//! The portable runner: pyembed linked without libpython, which it loads from its blob.
//!
//! It is made once for each minor version, when pyox itself is built. What pyembed needs of Python stays open, and is
//! made weak, so that the loader starts the runner without it; pyembed resolves these references when libpython is there.

mod glibc;

use std::fs;
use std::path::Path;

use object::elf::{FileHeader64, SHN_UNDEF, STB_GLOBAL, STB_WEAK};
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, Sym};
use object::{LittleEndian, pod};
use pyox_schema::LinkMode;
use pyox_stage::{Fault, FaultExt, Kind, Result, files};

use crate::{plan, snapshot};
use glibc::Glibc;

type Elf = FileHeader64<LittleEndian>;

/// Links the portable runner out of a run-time library, by a linker driver with its first arguments. It starts with glibc
/// 2.28 and every newer one, whatever glibc the driver links against.
///
/// # Errors
///
/// Where the library is none, or the linker fails, or the library asks for more than that glibc has.
pub fn link_portable_runner(library: &Path, output: &Path, driver: &[String]) -> Result<()> {
    let library = std::path::absolute(library).fault_at(library)?;
    let architecture = architecture(&library)?;
    let folder = output.parent().unwrap_or(Path::new("."));
    let work = tempfile::tempdir_in(folder).fault_at(folder)?;
    let glibc = Glibc::of(architecture).ok_or_else(|| {
        Fault::at(&library, format!("no portable runner for {architecture}"))
            .of_kind(Kind::Unsupported)
    })?;
    let mut arguments = plan::portable_arguments();
    let sections = snapshot::sections(LinkMode::Portable, architecture);
    let script = snapshot::script(LinkMode::Portable);
    for (name, text) in [(snapshot::SCRIPT, script), (snapshot::SECTIONS, sections)] {
        let path = work.path().join(name);
        fs::write(&path, text).fault_at(&path)?;
    }
    arguments.extend([snapshot::SECTIONS.to_owned(), format!("-Wl,-T,{}", snapshot::SCRIPT)]);
    arguments.extend(snapshot::arguments(LinkMode::Portable));
    arguments.extend(["-nostdlib", "-o", "runner"].map(str::to_owned));
    let mut libraries = glibc.write(work.path(), driver)?;
    // The start code comes first, the libraries last.
    arguments.push(libraries.remove(0));
    arguments.push(library.to_string_lossy().into_owned());
    arguments.extend(["-lgcc", "-lgcc_eh", "-Wl,--as-needed"].map(str::to_owned));
    arguments.extend(libraries);
    glibc::call(driver, work.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let made = work.path().join("runner");
    let runner = weakened(fs::read(&made).fault_at(&made)?).fault_at(&made)?;
    if !pyox_runner::is_runner(&runner) {
        let what = format!("{} gave the blob's section no segment of its own", driver.join(" "));
        return Err(Fault::new("runner", what).of_kind(Kind::Unsupported));
    }
    glibc::check(&runner)?;
    files::atomically(output, files::EXECUTABLE, |file| std::io::Write::write_all(file, &runner))
}

/// What the objects of an archive are for.
fn architecture(library: &Path) -> Result<&'static str> {
    let bytes = fs::read(library).fault_at(library)?;
    let archive = ArchiveFile::parse(&*bytes).fault_at(library)?;
    let objects = archive.members().filter_map(|member| member.ok()?.data(&*bytes).ok());
    let mut machines =
        objects.filter_map(|object| pyox_elf::Elf::parse(object).ok()?.architecture());
    machines.next().ok_or_else(|| Fault::at(library, "expected objects of a machine, found none"))
}

/// Whether a symbol is one of Python's.
fn is_python(name: &[u8]) -> bool {
    name.starts_with(b"Py") || name.starts_with(b"_Py")
}

/// The runner with weak references to Python. Objects with weak ones would not do: the linker takes null for the addresses
/// of some for good.
fn weakened(mut runner: Vec<u8>) -> Result<Vec<u8>, object::read::Error> {
    let (endian, start) = (LittleEndian, runner.as_ptr().addr());
    let bytes = runner.as_slice();
    let sections = Elf::parse(bytes)?.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, object::elf::SHT_DYNSYM)?;
    let mut places = Vec::new();
    for symbol in symbols.iter() {
        let name = symbol.name(endian, symbols.strings())?;
        let is_strong = symbol.st_bind() == STB_GLOBAL;
        if is_python(name) && is_strong && symbol.st_shndx(endian) == SHN_UNDEF {
            // `st_info` is the byte behind the four of the name.
            places.push(pod::bytes_of(symbol).as_ptr().addr() - start + 4);
        }
    }
    for place in places {
        runner[place] = (STB_WEAK.0 << 4) | (runner[place] & 0xf);
    }
    Ok(runner)
}
