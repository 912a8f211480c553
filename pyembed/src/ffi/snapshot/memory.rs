//! Memory of a process that is recorded: all of it in one region, right behind the image's data.
//!
//! While a start is recorded, `malloc` and CPython's allocators take memory here, so that the image holds all of it. The
//! blocks lie one behind the other, each with its capacity before it: so all live ones can be enumerated, and what is freed
//! is zeroed. Afterwards the region only shrinks: a process that begins with the image takes its memory from the C
//! library and from CPython's own allocator, and blocks of the region that it frees are left alone.
//!
//! A process that begins with the image has the kernel copy each page that it writes to. So blocks that each process writes to
//! have a part of the region of their own. Which ones they are is known when all has been recorded: a first recording tells
//! their numbers, in the order in which they were taken, and a second one sets them apart.
//!
//! `pyox-link` puts these functions in the place of the C library's in a static executable. Without an image they cost a
//! comparison.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3_ffi as c;

use super::PAGE;
use crate::files::interpose;

/// Whether memory comes from the region.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Where the first block's capacity stands; 0 where there is no region.
static START: AtomicUsize = AtomicUsize::new(0);
/// Behind the last block.
static TOP: AtomicUsize = AtomicUsize::new(0);
/// The end of what is mapped.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// How many blocks were taken since [`set_apart`].
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Their own part of the region, and where in it the next one goes.
static APART: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
/// The bits of the numbers that are set apart: address and length of an array of bytes.
static NUMBERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Set while a thread works on the blocks.
static LOCK: AtomicBool = AtomicBool::new(false);
/// The first free block of each class; each holds the address of the next.
static FREE: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];

/// The length of the head before a block: its capacity, whose lowest bit says that it is in use, and from this bit on its number.
pub(super) const HEAD: usize = 8;
const NUMBER: u32 = 32;
/// What addresses of blocks are multiples of.
const ALIGNMENT: usize = 16;
/// Up to this length, with the head, there is a class for each multiple of the alignment; beyond, four for each power of two.
const SMALL: usize = 1 << SMALL_BITS;
const SMALL_BITS: u32 = 10;
const CLASSES: usize = 160;
const LIVE: usize = 1;

/// Has the C library take its own memory, in a process that is to be recorded, at high addresses. Otherwise it would lie right
/// behind the blob, where each address is also four letters of text.
///
/// # Safety
/// No other thread must run.
pub(super) unsafe fn leave_heap() {
    // SAFETY: a page that nobody has keeps the heap from growing, and what is left of it is taken.
    unsafe {
        let end = libc::sbrk(0).addr().next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        libc::mmap(place(end), PAGE, libc::PROT_NONE, flags, -1, 0);
        for bits in (4..20).rev() {
            loop {
                let block = malloc::real(1 << bits);
                if block.is_null() || block.addr() > end {
                    free::real(block);
                    break;
                }
            }
        }
    }
}

/// Lets memory come from a region that begins at an address, a multiple of the page size, until [`close`]. The region has
/// been mapped, and is zero.
pub(super) fn open(start: usize, limit: usize) {
    // Blocks begin at multiples of 16, and their heads before.
    let first = start + ALIGNMENT - HEAD;
    START.store(first, Ordering::Relaxed);
    TOP.store(first, Ordering::Relaxed);
    LIMIT.store(limit, Ordering::Relaxed);
    IS_OPEN.store(true, Ordering::Release);
}

/// Ends that, and forgets what is free. Gives the end of the last block.
pub(super) fn close() -> usize {
    let numbers = NUMBERS[0].swap(0, Ordering::Relaxed);
    NUMBERS[1].store(0, Ordering::Relaxed);
    if numbers != 0 {
        // SAFETY: `set_apart` has taken the block, and nobody looks there any more.
        unsafe { release(place(numbers)) };
    }
    IS_OPEN.store(false, Ordering::Release);
    let (mut at, top) = (START.load(Ordering::Relaxed), TOP.load(Ordering::Relaxed));
    while at < top {
        let (is_live, capacity) = head(at);
        // SAFETY: a block of the region; a free one holds nothing, and the numbers have served.
        unsafe {
            place::<usize>(at).write(capacity | if is_live { LIVE } else { 0 });
            if !is_live {
                place::<u8>(at + HEAD).write_bytes(0, capacity);
            }
        }
        at += HEAD + capacity;
    }
    for first in &FREE {
        first.store(0, Ordering::Relaxed);
    }
    LIMIT.store(top, Ordering::Relaxed);
    top
}

