//! The start-up snapshot: an executable that begins with an interpreter that has started.
//!
//! `docs/formats/snapshot.md` specifies the image. Here it is made, by a process that is *recorded*, and here a process
//! *resumes*: it begins with the image as its memory.
//!
//! | file | holds |
//! |---|---|
//! | [`memory`] | the region that a recorded process takes its memory from |
//! | [`objects`] | the objects in it |
//! | [`hashes`], [`sets`], [`kept`] | what depends on the hash seed |
//! | [`paths`] | what names the executable |
//! | [`process`] | what each process has of its own |
//! | [`libraries`] | libraries that came with libpython |
//! | [`outside`] | a check that nothing in it points elsewhere |
//! | [`utf8_mode`] | CPython's switch for the locale `C` |
//! | [`end`] | how an interpreter ends that lives in an image |
//! | [`confine`] | what a recorded process is kept from |
//! | [`watch`] | what code asks of a process that is surveyed |
//!
//! All of it needs the places that `pyox-link` gives names to in a static executable. In other programs there are none, and
//! nothing here does anything.

mod confine;
mod end;
mod hashes;
mod kept;
mod libraries;
mod memory;
mod objects;
mod outside;
mod paths;
mod process;
mod sets;
mod utf8_mode;
mod watch;

use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io::{Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3_ffi as c;
use pyox_blob::snapshot::{Header, IMAGE_LIMIT, Library, Mode, PATH_LEN, PROFILE};

use super::library::Constructor;
use super::{Attached, Result};
use end::Containers;
use hashes::Hashed;
use objects::Types;
use paths::Paths;
use process::Locale;
use utf8_mode::Utf8Mode;

/// The least size of a page.
const PAGE: usize = 4096;

pub(crate) use end::prepare_end;
pub(crate) use memory::{allocate, holds, is_recording, take_python};
pub(crate) use outside::has_loader;
pub(crate) use process::{
    configure_openssl, ignore, is_c_locale, is_ignored, is_open, thread_number,
};
pub(crate) use utf8_mode::is_utf8_mode;
pub(crate) use watch::{is_watched, note, note_of, note_path, note_stream, notes, watch};

// What the linker script of `pyox-link` names, or null.
std::arch::global_asm!(
    ".weak pyembed_image",
    ".weak pyembed_image_data_end",
    ".weak pyembed_image_end",
    ".weak pyembed_initial",
    ".weak pyembed_constructors",
    ".weak pyembed_constructors_late",
    ".weak pyembed_constructors_once",
    ".weak pyembed_constructors_end",
    r#".pushsection .data.rel.ro.pyembed_snapshot, "aw", @progbits"#,
    ".balign 8",
    ".globl pyembed_snapshot_places",
    ".hidden pyembed_snapshot_places",
    "pyembed_snapshot_places:",
    ".quad pyembed_image, pyembed_image_data_end, pyembed_image_end, pyembed_initial",
    ".quad pyembed_constructors, pyembed_constructors_late",
    ".quad pyembed_constructors_once, pyembed_constructors_end",
    ".popsection",
);

/// Places of the executable, as addresses.
#[repr(C)]
struct Places {
    /// Where the image begins, with its header.
    image: usize,
    data_end: usize,
    /// Where the zeroed data ends, and the recorded process's memory begins.
    end: usize,
    /// The data as it was linked, in an executable with an image.
    initial: usize,
    /// Functions that C's start-up code would call otherwise: first those that run in each process; mimalloc's, which nobody
    /// uses in a process with an image; then those whose work is part of an image.
    constructors: usize,
    constructors_late: usize,
    constructors_once: usize,
    constructors_end: usize,
}

unsafe extern "C" {
    safe static pyembed_snapshot_places: Places;
}

/// What a process needs that begins with the image.
struct Resumption {
    thread: *mut c::PyThreadState,
    /// Where the thread's number stands in its state, counted in words.
    number_at: usize,
    processor: u128,
    /// None where it was not found: then a process in the locale `C` starts as ever.
    utf8_mode: Option<Utf8Mode>,
    hashed: Hashed,
    has_fixed_hashes: bool,
    paths: Paths,
    guards: Guards,
}

// SAFETY: it is used by the one thread of a process that begins.
unsafe impl Send for Resumption {}

static CONTAINERS: Mutex<Option<Containers>> = Mutex::new(None);

static RESUMPTION: Mutex<Option<Resumption>> = Mutex::new(None);

/// Whether CPython's UTF-8 mode is to be on, as the locale `C` has it.
static IS_C_LOCALE: AtomicBool = AtomicBool::new(false);

/// Whether the image is used by this process.
static IS_RESUMED: AtomicBool = AtomicBool::new(false);

/// Whether this process is to list what it imports.
static IS_PROFILED: AtomicBool = AtomicBool::new(false);

/// The file for a list of what this process imports, if there is to be one. Nobody else learns of it.
pub(crate) fn take_profile() -> Option<OsString> {
    if !IS_PROFILED.load(Ordering::Relaxed) {
        return None;
    }
    let path = std::env::var_os(PROFILE);
    // SAFETY: the process has one thread yet.
    unsafe { std::env::remove_var(PROFILE) };
    path
}

fn address(word: u32) -> usize {
    usize::try_from(word).unwrap_or(0)
}

fn place<T>(address: usize) -> *mut T {
    ptr::with_exposed_provenance_mut(address)
}

/// The libpython that is part of the executable.
fn python() -> Library {
    header().map_or(Library::NONE, |header| header.python)
}

/// The data of such a libpython, which is empty without one. It is asked for each value that the end lets go of.
fn data_of_python() -> Range<usize> {
    let record = pyembed_snapshot_places.image + Header::PYTHON;
    // SAFETY: the image begins with a header, which is mapped.
    let [start, len] = unsafe { place::<[u32; 2]>(record).read() }.map(address);
    start..start + len
}

/// The data of the image: that of a libpython, then the header and all that is linked in.
fn data() -> [Range<usize>; 2] {
    let places = &pyembed_snapshot_places;
    [data_of_python(), places.image..places.end]
}

/// Whether an address lies in what the image holds.
fn is_in_image(address: usize) -> bool {
    data().iter().any(|range| range.contains(&address)) || holds(address)
}

fn header() -> Option<Header> {
    let image = pyembed_snapshot_places.image;
    if image == 0 {
        return None;
    }
    // SAFETY: the image begins with a header, which is mapped.
    Header::read(unsafe { std::slice::from_raw_parts(place::<u8>(image), Header::LEN) })
}

/// Whether the executable is a portable one that has been given its libpython.
pub(crate) fn has_libpython() -> bool {
    python() != Library::NONE
}

/// Where an executable enters: does what C's start-up code does in other programs, and begins with the image if there is
/// one. Gives the exit status, or none if the process is to start as ever.
///
/// # Safety
/// To be called once, first of all, with what `main` was given.
#[doc(hidden)]
#[must_use]
pub unsafe fn enter(count: c_int, arguments: *const *const c_char) -> Option<c_int> {
    let mode = header().map_or(Mode::Ordinary, |header| header.mode);
    let restart = || {
        // SAFETY: the caller's word; no other thread runs, and what the image holds is not used any more.
        unsafe {
            start_over();
            run_constructors(count, arguments, Mode::Ordinary);
        }
        None
    };
    if mode == Mode::Resume && has_unusual_rights() {
        return restart();
    }
    // SAFETY: the caller's word.
    unsafe {
        if mode == Mode::Record {
            confine::enter(arguments);
            memory::leave_heap();
            open_region();
        }
        IS_PROFILED.store(mode == Mode::Profile, Ordering::Relaxed);
        run_constructors(count, arguments, mode);
    }
    if mode == Mode::Resume { crate::snapshot::resume(Image(())).or_else(restart) } else { None }
}

/// The image that this process has begun with.
pub(crate) struct Image(());

/// Whether the kernel has given this process more rights than whoever has started it, or it was started by the application
/// itself. Both are looked at by an ordinary start.
fn has_unusual_rights() -> bool {
    super::is_secure()
        || process::has_variable(c"PYOX_STARTED_BY")
        || process::has_variable(c"PYOX_INTERPRETER")
}

/// Puts the data back as it was linked, and zeroes the rest. Nothing is copied: the mapping of the first data takes the place
/// of the image's.
unsafe fn start_over() {
    let places = &pyembed_snapshot_places;
    let Some(header) = header() else { return };
    let [python, own] = data();
    let end = own.start + usize::try_from(header.len).unwrap_or(0) - python.len();
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
    );
    // SAFETY: an executable with an image has its first data there, and nobody uses the image. All ranges are whole pages. What the
    // loader has written is kept outside.
    unsafe {
        let relocated = outside::relocated();
        let words: Vec<usize> = relocated.iter().map(|word| word.read()).collect();
        let put_back = |from: usize, to: Range<usize>| {
            let (image, len) = (place::<libc::c_void>(to.start), to.len());
            let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            len == 0
                || libc::mremap(place(from), len, len, how, image) == image
                    && libc::mprotect(image, len, protection) == 0
        };
        let (first, second) = (places.initial, places.initial + python.len());
        let is_moved = put_back(first, python) && put_back(second, own.start..places.data_end);
        let rest = places.end - places.data_end;
        let zeroed = libc::mmap(place(places.data_end), rest, protection, flags, -1, 0);
        if !is_moved || zeroed.addr() != places.data_end {
            fail("error: the system has no memory for this program");
        }
        for (place, word) in relocated.into_iter().zip(words) {
            place.write(word);
        }
        if end > places.end {
            libc::munmap(place(places.end), end - places.end);
        }
    }
}

