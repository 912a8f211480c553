//! Writes a blob as `docs/formats/blob.md` specifies it.
//!
//! Every length is known before the first byte is written, so the sections are laid out first and then
//! written from front to back into one buffer of the blob's final length. Each payload is freed once it
//! is written. The peak is about one blob's length. It costs two CRC-32 and one SHA-256 over all bytes.

use std::collections::HashMap;

use pyox_blob::Config;
use pyox_blob::layout::{
    self, ALIGNMENT, Codec, FILE_SIZE, FileKind, GROUP_SIZE, HEADER_SIZE, MODULE_SIZE, ModuleKind,
    PAGE, SECTION_SIZE, Section,
};
use pyox_schema::Digest;
use pyox_stage::Fault;

use crate::marshal::Code;

/// Modules that every start of an interpreter imports, in about that order. Their code is put first,
/// so that a start touches few pages; it is a hint for speed, and no reader may rely on it.
const FIRST: &[&str] = &[
    "encodings",
    "encodings.aliases",
    "encodings.utf_8",
    "codecs",
    "io",
    "abc",
    "__main__",
    "zipimport",
    "runpy",
    "importlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "importlib.machinery",
    "importlib.util",
    "importlib._abc",
    "warnings",
    "os",
    "stat",
    "posixpath",
    "genericpath",
    "_collections_abc",
    "types",
    "functools",
    "collections",
    "keyword",
    "operator",
    "reprlib",
    "contextlib",
    "enum",
    "re",
    "re._compiler",
    "re._constants",
    "re._parser",
    "re._casefix",
    "copyreg",
    "linecache",
    "tokenize",
    "token",
    "traceback",
    "threading",
];

/// All that goes into a blob, in any order.
#[derive(Debug, Clone)]
pub struct Contents {
    /// How the interpreter starts, and what it runs.
    pub config: Config,
    /// The projects that modules and files name.
    pub projects: Vec<Project>,
    /// What can be imported.
    pub modules: Vec<Module>,
    /// Everything that has a path.
    pub files: Vec<File>,
    /// What modules and files with a [`Place`] lie in.
    pub groups: Vec<Group>,
}

/// Payloads that are compressed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// One zstd frame.
    pub stored: Vec<u8>,
    /// How many bytes it decodes to.
    pub len: u32,
}

/// Where in a group something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The group's number.
    pub group: u32,
    /// The offset in its decoded bytes.
    pub at: u64,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its normalised name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The dotted name.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Whether an extension module is itself a package.
    pub package: bool,
    /// The name of its project.
    pub project: String,
    /// Its code; empty where it has none.
    pub code: Code,
    /// Where its code lies in a group, if it does.
    pub place: Option<Place>,
    /// The path of its source or its shared object.
    pub file: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The path in the application's tree.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// The name of its project.
    pub project: String,
    /// How `stored` came from the file's bytes.
    pub codec: Codec,
    /// The bytes as they go into the blob, or into a group.
    pub stored: Vec<u8>,
    /// Where it lies in a group, if it does.
    pub place: Option<Place>,
    /// How many bytes the file has.
    pub len: u64,
    /// The paths of the shared libraries that must be loaded before, in their order.
    pub needs: Vec<String>,
}

