//! The oldest glibc that an executable starts with, and loads all that it holds with.

use std::borrow::Cow;
use std::io::Read as _;

use pyox_blob::layout::{Codec, FileKind};
use pyox_blob::{Blob, File, Groups};
use pyox_elf::{Elf, Need, Needs, Version};
use pyox_stage::{Fault, FaultExt, Kind, Result};

/// How the runner is called among the members.
const RUNNER: &str = "the runner";

/// How many members a message names.
const SHOWN: usize = 12;

/// The newest version that a member of an executable needs.
pub(crate) struct Member {
    /// Its location in the blob.
    name: String,
    pub(crate) version: Version,
    need: Need,
}

/// All members that need a version of glibc; those that need the newest come first.
///
/// Reads the headers of native code, and the first bytes of all other files.
pub(crate) fn members(runner: Option<&[u8]>, blob: &Blob<'_>) -> Result<Vec<Member>> {
    let machine = runner.and_then(|runner| Elf::parse(runner).ok()).map(|elf| elf.machine);
    let (mut found, mut groups) = (Vec::new(), Groups::default());
    if let Some(runner) = runner {
        found.extend(Member::of(RUNNER, &Needs::of(runner).fault("runner")?));
    }
    for file in blob.files() {
        let file = file.fault("blob")?;
        let is_native = matches!(file.kind, FileKind::Extension | FileKind::Library);
        let Some(bytes) = elf_file(blob, &file, is_native, &mut groups)? else { continue };
        // A file that no loader would take, such as one for another system, needs nothing of this one.
        let is_for_it = |elf: &Elf| machine.is_none_or(|machine| machine == elf.machine);
        if Elf::parse(&bytes).is_ok_and(|elf| is_for_it(&elf))
            && let Ok(needs) = Needs::of(&bytes)
        {
            found.extend(Member::of(file.path, &needs));
        }
    }
    found.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.name.cmp(&b.name)));
    Ok(found)
}

/// Refuses members that need a newer version than `most`.
pub(crate) fn check(members: &[Member], most: Version) -> Result<()> {
    let newer: Vec<_> = members.iter().take_while(|member| member.version > most).collect();
    let Some(first) = newer.first() else { return Ok(()) };
    let named: Vec<_> = newer.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match newer.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let what = format!("too new for it: {}{more}", named.join(", "));
    let hint = match first.name.as_str() {
        RUNNER if newer.len() == 1 => "the runner of `--shape portable` needs glibc 2.28",
        _ => "take a Python and wheels that were built for older systems, such as manylinux2014's",
    };
    let place = format!("--max-glibc {most}");
    Err(Fault::new(place, what).hint(hint).of_kind(Kind::Unsupported))
}

impl Member {
    fn of(name: &str, needs: &Needs) -> Option<Self> {
        let newest = needs.versions.iter().filter(|need| !need.is_weak);
        let newest = newest.max_by_key(|need| need.glibc())?;
        let version = newest.glibc()?;
        Some(Self { name: name.to_owned(), version, need: newest.clone() })
    }
}

/// `lib/libpython3.13.so.1.0 needs 2.35 (fmod@GLIBC_2.35)`.
impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} needs {} ({})", self.name, self.version, self.need)
    }
}

/// The bytes of a file, if it is one of ELF.
fn elf_file<'a>(
    blob: &Blob<'a>,
    file: &File<'a>,
    is_native: bool,
    groups: &mut Groups<'a>,
) -> Result<Option<Cow<'a, [u8]>>> {
    if file.codec == Codec::Zstd && !is_native {
        let stored = blob.stored(file).fault("blob")?;
        if !begins_as_elf(stored) {
            return Ok(None);
        }
    }
    let bytes = blob.content_of(file, groups).fault("blob")?;
    Ok(Some(bytes).filter(|bytes| is_native || pyox_elf::is_elf(bytes)))
}

fn begins_as_elf(compressed: &[u8]) -> bool {
    let mut first = [0; 4];
    zstd::stream::read::Decoder::with_buffer(compressed)
        .and_then(|mut decoder| decoder.read_exact(&mut first))
        .is_ok_and(|()| pyox_elf::is_elf(&first))
}