unsafe fn run_constructors(count: c_int, arguments: *const *const c_char, mode: Mode) {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let places = &pyembed_snapshot_places;
    let [start, late, once, end] = [
        places.constructors,
        places.constructors_late,
        places.constructors_once,
        places.constructors_end,
    ];
    let ranges = match mode {
        Mode::Ordinary | Mode::Profile => [start..end, end..end],
        Mode::Record => [start..late, once..end],
        Mode::Resume => [start..late, end..end],
    };
    // SAFETY: the linker has gathered the functions there, and the header tells of those of libpython.
    unsafe {
        let call = |address: usize| {
            place::<Constructor>(address).read()(count, arguments, environ);
        };
        let all = |range: Range<usize>| range.step_by(size_of::<Constructor>());
        ranges.into_iter().flat_map(all).for_each(call);
        let initialize = |word: u32| {
            if word != 0 {
                let initializer: *const c_void = place(address(word));
                let initializer: Constructor = std::mem::transmute(initializer);
                initializer(count, arguments, environ);
            }
        };
        for library in libraries::all() {
            initialize(library.initializer);
            let [start, len] = library.constructors.map(address);
            all(start..start + len).for_each(call);
            protect(library.constants);
        }
        if mode == Mode::Record {
            libraries::remember();
        }
        let python = python();
        initialize(python.initializer);
        let [start, len] = python.constructors.map(address);
        for constructor in all(start..start + len) {
            match mode {
                Mode::Ordinary | Mode::Profile => call(constructor),
                Mode::Record => call_if_repeatable(|| call(constructor)),
                Mode::Resume => {}
            }
        }
        if mode != Mode::Record {
            protect(python.constants);
        }
    }
}

