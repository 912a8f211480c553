//! Unpacks an archive that nobody vouches for.
//!
//! Every member is judged before anything of it is written. Regular files and folders are written first
//! and links last, so that nothing is ever written through a link; where links lead is worked out over
//! the archive's own list of members, through chains of links too. Sizes are taken from the headers and
//! refused before they are unpacked. Names have a limit, and members that hold the name of the next one are read here and
//! not by the `tar` crate, which would take any length into memory. What is refused is an error for the archive as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use pyox_stage::{Fault, FaultExt, Result};
use tar::{EntryType, PaxExtensions};

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

/// How long a name may be: the longest path that Linux takes.
const LONGEST_NAME: usize = 4096;

/// How many bytes of a pax header are read. One with a name of the longest kind has some 4,200.
const LONGEST_HEADER: u64 = 64 << 10;

/// How many folders a member may be in.
const MOST_FOLDERS: usize = 256;

/// How many parts of paths are gone through to see where links lead, for all links of an archive together.
const MOST_STEPS: usize = 10_000_000;

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
    let mut job = Job {
        archive,
        folder,
        members: Members::new(),
        around: BTreeSet::new(),
        hard_links: Vec::new(),
    };
    let (mut total, mut said) = (0_u64, Said::default());
    for entry in stream.entries().map_err(|error| job.damaged(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| job.damaged(&error))?;
        total = total.saturating_add(entry.size());
        if total > limits.bytes || job.members.len() + job.around.len() >= limits.members {
            return Err(too_large(archive, limits));
        }
        if !job.announcement(&mut entry, &mut said)? {
            job.member(&mut entry, std::mem::take(&mut said))?;
        }
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
    /// Folders that are no members, but have some inside.
    around: BTreeSet<String>,
    /// Link and target.
    hard_links: Vec<(String, String)>,
}

