//! Archives and folders that are in order: what of `PYTHON.json` gets into the document, and how often
//! an archive is unpacked. And documents that are not in order.

mod common;

use std::fs;
use std::process::Command;

use common::{Place, Tar, library, member, python_json, shared_libpython, stderr, target};
use pyox_schema::{Digest, Distribution, Document, Linkage};
use serde_json::{Value, json};

/// Fetches a distribution with that document, and gives what is said against it.
fn refused(json: &Value) -> String {
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution_with(json).zst());
    place.refuse(&["./a.tar.zst"])
}

#[test]
fn an_archive_becomes_a_document() {
    let place = Place::new();
    let digest = place.write("a.tar.zst", &Tar::distribution().zst());
    let document = place.fetch(&["./a.tar.zst"]);

    let store = place.path("cache/distributions").join(digest.to_string());
    assert_eq!(document.root, store.join("python"));
    assert_eq!(document.source, "archive");
    assert_eq!(document.target, target());
    assert_eq!(document.python.version, "3.13.5");
    assert_eq!(document.python.version_info, (3, 13));
    assert_eq!(document.python.soabi, "cpython-313-x86_64-linux-gnu");
    assert_eq!(document.python.bytecode_magic, "f30d0d0a");
    assert_eq!(document.python.platform, "linux-x86_64");
    assert_eq!(document.paths.stdlib, "install/lib/python3.13");
    assert_eq!(document.paths.test_packages, ["idlelib.idle_test", "test"]);
    assert_eq!(document.licenses, ["licenses/LICENSE.cpython.txt", "licenses/LICENSE.zlib.txt"]);
    assert_eq!(document.link.object_format, "elf");
    assert!(document.link.can_dynamic);

    let libraries: Vec<_> = document.link.libraries.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(libraries, ["z", "m"]);
    let zlib = document.link.libraries[0].archive.as_ref().unwrap();
    assert_eq!((zlib.path.as_str(), zlib.sha256), ("build/lib/libz.a", Digest::of(&library())));

    let extensions = &document.extensions;
    let names: Vec<_> = extensions.iter().map(|extension| extension.name.as_str()).collect();
    assert_eq!(names, ["sys", "zlib"]);
    assert_eq!(extensions[0].init, None);
    assert_eq!(extensions[1].init.as_deref(), Some("PyInit_zlib"));
    assert_eq!(extensions[1].libraries, ["z"]);
    assert!(extensions.iter().all(|extension| extension.linkage == Linkage::Builtin));

    // As the schema defines it, with neither site-packages nor build files.
    let line = |path: &str, text: &[u8]| format!("{path}\0{}\n", Digest::of(text));
    let listing = line("json/__init__.py", b"# json\n") + &line("os.py", b"# os\n");
    assert_eq!(document.stdlib.sha256, Digest::of(listing.as_bytes()));
    assert_eq!(document.stdlib.files, 2);
}

#[test]
fn an_archive_is_unpacked_once() {
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution().zst());
    let document = place.fetch(&["./a.tar.zst"]);
    // Whoever unpacks again writes this file again.
    let marked = document.root.join("licenses/LICENSE.cpython.txt");
    fs::write(&marked, "marked").unwrap();
    fs::rename(place.path("a.tar.zst"), place.path("b.zst")).unwrap();
    assert_eq!(place.fetch(&["./b.zst"]), document);
    assert_eq!(fs::read(marked).unwrap(), b"marked");
}

#[test]
fn gzip_and_a_folder_give_the_same_distribution() {
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution().zst());
    place.write("a.tar.gz", &Tar::distribution().gz());
    let expected = place.fetch(&["./a.tar.zst"]);
    let root = expected.root.to_str().unwrap();
    let above = expected.root.parent().unwrap().to_str().unwrap();
    assert_eq!(place.fetch(&[root]), expected);
    assert_eq!(place.fetch(&[above]), expected);
    assert_eq!(place.fetch(&["./a.tar.gz"]).digest(), expected.digest());
    let wrong = "0".repeat(64);
    let said = place.refuse(&[root, "--sha256", &wrong]);
    assert!(said.contains("expected an archive to check with --sha256, got a folder"), "{said}");
}

