//! The layout of a start-up snapshot, as `docs/formats/snapshot.md` specifies it.
//!
//! A runner that can be snapshotted has all writable data that is not the C library's in one segment at a fixed address. The
//! segment begins with a [`Header`]. A snapshot replaces the segment's content by an image: data, zeroed data and heap of
//! an interpreter that has started.

/// Where the segment begins, in memory.
pub const IMAGE_ADDRESS: u64 = 0x2000_0000;

/// Where the copy of the segment's first content is, in memory: the executable starts from it where the image cannot be used.
pub const INITIAL_ADDRESS: u64 = 0x1e00_0000;

/// The two addresses in a runner that is loaded anywhere, as portable ones are, counted from its beginning. What lies between
/// them has room for a libpython.
pub const MOVABLE_IMAGE_ADDRESS: u64 = 0x03c0_0000;

/// As above.
pub const MOVABLE_INITIAL_ADDRESS: u64 = 0x0080_0000;

/// The sections of a portable runner whose segments a libpython can take: what is read before its code, its code, what is read
/// behind it, its writable data, and the code behind that, where an optimiser of linked files has moved it, as BOLT does.
pub const PYTHON_SECTIONS: [&str; 5] = [
    ".pyox_python_head",
    ".pyox_python_code",
    ".pyox_python_rest",
    PYTHON_DATA_SECTION,
    ".pyox_python_late",
];

/// That of the writable data.
pub const PYTHON_DATA_SECTION: &str = ".pyox_python_data";

/// The sections whose segments libraries can take that libpython needs, before libpython's: for each library what is not written to,
/// and what is. The first one begins where there is room for all of them.
pub const LIBRARY_SECTIONS: [[&str; 2]; 4] = [
    [".pyox_library_1", ".pyox_library_1_data"],
    [".pyox_library_2", ".pyox_library_2_data"],
    [".pyox_library_3", ".pyox_library_3_data"],
    [".pyox_library_4", ".pyox_library_4_data"],
];

/// As above.
pub const MOVABLE_LIBRARIES_ADDRESS: u64 = 0x0100_0000;

/// Functions of the C library whose place pyembed's take, in `pyembed/src/ffi/snapshot/`.
pub const OF_LIBC: [&str; 10] = [
    "aligned_alloc",
    "calloc",
    "free",
    "malloc",
    "malloc_usable_size",
    "memalign",
    "posix_memalign",
    "pthread_key_create",
    "pthread_key_delete",
    "realloc",
];

/// Functions of the C library that a survey sees, in `pyembed/src/ffi/snapshot/watch.rs`.
pub const WATCHED: [&str; 65] = [
    "chdir",
    "clearenv",
    "clock",
    "clock_gettime",
    "connect",
    "fchdir",
    "getcwd",
    "getegid",
    "getentropy",
    "getenv",
    "geteuid",
    "getgid",
    "getgroups",
    "gethostname",
    "getloadavg",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrlimit64",
    "getrusage",
    "getsid",
    "gettimeofday",
    "getuid",
    "ioctl",
    "isatty",
    "localeconv",
    "localtime",
    "localtime_r",
    "mktime",
    "mmap",
    "mmap64",
    "nice",
    "nl_langinfo",
    "pthread_create",
    "putenv",
    "read",
    "sched_getaffinity",
    "secure_getenv",
    "setenv",
    "setitimer",
    "setlocale",
    "setpriority",
    "setrlimit",
    "setrlimit64",
    "sigaction",
    "sigaltstack",
    "signal",
    "socket",
    "socketpair",
    "sysconf",
    "tcgetattr",
    "time",
    "times",
    "ttyname_r",
    "tzset",
    "umask",
    "uname",
    "unsetenv",
    "write",
];

/// Where the blob begins in an executable at fixed addresses: behind all that is linked, and near enough for the 32-bit distances
/// that code of the small model has.
pub const FIXED_BLOB_ADDRESS: u64 = 0x6000_0000;

/// The image ends below this address.
pub const IMAGE_LIMIT: u64 = 0x5f00_0000;

/// The section that holds the segment's data as it is linked, and the whole image afterwards.
pub const DATA_SECTION: &str = ".pyox_data";

/// The section of zeroed data behind it.
pub const BSS_SECTION: &str = ".pyox_bss";

/// The section for the copy of the first content.
pub const INITIAL_SECTION: &str = ".pyox_initial";

/// What the header begins with.
pub const MAGIC: [u8; 8] = *b"PYOXSNAP";

/// The version of the layout. Readers refuse others.
pub const VERSION: u32 = 1;

/// How long the executable's own path can be, in bytes. The process that is recorded has a path of this length.
pub const PATH_LEN: usize = 512;

/// The variable of the environment that names the file to which an executable in the mode [`Mode::Profile`] writes what it has
/// imported.
pub const PROFILE: &str = "PYOX_PROFILE";

/// What a survey says of a module that reads a variable of the environment, whose name follows.
pub const VARIABLE: &str = "reads the variable";

