//! Bad input: one line that names the place, exit status 2, and nothing written.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Fixture, refused};
use serde_json::{Value, json};

/// Changes the good manifest and expects a refusal that says all of `words`.
#[track_caller]
fn expect(words: &[&str], change: impl FnOnce(&mut Fixture)) {
    let mut fixture = Fixture::new();
    change(&mut fixture);
    says(&fixture.refusal(), words);
}

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

/// Expects a refusal of any text in the place of a manifest.
#[track_caller]
fn expect_of_text(words: &[&str], manifest: &str) {
    let fixture = Fixture::new();
    let output = fixture.pack_text(manifest, &["-o", "out.blob"]);
    says(&refused(&output, &fixture.path("out.blob")), words);
}

fn namespace(name: &str) -> Value {
    json!({"kind": "namespace-package", "name": name, "project": "app", "reason": "application"})
}

#[test]
fn no_document() {
    expect_of_text(&["manifest.json: expected a document, got nothing"], "");
    expect_of_text(&["manifest.json: "], "{\"schema\": \"pyox.manifest/1\"");
    expect_of_text(
        &["expected `pyox.manifest/1`", "pyox.manifest/2"],
        "{\"schema\": \"pyox.manifest/2\"}",
    );
    expect_of_text(&["expected `pyox.manifest/1`"], "{\"schema\": \"pyox.distribution/1\"}");
    expect_of_text(&["manifest.json: "], "\0\u{1}ELF");
}

#[test]
fn every_truncation_of_a_manifest_is_refused() {
    let fixture = Fixture::new();
    let text = fixture.manifest.to_string();
    for end in (0..text.len()).step_by(97) {
        let output = fixture.pack_text(&text[..end], &["-o", "out.blob"]);
        refused(&output, &fixture.path("out.blob"));
    }
}

#[test]
fn a_payload_that_changed() {
    expect(&["app/core.py: digest mismatch: manifest ", "file ", "hint: "], |fixture| {
        let path = fixture.path("payloads/app/core.py");
        let mut bytes = fs::read(&path).expect("readable");
        bytes[0] ^= 1;
        fs::write(path, bytes).expect("written");
    });
    expect(&["app/core.py: size mismatch: manifest 41, file 1"], |fixture| {
        fs::write(fixture.path("payloads/app/core.py"), "x").expect("written");
    });
    expect(&["app/core.py: ", "no such file"], |fixture| {
        fs::remove_file(fixture.path("payloads/app/core.py")).expect("removed");
    });
    expect(&["app/core.py: ", "payloads/app"], |fixture| {
        let folder = fixture.path("payloads/app");
        let size = fs::metadata(&folder).expect("there").len();
        fixture.find("app.core")["payload"]["path"] = json!(folder);
        fixture.find("app.core")["payload"]["size"] = json!(size);
    });
}

#[test]
fn names_that_are_none() {
    for name in ["", "a..b", ".a", "app.", "app.a b", "app/core", "app.\0"] {
        expect(&["expected a dotted name"], |fixture| {
            fixture.add(namespace(name));
        });
    }
    // mypyc names extension modules so, and Django its migrations.
    let mut fixture = Fixture::new();
    fixture.add(namespace("30fcd23745efe32ce681__mypyc"));
    fixture.add(namespace("app.0001-initial"));
    fixture.blob(&[]);
}

#[test]
fn locations_that_lead_elsewhere() {
    for location in ["/etc/passwd", "../x.py", "app/../../x.py", "app//x.py", "./x.py", "", "a\0b"]
    {
        expect(&["app.core: location: "], |fixture| {
            fixture.find("app.core")["location"] = json!(location);
        });
    }
}

#[test]
fn paths_that_are_not_unicode() {
    let fixture = Fixture::new();
    let text = fixture.manifest.to_string();
    let broken = text.replacen("app/core.py", "app/\\udcff.py", 1);
    expect_of_text(&["manifest.json: "], &broken);
    // Bytes that are no UTF-8 at all.
    let mut bytes = text.into_bytes();
    let at = bytes.windows(8).position(|window| window == b"app/core").expect("there");
    bytes[at] = 0xff;
    fs::write(fixture.path("raw.json"), bytes).expect("written");
    let output = fixture.command(&fixture.path("raw.json"), &["-o", "out.blob"]).output();
    says(&refused(&output.expect("runs"), &fixture.path("out.blob")), &["raw.json: "]);
}