/// The blob with these contents.
///
/// # Errors
///
/// If something refers to what is not there, two things have one name, or a number does not fit its field.
pub fn write(mut contents: Contents) -> Result<Vec<u8>, Fault> {
    contents.sort();
    let order = contents.code_order();
    let Contents { config, projects, mut modules, mut files, mut groups } = contents;
    let names = Names {
        projects: Names::of("project", projects.iter().map(|p| p.name.as_str()))?,
        files: Names::of("file", files.iter().map(|f| f.path.as_str()))?,
    };

    // No record refers to a module, but two must not have one name.
    Names::of("module", modules.iter().map(|m| m.name.as_str()))?;

    // What does not depend on where anything lies.
    let mut strings = Strings::default();
    let module_names = strings.add_all(modules.iter().map(|m| m.name.as_str()))?;
    let file_names = strings.add_all(files.iter().map(|f| f.path.as_str()))?;
    let project_records = strings.add_all(
        projects.iter().flat_map(|project| [project.name.as_str(), project.version.as_str()]),
    )?;
    let mut needs = Vec::new();
    let mut needs_first = Vec::with_capacity(files.len());
    for file in &files {
        needs_first.push(count_of(needs.len(), "needs")?);
        for path in &file.needs {
            needs.push(find(&names.files, path, &file.path)?);
        }
    }
    let order = order.into_iter().filter(|number| modules[*number].place.is_none()).collect();
    let code = Area::new(order, &modules);
    let with = |codec| {
        let files = files.iter().enumerate();
        files.filter(move |(_, file)| file.codec == codec).map(|(number, _)| number).collect()
    };
    let data = Area::new(with(Codec::Stored), &files);
    let cold = Area::new(with(Codec::Zstd), &files);
    // Behind them, in the same section.
    let frames = Area::new((0..groups.len()).collect(), &groups);

    // Where everything lies.
    let mut small = [
        (Section::Config, 0, config.encode()),
        (Section::Modules, modules.len(), vec![0; modules.len() * MODULE_SIZE]),
        (Section::ModuleIndex, layout::slots(modules.len()), index(&module_hashes(&modules))),
        (Section::Files, files.len(), vec![0; files.len() * FILE_SIZE]),
        (Section::FileIndex, layout::slots(files.len()), index(&file_hashes(&files))),
        (Section::Needs, needs.len(), needs.iter().flat_map(|need| need.to_le_bytes()).collect()),
        (Section::Projects, projects.len(), project_records.concat()),
        (Section::Strings, 0, strings.bytes),
    ];
    let lengths: Vec<_> = small
        .iter()
        .map(|(section, count, bytes)| (*section, *count, bytes.len()))
        .chain([
            (Section::Code, 0, code.len),
            (Section::Data, 0, data.len),
            (Section::Cold, 0, cold.len + frames.len),
        ])
        // Readers of the first version have never heard of it.
        .chain((!groups.is_empty()).then_some((
            Section::Groups,
            groups.len(),
            groups.len() * GROUP_SIZE,
        )))
        .collect();
    let table = Table::new(&lengths);

    // Records, now that their payloads have a place.
    small[1].2 =
        module_records(&modules, &module_names, &names, &table.place(&code, Section::Code))?;
    let places = Places {
        data: table.place(&data, Section::Data),
        cold: table.place(&cold, Section::Cold),
        needs_first,
    };
    small[3].2 = file_records(&files, &file_names, &names, &places)?;
    let frames_at = table.offset(Section::Cold) + cold.len;
    let group_records = group_records(&groups, &frames, frames_at)?;

    let mut out = Vec::with_capacity(table.size);
    out.resize(HEADER_SIZE + lengths.len() * SECTION_SIZE, 0);
    for ((_, _, bytes), extent) in small.into_iter().zip(&table.extents) {
        out.resize(extent.offset, 0);
        out.extend_from_slice(&bytes);
    }
    let mut extents = table.extents.iter().skip_while(|extent| extent.section != Section::Code);
    let mut base = || extents.next().map_or(0, |extent| extent.offset);
    code.append(&mut out, base(), &mut modules);
    data.append(&mut out, base(), &mut files);
    cold.append(&mut out, base(), &mut files);
    frames.append(&mut out, frames_at, &mut groups);
    out.resize(table.size - group_records.len(), 0);
    out.extend_from_slice(&group_records);
    table.seal(&mut out);
    Ok(out)
}

impl Contents {
    /// Brings all into the order of the blob.
    pub(crate) fn sort(&mut self) {
        self.projects.sort_by(|a, b| a.name.cmp(&b.name));
        self.modules.sort_by(|a, b| a.name.cmp(&b.name));
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The numbers of the modules in the order in which their code lies; they must be sorted.
    pub(crate) fn code_order(&self) -> Vec<usize> {
        let modules = &self.modules;
        let number = |name: &&str| modules.binary_search_by(|it| it.name.as_str().cmp(name)).ok();
        let first: Vec<usize> = FIRST.iter().filter_map(number).collect();
        let mut is_first = vec![false; modules.len()];
        for number in &first {
            is_first[*number] = true;
        }
        first.iter().copied().chain((0..modules.len()).filter(|n| !is_first[*n])).collect()
    }
}

/// Something with bytes that lie in a section of payloads.
trait Payload {
    fn bytes(&mut self) -> &mut Vec<u8>;
    fn len(&self) -> usize;
    /// It begins at a multiple of this.
    fn alignment(&self) -> usize;
}

impl Payload for Module {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.code.stream
    }