/// Closes a range to writing: its address, and its length.
unsafe fn protect(constants: [u32; 2]) {
    let [start, len] = constants.map(address);
    if len != 0 {
        // SAFETY: the linker says of these pages that nobody writes to them any more.
        unsafe { libc::mprotect(place(start), len, libc::PROT_READ) };
    }
}

/// Calls a constructor of libpython, unless it leaves something else behind each time, as mimalloc's does, which takes random
/// numbers: then all is as before. In a process with an image nobody uses mimalloc.
unsafe fn call_if_repeatable(constructor: impl Fn()) {
    let data = data_of_python();
    let data = ptr::slice_from_raw_parts_mut(place::<u8>(data.start), data.len());
    // The image is not to have room for them.
    let copy = || memmap2::MmapMut::map_anon(data.len()).ok();
    let (Some(mut before), Some(mut first)) = (copy(), copy()) else { return };
    // SAFETY: libpython's data, which nobody else uses yet.
    unsafe {
        before.copy_from_slice(&*data);
        constructor();
        first.copy_from_slice(&*data);
        process::forget_keys();
        (*data).copy_from_slice(&before);
        constructor();
        if *data != *first {
            process::forget_keys();
            (*data).copy_from_slice(&before);
        }
    }
}

/// Maps the region behind the image, and takes memory from there.
unsafe fn open_region() {
    let start = pyembed_snapshot_places.end;
    let limit = usize::try_from(IMAGE_LIMIT).unwrap_or(0);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the linker has left the addresses free.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = flags | libc::MAP_FIXED_NOREPLACE;
        let got = libc::mmap(place(start), limit - start, protection, flags, -1, 0);
        if got.addr() == start {
            memory::open(start, limit);
        } else {
            fail("the region of the image cannot be mapped");
        }
    }
}

