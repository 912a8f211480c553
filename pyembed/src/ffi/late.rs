//! Python as a shared library that is loaded after this program has started.
//!
//! A portable runner is linked without libpython: its references to Python are weak, and null when it starts. Once
//! libpython is loaded from the blob, they are resolved here as the dynamic loader would have done it. The loader's own
//! lazy way serves functions alone, and CPython's API has variables too.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::section::{Phdr, dynamic_of_program};

// The address of a function of Python, or null. The compiler takes a function's address for one that is never null.
std::arch::global_asm!(
    r#".section .data.rel.ro.pyembed_python, "aw", @progbits"#,
    ".balign 8",
    ".globl pyembed_python",
    ".hidden pyembed_python",
    "pyembed_python:",
    ".quad Py_GetVersion",
    ".previous",
);

unsafe extern "C" {
    static pyembed_python: usize;
}

/// Whether the references to Python have been resolved here.
static IS_BOUND: AtomicBool = AtomicBool::new(false);

/// Whether Python's functions can be called.
pub(crate) fn has_python() -> bool {
    // SAFETY: the variable is there, and is as the linker or the loader has left it.
    let is_linked = unsafe { (&raw const pyembed_python).read_volatile() != 0 };
    is_linked || is_bound_late()
}

/// Whether Python is a library that was loaded after this program had started.
fn is_bound_late() -> bool {
    IS_BOUND.load(Ordering::Acquire)
}

/// Whether libpython was linked as a library of its own, in which calls stay inside: none of its functions gives its place to one
/// of this crate.
pub(crate) fn keeps_its_calls() -> bool {
    is_bound_late() || super::snapshot::has_libpython()
}

/// Resolves this program's references to Python, now that its library is loaded for all; false where it lacks one of
/// them. Until then nothing of Python can be called, so nobody reads them.
pub(crate) fn bind() -> bool {
    let Some(program) = dynamic_of_program() else { return false };
    // SAFETY: the loader has read the same tables, which lie in the program's own memory.
    unsafe {
        let Some(tables) = Tables::of(program.base, program.dynamic) else { return false };
        let writable = program.relro.map(|range| Writable::new(program.base, &range));
        let is_bound = tables.relocations().all(|relocation| tables.resolve(relocation));
        drop(writable);
        IS_BOUND.store(is_bound, Ordering::Release);
        is_bound
    }
}

/// What the dynamic section says where to find.
struct Tables {
    base: usize,
    symbols: *const libc::Elf64_Sym,
    strings: *const libc::c_char,
    lists: [(*const libc::Elf64_Rela, usize); 2],
}

impl Tables {
    /// # Safety
    /// `dynamic` must be the dynamic section of a loaded object.
    unsafe fn of(base: usize, dynamic: *const Dyn) -> Option<Self> {
        let mut found = [0_usize; 6];
        let mut entry = dynamic;
        // SAFETY: the section ends with an entry of zeroes.
        unsafe {
            while (*entry).tag != 0 {
                let wanted = [DT_SYMTAB, DT_STRTAB, DT_RELA, DT_RELASZ, DT_JMPREL, DT_PLTRELSZ];
                if let Some(place) = wanted.iter().position(|tag| *tag == (*entry).tag) {
                    found[place] = (*entry).value;
                }
                entry = entry.add(1);
            }
        }
        let [symbols, strings, list, len, calls, calls_len] = found;
        // The GNU loader has made addresses of them already.
        let address = |value: usize| if value != 0 && value < base { base + value } else { value };
        let [symbols, strings, list, calls] = [symbols, strings, list, calls].map(address);
        let entries = |len: usize| len / size_of::<libc::Elf64_Rela>();
        (symbols != 0 && strings != 0).then(|| Self {
            base,
            symbols: ptr::with_exposed_provenance(symbols),
            strings: ptr::with_exposed_provenance(strings),
            lists: [
                (ptr::with_exposed_provenance(list), entries(len)),
                (ptr::with_exposed_provenance(calls), entries(calls_len)),
            ],
        })
    }

    /// # Safety
    /// The tables must be those of a loaded object.
    unsafe fn relocations(&self) -> impl Iterator<Item = &libc::Elf64_Rela> {
        // SAFETY: so many records lie there.
        self.lists
            .iter()
            .filter(|(list, _)| !list.is_null())
            .flat_map(|&(list, len)| unsafe { std::slice::from_raw_parts(list, len) })
    }

    /// Gives a reference to Python its value; true for all others.
    ///
    /// # Safety
    /// As above, and the place of the reference can be written to.
    unsafe fn resolve(&self, relocation: &libc::Elf64_Rela) -> bool {
        let (kind, number) = (relocation.r_info & 0xffff_ffff, relocation.r_info >> 32);
        // The number of a symbol fits.
        let Ok(number) = usize::try_from(number) else { return true };
        if number == 0 || !REFERENCES.contains(&kind) {
            return true;
        }
        // SAFETY: the caller's word.
        unsafe {
            let symbol = &*self.symbols.add(number);
            let name = CStr::from_ptr(self.strings.add(symbol.st_name as usize));
            let is_python =
                name.to_bytes().starts_with(b"Py") || name.to_bytes().starts_with(b"_Py");
            if symbol.st_shndx != 0 || !is_python {
                return true;
            }
            let value = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
            let (Ok(offset), Ok(addend)) =
                (usize::try_from(relocation.r_offset), isize::try_from(relocation.r_addend))
            else {
                return false;
            };
            let place: *mut usize = ptr::with_exposed_provenance_mut(self.base + offset);
            place.write_volatile(value.addr().wrapping_add_signed(addend));
            !value.is_null()
        }
    }
}

/// What the loader has made read-only, while it is written to.
struct Writable {
    start: usize,
    len: usize,
}

impl Writable {
    /// # Safety
    /// The range must be the program's own, of pages that the loader has protected.
    unsafe fn new(base: usize, range: &Phdr) -> Self {
        // SAFETY: a question. Kernels of some machines have larger pages than others.
        let page = unsafe { libc::getauxval(libc::AT_PAGESZ) };
        // Both are addresses of this process.
        #[allow(clippy::cast_possible_truncation)]
        let (start, end) = {
            let (page, start) = (page as usize, base + range.p_vaddr as usize);
            (start / page * page, (start + range.p_memsz as usize) / page * page)
        };
        let range = Self { start, len: end.saturating_sub(start) };
        // SAFETY: the caller's word.
        unsafe { range.protect(libc::PROT_READ | libc::PROT_WRITE) };
        range
    }

    unsafe fn protect(&self, how: libc::c_int) {
        // SAFETY: the pages stay what they are.
        unsafe { libc::mprotect(ptr::with_exposed_provenance_mut(self.start), self.len, how) };
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        // SAFETY: nothing writes to them any more.
        unsafe { self.protect(libc::PROT_READ) };
    }
}

/// An entry of a dynamic section.
#[repr(C)]
pub(super) struct Dyn {
    tag: i64,
    value: usize,
}

// Of the ELF specification.
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_PLTRELSZ: i64 = 2;
const DT_JMPREL: i64 = 23;

/// The relocations that are a symbol's address: in data, in the global offset table, and for calls.
#[cfg(target_arch = "x86_64")]
const REFERENCES: [u64; 3] = [1, 6, 7];
#[cfg(target_arch = "aarch64")]
const REFERENCES: [u64; 3] = [257, 1025, 1026];
