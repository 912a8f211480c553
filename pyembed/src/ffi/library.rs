//! Shared libraries in the hands of the dynamic loader.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{Elf64_Ehdr as Header, Elf64_Phdr as Segment};
use pyox_blob::layout::PAGE;

use super::section;

/// A library that is loaded, and stays so.
#[derive(Clone, Copy)]
pub(crate) struct LoadedLibrary(NonNull<LinkMap>);

// SAFETY: the loader's record stays, and of it the name alone is changed.
unsafe impl Send for LoadedLibrary {}

/// The public head of `struct link_map`.
#[repr(C)]
struct LinkMap {
    /// What is added to the addresses in the file.
    base: usize,
    name: *mut c_char,
}

impl LoadedLibrary {
    /// Loads a library. What is loaded later finds it by its SONAME. It is never unloaded.
    pub(crate) fn open(path: &str, flags: c_int) -> Result<Self, String> {
        let path = CString::new(path).map_err(|error| error.to_string())?;
        let mut map: *mut LinkMap = ptr::null_mut();
        // SAFETY: a C string; the library's constructors are as trusted as the application is.
        unsafe {
            // What looks the function up, once, would forget the error.
            libc::dlerror();
            let handle = libc::dlopen(path.as_ptr(), flags);
            if handle.is_null() {
                let why = libc::dlerror();
                let why = if why.is_null() {
                    c"the loader does not say why"
                } else {
                    CStr::from_ptr(why)
                };
                return Err(why.to_string_lossy().into_owned());
            }
            libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
        }
        NonNull::new(map).map(Self).ok_or_else(|| "the loader does not tell about it".to_owned())
    }

    /// The library that was loaded by that path, if it was.
    pub(crate) fn find(path: &str) -> Option<Self> {
        let path = CString::new(path).ok()?;
        let mut map: *mut LinkMap = ptr::null_mut();
        // SAFETY: a C string; with that flag nothing is loaded. The handle is closed, and the library stays
        // for the one who has loaded it.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if handle.is_null() {
                return None;
            }
            libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
            libc::dlclose(handle);
        }
        NonNull::new(map).map(Self)
    }

    /// Sets the name that `dladdr`, debuggers and later calls of `dlopen` know it by.
    pub(crate) fn rename(&self, name: &str) {
        let Ok(name) = CString::new(name) else { return };
        // SAFETY: the loader frees the name with the library, so it is allocated as C does it. The old one is
        // left: another thread may be reading it.
        unsafe {
            let copy = libc::strdup(name.as_ptr());
            if !copy.is_null() {
                (&raw mut (*self.0.as_ptr()).name).write_volatile(copy);
            }
        }
    }

    /// Puts pages of the blob's file in the place of those that were copied from it, and gives the memory of
    /// the copy back. What the loader has written to stays.
    ///
    /// `bytes` are those of the library in the blob, and `copy` the anonymous file that it was loaded
    /// from. Where this is not possible everything stays as it is.
    pub(crate) fn share(&self, bytes: &'static [u8], copy: &File) {
        let Some(segments) = segments(bytes) else { return };
        let Some((file, offset)) = section::file_of(bytes) else { return };
        if !offset.is_multiple_of(PAGE as u64) || has_text_relocations(bytes, &segments) {
            return;
        }
        // SAFETY: the library is loaded, so the record is alive.
        let base = unsafe { (*self.0.as_ptr()).base };
        let loaded = || segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
        let mut written = Vec::new();
        for segment in loaded() {
            let pages = Pages::of(segment);
            let as_in_the_file = segment.p_flags & libc::PF_W == 0
                && loaded().filter(|other| meet(segment, other)).count() == 1;
            if !as_in_the_file || !pages.replace(base, &file, offset) {
                written.push(pages);
            }
        }
        written.sort_by_key(|pages| pages.offset);
        let mut unused = 0;
        for pages in &written {
            punch(copy, unused, pages.offset);
            unused = pages.offset + pages.len as u64;
        }
        punch(copy, unused, bytes.len().next_multiple_of(PAGE) as u64);
    }
}

/// Has extension modules find Python's functions where those are in a shared library that somebody has loaded for
/// itself alone.
pub(crate) fn offer_python() {
    if let Some(library) = section::own_library() {
        // SAFETY: a C string. The library is there, and becomes visible for all; it is never unloaded.
        unsafe {
            libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_GLOBAL)
        };
    }
}

/// The whole pages of a segment.
struct Pages {
    address: usize,
    len: usize,
    /// In the library's file.
    offset: u64,
    protection: libc::c_int,
}

impl Pages {
    fn of(segment: &Segment) -> Self {
        let page = PAGE as u64;
        let before = segment.p_vaddr % page;
        let protections = [
            (libc::PF_R, libc::PROT_READ),
            (libc::PF_W, libc::PROT_WRITE),
            (libc::PF_X, libc::PROT_EXEC),
        ];
        let protection = protections.iter().filter(|(flag, _)| segment.p_flags & flag != 0);
        // Both are addresses of this process.
        #[allow(clippy::cast_possible_truncation)]
        Self {
            address: (segment.p_vaddr - before) as usize,
            len: (segment.p_filesz + before).next_multiple_of(page) as usize,
            offset: segment.p_offset - before.min(segment.p_offset),
            protection: protection.fold(0, |all, (_, one)| all | one),
        }
    }

