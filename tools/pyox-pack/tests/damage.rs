//! A blob that is damaged anywhere gives an error and never a panic, from opening to the last payload.

use pyox_blob::config::{Interpreter, Run};
use pyox_blob::layout::{self, Codec, FileKind, ModuleKind, Section};
use pyox_blob::{Blob, Config, Error, Groups};
use pyox_pack::blob::{Contents, File, Module, Project, write};
use pyox_pack::marshal::Code;

fn contents() -> Contents {
    let module = |name: &str, kind, code: &[u8], file: Option<&str>| Module {
        name: name.to_owned(),
        kind,
        package: kind == ModuleKind::Extension,
        project: "app".to_owned(),
        code: Code { stream: code.to_vec(), file_name: 0 },
        place: None,
        file: file.map(str::to_owned),
    };
    let file = |path: &str, kind, codec, stored: &[u8], needs: &[&str]| File {
        path: path.to_owned(),
        kind,
        project: "python".to_owned(),
        codec,
        stored: stored.to_vec(),
        place: None,
        len: if codec == Codec::Stored { stored.len() as u64 } else { 100 },
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
    };
    Contents {
        config: Config {
            python: (3, 13),
            bytecode_magic: 0x0a0d_0df3,
            distribution: "0".repeat(64),
            run: Run::Module("b".to_owned()),
            preconfig: Vec::new(),
            config: Vec::new(),
            interpreter: Interpreter::Never,
            placements: Vec::new(),
            sys: Vec::new(),
            search_path: Vec::new(),
            environment: Vec::new(),
            module_lists: None,
        },
        projects: ["python", "app"]
            .map(|name| Project { name: name.to_owned(), version: "1".to_owned() })
            .to_vec(),
        modules: vec![
            module("b", ModuleKind::Package, b"code of b", Some("b/__init__.py")),
            module("b.c", ModuleKind::Module, b"code of b.c", None),
            module("b.x", ModuleKind::Extension, b"", Some("b/x.so")),
            module("a", ModuleKind::Namespace, b"", None),
        ],
        files: vec![
            file("b/x.so", FileKind::Extension, Codec::Stored, b"ELF of x", &["l.so", "b/x.so"]),
            file("b/__init__.py", FileKind::Source, Codec::Zstd, b"a frame", &[]),
            file("l.so", FileKind::Library, Codec::Stored, b"ELF of l", &[]),
        ],
        groups: Vec::new(),
    }
}

/// Everything that a run-time would do with a blob; the first thing that is wrong.
fn use_all(bytes: &[u8]) -> Result<(), Error> {
    let blob = Blob::open(bytes)?;
    blob.verify()?;
    blob.config()?;
    for module in blob.modules() {
        let module = module?;
        blob.code(&module, &mut Groups::default())?;
        blob.module(module.name)?;
    }
    Ok(())
}

/// The same without the checksums over whole sections, as a run-time works: whatever comes of it.
fn poke(bytes: &[u8]) {
    let Ok(blob) = Blob::open(bytes) else { return };
    let _ = blob.config();
    for name in ["a", "b", "b.c", "b.x", "nothing", ""] {
        if let Ok(Some(module)) = blob.module(name) {
            let _ = blob.code(&module, &mut Groups::default());
            let _ = blob.project(module.project);
            let _ = module.file.map(|number| blob.file_at(number));
        }
        let _ = blob.modules_from(name).count();
    }
    for path in ["b/x.so", "b/__init__.py", "l.so", ""] {
        let _ = blob.first_file_from(path);
        if let Ok(Some(file)) = blob.file(path) {
            let _ = blob.stored(&file);
            let _ = blob.needs(&file).map(Iterator::count);
        }
    }
}

/// Whether a byte belongs to the header, to the table or to a section, and not to the padding.
fn is_checked(blob: &Blob, at: usize) -> bool {
    let table = layout::HEADER_SIZE + blob.sections().count() * layout::SECTION_SIZE;
    let inside = |offset: u64, len: u64| (offset..offset + len).contains(&(at as u64));
    at < table || blob.sections().any(|section| inside(section.offset, section.len))
}

