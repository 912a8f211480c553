//! Files appear whole or not at all.
//!
//! All of it is one test, because the umask belongs to the process and the library sets it for a
//! moment to read it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use pyox_stage::files::{self, EXECUTABLE, PLAIN};
use rustix::fs::Mode;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_appear_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");

    // A new file, with the permissions that open(2) would have given it.
    for (umask, plain, executable) in [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)] {
        rustix::process::umask(Mode::from_raw_mode(umask));
        files::write(&path, b"one").unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (plain, b"one".to_vec()));
        files::atomically(&path, EXECUTABLE, |file| file.write_all(b"two")).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (executable, b"two".to_vec()));
        let left = rustix::process::umask(Mode::from_raw_mode(0o022));
        assert_eq!(left.bits(), umask, "the umask is not what it was");
    }

    // Whoever has the old file open, or runs it, keeps it.
    let mut old = File::open(&path).unwrap();
    files::write(&path, b"three").unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), fs::read(&path).unwrap()), ("two", b"three".to_vec()));
    assert_eq!(names(folder.path()), ["app"]);

    // A writer that fails in the middle leaves what was there, and nothing else.
    let error = files::atomically(&path, PLAIN, |file| {
        file.write_all(&vec![0; 1 << 20])?;
        Err(io::Error::from_raw_os_error(28))
    })
    .unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no space left on device", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"three");
    assert_eq!(names(folder.path()), ["app"]);

    // So does one that dies: until it is complete the file has no name.
    files::atomically(&folder.path().join("new"), PLAIN, |file| {
        file.write_all(&vec![0; 1 << 20])?;
        assert_eq!(names(folder.path()), ["app"]);
        Ok(())
    })
    .unwrap();
    assert_eq!(names(folder.path()), ["app", "new"]);

    // A folder that is missing, and a folder in the file's place.
    let missing = folder.path().join("missing/app");
    let error = files::write(&missing, b"").unwrap_err().to_string();
    assert_eq!(error, format!("{}: no such file or directory", missing.display()));
    let occupied = folder.path().join("folder");
    fs::create_dir(&occupied).unwrap();
    let error = files::write(&occupied, b"").unwrap_err().to_string();
    assert_eq!(error, format!("{}: is a directory", occupied.display()));
    assert_eq!(names(folder.path()), ["app", "folder", "new"]);

    // Devices are written to and not replaced. Links stand for them: were one replaced, it would
    // be the link.
    for device in ["null", "full"] {
        symlink(Path::new("/dev").join(device), folder.path().join(device)).unwrap();
    }
    let (null, full) = (folder.path().join("null"), folder.path().join("full"));
    files::write(&null, b"gone").unwrap();
    let error = files::write(&full, b"x").unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no space left on device", full.display()));
    for device in [null, full] {
        assert!(fs::metadata(device).unwrap().file_type().is_char_device());
    }
}