#[test]
fn format_7_is_read_and_others_are_refused() {
    let mut json = python_json();
    json["version"] = "7".into();
    json.as_object_mut().unwrap().remove("build_options");
    // The documentation has these keys elsewhere than the archives.
    json["object_file_format"] = json["build_info"]["object_file_format"].take();
    let zlib = json.pointer_mut("/build_info/extensions/zlib/0").unwrap();
    zlib["license_path"] = zlib.as_object_mut().unwrap().remove("license_paths").unwrap();
    json["build_info"].as_object_mut().unwrap().remove("object_file_format");
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution_with(&json).zst());
    let seven = place.fetch(&["./a.tar.zst"]);
    place.write("b.tar.zst", &Tar::distribution().zst());
    assert_eq!(seven.digest(), place.fetch(&["./b.tar.zst"]).digest());

    for (version, shown) in [(json!("9"), "\"9\""), (json!(8), "8"), (Value::Null, "null")] {
        json["version"] = version;
        let said = refused(&json);
        let expected = format!("PYTHON.json: version: expected \"7\" or \"8\", got {shown}\n");
        assert!(said.ends_with(&expected), "{said}");
    }
}

#[test]
fn an_unpacked_archive_can_be_verified() {
    use pyox_fetch::verify::unpacked;
    use pyox_stage::verify::Verdict;

    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution().zst());
    let root = place.fetch(&["./a.tar.zst"]).root;
    let entry = root.parent().unwrap();
    assert_eq!(unpacked(entry), Verdict::Whole);
    // What was made beside the files is none of the archive's.
    fs::write(root.join("later"), "x").unwrap();
    assert_eq!(unpacked(entry), Verdict::Whole);
    let file = root.join("PYTHON.json");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b" "].concat()).unwrap();
    assert_eq!(
        unpacked(entry),
        Verdict::Damaged("python/PYTHON.json: its digest is another".into())
    );
    fs::remove_file(&file).unwrap();
    assert!(matches!(unpacked(entry), Verdict::Damaged(_)));
    // Older versions have left none.
    fs::remove_file(entry.join("sums")).unwrap();
    assert_eq!(unpacked(entry), Verdict::Unknown);
}

#[test]
fn what_cannot_be_embedded_is_refused_by_name() {
    for (key, value) in [
        ("python_major_minor_version", "3.10"),
        ("python_major_minor_version", "4.0"),
        ("python_implementation_name", "pypy"),
        ("target_triple", "aarch64-apple-darwin"),
        ("build_options", "freethreaded+pgo"),
        ("build_options", "debug"),
        ("python_bytecode_magic_number", "3531"),
    ] {
        let mut json = python_json();
        json[key] = value.into();
        let said = refused(&json);
        assert!(said.contains(&format!("PYTHON.json: {key}: expected ")), "{said}");
        assert!(said.contains(&format!("got `{value}`")), "{said}");
    }
    let mut json = python_json();
    json.as_object_mut().unwrap().remove("python_tag");
    assert!(refused(&json).contains("PYTHON.json: missing field `python_tag`"));
}

#[test]
fn an_archive_without_a_document_needs_a_python_that_runs_here() {
    let place = Place::new();
    place.write("a.tar.gz", &Tar::new().file("python/bin/perl", b"").gz());
    let said = place.refuse(&["./a.tar.gz"]);
    let expected =
        "a.tar.gz: expected python/PYTHON.json or python/bin/python3 in it, but there is neither";
    assert!(said.contains(expected), "{said}");

    let mut elf = fs::read(env!("CARGO_BIN_EXE_pyox-fetch")).unwrap();
    // `e_machine`, by the ELF specification.
    elf[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let archive = Tar::new().file("python/bin/python3.13", &elf);
    place.write("b.tar.gz", &archive.link("python/bin/python3", "python3.13").gz());
    let said = place.refuse(&["./b.tar.gz"]);
    assert!(said.contains("error: ./b.tar.gz: "), "{said}");
    assert!(said.contains("expected a Python for x86_64, got one for aarch64"), "{said}");
}

#[test]
fn what_real_archives_get_wrong_is_put_right() {
    let mut json = python_json();
    // The path of musl builds names glibc's folder.
    let lib = json.pointer_mut("/build_info/core/static_lib").unwrap();
    *lib = lib.as_str().unwrap().replace("-gnu/", "-wrong/").into();
    // A library that the archive has, annotated as the system's.
    json["build_info"]["extensions"]["zlib"][0]["links"] = json!([{ "name": "z", "system": true }]);
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution_with(&json).zst());
    let document = place.fetch(&["./a.tar.zst"]);
    let library = "install/lib/python3.13/config-3.13-x86_64-linux-gnu/libpython3.13.a";
    assert_eq!(document.link.libpython.unwrap().path, library);
    assert!(document.link.libraries[0].archive.is_some());
}

