//! Links the portable runner of a minor version: `portable_runner RUNTIME-LIBRARY OUTPUT [LINKER-DRIVER…]`.
//!
//! It is part of pyox's own build.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, output, driver @ ..] = arguments.as_slice() else {
        eprintln!("portable_runner: expected a run-time library, and the file to write");
        return ExitCode::from(2);
    };
    let driver = if driver.is_empty() { &["cc".to_owned()][..] } else { driver };
    match pyox_link::link_portable_runner(Path::new(library), Path::new(output), driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("portable_runner: error: {fault}");
            ExitCode::from(2)
        }
    }
}
