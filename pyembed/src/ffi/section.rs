//! What the process knows of its own executable: its path, and the section that holds the blob.
//!
//! A program that links pyembed defines the symbol `pyox_blob` where the blob begins. In the runner that is a page of
//! zeroes, which `pyox-link` replaces and lets grow; in other programs it is the object file of `pyox-link --emit
//! artifacts`. The segment's length in the program headers says how far the blob can go, so no file is opened to find
//! that. In a program without the symbol there is no blob.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use memmap2::MmapOptions;
use pyox_blob::layout::PAGE;

// The address of the blob, or null. The compiler has no weak symbols.
std::arch::global_asm!(
    r#".section .data.rel.ro.pyembed_blob, "aw", @progbits"#,
    ".balign 8",
    ".weak pyox_blob",
    ".hidden pyox_blob",
    ".globl pyembed_blob",
    ".hidden pyembed_blob",
    "pyembed_blob:",
    ".quad pyox_blob",
    ".previous",
);

unsafe extern "C" {
    safe static pyembed_blob: usize;
}

/// Bytes that are mapped from a file.
struct Region {
    bytes: &'static [u8],
    /// Where they lie in the file.
    offset: AtomicU64,
    file: Backing,
    next: Option<&'static Region>,
}

/// The file of a region.
enum Backing {
    Executable,
    /// A shared library that has the blob in it.
    Library,
    File(File),
}

/// The last region that was noted; each knows the one before. They stay as long as the process, and are found without a
/// lock, which a forked child could find taken.
static LAST: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// The bytes of the section; `None` if they cannot be read.
pub(crate) fn embedded() -> Option<&'static [u8]> {
    let start = pyembed_blob;
    let found = Segment::of(start)?;
    // The last byte can be read, so the file is not shorter than the segment.
    is_readable(start.checked_add(found.len.checked_sub(1)?)?).then_some(())?;
    // SAFETY: the kernel or the loader has mapped the segment, read-only, for as long as the process lives: a library
    // with an interpreter in it is never unloaded.
    let bytes =
        unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(start), found.len) };
    let file = if found.library.is_none() { Backing::Executable } else { Backing::Library };
    note(bytes, found.offset, file);
    Some(bytes)
}

/// The bytes of a file, mapped for as long as the process lives.
pub(crate) fn map(path: &Path) -> io::Result<&'static [u8]> {
    let file = File::open(path)?;
    // SAFETY: whoever names the file keeps it as it is, which `PythonConfig::from_file` asks for.
    let bytes: &'static [u8] =
        Box::leak(Box::new(unsafe { MmapOptions::new().map_copy_read_only(&file)? }));
    note(bytes, 0, Backing::File(file));
    Ok(bytes)
}

fn note(bytes: &'static [u8], offset: u64, file: Backing) {
    let mut known = regions();
    if let Some(region) = known.find(|r| r.bytes.as_ptr_range() == bytes.as_ptr_range()) {
        // Programs such as `strip` move it in a file that has been noted in another process.
        region.offset.store(offset, Ordering::Relaxed);
        return;
    }
    let offset = AtomicU64::new(offset);
    let region = Box::leak(Box::new(Region { bytes, offset, file, next: regions().next() }));
    LAST.store(region, Ordering::Release);
}

fn regions() -> impl Iterator<Item = &'static Region> {
    // SAFETY: the pointer is null, or one to a region that was leaked once it was complete.
    let last = unsafe { LAST.load(Ordering::Acquire).as_ref() };
    std::iter::successors(last, |region| region.next)
}

