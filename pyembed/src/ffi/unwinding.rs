//! `_dl_find_object`, by which the unwinder of a compiler from 2022 on finds an address's tables.
//!
//! glibc has it since 2.35. A portable runner holds such an unwinder and starts with older ones, so `pyox-link` points the
//! name here. Elsewhere nobody calls it.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::section::Phdr;
use crate::files::interpose;

/// What the function tells, as glibc's `<dlfcn.h>` has it for 64-bit machines.
#[repr(C)]
pub(crate) struct Found {
    flags: u64,
    start: *mut c_void,
    end: *mut c_void,
    link_map: *mut c_void,
    /// The index of the tables.
    eh_frame: *mut c_void,
    reserved: [u64; 7],
}

interpose! { fn _dl_find_object(address: *mut c_void, to: *mut Found) -> c_int, else search(address, to); {
    real(address, to)
} }

/// Asks the loader for all objects. `0` if one has the address and tables.
fn search(address: *mut c_void, to: *mut Found) -> c_int {
    let mut search = Search { address: address.addr(), found: None };
    // SAFETY: the callback gets the pointer to `search`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    let Some(found) = search.found else { return -1 };
    // SAFETY: the caller gives room for the record.
    unsafe { to.write(found) };
    0
}

struct Search {
    address: usize,
    found: Option<Found>,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    search: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes its own record, with `dlpi_phnum` headers, and our pointer.
    let (search, headers, base) = unsafe {
        let headers = std::slice::from_raw_parts((*info).dlpi_phdr, (*info).dlpi_phnum.into());
        (&mut *search.cast::<Search>(), headers, (*info).dlpi_addr)
    };
    // Addresses of this process.
    #[allow(clippy::cast_possible_truncation)]
    let range = |header: &Phdr| {
        let start = (base + header.p_vaddr) as usize;
        start..start + header.p_memsz as usize
    };
    let loaded = || headers.iter().filter(|h| h.p_type == libc::PT_LOAD).map(range);
    if !loaded().any(|range| range.contains(&search.address)) {
        return 0;
    }
    let index = headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME).map(range);
    search.found = index.map(|index| Found {
        flags: 0,
        start: ptr::with_exposed_provenance_mut(loaded().map(|r| r.start).min().unwrap_or(0)),
        end: ptr::with_exposed_provenance_mut(loaded().map(|r| r.end).max().unwrap_or(0)),
        link_map: ptr::null_mut(),
        eh_frame: ptr::with_exposed_provenance_mut(index.start),
        reserved: [0; 7],
    });
    1
}
