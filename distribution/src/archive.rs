//! The archive: python-build-standalone's full format, as a reproducible `.tar.zst`.
//!
//! The same build gives the same bytes: members in the order of their names, no times, no owners, two
//! modes. Text files lose the path of the build folder on the way; if it is found in any other file
//! nothing is written, so a finished archive is known to hold none. Bytecode is left out: whoever packs
//! an application compiles it anyway.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pyox_stage::{Fault, FaultExt as _, Kind, Result, files};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use crate::document::Document;
use crate::libraries::Toolchain;
use crate::recipe::{Build, PREFIX};

/// zstd's level: a quarter smaller than the default, for some seconds.
const LEVEL: i32 = 12;

/// A member of the archive; its path is the key of the map it is in, without the leading `python/`.
enum Member {
    Folder,
    File(PathBuf),
    Text { text: Vec<u8>, executable: bool },
    Link(PathBuf),
}

type Members = BTreeMap<String, Member>;

/// Writes the archive of a build to `path`, which only ever holds a complete one.
pub(crate) fn write(
    build: &Build,
    document: &Document,
    toolchain: &Toolchain,
    path: &Path,
) -> Result<()> {
    let mut members = Members::new();
    add_install(&mut members, build)?;
    add_build(&mut members, build, document)?;
    add_licenses(&mut members, build, toolchain)?;
    for text in document.build_info.extensions.values().flat_map(|[one]| &one.license_paths) {
        if !members.contains_key(text) {
            return Err(Fault::new(text, "named by an extension module, but not there"));
        }
    }
    let mut json = serde_json::to_vec_pretty(document).fault("PYTHON.json")?;
    json.push(b'\n');
    members.insert("PYTHON.json".into(), Member::Text { text: json, executable: false });
    for folder in members
        .keys()
        .flat_map(|name| Path::new(name).ancestors().skip(1))
        .map(key)
        .collect::<Vec<_>>()
    {
        if !folder.is_empty() {
            members.entry(folder).or_insert(Member::Folder);
        }
    }

    files::atomically(path, files::PLAIN, |file| pack(&members, file, &build.tree.root))
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `install/`: what `make install` made, relocatable.
fn add_install(members: &mut Members, build: &Build) -> Result<()> {
    let install = build.install();
    let minor = build.minor();
    let library = build.libpython();
    for entry in WalkDir::new(&install).sort_by_file_name().min_depth(1) {
        let entry = entry.fault_at(&install)?;
        let path = entry.path();
        let relative = key(path.strip_prefix(&install).unwrap_or(path));
        if relative.split('/').any(|part| part == "__pycache__") {
            continue;
        }
        let name = format!("install/{relative}");
        let kind = entry.file_type();
        let member = if kind.is_dir() {
            Member::Folder
        } else if kind.is_symlink() {
            Member::Link(fs::read_link(path).fault_at(path)?)
        } else if relative.strip_prefix("lib/") == Some(&library) {
            // make installs libpython twice.
            let config = glob_config(&install, &minor)?;
            Member::Link(PathBuf::from(format!("python{minor}/{config}/{library}")))
        } else if relative.starts_with("bin/") || path.extension().is_some_and(|end| end == "pc") {
            relocatable(path, &minor)?
        } else {
            Member::File(path.to_owned())
        };
        members.insert(name, member);
    }
    members.insert("install/bin/python".into(), Member::Link(format!("python{minor}").into()));
    Ok(())
}

/// The name of the standard library's `config-…` folder.
fn glob_config(install: &Path, minor: &str) -> Result<String> {
    let stdlib = install.join(format!("lib/python{minor}"));
    fs::read_dir(&stdlib)
        .fault_at(&stdlib)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.starts_with(&format!("config-{minor}")))
        .ok_or_else(|| Fault::at(&stdlib, "no config folder"))
}

