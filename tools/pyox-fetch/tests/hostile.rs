//! Archives that must not be unpacked: each is refused with one clear line, and leaves nothing behind.

mod common;

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use common::{Place, Tar, holds, python_json, stderr};
use tar::EntryType;

/// Fetches an archive that must be refused, and gives what is said.
fn refused(archive: &[u8]) -> String {
    let place = Place::new();
    place.write("a.tar.zst", archive);
    let said = place.refuse(&["./a.tar.zst"]);
    assert_eq!(place.store(), Vec::<String>::new(), "{said}");
    assert!(!holds(place.folder.path(), "evil"), "{said}");
    said
}

#[test]
fn members_outside_the_folder() {
    for name in ["python/../evil", "../evil", "/python/evil", "evil", "python/a/../../evil", ".."] {
        let said = refused(&Tar::distribution().file(name, b"x").zst());
        assert!(said.contains("expected a member inside python/, got one outside"), "{said}");
    }
}

#[test]
fn links_that_point_outside() {
    for (name, target) in [
        ("python/x", "/etc/passwd"),
        ("python/x", ".."),
        ("python/x", "../python/../evil"),
        ("python/install/x", "../../evil"),
        ("python", "elsewhere"),
    ] {
        let said = refused(&Tar::distribution().link(name, target).zst());
        assert!(said.contains("expected a link to something inside python/"), "{target}: {said}");
    }
}

#[test]
fn links_that_leave_through_other_links() {
    let deep = "python/install/lib";
    let tar = Tar::distribution()
        .link(&format!("{deep}/up"), "../..")
        .link("python/x", "install/lib/up/../evil");
    let said = refused(&tar.zst());
    assert!(said.contains("python/x: expected a link to something inside"), "{said}");
    let said = refused(&Tar::distribution().link("python/a", "b").link("python/b", "a").zst());
    assert!(said.contains("expected a link to something inside"), "{said}");
}

#[test]
fn members_below_a_link() {
    // Nothing is written through the link, wherever it leads.
    let tar = Tar::distribution().link("python/x", "install").file("python/x/evil", b"x");
    let said = refused(&tar.zst());
    assert!(said.contains("python/x: expected a link, but other members are inside it"), "{said}");
    let tar = Tar::distribution().link("python/x", "install").link("python/x/y", "bin");
    assert!(refused(&tar.zst()).contains("python/x/y: expected a folder above it, got a link"));
}

#[test]
fn hard_links() {
    for target in ["/etc/passwd", "../../etc/passwd", "python/none", "python/install", "python/h"] {
        let said =
            refused(&Tar::distribution().member("python/h", EntryType::Link, target, b"").zst());
        assert!(said.contains("python/h: expected a link to something inside"), "{target}: {said}");
    }
    let place = Place::new();
    let tar = Tar::distribution();
    let tar = tar.member("python/h", EntryType::Link, "python/PYTHON.json", b"");
    place.write("a.tar.zst", &tar.zst());
    let root = place.fetch(&["./a.tar.zst"]).root;
    assert_eq!(fs::read(root.join("h")).unwrap(), fs::read(root.join("PYTHON.json")).unwrap());
}

#[test]
fn special_files() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let said = refused(&Tar::distribution().member("python/evil", kind, "", b"").zst());
        assert!(said.contains("python/evil: expected a file, a folder or a link"), "{said}");
    }
}

#[test]
fn one_name_twice() {
    let twice = Tar::distribution().file("python/PYTHON.json", b"{}");
    assert!(refused(&twice.zst()).contains("python/PYTHON.json: expected it once, got it twice"));
    let twice = Tar::distribution().file("python/./PYTHON.json", b"{}");
    assert!(refused(&twice.zst()).contains("expected it once, got it twice"));
    let file_as_folder = Tar::distribution().file("python/PYTHON.json/evil", b"");
    assert!(refused(&file_as_folder.zst()).contains("but an earlier member is a file"));
    let folder_as_file = Tar::distribution().file("python/install", b"");
    assert!(refused(&folder_as_file.zst()).contains("python/install: expected it once"));
}

#[test]
fn bombs() {
    // A member that says it is large is refused before a byte of it is unpacked.
    let said = refused(&Tar::distribution().claim("python/evil", 1 << 40).zst());
    assert!(said.contains("expected at most 200000 members and 256 MB, got more"), "{said}");
    // Bytes behind the last member count too.
    let mut tar = Tar::distribution().bytes();
    tar.resize(300 << 20, 0);
    let said = refused(&zstd::encode_all(&tar[..], 1).unwrap());
    assert!(said.contains("and 256 MB, got more"), "{said}");
}

#[test]
fn truncated_or_damaged_files() {
    for whole in [Tar::distribution().zst(), Tar::distribution().gz()] {
        for len in [0, 3, 10, whole.len() / 2, whole.len() - 1] {
            let said = refused(&whole[..len]);
            assert!(said.contains("damaged") || said.contains("got another file"), "{len}: {said}");
        }
        for at in (20..whole.len()).step_by(whole.len() / 20) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            refused(&flipped);
        }
    }
    // Cut off before it was compressed: the compression is in order, the tar is not.
    let tar = Tar::distribution().file("python/last", &[7; 5000]).bytes();
    let said = refused(&zstd::encode_all(&tar[..tar.len() - 4000], 1).unwrap());
    assert!(said.contains("python/last") || said.contains("damaged"), "{said}");
}