    fn len(&self) -> usize {
        self.code.stream.len()
    }

    fn alignment(&self) -> usize {
        ALIGNMENT
    }
}

impl Payload for File {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.stored
    }

    fn len(&self) -> usize {
        self.stored.len()
    }

    fn alignment(&self) -> usize {
        match (self.codec, self.kind) {
            (Codec::Zstd | Codec::Grouped, _) => 1,
            // The executable's own pages can then be those of the loaded library.
            (Codec::Stored, FileKind::Extension | FileKind::Library) => PAGE,
            (Codec::Stored, _) => ALIGNMENT,
        }
    }
}

impl Payload for Group {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.stored
    }

    fn len(&self) -> usize {
        self.stored.len()
    }

    fn alignment(&self) -> usize {
        1
    }
}

/// A section of payloads: which, in what order, and where each begins, from the section's beginning.
struct Area {
    payloads: Vec<(usize, usize)>,
    len: usize,
}

impl Area {
    fn new<P: Payload>(order: Vec<usize>, items: &[P]) -> Self {
        let mut area = Self { payloads: Vec::with_capacity(order.len()), len: 0 };
        for number in order {
            let len = items[number].len();
            if len > 0 {
                let at = area.len.next_multiple_of(items[number].alignment());
                area.payloads.push((number, at));
                area.len = at + len;
            }
        }
        area
    }

    fn append<P: Payload>(&self, out: &mut Vec<u8>, base: usize, items: &mut [P]) {
        for &(number, at) in &self.payloads {
            out.resize(base + at, 0);
            out.append(items[number].bytes());
            // `append` leaves the allocation, and it is as large as the payload.
            *items[number].bytes() = Vec::new();
        }
    }
}

/// Where each section lies.
struct Table {
    extents: Vec<Extent>,
    size: usize,
}

struct Extent {
    section: Section,
    offset: usize,
    len: usize,
    count: usize,
}

impl Table {
    fn new(lengths: &[(Section, usize, usize)]) -> Self {
        let mut size = HEADER_SIZE + lengths.len() * SECTION_SIZE;
        let extents = lengths
            .iter()
            .map(|&(section, count, len)| {
                let offset = size.next_multiple_of(match section {
                    Section::Data | Section::Cold => PAGE,
                    _ => ALIGNMENT,
                });
                size = offset + len;
                Extent { section, offset, len, count }
            })
            .collect();
        Self { extents, size }
    }

    /// Where a section begins.
    fn offset(&self, section: Section) -> usize {
        self.extents.iter().find(|e| e.section == section).map_or(0, |e| e.offset)
    }

    /// Where each item's payload lies in the blob, by the item's number.
    fn place(&self, area: &Area, section: Section) -> HashMap<usize, u64> {
        let base = self.offset(section);
        area.payloads.iter().map(|&(number, at)| (number, (base + at) as u64)).collect()
    }

    /// Fills in the section table and the header.
    fn seal(&self, out: &mut [u8]) {
        use layout::{header, section};
        for (number, extent) in self.extents.iter().enumerate() {
            let crc = crc32fast::hash(&out[extent.offset..][..extent.len]);
            let entry = &mut out[HEADER_SIZE + number * SECTION_SIZE..][..SECTION_SIZE];
            put(entry, section::KIND, &extent.section.code().to_le_bytes());
            put(entry, section::CRC, &crc.to_le_bytes());
            put(entry, section::OFFSET, &(extent.offset as u64).to_le_bytes());
            put(entry, section::LENGTH, &(extent.len as u64).to_le_bytes());
            put(entry, section::COUNT, &(extent.count as u64).to_le_bytes());
        }
        let (head, body) = out.split_at_mut(HEADER_SIZE);
        put(head, 0, &layout::MAGIC);
        let has_groups = self.extents.iter().any(|extent| extent.section == Section::Groups);
        let (major, minor) = if has_groups { layout::VERSION_WITH_GROUPS } else { layout::VERSION };
        put(head, header::MAJOR, &major.to_le_bytes());
        put(head, header::MINOR, &minor.to_le_bytes());
        // At most twelve sections.
        #[allow(clippy::cast_possible_truncation)]
        let count = self.extents.len() as u32;
        put(head, header::SECTION_COUNT, &count.to_le_bytes());
        put(head, header::SIZE, &(self.size as u64).to_le_bytes());
        put(head, header::DIGEST, &Digest::of(body).0);
        let table_crc = crc32fast::hash(&body[..self.extents.len() * SECTION_SIZE]);
        put(head, header::TABLE_CRC, &table_crc.to_le_bytes());
        let crc = crc32fast::hash(&head[..header::HEADER_CRC]);
        put(head, header::HEADER_CRC, &crc.to_le_bytes());
    }
}

