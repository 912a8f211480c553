//! The reader on whole blobs and on damaged ones: each byte flipped, each length cut.

mod support;

use pyox_blob::config::Placement;
use pyox_blob::layout::{self, Codec, FileKind, HEADER_SIZE, ModuleKind, SECTION_SIZE, Section};
use pyox_blob::{Blob, Config, Error, Groups};
use support::{Draft, FileDraft, example, file, module};

fn written(draft: &Draft) -> Vec<u8> {
    draft.write(|_| [7; 32])
}

/// Recomputes the checksums of header and section table after an edit.
fn reseal(blob: &mut [u8]) {
    use layout::header as at;
    let sections = u32::from_le_bytes(blob[at::SECTION_COUNT..][..4].try_into().unwrap()) as usize;
    let table = crc32fast::hash(&blob[HEADER_SIZE..][..sections * SECTION_SIZE]);
    blob[at::TABLE_CRC..][..4].copy_from_slice(&table.to_le_bytes());
    let header = crc32fast::hash(&blob[..at::HEADER_CRC]);
    blob[at::HEADER_CRC..][..4].copy_from_slice(&header.to_le_bytes());
}

/// Everything that a blob can be asked.
fn ask_everything(bytes: &[u8]) -> Result<(), Error> {
    let blob = Blob::open(bytes)?;
    blob.config()?;
    for module in blob.modules() {
        let module = module?;
        blob.code(&module, &mut Groups::default())?;
        blob.project(module.project)?;
        assert!(blob.module(module.name)?.is_some_and(|found| found == module), "{module:?}");
    }
    for file in blob.files() {
        let file = file?;
        blob.stored(&file)?;
        for need in blob.needs(&file)? {
            blob.file_at(need)?;
        }
        assert!(blob.file(file.path)?.is_some_and(|found| found == file), "{file:?}");
    }
    blob.verify()
}

#[test]
fn what_was_written_is_found() {
    let bytes = written(&example());
    let blob = Blob::open(&bytes).unwrap();
    assert_eq!(blob.verify(), Ok(()));
    assert_eq!(blob.digest(), [7; 32]);
    assert_eq!(blob.config().unwrap(), example().config);
    let names: Vec<_> = blob.modules().map(|module| module.unwrap().name).collect();
    assert_eq!(names, ["_abc", "app", "app.core", "app.fast", "json", "ns"]);

    let package = blob.module("app").unwrap().unwrap();
    assert_eq!((package.kind, package.is_package), (ModuleKind::Package, true));
    assert_eq!(blob.code(&package, &mut Groups::default()).unwrap(), &b"code of app"[..]);
    let source = blob.file_at(package.file.unwrap()).unwrap();
    assert_eq!((source.path, source.kind), ("app/__init__.py", FileKind::Source));
    assert_eq!(blob.stored(&source).unwrap(), b"import app.core\n");
    assert_eq!(blob.project(package.project).unwrap().version, "1.0");

    let namespace = blob.module("ns").unwrap().unwrap();
    assert_eq!((namespace.is_package, namespace.file, namespace.code_len()), (true, None, 0));
    assert_eq!(blob.code(&namespace, &mut Groups::default()).unwrap().len(), 0);
    assert!(blob.module("app.fast").unwrap().unwrap().is_package);
    assert!(!blob.module("app.core").unwrap().unwrap().is_package);

    let native = blob.file("app/fast.abi3.so").unwrap().unwrap();
    let needs = blob.needs(&native).unwrap().map(|number| blob.file_at(number).unwrap().path);
    assert_eq!(needs.collect::<Vec<_>>(), ["app.libs/libz.so.1", "app.libs/libc++.so"]);

    for missing in ["", "ap", "app.", "app.cor", "app.corex", "APP", "é"] {
        assert_eq!(blob.module(missing), Ok(None), "{missing}");
        assert_eq!(blob.file(missing), Ok(None), "{missing}");
    }
}

