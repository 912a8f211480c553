//! `tests/packer/packer.py`, written from the specification alone, and `pyox-pack` must agree.

mod common;

use std::process::Command;

use common::Fixture;
use pyox_blob::{Blob, Groups, layout};
use pyox_schema::Digest;
use serde_json::json;

#[test]
fn a_third_partys_blob_is_a_blob() {
    let mut fixture = Fixture::new();
    fixture.manifest["config"] = json!({"a": [], "b": "ä".repeat(200), "c": -1, "d": 70_000, "e": i64::MIN, "f": i64::MAX, "g": true});
    fixture.manifest["preconfig"] = json!({"x": ["1", "2"], "y": 125, "z": 126});
    fixture.manifest["run"] = json!({"mode": "code", "code": "print(1)"});
    fixture.manifest["sys"] =
        json!({"frozen": true, "level": 2, "_MEIPASS": "$ORIGIN", "names": ["a"]});
    fixture.manifest["search_path"] = json!(["$ORIGIN/plugins"]);
    fixture.manifest["environment"] = json!({"TERMINFO_DIRS": "/usr/share/terminfo"});
    fixture.manifest["module_lists"] = json!("MODULES");
    fixture.manifest["placements"] = json!({"app": "cache", "ns": "beside", "_sre": "memory"});
    fixture.add(json!({"kind": "namespace-package", "name": "ns", "project": "app", "reason": "application"}));
    fixture.add(json!({"kind": "extension-module", "name": "_sre", "project": "python", "reason": "standard library"}));
    fixture.resource("extension-module", "ns.x", "ns/x.so", &[1; 5000])["needs"] = json!(["l.so"]);
    fixture.resource("shared-library", "l.so", "l.so", b"ELF");
    fixture.resource("package-data", "app/empty", "app/empty", b"");
    fixture.resource("package-data", "app/big", "app/big", &b"text ".repeat(40_000));
    fixture.source("module", "app.kaputt", "app/kaputt.py", "def")["origin"] = json!("project");

    let ours = fixture.blob(&[]);
    let packer = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/packer/packer.py");
    let status = Command::new("python3")
        .arg(packer)
        .arg("-m")
        .arg(fixture.path("manifest.json"))
        .arg("-o")
        .arg(fixture.path("theirs.blob"))
        .status()
        .expect("python3 on PATH");
    assert!(status.success());
    let theirs = std::fs::read(fixture.path("theirs.blob")).expect("written");

    let (ours, theirs) = (Blob::open(&ours).expect("opens"), Blob::open(&theirs).expect("opens"));
    ours.verify().expect("verifies");
    theirs.verify().expect("verifies");
    assert_eq!(theirs.digest(), Digest::of(&theirs.bytes()[layout::HEADER_SIZE..]).0);
    assert_eq!(ours.config(), theirs.config());

    assert_eq!(ours.module_count(), theirs.module_count());
    for (one, other) in ours.modules().zip(theirs.modules()) {
        let (one, other) = (one.expect("sound"), other.expect("sound"));
        assert_eq!(
            (one.name, one.kind, one.is_package, one.project, one.file),
            (other.name, other.kind, other.is_package, other.project, other.file)
        );
        // Both have the same code, once process-dependent marks are gone.
        let code = |blob: &Blob, module: &pyox_blob::Module| {
            blob.code(module, &mut Groups::default()).expect("sound").into_owned()
        };
        let (one, other) = (code(&ours, &one), code(&theirs, &other));
        if !other.is_empty() {
            assert_eq!(
                one,
                pyox_pack::marshal::canonical(&other).expect("known types only").stream
            );
        }
    }
    assert_eq!(ours.file_count(), theirs.file_count());
    for (one, other) in ours.files().zip(theirs.files()) {
        let (one, other) = (one.expect("sound"), other.expect("sound"));
        assert_eq!(
            (one.path, one.kind, one.len, one.project),
            (other.path, other.kind, other.len, other.project)
        );
        let needs = |blob: &Blob, file| blob.needs(file).expect("sound").collect::<Vec<_>>();
        assert_eq!(needs(&ours, &one), needs(&theirs, &other));
        let bytes = |blob: &Blob, file: &pyox_blob::File| {
            blob.content_of(file, &mut Groups::default()).expect("sound").into_owned()
        };
        assert!(bytes(&ours, &one) == bytes(&theirs, &other), "{}", one.path);
    }
    assert_eq!(ours.project_count(), theirs.project_count());
}