fn region_of(bytes: &'static [u8]) -> Option<&'static Region> {
    let range = bytes.as_ptr_range();
    regions().find(|region| {
        let whole = region.bytes.as_ptr_range();
        whole.start <= range.start && range.end <= whole.end
    })
}

/// The file that bytes are mapped from, and where they lie in it; none for bytes from elsewhere.
pub(super) fn file_of(bytes: &'static [u8]) -> Option<(File, u64)> {
    let offset = offset_of(bytes)?;
    let file = match &region_of(bytes)?.file {
        Backing::Executable => File::open("/proc/self/exe").ok()?,
        Backing::Library => return None,
        Backing::File(file) => file.try_clone().ok()?,
    };
    Some((file, offset))
}

/// Where bytes lie in the file that they are mapped from; none for bytes from elsewhere, and where that file cannot be opened again.
pub(super) fn offset_of(bytes: &'static [u8]) -> Option<u64> {
    // The path of a library may lead to a newer one by now.
    let region = region_of(bytes).filter(|region| !matches!(region.file, Backing::Library))?;
    let inside = bytes.as_ptr().addr() - region.bytes.as_ptr().addr();
    Some(region.offset.load(Ordering::Relaxed) + inside as u64)
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

/// The path of the shared library that pyembed and Python are in; `None` if they are in the executable.
pub(super) fn own_library() -> Option<CString> {
    Segment::of((&raw const pyembed_blob).addr())?.library
}

/// Where the loader has found what it needs of this program.
pub(super) struct Program {
    pub(super) base: usize,
    pub(super) dynamic: *const super::late::Dyn,
    /// What it has made read-only.
    pub(super) relro: Option<Phdr>,
}

pub(super) type Phdr = libc::Elf64_Phdr;

/// None for a static program.
pub(super) fn dynamic_of_program() -> Option<Program> {
    let mut program = None;
    // SAFETY: the callback gets the pointer to `program`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut program).cast()) };
    program
}

/// Looks at the first object that the loader names, which is the program.
unsafe extern "C" fn look(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    program: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes its own record, with `dlpi_phnum` headers, and our pointer.
    let (program, headers, base) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (&mut *program.cast::<Option<Program>>(), headers, info.dlpi_addr)
    };
    // Both are addresses of this process.
    #[allow(clippy::cast_possible_truncation)]
    let base = base as usize;
    let of_kind = |kind| headers.iter().find(|header| header.p_type == kind);
    *program = of_kind(libc::PT_DYNAMIC).map(|dynamic| Program {
        base,
        #[allow(clippy::cast_possible_truncation)]
        dynamic: ptr::with_exposed_provenance(base + dynamic.p_vaddr as usize),
        relro: of_kind(libc::PT_GNU_RELRO).copied(),
    });
    1
}

/// The rest of a loadable segment, from an address on.
struct Segment {
    len: usize,
    /// In the file.
    offset: u64,
    /// The path of the shared library that it is part of.
    library: Option<CString>,
}

impl Segment {
    fn of(start: usize) -> Option<Self> {
        let mut search = Search { start, segment: None };
        // SAFETY: the callback gets the pointer to `search`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
        search.segment
    }
}

struct Search {
    start: usize,
    segment: Option<Segment>,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    search: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes its own record, with `dlpi_phnum` headers, and our pointer.
    let (search, headers, base, name) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (&mut *search.cast::<Search>(), headers, info.dlpi_addr, info.dlpi_name)
    };
    let start = search.start as u64;
    let range = |h: &Phdr| (base + h.p_vaddr)..(base + h.p_vaddr + h.p_filesz);
    let found = headers.iter().find(|h| h.p_type == libc::PT_LOAD && range(h).contains(&start));
    search.segment = found.map(|segment| {
        let range = range(segment);
        Segment {
            len: usize::try_from(range.end - start).unwrap_or(0),
            offset: segment.p_offset + (start - range.start),
            // SAFETY: null or a C string; the executable's is empty.
            library: unsafe {
                (!name.is_null() && *name != 0).then(|| CStr::from_ptr(name).to_owned())
            },
        }
    });
    libc::c_int::from(search.segment.is_some())
}

/// Lets go of the pages that bytes of a file lie in; they come back from it when they are read again. Bytes from
/// elsewhere are left alone.
pub(crate) fn let_go(bytes: &'static [u8]) {
    let range = bytes.as_ptr_range();
    let start = range.start.addr().next_multiple_of(PAGE);
    let end = range.end.addr() / PAGE * PAGE;
    if region_of(bytes).is_some() && start < end {
        // SAFETY: whole pages of a private mapping of a file that is not written to while it is in use: the same
        // bytes come back.
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
