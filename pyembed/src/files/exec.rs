//! Running programs: packed ones, from a descriptor, and this executable itself, which learns that the application has
//! started it (see `crate::child`).
//!
//! It may be the moment between `vfork` and `exec`: everything is on the stack.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::Write;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use libc::{AT_FDCWD, pid_t};

use super::interpose::{interpose, or_packed};
use super::resolve::{self, Meaning};
use super::text::Text;
use super::tree::Node;
use super::{Place, attributes, descriptors, errno, mounts, set_errno};
use crate::child;
use crate::ffi::VARIABLE;

/// How many variables an environment may have; with more, a child is not told.
const VARIABLES: usize = 2000;

type Strings = *const *const c_char;

/// What a new process of this executable is told: a variable, and the descriptor that it names.
struct Proof {
    sockets: [c_int; 2],
    variable: Text,
}

impl Proof {
    /// A proof that this process is the one that it says. The kernel notes who makes a pair of sockets.
    fn of_this_process() -> Option<Self> {
        let mut sockets = [-1; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: room for two descriptors.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, sockets.as_mut_ptr()) } != 0 {
            return None;
        }
        let mut proof = Self { sockets, variable: Text::new() };
        // SAFETY: the descriptor is ours.
        let is_passed_on = unsafe { libc::fcntl(sockets[0], libc::F_SETFD, 0) } == 0;
        let variable = &mut proof.variable;
        let is_written = write!(variable, "{VARIABLE}={}:{}", sockets[0], child::depth()).is_ok();
        (is_passed_on && is_written).then_some(proof)
    }

    /// A hint to look at the parent.
    fn of_parent() -> Option<Self> {
        let mut proof = Self { sockets: [-1; 2], variable: Text::new() };
        write!(proof.variable, "{VARIABLE}=:{}", child::depth()).ok()?;
        Some(proof)
    }

    /// The environment with the variable in it; `None` if that is too large.
    ///
    /// # Safety
    /// `environment` must be null or end with null.
    unsafe fn added(&self, environment: Strings) -> Option<[*const c_char; VARIABLES + 2]> {
        let mut all = [ptr::null(); VARIABLES + 2];
        all[0] = self.variable.as_ptr();
        let mut count = 1;
        // SAFETY: the caller's word.
        unsafe {
            while !environment.is_null() && !(*environment.add(count - 1)).is_null() {
                if count > VARIABLES {
                    return None;
                }
                all[count] = *environment.add(count - 1);
                count += 1;
            }
        }
        Some(all)
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        for socket in self.sockets.into_iter().filter(|socket| *socket >= 0) {
            // SAFETY: the descriptors are ours.
            unsafe { libc::close(socket) };
        }
    }
}

/// Whether a path leads to this executable.
fn is_own(path: *const c_char) -> bool {
    if path.is_null() || mounts().next().is_none() {
        return false;
    }
    let found = attributes::of_path(AT_FDCWD, path);
    found.is_some_and(|found| mounts().any(|mount| mount.is_executable(&found)))
}

/// Runs a program in this process; comes back only where that fails.
///
/// # Safety
/// As for `execve`.
unsafe fn run(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        if is_own(path)
            && let Some(proof) = Proof::of_this_process()
            && let Some(all) = proof.added(environment)
        {
            let outcome = execve::real(path, arguments, all.as_ptr());
            let number = errno();
            drop(proof);
            set_errno(number);
            return outcome;
        }
        or_packed(
            execve::real(path, arguments, environment),
            AT_FDCWD,
            path,
            |place| Err(run_packed(place, arguments, environment)),
            |path| execve::real(path, arguments, environment),
        )
    }
}

/// Runs a packed program; gives the number of the error.
///
/// # Safety
/// As for `execve`.
unsafe fn run_packed(place: &Place, arguments: Strings, environment: Strings) -> c_int {
    let program = match program(place) {
        Ok(program) => program,
        Err(number) => return number,
    };
    // SAFETY: the caller's word; the descriptor is ours.
    unsafe {
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), arguments, environment, flags);
        let number = errno();
        libc::close(program);
        number
    }
}

/// The descriptor of a packed program. The kernel hands a script's on to what it is run by, so that one stays open.
fn program(place: &Place) -> Result<c_int, c_int> {
    if matches!(place.node, Node::Folder(_)) || attributes::of_place(place).st_mode & 0o111 == 0 {
        return Err(libc::EACCES);
    }
    let flags = if is_script(place) { 0 } else { libc::O_CLOEXEC };
    descriptors::open(place, libc::O_RDONLY | flags)
}

