//! `pyox-pack` on good input: what is in the blob, that it is the same everywhere, and what a second
//! run does.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::{Fixture, stderr};
use pyox_blob::config::{Interpreter, Run, Setting, Value};
use pyox_blob::layout::{Codec, FileKind, ModuleKind};
use pyox_blob::{Blob, Groups, layout};
use pyox_schema::Digest;
use serde_json::json;

/// The identity in the header is the SHA-256 of what follows it, and every checksum holds.
fn verified(bytes: &[u8]) -> Blob<'_> {
    let blob = Blob::open(bytes).expect("opens");
    blob.verify().expect("verifies");
    assert_eq!(blob.digest(), Digest::of(&bytes[layout::HEADER_SIZE..]).0);
    blob
}

/// Every kind of resource.
fn wide() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.add(json!({"kind": "namespace-package", "name": "ns", "project": "app", "reason": "application"}));
    fixture.add(json!({"kind": "extension-module", "name": "_sre", "project": "python", "reason": "standard library"}));
    fixture.resource("extension-module", "ns.fast", "ns/fast.so", &[7; 9000])["needs"] =
        json!(["app.libs/b.so", "app.libs/a.so"]);
    fixture.resource("extension-module", "ns.pack", "ns/pack/__init__.so", b"ELF")["package"] =
        json!(true);
    fixture.resource("shared-library", "app.libs/a.so", "app.libs/a.so", b"library a");
    fixture.resource("shared-library", "app.libs/b.so", "app.libs/b.so", b"library b")["needs"] =
        json!(["app.libs/a.so"]);
    fixture.resource(
        "package-data",
        "app/data/kürzel.txt",
        "app/data/kürzel.txt",
        "grüße".as_bytes(),
    );
    fixture.resource("package-data", "app/empty", "app/empty", b"");
    fixture.resource(
        "metadata",
        "app-1.dist-info/METADATA",
        "app-1.dist-info/METADATA",
        &[b'x'; 5000],
    );
    fixture
}

#[test]
fn every_kind_of_resource_is_found_again() {
    let bytes = wide().blob(&[]);
    let blob = verified(&bytes);
    let module = |name: &str| blob.module(name).expect("sound").unwrap_or_else(|| panic!("{name}"));
    let file = |path: &str| blob.file(path).expect("sound").unwrap_or_else(|| panic!("{path}"));

    let kinds: Vec<_> = ["app", "app.core", "ns", "ns.fast", "ns.pack", "_sre"]
        .iter()
        .map(|name| (module(name).kind, module(name).is_package))
        .collect();
    let expected = [
        (ModuleKind::Package, true),
        (ModuleKind::Module, false),
        (ModuleKind::Namespace, true),
        (ModuleKind::Extension, false),
        (ModuleKind::Extension, true),
        (ModuleKind::Builtin, false),
    ];
    assert_eq!(kinds, expected);
    let source = blob.file_at(module("app.core").file.expect("a source")).expect("sound");
    assert_eq!((source.path, source.kind), ("app/core.py", FileKind::Source));
    assert_eq!(blob.project(source.project).expect("sound").name, "app");

    let fast = file("ns/fast.so");
    let needs: Vec<_> = blob
        .needs(&fast)
        .expect("sound")
        .map(|number| blob.file_at(number).expect("sound").path)
        .collect();
    assert_eq!(needs, ["app.libs/b.so", "app.libs/a.so"]);
    // Native code is stored as it is, unless it is asked for otherwise.
    assert_eq!((fast.kind, fast.codec, fast.len), (FileKind::Extension, Codec::Stored, 9000));
    assert_eq!(blob.stored(&fast).expect("sound"), [7; 9000]);

    assert_eq!(blob.stored(&file("app/data/kürzel.txt")).expect("sound"), "grüße".as_bytes());
    assert_eq!(blob.stored(&file("app/empty")).expect("sound"), b"");
    assert_eq!(file("app-1.dist-info/METADATA").kind, FileKind::Metadata);
    for module in blob.modules() {
        let module = module.expect("sound");
        let code = blob.code(&module, &mut Groups::default()).expect("sound");
        if !code.is_empty() {
            assert_eq!((code.as_ptr() as usize - bytes.as_ptr() as usize) % layout::ALIGNMENT, 0);
        }
    }
}

#[test]
fn the_configuration_is_the_manifests() {
    let mut fixture = Fixture::new();
    fixture.manifest["run"] = json!({"mode": "entry-point", "module": "app.core", "function": "f"});
    fixture.manifest["preconfig"] = json!({"utf8_mode": true});
    fixture.manifest["config"] =
        json!({"xoptions": ["dev"], "program_name": "app", "int_max_str_digits": -300});
    fixture.manifest["interpreter"] = json!(true);
    let bytes = fixture.blob(&[]);
    let config = verified(&bytes).config().expect("sound");
    let setting = |name: &str, value| Setting { name: name.to_owned(), value };
    assert_eq!(
        config.run,
        Run::EntryPoint { module: "app.core".to_owned(), function: "f".to_owned() }
    );
    assert_eq!(config.preconfig, [setting("utf8_mode", Value::Integer(1))]);
    assert_eq!(
        config.config,
        [
            setting("int_max_str_digits", Value::Integer(-300)),
            setting("program_name", Value::Text("app".to_owned())),
            setting("xoptions", Value::List(vec!["dev".to_owned()])),
        ]
    );
    assert_eq!(config.interpreter, Interpreter::Always);
    assert_eq!(config.distribution, common::distribution().digest().to_string());
    assert_eq!(config.python, common::distribution().python.version_info);
}

