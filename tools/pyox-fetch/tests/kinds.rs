//! What a program that calls the library can tell about an error.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pyox_fetch::{LockFile, Options, Spec, fetch};
use pyox_schema::Digest;
use pyox_stage::{Fault, Kind, Silent};

fn refused(spec: Spec, sha256: Option<Digest>) -> Fault {
    let options = Options { sha256, ..Options::default() };
    fetch(&[spec], &options, &Silent).expect_err("expected a refusal")
}

#[test]
fn an_archive_that_is_not_there_is_missing_and_the_source_is_of_the_system() {
    let fault = refused(Spec::Path("/nonexistent/a.tar.zst".into()), None);
    assert_eq!(*fault.kind(), Kind::Missing);
    let source = fault.source().and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::NotFound));
}

#[test]
fn a_digest_mismatch_has_both_digests() {
    let folder = tempfile::tempdir().unwrap();
    let tarball = folder.path().join("Python.tgz");
    fs::write(&tarball, "no tarball").unwrap();
    let (expected, found) = (Digest([0; 32]), Digest::of(b"no tarball"));
    let fault = refused(Spec::SourceTarball(tarball), Some(expected));
    assert_eq!(*fault.kind(), Kind::Digest { expected, found });
}

#[test]
fn a_program_that_fails_is_named_with_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python3");
    fs::write(&python, "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let fault = refused(Spec::HostPath(python.clone()), None);
    let Kind::Command { program, status } = fault.kind() else { panic!("{fault:?}") };
    assert_eq!((Path::new(program), status.code()), (&*python, Some(3)));
}

#[test]
fn what_is_written_wrong_is_a_fault_of_the_input() {
    assert_eq!(*Spec::parse("nonsense").unwrap_err().kind(), Kind::Input);
}

#[test]
fn of_several_specs_the_last_one_says_why() {
    let missing = || Spec::Path("/nonexistent/a.tar.zst".into());
    let mirror = Some("file:///nonexistent".to_owned());
    let options = Options { mirror, lock: LockFile::Unused, ..Options::default() };
    let tarball = Spec::SourceTarball("/nonexistent/Python.tgz".into());
    let specs = [missing(), tarball, Spec::Release("3.13".into(), None)];
    let fault = fetch(&specs, &options, &Silent).unwrap_err();
    assert_eq!(*fault.kind(), Kind::Missing);
    assert!(fault.to_string().contains("/nonexistent/latest-release.json"), "{fault}");
    assert!(fault.source().is_some_and(<dyn Error>::is::<Fault>));
}
