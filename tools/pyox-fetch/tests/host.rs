//! Installed Pythons, real ones: those on `PATH`, and those of pyenv. At least one must have a static
//! library (Debian: `libpython3.X-dev`), or these tests fail.

mod common;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use common::{Place, member, stderr};
use pyox_schema::{Digest, Distribution, Document, Linkage};

/// All Pythons that can be found here, each once.
fn pythons() -> BTreeSet<PathBuf> {
    let mut folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap()).collect();
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".pyenv")));
    let versions = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok());
    folders.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    let names = ["python3", "python3.11", "python3.12", "python3.13", "python3.14"];
    let files = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
    // A shim is no Python by itself.
    files.filter_map(|file| file.canonicalize().ok()).filter(|file| !is_script(file)).collect()
}

fn is_script(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

/// What a Python prints for a program.
fn say(python: &Path, program: &str) -> String {
    let output = Command::new(python).args(["-I", "-S", "-c", program]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The Pythons that can be embedded, with their documents; found once for all tests.
fn documents() -> &'static [(PathBuf, Distribution)] {
    static DOCUMENTS: LazyLock<Vec<(PathBuf, Distribution)>> = LazyLock::new(describe_all);
    &DOCUMENTS
}

/// Describes all Pythons here. Those that cannot be embedded must be refused clearly.
fn describe_all() -> Vec<(PathBuf, Distribution)> {
    let place = Place::new();
    let mut documents = Vec::new();
    for python in pythons() {
        let output = place.run(&[&format!("host:{}", python.display())]);
        if output.status.success() {
            assert_eq!(stderr(&output), "");
            documents.push((python, Distribution::from_json(&output.stdout).unwrap()));
        } else {
            let said = stderr(&output);
            let reasons =
                ["expected CPython", "expected its library", "expected a release build of CPython"];
            assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
        }
    }
    assert!(!documents.is_empty(), "no Python here has a static library: see CONTRIBUTING.md");
    documents
}

#[test]
fn the_document_is_what_the_python_says_of_itself() {
    for (python, document) in documents() {
        let facts = &document.python;
        assert_eq!(facts.version, say(python, "import platform; print(platform.python_version())"));
        assert_eq!(document.path(&document.paths.executable), *python);
        assert!(document.path(&document.paths.stdlib).join("os.py").is_file());
        let magic = "import importlib.util as u; print(u.MAGIC_NUMBER.hex())";
        assert_eq!(facts.bytecode_magic, say(python, magic));

        let names = |linkage| {
            let all = document.extensions.iter().filter(move |e| e.linkage == linkage);
            all.map(|e| e.name.clone()).collect::<BTreeSet<_>>()
        };
        let said = say(python, "import sys; print(*sys.builtin_module_names)");
        assert_eq!(names(Linkage::Builtin), said.split(' ').map(str::to_owned).collect());
        // What its own finder finds in its folder of extension modules.
        let program = "import pkgutil, sys; print(*(m.name for m in pkgutil.iter_modules(\
                       [p for p in sys.path if p.endswith('lib-dynload')])))";
        let said = say(python, program);
        assert_eq!(names(Linkage::File), said.split_whitespace().map(str::to_owned).collect());

        for file in document.files().values() {
            let bytes = fs::read(document.path(&file.path)).unwrap();
            assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (file.size, file.sha256));
        }
        // Flags and paths of the machine that built it are not taken over.
        assert!(document.link.libraries.iter().all(|library| !library.name.contains('/')));
        assert!(document.link.arguments.iter().all(|argument| argument == "-no-pie"));
    }
}

/// The document's own words are enough to link an interpreter that has all its built-in modules.
#[test]
fn an_executable_links_by_the_document() {
    let place = Place::new();
    let source = place.path("main.c");
    let program =
        "#include <Python.h>\nint main(int argc, char **argv) { return Py_BytesMain(argc, argv); }";
    fs::write(&source, program).unwrap();
    for (python, document) in documents() {
        let Some(include) = &document.paths.include else { continue };
        let Some(libpython) = &document.link.libpython else { continue };
        let executable = place.path("main");
        let mut linker = Command::new(&document.link.driver);
        linker.arg("-I").arg(document.path(include)).arg(&source).arg("-o").arg(&executable);
        linker.arg("-rdynamic").args(&document.link.arguments).arg(document.path(&libpython.path));
        linker.args(document.link.libraries.iter().map(|library| format!("-l{}", library.name)));
        let output = linker.output().unwrap();
        assert!(output.status.success(), "{}: {}", python.display(), stderr(&output));

        let builtins = document.extensions.iter().filter(|e| e.linkage == Linkage::Builtin);
        let imports: Vec<_> = builtins.map(|extension| extension.name.as_str()).collect();
        let output = Command::new(&executable)
            .args(["-S", "-c", &format!("import {}", imports.join(", "))])
            .env("PYTHONHOME", document.path("."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", python.display(), stderr(&output));
    }
}

#[test]
fn the_same_python_gives_the_same_bytes_and_is_remembered() {
    let place = Place::new();
    let (python, document) = &documents()[0];
    let spec = format!("host:{}", python.display());
    assert_eq!(place.run(&[&spec]).stdout, place.run(&[&spec]).stdout);
    let remembered = place.path("cache/documents").join(format!("{}.json", document.digest()));
    assert_eq!(fs::read(remembered).unwrap(), place.run(&[&spec]).stdout);
}

/// A version manager's script may stand for another Python each time, so it is asked which one. Only a Python that is new is looked at.
#[test]
fn a_shim_stands_for_a_python_that_is_known() {
    let place = Place::new();
    let (python, _) = documents().iter().find(|(_, it)| it.link.libpython.is_some()).unwrap();
    let shim = place.script("shim", &format!("#!/bin/sh\nexec {} \"$@\"\n", python.display()));
    // The document tells what a compiler has, which is asked for that.
    let calls = place.path("calls");
    let usual = env::var_os("PATH").unwrap();
    let mut compilers = env::split_paths(&usual).map(|folder| folder.join("cc"));
    let real = compilers.find(|path| path.is_file()).unwrap();
    let log = format!("#!/bin/sh\necho >> {}; exec {} \"$@\"\n", calls.display(), real.display());
    place.script("bin/cc", &log);
    let folders = [place.path("bin")].into_iter().chain(env::split_paths(&usual));
    let path = env::join_paths(folders).unwrap();
    let run = |program: &Path| {
        let mut command = place.command(&[&format!("host:{}", program.display())]);
        let output = command.env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        (output.stdout, fs::read(&calls).unwrap().len())
    };
    let first = run(python);
    assert!(first.1 > 0);
    assert_eq!(run(&shim), first);
    // And what is learned by the shim is known of the Python.
    fs::remove_dir_all(place.path("cache/documents")).unwrap();
    let again = run(&shim);
    assert!(again.1 > first.1 && again.0 == first.0);
    assert_eq!(run(python), again);
}

/// A program that answers as a Python of another kind would.
fn pretender(place: &Place, facts: &str) -> String {
    let script = format!("#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{facts}\nEND\n");
    format!("host:{}", place.script("python", &script).display())
}

#[test]
fn pythons_that_cannot_be_embedded_are_refused_by_name() {
    let place = Place::new();
    let short = |name: &str, minor: u8| {
        format!(r#"{{"implementation":"{name}","version":"3.{minor}.1","version_info":[3,{minor}]"#)
    };
    let full = |debug: bool, free: bool, prefix: &str| {
        format!(
            r#"{},"details":{{"prefix":"{prefix}","executable":"/bin/sh","tag":"cp313","soabi":"",
            "magic":"f30d0d0a","suffixes":[".so"],"platform":"linux-x86_64","debug":{debug},
            "free_threaded":{free},"stdlib":"/x","dynload":null,"include":null,
            "library":"libpython3.13.a","libraries":[],"shared_library":"libpython3.13.so.1.0",
            "shared_libraries":[],"link":[],"builtins":[],"module_link":{{}}}}}}"#,
            short("cpython", 13)
        )
    };
    for (facts, expected) in [
        (short("pypy", 11) + "}", "expected CPython, got pypy 3.11.1"),
        (short("cpython", 10) + "}", "expected CPython 3.11 to 3.15, got 3.10.1"),
        (short("cpython", 16) + "}", "expected CPython 3.11 to 3.15, got 3.16.1"),
        (full(true, false, "/x"), "expected a release build of CPython, got a debug build"),
        (full(false, true, "/x"), "expected a release build of CPython, got a free-threaded build"),
        (full(false, false, "/usr"), "hint: install it: apt install libpython3.13-dev"),
        (full(false, false, "/x"), "PYTHON_CONFIGURE_OPTS=--with-static-libpython"),
        (
            full(false, false, "/x"),
            "expected its library, libpython3.13.a or libpython3.13.so.1.0, but there is neither",
        ),
        ("hello".to_owned(), "expected a Python, but it does not answer as one"),
    ] {
        let said = place.refuse(&[&pretender(&place, &facts)]);
        assert!(said.contains(expected), "{said}");
    }
    for (path, expected) in [
        ("host:/no/such/python3", "error: /no/such/python3: no such file or directory"),
        ("host:/bin/false", "error: /bin/false: expected a Python, but it failed"),
    ] {
        let said = place.refuse(&[path]);
        assert!(said.contains(expected), "{said}");
    }
}

