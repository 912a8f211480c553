//! Reading what is taken: length, digest, and the facts of ELF files, on all cores.
//!
//! Every byte that will be packed is read once here; SHA-256 is what it costs. What a later run finds
//! unchanged is not read again, see [`crate::known`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pyox_elf::Elf;
use pyox_schema::{Digest, ResourceKind};
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result, files};

use crate::candidate::{Candidate, Layer};
use crate::imports::Imports;
use crate::known::{Facts, Known, Native, ReadAs, Source};
use crate::{suspects, tkinter};

/// Reads files, or remembers what they were.
pub(crate) struct Reader {
    jobs: usize,
    stdlib: Known,
    /// Of each folder of installed projects.
    projects: Vec<(PathBuf, Known)>,
    /// Of what is small, and edited between one run and the next: nothing.
    application: Known,
}

impl Reader {
    /// A reader with `jobs` threads for that distribution, and for projects that are installed in those folders, which
    /// bear the digests of what they hold.
    pub(crate) fn new(distribution: &Digest, projects: &[PathBuf], jobs: usize) -> Result<Self> {
        let of_folder = |folder: &PathBuf| {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            Ok((folder.clone(), Known::open(name)?))
        };
        Ok(Self {
            jobs,
            stdlib: Known::open(&distribution.to_string())?,
            projects: projects.iter().map(of_folder).collect::<Result<_>>()?,
            application: Known::nothing(),
        })
    }

    /// What is known of a file of an installed project.
    fn of_project(&self, path: &Path) -> &Known {
        let found = self.projects.iter().find(|(folder, _)| path.starts_with(folder));
        found.map_or(&self.application, |(_, known)| known)
    }

    /// A reader that remembers nothing.
    pub(crate) fn forgetful(jobs: usize) -> Self {
        let [stdlib, application] = [(); 2].map(|()| Known::nothing());
        Self { jobs, stdlib, projects: Vec::new(), application }
    }

    /// Reads the files of `candidates`; none for what has no file.
    pub(crate) fn read(
        &self,
        candidates: &[Candidate],
        reporter: &dyn Reporter,
    ) -> Result<Vec<Option<Facts>>> {
        let task = reporter.begin(Some(candidates.len() as u64), "reading what is taken");
        let next = AtomicUsize::new(0);
        // The first of the candidates that cannot be read is reported, whichever thread met it.
        let failure: Mutex<Option<(usize, Fault)>> = Mutex::new(None);
        let worker = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(candidate) = candidates.get(number) else { return done };
                task.advance(1);
                match self.read_one(candidate) {
                    Ok(facts) => done.push((number, facts)),
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
        let jobs = self.jobs.min(candidates.len());
        thread::scope(|scope| {
            let threads: Vec<_> = (1..jobs).map(|_| scope.spawn(worker)).collect();
            let mut done = worker();
            for thread in threads {
                // A thread that panicked is a bug, which its own message reports.
                done.extend(thread.join().unwrap_or_default());
            }
            for (number, facts) in done {
                results[number] = facts;
            }
        });
        match failure.into_inner() {
            Ok(Some((_, error))) => Err(error),
            _ => Ok(results),
        }
    }

    /// Whether a file is there and is a shared object for that machine. The loader skips what does
    /// not fit, and so must whoever looks for libraries.
    pub(crate) fn is_library_for(&self, path: &Path, user: &Native) -> bool {
        let native = match [&self.stdlib, self.of_project(path)]
            .into_iter()
            .find_map(|known| known.get(path, ReadAs::Native))
        {
            Some(facts) => facts.native,
            None => {
                files::read(path).ok().and_then(|bytes| Elf::parse(&bytes).ok()).map(Native::from)
            }
        };
        native.is_some_and(|native| native.architecture == user.architecture)
    }

    /// Keeps what was read for the next run.
    pub(crate) fn save(self) {
        self.stdlib.save();
        self.projects.into_iter().for_each(|(_, known)| known.save());
    }

    fn read_one(&self, candidate: &Candidate) -> Result<Option<Facts>> {
        let Some(path) = &candidate.path else { return Ok(None) };
        let read_as = match candidate.resource.kind {
            ResourceKind::ExtensionModule | ResourceKind::SharedLibrary => ReadAs::Native,
            ResourceKind::Module | ResourceKind::Package => ReadAs::Source,
            _ => ReadAs::Bytes,
        };
        let known = match candidate.layer {
            Layer::Application(_) => &self.application,
            Layer::Builtin | Layer::Stdlib => &self.stdlib,
            Layer::Projects | Layer::Installation => self.of_project(path),
        };
        let is_expected = |facts: &Facts| {
            candidate.expected.as_ref().is_none_or(|e| e.sha256.contains(&facts.sha256))
        };
        // What was remembered and is not as expected may be wrong itself.
        let remembered = known.get(path, read_as).filter(is_expected);
        let facts = if let Some(facts) = remembered {
            facts
        } else {
            let before = fs::metadata(path).fault_at(path)?;
            let facts = read_file(path, read_as)?;
            known.put(path, &before, &facts);
            facts
        };
        if let Some(expected) = &candidate.expected
            && !expected.sha256.contains(&facts.sha256)
        {
            let what = format!(
                "digest mismatch: {} says {}, the file has {}",
                expected.witness,
                expected.sha256.first().map(Digest::short).unwrap_or_default(),
                facts.sha256.short()
            );
            let fault = Fault::at(path, what);
            let mismatch =
                |expected: &Digest| Kind::Digest { expected: *expected, found: facts.sha256 };
            return Err(match expected.sha256.first().map(mismatch) {
                Some(kind) => fault.of_kind(kind),
                None => fault,
            });
        }
        Ok(Some(facts))
    }
}

/// Refuses extension modules for another machine than that.
pub(crate) fn check_architecture(
    candidates: &[Candidate],
    facts: &[Option<Facts>],
    expected: &str,
) -> Result<()> {
    for (candidate, facts) in candidates.iter().zip(facts) {
        let found = facts.as_ref().and_then(|facts| facts.native.as_ref()?.architecture.as_deref());
        let is_module = candidate.resource.kind == ResourceKind::ExtensionModule;
        if let (true, Some(found)) = (is_module && found != Some(expected), found) {
            let what = format!("expected an extension module for {expected}, got one for {found}");
            return Err(Fault::new(candidate.place(), what));
        }
    }
    Ok(())
}

fn read_file(path: &Path, read_as: ReadAs) -> Result<Facts> {
    if read_as == ReadAs::Bytes {
        let (sha256, size) = files::digest(path)?;
        return Ok(Facts { sha256, size, native: None, source: None });
    }
    let bytes = files::read(path)?;
    let (sha256, size) = (Digest::of(&bytes), bytes.len() as u64);
    if read_as == ReadAs::Source {
        let source = Source {
            outside: suspects::scan(&bytes),
            tkinter: tkinter::is_named_in(&bytes),
            imports: Imports::of(&bytes),
        };
        return Ok(Facts { sha256, size, native: None, source: Some(source) });
    }
    let elf = Elf::parse(&bytes).map_err(|error| error.to_string()).and_then(|elf| {
        if elf.is_dynamic { Ok(elf) } else { Err("it has no dynamic section".to_owned()) }
    });
    let elf = elf.map_err(|error| {
        let what = format!("expected a shared object: {error}");
        Fault::at(path, what).hint("it is damaged, or made for another system")
    })?;
    Ok(Facts { sha256, size, native: Some(elf.into()), source: None })
}