#[test]
fn two_of_one_name() {
    expect(&["app.core: two resources have this name", "app/core.py"], |fixture| {
        fixture.source("module", "app.core", "app/other.py", "");
    });
    expect(&["app/core.py: two resources have this location"], |fixture| {
        fixture.source("package-data", "app/core.py", "app/core.py", "");
    });
    expect(&["app: two projects have this name"], |fixture| {
        fixture.manifest["projects"] =
            json!([{"name": "app"}, {"name": "app"}, {"name": "python"}]);
    });
    expect(&["hello.py: it is a file, and the folder of hello.py/x"], |fixture| {
        let mut resource = fixture.find("app.core").clone();
        resource["kind"] = json!("package-data");
        resource["name"] = json!("hello.py/x");
        resource["location"] = json!("hello.py/x");
        fixture.add(resource);
    });
}

#[test]
fn what_a_resource_needs() {
    expect(&["unknown variant `modul`"], |f| f.find("app.core")["kind"] = json!("modul"));
    expect(&["app.core: a module needs a payload"], |f| {
        f.find("app.core")["payload"] = Value::Null;
    });
    expect(&["app.core: a module needs a location"], |f| {
        f.find("app.core")["location"] = Value::Null;
    });
    expect(&["app.core: its project nobody is not in the manifest"], |f| {
        f.find("app.core")["project"] = json!("nobody");
    });
    expect(&["app.core: it needs libx.so, which is not"], |f| {
        f.find("app.core")["needs"] = json!(["libx.so"]);
    });
    expect(&["ns.a.b: its package ns.a is not in the manifest"], |f| {
        f.add(namespace("ns"));
        f.add(namespace("ns.a.b"));
    });
    expect(&["app.core.x: expected app.core to be a package, got a module"], |f| {
        f.add(namespace("app.core.x"));
    });
    expect(&["encodings: the package is missing"], |f| {
        f.find("encodings")["name"] = json!("codings");
    });
    expect(&["bytecode: optimize: expected 0, 1 or 2, got 3"], |f| {
        f.manifest["bytecode"] = json!({"optimize": 3});
    });
}

#[test]
fn what_runs_must_be_there() {
    let run = |run: Value| move |fixture: &mut Fixture| fixture.manifest["run"] = run;
    expect(
        &["run: the module app.cor is not", "did you mean app.core?"],
        run(json!({"mode": "module", "module": "app.cor"})),
    );
    expect(
        &["run: the package app has no app.__main__"],
        run(json!({"mode": "module", "module": "app"})),
    );
    expect(
        &["run: the module nothing is not"],
        run(json!({"mode": "entry-point", "module": "nothing", "function": "f"})),
    );
    expect(
        &["run: function: expected a dotted name"],
        run(json!({"mode": "entry-point", "module": "app", "function": "f()"})),
    );
    expect(&["run: the module __main__ is not"], |f| f.find("__main__")["name"] = json!("hello"));
    expect(&["unknown variant `fly`"], run(json!({"mode": "fly"})));
}

#[test]
fn the_application_must_compile() {
    expect(&["error: app/bad.py:2: "], |fixture| {
        fixture.source("module", "app.bad", "app/bad.py", "x = 1\ndef f(:\n");
    });
    expect(&["error: app/bad.py"], |fixture| {
        fixture.source("module", "app.bad", "app/bad.py", "x = '\0'\n");
    });
}

#[test]
fn another_distribution() {
    expect(&["dist.json: expected the distribution 000000000000, got "], |fixture| {
        fixture.manifest["distribution"]["sha256"] = json!("0".repeat(64));
    });
    expect(&["distribution: target: the manifest is for aarch64", "x86_64"], |fixture| {
        fixture.manifest["distribution"]["target"] = json!("aarch64-unknown-linux-gnu");
    });
    expect(&["distribution: version: the manifest is for 3.0.0"], |fixture| {
        fixture.manifest["distribution"]["version"] = json!("3.0.0");
    });
}