/// What a survey says of a module whose code is a shared object, before the path.
pub const NATIVE: &str = "needs the shared object";

/// What a survey says of a module that looks at a file which is not packed; its path follows.
pub const FILE: &str = "looks at the file";

/// What a survey says of a module that looks for links in the executable's path.
pub const RESOLVES: &str = "resolves the executable's path";

/// What an executable does when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It starts as ever. So a runner is linked.
    Ordinary,
    /// It reads a request from stdin, starts, and writes the image to stdout.
    Record,
    /// It begins where the image was taken.
    Resume,
    /// It starts as ever, and lists at its end what it has imported.
    Profile,
}

/// The beginning of the segment. Its numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the executable does.
    pub mode: Mode,
    /// The length of the image; 0 without one.
    pub len: u64,
    /// The length of the data as it was linked.
    pub initial: u64,
    /// Where in the image the heap begins, behind data and zeroed data.
    pub heap: u64,
    /// The libpython that has been made part of the executable, with whose data the image begins; all zero if there is none.
    pub python: Library,
    /// The table of libraries that came with it, of which each takes [`Library::LEN`] bytes: its address, and how many they are.
    pub libraries: [u32; 2],
    /// Where in the image the facts begin, a JSON object, and how long they are.
    pub facts: (u64, u64),
    /// SHA-256 of the image, computed while this field is zero.
    pub digest: [u8; 32],
}

/// A library that has been made part of a portable executable, libpython or one that it needs: addresses and lengths in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Library {
    /// Its writable data.
    pub data: [u32; 2],
    /// The function that each process calls first; 0 if there is none.
    pub initializer: u32,
    /// The array of its constructors, and its length in bytes.
    pub constructors: [u32; 2],
    /// What of its data nothing writes to once the loader has, and its length.
    pub constants: [u32; 2],
}

impl Library {
    /// That of an executable which has none.
    pub const NONE: Self =
        Self { data: [0; 2], initializer: 0, constructors: [0; 2], constants: [0; 2] };
    /// How long its record is.
    pub const LEN: usize = 28;

    /// The record at the start of the bytes; `None` if they are fewer.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk()?;
        let word = |at: usize| bytes[at..].first_chunk().map(|b| u32::from_le_bytes(*b));
        Some(Self {
            data: [word(0)?, word(4)?],
            initializer: word(8)?,
            constructors: [word(12)?, word(16)?],
            constants: [word(20)?, word(24)?],
        })
    }

    /// Its record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let Self { data, initializer, constructors, constants } = *self;
        let words = data.into_iter().chain([initializer]).chain(constructors).chain(constants);
        let mut bytes = [0; Self::LEN];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Header {
    /// Of an executable that starts as ever.
    pub const EMPTY: Self = Self {
        mode: Mode::Ordinary,
        len: 0,
        heap: 0,
        facts: (0, 0),
        initial: 0,
        digest: [0; 32],
        python: Library::NONE,
        libraries: [0; 2],
    };
    /// How long it is.
    pub const LEN: usize = 128;
    /// Where the digest is.
    pub const DIGEST: std::ops::Range<usize> = 48..80;
    /// Where libpython's record is, which begins with its data.
    pub const PYTHON: usize = 88;
    /// Where the table of libraries is told of.
    const LIBRARIES: usize = Self::PYTHON + Library::LEN;
    /// Where the mode is.
    pub const MODE: std::ops::Range<usize> = 12..16;

    /// The header at the start of the bytes. `None` if they do not begin with one of this version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk()?;
        let long = |at: usize| bytes[at..].first_chunk().map(|b| u64::from_le_bytes(*b));
        let word = |at: usize| bytes[at..].first_chunk().map(|b| u32::from_le_bytes(*b));
        if bytes[..8] != MAGIC || word(8)? != VERSION {
            return None;
        }
        let mode = match word(12)? {
            0 => Mode::Ordinary,
            1 => Mode::Record,
            2 => Mode::Resume,
            3 => Mode::Profile,
            _ => return None,
        };
        Some(Self {
            mode,
            len: long(16)?,
            facts: (long(24)?, long(32)?),
            initial: long(40)?,
            heap: long(80)?,
            python: Library::read(&bytes[Self::PYTHON..])?,
            libraries: [word(Self::LIBRARIES)?, word(Self::LIBRARIES + 4)?],
            digest: *bytes[Self::DIGEST].first_chunk()?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[Self::MODE].copy_from_slice(&self.mode.number().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.len.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.facts.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.facts.1.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.initial.to_le_bytes());
        bytes[Self::DIGEST].copy_from_slice(&self.digest);
        bytes[80..88].copy_from_slice(&self.heap.to_le_bytes());
        bytes[Self::PYTHON..Self::LIBRARIES].copy_from_slice(&self.python.to_bytes());
        for (to, word) in bytes[Self::LIBRARIES..].chunks_exact_mut(4).zip(self.libraries) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Mode {
    /// Its number in the header.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Ordinary => 0,
            Self::Record => 1,
            Self::Resume => 2,
            Self::Profile => 3,
        }
    }
}