#[test]
fn sources_are_left_out_where_the_manifest_says_so() {
    let mut fixture = Fixture::new();
    fixture.manifest["bytecode"] = json!({"optimize": 2, "sources": false});
    let bytes = fixture.blob(&[]);
    let blob = verified(&bytes);
    assert_eq!(blob.file_count(), 0);
    assert_eq!(blob.module("app.core").expect("sound").expect("there").file, None);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let first = wide();
    let one = first.blob(&["-j1"]);
    assert_eq!(one, wide().blob(&["-j2"]), "another folder, two jobs");
    assert_eq!(one, first.blob(&["-j2"]), "everything from the cache");
    let mut shuffled = wide();
    shuffled.manifest["resources"].as_array_mut().expect("a list").reverse();
    assert_eq!(one, shuffled.blob(&[]), "another order");
    let folder = first.folder.path().to_str().expect("UTF-8").as_bytes();
    assert!(!one.windows(folder.len()).any(|window| window == folder), "no path of the machine");
}

#[test]
fn an_edit_compiles_one_file() {
    let mut fixture = Fixture::new();
    let compiled = |fixture: &Fixture| {
        let output = fixture.pack(&["-v", "-j2", "-o", "out.blob"]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let cold = compiled(&fixture);
    assert!(cold.contains("compiled 4 sources with "), "{cold}");
    let warm = compiled(&fixture);
    assert!(warm.contains("compiled 0 sources with 0 interpreters"), "{warm}");
    let edited = fixture.find("app.core").clone();
    fixture.manifest["resources"].as_array_mut().expect("a list").retain(|r| r != &edited);
    fixture.source("module", "app.core", "app/core.py", "x = 2\n");
    let edit = compiled(&fixture);
    assert!(edit.contains("compiled 1 sources with 1 interpreters"), "{edit}");
}

#[test]
fn a_damaged_cache_is_made_again() {
    let fixture = wide();
    let blob = fixture.blob(&[]);
    let mut damaged = 0;
    for store in ["bytecode", "zstd"] {
        for folder in fs::read_dir(fixture.path("cache").join(store)).expect("a store") {
            for entry in fs::read_dir(folder.expect("a folder").path()).expect("a folder") {
                let path = entry.expect("an entry").path();
                let mut bytes = fs::read(&path).expect("readable");
                // By turns a flipped bit, a cut end, and an empty file.
                match damaged % 3 {
                    0 => *bytes.last_mut().expect("a head") ^= 1,
                    1 => drop(bytes.pop()),
                    _ => bytes.clear(),
                }
                fs::write(&path, bytes).expect("written");
                damaged += 1;
            }
        }
    }
    assert!(damaged >= 5, "{damaged} entries");
    let again = fixture.pack(&["-v"]);
    assert_eq!(again.stdout, blob);
    assert!(stderr(&again).contains("compiled 4 sources"), "{}", stderr(&again));
    assert!(stderr(&fixture.pack(&["-v"])).contains("compiled 0 sources"));
}

#[test]
fn what_does_not_compile_in_a_wheel_becomes_data() {
    let mut fixture = Fixture::new();
    let template = "{% if x %}\n";
    fixture.source("module", "app.template", "app/template.py", template)["origin"] =
        json!("project");
    for _ in 0..2 {
        let output = fixture.pack(&["-v"]);
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("pyox-pack: warning: app/template.py:1: "), "{text}");
        let blob = verified(&output.stdout);
        assert_eq!(blob.module("app.template"), Ok(None));
        let file = blob.file("app/template.py").expect("sound").expect("there");
        assert_eq!(file.kind, FileKind::Data);
        assert_eq!(blob.stored(&file).expect("sound"), template.as_bytes());
    }
}

#[test]
fn warnings_of_sources_stay_quiet() {
    let mut fixture = Fixture::new();
    fixture.source("module", "app.old", "app/old.py", "x = 1 is 1\ny = '\\d'\n");
    let output = fixture.pack(&[]);
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn it_works_in_a_pipe() {
    let fixture = wide();
    let expected = fixture.blob(&[]);
    let mut command = fixture.command("-".as_ref(), &[]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pyox-pack runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(fixture.manifest.to_string().as_bytes()).expect("written");
    drop(input);
    assert_eq!(child.wait_with_output().expect("ends").stdout, expected);
}

#[test]
fn a_cache_that_cannot_be_written_only_warns() {
    let fixture = Fixture::new();
    let expected = fixture.blob(&[]);
    // Whoever runs as root may write anywhere, but not make a folder where a file is.
    fs::remove_dir_all(fixture.path("cache")).expect("removed");
    fs::create_dir_all(fixture.path("cache/bytecode")).expect("a folder");
    for number in 0..=255 {
        fs::write(fixture.path(&format!("cache/bytecode/{number:02x}")), "").expect("written");
    }
    let output = fixture.pack(&[]);
    assert!(stderr(&output).contains("pyox-pack: warning: "), "{}", stderr(&output));
    assert_eq!(output.stdout, expected);
}
