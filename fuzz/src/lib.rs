//! What each target does with its input: it reads it, uses what was read, and asserts what must hold of it.

mod repair;

use pyox_blob::{Blob, Config, Groups};
use pyox_schema::{Distribution, Document, LinkPlan, Manifest};

/// A blob whose checksums are right, so that damage gets past them.
pub fn blob(data: &[u8]) {
    let bytes = repair::blob(data);
    let Ok(blob) = Blob::open(&bytes) else { return };
    let is_sound = blob.verify().is_ok();
    assert_eq!(blob.faults().is_empty(), is_sound);
    let config = blob.config();
    if let Ok(config) = &config {
        for (package, _) in &config.placements {
            if let Ok(files) = pyox_blob::package::PackageFiles::new(&blob, package) {
                let _ = files.all();
            }
        }
    }
    let mut last = None;
    for (number, file) in (0..).zip(blob.files()) {
        let Ok(file) = file else {
            assert!(!is_sound);
            continue;
        };
        let _ = (blob.stored(&file).is_ok(), blob.project(file.project).is_ok());
        let _ = (blob.load_order(number).is_ok(), blob.first_file_from(file.path));
        let found = blob.file_number(file.path);
        if is_sound {
            assert_eq!(found, Ok(Some(number)));
            assert!(last.is_none_or(|last| last < file.path) && !file.path.starts_with('/'));
            last = Some(file.path);
        }
    }
    for module in blob.modules() {
        let Ok(module) = module else {
            assert!(!is_sound);
            continue;
        };
        if let Ok(code) = blob.code(&module, &mut Groups::default()) {
            let _ = blob.file_name(&module, &code);
        }
        let location = blob.location(&module, &mut Groups::default());
        if is_sound {
            assert_eq!(blob.module(module.name), Ok(Some(module)));
            assert!(location.is_ok());
        }
        let _ = blob.modules_from(module.name).count();
    }
    if is_sound {
        assert!(config.is_ok());
    }
}

/// A configuration record.
pub fn config(data: &[u8]) {
    if let Ok(config) = Config::decode(data) {
        assert_eq!(Config::decode(&config.encode()).as_ref(), Ok(&config));
    }
}

/// A manifest: its form, and whether it holds together.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::from_json(data) {
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        let _ = pyox_pack::fuzzing::manifest(&manifest);
    }
}

/// A distribution document, or a link plan.
pub fn distribution(data: &[u8]) {
    if let Ok(distribution) = Distribution::from_json(data) {
        assert_eq!(Distribution::from_json(&distribution.to_json()).unwrap(), distribution);
        let _ = (distribution.digest(), distribution.files().len());
        let _ = distribution.python.meets(">=3.11");
    }
    let _ = LinkPlan::from_json(data).map(|plan| plan.files().count());
}

/// The document of an archive.
pub fn python_json(data: &[u8]) {
    let _ = pyox_fetch::fuzzing::python_json(data);
}

/// An archive: a tar stream, which is compressed here, because no damage would get past a decompressor's checksum.
pub fn archive(data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let _ = pyox_fetch::fuzzing::archive(&repair::gzip(&repair::tar(data)), &inside);
    // Nothing is written beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    for entry in std::fs::read_dir(&inside).unwrap() {
        assert_eq!(entry.unwrap().file_name(), "python");
    }
}

/// What a wheel says about itself.
pub fn wheel(data: &[u8]) {
    pyox_collect::fuzzing::wheel(&String::from_utf8_lossy(data));
}

/// A requirements file.
pub fn requirements(data: &[u8]) {
    pyox_collect::fuzzing::requirements(data);
}

/// A script, or a module.
pub fn source(data: &[u8]) {
    pyox_collect::fuzzing::source(data);
}

/// An ELF file, or an archive of them.
pub fn elf(data: &[u8]) {
    let _ = pyox_elf::Elf::parse(data).map(|elf| elf.needed_beyond_libc().count());
    let _ = pyox_elf::exports(data, "Py_Main");
    let _ = pyox_elf::missing_in_archive(data, &["Py"]);
    let _ = pyox_elf::Needs::of(data).map(|needs| needs.glibc());
    if let Some(stripped) = pyox_elf::stripped(data) {
        assert!(stripped.len() < data.len());
    }
    if let Some(without) = pyox_elf::without_run_path(data) {
        assert_eq!(pyox_elf::without_run_path(&without), None);
    }
}

/// Anything that `pyox-inspect` looks into.
pub fn executable(data: &[u8]) {
    let input = pyox_inspect::Input::new("input", data);
    let _ = input.contents();
    if data.starts_with(b"\x7fELF") || data.starts_with(b"PYOX") {
        let _ = pyox_inspect::check(&input);
    }
}

/// An executable that has a start-up snapshot, or can have one.
pub fn snapshot(data: &[u8]) {
    let Ok(executable) = pyox_snapshot::Executable::parse(data) else { return };
    let _ = (executable.facts(), executable.header().to_bytes());
    // Headers may lie where the data is said to be, so what is written need not be what can be read.
    let _ = pyox_snapshot::Executable::parse(&executable.recorder());
    if executable.image().is_empty() {
        assert_eq!(executable.digests(), None);
        return;
    }
    assert!(executable.digests().is_some());
    if let Some(again) = executable.with_image(executable.image().to_vec())
        && let Ok(again) = pyox_snapshot::Executable::parse(&again)
    {
        assert!(again.digests().is_none_or(|(expected, found)| expected == found));
    }
}

/// A runner that a blob joins, and one that is compressed, with the right checksum of what it says of its pieces.
pub fn runner(data: &[u8]) {
    const BLOB: &[u8] = b"a blob";
    if let Ok(joined) = pyox_runner::Joined::new(data, BLOB) {
        let mut file = Vec::new();
        joined.send(&mut file).expect("memory takes it");
        assert!(file.len() >= data.len() && file.ends_with(BLOB));
    }
    let data = repair::runner(data);
    let Some(compressed) = pyox_runner::Compressed::find(&data) else { return };
    if let Ok(runner) = compressed.runner() {
        assert_eq!(runner.len() as u64, compressed.original_size());
    }
}

/// A marshalled code object, of which the canonical form is made.
pub fn marshal(data: &[u8]) {
    if let Ok(code) = pyox_pack::marshal::canonical(data) {
        let again =
            pyox_pack::marshal::canonical(&code.stream).expect("a canonical form can be read");
        assert_eq!(again.stream, code.stream, "and is its own");
        let _ = pyox_blob::FileName::at(&code.stream, code.file_name as usize);
    }
}