/// Ends a recorded process that cannot be.
pub(crate) fn fail(what: &str) -> ! {
    eprintln!("{what}");
    // SAFETY: runs no code of this process.
    unsafe { libc::_exit(2) }
}

/// The request that a recorded process reads from stdin, and where it writes the image. Afterwards stdin and stdout are
/// empty.
pub(crate) struct Request {
    pub(crate) text: String,
    /// Whether not the image is wanted, but the order of its memory.
    pub(crate) asks_for_order: bool,
    image: OwnedFd,
}

impl Request {
    pub(crate) fn read() -> Self {
        let mut text = String::new();
        if std::io::stdin().read_to_string(&mut text).is_err() {
            fail("the request cannot be read");
        }
        // SAFETY: descriptors of this process; the new one is ours.
        let image = unsafe {
            let image = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 64);
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            if image < 0 || null < 0 {
                fail("expected stdout to be open, and /dev/null");
            }
            libc::dup2(null, 0);
            libc::dup2(null, 1);
            libc::close(null);
            OwnedFd::from_raw_fd(image)
        };
        Self { text, asks_for_order: false, image }
    }

    /// Writes an image, or what was asked for in its place, and ends the process.
    pub(crate) fn answer<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> ! {
        let mut to = std::fs::File::from(self.image);
        if let Err(error) = parts.into_iter().try_for_each(|part| to.write_all(part)) {
            fail(&format!("the image cannot be written: {error}"));
        }
        // SAFETY: runs no code of this process.
        unsafe { libc::_exit(0) }
    }
}

/// Sets apart what each process writes to, by an earlier answer: a length and an array of bits in hexadecimal digits. From here
/// on the memory of both recordings has the same order.
pub(crate) fn set_apart(answer: Option<&str>) -> bool {
    let Some((len, digits)) = answer.unwrap_or("0 ").split_once(' ') else { return false };
    let bytes = digits.as_bytes().chunks(2).map(|digits| {
        std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
    });
    let (Ok(len), Some(bytes)) = (len.parse(), bytes.collect::<Option<Vec<u8>>>()) else {
        return false;
    };
    memory::set_apart(&bytes, len);
    true
}

/// What a process must be like, beside what every image asks for.
#[derive(Default)]
pub(crate) struct Guards {
    /// Variables that must not be in its environment.
    variables: Vec<CString>,
    /// Whether the path of its executable must lead there without links.
    pub(crate) has_no_links: bool,
}

impl Guards {
    pub(crate) fn without(&mut self, variable: &str) {
        self.variables.extend(CString::new(variable));
    }

    fn hold(&self, path: &[u8]) -> bool {
        let leads_there = || {
            let path = CString::new(path).unwrap_or_default();
            crate::files::without_links(&path).is_some_and(|found| found == path)
        };
        self.variables.iter().all(|name| !process::has_variable(name))
            && (!self.has_no_links || leads_there())
    }
}

/// What is in an image, for people.
pub(crate) struct Facts {
    /// How many objects.
    pub(crate) objects: usize,
    /// How many texts, whose hashes are made anew.
    pub(crate) texts: usize,
}