#[test]
fn prefixes_are_found_in_order() {
    let bytes = written(&example());
    let blob = Blob::open(&bytes).unwrap();
    let below = |prefix| -> Vec<_> { blob.modules_from(prefix).map(|m| m.unwrap().name).collect() };
    assert_eq!(below("app."), ["app.core", "app.fast"]);
    assert_eq!(below("").len(), 6);
    assert!(below("zzz").is_empty());
    let first = blob.first_file_from("app/");
    assert_eq!(blob.file_at(first).unwrap().path, "app/__init__.py");
    assert_eq!(blob.first_file_from("b") as usize, blob.file_count());
}

#[test]
fn a_blob_without_resources_opens() {
    let mut draft = example();
    draft.modules.clear();
    draft.files.clear();
    let bytes = written(&draft);
    let blob = Blob::open(&bytes).unwrap();
    assert_eq!((blob.module("app"), blob.file("app")), (Ok(None), Ok(None)));
    assert_eq!(blob.verify(), Ok(()));
}

#[test]
fn ten_thousand_names_are_all_found() {
    let mut draft = example();
    draft.files.clear();
    draft.modules =
        (0..10_000).map(|n| module(&format!("m{n}"), ModuleKind::Module, b"x")).collect();
    let bytes = written(&draft);
    let blob = Blob::open(&bytes).unwrap();
    assert!((0..10_000).all(|n| blob.module(&format!("m{n}")).unwrap().is_some()));
    assert_eq!(blob.module("m10000"), Ok(None));
}

#[test]
fn what_follows_the_blob_is_not_its_business() {
    let mut bytes = written(&example());
    let len = bytes.len();
    bytes.extend([0xff; 5000]);
    assert_eq!(Blob::open(&bytes).unwrap().bytes().len(), len);
}

#[test]
fn no_cut_blob_opens() {
    let bytes = written(&example());
    for len in 0..bytes.len() {
        match Blob::open(&bytes[..len]) {
            Err(Error::NotABlob) => assert!(len < HEADER_SIZE, "{len}"),
            Err(Error::Truncated { expected, found }) => {
                assert_eq!((expected, found), (bytes.len() as u64, len as u64));
            }
            other => panic!("{len}: {other:?}"),
        }
    }
}

/// A flipped bit is either noticed by `verify`, or in the digest or in padding, which the SHA-256
/// covers; and no question about the blob panics.
#[test]
fn each_flipped_byte_is_noticed() {
    let bytes = written(&example());
    let mut covered = vec![false; bytes.len()];
    covered[..HEADER_SIZE].fill(true);
    covered[HEADER_SIZE..][..Section::ALL.len() * SECTION_SIZE].fill(true);
    for entry in Blob::open(&bytes).unwrap().sections() {
        let start = usize::try_from(entry.offset).unwrap();
        covered[start..][..usize::try_from(entry.len).unwrap()].fill(true);
    }
    for (at, covered) in covered.into_iter().enumerate() {
        for bit in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            let answer = Blob::open(&damaged).and_then(|blob| blob.verify());
            assert_eq!(answer.is_err(), covered, "byte {at}: {answer:?}");
        }
    }
}

/// Whatever stands in header, table, records and indexes: an error or an answer. The checksums of
/// header and table are made right again, so that what is behind them is reached.
#[test]
fn forged_numbers_are_errors_and_no_panics() {
    let bytes = written(&example());
    let code = Blob::open(&bytes).unwrap().sections().find(|s| s.section == Some(Section::Code));
    let end = usize::try_from(code.unwrap().offset).unwrap();
    for at in (8..end - 3).step_by(2) {
        for number in [0, 1, 0x10, 0x7fff_ffff, u32::MAX - 1, u32::MAX] {
            let mut forged = bytes.clone();
            forged[at..at + 4].copy_from_slice(&number.to_le_bytes());
            let sections = &forged[layout::header::SECTION_COUNT..][..4];
            if u32::from_le_bytes(sections.try_into().unwrap()) <= 100 {
                reseal(&mut forged);
            }
            if let Ok(blob) = Blob::open(&forged) {
                let _ = blob.faults();
                let _ = blob.module("app.core").map(|m| {
                    m.map(|m| blob.code(&m, &mut Groups::default()).map(|code| code.len()))
                });
                let _ = blob.file("app/core.py").map(|f| f.map(|f| blob.needs(&f).is_ok()));
                let _ = blob.modules_from("app").count();
                let _ = blob.config();
            }
        }
    }
}

