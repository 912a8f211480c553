//! A folder with a small application, its manifest, and the interpreter on `PATH` as distribution.
//!
//! The tests need a `python3` of a version that pyox supports, and fail without one.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use pyox_schema::{Digest, Distribution, Document};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folder, and the manifest as it stands.
pub struct Fixture {
    /// Everything lies in it.
    pub folder: TempDir,
    /// The manifest's JSON.
    pub manifest: Value,
}

/// The distribution document for `python3` on `PATH`.
pub fn distribution() -> Distribution {
    static DISTRIBUTION: LazyLock<Distribution> = LazyLock::new(ask_python);
    DISTRIBUTION.clone()
}

fn ask_python() -> Distribution {
    const FACTS: &str = "import sys, importlib.util as u; \
        print(sys.executable, sys.version.split()[0], *sys.version_info[:2], u.MAGIC_NUMBER.hex())";
    let output =
        Command::new("python3").args(["-I", "-c", FACTS]).output().expect("python3 on PATH");
    let facts = String::from_utf8(output.stdout).expect("text");
    let facts: Vec<&str> = facts.split_whitespace().collect();
    let [executable, version, major, minor, magic] = facts[..] else { panic!("{facts:?}") };
    let (major, minor): (u8, u8) = (major.parse().expect("number"), minor.parse().expect("number"));
    let none = "0".repeat(64);
    let document = json!({
        "schema": "pyox.distribution/1",
        "source": "test",
        "root": "/",
        "target": "x86_64-unknown-linux-gnu",
        "python": {
            "implementation": "cpython",
            "version": version,
            "version_info": [major, minor],
            "tag": format!("cp{major}{minor}"),
            "soabi": format!("cpython-{major}{minor}-x86_64-linux-gnu"),
            "bytecode_magic": magic,
            "extension_suffixes": [".so"],
            "platform": "linux-x86_64",
        },
        "paths": { "executable": executable.trim_start_matches('/'), "stdlib": "lib" },
        "stdlib": { "sha256": none, "files": 0 },
        "link": {
            "static": false,
            "dynamic": false,
            "libpython": { "path": "lib/libpython.a", "size": 0, "sha256": none },
            "libraries": [],
            "driver": "cc",
            "object_format": "elf",
        },
        "extensions": [],
    });
    Distribution::from_json(document.to_string().as_bytes()).expect("a distribution document")
}

impl Fixture {
    /// The package `encodings`, the script `__main__` and the package `app` with a module.
    pub fn new() -> Self {
        let distribution = distribution();
        let mut fixture = Self {
            folder: TempDir::new().expect("a folder"),
            manifest: json!({
                "schema": "pyox.manifest/1",
                "distribution": {
                    "sha256": distribution.digest(),
                    "version": distribution.python.version,
                    "target": distribution.target,
                },
                "run": { "mode": "script" },
                "projects": [{ "name": "python", "version": "3" }, { "name": "app" }],
                "resources": [],
            }),
        };
        fs::write(fixture.path("dist.json"), distribution.to_json()).expect("written");
        fixture.source("package", "encodings", "encodings/__init__.py", "ASCII = 'ascii'\n");
        fixture.source("module", "__main__", "hello.py", "print('hello')\n");
        fixture.source("package", "app", "app/__init__.py", "");
        fixture.source(
            "module",
            "app.core",
            "app/core.py",
            "def f(x):\n    return x in {1, 'a', b'b'}\n",
        );
        fixture
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds a resource of the application with a payload.
    pub fn source(&mut self, kind: &str, name: &str, location: &str, text: &str) -> &mut Value {
        self.resource(kind, name, location, text.as_bytes())
    }

    /// Adds a resource with a payload.
    pub fn resource(&mut self, kind: &str, name: &str, location: &str, bytes: &[u8]) -> &mut Value {
        let path = self.path("payloads").join(location);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, bytes).expect("written");
        let project = if name == "encodings" { "python" } else { "app" };
        self.add(json!({
            "kind": kind,
            "name": name,
            "location": location,
            "payload": { "path": path, "size": bytes.len(), "sha256": Digest::of(bytes) },
            "project": project,
            "origin": "application",
            "reason": "application",
        }))
    }

    /// Adds a resource.
    pub fn add(&mut self, resource: Value) -> &mut Value {
        let resources = self.manifest["resources"].as_array_mut().expect("a list");
        resources.push(resource);
        resources.last_mut().expect("one")
    }

    /// The resource of that name.
    pub fn find(&mut self, name: &str) -> &mut Value {
        let resources = self.manifest["resources"].as_array_mut().expect("a list");
        resources.iter_mut().find(|resource| resource["name"] == name).expect("there")
    }

    /// Runs `pyox-pack` on the manifest, with further arguments.
    pub fn pack(&self, arguments: &[&str]) -> Output {
        self.pack_text(&self.manifest.to_string(), arguments)
    }

    /// Runs `pyox-pack` on any text.
    pub fn pack_text(&self, manifest: &str, arguments: &[&str]) -> Output {
        let path = self.path("manifest.json");
        fs::write(&path, manifest).expect("written");
        self.command(&path, arguments).output().expect("pyox-pack runs")
    }

    /// The command, not started yet.
    pub fn command(&self, manifest: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyox-pack"));
        command
            .arg(manifest)
            .arg("-d")
            .arg(self.path("dist.json"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PYOX_CACHE_DIR", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    /// The blob, where packing it works.
    pub fn blob(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.pack(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    }

    /// What packing says, where it must fail: one `error` line, perhaps a hint, exit status 2 and no
    /// output.
    pub fn refusal(&self) -> String {
        refused(&self.pack(&["-o", "out.blob"]), &self.path("out.blob"))
    }
}

/// The message of a run that must have failed in good order.
pub fn refused(output: &Output, product: &Path) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    assert!(!product.exists(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("pyox-pack: error: "), "{text}");
    assert!(!lines[0].ends_with('.'), "{text}");
    assert!(lines[1..].iter().all(|line| line.starts_with("pyox-pack: hint: ")), "{text}");
    text
}

/// What a command said.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}