/// Writes a file that is run. A process of its own does it: were the file open here, children of other threads
/// would have it open too, and it could not be run. It takes the place of the one before whole, since a process that was left
/// behind may be about to run that.
fn write_program(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat >"$0.new" && chmod 755 "$0.new" && mv "$0.new" "$0""#])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    writer.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    assert!(writer.wait().expect("an end").success());
}

/// A distribution whose interpreter is this shell script.
fn with_interpreter(script: &str) -> Fixture {
    use pyox_schema::Document;
    let mut fixture = Fixture::new();
    write_program(&fixture.path("python3"), script);
    let mut distribution = common::distribution();
    distribution.root = fixture.path("");
    distribution.paths.executable = String::from("python3");
    fs::write(fixture.path("dist.json"), distribution.to_json()).expect("written");
    fixture.manifest["distribution"]["sha256"] = json!(distribution.digest());
    fixture
}

#[test]
fn an_interpreter_that_fails() {
    let refusal = |script| with_interpreter(script).refusal();
    says(
        &refusal("#!/bin/sh\necho no encodings >&2\nexit 3\n"),
        &["python3: the distribution's interpreter stopped: no encodings"],
    );
    says(&refusal("#!/bin/sh\nexit 3\n"), &["exit status: 3"]);
    says(&refusal("#!/bin/sh\nprintf abcd\n"), &["bytecode magic: expected ", "got 61626364"]);
    says(&refusal("not a program"), &["python3: exec format error"]);
    let fixture = with_interpreter("#!/bin/sh\n");
    fs::remove_file(fixture.path("python3")).expect("removed");
    says(&fixture.refusal(), &["python3: no such file"]);
}

/// A script that says what an interpreter of that version says first.
fn interpreter_that_says(version: &str) -> String {
    let magic = common::distribution().python.bytecode_magic;
    let digits = u32::from_str_radix(&magic, 16).expect("hexadecimal").to_be_bytes();
    let length = u32::try_from(version.len()).expect("short").to_le_bytes();
    // To `printf`, in octal.
    let octal = [digits, length].map(|word| word.map(|byte| format!("\\{byte:03o}")).concat());
    let octal = octal.concat();
    format!("#!/bin/sh\nprintf '{octal}{version}'\nread x\nkill -9 $$\n")
}

#[test]
fn an_interpreter_that_dies_in_the_middle() {
    let script = interpreter_that_says(&common::distribution().python.version);
    says(
        &with_interpreter(&script).refusal(),
        &["the distribution's interpreter stopped: signal: 9"],
    );
}

#[test]
fn an_interpreter_of_another_patch_release() {
    let version = &common::distribution().python.version;
    let expected =
        format!("expected cpython {version} as the distribution says, got cpython 3.0.99");
    says(&with_interpreter(&interpreter_that_says("3.0.99")).refusal(), &[&expected]);
}

#[test]
fn a_full_disk() {
    let fixture = Fixture::new();
    fs::write(fixture.path("manifest.json"), fixture.manifest.to_string()).expect("written");
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = fixture.command(&fixture.path("manifest.json"), &[]);
    let child = command.stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().expect("runs");
    let output = child.wait_with_output().expect("ends");
    says(&refused(&output, &fixture.path("out.blob")), &["stdout: ", "space"]);
    let output = fixture.pack(&["-o", "no/such/folder/out.blob"]);
    says(&refused(&output, &fixture.path("no")), &["no/such/folder/out.blob: no such file"]);
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    // An interpreter that never answers: the run is certainly in the middle of its work.
    let fixture = with_interpreter("#!/bin/sh\nexec cat > started\n");
    let manifest = fixture.path("manifest.json");
    fs::write(&manifest, fixture.manifest.to_string()).expect("written");
    let mut command = fixture.command(&manifest, &["-j1", "-o", "out.blob"]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("runs");
    while !fixture.path("started").exists() {
        assert!(child.try_wait().expect("known").is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let mut left: Vec<_> = fs::read_dir(fixture.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, ["cache", "dist.json", "manifest.json", "payloads", "python3", "started"]);

    // The next run, with an interpreter that works, and the cache as it was left.
    let real = common::distribution();
    let real = real.path(&real.paths.executable);
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", real.display());
    write_program(&fixture.path("python3"), &script);
    assert!(!fixture.blob(&[]).is_empty());
}