/// A script or pkg-config file that finds the installation by where it lies itself.
fn relocatable(path: &Path, minor: &str) -> Result<Member> {
    let bytes = fs::read(path).fault_at(path)?;
    // A debug build's programs name it with a `d` at the end, a link to the same.
    let shebang = format!("#!{PREFIX}/bin/python{minor}");
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Ok(Member::File(path.to_owned()));
    };
    let executable = is_executable(path).fault_at(path)?;
    let script = text.strip_prefix(&shebang);
    if let Some(script) = script.and_then(|text| text.trim_start_matches('d').strip_prefix('\n')) {
        // To the shell the first line runs the interpreter beside the script; to Python it is a string.
        let header = format!(
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/python{minor}\" \"$0\" \"$@\"\n' '''\n"
        );
        return Ok(Member::Text { text: (header + script).into_bytes(), executable });
    }
    let prefix = format!("prefix={PREFIX}\n");
    Ok(Member::Text {
        text: text.replacen(&prefix, "prefix=${pcfiledir}/../..\n", 1).into_bytes(),
        executable,
    })
}

/// `build/`: object files, static libraries, and what is needed to make another table of modules.
fn add_build(members: &mut Members, build: &Build, document: &Document) -> Result<()> {
    let root = &build.tree.root;
    let info = &document.build_info;
    let objects = info.core.objs.iter().chain(info.extensions.values().flat_map(|[one]| &one.objs));
    for object in objects.map(String::as_str).chain(["build/Programs/python.o"]) {
        let path = root.join(object.trim_start_matches("build/"));
        if !path.is_file() {
            return Err(Fault::new(object, "named by the build, but not there"));
        }
        members.insert(object.to_owned(), Member::File(path));
    }
    for file in [
        "Modules/config.c",
        "Modules/config.c.in",
        "Modules/Setup",
        "Modules/Setup.bootstrap",
        "Modules/Setup.local",
        "Modules/Setup.stdlib",
        "Python/frozen.c",
    ] {
        members.insert(format!("build/{file}"), Member::File(root.join(file)));
    }
    // The libraries of the system, and those that CPython's own build makes.
    for folder in [build.static_libraries(), root.join("Modules")] {
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.fault_at(root)?;
            let name = entry.file_name().to_string_lossy();
            if entry.path().extension().is_some_and(|end| end == "a") {
                members.insert(format!("build/lib/{name}"), Member::File(entry.path().to_owned()));
            }
        }
    }
    let links = info.extensions.values().flat_map(|[one]| &one.links).chain(&info.core.links);
    for path in links.filter_map(|link| link.path_static.as_ref()) {
        if !members.contains_key(path) {
            return Err(Fault::new(path, "named by an extension module, but not there"));
        }
    }
    let text = include_bytes!("../smoke.py").to_vec();
    members.insert("build/run_tests.py".into(), Member::Text { text, executable: false });
    Ok(())
}

/// `licenses/`: CPython's, that of the code it incorporates, and those of all linked packages.
fn add_licenses(members: &mut Members, build: &Build, toolchain: &Toolchain) -> Result<()> {
    let root = &build.tree.root;
    let own = [("cpython", "LICENSE"), ("cpython-incorporated", "Doc/license.rst")];
    for (name, file) in own {
        members.insert(format!("licenses/LICENSE.{name}.txt"), Member::File(root.join(file)));
    }
    // HACL*, the verified cryptography of 3.12 and later, has its licence only at the top of its files.
    let hacl = root.join("Modules/_hacl/Hacl_Hash_SHA2.c");
    if hacl.is_file() {
        let source = fs::read_to_string(&hacl).fault_at(&hacl)?;
        let text =
            first_comment(&source).ok_or_else(|| Fault::at(&hacl, "no licence at its top"))?;
        let text = text.as_bytes().to_vec();
        members
            .insert("licenses/LICENSE.hacl.txt".into(), Member::Text { text, executable: false });
    }
    let runtime = format!("libgcc-{}-dev", toolchain.gcc_major);
    let packages = build.libraries.iter().map(|found| found.library.package);
    for package in packages.chain(["libc6-dev", &runtime]) {
        let path = Path::new("/usr/share/doc").join(package).join("copyright");
        if !path.is_file() {
            return Err(Fault::at(&path, "no licence of a library that is linked")
                .of_kind(Kind::Missing)
                .hint(format_args!("apt-get install --reinstall {package}")));
        }
        members.insert(format!("licenses/LICENSE.{package}.txt"), Member::File(path));
    }
    Ok(())
}

/// The comment at the top of a C file, as it is.
fn first_comment(source: &str) -> Option<&str> {
    let end = source.find("*/")? + 2;
    source.starts_with("/*").then(|| &source[..end])
}

