//! From a path to what it means, once the kernel has said `ENOTDIR`.
//!
//! A path that begins with the executable's costs a comparison of text. Any other spelling (a relative path, links, a
//! folder's descriptor) is walked from its front: the first part that is no folder must be the executable.

use std::ffi::{CStr, c_char, c_int};

use super::text::Text;
use super::tree::Node;
use super::{Mount, Place, attributes, descriptors, mounts};

/// What a path means. It is large because nothing is allocated for a path.
#[allow(clippy::large_enum_variant)]
pub(super) enum Meaning {
    /// A packed file or folder.
    Packed(Place),
    /// A place below an executable where nothing is; the error that a file system has.
    Missing(c_int),
    /// A path that leaves the executable by `..`; it may be relative to the same folder as before.
    Outside(Text),
    /// Nothing below an executable.
    Foreign,
}

/// What a path means that is relative to the folder of a descriptor.
pub(super) fn resolve(folder: c_int, path: &CStr) -> Meaning {
    let path = path.to_bytes();
    if !path.starts_with(b"/")
        && folder != libc::AT_FDCWD
        && let Some(Place { mount, node: Node::Folder(packed) }) = descriptors::place(folder)
    {
        let mut rest = Text::new();
        let fits = rest.push(packed.path.as_bytes()) && rest.push(b"/") && rest.push(path);
        return if fits { mount.walk(mount.root.to_bytes(), rest.as_bytes()) } else { too_long() };
    }
    for mount in mounts() {
        let canonical = mount.canonical.get().and_then(Option::as_deref);
        for root in [Some(mount.root.as_c_str()), canonical].into_iter().flatten() {
            let root = root.to_bytes();
            if let Some(rest) = path.strip_prefix(root)
                && (rest.is_empty() || rest.starts_with(b"/"))
            {
                return mount.walk(root, rest);
            }
        }
    }
    search(folder, path)
}

/// Whether a path begins with the path of an executable, as most paths of packed files do.
pub(super) fn is_spelled_below(path: *const c_char) -> bool {
    if path.is_null() {
        return false;
    }
    // SAFETY: not null, so it is a C string.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    mounts().any(|mount| {
        path.strip_prefix(mount.root.to_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    })
}

/// Looks for the executable among the parts of a path.
fn search(folder: c_int, path: &[u8]) -> Meaning {
    let Some(mut front) = Text::of(path) else { return too_long() };
    let ends = (1..=path.len())
        .filter(|&end| path[end - 1] != b'/' && path.get(end).is_none_or(|&byte| byte == b'/'));
    for end in ends {
        front.truncate(end);
        let Some(found) = attributes::of_path(folder, front.as_ptr()) else { break };
        if found.st_mode & libc::S_IFMT != libc::S_IFDIR {
            let owner = mounts().find(|mount| mount.is_executable(&found));
            return owner.map_or(Meaning::Foreign, |mount| {
                // From here on the path without links is known, and cheap.
                mount.canonical();
                mount.walk(&path[..end], &path[end..])
            });
        }
        front.truncate(0);
        // It fitted before.
        let _ = front.push(path);
    }
    Meaning::Foreign
}

impl Mount {
    /// What the rest of a path means behind `root`, a path of the executable.
    fn walk(&'static self, root: &[u8], rest: &[u8]) -> Meaning {
        let mut location = Text::new();
        let mut consumed = 0;
        for part in rest.split(|&byte| byte == b'/') {
            consumed += part.len() + 1;
            match part {
                b"" | b"." => {}
                b".." if location.as_bytes().is_empty() => {
                    return outside(root, rest.get(consumed..).unwrap_or_default());
                }
                b".." => {
                    let folder = location.as_bytes().iter().rposition(|&byte| byte == b'/');
                    location.truncate(folder.unwrap_or(0));
                }
                part => {
                    let fits = (location.as_bytes().is_empty() || location.push(b"/"))
                        && location.push(part);
                    if !fits {
                        return too_long();
                    }
                }
            }
        }
        let Some(text) = location.as_str() else { return Meaning::Missing(libc::ENOENT) };
        match Node::at(&self.blob, text) {
            Ok(Node::File { .. }) if rest.ends_with(b"/") => Meaning::Missing(libc::ENOTDIR),
            Ok(node) => Meaning::Packed(Place { mount: self, node }),
            Err(number) => Meaning::Missing(number),
        }
    }
}

/// The folder that holds the executable, and a path from there.
fn outside(root: &[u8], rest: &[u8]) -> Meaning {
    let folder = match root.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &root[..=slash],
        None => b"./",
    };
    let mut path = Text::new();
    if path.push(folder) && path.push(rest) { Meaning::Outside(path) } else { too_long() }
}

fn too_long() -> Meaning {
    Meaning::Missing(libc::ENAMETOOLONG)
}
