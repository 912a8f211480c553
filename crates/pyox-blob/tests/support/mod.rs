//! A small writer of blobs, for the tests that want one of a certain shape, or a damaged one.
//!
//! It shares the layout's constants with the reader, and nothing with the packer. Records are
//! sorted here; everything else is taken as it is given, right or wrong.

#![allow(dead_code, unreachable_pub, missing_docs)]

use pyox_blob::layout::{
    self, ALIGNMENT, Codec, FILE_SIZE, FileKind, HEADER_SIZE, MODULE_SIZE, ModuleKind, PAGE,
    PROJECT_SIZE, SECTION_SIZE, SLOT_SIZE, Section,
};
use pyox_blob::{Config, config};

/// What goes into a blob.
#[derive(Clone)]
pub struct Draft {
    pub config: Config,
    /// Name and version, sorted by name.
    pub projects: Vec<(&'static str, &'static str)>,
    pub modules: Vec<ModuleDraft>,
    pub files: Vec<FileDraft>,
}

#[derive(Clone)]
pub struct ModuleDraft {
    pub name: String,
    pub kind: ModuleKind,
    pub code: Vec<u8>,
    pub file: Option<&'static str>,
    pub flags: u16,
    pub project: u32,
}

#[derive(Clone)]
pub struct FileDraft {
    pub path: String,
    pub kind: FileKind,
    pub codec: Codec,
    pub stored: Vec<u8>,
    pub len: u64,
    pub needs: Vec<&'static str>,
    pub project: u32,
}

pub fn config() -> Config {
    Config {
        python: (3, 13),
        bytecode_magic: u32::from_le_bytes(*b"\xf3\x0d\x0d\x0a"),
        distribution: "0".repeat(64),
        run: config::Run::Module("app".to_owned()),
        preconfig: vec![setting("utf8_mode", config::Value::Integer(1))],
        config: vec![setting("warnoptions", config::Value::List(vec!["error".to_owned()]))],
        interpreter: config::Interpreter::Always,
        placements: vec![("app".to_owned(), config::Placement::Cache)],
        sys: vec![config::Setting {
            name: "frozen".to_owned(),
            value: config::Value::Boolean(true),
        }],
        search_path: vec!["$ORIGIN/plugins".to_owned()],
        environment: vec![("TERM".to_owned(), "dumb".to_owned())],
        module_lists: None,
    }
}

fn setting(name: &str, value: config::Value) -> config::Setting {
    config::Setting { name: name.to_owned(), value }
}

pub fn module(name: &str, kind: ModuleKind, code: &[u8]) -> ModuleDraft {
    ModuleDraft {
        name: name.to_owned(),
        kind,
        code: code.to_vec(),
        file: None,
        flags: 0,
        project: 0,
    }
}

pub fn file(path: &str, kind: FileKind, bytes: &[u8]) -> FileDraft {
    FileDraft {
        path: path.to_owned(),
        kind,
        codec: Codec::Stored,
        stored: bytes.to_vec(),
        len: bytes.len() as u64,
        needs: vec![],
        project: 0,
    }
}

/// A small application with something of every kind.
pub fn example() -> Draft {
    let mut modules = vec![
        module("app", ModuleKind::Package, b"code of app"),
        module("app.core", ModuleKind::Module, b"code of app.core"),
        module("ns", ModuleKind::Namespace, b""),
        module("app.fast", ModuleKind::Extension, b""),
        module("_abc", ModuleKind::Builtin, b""),
        module("json", ModuleKind::Module, b"code of json"),
    ];
    modules[0].file = Some("app/__init__.py");
    modules[1].file = Some("app/core.py");
    modules[3].file = Some("app/fast.abi3.so");
    modules[3].flags = layout::FLAG_PACKAGE;
    modules[4].project = 1;
    modules[5].project = 1;
    let mut files = vec![
        file("app/__init__.py", FileKind::Source, b"import app.core\n"),
        file("app/core.py", FileKind::Source, b"print('core')\n"),
        file("app/fast.abi3.so", FileKind::Extension, b"\x7fELF fast"),
        file("app/data/greeting.txt", FileKind::Data, b"hello\n"),
        file("app/empty", FileKind::Data, b""),
        file("app-1.0.dist-info/METADATA", FileKind::Metadata, b"Name: app\n"),
        file("app.libs/libz.so.1", FileKind::Library, b"\x7fELF libz"),
        file("app.libs/libc++.so", FileKind::Library, b"\x7fELF libc++"),
    ];
    files[2].needs = vec!["app.libs/libz.so.1", "app.libs/libc++.so"];
    files[6].needs = vec!["app.libs/libc++.so"];
    Draft { config: config(), projects: vec![("app", "1.0"), ("python", "")], modules, files }
}

