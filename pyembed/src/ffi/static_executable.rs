//! What a static executable has in place of a dynamic loader.
//!
//! `dlsym` finds the functions and variables of CPython's C API in a table that `pyox-link` adds. Look-ups of users,
//! groups, hosts and the like stay with what is linked in, the system's files and DNS: `/etc/nsswitch.conf` may name
//! services that are shared libraries, and the C library crashes when a static executable is to load one.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::files::interpose;

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

/// The databases of the name service switch, but for that of hosts.
const DATABASES: [&CStr; 16] = [
    c"aliases",
    c"ethers",
    c"group",
    c"group_compat",
    c"gshadow",
    c"initgroups",
    c"netgroup",
    c"networks",
    c"passwd",
    c"passwd_compat",
    c"protocols",
    c"publickey",
    c"rpc",
    c"services",
    c"shadow",
    c"shadow_compat",
];

unsafe extern "C" {
    /// Sets the services of a database, whatever the system's configuration says.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Keeps a static executable from loading name services; does nothing in any other.
pub(crate) fn keep_name_services() {
    if (&raw const TABLE).is_null() {
        return;
    }
    // SAFETY: static strings; a database that this C library does not know is an error without consequence.
    unsafe {
        for database in DATABASES {
            __nss_configure_lookup(database.as_ptr(), c"files".as_ptr());
        }
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    }
}

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
