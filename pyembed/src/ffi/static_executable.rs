//! What a static executable has in place of a dynamic loader.
//!
//! `dlsym` finds the functions and variables of CPython's C API in a table that `pyox-link` adds. Look-ups of users,
//! groups, hosts and the like stay with what is linked in, the system's files and DNS: `/etc/nsswitch.conf` may name
//! services that are shared libraries, and the C library crashes when a static executable is to load one.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use crate::files::interpose;

// Only a static executable has the table. Its address stands in a variable, because Rust takes it for granted that
// there is something at the address of a static.
std::arch::global_asm!(
    ".weak pyembed_python_api",
    ".pushsection .data.rel.ro.pyembed_python_api_at, \"aw\", @progbits",
    ".balign 8",
    ".globl pyembed_python_api_at",
    ".hidden pyembed_python_api_at",
    "pyembed_python_api_at:",
    ".quad pyembed_python_api",
    ".popsection",
);

unsafe extern "C" {
    #[link_name = "pyembed_python_api_at"]
    static TABLE: *const Table;
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

/// Keeps the executable from loading name services; to be called before anything is looked up.
fn keep_name_services() {
    static KEPT: Once = Once::new();
    // SAFETY: static strings; a database that this C library does not know is an error without consequence.
    KEPT.call_once(|| unsafe {
        for database in DATABASES {
            __nss_configure_lookup(database.as_ptr(), c"files".as_ptr());
        }
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    });
}

/// Functions that look something up: they only have to wait until the services are settled. That is not done at the
/// start, because the C library reads its configuration for it. All arguments fit a register.
macro_rules! look_ups {
    ($($name:ident($($argument:ident),*);)*) => {
        $(interpose! {
            fn $name($($argument: usize),*) -> isize {
                keep_name_services();
                crate::ffi::note("looks up a user, a group or a host");
                real($($argument),*)
            }
        })*
    };
}

look_ups! {
    getpwnam(a);
    getpwnam_r(a, b, c, d, e);
    getpwuid(a);
    getpwuid_r(a, b, c, d, e);
    setpwent();
    getpwent();
    getgrnam(a);
    getgrnam_r(a, b, c, d, e);
    getgrgid(a);
    getgrgid_r(a, b, c, d, e);
    setgrent();
    getgrent();
    getgrouplist(a, b, c, d);
    getlogin();
    getlogin_r(a, b);
    initgroups(a, b);
    getspnam(a);
    setspent();
    getspent();
    getaddrinfo(a, b, c, d);
    getnameinfo(a, b, c, d, e, f, g);
    gethostbyname(a);
    gethostbyname_r(a, b, c, d, e, f);
    gethostbyaddr_r(a, b, c, d, e, f, g, h);
    getservbyname(a, b);
    getservbyport(a, b);
    getprotobyname(a);
}

/// The address of a name in the table; null where there is none.
fn find(name: &CStr) -> *mut c_void {
    // SAFETY: the variable is there in any case.
    let table = unsafe { TABLE };
    if table.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the table has as many entries as it says, with C strings and addresses.
    let entries = unsafe { std::slice::from_raw_parts(&raw const (*table).first, (*table).len) };
    // SAFETY: as above.
    let place = entries.binary_search_by(|entry| unsafe { CStr::from_ptr(entry.name) }.cmp(name));
    place.map_or(std::ptr::null_mut(), |place| entries[place].address)
}