/// Their own files tell what they are. One for another machine is started, since an emulator may run it.
#[test]
fn pythons_for_other_machines_are_refused_by_their_files() {
    let place = Place::new();
    let this = fs::read(env!("CARGO_BIN_EXE_pyox-fetch")).unwrap();
    // `EI_CLASS` and `e_machine`, by the ELF specification.
    let mut arm = this.clone();
    arm[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let mut small = vec![0; 52];
    small[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    small[16..20].copy_from_slice(&[2, 0, 3, 0]);
    small[40..46].copy_from_slice(&[52, 0, 32, 0, 0, 0]);
    let mut musl = this;
    let loader: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";
    let at = musl.windows(loader.len()).position(|window| window == loader).unwrap();
    musl[at..at + loader.len()].copy_from_slice(b"/lib/ld-musl-x86_64.so.1\0\0\0\0");
    for (bytes, expected) in [
        (arm, "expected a Python for x86_64, got one for aarch64, which does not run here: "),
        (small, "expected a Python for 64 bits, got one for 32 bits (i686)"),
        (musl, "expected a Python for glibc, got one for musl"),
    ] {
        place.write("python3", &bytes);
        let said = place.refuse(&[&format!("host:{}", place.path("python3").display())]);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_static_libpython_of_bitcode_alone_is_refused() {
    let place = Place::new();
    let library = [&b"!<arch>\n"[..], &member("a.o/", b"BC\xc0\xde")].concat();
    place.write("libpython3.13.a", &library);
    let facts = format!(
        r#"{{"implementation":"cpython","version":"3.13.1","version_info":[3,13],"details":{{
        "prefix":"/x","executable":"/bin/sh","tag":"cp313","soabi":"","magic":"f30d0d0a",
        "suffixes":[".so"],"platform":"linux-x86_64","debug":false,"free_threaded":false,
        "stdlib":"/x","dynload":null,"include":null,"library":"libpython3.13.a",
        "libraries":["{}"],"shared_library":"libpython3.13.so.1.0","shared_libraries":[],
        "link":[],"builtins":[],"module_link":{{}}}}}}"#,
        place.path("libpython3.13.a").display()
    );
    let said = place.refuse(&[&pretender(&place, &facts)]);
    let expected = "libpython3.13.a holds LLVM bitcode, and there is no libpython3.13.so.1.0";
    assert!(said.contains(expected), "{said}");
}

