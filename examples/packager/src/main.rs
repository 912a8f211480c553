//! A packager of one's own: each stage is a call, and what they have to say is counted.
//!
//!     packager SCRIPT EXECUTABLE

use std::fmt::Arguments;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyox::stage::{Message, Reporter, Result};
use pyox::{collect, fetch, link, pack};

/// Counts notes.
#[derive(Default)]
struct Notes(AtomicUsize);

impl Reporter for Notes {
    fn tell(&self, message: Message, _: Arguments<'_>) {
        if message == Message::Note {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn make(script: PathBuf, executable: &PathBuf, notes: &Notes) -> Result<()> {
    let distribution = fetch::fetch(&[fetch::Spec::parse("host")?], &Default::default(), notes)?;
    let options = collect::Options { apps: vec![script], ..Default::default() };
    let manifest = collect::collect(&distribution, &options, notes)?;
    let blob = pack::pack(&manifest, &Default::default(), notes)?;
    link::Link::new(&blob, "the blob", &Default::default(), notes)?.executable(executable, notes)
}

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(script), Some(executable)) = (arguments.next(), arguments.next()) else {
        panic!("expected a script and an executable")
    };
    let notes = Notes::default();
    match make(script, &executable, &notes) {
        Ok(()) => {
            let count = notes.0.into_inner();
            println!("{}: {count} note{}", executable.display(), if count == 1 { "" } else { "s" });
        }
        Err(fault) => {
            eprintln!("packager: {fault}");
            std::process::exit(2);
        }
    }
}
