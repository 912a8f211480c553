//! Whether the application itself has started this process, and so means the Python in it.
//!
//! Libraries start `sys.executable` for work of their own. Whoever starts the executable from outside gets the
//! application and nothing else, whatever the arguments. What tells the two apart cannot be guessed, and is worth nothing
//! to a process that copies or inherits it:
//!
//! - **By `exec`.** The functions in `files::exec` pass a socket on to this executable alone, with a variable that names
//!   its descriptor. The kernel says who made it: this very process, before its program was replaced, with the rights that
//!   it has or root's. The variable is gone before Python sees the environment, the socket is closed.
//! - **By `posix_spawn`,** which may close all descriptors. Then the parent must run this executable.
//! - **By a command.** A shell or the like stands between. Then the first ancestor that runs this executable must have
//!   our rights or root's, and the process that it has started must have the executable's path in its command line, unless
//!   that is us. A shell that somebody types into does not.
//!
//! A process with more rights than its caller (`AT_SECURE`) believes nothing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ffi::{self, Claim};

/// How many ancestors are looked at.
const ANCESTORS: usize = 32;

/// How many processes of the application have started themselves, each by the one before, to become this one.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// The depth of the process that has started this one, if it is the application's: its own proof. The first call looks at
/// it.
pub(crate) fn proof() -> Option<u32> {
    static PROOF: OnceLock<Option<u32>> = OnceLock::new();
    *PROOF.get_or_init(|| match ffi::claim()? {
        _ if ffi::is_secure() => None,
        Claim::Proven(depth) => Some(depth),
        Claim::OfParent(depth) => is_child_of_itself().then_some(depth),
    })
}

/// How deep this process is.
pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// Says how deep this process is.
pub(crate) fn set_depth(depth: u32) {
    DEPTH.store(depth, Ordering::Relaxed);
}

/// What makes two paths lead to one file; `None` if that cannot be asked.
pub(crate) fn identity(path: impl AsRef<Path>) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The identity of this executable.
pub(crate) fn own_identity() -> Option<(u64, u64)> {
    identity("/proc/self/exe")
}

/// The number of the parent process.
fn parent() -> Option<i32> {
    rustix::process::getppid().map(|id| id.as_raw_nonzero().get())
}

/// Whether a process has this one's rights or root's, by the owner of its folder.
fn has_our_rights(owner: u32) -> bool {
    owner == rustix::process::geteuid().as_raw() || owner == 0
}

/// Whether the parent runs this executable, with this process's rights or root's.
fn is_child_of_itself() -> bool {
    parent().is_some_and(|parent| {
        let owner = fs::metadata(format!("/proc/{parent}")).map(|folder| folder.uid());
        own_identity().is_some_and(|own| identity(format!("/proc/{parent}/exe")) == Some(own))
            && owner.is_ok_and(has_our_rights)
    })
}

/// Whether an ancestor has named this executable in the command that has become this process.
pub(crate) fn is_named_by_ancestor(executable: &Path) -> bool {
    if ffi::is_secure() {
        return false;
    }
    let Some(own) = own_identity() else { return false };
    let mut below = None;
    let mut process = parent();
    for _ in 0..ANCESTORS {
        let Some(ancestor) = process.filter(|ancestor| *ancestor > 1) else { return false };
        let Some((name, parent)) = stat(ancestor) else { return false };
        let Ok(folder) = fs::metadata(format!("/proc/{ancestor}")) else { return false };
        let is_same = match identity(format!("/proc/{ancestor}/exe")) {
            Some(found) => found == own,
            // Root's cannot be looked at, and nobody but root can give it the name.
            None => folder.uid() == 0 && is_short_name(&name, executable),
        };
        if is_same {
            return has_our_rights(folder.uid())
                && below.is_none_or(|below| names(below, executable));
        }
        below = Some(ancestor);
        process = Some(parent);
    }
    false
}

/// A process's name, shortened as the kernel does it, and its parent.
fn stat(process: i32) -> Option<(Vec<u8>, i32)> {
    let text = fs::read(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything but is the only thing in parentheses.
    let (start, end) =
        (text.iter().position(|b| *b == b'(')?, text.iter().rposition(|b| *b == b')')?);
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some((text.get(start + 1..end)?.to_vec(), parent))
}

fn is_short_name(name: &[u8], executable: &Path) -> bool {
    const SHORT: usize = 15;
    let full = executable.file_name().map(OsStr::as_bytes).unwrap_or_default();
    !full.is_empty() && name == &full[..full.len().min(SHORT)]
}

/// Whether the executable's path stands in a process's command line.
fn names(process: i32, executable: &Path) -> bool {
    let path = executable.as_os_str().as_bytes();
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.windows(path.len()).any(|part| part == path)
}