#[test]
fn names_cannot_break_the_line() {
    let said = refused(&Tar::new().file("x\npyox-fetch: note: all is well\x1b[2J", b"").zst());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains('\x1b'), "{said}");
}

#[test]
fn a_wrong_digest_is_found_before_anything_is_unpacked() {
    let place = Place::new();
    let found = place.write("a.tar.zst", &Tar::distribution().zst());
    let wrong = "0".repeat(64);
    let said = place.refuse(&["./a.tar.zst", "--sha256", &wrong]);
    let mismatch = format!("./a.tar.zst: digest mismatch: expected sha256 {wrong}, got {found}\n");
    assert!(said.ends_with(&mismatch), "{said}");
    assert!(!place.path("cache/distributions").exists());
    place.fetch(&["./a.tar.zst", "--sha256", &found.to_string().to_uppercase()]);
}

#[test]
fn a_document_that_leads_outside_of_the_archive() {
    for (pointer, path) in [
        ("/python_exe", "../../../../bin/sh"),
        ("/python_paths/stdlib", "/usr/lib/python3.11"),
        ("/build_info/extensions/zlib/0/links/0/path_static", "../../../secret.a"),
        ("/python_exe", "install/bin/none"),
    ] {
        let mut json = python_json();
        *json.pointer_mut(pointer).unwrap() = path.into();
        let place = Place::new();
        place.write("a.tar.zst", &Tar::distribution_with(&json).zst());
        let said = place.refuse(&["./a.tar.zst"]);
        assert!(said.contains("PYTHON.json: ") && said.contains(path), "{said}");
    }
}

#[test]
fn a_killed_run_leaves_nothing_that_counts_and_the_next_one_cleans_up() {
    let mut tar = Tar::distribution();
    for number in 0..6000_u32 {
        tar = tar.file(&format!("python/many/{}/{number}", number % 50), &number.to_le_bytes());
    }
    let place = Place::new();
    let digest = place.write("a.tar.zst", &tar.zst());
    let mut child = place
        .command(&["./a.tar.zst"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !place.store().iter().any(|name| name.starts_with(".partial-")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = place.store();
    assert!(matches!(&left[..], [one] if one.starts_with(".partial-")), "{left:?}");

    let document = place.fetch(&["./a.tar.zst"]);
    assert_eq!(place.store(), [digest.to_string()]);
    assert_eq!(fs::read(document.root.join("many/49/5999")).unwrap(), 5999_u32.to_le_bytes());
}

#[test]
fn runs_at_the_same_time_do_not_disturb_each_other() {
    let mut tar = Tar::distribution();
    for number in 0..500 {
        tar = tar.file(&format!("python/many/{number}"), b"x");
    }
    let place = Place::new();
    let digest = place.write("a.tar.zst", &tar.zst());
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = place.command(&["./a.tar.zst"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    assert_eq!(place.store(), [digest.to_string()]);
}

/// A member that only says the name of the next one can be of any length, and compresses to nothing.
#[test]
fn names_without_end() {
    let long = |kind, len| {
        let tar = Tar::distribution().member("././@LongLink", kind, "", &vec![b'a'; len]);
        refused(&tar.file("python/x", b"x").zst())
    };
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let said = long(kind, 70_000_000);
        let limit = "expected names and attributes of at most 64 KiB, got 70000000 bytes";
        assert!(said.contains(limit), "{said}");
    }
    let said = long(EntryType::GNULongName, 5000);
    assert!(said.contains("expected a name of at most 4096 bytes and 256 folders"), "{said}");
    assert!(said.len() < 1200, "{said}");
    let deep = format!("python/{}", "a/".repeat(300));
    let said = refused(&Tar::distribution().long(&deep, b"x").zst());
    assert!(said.contains("expected a name of at most 4096 bytes and 256 folders"), "{said}");
}

#[test]
fn names_of_every_form_are_read() {
    let name = format!("python/{}/x", "long".repeat(50));
    let pax = {
        let record = format!(" path={name}-pax\n");
        let len = record.len() + 3;
        format!("{len}{record}")
    };
    let tar = Tar::distribution()
        .long(&name, b"gnu")
        .member("PaxHeaders/x", EntryType::XHeader, "", pax.as_bytes())
        .file("python/short", b"pax");
    let place = Place::new();
    place.write("a.tar.zst", &tar.zst());
    let root = place.fetch(&["./a.tar.zst"]).root;
    let inside = |name: &str| fs::read(root.join(name.trim_start_matches("python/"))).unwrap();
    assert_eq!(inside(&name), b"gnu");
    assert_eq!(inside(&format!("{name}-pax")), b"pax");
}

#[test]
fn links_without_end() {
    let target = format!("{}b", "a/".repeat(300_000));
    let said = refused(&Tar::distribution().link("python/x", &target).zst());
    assert!(said.contains("expected names and attributes of at most 64 KiB"), "{said}");
    let target = format!("{}b", "a/".repeat(3000));
    let said = refused(&Tar::distribution().link("python/x", &target).zst());
    assert!(
        said.contains("expected a link with a target of at most 4096 bytes, got 6001"),
        "{said}"
    );
}
