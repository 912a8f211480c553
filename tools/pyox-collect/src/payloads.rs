//! Reading what is taken: length, digest, and the facts of ELF files, on all cores.
//!
//! Every byte that will be packed is read once here; SHA-256 is what it costs.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pyox_cli::{Fault, HintExt, Result};
use pyox_elf::Elf;
use pyox_schema::{Digest, Payload, ResourceKind};

use crate::candidate::Candidate;

/// What is known of a file after reading it.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// Its length and digest.
    pub(crate) payload: Payload,
    /// For shared objects.
    pub(crate) elf: Option<Elf>,
}

/// Reads the files of `candidates` on `jobs` threads; none for what has no file.
pub(crate) fn read(candidates: &[Candidate], jobs: usize) -> Result<Vec<Option<Read>>> {
    let next = AtomicUsize::new(0);
    // The first of the candidates that cannot be read is reported, whichever thread met it.
    let failure: Mutex<Option<(usize, anyhow::Error)>> = Mutex::new(None);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = candidates.get(number) else { return done };
            match read_one(candidate) {
                Ok(read) => done.push((number, read)),
                Err(error) => {
                    if let Ok(mut failure) = failure.lock()
                        && failure.as_ref().is_none_or(|(other, _)| number < *other)
                    {
                        *failure = Some((number, error));
                    }
                }
            }
        }
    };
    let mut results = vec![None; candidates.len()];
    thread::scope(|scope| {
        let threads: Vec<_> = (1..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for thread in threads {
            // A thread that panicked is a bug, which its own message reports.
            done.extend(thread.join().unwrap_or_default());
        }
        for (number, read) in done {
            results[number] = read;
        }
    });
    match failure.into_inner() {
        Ok(Some((_, error))) => Err(error),
        _ => Ok(results),
    }
}

fn read_one(candidate: &Candidate) -> Result<Option<Read>> {
    let Some(path) = &candidate.path else { return Ok(None) };
    let kind = candidate.resource.kind;
    let native = matches!(kind, ResourceKind::ExtensionModule | ResourceKind::SharedLibrary);
    let read = read_file(path, native)?;
    if let Some(expected) = &candidate.expected
        && !expected.sha256.contains(&read.payload.sha256)
    {
        let what = format!(
            "digest mismatch: {} says {}, the file has {}",
            expected.witness,
            expected.sha256.first().map(Digest::short).unwrap_or_default(),
            read.payload.sha256.short()
        );
        return Err(Fault::at(path, what).into());
    }
    Ok(Some(read))
}

/// Reads one file.
pub(crate) fn read_file(path: &Path, native: bool) -> Result<Read> {
    let (sha256, size, elf) = if native {
        let bytes = fs::read(path).fault_at(path)?;
        let elf = Elf::parse(&bytes).map_err(|error| {
            let what = format!("expected a shared object: {error}");
            Fault::at(path, what).hint("it is damaged, or made for another system")
        })?;
        (Digest::of(&bytes), bytes.len() as u64, Some(elf))
    } else {
        let file = File::open(path).fault_at(path)?;
        let (sha256, size) = Digest::of_reader(file).fault_at(path)?;
        (sha256, size, None)
    };
    Ok(Read { payload: Payload { path: path.to_owned(), size, sha256 }, elf })
}
