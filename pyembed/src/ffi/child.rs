//! What a process was started with, beside its command line: a proof in the environment, and more rights than others.

use std::ffi::{CStr, c_int};
use std::mem::size_of;
use std::ptr;
use std::sync::OnceLock;

/// Whether the kernel has given this process more rights than whoever has started it.
pub(crate) fn is_secure() -> bool {
    // SAFETY: reads a vector that the kernel has made.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// What the variable says that a process is started with.
pub(crate) enum Claim {
    /// This process has made the socket whose descriptor stood in it, before its program was replaced, with the rights
    /// that it has or root's. The number is what it said of itself.
    Proven(u32),
    /// The parent says so, which is to be looked at.
    OfParent(u32),
}

/// The variable that says so.
pub(crate) const VARIABLE: &str = "PYOX_STARTED_BY";
const NAME: &CStr = c"PYOX_STARTED_BY";

/// What stood in the variable.
static VALUE: OnceLock<String> = OnceLock::new();

/// Takes the variable out of the environment before `main`, while there is one thread. The number makes it one of those that
/// run in a process with an image as well.
#[used]
#[unsafe(link_section = ".init_array.00100")]
static AT_START: extern "C" fn() = take_variable;

extern "C" fn take_variable() {
    // SAFETY: nobody else uses the environment yet. The value is a C string of the block that the kernel has made; each of
    // its bytes can be written.
    unsafe {
        let value = libc::getenv(NAME.as_ptr());
        if !value.is_null() {
            VALUE.get_or_init(|| CStr::from_ptr(value).to_string_lossy().into_owned());
            ptr::write_bytes(value, b' ', libc::strlen(value));
            libc::unsetenv(NAME.as_ptr());
        }
    }
}

/// What the variable has claimed, and the socket whose descriptor it may have named, which is closed. To be called once.
pub(crate) fn claim() -> Option<Claim> {
    let value = VALUE.get()?;
    let (descriptor, said) = value.split_once(':')?;
    let said = said.parse().ok()?;
    if descriptor.is_empty() {
        return Some(Claim::OfParent(said));
    }
    let descriptor = descriptor.parse().ok()?;
    let maker = maker_of(descriptor)?;
    // SAFETY: a socket that was meant for us; the others take nothing.
    let (own, user) = unsafe {
        libc::close(descriptor);
        (libc::getpid(), libc::geteuid())
    };
    let is_ours = maker.pid == own && (maker.uid == user || maker.uid == 0);
    is_ours.then_some(Claim::Proven(said))
}

/// Who made a pair of sockets, as the kernel has noted it.
fn maker_of(descriptor: c_int) -> Option<libc::ucred> {
    let mut maker = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: room for the answer, and its size.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut maker).cast(),
            &raw mut size,
        )
    };
    (status == 0).then_some(maker)
}