    /// Maps pages of the blob's file, in which the library begins at `library`, over these.
    fn replace(&self, base: usize, file: &File, library: u64) -> bool {
        let Ok(offset) = i64::try_from(library + self.offset) else { return false };
        // SAFETY: the loader has mapped exactly these pages of the library here; nobody has written to them,
        // so that the same bytes come back. The exchange is atomic for other threads.
        let mapped = unsafe {
            libc::mmap(
                ptr::with_exposed_provenance_mut::<c_void>(base + self.address),
                self.len,
                self.protection,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
                file.as_raw_fd(),
                offset,
            )
        };
        mapped != libc::MAP_FAILED
    }
}

/// Whether two segments have a page of addresses in common, as a segment has with itself. The later of them
/// was mapped over the earlier there.
fn meet(one: &Segment, other: &Segment) -> bool {
    let pages = |segment: &Segment| {
        let page = PAGE as u64;
        (segment.p_vaddr / page, segment.p_vaddr.saturating_add(segment.p_memsz).div_ceil(page))
    };
    let ((start, end), (other_start, other_end)) = (pages(one), pages(other));
    start < other_end && other_start < end
}

/// Gives a range of an anonymous file's pages back.
fn punch(file: &File, start: u64, end: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(start), i64::try_from(end.saturating_sub(start)))
    else {
        return;
    };
    if len > 0 {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: nothing but the file's bytes changes; a failure leaves them.
        unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) };
    }
}

/// The program headers of a library; `None` if they are not as they should be.
fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    let header: Header = record(bytes, 0)?;
    let (first, size) = (usize::try_from(header.e_phoff).ok()?, usize::from(header.e_phentsize));
    let segment = |number| record::<Segment>(bytes, first.checked_add(number * size)?);
    let segments: Vec<_> = (0..usize::from(header.e_phnum)).map(segment).collect::<Option<_>>()?;
    let page = PAGE as u64;
    let fits = |s: &Segment| {
        s.p_vaddr % page == s.p_offset % page
            && s.p_offset.checked_add(s.p_filesz).is_some_and(|end| end <= bytes.len() as u64)
            && s.p_filesz <= s.p_memsz
    };
    segments.iter().filter(|s| s.p_type == libc::PT_LOAD).all(fits).then_some(segments)
}

/// Whether the loader writes to segments that are read-only afterwards.
fn has_text_relocations(bytes: &[u8], segments: &[Segment]) -> bool {
    const TEXT_RELOCATIONS: u64 = 22;
    const FLAGS: u64 = 30;
    const FLAG: u64 = 4;
    let Some(dynamic) = segments.iter().find(|segment| segment.p_type == libc::PT_DYNAMIC) else {
        return true;
    };
    let Ok(start) = usize::try_from(dynamic.p_offset) else { return true };
    let entries = (0..).map_while(|number: usize| record::<[u64; 2]>(bytes, start + number * 16));
    entries
        .take_while(|[tag, _]| *tag != 0)
        .any(|[tag, value]| tag == TEXT_RELOCATIONS || (tag == FLAGS && value & FLAG != 0))
}

/// A record of plain numbers at an offset.
fn record<T: Plain>(bytes: &[u8], at: usize) -> Option<T> {
    let bytes = bytes.get(at..at.checked_add(size_of::<T>())?)?;
    // SAFETY: as long as the record is; any bytes are numbers.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Records in which any bytes are valid.
trait Plain {}
impl Plain for Header {}
impl Plain for Segment {}
impl Plain for [u64; 2] {}

/// What is opened in place of a path; none for the path itself.
type Resolver = fn(&CStr, c_int) -> Option<&'static CStr>;

static RESOLVER: OnceLock<Resolver> = OnceLock::new();

/// The `dlopen` of the C library, which no snapshot holds.
#[unsafe(link_section = ".bss.pyembed_process")]
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Has paths that C code gives to `dlopen` resolved by a function, which must not call Python.
pub(crate) fn resolve_paths_by(resolver: Resolver) {
    RESOLVER.get_or_init(|| resolver);
}

/// What all of a dynamic executable's libraries find as `dlopen`: `pyox-link` gives it that name
/// (`--defsym`); in a program that is linked otherwise nobody calls it.
///
/// It goes on to the C library's with the stack as it was, because that looks at who is calling it: names
/// without a path are looked for where the caller's run path says.
///
/// # Safety
/// As for `dlopen`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn pyembed_dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {resolve}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "cmovne rdi, rax",
        "jmp qword ptr [rip + {next}]",
        resolve = sym resolve,
        next = sym NEXT,
    )
}

/// As above.
///
/// # Safety
/// As for `dlopen`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn pyembed_dlopen(path: *const c_char, flags: c_int) -> *mut c_void {
    naked_asm!(
        "stp x0, x1, [sp, #-32]!",
        "str x30, [sp, #16]",
        "bl {resolve}",
        "ldr x30, [sp, #16]",
        "ldp x2, x1, [sp], #32",
        "cmp x0, #0",
        "csel x0, x2, x0, eq",
        "adrp x16, {next}",
        "ldr x16, [x16, #:lo12:{next}]",
        "br x16",
        resolve = sym resolve,
        next = sym NEXT,
    )
}

/// The path to open, and [`NEXT`] set; null for the path as it is.
unsafe extern "C" fn resolve(path: *const c_char, flags: c_int) -> *const c_char {
    if NEXT.load(Ordering::Relaxed).is_null() {
        // SAFETY: a C string; whatever provided the executable's reference provides it.
        let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
        NEXT.store(next, Ordering::Relaxed);
    }
    let Some(resolver) = RESOLVER.get().filter(|_| !path.is_null()) else { return ptr::null() };
    // SAFETY: not null, so it is a C string, as for `dlopen`.
    let path = unsafe { CStr::from_ptr(path) };
    // A panic must not reach C code.
    let found = std::panic::catch_unwind(|| resolver(path, flags));
    found.ok().flatten().map_or(ptr::null(), CStr::as_ptr)
}
