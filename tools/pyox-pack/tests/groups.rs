//! Groups: what lies in them is found and checked like all else, and no record makes a reader decode without end.

use std::borrow::Cow;

use pyox_blob::config::{Interpreter, Run};
use pyox_blob::layout::{self, Codec, FileKind, ModuleKind, Section};
use pyox_blob::{Blob, Config, Error, Groups};
use pyox_pack::blob::{Contents, File, Group, Module, Place, Project, write};
use pyox_pack::marshal::Code;

/// A group of these payloads, one behind the other.
fn group(payloads: &[&[u8]]) -> Group {
    let bytes = payloads.concat();
    Group { stored: frame(&bytes), len: u32::try_from(bytes.len()).expect("short") }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("zstd")
}

fn module(name: &str, code: &[u8], place: Option<(u32, u64)>) -> Module {
    Module {
        name: name.to_owned(),
        kind: ModuleKind::Module,
        package: false,
        project: "app".to_owned(),
        code: Code { stream: code.to_vec(), file_name: 0 },
        place: place.map(|(group, at)| Place { group, at }),
        file: None,
    }
}

fn file(path: &str, bytes: &[u8], place: (u32, u64)) -> File {
    File {
        path: path.to_owned(),
        kind: FileKind::Data,
        project: "app".to_owned(),
        codec: Codec::Grouped,
        stored: bytes.to_vec(),
        place: Some(Place { group: place.0, at: place.1 }),
        len: bytes.len() as u64,
        needs: Vec::new(),
    }
}

fn contents() -> Contents {
    Contents {
        config: Config {
            python: (3, 13),
            bytecode_magic: 0x0a0d_0df3,
            distribution: "0".repeat(64),
            run: Run::Module("a".to_owned()),
            preconfig: Vec::new(),
            config: Vec::new(),
            interpreter: Interpreter::Never,
            placements: Vec::new(),
            sys: Vec::new(),
            search_path: Vec::new(),
            environment: Vec::new(),
            module_lists: None,
        },
        projects: vec![Project { name: "app".to_owned(), version: String::new() }],
        modules: vec![
            module("a", b"z\x04a.py", Some((0, 0))),
            module("b", b"code of b", Some((0, 6))),
            module("c", b"code of c", None),
        ],
        files: vec![file("d/e", b"text", (1, 0)), file("d/f", b"", (1, 4))],
        groups: vec![group(&[b"z\x04a.py", b"code of b"]), group(&[b"text"])],
    }
}

fn fault(contents: Contents) -> String {
    let bytes = write(contents).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    let faults = blob.faults();
    assert_eq!(blob.verify().err().as_ref(), faults.first());
    faults.first().map(ToString::to_string).unwrap_or_default()
}

/// Names the code of a module, or says why there is none.
fn code(bytes: &[u8], name: &str) -> Result<Vec<u8>, Error> {
    let blob = Blob::open(bytes)?;
    let module = blob.module(name)?.expect("a record");
    blob.code(&module, &mut Groups::default()).map(Cow::into_owned)
}

#[test]
fn what_lies_in_a_group_is_found() {
    let bytes = write(contents()).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    assert_eq!(blob.faults(), []);
    assert_eq!(bytes[layout::header::MAJOR], 2);
    let mut groups = Groups::default();
    let mut code = |name: &str| {
        let module = blob.module(name).expect("sound").expect("a record");
        blob.code(&module, &mut groups).expect("sound").into_owned()
    };
    assert_eq!([code("a"), code("b"), code("c")].map(|code| code.len()), [6, 9, 9]);
    assert_eq!((code("b"), code("c")), (b"code of b".to_vec(), b"code of c".to_vec()));
    for (path, expected) in [("d/e", &b"text"[..]), ("d/f", b"")] {
        let file = blob.file(path).expect("sound").expect("a record");
        assert_eq!(blob.content_of(&file, &mut groups).expect("sound"), expected);
        // It has no bytes of its own.
        assert_eq!(blob.stored(&file).is_ok(), expected.is_empty());
    }
}

#[test]
fn a_blob_without_groups_is_of_the_first_version() {
    let mut without = contents();
    without.modules.truncate(0);
    without.modules.push(module("c", b"code of c", None));
    without.files.clear();
    without.groups.clear();
    let bytes = write(without).expect("writable");
    assert_eq!((bytes[layout::header::MAJOR], bytes[layout::header::MINOR]), (1, 1));
    let blob = Blob::open(&bytes).expect("opens");
    assert_eq!((blob.sections().count(), blob.faults()), (11, Vec::new()));
}

#[test]
fn where_a_module_lies_is_known_from_its_code() {
    let mut contents = contents();
    contents.modules[0].code.file_name = 0;
    // At the offset 0 there is none: something must stand before it.
    contents.groups[0] = group(&[b"?z\x04a.py", b"code of b"]);
    contents.modules[0].code = Code { stream: b"?z\x04a.py".to_vec(), file_name: 1 };
    contents.modules[1].place = Some(Place { group: 0, at: 7 });
    let bytes = write(contents).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    assert_eq!(blob.faults(), []);
    let module = blob.module("a").expect("sound").expect("a record");
    let location = blob.location(&module, &mut Groups::default()).expect("sound");
    assert_eq!(location.as_deref(), Some("a.py"));
}

