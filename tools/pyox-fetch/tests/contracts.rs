//! What pyox-fetch shares with the other tools: SPECs in turn, stdout for the document and stderr for
//! words, files whole or not at all, exit status 2 with one line.

mod common;

use std::fs::{self, File};
use std::process::Stdio;

use common::{Place, REFUSED, Tar, stderr};
use pyox_schema::{Distribution, Document};

fn place() -> Place {
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution().zst());
    place
}

#[test]
fn the_first_spec_that_can_be_had_is_taken() {
    let place = place();
    let output = place.run(&["cpython@3.13", "./none.tar.zst", "./a.tar.zst", "host:/none"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stderr(&output),
        format!(
            "pyox-fetch: note: {REFUSED}; trying the next\n\
             pyox-fetch: note: ./none.tar.zst: no such file or directory; trying the next\n\
             pyox-fetch: note: ./a.tar.zst: taken, CPython 3.13.5\n"
        )
    );
    Distribution::from_json(&output.stdout).unwrap();
    let quiet = place.run(&["-q", "cpython@3.13", "./a.tar.zst"]);
    assert_eq!((stderr(&quiet), quiet.stdout), (String::new(), output.stdout));
}

#[test]
fn none_that_can_be_had_is_one_error_with_all_reasons() {
    let place = place();
    let output = place.run(&["-q", "cpython@3.13", "./none.tar.zst"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!(
            "pyox-fetch: error: none can be had: {REFUSED}; \
             ./none.tar.zst: no such file or directory\n"
        )
    );
}

#[test]
fn a_spec_that_is_none_is_refused_before_any_is_tried() {
    let place = place();
    let said = place.refuse(&["./a.tar.zst", "hots"]);
    assert!(said.starts_with("pyox-fetch: error: hots: expected a SPEC"), "{said}");
    assert!(said.contains("hint: a SPEC is host, host@3.X"), "{said}");
    assert!(!place.path("cache").exists());
}

#[test]
fn options_without_effect_are_refused() {
    let place = place();
    let digest = "0".repeat(64);
    assert!(place.refuse(&["host", "--sha256", &digest]).contains("error: --sha256: expected"));
    assert!(place.refuse(&["./a.tar.zst", "--pgo"]).contains("error: --pgo: expected source@3.X"));
    place.write("Python.tgz", b"no tarball");
    let said = place.refuse(&["source:Python.tgz", "--sha256", &digest]);
    assert!(said.contains("error: Python.tgz: digest mismatch: expected sha256 0000"), "{said}");
}

#[test]
fn the_document_goes_to_stdout_or_to_a_file_and_nothing_else_does() {
    let place = place();
    let piped = place.run(&["./a.tar.zst"]);
    assert_eq!((piped.status.code(), stderr(&piped)), (Some(0), String::new()));
    let written = place.run(&["./a.tar.zst", "-o", "dist.json"]);
    assert_eq!((written.status.code(), &written.stdout[..]), (Some(0), &b""[..]));
    assert_eq!(fs::read(place.path("dist.json")).unwrap(), piped.stdout);

    let failed = place.run(&["./none.tar.zst", "-o", "dist.json"]);
    assert_eq!(failed.status.code(), Some(2));
    assert_eq!(fs::read(place.path("dist.json")).unwrap(), piped.stdout);
    let said = place.refuse(&["./a.tar.zst", "-o", "no/such/folder.json"]);
    assert!(said.contains("error: no/such/folder.json: no such file or directory"), "{said}");
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let place = place();
    let mut child = place
        .command(&["./a.tar.zst"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = place.command(&["./a.tar.zst"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "pyox-fetch: error: stdout: no space left on device\n");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let place = place();
    place.write("file", b"");
    let output = place
        .command(&["./a.tar.zst"])
        .env("PYOX_CACHE_DIR", place.path("file/cache"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("file/cache: not a directory"));
}

#[test]
fn a_path_that_json_cannot_hold_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let place = place();
    let cache = place.folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let output = place.command(&["./a.tar.zst"]).env("PYOX_CACHE_DIR", cache).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
    assert!(stderr(&output).contains("expected a path in UTF-8"), "{}", stderr(&output));
}
