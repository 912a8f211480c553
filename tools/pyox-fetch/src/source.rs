//! `source@…` and `source:…`: a distribution built here by `pyox-distribution`, then taken like any
//! other archive. Costs some minutes the first time; afterwards the archive is found by the digest of
//! all that went into it.

use std::path::Path;

use pyox_distribution::{Event, Flavor, Request, Source};
use pyox_schema::{Digest, Distribution};
use pyox_stage::{Fault, FaultExt as _, Reporter, Result, cache};

use crate::{Options, archive};

/// Builds a distribution; `name` is what the document calls its source.
pub(crate) fn build(
    name: &str,
    source: Source,
    flavor: Flavor,
    options: &Options,
    ui: &dyn Reporter,
) -> Result<Distribution> {
    // A tarball's digest is checked by now.
    let sha256 = options.sha256.filter(|_| matches!(source, Source::Version(_)));
    let request = Request {
        source,
        flavor,
        jobs: options.jobs.get(),
        cache: cache::folder("source")?,
        sha256,
        offline: options.offline,
    };
    let task = ui.begin(None, name);
    let mut said = None;
    let result = pyox_distribution::build(&request, &mut |event| {
        let step = match event {
            Event::Downloading(from) => format!("downloading {from}"),
            Event::Absent { version, reason } => {
                ui.note(format_args!("{name}: {version} is passed over: {reason}"));
                return;
            }
            Event::Unpacking => "unpacking the source".to_owned(),
            Event::Configuring => "configuring".to_owned(),
            Event::Compiling { done, total } => {
                task.describe(&format!("{name}: compiling, {done} of about {total}"));
                "compiling".to_owned()
            }
            Event::Profiling => "profiling".to_owned(),
            Event::Installing => "installing".to_owned(),
            Event::Archiving => "archiving".to_owned(),
            _ => return,
        };
        if said.as_ref() == Some(&step) {
            return;
        }
        if step == "unpacking the source" {
            ui.note(format_args!("{name}: building CPython, which takes some minutes and is kept"));
        }
        if step != "compiling" {
            task.describe(&format!("{name}: {step}"));
        }
        ui.detail(format_args!("{name}: {step}"));
        said = Some(step);
    });
    drop(task);
    let path = result.fault(name)?;
    let mut distribution = archive::built(&path, ui)?;
    name.clone_into(&mut distribution.source);
    Ok(distribution)
}

/// Refuses a tarball with another digest.
pub(crate) fn check(tarball: &Path, expected: Option<&Digest>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    let (found, _) = pyox_stage::files::digest(tarball)?;
    if found == *expected {
        return Ok(());
    }
    Err(Fault::mismatch(tarball.display(), expected, &found))
}