/// A small frame that announces four GiB, or the most that a record may say.
#[test]
fn no_group_decodes_to_more_than_a_limit() {
    for (len, expected) in [
        (u32::MAX, "expected a group of at most 16777216 bytes, got 4294967295"),
        (layout::LARGEST_GROUP, "expected 16777216 bytes, its stored bytes decode to 15"),
    ] {
        let mut bomb = contents();
        bomb.groups[0].len = len;
        // Long enough for the ratio that zstd allows.
        bomb.groups[0].stored = {
            let mut stored = frame(b"z\x04a.pycode of b");
            // A frame that is skipped.
            stored.extend([0x50, 0x2a, 0x4d, 0x18, 0, 4, 0, 0]);
            stored.resize(stored.len() + 1024, 0);
            stored
        };
        let bytes = write(bomb.clone()).expect("writable");
        assert!(code(&bytes, "b").unwrap_err().to_string().contains(expected), "{len}");
        assert!(fault(bomb).contains(expected), "{len}");
    }
    let mut bomb = contents();
    bomb.groups[0].stored = frame(&vec![0; 8 << 20]);
    let bytes = write(bomb.clone()).expect("writable");
    let why = code(&bytes, "b").unwrap_err().to_string();
    assert!(why.starts_with("blob: module b: group 0: expected 15 bytes of a zstd frame"), "{why}");
    let mut bomb = contents();
    bomb.groups[0].len = 1 << 20;
    let expected = "group 0: 24 stored bytes cannot decode to 1048576";
    assert!(fault(bomb).contains(expected));
}

#[test]
fn damage_is_named_by_what_is_asked_for() {
    let sound = write(contents()).expect("writable");
    let groups = Blob::open(&sound).expect("opens").sections().last().expect("a section");
    assert_eq!(groups.section, Some(Section::Groups));
    let record = usize::try_from(groups.offset).expect("small");
    let frame = usize::from(sound[record]) | usize::from(sound[record + 1]) << 8;
    let mut bytes = sound.clone();
    bytes[frame + 9] ^= 1;
    let why = code(&bytes, "b").unwrap_err().to_string();
    assert!(why.starts_with("blob: module b: group 0: damaged: expected CRC-32 "), "{why}");
    assert_eq!(code(&bytes, "c"), Ok(b"code of c".to_vec()));
    let mut bytes = sound;
    bytes[record + 12] ^= 1;
    let why = code(&bytes, "b").unwrap_err().to_string();
    assert!(why.starts_with("blob: module b: group 0: damaged: expected CRC-32 "), "{why}");
}

/// What each byte of the frames, the records and the tables may do to a reader is an error at most.
#[test]
fn damage_anywhere_is_no_panic() {
    let sound = write(contents()).expect("writable");
    let written = Blob::open(&sound).expect("opens");
    let checked: Vec<_> = written.sections().map(|it| it.offset..it.offset + it.len).collect();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x55;
        let verified = Blob::open(&bytes).and_then(|blob| blob.verify());
        let is_checked = checked.iter().any(|range| range.contains(&(at as u64)));
        assert!(verified.is_err() || !is_checked, "{at}");
        for name in ["a", "b", "c"] {
            let _ = Blob::open(&bytes).map(|blob| {
                blob.module(name)
                    .map(|it| it.map(|it| blob.code(&it, &mut Groups::default()).is_ok()))
            });
        }
    }
}

#[test]
fn what_lies_in_groups_must_not_overlap_nor_lie_outside() {
    for (change, expected) in [
        (
            &(|it: &mut Contents| it.modules[1].place = Some(Place { group: 0, at: 5 }))
                as &dyn Fn(&mut Contents),
            "module b: its bytes are those of others too",
        ),
        (
            &|it| it.modules[1].place = Some(Place { group: 0, at: 7 }),
            "module b: 9 bytes at 7 lie outside",
        ),
        (
            &|it| it.modules[1].place = Some(Place { group: 0, at: u64::MAX }),
            "module b: 9 bytes at 18446744073709551615 lie outside",
        ),
        (
            &|it| it.modules[1].place = Some(Place { group: 2, at: 0 }),
            "module b: group 2: no such record",
        ),
        (
            &|it| it.files[0].place = Some(Place { group: u32::MAX, at: 0 }),
            "file d/e: group 4294967295: no such record",
        ),
        (&|it| it.modules[1].code.stream[0] = b'?', "module b: damaged"),
        (&|it| it.files[0].stored[0] = b'?', "file d/e: damaged"),
        (&|it| it.groups[1].len = 3, "group 1: expected 3 bytes of a zstd frame"),
        (&|it| it.groups[1].stored = b"no frame".to_vec(), "group 1: expected 4 bytes of a zstd"),
    ] {
        let mut contents = contents();
        change(&mut contents);
        let found = fault(contents);
        assert!(found.contains(expected), "{expected}: {found}");
    }
    // Two records may share one payload.
    let mut contents = contents();
    contents.modules.push(module("twin", b"code of b", Some((0, 6))));
    assert_eq!(fault(contents), "");
}

/// Neighbours are decoded once, and no more is kept than two MiB.
#[test]
fn decoded_groups_are_kept_for_neighbours() {
    let large = vec![7; 3 << 20];
    let mut contents = contents();
    contents.modules.push(module("large", &large, Some((2, 0))));
    contents.groups.push(group(&[&large]));
    let bytes = write(contents).expect("writable");
    let blob = Blob::open(&bytes).expect("opens");
    let mut groups = Groups::default();
    for name in ["a", "large", "b", "large", "a"] {
        let module = blob.module(name).expect("sound").expect("a record");
        let code = blob.code(&module, &mut groups).expect("sound");
        assert_eq!(code.len(), if name == "large" { large.len() } else { code.len().min(9) });
    }
}