/// Writes all members, in the order of their names.
fn pack(members: &Members, file: &mut impl Write, root: &Path) -> io::Result<()> {
    let mut zstd = zstd::Encoder::new(file, LEVEL)?;
    zstd.include_checksum(true)?;
    let mut tar = Builder::new(zstd);
    for (name, member) in members {
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        let (bytes, is_executable) = match member {
            Member::Folder => {
                let mut header = header(EntryType::Directory, 0o755, 0);
                tar.append_data(&mut header, format!("python/{name}/"), io::empty())?;
                continue;
            }
            Member::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, format!("python/{name}"), target)?;
                continue;
            }
            Member::Text { text, executable } => (text.clone(), *executable),
            Member::File(path) => (fs::read(path).map_err(at)?, is_executable(path).map_err(at)?),
        };
        let bytes = without_path(bytes, root).map_err(at)?;
        let mode = if is_executable { 0o755 } else { 0o644 };
        let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
        tar.append_data(&mut header, format!("python/{name}"), &*bytes)?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

fn is_executable(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o100 != 0)
}

/// The header of a member that is nobody's, and of no time.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A file's bytes with the build folder's path as `/build`; an error where it is in a binary file.
fn without_path(bytes: Vec<u8>, root: &Path) -> io::Result<Vec<u8>> {
    let path = root.as_os_str().as_encoded_bytes();
    if !contains(&bytes, path) {
        return Ok(bytes);
    }
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| io::Error::other("holds the path of the build folder"))?;
    Ok(text.replace(&*root.to_string_lossy(), "/build").into_bytes())
}

/// Whether bytes hold a sequence; quick because few bytes are a path's `/`.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_folder_leaves_texts_and_is_refused_in_binaries() {
        let root = Path::new("/home/x/work/Python-3");
        let text = b"srcdir = '/home/x/work/Python-3/.'\n".to_vec();
        assert_eq!(without_path(text, root).unwrap(), b"srcdir = '/build/.'\n");
        assert_eq!(without_path(b"\0\x01/home/x".to_vec(), root).unwrap(), b"\0\x01/home/x");
        assert!(without_path(b"\x7fELF\0/home/x/work/Python-3/a.c\0".to_vec(), root).is_err());
    }

    #[test]
    fn members_are_sorted_and_carry_nothing_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "body").unwrap();
        let mut members = Members::new();
        members.insert("z".into(), Member::File(path));
        members.insert("a".into(), Member::Folder);
        members.insert("m".into(), Member::Link("z".into()));
        members.insert("t".into(), Member::Text { text: b"t".to_vec(), executable: true });
        let bytes = || {
            let mut bytes = Vec::new();
            pack(&members, &mut bytes, Path::new("/nowhere")).unwrap();
            bytes
        };
        let first = bytes();
        assert_eq!(first, bytes());
        let mut tar = tar::Archive::new(zstd::Decoder::new(&first[..]).unwrap());
        let mut seen = Vec::new();
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            seen.push((name, header.mode().unwrap()));
        }
        let expected =
            [("python/a/", 0o755), ("python/m", 0o777), ("python/t", 0o755), ("python/z", 0o644)];
        assert_eq!(seen, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn a_licence_is_the_comment_at_the_top() {
        assert_eq!(first_comment("/* MIT */\nint x; /* y */"), Some("/* MIT */"));
        assert_eq!(first_comment("int x; /* y */"), None);
    }

    #[test]
    fn a_script_finds_the_interpreter_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pydoc3.13");
        fs::write(&path, "#!/install/bin/python3.13\nimport pydoc\n").unwrap();
        let Member::Text { text, executable } = relocatable(&path, "3.13").unwrap() else {
            panic!("no text")
        };
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("#!/bin/sh\n'''exec' ") && text.ends_with("\n' '''\nimport pydoc\n")
        );
        assert!(!executable);
        let path = folder.path().join("python3.pc");
        fs::write(&path, "# x\nprefix=/install\nlibdir=${prefix}/lib\n").unwrap();
        let Member::Text { text, .. } = relocatable(&path, "3.13").unwrap() else {
            panic!("no text")
        };
        assert_eq!(text, b"# x\nprefix=${pcfiledir}/../..\nlibdir=${prefix}/lib\n");
    }
}
