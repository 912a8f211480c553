//! `pyox-inspect` as a user runs it: on blobs, executables and documents, whole and damaged.

#[path = "../../../crates/pyox-blob/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pyox_blob::layout::{self, Codec, FileKind, ModuleKind};
use pyox_schema::{
    Bytecode, Digest, DistributionRef, Document, Manifest, Payload, Project, Resource,
    ResourceKind, Run,
};
use serde_json::Value;
use support::{Draft, example, file, module};
use tempfile::TempDir;

/// A folder to work in, and the tool run inside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyox-inspect"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The answer of a run that must succeed.
    fn answer(&self, arguments: &[&str]) -> String {
        self.answer_with(0, arguments)
    }

    fn answer_with(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{text}{errors}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.answer(&[&["--json"], arguments].concat())).unwrap()
    }

    /// The diagnostics of a run that must fail with status 2 and say nothing on stdout.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}: an answer beside the error");
        assert!(errors.starts_with("pyox-inspect: error: "), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        errors
    }
}

fn blob(draft: &Draft) -> Vec<u8> {
    draft.write(|bytes| Digest::of(bytes).0)
}

/// The example, with one file compressed.
fn packed() -> Draft {
    let mut draft = example();
    let text = b"lots of text ".repeat(1000);
    let mut readme = file("app/README.txt", FileKind::Data, &text);
    readme.codec = Codec::Zstd;
    readme.stored = zstd::encode_all(&text[..], 3).unwrap();
    draft.files.push(readme);
    draft
}

/// The blob as a section of this test's own executable, as `pyox-link` leaves it.
fn executable(place: &Place, blob: &Path) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let app = place.path("app");
    let section = layout::ELF_SECTION;
    let status = Command::new("objcopy")
        .arg(format!("--add-section={section}={}", blob.display()))
        .arg(format!("--set-section-flags={section}=readonly,data"))
        .args([&this, &app])
        .status()
        .unwrap();
    assert!(status.success());
    app
}

#[test]
fn the_summary_says_what_runs_and_what_is_in() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    let text = place.answer(&["app.blob"]);
    for expected in [
        "app.blob: blob, ",
        "python        3.13\n",
        "runs          module app\n",
        "interpreter   for its own children, and with PYOX_INTERPRETER=1\n",
        "format 1.1, ",
        "app 1.0",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let json = place.json(&["app.blob"]);
    assert_eq!(json["kind"], "blob");
    assert_eq!(json["config"]["run.module"], "app");
    assert_eq!(json["blob"]["sections"].as_array().unwrap().len(), 11);
    let counts: u64 =
        json["kinds"].as_array().unwrap().iter().map(|k| k["resources"].as_u64().unwrap()).sum();
    // Six modules, three of them with a file, and nine files.
    assert_eq!(counts, 6 + 9 - 3);
}

#[test]
fn a_list_has_one_line_for_each_resource() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    let text = place.answer(&["list", "app.blob"]);
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], ["module", "30", "app", "app.core"]);
    assert!(lines.contains(&vec!["built-in", "0", "python", "_abc"]), "{text}");
    assert!(lines.contains(&vec!["package-data", "6", "app", "app/data/greeting.txt"]), "{text}");

    let json = place.json(&["list", "app.blob"]);
    let find = |name: &str| {
        json.as_array().unwrap().iter().find(|resource| resource["name"] == name).unwrap().clone()
    };
    let readme = find("app/README.txt");
    assert_eq!(readme["size"], 13_000);
    assert!(readme["stored"].as_u64().unwrap() < 200, "{readme}");
    let core = find("app.core");
    assert_eq!((&core["code"], &core["size"]), (&16.into(), &14.into()));
    assert_eq!(core["location"], "app/core.py");
    assert_eq!(find("app.fast")["needs"][0], "app.libs/libz.so.1");
}

#[test]
fn names_cannot_write_escape_sequences_or_lines() {
    let place = Place::new();
    let mut draft = example();
    draft.files.push(file("app/\x1b[2J\nmodule  0  app  fake", FileKind::Data, b"x"));
    place.put("app.blob", blob(&draft));
    for command in [&["list", "app.blob"][..], &["tree", "app.blob"], &["app.blob"]] {
        let text = place.answer(command);
        assert!(!text.contains('\x1b') && !text.contains("\nmodule  0"), "{text}");
    }
}

