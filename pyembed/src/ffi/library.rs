//! Shared libraries in the hands of the dynamic loader.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use object::LittleEndian as LE;
use object::elf::{PF_R, PF_W, PF_X};
use object::read::elf::ProgramHeader;
use pyox_blob::layout::PAGE;

use super::section;
use super::shared_object::{Constructors, SKIPPED, Segment, SharedObject};

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

    /// What is added to the addresses in its file.
    fn base(self) -> usize {
        // SAFETY: the library stays loaded, so the record is alive.
        unsafe { (*self.0.as_ptr()).base }
    }

    /// Calls the library's constructors, as the loader does it.
    fn construct(self, constructors: Constructors) {
        let (count, arguments) =
            (ARGUMENT_COUNT.load(Ordering::Relaxed), ARGUMENTS.load(Ordering::Relaxed));
        let call = |address: usize| {
            let function: *const c_void = ptr::with_exposed_provenance(address);
            // SAFETY: the library says that a constructor is there; it is as trusted as the application is. The GNU system gives them
            // what it gives `main`.
            unsafe {
                let constructor: Constructor = std::mem::transmute(function);
                constructor(count, arguments, environ);
            }
        };
        if constructors.first != 0 {
            call(self.base() + constructors.first);
        }
        let (array, count) = constructors.others;
        for number in 0..count {
            let place = self.base() + array + number * size_of::<usize>();
            // SAFETY: so many addresses are there, which the loader has relocated.
            call(unsafe { *ptr::with_exposed_provenance::<usize>(place) });
        }
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
}

/// A library in the blob, page for page as the loader maps it. The loader is given a copy in an anonymous file, and once it has
/// done its work the blob's own pages take the place of those that it has not written to.
///
/// What the loader does not look at is not copied at all. That is code as well, so the copy hides the library's constructors from
/// the loader, and they are called once the code is there, and the library has its name.
pub(crate) struct Original {
    bytes: &'static [u8],
    object: SharedObject<'static>,
    /// What is not copied: whole pages, in their order.
    left_out: Vec<Range<usize>>,
}

impl Original {
    /// None if its pages cannot be mapped, so that a copy has to be whole.
    pub(crate) fn of(bytes: &'static [u8]) -> Option<Self> {
        let object = SharedObject::parse(bytes)?;
        let offset = section::offset_of(bytes)?;
        if !offset.is_multiple_of(PAGE as u64) || object.has_text_relocations() {
            return None;
        }
        let left_out = object.unread();
        Some(Self { bytes, object, left_out })
    }

    /// Writes what is to be copied of a piece of the library that begins at `start`.
    pub(crate) fn copy(&self, start: usize, piece: &[u8], copy: &File) -> io::Result<()> {
        let (mut at, end) = (start, start + piece.len());
        let nothing = end..end;
        for skipped in self.left_out.iter().chain([&nothing]) {
            let until = skipped.start.clamp(at, end);
            copy.write_all_at(&piece[at - start..until - start], at as u64)?;
            at = skipped.end.clamp(at, end);
        }
        Ok(())
    }

    /// Makes a copy one that the loader can take.
    pub(crate) fn finish(&self, copy: &File) -> io::Result<()> {
        rustix::fs::ftruncate(copy, self.bytes.len() as u64)?;
        let (_, told) = self.object.constructors();
        told.iter().try_for_each(|at| copy.write_all_at(&SKIPPED.to_le_bytes(), *at as u64))
    }

    /// Completes a library that the loader has loaded from a copy, and gives the memory of the copy back.
    pub(crate) fn complete(&self, library: LoadedLibrary, copy: &File) -> io::Result<()> {
        if !self.share(library, copy) {
            // Nobody has written to these pages, so they show what is in the copy.
            for range in &self.left_out {
                copy.write_all_at(&self.bytes[range.clone()], range.start as u64)?;
            }
        }
        let (constructors, _) = self.object.constructors();
        library.construct(constructors);
        Ok(())
    }

    /// Puts pages of the blob's file in the place of those that were copied from it. What the loader has written to stays. Where
    /// this is not possible everything stays as it is, and the answer is false.
    fn share(&self, library: LoadedLibrary, copy: &File) -> bool {
        let Some((file, offset)) = section::file_of(self.bytes) else { return false };
        let base = library.base();
        let (mut kept, mut is_whole) = (Vec::new(), true);
        for segment in self.object.loaded() {
            let pages = Pages::of(segment);
            if !self.object.is_constant(segment) {
                kept.push(pages);
            } else if !pages.replace(base, &file, offset) {
                is_whole = false;
                kept.push(pages);
            }
        }
        kept.sort_by_key(|pages| pages.offset);
        let mut unused = 0;
        for pages in &kept {
            punch(copy, unused, pages.offset);
            unused = pages.offset + pages.len as u64;
        }
        punch(copy, unused, self.bytes.len().next_multiple_of(PAGE) as u64);
        is_whole
    }
}

/// The whole pages of a segment.
struct Pages {
    address: usize,
    len: usize,
    /// In the library's file.
    offset: u64,
    protection: c_int,
}

impl Pages {
    fn of(segment: &Segment) -> Self {
        let page = PAGE as u64;
        let (address, offset) = (segment.p_vaddr(LE), segment.p_offset(LE));
        let before = address % page;
        let protections =
            [(PF_R, libc::PROT_READ), (PF_W, libc::PROT_WRITE), (PF_X, libc::PROT_EXEC)];
        let protection = { protections.iter() }
            .filter(|(flag, _)| segment.p_flags(LE).contains(*flag))
            .fold(0, |all, (_, one)| all | one);
        // Both are addresses of this process.
        #[allow(clippy::cast_possible_truncation)]
        Self {
            address: (address - before) as usize,
            len: (segment.p_filesz(LE) + before).next_multiple_of(page) as usize,
            offset: offset - before.min(offset),
            protection,
        }
    }

    /// Maps pages of the blob's file, in which the library begins at `library`, over these.
    fn replace(&self, base: usize, file: &File, library: u64) -> bool {
        let Ok(offset) = i64::try_from(library + self.offset) else { return false };
        // SAFETY: the loader has mapped exactly these pages of the library here, and nobody has written to them. What was copied
        // comes back the same, and nothing of the rest has been read. The exchange is atomic for other threads.
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
/// The strings of a command line or an environment, with a null pointer at their end.
type Strings = *mut *mut c_char;
type Constructor = unsafe extern "C" fn(c_int, Strings, Strings);

unsafe extern "C" {
    static environ: Strings;
}

/// The command line as the system has handed it over: there are constructors that look for what lies behind it, too.
#[unsafe(link_section = ".bss.pyembed_process")]
static ARGUMENT_COUNT: AtomicI32 = AtomicI32::new(0);
#[unsafe(link_section = ".bss.pyembed_process")]
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

/// Is a constructor itself.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_ARGUMENTS: Constructor = note_arguments;

unsafe extern "C" fn note_arguments(count: c_int, arguments: Strings, _: Strings) {
    ARGUMENT_COUNT.store(count, Ordering::Relaxed);
    ARGUMENTS.store(arguments, Ordering::Relaxed);
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