/// Whether a packed program names what it is to be run by.
fn is_script(place: &Place) -> bool {
    let Node::File { file, .. } = &place.node else { return false };
    place.mount.blob.stored_unchecked(file).is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

/// The environment of this process.
fn own_environment() -> Strings {
    unsafe extern "C" {
        static environ: Strings;
    }
    // SAFETY: the C library keeps it.
    unsafe { environ }
}

interpose! { fn execve(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    run(path, arguments, environment)
} }
interpose! { fn execv(path: *const c_char, arguments: Strings) -> c_int {
    run(path, arguments, own_environment())
} }
// A name without a slash is looked for in PATH, by the original.
interpose! { fn execvp(name: *const c_char, arguments: Strings) -> c_int {
    if is_path(name) { run(name, arguments, own_environment()) } else { real(name, arguments) }
} }
interpose! { fn execvpe(name: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    if is_path(name) { run(name, arguments, environment) } else { real(name, arguments, environment) }
} }

/// Whether a program's name is a path.
///
/// # Safety
/// `name` must be null or a C string.
unsafe fn is_path(name: *const c_char) -> bool {
    // SAFETY: the caller's word.
    !name.is_null() && unsafe { CStr::from_ptr(name) }.to_bytes().contains(&b'/')
}

type Spawn = unsafe extern "C-unwind" fn(
    *mut pid_t,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;

/// Serves `posix_spawn`, which gives an error's number.
///
/// # Safety
/// As for `posix_spawn`.
unsafe fn spawned(
    real: Spawn,
    process: *mut pid_t,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Strings,
    environment: Strings,
) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        let call =
            |path, environment| real(process, path, actions, attributes, arguments, environment);
        if is_own(path)
            && let Some(proof) = Proof::of_parent()
            && let Some(all) = proof.added(environment)
        {
            return call(path, all.as_ptr());
        }
        let number = call(path, environment);
        if number != libc::ENOTDIR {
            return number;
        }
        set_errno(number);
        let outcome = or_packed(
            -1,
            AT_FDCWD,
            path,
            |place| {
                let program = program(place)?;
                let mut link = Text::new();
                // By our number: the new process may close all of its descriptors before. It has room.
                let _ = write!(link, "/proc/{}/fd/{program}", libc::getpid());
                let number = call(link.as_ptr(), environment);
                // What runs a script opens it by the same path, some time later.
                if number != 0 || !is_script(place) {
                    libc::close(program);
                }
                if number == 0 { Ok(0) } else { Err(number) }
            },
            |path| {
                let number = call(path, environment);
                set_errno(number);
                if number == 0 { 0 } else { -1 }
            },
        );
        if outcome == 0 { 0 } else { errno() }
    }
}

interpose! { fn posix_spawn(
    process: *mut pid_t,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Strings,
    environment: Strings,
) -> c_int {
    spawned(real, process, path, actions, attributes, arguments, environment)
} }
interpose! { fn posix_spawnp(
    process: *mut pid_t,
    name: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Strings,
    environment: Strings,
) -> c_int {
    if is_path(name) {
        spawned(posix_spawn::real, process, name, actions, attributes, arguments, environment)
    } else {
        real(process, name, actions, attributes, arguments, environment)
    }
} }

/// Descriptors of packed files that new processes are to open, by the mount's place in memory and the file's number. They
/// stay open, because a list of actions may be used at any time.
static FOR_SPAWN: Mutex<BTreeMap<(usize, u32), c_int>> = Mutex::new(BTreeMap::new());

/// A descriptor of a packed file for new processes.
fn for_spawn(place: &Place) -> Result<c_int, c_int> {
    let Node::File { number, .. } = &place.node else { return Err(libc::EISDIR) };
    let key = (ptr::from_ref(place.mount).addr(), *number);
    let mut opened = FOR_SPAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(descriptor) = opened.get(&key) {
        return Ok(*descriptor);
    }
    let descriptor = descriptors::open(place, libc::O_RDONLY | libc::O_CLOEXEC)?;
    opened.insert(key, descriptor);
    Ok(descriptor)
}

// The new process opens the path in C code that nothing here replaces.
interpose! { fn posix_spawn_file_actions_addopen(
    actions: *mut c_void,
    descriptor: c_int,
    path: *const c_char,
    flags: c_int,
    mode: libc::mode_t,
) -> c_int {
    let mut link = Text::new();
    if resolve::is_spelled_below(path)
        && let Meaning::Packed(place) = resolve::resolve(AT_FDCWD, CStr::from_ptr(path))
        && let Ok(opened) = for_spawn(&place)
        && write!(link, "/proc/self/fd/{opened}").is_ok()
    {
        return real(actions, descriptor, link.as_ptr(), flags, mode);
    }
    real(actions, descriptor, path, flags, mode)
} }