#[test]
fn bitcode_is_not_linked_and_leads_to_the_shared_library() {
    let place = Place::new();
    // It is said, or only found out, by any member. This one is of a version that no linker knows.
    let members = [member("a.o/", b"\x7fELF"), member("b.o/", b"BC\xc0\xde\x35\x14")];
    let bitcode = [&b"!<arch>\n"[..], &members.concat()].concat();
    let mut said = python_json();
    said["build_info"]["object_file_format"] = "llvm-bitcode:%22.1.3".into();
    for (mut json, format, expected) in [
        (said, "llvm-bitcode:22.1.3", "its objects are llvm-bitcode:22.1.3, which "),
        (python_json(), "elf", "libbz2.a holds LLVM bitcode, which "),
    ] {
        let links = &mut json["build_info"]["extensions"]["zlib"][0]["links"];
        let link = json!({ "name": "bz2", "path_static": "build/lib/libbz2.a" });
        links.as_array_mut().unwrap().push(link);
        let tar = || Tar::distribution_with(&json).file("python/build/lib/libbz2.a", &bitcode);
        place.write("a.tar.zst", &tar().zst());
        let link = place.fetch(&["./a.tar.zst"]).link;
        assert_eq!(link.object_format, format);
        assert!(!link.can_static && !link.can_dynamic && link.libpython.is_some());
        let reason = link.reason.unwrap();
        assert!(reason.starts_with(expected) && reason.contains("the system's linker"), "{reason}");

        let shared = shared_libpython(&place);
        let name = "python/install/lib/libpython3.13.so.1.0";
        place.write("b.tar.zst", &tar().file(name, &shared).zst());
        let link = place.fetch(&["./b.tar.zst"]).link;
        assert_eq!(link.shared_libpython.unwrap().path, "install/lib/libpython3.13.so.1.0");
        assert!(link.libpython.is_none() && link.reason.unwrap().starts_with(expected));
    }
}

#[test]
fn libraries_keep_the_order_in_which_they_need_each_other() {
    let mut json = python_json();
    let links = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| json!({ "name": name, "path_static": "build/lib/libz.a" }))
            .collect()
    };
    let extension = |names| json!([{ "init_fn": "PyInit_x", "links": links(names) }]);
    let extensions = &mut json["build_info"]["extensions"];
    extensions["a"] = extension(&["crypto"]);
    extensions["b"] = extension(&["ssl", "crypto", "z"]);
    extensions["c"] = extension(&["sqlite3", "m"]);
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution_with(&json).zst());
    let libraries = place.fetch(&["./a.tar.zst"]).link.libraries;
    let order: Vec<_> = libraries.iter().map(|library| library.name.as_str()).collect();
    let at = |name: &str| order.iter().position(|other| *other == name).unwrap();
    assert!(at("ssl") < at("crypto") && at("crypto") < at("z"), "{order:?}");
    assert!(at("sqlite3") < at("m"), "{order:?}");
}

#[test]
fn a_distribution_for_another_machine_describes_itself() {
    let mut json = python_json();
    json["target_triple"] = "aarch64-unknown-linux-gnu".into();
    let place = Place::new();
    place.write("a.tar.zst", &Tar::distribution_with(&json).zst());
    let output = place.run(&["./a.tar.zst"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let document = Distribution::from_json(&output.stdout).unwrap();
    assert_eq!(
        (document.target.as_str(), document.machine()),
        ("aarch64-unknown-linux-gnu", "aarch64")
    );
    assert_eq!(document.link.driver, "aarch64-linux-gnu-gcc");
}

#[test]
fn an_extension_module_in_a_file_lists_what_it_needs() {
    let place = Place::new();
    let source = place.path("x.c");
    fs::write(&source, "#include <math.h>\ndouble PyInit_x(double a) { return sin(a); }\n")
        .unwrap();
    let object = place.path("x.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"]).arg(&object).arg(&source);
    assert!(compiler.args(["-lm", "-lgcc_s"]).status().unwrap().success());

    let path = "install/lib/python3.13/lib-dynload/x.cpython-313-x86_64-linux-gnu.so";
    let mut json = python_json();
    json["build_info"]["extensions"]["x"] =
        json!([{ "in_core": false, "init_fn": "PyInit_x", "links": [], "shared_lib": path }]);
    let bytes = fs::read(object).unwrap();
    let tar = Tar::distribution_with(&json).file(&format!("python/{path}"), &bytes);
    place.write("a.tar.zst", &tar.zst());
    let document = place.fetch(&["./a.tar.zst"]);
    let x = document.extensions.iter().find(|extension| extension.name == "x").unwrap();
    assert_eq!(x.linkage, Linkage::File);
    assert_eq!(x.libraries, ["libgcc_s.so.1"]);
    assert_eq!(x.file.as_ref().unwrap().sha256, Digest::of(&bytes));
    assert_eq!(document.paths.dynload.as_deref(), Some("install/lib/python3.13/lib-dynload"));
}
