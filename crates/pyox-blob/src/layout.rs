//! The byte layout of a blob. `docs/formats/blob.md` is the specification; the names
//! here are its names. Every integer is little-endian; every offset counts from the blob's first byte
//! unless it says otherwise.

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"PYOXBLOB";
/// The version that a blob says it has, major and minor: the oldest whose readers understand it. Readers refuse a major version
/// that they do not know; a larger minor version only adds sections and flags that older readers may ignore.
pub const VERSION: (u16, u16) = (1, 1);
/// The version of a blob with groups.
pub const VERSION_WITH_GROUPS: (u16, u16) = (2, 0);
/// The greatest major version.
pub const MAJOR: u16 = VERSION_WITH_GROUPS.0;

/// The section of an executable that holds the blob.
pub const ELF_SECTION: &str = ".pyox_blob";

/// Length of the header.
pub const HEADER_SIZE: usize = 64;
/// Length of one entry of the section table, which follows the header.
pub const SECTION_SIZE: usize = 32;
/// Length of one record of [`Section::Modules`].
pub const MODULE_SIZE: usize = 48;
/// Length of one record of [`Section::Files`].
pub const FILE_SIZE: usize = 56;
/// Length of one record of [`Section::Projects`].
pub const PROJECT_SIZE: usize = 16;
/// Length of one slot of the indexes.
pub const SLOT_SIZE: usize = 8;
/// Length of one element of [`Section::Needs`].
pub const NEED_SIZE: usize = 4;
/// Length of one record of [`Section::Groups`].
pub const GROUP_SIZE: usize = 24;

/// Sections, bytecode and stored payloads begin at a multiple of this.
pub const ALIGNMENT: usize = 16;
/// [`Section::Data`] and [`Section::Cold`] begin at a multiple of this, so that start-up touches
/// no page of them.
pub const PAGE: usize = 4096;

/// Offsets of the header's fields.
pub mod header {
    /// u16: format major version.
    pub const MAJOR: usize = 8;
    /// u16: format minor version.
    pub const MINOR: usize = 10;
    /// u32: number of sections.
    pub const SECTION_COUNT: usize = 12;
    /// u64: length of the whole blob.
    pub const SIZE: usize = 16;
    /// 32 bytes: SHA-256 of everything behind the header; the blob's identity.
    pub const DIGEST: usize = 24;
    /// u32: CRC-32 of the section table.
    pub const TABLE_CRC: usize = 56;
    /// u32: CRC-32 of the header's first 60 bytes.
    pub const HEADER_CRC: usize = 60;
}

/// Offsets of a section table entry's fields.
pub mod section {
    /// u32: which section, see [`super::Section`].
    pub const KIND: usize = 0;
    /// u32: CRC-32 of the section's bytes.
    pub const CRC: usize = 4;
    /// u64: where it begins.
    pub const OFFSET: usize = 8;
    /// u64: how many bytes it has.
    pub const LENGTH: usize = 16;
    /// u64: how many records, slots or elements it holds; 0 for plain bytes.
    pub const COUNT: usize = 24;
}

/// Offsets of a module record's fields.
pub mod module {
    /// u32: where the dotted name begins in [`super::Section::Strings`].
    pub const NAME_OFFSET: usize = 0;
    /// u32: length of the name.
    pub const NAME_LENGTH: usize = 4;
    /// u64: where the marshalled code object begins, in the blob or in its decoded group; 0 without one.
    pub const CODE_OFFSET: usize = 8;
    /// u32: length of the marshalled code object; 0 without one.
    pub const CODE_LENGTH: usize = 16;
    /// u32: CRC-32 of the marshalled code object.
    pub const CODE_CRC: usize = 20;
    /// u32: 1 + the number of the file record of its source or extension module; 0 without one.
    pub const FILE: usize = 24;
    /// u16: see [`super::ModuleKind`].
    pub const KIND: usize = 28;
    /// u16: see [`super::FLAG_PACKAGE`].
    pub const FLAGS: usize = 30;
    /// u32: number of the project's record.
    pub const PROJECT: usize = 32;
    /// u32: where in the code object the name of its file stands, see [`crate::Blob::file_name`]; 0 where that is not
    /// known.
    pub const FILE_NAME: usize = 36;
    /// u32: 1 + the number of the group that the code object is in; 0 without one.
    pub const GROUP: usize = 40;
    /// u32: CRC-32 of the name's bytes followed by the record's bytes 8 to 43.
    pub const RECORD_CRC: usize = 44;
}

/// Offsets of a file record's fields.
pub mod file {
    /// u32: where the path begins in [`super::Section::Strings`].
    pub const PATH_OFFSET: usize = 0;
    /// u32: length of the path.
    pub const PATH_LENGTH: usize = 4;
    /// u64: where the stored bytes begin, in the blob or in the decoded group.
    pub const OFFSET: usize = 8;
    /// u64: how many bytes are stored; for a file in a group the group's number.
    pub const STORED_LENGTH: usize = 16;
    /// u64: how many bytes the file has.
    pub const LENGTH: usize = 24;
    /// u32: CRC-32 of the stored bytes.
    pub const CRC: usize = 32;
    /// u16: see [`super::FileKind`].
    pub const KIND: usize = 36;
    /// u16: see [`super::Codec`].
    pub const CODEC: usize = 38;
    /// u32: number of the project's record.
    pub const PROJECT: usize = 40;
    /// u32: number of its first element in [`super::Section::Needs`].
    pub const NEEDS_FIRST: usize = 44;
    /// u32: how many elements of [`super::Section::Needs`] are its own.
    pub const NEEDS_COUNT: usize = 48;
    /// u32: CRC-32 of the path's bytes followed by the record's bytes 8 to 51.
    pub const RECORD_CRC: usize = 52;
}