/// The numbers of all that records refer to by number.
struct Names<'a> {
    projects: HashMap<&'a str, u32>,
    files: HashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn of(
        what: &str,
        names: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, u32>, Fault> {
        let mut numbers = HashMap::with_capacity(names.len());
        for (number, name) in names.enumerate() {
            if numbers.insert(name, count_of(number, what)?).is_some() {
                return Err(Fault::new(what, format_args!("two have the name {name}")));
            }
        }
        Ok(numbers)
    }
}

/// Where files' payloads and lists of needs lie.
struct Places {
    data: HashMap<usize, u64>,
    cold: HashMap<usize, u64>,
    needs_first: Vec<u32>,
}

fn module_records(
    modules: &[Module],
    module_names: &[[u8; 8]],
    names: &Names,
    places: &HashMap<usize, u64>,
) -> Result<Vec<u8>, Fault> {
    use layout::module as at;
    let mut records = Vec::with_capacity(modules.len() * MODULE_SIZE);
    for (number, (module, name)) in modules.iter().zip(module_names).enumerate() {
        let code_length = count_of(module.code.stream.len(), &module.name)?;
        let file = match &module.file {
            Some(path) => find(&names.files, path, &module.name)? + 1,
            None => 0,
        };
        let flags = if module.package { layout::FLAG_PACKAGE } else { 0 };
        let mut record = [0; MODULE_SIZE];
        put(&mut record, at::NAME_OFFSET, name);
        let (group, offset) = match module.place {
            Some(place) => (count_of(place.group as usize, &module.name)? + 1, place.at),
            None => (0, places.get(&number).copied().unwrap_or(0)),
        };
        put(&mut record, at::CODE_OFFSET, &offset.to_le_bytes());
        put(&mut record, at::GROUP, &group.to_le_bytes());
        put(&mut record, at::CODE_LENGTH, &code_length.to_le_bytes());
        put(&mut record, at::CODE_CRC, &crc32fast::hash(&module.code.stream).to_le_bytes());
        put(&mut record, at::FILE, &file.to_le_bytes());
        put(&mut record, at::FILE_NAME, &module.code.file_name.to_le_bytes());
        put(&mut record, at::KIND, &module.kind.code().to_le_bytes());
        put(&mut record, at::FLAGS, &flags.to_le_bytes());
        let project = find(&names.projects, &module.project, &module.name)?;
        put(&mut record, at::PROJECT, &project.to_le_bytes());
        finish(&mut record, &module.name, at::RECORD_CRC);
        records.extend_from_slice(&record);
    }
    Ok(records)
}

fn file_records(
    files: &[File],
    file_names: &[[u8; 8]],
    names: &Names,
    places: &Places,
) -> Result<Vec<u8>, Fault> {
    use layout::file as at;
    let mut records = Vec::with_capacity(files.len() * FILE_SIZE);
    for (number, (file, name)) in files.iter().zip(file_names).enumerate() {
        let in_blob = |area: &HashMap<usize, u64>| {
            (area.get(&number).copied().unwrap_or(0), file.stored.len() as u64)
        };
        let (offset, stored) = match (file.codec, file.place) {
            (Codec::Stored, _) => in_blob(&places.data),
            (Codec::Zstd, _) => in_blob(&places.cold),
            (Codec::Grouped, Some(place)) => (place.at, place.group.into()),
            (Codec::Grouped, None) => {
                return Err(Fault::new(&file.path, "expected its place in a group, got none"));
            }
        };
        let mut record = [0; FILE_SIZE];
        put(&mut record, at::PATH_OFFSET, name);
        put(&mut record, at::OFFSET, &offset.to_le_bytes());
        put(&mut record, at::STORED_LENGTH, &stored.to_le_bytes());
        put(&mut record, at::LENGTH, &file.len.to_le_bytes());
        put(&mut record, at::CRC, &crc32fast::hash(&file.stored).to_le_bytes());
        put(&mut record, at::KIND, &file.kind.code().to_le_bytes());
        put(&mut record, at::CODEC, &file.codec.code().to_le_bytes());
        let project = find(&names.projects, &file.project, &file.path)?;
        put(&mut record, at::PROJECT, &project.to_le_bytes());
        put(&mut record, at::NEEDS_FIRST, &places.needs_first[number].to_le_bytes());
        let needs = count_of(file.needs.len(), &file.path)?;
        put(&mut record, at::NEEDS_COUNT, &needs.to_le_bytes());
        finish(&mut record, &file.path, at::RECORD_CRC);
        records.extend_from_slice(&record);
    }
    Ok(records)
}