#[test]
fn what_was_written_is_read() {
    let bytes = write(contents()).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    blob.verify().expect("verifies");
    assert_eq!(blob.config(), Ok(contents().config));
    let names: Vec<_> = blob.modules().map(|module| module.expect("sound").name).collect();
    assert_eq!(names, ["a", "b", "b.c", "b.x"]);
    for module in contents().modules {
        let found = blob.module(&module.name).expect("sound").expect("there");
        assert_eq!(
            (found.kind, blob.code(&found, &mut Groups::default())),
            (module.kind, Ok(module.code.stream.into()))
        );
        let file = found.file.map(|number| blob.file_at(number).expect("sound").path);
        assert_eq!(file, module.file.as_deref());
        assert_eq!(blob.project(found.project).expect("sound").name, module.project);
    }
    for file in contents().files {
        let found = blob.file(&file.path).expect("sound").expect("there");
        assert_eq!((found.kind, found.codec, found.len), (file.kind, file.codec, file.len));
        assert_eq!(blob.stored(&found), Ok(file.stored.as_slice()));
        let needs: Vec<_> = blob
            .needs(&found)
            .expect("sound")
            .map(|number| blob.file_at(number).expect("sound").path)
            .collect();
        assert_eq!(needs, file.needs);
    }
    for missing in ["", "c", "b.", "b.c.d", "encodings"] {
        assert_eq!(blob.module(missing), Ok(None));
    }
    let sections: Vec<_> = blob.sections().map(|section| section.section).collect();
    let expected = Section::ALL.iter().copied().filter(|section| *section != Section::Groups);
    assert_eq!(sections, expected.map(Some).collect::<Vec<_>>());
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = write(contents()).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    let mut flips = 0;
    for at in (0..bytes.len()).filter(|at| is_checked(&blob, *at)) {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            poke(&flipped);
            assert!(use_all(&flipped).is_err(), "byte {at}, bit {bit}");
            flips += 1;
        }
    }
    assert!(flips > 8 * 1000, "{flips}");
}

#[test]
fn every_cut_is_found() {
    let bytes = write(contents()).expect("writable");
    for end in 0..bytes.len() {
        assert!(use_all(&bytes[..end]).is_err(), "cut at {end}");
    }
    // What contains a blob may go on behind it.
    let mut longer = bytes.clone();
    longer.extend_from_slice(b"behind");
    assert_eq!(use_all(&longer), Ok(()));
}

#[test]
fn forged_numbers_with_right_checksums_lead_nowhere() {
    let bytes = write(contents()).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    let sections: Vec<_> = blob.sections().collect();
    for (number, section) in sections.iter().enumerate() {
        let start = usize::try_from(section.offset).expect("small");
        let range = start..start + usize::try_from(section.len).expect("small");
        for at in range.clone().step_by(4).filter(|at| at + 4 <= range.end) {
            for value in [0, 1, 0x7fff_ffff, u32::MAX] {
                let mut forged = bytes.clone();
                forged[at..at + 4].copy_from_slice(&value.to_le_bytes());
                seal(&mut forged, number, &range);
                poke(&forged);
                let _ = use_all(&forged);
            }
        }
        // The table itself.
        for field in [layout::section::OFFSET, layout::section::LENGTH, layout::section::COUNT] {
            for value in [0, 1, u64::MAX, u64::MAX - section.offset, section.len + 1] {
                let mut forged = bytes.clone();
                let at = layout::HEADER_SIZE + number * layout::SECTION_SIZE + field;
                forged[at..at + 8].copy_from_slice(&value.to_le_bytes());
                seal_table(&mut forged);
                poke(&forged);
                let _ = use_all(&forged);
            }
        }
    }
}

/// Makes the checksums right again after a change in a section.
fn seal(bytes: &mut [u8], number: usize, range: &std::ops::Range<usize>) {
    let crc = crc32fast::hash(&bytes[range.clone()]);
    let at = layout::HEADER_SIZE + number * layout::SECTION_SIZE + layout::section::CRC;
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    seal_table(bytes);
}

fn seal_table(bytes: &mut [u8]) {
    use layout::header;
    let table = Section::ALL.len() * layout::SECTION_SIZE;
    let crc = crc32fast::hash(&bytes[layout::HEADER_SIZE..][..table]);
    bytes[header::TABLE_CRC..][..4].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..header::HEADER_CRC]);
    bytes[header::HEADER_CRC..][..4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_writer_refuses_what_no_reader_could_find() {
    let refused = |change: fn(&mut Contents)| {
        let mut contents = contents();
        change(&mut contents);
        write(contents).expect_err("refused").to_string()
    };
    assert_eq!(refused(|c| c.modules.push(c.modules[0].clone())), "module: two have the name b");
    assert_eq!(refused(|c| c.files.push(c.files[0].clone())), "file: two have the name b/x.so");
    assert_eq!(
        refused(|c| c.modules[0].project = "x".to_owned()),
        "b: refers to x, which is not there"
    );
    assert_eq!(
        refused(|c| c.files[0].needs = vec!["y".to_owned()]),
        "b/x.so: refers to y, which is not there"
    );
}

#[test]
fn an_empty_blob_is_sound() {
    let mut contents = contents();
    contents.modules.clear();
    contents.files.clear();
    contents.projects.clear();
    let bytes = write(contents).expect("writable");
    assert_eq!(use_all(&bytes), Ok(()));
    assert_eq!(Blob::open(&bytes).expect("opens").module("a"), Ok(None));
}
