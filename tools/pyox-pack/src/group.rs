//! Groups: payloads that are compressed together.
//!
//! A module's code alone compresses to half, together with its neighbours' to a third. A group is decoded whole, so its size is
//! what the first import from it costs: code is cut into groups of 256 KiB, and what every start runs is in none.
//! Sources are read for tracebacks alone, and compress better in larger groups. Neighbours by name are neighbours in a group.

use std::num::NonZero;

use pyox_blob::layout::{Codec, FileKind, LARGEST_GROUP};
use pyox_schema::Digest;
use pyox_stage::Fault;

use crate::blob::{Contents, File, Group, Place};
use crate::compress::Shrinker;
use crate::parallel;

/// How many bytes of code are in a group, and how many of files that a program may read at any time.
const CODE: usize = 256 << 10;
/// How many bytes of sources.
const SOURCES: usize = 1 << 20;

/// What every start runs, in any case.
const ALWAYS: [&str; 5] =
    ["encodings", "encodings.aliases", "encodings.utf_8", "_sitebuiltins", "__main__"];

/// Puts code into groups, and the files that have been chosen for it.
pub(crate) fn group(
    contents: &mut Contents,
    shrinker: &Shrinker,
    jobs: NonZero<usize>,
) -> Result<(), Fault> {
    contents.sort();
    let mut builder = Builder::default();
    for number in contents.code_order() {
        let module = &mut contents.modules[number];
        if ALWAYS.contains(&module.name.as_str()) {
            continue;
        }
        module.place = builder.add(&module.code.stream, CODE);
    }
    builder.end();
    let is_source = |file: &File| file.kind == FileKind::Source;
    for (wanted, size) in [(true, SOURCES), (false, CODE)] {
        let files = contents.files.iter_mut().filter(|file| file.codec == Codec::Grouped);
        for file in files.filter(|file| is_source(file) == wanted) {
            file.place = builder.add(&file.stored, size);
            if file.place.is_none() {
                file.codec = Codec::Stored;
            }
        }
        builder.end();
    }
    let frames = parallel::map(
        jobs,
        &builder.ended,
        || (),
        |(), bytes| {
            let stored = shrinker.frame(bytes, &Digest::of(bytes))?;
            // It is not longer than the largest group.
            #[allow(clippy::cast_possible_truncation)]
            let len = bytes.len() as u32;
            Ok(Group { stored, len })
        },
    );
    contents.groups = frames.into_iter().collect::<Result<_, Fault>>()?;
    Ok(())
}

#[derive(Default)]
struct Builder {
    ended: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Builder {
    /// Adds a payload to the open group, or to a new one where that would become longer than `size`. None for what is in no group:
    /// nothing, and what is longer than a group can be.
    fn add(&mut self, payload: &[u8], size: usize) -> Option<Place> {
        if payload.is_empty() || payload.len() > LARGEST_GROUP as usize {
            return None;
        }
        if self.open.len() + payload.len() > size {
            self.end();
        }
        let group = u32::try_from(self.ended.len()).ok()?;
        let at = self.open.len() as u64;
        self.open.extend_from_slice(payload);
        Some(Place { group, at })
    }

    fn end(&mut self) {
        if !self.open.is_empty() {
            self.ended.push(std::mem::take(&mut self.open));
        }
    }
}
