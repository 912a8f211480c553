//! The two ends of a pipe, with a tool between them: the example `echo`, which cargo builds for the
//! tests.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn echo() -> Command {
    // target/PROFILE/deps/THIS -> target/PROFILE/examples/echo
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples/echo"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn piped(command: &mut Command, bytes: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_pipe_a_dash_and_a_path_are_the_same() {
    let bytes = [0, 159, 146, 150, b'\n'];
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, bytes).unwrap();
    assert_eq!(piped(&mut echo(), &bytes).stdout, bytes);
    assert_eq!(piped(echo().args(["-", "-o", "-"]), &bytes).stdout, bytes);
    assert_eq!(echo().arg(&from).output().unwrap().stdout, bytes);
    let output = echo().arg(&from).arg("-o").arg(&to).output().unwrap();
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(fs::read(&to).unwrap(), bytes);
}

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_none() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = echo().arg("/bin/sh").stdout(full).output().unwrap();
    assert_eq!(error(&output), "echo: error: stdout: no space left on device\n");

    let mut child = echo().arg("/bin/sh").spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn errors_are_one_line_with_the_place_first() {
    assert_eq!(
        error(&echo().arg("missing").output().unwrap()),
        "echo: error: missing: no such file or directory\n"
    );
    let error = error(&echo().args(["--color", "always", "missing"]).output().unwrap());
    assert_eq!(error, "echo: \x1b[31merror\x1b[0m: missing: no such file or directory\n");
    assert_eq!(echo().arg("--unknown").output().unwrap().status.code(), Some(2));
}
