//! Builds a distribution by hand: `cargo run -p pyox-distribution --example build -- 3.13 CACHE [--pgo|--lto|--debug]`.
//!
//! The first argument is a version or the path of a tarball; the archive's path goes to stdout. Users go
//! through `pyox-fetch source@3.13`; this is for whoever works on the recipe.

use std::path::PathBuf;
use std::process::ExitCode;

use pyox_distribution::{Event, Flavor, Request, Source, build};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let flavor = match arguments.last().map(String::as_str) {
        Some("--pgo") => Flavor::Optimized,
        Some("--lto") => Flavor::Lto,
        Some("--debug") => Flavor::Debug,
        _ => Flavor::Plain,
    };
    arguments.truncate(2);
    let [source, cache] = &arguments[..] else {
        eprintln!("usage: build VERSION|TARBALL CACHE [--pgo|--lto|--debug]");
        return ExitCode::from(2);
    };
    let source = if source.contains(".t") {
        Source::Tarball(source.into())
    } else {
        Source::Version(source.clone())
    };
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cache = PathBuf::from(cache);
    let request = Request { source, flavor, jobs, cache, sha256: None, offline: false };
    let start = std::time::Instant::now();
    let mut progress = |event: Event| {
        if !matches!(event, Event::Compiling { done, .. } if done % 50 != 0) {
            eprintln!("{:6.1} s  {event:?}", start.elapsed().as_secs_f64());
        }
    };
    match build(&request, &mut progress) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("build: error: {error}");
            if let Some(hint) = error.way_out() {
                eprintln!("build: hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}
