//! `dlsym` in a static executable: the functions and variables of CPython's C API, by name.
//!
//! There is no loader that could know them, and no other library that could be meant. `pyox-link` adds the table.

use std::ffi::{CStr, c_char, c_void};

use super::interpose::interpose;

// Only a static executable has the table.
std::arch::global_asm!(".weak pyembed_python_api");

unsafe extern "C" {
    #[link_name = "pyembed_python_api"]
    static TABLE: Table;
}

/// How many entries there are; they follow, sorted by name.
#[repr(C)]
struct Table {
    len: usize,
    first: Entry,
}

#[repr(C)]
struct Entry {
    name: *const c_char,
    address: *mut c_void,
}

interpose! { fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void {
    let found = find(CStr::from_ptr(name));
    if found.is_null() { real(library, name) } else { found }
} }

/// The address of a name in the table; null where there is none.
fn find(name: &CStr) -> *mut c_void {
    let table = &raw const TABLE;
    if table.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the table has as many entries as it says, with C strings and addresses.
    let entries = unsafe { std::slice::from_raw_parts(&raw const (*table).first, (*table).len) };
    // SAFETY: as above.
    let place = entries.binary_search_by(|entry| unsafe { CStr::from_ptr(entry.name) }.cmp(name));
    place.map_or(std::ptr::null_mut(), |place| entries[place].address)
}
