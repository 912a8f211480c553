//! Memory for Python's small objects, on large pages.
//!
//! CPython asks for its object memory in arenas of 1 MiB, and each page of them costs a page fault when it is
//! first written: half of all faults of an import of the standard library. The first arena gets its pages at
//! once, because a start fills it, unless that was done beforehand. Arenas behind the first few come from regions
//! that the kernel may back with large pages, where it has been told to ask first
//! (`madvise`, the usual setting): one fault instead of 512. A small program never gets that far.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use pyo3_ffi as c;
use pyox_blob::layout::PAGE;

use super::snapshot;

/// How large a large page is on the platforms that have them.
const LARGE_PAGE: usize = 2 << 20;
/// How much memory comes from regions of its own at a time.
const REGION: usize = 8 << 20;
/// Arenas that are left as they are, so that a small program stays small.
const SMALL: usize = 4;

/// Where the next arenas come from.
struct Regions {
    arenas: usize,
    /// The unused rest of the last region.
    next: usize,
    left: usize,
}

static REGIONS: Mutex<Regions> = Mutex::new(Regions { arenas: 0, next: 0, left: 0 });

/// Sets the allocator. It must be set before CPython allocates an object.
pub(crate) fn use_large_pages() {
    let mut allocator = c::PyObjectArenaAllocator {
        ctx: ptr::null_mut(),
        alloc: Some(allocate),
        free: Some(release),
    };
    // SAFETY: the structure is complete; CPython copies it.
    unsafe { c::PyObject_SetArenaAllocator(&raw mut allocator) };
}

extern "C" fn allocate(_: *mut c_void, size: usize) -> *mut c_void {
    if snapshot::is_recording() {
        return snapshot::allocate(size, PAGE);
    }
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    regions.arenas += 1;
    if regions.arenas <= SMALL || size > REGION {
        let is_filled = regions.arenas == 1 && !snapshot::is_resumed();
        let flags = if is_filled { libc::MAP_POPULATE } else { 0 };
        return map(size, flags).map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut);
    }
    if regions.left < size {
        // One large page more than needed, so that the region can begin at a multiple of one.
        let Some(start) = map(REGION + LARGE_PAGE, 0) else { return ptr::null_mut() };
        let aligned = start.next_multiple_of(LARGE_PAGE);
        let behind = start + LARGE_PAGE - aligned;
        // SAFETY: both pieces lie in the mapping that was just made, and nobody uses them.
        unsafe {
            unmap(start, aligned - start);
            unmap(aligned + REGION, behind);
            libc::madvise(ptr::with_exposed_provenance_mut(aligned), REGION, libc::MADV_HUGEPAGE);
        }
        (regions.next, regions.left) = (aligned, REGION);
    }
    let arena = regions.next;
    regions.next += size;
    regions.left -= size;
    ptr::with_exposed_provenance_mut(arena)
}

extern "C" fn release(_: *mut c_void, arena: *mut c_void, size: usize) {
    if snapshot::holds(arena.addr()) {
        // It stays a part of the image.
        return;
    }
    // SAFETY: CPython gives back what `allocate` gave it, whole; a part of a region is a mapping as well.
    unsafe { unmap(arena.expose_provenance(), size) };
}

fn map(size: usize, flags: c_int) -> Option<usize> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping touches nothing that is there.
    let start = unsafe {
        libc::mmap(ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    (start != libc::MAP_FAILED).then(|| start.expose_provenance())
}

/// # Safety
/// Nothing may use the memory any more.
unsafe fn unmap(start: usize, size: usize) {
    if size > 0 {
        // SAFETY: the caller's.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(start), size) };
    }
}