/// Takes the image, and ends the process. `describe` gives what the image tells of itself.
pub(crate) fn take(
    attached: Attached<'_>,
    request: Request,
    path: &[u8],
    has_fixed_hashes: bool,
    guards: Guards,
    describe: impl FnOnce(&Facts) -> String,
) -> Result<()> {
    // A copy, because it is erased where it stands.
    let Ok(path) = <[u8; PATH_LEN]>::try_from(path) else {
        fail(&format!("expected a path of {PATH_LEN} bytes, got one of {}", path.len()));
    };
    let types = Types::find(attached)?;
    let utf8_mode = Utf8Mode::find(attached)?;
    // SAFETY: this thread is attached.
    unsafe { types.forget_hashes() };
    // SAFETY: as above. From here on no code of Python's runs.
    unsafe {
        process::keep_keys();
        let Noted { mut facts, mut hashed, mut found, mut containers, texts } =
            note_all(&types, &path);
        hashed.complete();
        found.complete();
        containers.complete();
        *CONTAINERS.lock().unwrap_or_else(PoisonError::into_inner) = Some(containers);
        drop(types);
        facts.texts = hashed.len();
        // Of what has the path in it, the order was by chance.
        hashed.settle();
        if has_fixed_hashes {
            hashed.keep_those_of(&found.objects());
        }
        if request.asks_for_order {
            request.answer([order(&hashed).as_bytes()]);
        }
        let thread = c::PyEval_SaveThread();
        memory::give_back();
        let number_at = number_in(thread);
        for place in [number_at, number_at + 1] {
            thread.cast::<u64>().add(place).write(0);
        }
        process::forget_stack(thread);
        *RESUMPTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Resumption {
            thread,
            number_at,
            processor: process::processor(),
            utf8_mode,
            hashed,
            has_fixed_hashes,
            paths: found,
            guards,
        });
        // Each process has others there.
        for word in outside::relocated() {
            word.write(0);
        }
        if libraries::have_changed() {
            fail("unfit: a library that libpython needs keeps something");
        }
        if outside::is_pointed_to(&texts) {
            fail("unfit: it keeps memory that no image can hold");
        }
        drop(texts);
        let text = describe(&facts);
        let text: &'static str = Box::leak(text.into_boxed_str());
        let places = &pyembed_snapshot_places;
        let before = data_of_python();
        let own = places.image..memory::close();
        let offset = |address: usize| (address - own.start + before.len()) as u64;
        let header = Header {
            mode: Mode::Resume,
            len: offset(own.end),
            initial: offset(places.data_end),
            heap: offset(places.end),
            facts: (offset(text.as_ptr().addr()), text.len() as u64),
            digest: [0; 32],
            python: python(),
            libraries: header().map_or([0; 2], |header| header.libraries),
        };
        place::<[u8; Header::LEN]>(places.image).write(header.to_bytes());
        let bytes = |range: Range<usize>| {
            if range.is_empty() {
                &[]
            } else {
                std::slice::from_raw_parts(place::<u8>(range.start), range.len())
            }
        };
        request.answer([bytes(before), bytes(own)])
    }
}

/// What has been found in the memory of an image.
struct Noted {
    facts: Facts,
    hashed: Hashed,
    found: Paths,
    containers: Containers,
    /// Blocks that hold text, in their order.
    texts: Vec<usize>,
}

/// Looks at all that an image holds, has its objects live for ever, and erases the executable's path.
///
/// # Safety
/// This thread must be attached, and no code of Python's may run afterwards.
unsafe fn note_all(types: &Types, path: &[u8; PATH_LEN]) -> Noted {
    // SAFETY: the caller's word.
    unsafe {
        let mut noted = Noted {
            facts: Facts { objects: 0, texts: 0 },
            hashed: Hashed::default(),
            found: Paths::default(),
            containers: Containers::with_names(),
            texts: Vec::new(),
        };
        // They take their memory before anything is looked at, and so are in the list themselves.
        let room = memory::live_blocks().count() + 2;
        let mut blocks = Vec::with_capacity(room);
        noted.texts = Vec::with_capacity(room);
        blocks.extend(memory::live_blocks());
        let own = blocks.as_ptr().addr();
        for &(block, capacity) in blocks.iter().filter(|(block, _)| *block != own) {
            let object = types.object_in(block, capacity);
            if let Some((object, kind)) = object {
                noted.facts.objects += 1;
                if matches!(kind, objects::Kind::Text | objects::Kind::Bytes) {
                    noted.texts.push(block);
                }
                objects::make_immortal(object);
                noted.hashed.note(object, kind);
                noted.containers.note(object, kind);
            } else {
                noted.hashed.note_block(block, capacity);
            }
            if let Err(what) = noted.found.note(path, block, capacity, object) {
                fail(&what);
            }
        }
        for text in static_texts() {
            let is_text = c::PyUnicode_Check(text) != 0;
            let kind = if is_text { objects::Kind::Text } else { objects::Kind::Bytes };
            noted.hashed.note(text, kind);
        }
        for class in types.in_region() {
            noted.hashed.note_class(class);
            noted.containers.note_class(class);
        }
        noted
    }
}