/// Offsets of a group record's fields.
pub mod group {
    /// u64: where the zstd frame begins.
    pub const OFFSET: usize = 0;
    /// u32: length of the frame.
    pub const STORED_LENGTH: usize = 8;
    /// u32: how many bytes it decodes to.
    pub const LENGTH: usize = 12;
    /// u32: CRC-32 of the frame.
    pub const CRC: usize = 16;
    /// u32: CRC-32 of the record's bytes 0 to 19.
    pub const RECORD_CRC: usize = 20;
}

/// Offsets of a project record's fields.
pub mod project {
    /// u32: where the project's name begins in [`super::Section::Strings`].
    pub const NAME_OFFSET: usize = 0;
    /// u32: length of the name.
    pub const NAME_LENGTH: usize = 4;
    /// u32: where the version begins in [`super::Section::Strings`].
    pub const VERSION_OFFSET: usize = 8;
    /// u32: length of the version; 0 where it has none.
    pub const VERSION_LENGTH: usize = 12;
}

/// Set in a module record's flags where an extension module is itself a package.
pub const FLAG_PACKAGE: u16 = 1;

macro_rules! codes {
    ($(#[$about:meta])* $name:ident: $int:ty { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($int)]
        pub enum $name { $($(#[$doc])* $variant = $code,)* }

        impl $name {
            /// Every value, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of a code; none for a code that the format does not know.
            #[must_use]
            pub const fn from_code(code: $int) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The code that stands in the blob.
            #[must_use]
            pub const fn code(self) -> $int { self as $int }

            /// The specification's name for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// The sections, in the order in which they lie in the blob.
    Section: u32 {
        /// The configuration record, encoded by bincode 2.0.1.
        Config = 1, "config";
        /// Module records, sorted by name.
        Modules = 2, "modules";
        /// Hash index over the module records.
        ModuleIndex = 3, "module-index";
        /// File records, sorted by path.
        Files = 4, "files";
        /// Hash index over the file records.
        FileIndex = 5, "file-index";
        /// Numbers of file records: the shared libraries that an ELF file needs, nearest first.
        Needs = 6, "needs";
        /// Project records, sorted by name.
        Projects = 7, "projects";
        /// Names and paths, UTF-8.
        Strings = 8, "strings";
        /// Marshalled code objects.
        Code = 9, "code";
        /// Files stored as they are.
        Data = 10, "data";
        /// Files stored compressed, each by itself, and groups.
        Cold = 11, "cold";
        /// Group records.
        Groups = 12, "groups";
    }
}

codes! {
    /// What a module record is.
    ModuleKind: u16 {
        /// A module with bytecode.
        Module = 1, "module";
        /// A package with bytecode.
        Package = 2, "package";
        /// A package without a module of its own (PEP 420).
        Namespace = 3, "namespace-package";
        /// An extension module in a shared object.
        Extension = 4, "extension-module";
        /// An extension module that is part of the executable.
        Builtin = 5, "built-in";
    }
}

codes! {
    /// What a file record is.
    FileKind: u16 {
        /// A module's source.
        Source = 1, "source";
        /// Package data.
        Data = 2, "package-data";
        /// A file of a `.dist-info` folder.
        Metadata = 3, "metadata";
        /// An extension module's shared object.
        Extension = 4, "extension-module";
        /// A shared library.
        Library = 5, "shared-library";
    }
}

codes! {
    /// How a file's bytes are stored.
    Codec: u16 {
        /// As they are.
        Stored = 0, "stored";
        /// One zstd frame.
        Zstd = 1, "zstd";
        /// A part of a group.
        Grouped = 2, "grouped";
    }
}

/// The hash of the indexes: FNV-1a, 64 bits, over the UTF-8 bytes.
///
/// A slot is two u32: the hash's upper half, then 1 + the record's number (0: empty slot). A search
/// begins at slot `hash % slots`, where `slots` is a power of two, and goes up by one, wrapping, until
/// it meets the record or an empty slot.
#[must_use]
pub const fn hash(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// How many slots an index over `records` records has: a power of two, at most half full.
#[must_use]
pub const fn slots(records: usize) -> usize {
    (if records == 0 { 1 } else { records * 2 }).next_power_of_two()
}

/// How many sections there can be: opening a blob reads the whole table.
pub const MOST_SECTIONS: u32 = 256;

/// How many bytes one byte of a zstd frame can stand for: a block of 128 KiB takes four at least.
pub const MOST_ZSTD_RATIO: u64 = 128 * 1024 / 4;

/// How many bytes a group decodes to at most: a reader of one small payload makes room for all of its group.
pub const LARGEST_GROUP: u32 = 16 << 20;

/// The longest name of a module and the longest path, in bytes: the longest path that Linux takes.
pub const LONGEST_NAME: u32 = 4096;

/// Whether a kernel can run a file that begins so: an ELF file, or a script that names its interpreter.
#[must_use]
pub fn is_program(head: &[u8]) -> bool {
    head.starts_with(b"#!") || head.starts_with(b"\x7fELF")
}

/// Why a text is no path inside an application's tree: relative, with `/` between its parts, none of them empty, `.` or
/// `..`, no zero byte, and not longer than [`LONGEST_NAME`]; `None` if it is one.
#[must_use]
pub fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("it is empty")
    } else if path.len() > LONGEST_NAME as usize {
        Some("expected a path of at most 4096 bytes")
    } else if path.starts_with('/') {
        Some("expected a relative path, got an absolute one")
    } else if path.contains('\0') {
        Some("expected no NUL in the path")
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("expected no empty part and no . or .. in the path")
    } else {
        None
    }
}