fn group_records(groups: &[Group], frames: &Area, base: usize) -> Result<Vec<u8>, Fault> {
    use layout::group as at;
    let mut records = vec![0; groups.len() * GROUP_SIZE];
    for &(number, place) in &frames.payloads {
        let group = &groups[number];
        let record = &mut records[number * GROUP_SIZE..][..GROUP_SIZE];
        put(record, at::OFFSET, &((base + place) as u64).to_le_bytes());
        put(record, at::STORED_LENGTH, &count_of(group.stored.len(), "groups")?.to_le_bytes());
        put(record, at::LENGTH, &group.len.to_le_bytes());
        put(record, at::CRC, &crc32fast::hash(&group.stored).to_le_bytes());
        let crc = crc32fast::hash(&record[..at::RECORD_CRC]);
        put(record, at::RECORD_CRC, &crc.to_le_bytes());
    }
    Ok(records)
}

/// Writes a record's checksum, which is over its name and all behind the name's place.
fn finish(record: &mut [u8], name: &str, crc_at: usize) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&record[8..crc_at]);
    put(record, crc_at, &hasher.finalize().to_le_bytes());
}

/// The names and paths, each once.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Strings {
    /// Offset and length of each, as records hold them.
    fn add_all<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> Result<Vec<[u8; 8]>, Fault> {
        texts.map(|text| self.add(text)).collect()
    }

    fn add(&mut self, text: &str) -> Result<[u8; 8], Fault> {
        let offset = match self.known.get(text) {
            Some(offset) => *offset,
            None if text.is_empty() => 0,
            None => {
                let offset = count_of(self.bytes.len(), "strings")?;
                self.bytes.extend_from_slice(text.as_bytes());
                self.known.insert(text.to_owned(), offset);
                offset
            }
        };
        let mut place = [0; 8];
        put(&mut place, 0, &offset.to_le_bytes());
        put(&mut place, 4, &count_of(text.len(), "strings")?.to_le_bytes());
        Ok(place)
    }
}

fn module_hashes(modules: &[Module]) -> Vec<u64> {
    modules.iter().map(|module| layout::hash(module.name.as_bytes())).collect()
}

fn file_hashes(files: &[File]) -> Vec<u64> {
    files.iter().map(|file| layout::hash(file.path.as_bytes())).collect()
}

/// The hash index over records with names of these hashes; see [`layout::hash`].
fn index(hashes: &[u64]) -> Vec<u8> {
    let slots = layout::slots(hashes.len());
    let mut index = vec![(0_u32, 0_u32); slots];
    // The upper half is the slot's tag; the low bits say where the search begins. More than u32 records
    // have been refused by now.
    #[allow(clippy::cast_possible_truncation)]
    for (number, hash) in (1..).zip(hashes) {
        let mut at = *hash as usize & (slots - 1);
        while index[at].1 != 0 {
            at = (at + 1) & (slots - 1);
        }
        index[at] = ((hash >> 32) as u32, number);
    }
    index
        .iter()
        .flat_map(|(tag, number)| [tag.to_le_bytes(), number.to_le_bytes()])
        .flatten()
        .collect()
}

fn find(numbers: &HashMap<&str, u32>, name: &str, place: &str) -> Result<u32, Fault> {
    let missing = || Fault::new(place, format_args!("refers to {name}, which is not there"));
    numbers.get(name).copied().ok_or_else(missing)
}

fn count_of(count: usize, place: &str) -> Result<u32, Fault> {
    // One less than u32 holds: the indexes and the module records add one.
    u32::try_from(count).ok().filter(|count| *count < u32::MAX).ok_or_else(|| {
        Fault::new(place, format_args!("expected less than {}, got {count}", u32::MAX))
    })
}

fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    record[at..at + bytes.len()].copy_from_slice(bytes);
}