/// Which blocks each process writes to, as [`set_apart`] takes it.
///
/// # Safety
/// What was noted must be as it was then.
unsafe fn order(hashed: &Hashed) -> String {
    // SAFETY: the caller's word.
    let (numbers, len) = memory::numbers_of(&unsafe { hashed.addresses() });
    let digits: String = numbers
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect();
    format!("{len} {digits}")
}

/// Text and bytes in static memory.
fn static_texts() -> impl Iterator<Item = *mut c::PyObject> {
    // libpython's constants come first, and nobody hashes those.
    let [constants, len] = python().constants.map(address);
    let [python, own] = data();
    let python = python.start.max(constants + len)..python.end;
    [python, own].into_iter().flat_map(Types::statics)
}

/// Where a thread's state has the thread's number, as the C library and, next to it, the kernel count; in words.
unsafe fn number_in(thread: *mut c::PyThreadState) -> usize {
    /// The numbers stand within the first so many words.
    const WORDS: usize = 64;
    // SAFETY: the state is longer than that.
    unsafe {
        // By its number: the function is younger than glibc 2.28, from which on executables run.
        let number = libc::syscall(libc::SYS_gettid).cast_unsigned();
        let numbers = [libc::pthread_self(), number];
        let words = std::slice::from_raw_parts(thread.cast::<u64>(), WORDS);
        words
            .windows(2)
            .position(|words| words == numbers)
            .unwrap_or_else(|| fail("this Python's thread state has another layout"))
    }
}

// What proves that there is one is that there is a value.
#[allow(clippy::unused_self)]
impl Image {
    /// Whether this process can use the image: its text is UTF-8, its processor has what was looked up, and the path of the
    /// executable has room.
    pub(crate) fn fits(&self, path: &[u8]) -> bool {
        let resumption = RESUMPTION.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(resumption) = resumption.as_ref() else { return false };
        path.len() <= PATH_LEN
            && path.is_ascii()
            && resumption.processor & !process::processor() == 0
            && resumption.guards.hold(path)
            && process::make_keys()
            && match process::set_locale() {
                Locale::Utf8 => true,
                Locale::C => {
                    IS_C_LOCALE.store(true, Ordering::Relaxed);
                    resumption.utf8_mode.is_some()
                }
                Locale::Other => false,
            }
    }

    /// Makes the image this process's own. Afterwards this thread is attached to the interpreter. It must fit. What Python
    /// code does in a new process, as after a fork, follows `before`.
    pub(crate) fn adopt(
        self,
        path: &[u8],
        before: fn(Attached<'_>) -> Result<()>,
    ) -> super::Interpreter {
        let resumption = RESUMPTION.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It stays as it is: its memory is the image's.
        let Some(resumption) = resumption.map(ManuallyDrop::new) else { fail("there is no image") };
        IS_RESUMED.store(true, Ordering::Relaxed);
        // SAFETY: there is one image, and its state is as the recorded process has left it.
        unsafe {
            if !resumption.has_fixed_hashes {
                populate();
            }
            resumption.paths.put(path);
            resumption.thread.cast::<u64>().add(resumption.number_at).write(libc::pthread_self());
            process::find_stack(resumption.thread);
            c::PyEval_RestoreThread(resumption.thread);
            if !resumption.has_fixed_hashes {
                hashes::take_seed();
            }
            resumption.hashed.renew();
            let attached = Attached::assume();
            attached.quietly(|| before(attached));
            c::PyOS_BeforeFork();
            c::PyOS_AfterFork_Child();
            if let (true, Some(mode)) = (IS_C_LOCALE.load(Ordering::Relaxed), &resumption.utf8_mode)
            {
                mode.turn_on();
            }
            super::Interpreter::resumed()
        }
    }
}

/// Has the kernel copy at once what is about to be written to: a fault for each page costs more.
fn populate() {
    let apart = memory::apart();
    let start = apart.start & !(PAGE - 1);
    // SAFETY: the pages keep their content. Older kernels do not know it.
    unsafe { libc::madvise(place(start), apart.end - start, libc::MADV_POPULATE_WRITE) };
}

/// Whether this process has begun with an image.
pub(crate) fn is_resumed() -> bool {
    IS_RESUMED.load(Ordering::Relaxed)
}
