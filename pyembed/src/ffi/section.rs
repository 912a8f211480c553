//! What the process knows of its own executable: its path, and the section that holds the blob.
//!
//! A runner is linked with a page of zeroes in a section and loadable segment of its own. Joining a blob
//! replaces that page and lets section and segment grow, so the segment's length, which the kernel put
//! into memory with the program headers, says where the bytes end. No file is opened to find them.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::OnceLock;

use pyox_blob::layout::PAGE;

// What the blob replaces; `pyox-link` finds it by its section. It is written for the assembler because the
// compiler would take the zeroes of a Rust constant at their word.
std::arch::global_asm!(
    r#".section .pyox_blob, "a", @progbits"#,
    ".balign {page}",
    ".globl pyox_blob",
    ".hidden pyox_blob",
    "pyox_blob:",
    ".zero {page}",
    ".previous",
    page = const PAGE,
);

unsafe extern "C" {
    safe static pyox_blob: [u8; 0];
}

/// The section, once it was asked for.
static EMBEDDED: OnceLock<Embedded> = OnceLock::new();

struct Embedded {
    bytes: &'static [u8],
    /// Where they lie in the executable.
    offset: u64,
}

/// The bytes of the section; none where they cannot be read.
pub(crate) fn embedded() -> Option<&'static [u8]> {
    let found = find()?;
    Some(EMBEDDED.get_or_init(|| found).bytes)
}

/// Where bytes of the section lie in the executable; none for bytes from elsewhere.
pub(super) fn offset_of(bytes: &'static [u8]) -> Option<u64> {
    let section = EMBEDDED.get()?;
    let (range, bytes) = (section.bytes.as_ptr_range(), bytes.as_ptr_range());
    let is_inside = range.start <= bytes.start && bytes.end <= range.end;
    is_inside.then(|| section.offset + (bytes.start.addr() - range.start.addr()) as u64)
}

fn find() -> Option<Embedded> {
    let start = (&raw const pyox_blob).addr();
    let mut search = Search { start, len: 0, offset: 0 };
    // SAFETY: the callback gets the pointer to `search`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    let last = start.checked_add(search.len.checked_sub(1)?)?;
    // SAFETY: the kernel has mapped the segment, read-only, for as long as the process lives. The last
    // byte can be read, so the file is not shorter than the segment.
    is_readable(last).then(|| unsafe {
        let bytes = std::slice::from_raw_parts(ptr::with_exposed_provenance(start), search.len);
        Embedded { bytes, offset: search.offset }
    })
}

/// The absolute path of this executable, as it was started; links are not resolved.
///
/// The kernel hands it over at the start, so that this works without `/proc` and whatever `argv[0]` says.
pub(crate) fn executable() -> PathBuf {
    // SAFETY: the vector is there for every process; the string lies on the stack that the kernel made.
    let path = unsafe {
        let name = ptr::with_exposed_provenance::<libc::c_char>(
            usize::try_from(libc::getauxval(libc::AT_EXECFN)).unwrap_or(0),
        );
        if name.is_null() { c"" } else { CStr::from_ptr(name) }
    };
    let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    std::path::absolute(&path).unwrap_or(path)
}

struct Search {
    start: usize,
    len: usize,
    offset: u64,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    search: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes its own record, with `dlpi_phnum` headers, and our pointer.
    let (search, headers, base) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (&mut *search.cast::<Search>(), headers, info.dlpi_addr)
    };
    // Both are addresses of this process.
    #[allow(clippy::cast_possible_truncation)]
    let segment = headers
        .iter()
        .find(|h| h.p_type == libc::PT_LOAD && (base + h.p_vaddr) as usize == search.start);
    match segment {
        Some(segment) => {
            search.len = usize::try_from(segment.p_filesz).unwrap_or(0);
            search.offset = segment.p_offset;
            1
        }
        None => 0,
    }
}

/// Lets go of the pages that bytes of the section lie in; they come back from the executable when they are
/// read again. Bytes from elsewhere are left alone.
pub(crate) fn let_go(bytes: &'static [u8]) {
    let range = bytes.as_ptr_range();
    let start = range.start.addr().next_multiple_of(PAGE);
    let end = range.end.addr() / PAGE * PAGE;
    if offset_of(bytes).is_some() && start < end {
        // SAFETY: whole pages of the section, a private mapping of a file that is not written to while it
        // runs: the same bytes come back.
        unsafe {
            libc::madvise(
                ptr::with_exposed_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// Whether a byte can be read. Pages behind the end of a file that was cut short are mapped, but reading
/// them is a SIGBUS; the kernel itself reports them.
fn is_readable(address: usize) -> bool {
    const NO_SUCH_OPERATION: libc::c_int = -1;
    const SIGNAL_SET_SIZE: usize = 8;
    let set = address & !(SIGNAL_SET_SIZE - 1);
    // SAFETY: the kernel copies the set before it looks at the operation, which does not exist, so that
    // nothing but the error tells whether the copy was possible.
    let status = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            NO_SUCH_OPERATION,
            set,
            ptr::null::<u8>(),
            SIGNAL_SET_SIZE,
        )
    };
    status == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}
