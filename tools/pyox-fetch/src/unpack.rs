//! Unpacks an archive that nobody vouches for.
//!
//! Every member is judged before anything of it is written. Regular files and folders are written first
//! and links last, so that nothing is ever written through a link; where links lead is worked out over
//! the archive's own list of members, through chains of links too. Sizes are taken from the headers and
//! refused before they are unpacked. What is refused is an error for the archive as a whole.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use pyox_stage::{Fault, FaultExt, Result};
use tar::EntryType;

/// The one folder that an archive holds.
pub(crate) const TOP: &str = "python";

/// What an archive may grow to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the uncompressed tar stream, and of all files together.
    bytes: u64,
    /// Members.
    members: usize,
}

impl Limits {
    /// The limits for an archive of `size` bytes. The largest distributions unpack to 1 GB, ten times
    /// their archive's size, in 10,000 files.
    pub(crate) fn of(size: u64) -> Self {
        const SMALL: u64 = 256 << 20;
        const LARGE: u64 = 8 << 30;
        Self { bytes: size.saturating_mul(100).clamp(SMALL, LARGE), members: 200_000 }
    }
}

/// What a member is, as far as links are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    File,
    Link(String),
}

type Members = BTreeMap<String, Node>;

/// Unpacks into an empty folder that nobody else writes to. Gives the reader back, read to its end.
pub(crate) fn unpack<R: Read>(
    archive: &Path,
    reader: R,
    folder: &Path,
    limits: &Limits,
) -> Result<R> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    match reader.fill_buf().fault_at(archive)? {
        [0x1f, 0x8b, ..] => {
            unpack_tar(archive, MultiGzDecoder::new(&mut reader), folder, limits)?;
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::Decoder::with_buffer(&mut reader).fault_at(archive)?;
            unpack_tar(archive, decoder, folder, limits)?;
        }
        _ => {
            return Err(Fault::at(
                archive,
                "expected a .tar.zst or .tar.gz archive, got another file",
            ));
        }
    }
    io::copy(&mut reader, &mut io::sink()).fault_at(archive)?;
    Ok(reader.into_inner())
}

fn unpack_tar(archive: &Path, stream: impl Read, folder: &Path, limits: &Limits) -> Result<()> {
    // Member names are read into memory, so the stream itself is limited too.
    let mut stream = tar::Archive::new(stream.take(limits.bytes));
    let mut job = Job { archive, folder, members: Members::new(), hard_links: Vec::new() };
    let mut total = 0_u64;
    for entry in stream.entries().map_err(|error| job.damaged(&error))? {
        let mut entry = entry.map_err(|error| job.damaged(&error))?;
        total = total.saturating_add(entry.size());
        if total > limits.bytes || job.members.len() >= limits.members {
            return Err(too_large(archive, limits));
        }
        job.member(&mut entry)?;
    }
    // The end of a tar is not the end of what was compressed: there are checksums behind it.
    let mut rest = stream.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| job.damaged(&error))?;
    if rest.limit() == 0 {
        return Err(too_large(archive, limits));
    }
    job.links()
}

fn too_large(archive: &Path, limits: &Limits) -> Fault {
    let (members, size) = (limits.members, limits.bytes >> 20);
    Fault::at(archive, format_args!("expected at most {members} members and {size} MB, got more"))
}

struct Job<'a> {
    archive: &'a Path,
    folder: &'a Path,
    members: Members,
    /// Link and target.
    hard_links: Vec<(String, String)>,
}

