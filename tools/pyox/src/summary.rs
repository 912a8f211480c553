//! What is said at the end of a build.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use object::read::ReadCache;
use object::read::elf::{ElfFile64, FileHeader as _, SectionHeader as _};
use pyox_schema::LinkMode;
use pyox_stage::{FaultExt, Result};

use crate::Built;

/// How many projects are named.
const NAMED: usize = 4;

/// What was made, how large it is and by what, what it needs, and how to run it: some lines.
///
/// # Errors
///
/// Where the executable cannot be read.
pub fn summary(built: &Built) -> Result<String> {
    let path = shown(&built.path);
    let needs = match built.mode {
        LinkMode::Static => "static: needs nothing but the kernel".to_owned(),
        LinkMode::Dynamic => match glibc(&built.path)? {
            Some(version) => format!("dynamic: needs glibc {version} or newer"),
            None => "dynamic: needs the C library".to_owned(),
        },
    };
    let mut text = format!("{path}: {}, Python {}, {needs}\n", size(built.size), built.python);
    let largest = built.projects.iter().take(NAMED).filter(|(_, bytes)| *bytes >= 1024);
    let largest = largest.map(|(name, bytes)| format!("{name} {}", size(*bytes)));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  largest  {}", largest.collect::<Vec<_>>().join(", "));
    let _ =
        write!(text, "  run it   {}", if path.contains('/') { path } else { format!("./{path}") });
    Ok(text)
}

/// A path relative to the working folder, where it lies in it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

#[allow(clippy::cast_precision_loss)] // It is rounded to a digit.
fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1.0 { format!("{:.0} KiB", mib * 1024.0) } else { format!("{mib:.1} MiB") }
}

/// The newest version of glibc's symbols that an executable needs.
fn glibc(path: &Path) -> Result<Option<String>> {
    // A few pages of it are read.
    let bytes = ReadCache::new(File::open(path).fault_at(path)?);
    let newest = || -> Option<(u32, u32)> {
        let file = ElfFile64::<object::Endianness, _>::parse(&bytes).ok()?;
        let endian = file.endian();
        let sections = file.elf_header().sections(endian, &bytes).ok()?;
        let (mut needed, strings) = sections
            .iter()
            .find_map(|section| section.gnu_verneed(endian, &bytes).transpose())?
            .ok()
            .and_then(|(needed, link)| {
                Some((needed, sections.strings(endian, &bytes, link).ok()?))
            })?;
        let mut newest = None;
        while let Ok(Some((_, mut versions))) = needed.next() {
            while let Ok(Some(version)) = versions.next() {
                let name = strings.get(version.vna_name.get(endian)).ok()?;
                let name = std::str::from_utf8(name).ok()?;
                if let Some((major, minor)) =
                    name.strip_prefix("GLIBC_").and_then(|version| version.split_once('.'))
                    && let (Ok(major), Ok(minor)) =
                        (major.parse(), minor.split('.').next()?.parse())
                {
                    newest = newest.max(Some((major, minor)));
                }
            }
        }
        newest
    };
    Ok(newest().map(|(major, minor)| format!("{major}.{minor}")))
}
