//! What the tests of pyox-fetch share: running it with a cache of its own, and making archives of
//! every good and bad kind.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pyox_schema::{Digest, Distribution, Document};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A mirror that is not there.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9";

/// What is said of it.
pub(crate) const REFUSED: &str =
    "cpython@3.13: http://127.0.0.1:9/latest-release.json: cannot be reached: Connection refused";

/// A place to run pyox-fetch in: a working folder and a cache.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyox-fetch"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PYOX_CACHE_DIR", self.path("cache"))
            // Nothing comes from the network here.
            .env("PYOX_PYTHON_MIRROR", NOWHERE);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it, and reads the document that it prints.
    pub(crate) fn fetch(&self, arguments: &[&str]) -> Distribution {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        Distribution::from_json(&output.stdout).unwrap()
    }

    /// Runs it, and gives what it says when it refuses: one error line, perhaps a hint, no document,
    /// nothing left in the store.
    pub(crate) fn refuse(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(output.stdout, b"", "{said}");
        let mut lines = said.lines();
        assert!(lines.next().unwrap().starts_with("pyox-fetch: error: "), "{said}");
        assert!(lines.all(|line| line.starts_with("pyox-fetch: hint: ")), "{said}");
        said
    }

    /// What the store holds.
    pub(crate) fn store(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("cache/distributions")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Writes a file, and gives its name and digest.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Digest {
        fs::write(self.path(name), bytes).unwrap();
        Digest::of(bytes)
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Were it open here, children of other threads would have it open too, and it could not be run.
        let mut writer = Command::new("sh")
            .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        path
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A tar archive in the making, with whatever members.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// A small distribution that is in order: enough for a document, not for an interpreter.
    pub(crate) fn distribution() -> Self {
        Self::distribution_with(&python_json())
    }

    pub(crate) fn distribution_with(json: &Value) -> Self {
        let lib = "python/install/lib/python3.13";
        Self::new()
            .file("python/PYTHON.json", json.to_string().as_bytes())
            .file("python/install/bin/python3.13", b"#!/bin/sh\n")
            .file("python/install/include/python3.13/Python.h", b"")
            .file(&format!("{lib}/os.py"), b"# os\n")
            .file(&format!("{lib}/json/__init__.py"), b"# json\n")
            .file(&format!("{lib}/site-packages/pip.py"), b"# no part of it\n")
            .file(&format!("{lib}/config-3.13-x86_64-linux-gnu/libpython3.13.a"), &library())
            .file("python/build/lib/libz.a", &library())
            .file("python/licenses/LICENSE.cpython.txt", b"PSF\n")
            .file("python/licenses/LICENSE.zlib.txt", b"zlib\n")
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.member(name, tar::EntryType::Regular, "", data)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        if target.len() <= 100 {
            return self.member(name, tar::EntryType::Symlink, target, b"");
        }
        let text = [target.as_bytes(), b"\0"].concat();
        let tar = self.member("././@LongLink", tar::EntryType::GNULongLink, "", &text);
        tar.member(name, tar::EntryType::Symlink, "short", b"")
    }

    /// A file with a name as GNU tar writes the longer ones.
    pub(crate) fn long(self, name: &str, data: &[u8]) -> Self {
        let text = [name.as_bytes(), b"\0"].concat();
        let tar = self.member("././@LongLink", tar::EntryType::GNULongName, "", &text);
        tar.file("python/short", data)
    }

    /// Adds a member as it is told, however bad; names of up to 100 bytes.
    pub(crate) fn member(
        mut self,
        name: &str,
        kind: tar::EntryType,
        link: &str,
        data: &[u8],
    ) -> Self {
        let mut header = header(name, kind, data.len() as u64);
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    /// Adds a member that says it has `size` bytes, with none of them.
    pub(crate) fn claim(mut self, name: &str, size: u64) -> Self {
        let mut header = header(name, tar::EntryType::Regular, size);
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    pub(crate) fn zst(self) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&self.bytes()).unwrap();
        encoder.finish().unwrap()
    }

    pub(crate) fn gz(self) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.bytes()).unwrap();
        encoder.finish().unwrap()
    }
}

fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header
}

/// An archive with one member that begins as an ELF file does.
pub(crate) fn library() -> Vec<u8> {
    [&b"!<arch>\n"[..], &member("a.o/", b"\x7fELF")].concat()
}

/// A member of an archive of objects.
pub(crate) fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let length = data.len();
    let mut bytes =
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n", 0, 0, 0, 644).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend(std::iter::repeat_n(b'\n', length % 2));
    bytes
}

/// A shared library that exports what libpython does, as far as anybody looks.
pub(crate) fn shared_libpython(place: &Place) -> Vec<u8> {
    let (source, library) = (place.path("libpython.c"), place.path("libpython.so"));
    fs::write(&source, "void Py_InitializeFromConfig(void) {}\n").unwrap();
    let done = Command::new("cc")
        .arg("-shared")
        .arg("-fPIC")
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .status();
    assert!(done.unwrap().success());
    fs::read(library).unwrap()
}

/// The target of the machine that runs the tests, as far as this document goes.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The document of [`Tar::distribution`].
pub(crate) fn python_json() -> Value {
    json!({
        "version": "8",
        "target_triple": target(),
        "optimizations": "noopt",
        "build_options": "noopt",
        "python_tag": "cp313",
        "python_abi_tag": "cp313",
        "python_platform_tag": "linux-x86_64",
        "python_implementation_name": "cpython",
        "python_version": "3.13.5",
        "python_major_minor_version": "3.13",
        "python_paths": {
            "stdlib": "install/lib/python3.13",
            "include": "install/include/python3.13",
        },
        "python_config_vars": { "SOABI": "cpython-313-x86_64-linux-gnu" },
        "python_exe": "install/bin/python3.13",
        "python_stdlib_test_packages": ["test", "idlelib.idle_test"],
        "python_suffixes": { "extension": [".cpython-313-x86_64-linux-gnu.so", ".abi3.so", ".so"] },
        "python_bytecode_magic_number": "f30d0d0a",
        "python_extension_module_loading": ["builtin", "shared-library"],
        "license_path": "licenses/LICENSE.cpython.txt",
        "build_info": {
            "object_file_format": "elf",
            "core": {
                "objs": [],
                "links": [{ "name": "m", "system": true }],
                "static_lib": "install/lib/python3.13/config-3.13-x86_64-linux-gnu/libpython3.13.a",
            },
            "extensions": {
                "zlib": [{
                    "in_core": false,
                    "init_fn": "PyInit_zlib",
                    "license_paths": ["licenses/LICENSE.zlib.txt"],
                    "links": [{ "name": "z", "path_static": "build/lib/libz.a" }],
                    "objs": [],
                    "required": false,
                    "variant": "default",
                }],
                "sys": [{
                    "in_core": true,
                    "init_fn": "NULL",
                    "links": [],
                    "objs": [],
                    "required": true,
                    "variant": "default",
                }],
            },
        },
    })
}

/// Whether a tree holds a file of that name anywhere.
pub(crate) fn holds(tree: &Path, name: &str) -> bool {
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() == name {
                return true;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    false
}
