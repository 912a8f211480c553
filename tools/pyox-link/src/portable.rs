//! The portable runner: pyembed linked without libpython, which it loads from its blob.
//!
//! It is made once for each minor version, when pyox itself is built. What pyembed needs of Python stays open, and is
//! made weak, so that the loader starts the runner without it; pyembed resolves these references when libpython is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use object::elf::{FileHeader64, SHN_UNDEF, STB_GLOBAL, STB_WEAK};
use object::read::elf::{FileHeader, Sym};
use object::{LittleEndian, pod};
use pyox_stage::{Fault, FaultExt, Kind, Result, files};

use crate::{plan, runner};

type Elf = FileHeader64<LittleEndian>;

/// Links the portable runner out of a run-time library, by a linker driver with its first arguments.
///
/// # Errors
///
/// Where the library is none, or the linker fails.
pub fn link_portable_runner(library: &Path, output: &Path, driver: &[String]) -> Result<()> {
    let library = std::path::absolute(library).fault_at(library)?;
    let folder = output.parent().unwrap_or(Path::new("."));
    let work = tempfile::tempdir_in(folder).fault_at(folder)?;
    let Some((program, first)) = driver.split_first() else {
        return Err(Fault::new("driver", "expected a linker driver, got none"));
    };
    let mut command = Command::new(program);
    command.current_dir(work.path()).args(first).args(["-o", "runner"]);
    command.args(plan::portable_arguments()).arg(&library);
    command.args(["-ldl", "-lm", "-lpthread"]);
    let result = runner::run(command.env("LC_ALL", "C"), program)?;
    if !result.status.success() {
        return Err(runner::linker_failed(program, &result, work.path()));
    }
    let made = work.path().join("runner");
    let runner = weakened(fs::read(&made).fault_at(&made)?).fault_at(&made)?;
    if !crate::join::is_runner(&runner) {
        let what = format!("{program} gave the blob's section no segment of its own");
        return Err(Fault::new("runner", what).of_kind(Kind::Unsupported));
    }
    files::atomically(output, files::EXECUTABLE, |file| std::io::Write::write_all(file, &runner))
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
        let is_python = name.starts_with(b"Py") || name.starts_with(b"_Py");
        let is_strong = symbol.st_bind() == STB_GLOBAL;
        if is_python && is_strong && symbol.st_shndx(endian) == SHN_UNDEF {
            // `st_info` is the byte behind the four of the name.
            places.push(pod::bytes_of(symbol).as_ptr().addr() - start + 4);
        }
    }
    for place in places {
        runner[place] = (STB_WEAK.0 << 4) | (runner[place] & 0xf);
    }
    Ok(runner)
}
