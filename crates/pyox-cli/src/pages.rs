//! What is made of a program's definition of its command line: its manual page, and completions for shells.
//!
//! Every program answers `--generate man`, `--generate bash` and so on, and does nothing else then. It is for those who
//! install it, so `--help` does not show it.

use std::str::FromStr;

use clap::Command;
use clap_complete::Shell;
use pyox_stage::{Fault, FaultExt, Result};

use crate::output;

/// What is asked for by the command line, if it is that.
pub(crate) fn asked() -> Option<String> {
    let mut words = std::env::args().skip(1);
    (words.next()? == "--generate").then(|| words.next().unwrap_or_default())
}

/// Prints it.
pub(crate) fn print(mut command: Command, what: &str) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    if what == "man" {
        clap_mangen::Man::new(command).render(&mut text).fault(what)?;
    } else {
        let shell = Shell::from_str(what).map_err(|_| {
            Fault::new("--generate", format!("expected `man` or a shell, got `{what}`"))
        })?;
        clap_complete::generate(shell, &mut command, name, &mut text);
    }
    output::text(None, &text)
}
