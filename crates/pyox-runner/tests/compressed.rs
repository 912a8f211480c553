//! A small program in the place of an interpreter: compressed it does the same, and can be had back.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pyox_runner::{Compressed, Joined, can_compress, compressed, expanded, is_runner};

/// What it holds where a blob is.
const BLOB: &[u8] = b"the blob";

/// The runner, linked with more arguments.
fn link(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let (source, program) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program.c"), folder.join("program"));
    let mut command = Command::new("cc");
    command.args(["-O1", "-static", "-no-pie", "-s", "-Wl,--section-start=.pyox_blob=0x60000000"]);
    command.args(arguments).arg(source).arg("-o").arg(&program);
    assert!(command.status().unwrap().success());
    fs::read(program).unwrap()
}

fn joined(runner: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    Joined::new(runner, BLOB).unwrap().send(&mut file).unwrap();
    file
}

fn executable(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("app");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(path: &Path) -> Output {
    Command::new(path).arg("an argument").output().unwrap()
}

#[test]
fn it_does_the_same_and_can_be_had_back() {
    let folder = tempfile::tempdir().unwrap();
    let runner = link(folder.path(), &[]);
    assert!(can_compress(std::env::consts::ARCH) && !can_compress("another"));
    let packed = compressed(&runner).unwrap();
    assert!(packed.len() < runner.len() / 2 + 80_000 && is_runner(&packed));
    assert_eq!(compressed(&runner).unwrap(), packed);

    let (usual, small) = (joined(&runner), joined(&packed));
    let theirs = run(&executable(folder.path(), &usual));
    let ours = run(&executable(folder.path(), &small));
    assert_eq!(theirs.stdout, b"an argument\n16 the blob 1 1\n", "{theirs:?}");
    assert_eq!((ours.status.code(), &ours.stdout), (Some(3), &theirs.stdout), "{ours:?}");

    assert_eq!(expanded(&small).unwrap(), &usual[..]);
    assert_eq!(expanded(&usual).unwrap(), &usual[..]);
    let found = Compressed::find(&small).unwrap();
    assert_eq!(found.original_size(), runner.len() as u64);
    assert_eq!(found.runner().unwrap(), runner);
    assert!(Compressed::find(&usual).is_none());
}

#[test]
fn damage_is_one_line_to_a_user_and_an_error_to_the_tools() {
    let folder = tempfile::tempdir().unwrap();
    let small = joined(&compressed(&link(folder.path(), &[])).unwrap());
    let magic = small.windows(8).rposition(|bytes| bytes == b"PYOXRUNR").unwrap();
    let header = magic..magic + 200;
    // What is last is in the file alone, and no start reads it.
    let len = usize::try_from(Compressed::find(&small).unwrap().size()).unwrap();
    let frames = header.end..magic + len - 4096;
    let mut refused = 0;
    for at in header.step_by(3).chain(frames.step_by(30_011)) {
        let mut damaged = small.clone();
        damaged[at] ^= 0x10;
        assert!(expanded(&damaged).is_err() || at < magic + 8, "{}", at - magic);
        let done = run(&executable(folder.path(), &damaged));
        assert_eq!(done.status.code(), Some(2), "{} {done:?}", at - magic);
        assert_eq!(done.stderr, b"app: error: executable: its compressed runner is damaged\n");
        refused += 1;
    }
    // Where the file ends, memory cannot be read.
    for len in [magic, magic + len / 2, magic + len - 4096] {
        let done = run(&executable(folder.path(), &small[..len]));
        assert_eq!(done.status.code(), Some(2), "{len} {done:?}");
        assert_eq!(done.stderr, b"app: error: executable: its compressed runner is damaged\n");
    }
    assert!(refused > 67, "{refused}");
}

#[test]
fn a_program_that_is_laid_out_otherwise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let what = |bytes: &[u8]| compressed(bytes).unwrap_err().to_string();
    assert!(what(b"no program").starts_with("runner: "));
    let runner = link(folder.path(), &["-Wl,-Ttext-segment=0x5f200000"]);
    assert_eq!(
        what(&runner),
        "runner: expected segments on pages of their own, in the order of the file"
    );
}

#[test]
fn a_runner_whose_headers_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let runner = link(folder.path(), &[]);
    let damaged = |at: usize, value: u64| {
        let mut damaged = runner.clone();
        damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
        damaged
    };
    let long = |at: usize| u64::from_le_bytes(*runner[at..].first_chunk().unwrap());
    // The blob's segment asks for an alignment that no file has room for.
    let headers = (64..).step_by(56).take(runner[56].into());
    let blob = headers.into_iter().find(|at| long(at + 16) == 0x6000_0000).unwrap();
    for alignment in [u64::MAX, 1 << 40, (2 << 20) + 1] {
        let damaged = damaged(blob + 48, alignment);
        assert!(!is_runner(&damaged) && Joined::new(&damaged, BLOB).is_err());
    }
    assert!(is_runner(&damaged(blob + 48, 2 << 20)));
    // The headers of segments begin among those of sections.
    let overlapping = damaged(32, long(40));
    assert!(!is_runner(&overlapping));
}
