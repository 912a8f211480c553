//! What a recorded process is kept from, so that its image holds nothing of the machine and is the same each time.

use std::ffi::{c_char, c_int};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

/// Turns the randomisation of addresses off, for which the process starts itself once more, and gives it a network and a
/// host name of its own, where the system allows it.
///
/// # Safety
/// `arguments` must be what `main` was given.
pub(super) unsafe fn enter(arguments: *const *const c_char) {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: asks and sets flags of this process. The path is a C string that the kernel has made.
    unsafe {
        let before: c_int = libc::personality(ASK);
        if before & libc::ADDR_NO_RANDOMIZE == 0 {
            let after = before | libc::ADDR_NO_RANDOMIZE;
            // A container may forbid it; the image then differs in what was left behind by the loader.
            if libc::personality(libc::c_ulong::from(after.cast_unsigned())) != -1
                && libc::personality(ASK) & libc::ADDR_NO_RANDOMIZE != 0
            {
                let path = ptr::with_exposed_provenance(
                    usize::try_from(libc::getauxval(libc::AT_EXECFN)).unwrap_or(0),
                );
                libc::execve(path, arguments, environ);
            }
        }
        let spaces = libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        if libc::unshare(spaces) == 0 || libc::unshare(spaces | libc::CLONE_NEWUSER) == 0 {
            let name = c"localhost";
            libc::sethostname(name.as_ptr(), name.count_bytes());
        }
        settle_stack();
    }
}

/// Makes the stack the same each time: what earlier calls have left on it, and the random word by which C functions guard
/// it. What lies between the fields of a value that is moved comes from there.
///
/// # Safety
/// No function that is running may look at its guard: the process ends in one of them.
#[inline(never)]
unsafe fn settle_stack() {
    /// More than the C library's own start takes.
    const DEPTH: usize = 256 << 10;
    let mut below = MaybeUninit::<[u8; DEPTH]>::uninit();
    // SAFETY: the array is ours. The guard lies where the processor's ABI says, and the caller's word holds.
    unsafe {
        ptr::write_bytes(black_box(&raw mut below), 0, 1);
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("mov qword ptr fs:[0x28], {}", in(reg) 0_u64, options(nostack));
    }
}