impl Job<'_> {
    fn damaged(&self, error: &io::Error) -> Fault {
        Fault::at(
            self.archive,
            format_args!("expected a whole archive, but it is damaged: {error}"),
        )
    }

    fn refuse(&self, member: &str, what: impl std::fmt::Display) -> Fault {
        // Names come from the archive: they must not break the line.
        Fault::at(self.archive, format_args!("{}: {what}", member.escape_debug()))
    }

    /// Judges a member, and writes it unless it is a link.
    fn member<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<()> {
        let bytes = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        let path = std::str::from_utf8(&bytes).ok().and_then(clean);
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let Some(path) = path.filter(|path| path.split('/').next() == Some(TOP)) else {
            let what = format!("expected a member inside {TOP}/, got one outside");
            return Err(self.refuse(&name, what));
        };
        let node = match kind {
            EntryType::Regular | EntryType::Continuous => Node::File,
            EntryType::Directory => Node::Folder,
            EntryType::Symlink => Node::Link(self.target(entry, &name)?),
            EntryType::Link => {
                let target = self.target(entry, &name)?;
                self.hard_links.push((path.clone(), target));
                Node::File
            }
            _ => {
                let what =
                    "expected a file, a folder or a link, got a device or another special file";
                return Err(self.refuse(&name, what));
            }
        };
        let is_folder = node == Node::Folder;
        match self.members.insert(path.clone(), node) {
            Some(Node::Folder) if is_folder => return Ok(()),
            Some(_) => return Err(self.refuse(&name, "expected it once, got it twice")),
            None => {}
        }
        let to = self.folder.join(&path);
        match kind {
            EntryType::Directory => self.make_folder(&name, &to)?,
            EntryType::Regular | EntryType::Continuous => {
                self.make_folder(&name, to.parent().unwrap_or(self.folder))?;
                self.write(entry, &name, &to)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn make_folder(&self, name: &str, path: &Path) -> Result<()> {
        match fs::create_dir_all(path) {
            Ok(()) => Ok(()),
            // Only a file of this archive can be in the way.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(self.refuse(name, "expected a folder, but an earlier member is a file"))
            }
            error => error.fault_at(path),
        }
    }

    fn write<R: Read>(&self, entry: &mut tar::Entry<'_, R>, name: &str, to: &Path) -> Result<()> {
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        let mode = if executable { 0o777 } else { 0o666 };
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(to) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(self.refuse(name, "expected it once, got it twice"));
            }
            error => error.fault_at(to)?,
        };
        let size = entry.size();
        let mut buffer = vec![0; 1 << 16];
        let mut written = 0;
        loop {
            // Reading and writing fail for different reasons, and in different places.
            let read = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&error)),
            };
            io::Write::write_all(&mut file, &buffer[..read]).fault_at(to)?;
            written += read as u64;
        }
        if written == size {
            return Ok(());
        }
        let what = format!("expected {size} bytes, got {written}: the archive is cut off");
        Err(self.refuse(name, what))
    }

    fn target<R: Read>(&self, entry: &tar::Entry<'_, R>, name: &str) -> Result<String> {
        let target = entry.link_name_bytes().and_then(|t| String::from_utf8(t.into_owned()).ok());
        match target.filter(|target| !target.is_empty() && !target.contains('\0')) {
            Some(target) => Ok(target),
            None => Err(self.refuse(name, "expected a link with a target in UTF-8")),
        }
    }

    /// Judges where the links lead, and makes them.
    fn links(&self) -> Result<()> {
        let outside = |name: &str, target: &str| {
            let what = format!(
                "expected a link to something inside {TOP}/, got one to {}",
                target.escape_debug()
            );
            self.refuse(name, what)
        };
        let mut links = Vec::new();
        for (name, node) in &self.members {
            let Node::Link(target) = node else { continue };
            if !stays_inside(&self.members, name) {
                return Err(outside(name, target));
            }
            links.push((name, target));
        }
        for (name, target) in &self.hard_links {
            let Some(real) = clean(target).filter(|real| {
                // Another hard link would do, but no archiver writes such a chain.
                self.members.get(real) == Some(&Node::File) && self.folder.join(real).is_file()
            }) else {
                return Err(outside(name, target));
            };
            let to = self.folder.join(name);
            self.make_folder(name, to.parent().unwrap_or(self.folder))?;
            fs::hard_link(self.folder.join(real), &to).fault_at(&to)?;
        }
        for (name, target) in links {
            let to = self.folder.join(name);
            // No link exists yet above this one: two links where one is below the other are refused.
            if ancestors(name).any(|above| matches!(self.members.get(above), Some(Node::Link(_)))) {
                return Err(self.refuse(name, "expected a folder above it, got a link"));
            }
            self.make_folder(name, to.parent().unwrap_or(self.folder))?;
            match symlink(target, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let what = "expected a link, but other members are inside it";
                    return Err(self.refuse(name, what));
                }
                error => error.fault_at(&to)?,
            }
        }
        Ok(())
    }
}

/// A relative path in plain components, without `.`; none for one that could lead elsewhere.
pub(crate) fn clean(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// The folders above a member, the nearest first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// Whether a link leads to something below [`TOP`], followed as the kernel would follow it, through
/// whatever links are on the way. A link to a name that is no member stays inside if its path does.
fn stays_inside(members: &Members, link: &str) -> bool {
    // The kernel gives up after 40 links.
    let mut left = 40;
    let mut at: Vec<&str> = link.split('/').collect();
    let mut pending: Vec<&str> = Vec::new();
    loop {
        if let Some(Node::Link(target)) = members.get(&at.join("/")) {
            if left == 0 || target.starts_with('/') {
                return false;
            }
            left -= 1;
            at.pop();
            if at.is_empty() {
                return false;
            }
            pending.extend(target.split('/').rev());
        }
        match pending.pop() {
            None => return true,
            Some("" | ".") => {}
            Some("..") => {
                at.pop();
                if at.is_empty() {
                    return false;
                }
            }
            Some(part) => at.push(part),
        }
    }
}

/// The folder in a store's entry that holds the distribution.
pub(crate) fn top(entry: &Path) -> PathBuf {
    entry.join(TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(links: &[(&str, &str)]) -> Members {
        let links =
            links.iter().map(|(name, to)| ((*name).to_owned(), Node::Link((*to).to_owned())));
        links.chain([("python/a/b".to_owned(), Node::Folder)]).collect()
    }

    #[test]
    fn links_are_followed_as_the_kernel_would() {
        for (links, inside) in [
            (&[("python/x", "a/b")][..], true),
            (&[("python/x", "a/../a/b")], true),
            (&[("python/x", "no/such/thing")], true),
            (&[("python/x", ".")], true),
            (&[("python/x", "..")], false),
            (&[("python/x", "/etc/passwd")], false),
            (&[("python/x", "a/../../python/a")], false),
            (&[("python/x", "x")], false),
            (&[("python/x", "y"), ("python/y", "x")], false),
            // By its letters `y/../../a` ends at `python/a`; through the link it leaves.
            (&[("python/a/b/y", "../.."), ("python/x", "a/b/y/../a")], false),
            (&[("python/a/b/y", ".."), ("python/x", "a/b/y/../a")], true),
        ] {
            assert_eq!(stays_inside(&members(links), "python/x"), inside, "{links:?}");
        }
        assert!(!stays_inside(&members(&[("python", "elsewhere")]), "python"));
    }

    #[test]
    fn paths_are_cleaned_or_refused() {
        assert_eq!(clean("./python//a/./b/"), Some("python/a/b".to_owned()));
        for path in ["/python/a", "python/../a", "..", "", ".", "python/a\0b"] {
            assert_eq!(clean(path), None, "{path:?}");
        }
    }
}