pub(crate) fn is_recording() -> bool {
    IS_OPEN.load(Ordering::Relaxed)
}

/// Whether an address lies in the region.
pub(crate) fn holds(address: usize) -> bool {
    let start = START.load(Ordering::Relaxed);
    start != 0 && (start..TOP.load(Ordering::Relaxed)).contains(&address)
}

/// The blocks that are in use: address and capacity.
pub(super) fn live_blocks() -> impl Iterator<Item = (usize, usize)> {
    let (mut at, top) = (START.load(Ordering::Relaxed), TOP.load(Ordering::Relaxed));
    std::iter::from_fn(move || {
        while at < top {
            let (is_live, capacity) = head(at);
            let block = at + HEAD;
            at = block + capacity;
            if is_live {
                return Some((block, capacity));
            }
        }
        None
    })
}

/// Whether the block whose head stands there is in use, and its capacity.
fn head(at: usize) -> (bool, usize) {
    // SAFETY: heads lie between the start and the top, which are mapped.
    let head = unsafe { place::<usize>(at).read() };
    (head & LIVE != 0, head & ((1 << NUMBER) - 1) & !LIVE)
}

/// Sets blocks apart whose number's bit is set, `len` bytes in all with their heads. Numbers count from here.
pub(super) fn set_apart(numbers: &[u8], len: usize) {
    let bits = allocate(numbers.len(), ALIGNMENT).cast::<u8>();
    let part = allocate(len, ALIGNMENT);
    if !bits.is_null() && !part.is_null() {
        let start = part.addr() - HEAD;
        let end = start + HEAD + capacity(part);
        // SAFETY: room for so many bytes.
        unsafe { bits.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
        for (place, value) in APART.iter().zip([start, start, end]) {
            place.store(value, Ordering::Relaxed);
        }
        // SAFETY: the part begins as a free block of the whole length.
        unsafe { place::<usize>(start).write(end - start - HEAD) };
        NUMBERS[0].store(bits.expose_provenance(), Ordering::Relaxed);
        NUMBERS[1].store(numbers.len(), Ordering::Relaxed);
    }
    COUNT.store(0, Ordering::Relaxed);
}

/// The part of the region for blocks that are set apart.
pub(super) fn apart() -> Range<usize> {
    APART[0].load(Ordering::Relaxed)..APART[2].load(Ordering::Relaxed)
}

/// The numbers of the live blocks in which these addresses lie, as [`set_apart`] takes them. The addresses must be sorted.
pub(super) fn numbers_of(addresses: &[usize]) -> (Vec<u8>, usize) {
    let (mut bits, mut len, mut left) = (Vec::new(), 0, addresses);
    for (block, capacity) in live_blocks() {
        let skipped = left.partition_point(|address| *address < block);
        left = &left[skipped..];
        if left.first().is_some_and(|address| *address < block + capacity) {
            // SAFETY: the head of a block.
            let number = unsafe { place::<usize>(block - HEAD).read() } >> NUMBER;
            let at = number / 8;
            if bits.len() <= at {
                bits.resize(at + 1, 0);
            }
            bits[at] |= 1 << (number % 8);
            len += HEAD + capacity;
        }
    }
    (bits, len)
}

/// A block of the part for those that are set apart, if the next one is one of them and there is room.
///
/// # Safety
/// The blocks must be locked.
unsafe fn allocate_apart(number: usize, capacity: usize) -> Option<*mut c_void> {
    let [bits, len] = [&NUMBERS[0], &NUMBERS[1]].map(|part| part.load(Ordering::Relaxed));
    let (top, end) = (APART[1].load(Ordering::Relaxed), APART[2].load(Ordering::Relaxed));
    // SAFETY: the bytes that `set_apart` has copied; what lies between top and end belongs to nobody.
    unsafe {
        let is_one =
            number / 8 < len && place::<u8>(bits + number / 8).read() >> (number % 8) & 1 != 0;
        let next = top + HEAD + capacity;
        if !is_one || next > end {
            return None;
        }
        if next < end {
            place::<usize>(next).write(end - next - HEAD);
        }
        APART[1].store(next, Ordering::Relaxed);
        place::<usize>(top).write(capacity | LIVE | number << NUMBER);
    }
    Some(place(top + HEAD))
}

fn place<T>(address: usize) -> *mut T {
    ptr::with_exposed_provenance_mut(address)
}

/// The capacity for a length, and its class. Capacity and head together are a multiple of the alignment.
fn class(len: usize) -> Option<(usize, usize)> {
    let whole = len.max(1).checked_add(HEAD)?.checked_next_multiple_of(ALIGNMENT)?;
    if whole <= SMALL {
        return Some((whole - HEAD, whole / ALIGNMENT));
    }
    let bits = (whole - 1).ilog2();
    let step = 1 << (bits - 2);
    let whole = whole.checked_next_multiple_of(step)?;
    let class = SMALL / ALIGNMENT
        + 1
        + usize::try_from(bits - SMALL_BITS).ok()? * 4
        + ((whole - 1) / step).saturating_sub(4);
    (class < CLASSES).then_some((whole - HEAD, class))
}

struct Locked;

impl Locked {
    fn new() -> Self {
        while LOCK.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        Self
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        LOCK.store(false, Ordering::Release);
    }
}

/// A zeroed block of the region; null where it is full.
pub(crate) fn allocate(len: usize, alignment: usize) -> *mut c_void {
    let Some((capacity, class)) = class(len) else { return ptr::null_mut() };
    let _locked = Locked::new();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: free blocks and what lies between the top and the limit belong to nobody.
    unsafe {
        if alignment <= ALIGNMENT
            && let Some(block) = allocate_apart(number, capacity)
        {
            return block;
        }
        let number = number << NUMBER;
        let first = FREE[class].load(Ordering::Relaxed);
        if alignment <= ALIGNMENT && first != 0 {
            FREE[class].store(place::<usize>(first).read(), Ordering::Relaxed);
            place::<usize>(first).write(0);
            place::<usize>(first - HEAD).write(capacity | LIVE | number);
            return place(first);
        }
        let top = TOP.load(Ordering::Relaxed);
        let block = (top + HEAD).next_multiple_of(alignment.max(ALIGNMENT));
        let end = block + capacity;
        if end > LIMIT.load(Ordering::Relaxed) {
            return ptr::null_mut();
        }
        let gap = block - HEAD - top;
        if gap > 0 {
            // A block that nobody uses.
            place::<usize>(top).write(gap - HEAD);
        }
        place::<usize>(block - HEAD).write(capacity | LIVE | number);
        TOP.store(end, Ordering::Relaxed);
        place(block)
    }
}

/// Takes a block back, while the region is open, and zeroes it.
///
/// # Safety
/// The block must be one of the region that is in use.
pub(crate) unsafe fn release(block: *mut c_void) {
    let address = block.expose_provenance();
    if !is_recording() {
        return;
    }
    let (_, capacity) = head(address - HEAD);
    let _locked = Locked::new();
    // SAFETY: the block is the caller's.
    unsafe {
        place::<u8>(address).write_bytes(0, capacity);
        place::<usize>(address - HEAD).write(capacity);
        if let Some((_, class)) = class(capacity) {
            place::<usize>(address).write(FREE[class].load(Ordering::Relaxed));
            FREE[class].store(address, Ordering::Relaxed);
        }
    }
}

/// A block's capacity.
fn capacity(block: *mut c_void) -> usize {
    head(block.expose_provenance() - HEAD).1
}

/// The region's block with another length, or what `new` gives, with its bytes.
///
/// # Safety
/// As for [`release`]; `new` gives null or a block of that length.
unsafe fn resize(
    block: *mut c_void,
    len: usize,
    new: impl FnOnce(usize) -> *mut c_void,
) -> *mut c_void {
    let capacity = capacity(block);
    if len <= capacity && (capacity <= SMALL || len * 2 >= capacity) {
        return block;
    }
    let other = new(len);
    if !other.is_null() {
        // SAFETY: both have so many bytes.
        unsafe {
            block.cast::<u8>().copy_to_nonoverlapping(other.cast(), capacity.min(len));
            release(block);
        }
    }
    other
}

interpose! { fn malloc(len: usize) -> *mut c_void {
    if is_recording() { allocate(len, ALIGNMENT) } else { real(len) }
} }

interpose! { fn calloc(count: usize, len: usize) -> *mut c_void {
    if !is_recording() {
        return real(count, len);
    }
    count.checked_mul(len).map_or(ptr::null_mut(), |len| allocate(len, ALIGNMENT))
} }

interpose! { fn realloc(block: *mut c_void, len: usize) -> *mut c_void {
    if block.is_null() && is_recording() {
        return allocate(len, ALIGNMENT);
    }
    if !holds(block.addr()) {
        return real(block, len);
    }
    resize(block, len, |len| if is_recording() { allocate(len, ALIGNMENT) } else { malloc::real(len) })
} }

interpose! { fn free(block: *mut c_void) -> () {
    if holds(block.addr()) { release(block) } else { real(block) }
} }

interpose! { fn posix_memalign(to: *mut *mut c_void, alignment: usize, len: usize) -> c_int {
    if !is_recording() {
        return real(to, alignment, len);
    }
    *to = allocate(len, alignment);
    if (*to).is_null() { libc::ENOMEM } else { 0 }
} }

interpose! { fn aligned_alloc | memalign(alignment: usize, len: usize) -> *mut c_void {
    if is_recording() { allocate(len, alignment) } else { real(alignment, len) }
} }

interpose! { fn malloc_usable_size(block: *mut c_void) -> isize {
    if holds(block.addr()) { capacity(block).cast_signed() } else { real(block) }
} }

/// The allocators that CPython has of its own.
struct Own([MaybeUninit<c::PyMemAllocatorEx>; 2]);

const DOMAINS: [c::PyMemAllocatorDomain; 2] =
    [c::PyMemAllocatorDomain::PYMEM_DOMAIN_MEM, c::PyMemAllocatorDomain::PYMEM_DOMAIN_OBJ];

static mut OWN: Own = Own([MaybeUninit::uninit(); 2]);

/// Has CPython take memory from `malloc`, until [`give_back`]. It must be called before the interpreter starts.
pub(crate) fn take_python() {
    for (number, domain) in DOMAINS.into_iter().enumerate() {
        let mut ours = c::PyMemAllocatorEx {
            ctx: ptr::null_mut(),
            malloc: Some(python_malloc),
            calloc: Some(python_calloc),
            realloc: Some(python_realloc),
            free: Some(python_free),
        };
        // SAFETY: there is one thread; CPython copies the structure.
        unsafe {
            let own = &raw mut OWN.0[number];
            c::PyMem_GetAllocator(domain, own.cast());
            c::PyMem_SetAllocator(domain, &raw mut ours);
        }
    }
}

/// Lets CPython take its memory as ever. Its own allocator passes on what it is given back and does not know.
pub(super) fn give_back() {
    for (number, domain) in DOMAINS.into_iter().enumerate() {
        // SAFETY: `take_python` has kept it there.
        unsafe {
            let own = &raw mut OWN.0[number];
            c::PyMem_SetAllocator(domain, own.cast());
        }
    }
}

extern "C" fn python_malloc(_: *mut c_void, len: usize) -> *mut c_void {
    allocate(len, ALIGNMENT)
}

extern "C" fn python_calloc(_: *mut c_void, count: usize, len: usize) -> *mut c_void {
    count.checked_mul(len).map_or(ptr::null_mut(), |len| allocate(len, ALIGNMENT))
}

extern "C" fn python_realloc(_: *mut c_void, block: *mut c_void, len: usize) -> *mut c_void {
    if block.is_null() {
        return allocate(len, ALIGNMENT);
    }
    // SAFETY: CPython passes what it has got here.
    unsafe { resize(block, len, |len| allocate(len, ALIGNMENT)) }
}

extern "C" fn python_free(_: *mut c_void, block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: as above.
        unsafe { release(block) };
    }
}
