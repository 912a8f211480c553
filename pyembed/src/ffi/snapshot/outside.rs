//! Whether something in an image points out of it: to memory that another process does not have.
//!
//! Words that point to the stack are left over from calls that are done. All else that the C library or the kernel has given
//! must have come from the image's region, or belong to what each process makes again.

use super::{data, is_in_image, memory, place};

/// How many mappings are looked at; a process that has just started has some ten.
const MOST: usize = 64;

/// What begins behind the executable's own addresses.
const BEHIND: usize = 0x6000_0000;

/// Whether a word of the image is the address of memory that is not part of it. `texts` are blocks that hold text, sorted:
/// letters may look like an address, and are none.
pub(super) fn is_pointed_to(texts: &[usize]) -> bool {
    let (elsewhere, count) = elsewhere();
    let elsewhere = &elsewhere[..count];
    // SAFETY: asks. Each process has a number of its own, which stands in CPython's state.
    let thread = usize::try_from(unsafe { libc::pthread_self() }).unwrap_or(0);
    let points_out = |address: usize| {
        // SAFETY: a word of the image's data, or of a block in it.
        let word = unsafe { place::<usize>(address).read() };
        word != thread && elsewhere.iter().any(|(start, end)| (*start..*end).contains(&word))
    };
    let mut data = data().into_iter().flat_map(|range| range.step_by(size_of::<usize>()));
    let blocks = memory::live_blocks().filter(|(block, _)| texts.binary_search(block).is_err());
    let mut blocks = blocks.flat_map(|(block, capacity)| {
        (block..block + capacity - memory::HEAD).step_by(size_of::<usize>())
    });
    data.any(points_out) || blocks.any(points_out)
}

/// Whether the C library is a shared object, which lies elsewhere in each process.
pub(crate) fn has_loader() -> bool {
    // SAFETY: asks the kernel where the loader is.
    unsafe { libc::getauxval(libc::AT_BASE) != 0 }
}

/// The places in the image's data that the dynamic loader has written to: addresses in shared libraries. It writes them in each
/// process, before anything else runs.
pub(super) fn relocated() -> Vec<*mut usize> {
    /// Tags of the dynamic section: the table of relocations, and its length.
    const TABLE: u64 = 7;
    const LENGTH: u64 = 8;
    // SAFETY: the kernel says where the headers are, and they where the rest is. The executable is not moved, so all
    // addresses are as they were linked.
    unsafe {
        let headers =
            place::<libc::Elf64_Phdr>(usize::try_from(libc::getauxval(libc::AT_PHDR)).unwrap_or(0));
        let count = usize::try_from(libc::getauxval(libc::AT_PHNUM)).unwrap_or(0);
        let mut headers = (0..count).map(|number| &*headers.add(number));
        let Some(dynamic) = headers.find(|header| header.p_type == libc::PT_DYNAMIC) else {
            return Vec::new();
        };
        let address = |of: u64| usize::try_from(of).unwrap_or(0);
        let entries = std::slice::from_raw_parts(
            place::<[u64; 2]>(address(dynamic.p_vaddr)),
            address(dynamic.p_memsz) / size_of::<[u64; 2]>(),
        );
        let value =
            |tag| entries.iter().find(|entry| entry[0] == tag).map_or(0, |entry| address(entry[1]));
        let relocations = (0..value(LENGTH) / size_of::<[u64; 3]>())
            .map(|number| address(place::<[u64; 3]>(value(TABLE)).add(number).read()[0]));
        let data = data();
        let is_there = |target: &usize| data.iter().any(|range| range.contains(target));
        relocations.filter(is_there).map(place).collect()
    }
}

/// What is mapped in this process and neither part of the executable or the image, nor stack, nor data of a locale, which the C
/// library keeps to itself: start and end of each, on this thread's stack, because all other memory is looked at.
fn elsewhere() -> ([(usize, usize); MOST], usize) {
    let (mut ranges, mut count) = ([(0, 0); MOST], 0);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines() {
        let Some((range, rest)) = line.split_once(' ') else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        let (start, end) = (number(start), number(end));
        let is_file = rest.contains('/') && !rest.contains(".so");
        // What the C library has allocated before `main`; see `memory::leave_heap`.
        let is_known =
            is_file || ["[heap]", "[stack]", "[v"].iter().any(|name| rest.contains(name));
        if !is_known && !is_in_image(start) && start > BEHIND && count < MOST {
            ranges[count] = (start, end);
            count += 1;
        }
    }
    (ranges, count)
}