/// What members in front say of the next one, in place of its header.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl Job<'_> {
    /// Reads a member that only tells about the next one: a long name or a long target as GNU tar writes them, or a pax
    /// header. Whether it is such a member.
    fn announcement<R: Read>(
        &self,
        entry: &mut tar::Entry<'_, R>,
        said: &mut Said,
    ) -> Result<bool> {
        let kind = entry.header().entry_type();
        let is_known = matches!(
            kind,
            EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XHeader
                | EntryType::XGlobalHeader
        );
        if !is_known {
            return Ok(false);
        }
        let size = entry.size();
        if size > LONGEST_HEADER {
            let most = LONGEST_HEADER >> 10;
            let what =
                format!("expected names and attributes of at most {most} KiB, got {size} bytes");
            return Err(Fault::at(self.archive, what));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| self.damaged(&error))?;
        match kind {
            EntryType::GNULongName => said.name = Some(until_nul(bytes)),
            EntryType::GNULongLink => said.target = Some(until_nul(bytes)),
            EntryType::XHeader => {
                for extension in PaxExtensions::new(&bytes) {
                    let extension = extension.map_err(|error| self.damaged(&error))?;
                    let value = extension.value_bytes();
                    match extension.key_bytes() {
                        b"path" => said.name = Some(value.to_vec()),
                        b"linkpath" => said.target = Some(value.to_vec()),
                        // The length of a member that the header has no room for, or with holes.
                        b"size" => {
                            let what = "expected members of at most 8 GiB, got a larger one";
                            return Err(Fault::at(self.archive, what));
                        }
                        key if key.starts_with(b"GNU.sparse.") => {
                            let what = "expected files without holes, got a sparse one";
                            return Err(Fault::at(self.archive, what));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

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
    fn member<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, said: Said) -> Result<()> {
        let bytes = said.name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let name = String::from_utf8_lossy(&bytes).into_owned();
        if bytes.len() > LONGEST_NAME || name.matches('/').count() > MOST_FOLDERS {
            let what = format!(
                "expected a name of at most {LONGEST_NAME} bytes and {MOST_FOLDERS} folders, got more"
            );
            return Err(self.refuse(&name, what));
        }
        let target = said.target.or_else(|| Some(entry.link_name_bytes()?.into_owned()));
        let path = std::str::from_utf8(&bytes).ok().and_then(clean);
        let kind = entry.header().entry_type();
        let Some(path) = path.filter(|path| path.split('/').next() == Some(TOP)) else {
            let what = format!("expected a member inside {TOP}/, got one outside");
            return Err(self.refuse(&name, what));
        };
        let node = match kind {
            EntryType::Regular | EntryType::Continuous => Node::File,
            EntryType::Directory => Node::Folder,
            EntryType::Symlink => Node::Link(self.target(target, &name)?),
            EntryType::Link => {
                let target = self.target(target, &name)?;
                self.hard_links.push((path.clone(), target));
                Node::File
            }
            _ => {
                let what =
                    "expected a file, a folder or a link, got a device or another special file";
                return Err(self.refuse(&name, what));
            }
        };
        for above in ancestors(&path) {
            if self.members.contains_key(above) || !self.around.insert(above.to_owned()) {
                break;
            }
        }
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

    fn target(&self, target: Option<Vec<u8>>, name: &str) -> Result<String> {
        let target = target.and_then(|target| String::from_utf8(target).ok());
        let Some(target) = target.filter(|it| !it.is_empty() && !it.contains('\0')) else {
            return Err(self.refuse(name, "expected a link with a target in UTF-8"));
        };
        if target.len() <= LONGEST_NAME {
            return Ok(target);
        }
        let got = target.len();
        let what =
            format!("expected a link with a target of at most {LONGEST_NAME} bytes, got {got}");
        Err(self.refuse(name, what))
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
        let (mut links, mut steps) = (Vec::new(), 0);
        for (name, node) in &self.members {
            let Node::Link(target) = node else { continue };
            if !stays_inside(&self.members, name, &mut steps) {
                if steps > MOST_STEPS {
                    let what =
                        "expected links that lead somewhere, got ones through too many others";
                    return Err(self.refuse(name, what));
                }
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
///
/// Counts the parts of paths that it goes through.
fn stays_inside(members: &Members, link: &str, steps: &mut usize) -> bool {
    // The kernel gives up after 40 links.
    let mut left = 40;
    let mut at = link.to_owned();
    let mut pending: Vec<&str> = Vec::new();
    loop {
        *steps += 1;
        // Nor does it follow longer paths.
        if *steps > MOST_STEPS || at.len() > LONGEST_NAME {
            return false;
        }
        if let Some(Node::Link(target)) = members.get(&at) {
            if left == 0 || target.starts_with('/') || !leave(&mut at) {
                return false;
            }
            left -= 1;
            pending.extend(target.split('/').rev());
        }
        match pending.pop() {
            None => return true,
            Some("" | ".") => {}
            Some("..") => {
                if !leave(&mut at) {
                    return false;
                }
            }
            Some(part) => {
                at.push('/');
                at.push_str(part);
            }
        }
    }
}

/// Goes to the folder above; whether that is still one below the top.
fn leave(path: &mut String) -> bool {
    let above = path.rfind('/');
    path.truncate(above.unwrap_or_default());
    above.is_some()
}

/// A name as GNU tar writes it ends with a zero byte.
fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    bytes
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
            assert_eq!(stays_inside(&members(links), "python/x", &mut 0), inside, "{links:?}");
        }
        assert!(!stays_inside(&members(&[("python", "elsewhere")]), "python", &mut 0));
    }

    #[test]
    fn paths_are_cleaned_or_refused() {
        assert_eq!(clean("./python//a/./b/"), Some("python/a/b".to_owned()));
        for path in ["/python/a", "python/../a", "..", "", ".", "python/a\0b"] {
            assert_eq!(clean(path), None, "{path:?}");
        }
    }
}