/// A tree in the layout of an `install_only` archive, of what the facts of a Python name.
fn pretended_tree(place: &Place, library: &[u8]) -> String {
    place.script("tree/lib/libpython3.13.so.1.0", "");
    place.write("tree/lib/libpython3.13.so.1.0", library);
    let tree = place.path("tree").display().to_string();
    let facts = format!(
        r#"{{"implementation":"cpython","version":"3.13.1","version_info":[3,13],"details":{{
        "prefix":"{tree}","executable":"/bin/sh","tag":"cp313","soabi":"","magic":"f30d0d0a",
        "suffixes":[".so"],"platform":"linux-x86_64","debug":false,"free_threaded":false,
        "stdlib":"/x","dynload":null,"include":null,"library":"libpython3.13.a","libraries":[],
        "shared_library":"libpython3.13.so.1.0",
        "shared_libraries":["{tree}/lib/libpython3.13.so.1.0"],
        "link":[],"builtins":[],"module_link":{{}}}}}}"#
    );
    pretender(place, &facts)
}

#[test]
fn a_libpython_that_is_none_is_refused() {
    let place = Place::new();
    let (_, document) = &documents()[0];
    let shared = &document.extensions.iter().find_map(|extension| extension.file.as_ref());
    let mut other = fs::read(document.path(&shared.unwrap().path)).unwrap();
    for (library, expected) in [
        (b"no library".to_vec(), "libpython3.13.so.1.0: expected an ELF file, got another format"),
        (
            other.clone(),
            "expected Python's library, but it does not export Py_InitializeFromConfig",
        ),
        (
            {
                other[18..20].copy_from_slice(&183_u16.to_le_bytes());
                other
            },
            "expected Python's library for x86_64, got one for aarch64",
        ),
    ] {
        let said = place.refuse(&[&pretended_tree(&place, &library)]);
        assert!(said.contains(expected), "{said}");
    }
}
