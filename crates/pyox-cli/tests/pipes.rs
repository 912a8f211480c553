//! The two ends of a pipe, with a tool between them: the example `echo`, which cargo builds for the
//! tests.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
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
fn a_large_file_is_the_same_as_a_pipe_from_where_it_was_read_to() {
    let bytes: Vec<u8> =
        (0..3 << 20).map(|at: u32| at.to_le_bytes()[usize::from(at.is_multiple_of(3))]).collect();
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, &bytes).unwrap();
    assert!(echo().arg(&from).output().unwrap().stdout == bytes);
    let mut file = fs::File::open(&from).unwrap();
    assert!(echo().stdin(file.try_clone().unwrap()).output().unwrap().stdout == bytes);
    file.seek(SeekFrom::Start(5)).unwrap();
    assert!(echo().stdin(file).output().unwrap().stdout == bytes[5..]);
}

#[test]
fn a_file_that_is_replaced_stays_as_it_was_and_one_that_is_cut_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let bytes = vec![7; 3 << 20];
    let run = |option: &str, meanwhile: &dyn Fn()| {
        fs::write(&from, &bytes).unwrap();
        let mut child = echo()
            .arg(&from)
            .args(["--wait", option])
            .arg("-o")
            .arg(&to)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert_eq!(said, "open\n");
        meanwhile();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        said.clear();
        stderr.read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    };
    let replaced = run("-v", &|| {
        fs::write(folder.path().join("new"), b"other").unwrap();
        fs::rename(folder.path().join("new"), &from).unwrap();
    });
    assert_eq!(replaced, (Some(0), String::new()));
    assert!(fs::read(&to).unwrap() == bytes);

    fs::remove_file(&to).unwrap();
    let cut = || fs::File::options().write(true).open(&from).unwrap().set_len(4096).unwrap();
    let what = "a file became shorter while it was read: run it again when nobody writes to it";
    assert_eq!(run("--sum", &cut), (Some(2), format!("echo: error: {what}\n")));
    // The kernel finds it when it writes.
    assert_eq!(run("-v", &cut), (Some(2), format!("echo: error: {}: {what}\n", to.display())));
    assert!(!to.exists());
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