#[test]
fn sizes_add_up_by_project_kind_and_package() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    let all: u64 = place
        .json(&["list", "app.blob"])
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["stored"].as_u64().unwrap())
        .sum();
    for by in ["project", "kind", "package"] {
        let sums = place.json(&["size", "--by", by, "app.blob"]);
        let sizes: Vec<_> =
            sums.as_array().unwrap().iter().map(|sum| sum["size"].as_u64().unwrap()).collect();
        assert_eq!(sizes.iter().sum::<u64>(), all, "{by}");
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        let text = place.answer(&["size", "--bytes", "--by", by, "app.blob"]);
        let total: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!((total[0], total[4]), (all.to_string().as_str(), "total"));
    }
    let packages = place.answer(&["size", "--by", "package", "app.blob"]);
    for package in ["app\n", "app.libs\n", "json\n", "ns\n"] {
        assert!(packages.contains(&format!("  {package}")), "{packages}");
    }
}

#[test]
fn a_tree_shows_folders_with_what_is_below() {
    let place = Place::new();
    place.put("app.blob", blob(&example()));
    let text = place.answer(&["tree", "app.blob"]);
    let line = |end: &str| text.lines().find(|line| line.ends_with(end)).map(str::to_owned);
    assert!(line("├── app/").is_some(), "{text}");
    assert!(line("│   ├── data/").is_some(), "{text}");
    assert!(line("│   │   └── greeting.txt").unwrap().trim_start().starts_with("6 B"), "{text}");
    assert!(line("_abc  (built-in)").is_some(), "{text}");
    assert!(line("json.pyc").is_some(), "{text}");
    let top = place.answer(&["tree", "-L", "1", "app.blob"]);
    assert!(top.contains("app/") && !top.contains("greeting"), "{top}");
    assert_eq!(place.json(&["tree", "app.blob"])["children"]["app"]["children"]["data"]["size"], 6);
}

#[test]
fn cat_gives_the_bytes() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    assert_eq!(place.answer(&["cat", "app.blob", "app.core"]), "print('core')\n");
    assert_eq!(place.answer(&["cat", "app.blob", "app/core.py"]), "print('core')\n");
    assert_eq!(place.answer(&["cat", "--code", "app.blob", "app.core"]), "code of app.core");
    assert_eq!(place.answer(&["cat", "app.blob", "app/README.txt"]).len(), 13_000);
    let both = place.answer(&["cat", "app.blob", "app/data/greeting.txt", "app"]);
    assert_eq!(both, "hello\nimport app.core\n");

    let error = place.error(&["cat", "app.blob", "json"]);
    assert!(error.contains("app.blob: json: module: it has no file\n"), "{error}");
    assert!(error.contains("hint: the source was left out; --code"), "{error}");
    let error = place.error(&["cat", "app.blob", "Core"]);
    assert!(error.contains("there is no resource `Core`\n"), "{error}");
    assert!(error.contains("did you mean `app.core`?"), "{error}");
    place.error(&["cat", "--code", "app.blob", "ns"]);
}

#[test]
fn a_blob_comes_through_a_pipe() {
    let place = Place::new();
    let mut child = place
        .command(&["cat", "-", "app.core"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&blob(&packed())).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"print('core')\n");
}

#[test]
fn extract_writes_the_tree() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    place.answer(&["extract", "app.blob", "-C", "out/deep"]);
    let read = |path: &str| fs::read(place.path("out/deep").join(path)).unwrap();
    assert_eq!(read("app/core.py"), b"print('core')\n");
    assert_eq!(read("app/README.txt").len(), 13_000);
    assert_eq!(read("app/empty"), b"");
    // A module without source becomes a file that Python imports without one.
    assert_eq!(read("json.pyc"), [b"\xf3\x0d\x0d\x0a", &[0; 12][..], b"code of json"].concat());
    assert!(!place.path("out/deep/_abc").exists());

    place.answer(&["extract", "app.blob", "-C", "some", "app/data", "app.core"]);
    let mut found: Vec<_> =
        fs::read_dir(place.path("some/app")).unwrap().map(|e| e.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["core.py", "data"]);
    place.error(&["extract", "app.blob", "-C", "some", "app/nothing"]);
}

