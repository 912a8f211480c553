//! Shared libraries of the blob, and the copies of them that the dynamic loader is given.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use object::LittleEndian as LE;
use object::elf::{PF_R, PF_W, PF_X};
use object::read::elf::ProgramHeader;
use pyox_blob::layout::PAGE;

use super::library::LoadedLibrary;
use super::section;
use super::shared_object::{SKIPPED, Segment, SharedObject};

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
        let mut tags = self.object.tags_of_constructors();
        tags.try_for_each(|at| copy.write_all_at(&SKIPPED.to_le_bytes(), at as u64))
    }

    /// Completes a library that the loader has loaded from a copy, and gives the memory of the copy back.
    pub(crate) fn complete(&self, library: LoadedLibrary, copy: &File) -> io::Result<()> {
        if !self.share(library, copy) {
            // Nobody has written to these pages, so they show what is in the copy.
            for range in &self.left_out {
                copy.write_all_at(&self.bytes[range.clone()], range.start as u64)?;
            }
        }
        library.construct(self.object.constructors());
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