impl Draft {
    /// The blob; `sha256` is asked for the digest of what is behind the header.
    pub fn write(&self, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Vec<u8> {
        let mut draft = self.clone();
        draft.modules.sort_by(|a, b| a.name.cmp(&b.name));
        draft.files.sort_by(|a, b| a.path.cmp(&b.path));
        draft.bytes(sha256)
    }

    /// The same with the records in the order in which they are.
    pub fn write_as_is(&self) -> Vec<u8> {
        self.clone().bytes(|_| [7; 32])
    }

    // One pass from records to bytes; cutting it up would only pass a dozen vectors around.
    #[allow(clippy::too_many_lines)]
    fn bytes(&self, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Vec<u8> {
        let number = |path: &str| {
            u32::try_from(self.files.iter().position(|file| file.path == path).unwrap()).unwrap()
        };
        let (mut strings, mut needs) = (Vec::new(), Vec::new());
        let mut string = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend_from_slice(text.as_bytes());
            [at.to_le_bytes(), u32::try_from(text.len()).unwrap().to_le_bytes()].concat()
        };

        // Payloads lie behind everything else, whose length is known already.
        let needed: usize = self.files.iter().map(|file| file.needs.len()).sum();
        let names = self.modules.iter().map(|m| m.name.len()).sum::<usize>()
            + self.files.iter().map(|f| f.path.len()).sum::<usize>()
            + self.projects.iter().map(|p| p.0.len() + p.1.len()).sum::<usize>();
        let index = |records: usize| layout::slots(records) * SLOT_SIZE;
        let mut at = HEADER_SIZE + sections().len() * SECTION_SIZE;
        let mut place = |len: usize, alignment: usize| {
            let start = at.next_multiple_of(alignment);
            at = start + len;
            start
        };
        let starts: Vec<_> = [
            self.config.encode().len(),
            self.modules.len() * MODULE_SIZE,
            index(self.modules.len()),
            self.files.len() * FILE_SIZE,
            index(self.files.len()),
            needed * layout::NEED_SIZE,
            self.projects.len() * PROJECT_SIZE,
            names,
        ]
        .map(|len| place(len, ALIGNMENT))
        .into();
        let mut heap = |alignment: usize, payloads: &[&[u8]]| {
            let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
            let start = at.next_multiple_of(alignment);
            for payload in payloads {
                bytes.resize(usize::next_multiple_of(bytes.len(), ALIGNMENT), 0);
                offsets.push((start + bytes.len()) as u64);
                bytes.extend_from_slice(payload);
            }
            at = start + bytes.len();
            (start, bytes, offsets)
        };
        let codes: Vec<_> = self.modules.iter().map(|module| &module.code[..]).collect();
        let (code_start, code, code_at) = heap(ALIGNMENT, &codes);
        let stored = |codec| -> Vec<&[u8]> {
            let files = self.files.iter().filter(|file| file.codec == codec);
            files.map(|file| &file.stored[..]).collect()
        };
        let (data_start, data, data_at) = heap(PAGE, &stored(Codec::Stored));
        let (cold_start, cold, cold_at) = heap(PAGE, &stored(Codec::Zstd));

        let mut modules = Vec::new();
        for (module, code_at) in self.modules.iter().zip(code_at) {
            let len = u32::try_from(module.code.len()).unwrap();
            let at = if len == 0 { 0 } else { code_at };
            let mut record = string(&module.name);
            record.extend(at.to_le_bytes());
            record.extend(len.to_le_bytes());
            record.extend(crc32fast::hash(&module.code).to_le_bytes());
            record.extend(module.file.map_or(0, |path| number(path) + 1).to_le_bytes());
            record.extend(module.kind.code().to_le_bytes());
            record.extend(module.flags.to_le_bytes());
            record.extend(module.project.to_le_bytes());
            record.extend([0; 8]);
            seal(&mut record, &module.name);
            modules.extend(record);
        }
        let mut files = Vec::new();
        let (mut data_at, mut cold_at) = (data_at.into_iter(), cold_at.into_iter());
        for file in &self.files {
            let at = if file.codec == Codec::Stored { data_at.next() } else { cold_at.next() };
            let first = u32::try_from(needs.len() / layout::NEED_SIZE).unwrap();
            needs.extend(file.needs.iter().flat_map(|path| number(path).to_le_bytes()));
            let mut record = string(&file.path);
            record.extend(at.unwrap().to_le_bytes());
            record.extend((file.stored.len() as u64).to_le_bytes());
            record.extend(file.len.to_le_bytes());
            record.extend(crc32fast::hash(&file.stored).to_le_bytes());
            record.extend(file.kind.code().to_le_bytes());
            record.extend(file.codec.code().to_le_bytes());
            record.extend(file.project.to_le_bytes());
            record.extend(first.to_le_bytes());
            record.extend(u32::try_from(file.needs.len()).unwrap().to_le_bytes());
            seal(&mut record, &file.path);
            files.extend(record);
        }
        let projects: Vec<u8> = self
            .projects
            .iter()
            .flat_map(|(name, version)| [string(name), string(version)].concat())
            .collect();
        let (module_names, paths): (Vec<_>, Vec<_>) = (
            self.modules.iter().map(|module| module.name.as_str()).collect(),
            self.files.iter().map(|file| file.path.as_str()).collect(),
        );

        let contents = [
            (self.config.encode(), 0),
            (modules, self.modules.len()),
            (hash_index(&module_names), layout::slots(module_names.len())),
            (files, self.files.len()),
            (hash_index(&paths), layout::slots(paths.len())),
            (needs, needed),
            (projects, self.projects.len()),
            (strings, 0),
            (code, 0),
            (data, 0),
            (cold, 0),
        ];
        let starts = starts.into_iter().chain([code_start, data_start, cold_start]);
        let (mut table, mut body) = (Vec::new(), Vec::new());
        let base = HEADER_SIZE + sections().len() * SECTION_SIZE;
        for ((section, start), (bytes, count)) in sections().iter().zip(starts).zip(contents) {
            body.resize(start - base, 0);
            table.extend(section.code().to_le_bytes());
            table.extend(crc32fast::hash(&bytes).to_le_bytes());
            table.extend((start as u64).to_le_bytes());
            table.extend((bytes.len() as u64).to_le_bytes());
            table.extend((count as u64).to_le_bytes());
            body.extend(bytes);
        }
        let behind = [table.clone(), body].concat();
        let mut blob = layout::MAGIC.to_vec();
        blob.extend(layout::VERSION.0.to_le_bytes());
        blob.extend(layout::VERSION.1.to_le_bytes());
        blob.extend(u32::try_from(sections().len()).unwrap().to_le_bytes());
        blob.extend(((HEADER_SIZE + behind.len()) as u64).to_le_bytes());
        blob.extend(sha256(&behind));
        blob.extend(crc32fast::hash(&table).to_le_bytes());
        blob.extend(crc32fast::hash(&blob).to_le_bytes());
        blob.extend(behind);
        blob
    }
}

/// All but that of groups, which a blob need not have.
fn sections() -> &'static [Section] {
    Section::ALL.strip_suffix(&[Section::Groups]).unwrap()
}

/// Appends a record's checksum: over its name and what follows the name's offset and length.
fn seal(record: &mut Vec<u8>, name: &str) {
    let sum = crc32fast::hash(&[name.as_bytes(), &record[8..]].concat());
    record.extend(sum.to_le_bytes());
}

fn hash_index(names: &[&str]) -> Vec<u8> {
    let slots = layout::slots(names.len());
    let mut index = vec![[0_u32; 2]; slots];
    for (number, name) in (1..).zip(names) {
        let hash = layout::hash(name.as_bytes());
        let mut slot = usize::try_from(hash).unwrap() % slots;
        while index[slot][1] != 0 {
            slot = (slot + 1) % slots;
        }
        index[slot] = [u32::try_from(hash >> 32).unwrap(), number];
    }
    index.into_iter().flatten().flat_map(u32::to_le_bytes).collect()
}