#[test]
fn extract_replaces_only_when_told_to() {
    let place = Place::new();
    place.put("app.blob", blob(&packed()));
    place.put("out/app/core.py", "mine");
    let error = place.error(&["extract", "app.blob", "-C", "out"]);
    assert!(error.contains("out/app/core.py: expected nothing there, got a file"), "{error}");
    assert_eq!(fs::read(place.path("out/app/core.py")).unwrap(), b"mine");
    assert!(!place.path("out/app/__init__.py").exists(), "something was written before the check");
    place.answer(&["extract", "--force", "app.blob", "-C", "out"]);
    assert_eq!(fs::read(place.path("out/app/core.py")).unwrap(), b"print('core')\n");
    let strays = fs::read_dir(place.path("out/app")).unwrap();
    assert!(strays.map(|e| e.unwrap().file_name()).all(|n| !n.to_string_lossy().contains("tmp")));
}

#[test]
fn extract_never_leaves_its_folder() {
    let place = Place::new();
    for path in ["../evil", "/tmp/evil", "app/../../evil", "app//evil", "./evil", "app/"] {
        let mut draft = example();
        draft.files.push(file(path, FileKind::Data, b"x"));
        place.put("evil.blob", blob(&draft));
        for force in [&[][..], &["--force"]] {
            let error = place.error(&[&["extract", "evil.blob", "-C", "out"], force].concat());
            assert!(error.contains("expected a path inside the folder"), "{path}: {error}");
        }
        assert!(!place.path("evil").exists() && !place.path("out").exists());
    }
    // A link that lies in the folder already, to a folder and to a file.
    let outside = Place::new();
    outside.put("core.py", "theirs");
    place.put("app.blob", blob(&example()));
    fs::create_dir(place.path("out")).unwrap();
    symlink(outside.0.path(), place.path("out/app")).unwrap();
    place.error(&["extract", "--force", "app.blob", "-C", "out"]);
    fs::remove_file(place.path("out/app")).unwrap();
    fs::create_dir(place.path("out/app")).unwrap();
    symlink(outside.path("core.py"), place.path("out/app/core.py")).unwrap();
    place.answer(&["extract", "--force", "app.blob", "-C", "out"]);
    assert_eq!(fs::read(outside.path("core.py")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(outside.0.path()).unwrap().count(), 1);
    assert!(fs::symlink_metadata(place.path("out/app/core.py")).unwrap().is_file());
}

#[test]
fn config_is_flat() {
    let place = Place::new();
    place.put("app.blob", blob(&example()));
    let json = place.json(&["config", "app.blob"]);
    assert_eq!(json["preconfig.utf8_mode"], 1);
    assert_eq!(json["config.warnoptions"][0], "error");
    assert_eq!(json["bytecode_magic"], "f30d0d0a");
    assert_eq!((&json["sys.frozen"], &json["environment.TERM"]), (&true.into(), &"dumb".into()));
    let text = place.answer(&["config", "app.blob"]);
    assert!(text.contains("config.warnoptions   error\n"), "{text}");
}

#[test]
fn check_names_all_that_is_damaged() {
    let place = Place::new();
    let bytes = blob(&packed());
    place.put("app.blob", &bytes);
    assert!(place.answer(&["--check", "app.blob"]).starts_with("app.blob: ok: "));

    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut damaged = bytes.clone();
    damaged[at(b"code of app.core")] ^= 1;
    damaged[at(b"hello\n")] ^= 1;
    place.put("damaged.blob", &damaged);
    let text = place.answer_with(1, &["--check", "damaged.blob"]);
    for name in ["module app.core", "file app/data/greeting.txt", "section code", "sha256"] {
        assert!(text.contains(&format!("damaged.blob: damaged: {name}: expected ")), "{text}");
    }
    assert!(!text.contains("json"), "{text}");
    let json = place.answer_with(1, &["--check", "--json", "damaged.blob"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["ok"], json["problems"].as_array().unwrap().len()), (&false.into(), 5));

    let output = place.run(&["cat", "damaged.blob", "app/data/greeting.txt"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert_eq!(place.answer(&["cat", "damaged.blob", "app"]), "import app.core\n");
}

/// A blob flipped at any byte, in any region: `--check` says no, and nothing panics.
#[test]
fn check_notices_each_flipped_byte_and_each_cut() {
    let place = Place::new();
    let bytes = blob(&packed());
    for at in (8..bytes.len()).step_by(bytes.len() / 150) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        place.put("x.blob", &damaged);
        let status = place.run(&["--check", "x.blob"]).status.code();
        // Bytes 8 to 11 are the version, which makes it a blob of another format.
        assert_eq!(status, Some(if at < 10 { 2 } else { 1 }), "byte {at}");
        place.put("x.blob", &bytes[..at]);
        let status = place.run(&["--check", "x.blob"]).status.code();
        assert_eq!(status, Some(if at < layout::HEADER_SIZE { 2 } else { 1 }), "cut at {at}");
    }
}

/// Checksums that hold over a frame that does not: packed wrongly, not damaged later.
#[test]
fn check_decodes_what_is_compressed() {
    let place = Place::new();
    for (stored, len) in [
        (b"no zstd frame".to_vec(), 13),
        (zstd::encode_all(&b"four"[..], 3).unwrap(), 5),
        (zstd::encode_all(&b"four"[..], 3).unwrap(), 3),
        (zstd::encode_all(&vec![0; 1 << 20][..], 3).unwrap(), u64::MAX),
    ] {
        let mut draft = example();
        let mut wrong = file("app/wrong", FileKind::Data, &stored);
        (wrong.codec, wrong.len) = (Codec::Zstd, len);
        draft.files.push(wrong);
        place.put("x.blob", blob(&draft));
        let text = place.answer_with(1, &["--check", "x.blob"]);
        assert_eq!(text.matches("damaged: file app/wrong: ").count(), 1, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        place.error(&["cat", "x.blob", "app/wrong"]);
    }
}

#[test]
fn an_executable_is_what_its_section_holds() {
    let place = Place::new();
    let blob = place.put("app.blob", blob(&packed()));
    let app = executable(&place, &blob);
    let json = place.json(&["app"]);
    assert_eq!(
        (&json["kind"], &json["executable"]["mode"]),
        (&"executable".into(), &"dynamic".into())
    );
    assert_eq!(json["blob"]["section"], layout::ELF_SECTION);
    assert!(place.answer(&["app"]).contains("links         dynamic: needs "));
    assert_eq!(place.answer(&["list", "app"]), place.answer(&["list", "app.blob"]));
    assert_eq!(place.answer(&["cat", "app", "app.core"]), "print('core')\n");
    assert_eq!(place.answer(&["--diff", "app.blob", "app"]), "");
    place.answer(&["--check", "app"]);

    let mut bytes = fs::read(&app).unwrap();
    let at = bytes.windows(16).rposition(|w| w == b"code of app.core").unwrap();
    bytes[at] ^= 1;
    fs::write(&app, &bytes).unwrap();
    assert!(place.answer_with(1, &["--check", "app"]).contains("damaged: module app.core: "));
}

/// A 64-bit ELF file of one loadable segment and no section headers, as `sstrip` leaves it.
fn sectionless(segment: &[u8]) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2_u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for word in [0x40_0000_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    elf.extend(4_u32.to_le_bytes());
    let len = 4096 + segment.len() as u64;
    for word in [0, 0x40_0000, 0x40_0000, len, len, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.resize(4096, 0);
    elf.extend(segment);
    elf
}

#[test]
fn a_blob_is_found_in_a_segment_without_section_headers() {
    let place = Place::new();
    // Before it lies the magic number alone, as the run-time code has it.
    let mut segment = layout::MAGIC.to_vec();
    segment.resize(256, 0);
    segment.extend(blob(&example()));
    place.put("app", sectionless(&segment));
    let json = place.json(&["app"]);
    assert_eq!((&json["blob"]["offset"], &json["blob"]["section"]), (&4352.into(), &Value::Null));
    assert_eq!(json["executable"]["mode"], "static");
    assert!(place.answer(&["app"]).contains("static: needs nothing but the kernel"));
    assert_eq!(place.answer(&["cat", "app", "app.core"]), "print('core')\n");
    place.answer(&["--check", "app"]);
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let place = Place::new();
    let this = std::env::current_exe().unwrap();
    let error = place.error(&[this.to_str().unwrap()]);
    assert!(error.contains("an ELF file without a blob"), "{error}");
    place.put("zeros", [0; 4096]);
    executable(&place, &place.path("zeros"));
    let error = place.error(&["app"]);
    assert!(error.contains("got a runner without one") && error.contains("pyox-link"), "{error}");

    for (bytes, expected) in [
        (&b""[..], "got nothing"),
        (b" \n", "got nothing"),
        (b"PK\x03\x04", "a zip archive"),
        (b"#!/bin/sh", "a script"),
        (b"\xff\xfe", "something else"),
        (b"\x7fELF", "x: "),
        (b"{", "x: EOF while parsing an object at line 1 column 1"),
        (b"{}", "expected one of pyox's documents, got ``"),
        (b"{\"schema\": 1}", "invalid type: integer `1`"),
        (b"{\"schema\": \"pyox.manifest/2\"}", "expected `pyox.manifest/1`, got `pyox.manifest/2`"),
        (b"{\"schema\": \"pyox.link-plan/1\"}", "missing field"),
    ] {
        place.put("x", bytes);
        let error = place.error(&["x"]);
        assert!(error.contains(expected), "{expected:?} is not in {error}");
        assert_eq!(place.error(&["--check", "x"]), error);
    }
    assert!(place.error(&["missing"]).contains("missing: no such file or directory\n"));
    place.error(&["."]);
}

#[test]
fn a_closed_pipe_is_silent_and_a_full_disk_is_not() {
    let place = Place::new();
    let mut draft = example();
    draft.modules =
        (0..20_000).map(|n| module(&format!("m{n}"), ModuleKind::Module, b"x")).collect();
    place.put("app.blob", blob(&draft));
    let mut child = place
        .command(&["list", "app.blob"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["list", "app.blob"]).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "pyox-inspect: error: stdout: no space left on device\n");
    assert_eq!(output.status.code(), Some(2));
}

/// The manifest that [`example`] could have been packed from, with its files.
fn manifest(place: &Place) -> Manifest {
    let draft = example();
    let payload = |path: &str| {
        let file = draft.files.iter().find(|file| file.path == path).unwrap();
        let sha256 = Digest::of(&file.stored);
        Payload { path: place.put(&format!("src/{path}"), &file.stored), size: file.len, sha256 }
    };
    let resource = |kind, name: &str, path: Option<&str>, project: u32| Resource {
        kind,
        name: name.to_owned(),
        location: path.map(str::to_owned),
        payload: path.map(payload),
        package: name == "app.fast",
        cold: false,
        needs: vec![],
        project: draft.projects[project as usize].0.to_owned(),
        origin: pyox_schema::Origin::default(),
        reason: "the test".to_owned(),
    };
    let mut resources: Vec<_> = draft
        .modules
        .iter()
        .map(|module| {
            let kind = match module.kind {
                ModuleKind::Package => ResourceKind::Package,
                ModuleKind::Namespace => ResourceKind::NamespacePackage,
                ModuleKind::Extension | ModuleKind::Builtin => ResourceKind::ExtensionModule,
                ModuleKind::Module => ResourceKind::Module,
            };
            resource(kind, &module.name, module.file, module.project)
        })
        .collect();
    resources[5].location = Some("json.py".to_owned());
    let source = place.put("src/json.py", "json");
    let sha256 = Digest::of(b"json");
    resources[5].payload = Some(Payload { path: source, size: 4, sha256 });
    for file in &draft.files {
        let kind = match file.kind {
            FileKind::Data => ResourceKind::PackageData,
            FileKind::Metadata => ResourceKind::Metadata,
            FileKind::Library => ResourceKind::SharedLibrary,
            FileKind::Source | FileKind::Extension => continue,
        };
        resources.push(resource(kind, &file.path, Some(&file.path), file.project));
    }
    for resource in &mut resources {
        let file = draft.files.iter().find(|file| Some(&file.path) == resource.location.as_ref());
        let needs = file.map(|file| &file.needs[..]).unwrap_or_default();
        resource.needs = needs.iter().map(|need| (*need).to_owned()).collect();
    }
    Manifest {
        schema: Manifest::SCHEMA.to_owned(),
        distribution: DistributionRef {
            sha256: Digest([0; 32]),
            version: "3.13.5".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
        },
        run: Run::Module { module: "app".to_owned() },
        preconfig: [("utf8_mode".to_owned(), pyox_schema::Value::Boolean(true))].into(),
        config: [("warnoptions".to_owned(), pyox_schema::Value::List(vec!["error".to_owned()]))]
            .into(),
        interpreter: Some(true),
        bytecode: Bytecode::default(),
        placements: [("app".to_owned(), pyox_schema::Placement::Cache)].into(),
        sys: [("frozen".to_owned(), pyox_schema::Value::Boolean(true))].into(),
        search_path: vec!["$ORIGIN/plugins".to_owned()],
        environment: [("TERM".to_owned(), "dumb".to_owned())].into(),
        module_lists: None,
        projects: vec![
            Project { name: "app".to_owned(), version: Some("1.0".to_owned()) },
            Project { name: "python".to_owned(), version: None },
        ],
        resources,
        excluded: vec![],
    }
}

#[test]
fn a_manifest_is_looked_into_like_a_blob() {
    let place = Place::new();
    place.put("m.json", manifest(&place).to_json());
    place.put("app.blob", blob(&example()));
    assert!(place.answer(&["m.json"]).contains("runs          module app\n"));
    assert_eq!(place.answer(&["cat", "m.json", "app.core"]), "print('core')\n");
    let names = |input: &str| -> Vec<String> {
        let list = place.answer(&["list", input]);
        list.lines().map(|line| line.split_whitespace().last().unwrap().to_owned()).collect()
    };
    assert_eq!(names("m.json"), names("app.blob"));
    // The blob was left without one source; that is no difference.
    assert_eq!(place.answer(&["--diff", "m.json", "app.blob"]), "");
    place.answer(&["extract", "m.json", "-C", "out"]);
    assert_eq!(fs::read(place.path("out/json.py")).unwrap(), b"json");
}

#[test]
fn check_reads_what_a_manifest_refers_to() {
    let place = Place::new();
    let whole = manifest(&place);
    place.put("m.json", whole.to_json());
    place.answer(&["--check", "m.json"]);
    place.put("src/app/core.py", "print('CORE')\n");
    place.put("src/app/data/greeting.txt", "hello!\n");
    fs::remove_file(place.path("src/app/empty")).unwrap();
    let text = place.answer_with(1, &["--check", "m.json"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("app.core: ") && lines[0].contains("expected SHA-256 "), "{text}");
    assert!(lines[1].contains("greeting.txt: expected 6 bytes, got 7"), "{text}");
    assert!(lines[2].ends_with("src/app/empty: no such file or directory"), "{text}");
    let error = place.error(&["cat", "m.json", "app.core"]);
    assert!(error.contains("digest mismatch"), "{error}");

    let mut wrong = manifest(&place);
    wrong.resources.push(wrong.resources[0].clone());
    wrong.resources[1].project = "nobody".to_owned();
    wrong.resources[2].needs = vec!["nothing.so".to_owned()];
    place.put("m.json", wrong.to_json());
    let text = place.answer_with(1, &["--check", "m.json"]);
    for expected in [
        "app: two resources have this name",
        "app/__init__.py: two resources have this location",
        "app.core: its project nobody is not listed",
        "ns: it needs nothing.so, which is not listed",
    ] {
        assert!(text.contains(&format!("damaged: {expected}\n")), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn a_diff_tells_what_changed() {
    let place = Place::new();
    place.put("a.blob", blob(&example()));
    let mut draft = example();
    draft.modules[1].code = b"other code of app.core".to_vec();
    draft.modules.retain(|module| module.name != "json");
    draft.files.push(file("app/new.txt", FileKind::Data, b"new"));
    draft.files[3].stored = b"HELLO\n".to_vec();
    draft.projects[0].1 = "1.1";
    draft.config.preconfig.clear();
    place.put("b.blob", blob(&draft));
    assert_eq!(place.answer(&["--diff", "a.blob", "a.blob"]), "");

    let text = place.answer_with(1, &["--diff", "a.blob", "b.blob"]);
    let lines: Vec<String> =
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "- config preconfig.utf8_mode 1 -> (none)",
        "~ project app 1.0 -> 1.1",
        "- module json 12 B",
        "+ package-data app/new.txt 3 B",
        "~ module app.core code (30 B -> 36 B)",
        "~ package-data app/data/greeting.txt file (6 B)",
    ];
    assert_eq!(lines, expected);
    let json = place.answer_with(1, &["--diff", "a.blob", "b.blob", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["equal"], &json["added"][0]["name"]), (&false.into(), &"app/new.txt".into()));
    place.error(&["--diff", "a.blob", "missing"]);
}

#[test]
fn distributions_and_link_plans_are_looked_into() {
    let place = Place::new();
    let root = place.path("python");
    let libpython = place.put("python/lib/libpython3.13.a", "archive");
    for path in ["bin/python3.13", "lib/python3.13/os.py", "lib/python3.13/LICENSE.txt"] {
        place.put(&format!("python/{path}"), "x");
    }
    let archive = serde_json::json!({
        "path": "lib/libpython3.13.a", "size": 7, "sha256": Digest::of(b"archive"),
    });
    let distribution = serde_json::json!({
        "schema": "pyox.distribution/1", "source": "host", "root": root,
        "target": "x86_64-unknown-linux-gnu",
        "python": {
            "implementation": "cpython", "version": "3.13.5", "version_info": [3, 13],
            "tag": "cp313", "soabi": "cpython-313", "bytecode_magic": "f30d0d0a",
            "extension_suffixes": [".so"], "platform": "linux-x86_64",
        },
        "paths": { "executable": "bin/python3.13", "stdlib": "lib/python3.13" },
        "stdlib": { "sha256": Digest::of(b""), "files": 2 },
        "link": {
            "static": true, "dynamic": false, "reason": "no dlopen", "libpython": archive,
            "libraries": [{ "name": "m" }], "driver": "cc", "object_format": "elf",
        },
        "extensions": [{ "name": "_abc", "linkage": "builtin" }],
        "licenses": ["lib/python3.13/LICENSE.txt"],
    });
    let plan = serde_json::json!({
        "schema": "pyox.link-plan/1",
        "distribution": {
            "sha256": Digest::of(b""), "version": "3.13.5", "target": "x86_64-unknown-linux-gnu",
        },
        "mode": "static", "reason": "all is built in", "root": root, "driver": "cc",
        "runtime": archive, "libpython": archive, "archives": [], "libraries": ["m"],
        "arguments": [], "inittab": ["_abc"], "section": ".pyox_blob",
    });
    place.put("dist.json", distribution.to_string());
    place.put("plan.json", plan.to_string());
    let text = place.answer(&["dist.json"]);
    assert!(text.contains("links   static (no dlopen)\n"), "{text}");
    assert!(place.answer(&["plan.json"]).contains("links         static (all is built in)\n"));
    assert_eq!(place.json(&["config", "dist.json"])["link.driver"], "cc");
    for input in ["dist.json", "plan.json"] {
        let list = place.answer(&["list", input]);
        assert!(list.contains("lib/libpython3.13.a\n") && list.contains("_abc\n"), "{list}");
        assert_eq!(place.answer(&["cat", input, "lib/libpython3.13.a"]), "archive");
        place.answer(&["--check", input]);
    }
    // Among its artifacts, a plan's root is relative to the plan.
    let mut moved = plan;
    moved["root"] = ".".into();
    place.put("python/plan.json", moved.to_string());
    place.answer(&["--check", "python/plan.json"]);
    fs::write(&libpython, "ARCHIVE").unwrap();
    fs::remove_file(place.path("python/bin/python3.13")).unwrap();
    place.answer_with(1, &["--check", "plan.json"]);
    place.answer_with(1, &["--check", "python/plan.json"]);
    let text = place.answer_with(1, &["--check", "dist.json"]);
    assert!(text.contains("damaged: bin/python3.13: no such file or directory"), "{text}");
    assert!(text.contains("damaged: lib/libpython3.13.a: "), "{text}");
}

#[test]
fn the_command_line_says_how_it_is_meant() {
    let place = Place::new();
    place.put("app.blob", blob(&example()));
    let error = place.error(&["app.blob", "list"]);
    assert!(error.contains("expected the command before the file"), "{error}");
    assert_eq!(place.run(&["--diff", "a"]).status.code(), Some(2));
    assert_eq!(place.run(&["--check", "--diff", "a", "b"]).status.code(), Some(2));
    let help = place.answer(&["--help"]);
    assert!(help.contains("Examples:") && help.contains("Exit status:"), "{help}");
    place.answer(&["list", "app.blob", "-o", "list.txt"]);
    assert_eq!(
        fs::read_to_string(place.path("list.txt")).unwrap(),
        place.answer(&["list", "app.blob"])
    );
}