#[test]
fn another_major_version_is_refused_and_a_minor_one_is_not() {
    let mut bytes = written(&example());
    bytes[layout::header::MINOR] = 9;
    reseal(&mut bytes);
    assert!(Blob::open(&bytes).is_ok());
    for major in [0, 3] {
        bytes[layout::header::MAJOR] = major;
        reseal(&mut bytes);
        let error = Blob::open(&bytes).unwrap_err();
        assert_eq!(error, Error::Version { major: major.into(), minor: 9 });
        let expected =
            format!("blob: format version {major}.9, but this reader knows versions up to 2.x");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_unknown_section_is_ignored_and_a_missing_one_named() {
    let bytes = written(&example());
    let entry = |section: Section| HEADER_SIZE + (section.code() as usize - 1) * SECTION_SIZE;
    let mut without = bytes.clone();
    without[entry(Section::Cold)] = 99;
    reseal(&mut without);
    let blob = Blob::open(&without).unwrap();
    assert!(blob.sections().any(|section| section.section.is_none() && section.code == 99));
    assert_eq!(blob.verify(), Ok(()));

    let mut without = bytes;
    without[entry(Section::Strings)] = 98;
    reseal(&mut without);
    assert_eq!(Blob::open(&without).unwrap_err(), Error::MissingSection("strings"));
}

#[test]
fn damage_is_named_where_it_is_and_spares_the_rest() {
    let bytes = written(&example());
    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut damaged = bytes.clone();
    damaged[at(b"code of app.core")] ^= 1;
    damaged[at(b"hello\n")] ^= 1;
    let blob = Blob::open(&damaged).unwrap();
    let places: Vec<_> = blob
        .faults()
        .into_iter()
        .map(|error| match error {
            Error::Checksum { place, .. } => place,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        ["section code", "section data", "module app.core", "file app/data/greeting.txt"];
    assert_eq!(places, expected);
    let module = blob.module("app.core").unwrap().unwrap();
    let message = blob.code(&module, &mut Groups::default()).unwrap_err().to_string();
    assert!(message.starts_with("blob: module app.core: damaged: expected CRC-32 "), "{message}");
    let intact = blob.module("app").unwrap().unwrap();
    assert_eq!(blob.code(&intact, &mut Groups::default()).unwrap(), &b"code of app"[..]);
}

#[test]
fn a_name_that_stands_twice_is_a_fault() {
    let mut draft = example();
    draft.modules.push(module("app.core", ModuleKind::Module, b"another"));
    let bytes = written(&draft);
    let message = Blob::open(&bytes).unwrap().verify().unwrap_err().to_string();
    assert_eq!(message, "blob: module app.core: the index does not find it");
}

/// An index without an empty slot must not send a search around for ever.
#[test]
fn a_full_index_ends_the_search() {
    let mut bytes = written(&example());
    let index = Blob::open(&bytes).unwrap().sections().nth(2).unwrap();
    assert_eq!(index.section, Some(Section::ModuleIndex));
    let (start, len) =
        (usize::try_from(index.offset).unwrap(), usize::try_from(index.len).unwrap());
    bytes[start..start + len].fill(1);
    assert_eq!(Blob::open(&bytes).unwrap().module("missing"), Ok(None));
}

#[test]
fn a_record_of_another_length_is_no_configuration() {
    let config = example().config;
    let bytes = config.encode();
    assert_eq!(Config::decode(&bytes).unwrap(), config);
    let longer = [&bytes[..], &[0]].concat();
    assert!(Config::decode(&longer).unwrap_err().to_string().contains("config: expected a record"));
    for len in 0..bytes.len() {
        assert!(Config::decode(&bytes[..len]).is_err(), "{len}");
    }
    // A list that claims to be as long as memory.
    assert!(Config::decode(&[3, 13, 0, 253, 255, 255, 255, 255, 255, 255, 255, 127]).is_err());
}

#[test]
fn every_question_can_be_asked_of_a_whole_blob() {
    let mut draft = example();
    draft.files.push(file("x/ü.txt", FileKind::Data, &[0; 10_000]));
    assert_eq!(ask_everything(&written(&draft)), Ok(()));
}

#[test]
fn names_that_lead_elsewhere_are_faults() {
    let refused = |draft: &Draft, place: &str| {
        let bytes = draft.write(|_| [7; 32]);
        let error = Blob::open(&bytes).unwrap().verify().unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    };
    for path in ["/etc/passwd", "..", "app/../../pwned", "app//x", "app/./x", "app/", "a\0b", ""] {
        let mut draft = example();
        draft.files.push(file(path, FileKind::Data, b"x"));
        refused(&draft, "its path");
    }
    for package in ["/home/me", "..", "", "a/b", "a..b"] {
        let mut draft = example();
        draft.config.placements = vec![(package.to_owned(), Placement::Beside)];
        refused(&draft, "placement");
    }
}

#[test]
fn records_out_of_order_are_faults() {
    let mut draft = example();
    draft.files.sort_by(|one, other| other.path.cmp(&one.path));
    let bytes = draft.write_as_is();
    let error = Blob::open(&bytes).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("out of order"), "{error}");
    let mut draft = example();
    draft.files.push(file("app/core.py", FileKind::Data, b"again"));
    let bytes = draft.write(|_| [7; 32]);
    assert!(Blob::open(&bytes).unwrap().verify().is_err());
}

#[test]
fn a_file_is_no_folder() {
    let mut draft = example();
    for path in ["x", "x-y", "x/z"] {
        draft.files.push(file(path, FileKind::Data, b"1"));
    }
    let error = Blob::open(&draft.write(|_| [7; 32])).unwrap().verify().unwrap_err().to_string();
    assert_eq!(error, "blob: file x: it is the folder of x/z");
}

#[test]
fn names_have_a_limit() {
    let mut draft = example();
    draft.files.push(file(&"y".repeat(4096), FileKind::Data, b"1"));
    assert_eq!(Blob::open(&draft.write(|_| [7; 32])).unwrap().verify(), Ok(()));
    draft.files.push(file(&"z".repeat(4097), FileKind::Data, b"1"));
    let error = Blob::open(&draft.write(|_| [7; 32])).unwrap().verify().unwrap_err().to_string();
    assert_eq!(error, "blob: file record 9: expected a name of at most 4096 bytes, got 4097");
    let mut draft = example();
    draft.modules.push(module("a..b", ModuleKind::Module, b"code"));
    assert!(Blob::open(&draft.write(|_| [7; 32])).unwrap().verify().is_err());
}

/// Payloads that overlap would let a small blob ask for reading without end.
#[test]
fn payloads_and_needs_do_not_overlap() {
    let mut draft = example();
    for number in 0..50_u8 {
        draft.files.push(file(&format!("z{number:02}"), FileKind::Data, &[number; 1000]));
    }
    let bytes = draft.write(|_| [7; 32]);
    let blob = Blob::open(&bytes).unwrap();
    assert_eq!(blob.verify(), Ok(()));
    let files = blob.sections().nth(3).unwrap();
    let end = usize::try_from(files.offset + files.len).unwrap();
    // The records of the fifty are the last ones; each gets all that the others have.
    let first = end - 50 * layout::FILE_SIZE;
    let whole = u64::from_le_bytes(bytes[first + 8..first + 16].try_into().unwrap());
    let mut forged = bytes.clone();
    for (number, record) in (0..50).zip((first..end).step_by(layout::FILE_SIZE)) {
        let start = whole + number;
        let len = 49 * 1000 - number;
        let stored = &bytes[usize::try_from(start).unwrap()..][..usize::try_from(len).unwrap()];
        let crc = crc32fast::hash(stored);
        forged[record + 8..record + 16].copy_from_slice(&start.to_le_bytes());
        forged[record + 16..record + 24].copy_from_slice(&len.to_le_bytes());
        forged[record + 24..record + 32].copy_from_slice(&len.to_le_bytes());
        forged[record + 32..record + 36].copy_from_slice(&crc.to_le_bytes());
        let name = format!("z{number:02}");
        let body = forged[record + 8..record + 52].to_vec();
        let sum = crc32fast::hash(&[name.as_bytes(), &body].concat());
        forged[record + 52..record + 56].copy_from_slice(&sum.to_le_bytes());
    }
    let faults = Blob::open(&forged).unwrap().faults();
    let overlapping = |fault: &Error| fault.to_string().contains("are those of others too");
    assert!(faults.iter().any(overlapping), "{faults:?}");
}

#[test]
fn names_that_collide_do_not_make_the_check_slow() {
    let mut draft = example();
    for number in 0..3000 {
        draft.files.push(file(&format!("z{number:04}"), FileKind::Data, b""));
    }
    let mut bytes = draft.write(|_| [7; 32]);
    let blob = Blob::open(&bytes).unwrap();
    let index = blob.sections().nth(4).unwrap();
    let (start, len) =
        (usize::try_from(index.offset).unwrap(), usize::try_from(index.len).unwrap());
    // Every slot is taken, by a record whose name is another one.
    for slot in bytes[start..start + len].chunks_exact_mut(8) {
        slot.copy_from_slice(&[9, 9, 9, 9, 1, 0, 0, 0]);
    }
    let faults = Blob::open(&bytes).unwrap().faults();
    let is_slow = |fault: &Error| fault.to_string().contains("in 64 steps on the average");
    assert!(faults.iter().any(is_slow));
}

/// A blob in which everything is wrong is not worth a line for each thing.
#[test]
fn a_thousand_faults_are_enough() {
    let mut draft = example();
    for number in 0..3000 {
        draft.files.push(file(&format!("z{number:04}//"), FileKind::Data, b""));
    }
    assert_eq!(Blob::open(&draft.write(|_| [7; 32])).unwrap().faults().len(), 1000);
}

/// Whoever decodes a file makes room for as many bytes as its record says.
#[test]
fn a_length_that_cannot_be_is_a_fault() {
    for (codec, len, fits) in [
        (Codec::Stored, 5, true),
        (Codec::Stored, 6, false),
        (Codec::Zstd, 5 << 15, true),
        (Codec::Zstd, 1 << 60, false),
    ] {
        let mut draft = example();
        let file = FileDraft { codec, len, ..file("z", FileKind::Data, b"12345") };
        draft.files.push(file);
        let bytes = draft.write(|_| [7; 32]);
        assert_eq!(Blob::open(&bytes).unwrap().file("z").is_ok(), fits, "{codec:?} {len}");
    }
}

/// A payload is read once for all records that share it, but each record says where in it the file's name stands.
#[test]
fn records_that_share_code_are_each_checked() {
    let mut draft = example();
    draft.modules.push(module("twin", ModuleKind::Module, b"code of app"));
    let mut bytes = draft.write(|_| [7; 32]);
    let blob = Blob::open(&bytes).unwrap();
    let modules = blob.sections().nth(1).unwrap();
    let record = usize::try_from(modules.offset + modules.len).unwrap() - layout::MODULE_SIZE;
    let of_app = blob.modules().flatten().position(|module| module.name == "app").unwrap();
    let app = usize::try_from(modules.offset).unwrap() + of_app * layout::MODULE_SIZE;
    let offset = bytes[app + 8..app + 16].to_vec();
    for (file_name, crc, is_sound) in [(0_u32, None, true), (3, None, false), (0, Some(1), false)] {
        bytes[record + 8..record + 16].copy_from_slice(&offset);
        let crc: u32 = crc.unwrap_or(crc32fast::hash(b"code of app"));
        bytes[record + 20..record + 24].copy_from_slice(&crc.to_le_bytes());
        bytes[record + 36..record + 40].copy_from_slice(&file_name.to_le_bytes());
        let sum = crc32fast::hash(&[b"twin", &bytes[record + 8..record + 44]].concat());
        bytes[record + 44..record + 48].copy_from_slice(&sum.to_le_bytes());
        let faults = Blob::open(&bytes).unwrap().faults();
        let of_twin = faults.iter().any(|fault| fault.to_string().contains("module twin"));
        assert_eq!(of_twin, !is_sound, "{faults:?}");
    }
}
