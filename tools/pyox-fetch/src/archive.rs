//! An unpacked distribution in python-build-standalone's full format as a distribution document.
//!
//! `PYTHON.json` is believed if it is the only source, and checked against the tree if it names
//! files: a path that leaves the tree or is not there is an error, unless it is known to be wrong
//! in real archives (`core.static_lib` of musl builds, libraries annotated as the system's although
//! the archive has them). Costs reading the standard library and the static libraries once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use pyox_download::{Client, Want};
use pyox_elf::{Elf, is_libc_link_name};
use pyox_schema::{
    Digest, Distribution, Document, Extension, FileRef, Library, Link, Linkage, Paths, Python,
    machine_of,
};
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result};
use walkdir::WalkDir;

use crate::bitcode::Linker;
use crate::python_json::{self, PythonJson, Variant};
use crate::toolchain::{Objects, Toolchain};
use crate::{Options, files, host, stdlib, store, toolchain, unpack};

/// The distribution in an archive, or in a folder that one was unpacked into.
pub(crate) fn open(
    path: &Path,
    sha256: Option<&Digest>,
    ui: &dyn Reporter,
) -> Result<Distribution> {
    if !path.is_dir() {
        let entry = store::obtain(path, sha256, ui)?;
        return unpacked(&entry, path.display(), ui);
    }
    if sha256.is_some() {
        let what = "expected an archive to check with --sha256, got a folder";
        return Err(Fault::at(path, what));
    }
    let path = path.canonicalize().fault_at(path)?;
    described(&[path.clone(), path.join(unpack::TOP)], Origin::Folder, path.display(), ui)
}

/// The distribution in an archive that an address has; it is downloaded if it was not before.
pub(crate) fn download(url: &str, options: &Options, ui: &dyn Reporter) -> Result<Distribution> {
    let sha256 = options.sha256.ok_or_else(|| {
        Fault::new(url, "expected the digest of the archive, got none").hint("name it by --sha256")
    })?;
    let want = Want { url: url.to_owned(), sha256, size: None };
    let (entry, _) = store::download(&want, &Client::new(options.offline)?, ui)?;
    unpacked(&entry, url, ui)
}

/// The distribution in an archive's entry of the store.
pub(crate) fn unpacked(
    entry: &Path,
    place: impl Display,
    ui: &dyn Reporter,
) -> Result<Distribution> {
    described(&[unpack::top(entry)], Origin::Store, place, ui)
}

/// The distribution in an archive that `pyox-distribution` has built.
pub(crate) fn built(path: &Path, ui: &dyn Reporter) -> Result<Distribution> {
    let entry = store::obtain(path, None, ui)?;
    described(&[unpack::top(&entry)], Origin::Build, path.display(), ui)
}

/// Whose an unpacked distribution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The user's: it stays as it is.
    Folder,
    /// The store's, of an archive that somebody has made.
    Store,
    /// The store's, built here.
    Build,
}

/// The distribution in one of some folders: described by its document, or else by its Python.
fn described(
    roots: &[PathBuf],
    origin: Origin,
    place: impl Display,
    ui: &dyn Reporter,
) -> Result<Distribution> {
    if let Some(root) = roots.iter().find(|root| root.join(python_json::NAME).is_file()) {
        return Tree::open(root, origin)?.describe(ui);
    }
    let programs = roots.iter().map(|root| root.join(PYTHON));
    let Some(program) = { programs }.find(|program| program.is_file()) else {
        let what = format!(
            "expected {top}/{} or {top}/{PYTHON} in it, but there is neither",
            python_json::NAME,
            top = unpack::TOP
        );
        let hint = "expected is an archive of python-build-standalone, of whatever flavor";
        return Err(Fault::new(place, what).hint(hint));
    };
    let mut distribution = host::describe(&program).fault(place)?;
    "archive".clone_into(&mut distribution.source);
    Ok(distribution)
}

/// Where an `install_only` archive has its Python.
const PYTHON: &str = "bin/python3";

/// An unpacked distribution.
struct Tree {
    root: PathBuf,
    origin: Origin,
    document: PathBuf,
    json: PythonJson,
    minor: u8,
}

impl Tree {
    fn open(root: &Path, origin: Origin) -> Result<Self> {
        let document = root.join(python_json::NAME);
        let json = PythonJson::read(&document)?;
        let unfit = |key: &str, expected: &str, got: &str| {
            Fault::at(&document, format_args!("{key}: expected {expected}, got `{got}`"))
                .of_kind(Kind::Unsupported)
        };
        let minor = json.python_major_minor_version.strip_prefix("3.").and_then(|m| m.parse().ok());
        let Some(minor) = minor.filter(|minor| host::MINORS.contains(minor)) else {
            let got = &json.python_major_minor_version;
            return Err(unfit("python_major_minor_version", "3.11 to 3.15", got));
        };
        if json.python_implementation_name != "cpython" {
            let got = &json.python_implementation_name;
            return Err(unfit("python_implementation_name", "cpython", got));
        }
        if !json.target_triple.contains("-linux-") {
            return Err(unfit("target_triple", "a Linux target", &json.target_triple));
        }
        let options = json.build_options();
        // There is a run-time library for one debug build, and that is made from source.
        let refused: &[&str] = match origin {
            Origin::Build => &["freethreading", "freethreaded"],
            _ => &["debug", "freethreading", "freethreaded"],
        };
        if options.split('+').any(|option| refused.contains(&option)) {
            let expected = "neither a debug nor a free-threaded build";
            return Err(unfit("build_options", expected, options));
        }
        Ok(Self { root: root.to_owned(), origin, document, json, minor })
    }

    fn describe(self, ui: &dyn Reporter) -> Result<Distribution> {
        let json = &self.json;
        let toolchain = Toolchain::of(&json.target_triple);
        let stdlib = self.sysconfig_path("stdlib")?;
        let survey = stdlib::survey(&self.root.join(&stdlib))?;
        let include = self.sysconfig_path("include").ok();
        let suffixes = json.python_suffixes.get("extension").cloned().unwrap_or_default();
        let extensions = self.extensions()?;
        let has_files = extensions.iter().any(|extension| extension.linkage == Linkage::File);
        let dynload = has_files.then(|| format!("{stdlib}/lib-dynload"));
        let mut libraries = self.libraries()?;
        let shared = self.shared_libpython()?;
        let mut archive = self.libpython()?;
        let why_neither = self.bitcode(&mut archive, &mut libraries, ui)?;
        let object_format = if why_neither.is_some() { json.object_format() } else { "elf".into() };
        let loads = &json.python_extension_module_loading;
        let is_alone = !loads.is_empty() && !loads.iter().any(|how| how == "shared-library");
        let (why_not_static, why_not_dynamic) = match &why_neither {
            Some(why) => (Some(why.clone()), None),
            None => (
                why_not_static(&libraries, &toolchain),
                is_alone.then(|| "dynamic: it was built to load no shared objects".to_owned()),
            ),
        };
        let reasons: Vec<_> = why_not_static.iter().chain(&why_not_dynamic).cloned().collect();
        // A linker would only fail with it; the shared one needs none.
        let is_useless = why_neither.is_some() && shared.is_some();

        Ok(Distribution {
            schema: Distribution::SCHEMA.to_owned(),
            source: "archive".to_owned(),
            target: json.target_triple.clone(),
            python: Python {
                implementation: json.python_implementation_name.clone(),
                version: json.python_version.clone(),
                version_info: (3, self.minor),
                tag: self.tag(),
                soabi: self.soabi(&suffixes),
                bytecode_magic: self.magic()?,
                extension_suffixes: suffixes,
                platform: json.python_platform_tag.replacen("linux_", "linux-", 1),
            },
            paths: Paths {
                executable: self.existing("python_exe", &json.python_exe)?,
                stdlib,
                dynload: dynload.filter(|path| self.root.join(path).is_dir()),
                include,
                test_packages: sorted(json.python_stdlib_test_packages.iter().cloned()),
            },
            stdlib: survey.stdlib,
            link: Link {
                can_static: why_not_static.is_none(),
                can_dynamic: !is_alone && why_neither.is_none(),
                reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
                libpython: (!is_useless).then_some(archive),
                pic_libpython: None,
                shared_libpython: shared,
                archives: Vec::new(),
                libraries,
                arguments: Vec::new(),
                driver: toolchain.driver,
                object_format,
            },
            extensions,
            licenses: self.licenses(),
            root: self.root,
        })
    }

    /// A path that the document names: inside the tree, and there.
    fn existing(&self, key: &str, path: &str) -> Result<String> {
        let wrong = |what: &str| {
            let path = path.escape_debug();
            Fault::at(&self.document, format_args!("{key}: expected {what}, got `{path}`"))
        };
        let plain = unpack::clean(path).ok_or_else(|| wrong("a path inside the distribution"))?;
        // An unpacked folder may hold any link.
        match self.root.join(&plain).canonicalize() {
            Ok(real) if real.starts_with(&self.root.canonicalize().fault_at(&self.root)?) => {
                Ok(plain)
            }
            Ok(_) => Err(wrong("a path inside the distribution")),
            Err(_) => Err(wrong("a path that is there")),
        }
    }

    fn file(&self, key: &str, path: &str) -> Result<FileRef> {
        files::reference(&self.root, &self.existing(key, path)?)
    }

    fn sysconfig_path(&self, name: &str) -> Result<String> {
        let key = format!("python_paths.{name}");
        match self.json.python_paths.get(name) {
            Some(path) => self.existing(&key, path),
            None => {
                Err(Fault::at(&self.document, format_args!("{key}: expected a path, got none")))
            }
        }
    }

    /// That of the ABI, by which the run-time library is found: `cp313d` for a debug build.
    fn tag(&self) -> String {
        let is_debug = self.json.build_options().split('+').any(|option| option == "debug");
        format!("{}{}", self.json.python_tag, if is_debug { "d" } else { "" })
    }

    fn soabi(&self, suffixes: &[String]) -> String {
        let variable = self.json.python_config_vars.get("SOABI").and_then(|value| value.as_str());
        let suffix = || suffixes.first()?.strip_prefix('.')?.strip_suffix(".so");
        variable.or_else(suffix).unwrap_or_default().to_owned()
    }

    fn magic(&self) -> Result<String> {
        let magic = &self.json.python_bytecode_magic_number;
        if magic.len() == 8 && magic.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(magic.to_lowercase());
        }
        let what = format!(
            "python_bytecode_magic_number: expected eight hexadecimal digits, got `{}`",
            magic.escape_debug()
        );
        Err(Fault::at(&self.document, what))
    }

    /// libpython, where the document says or else where it is: for musl builds the two differ.
    fn libpython(&self) -> Result<FileRef> {
        let key = "build_info.core.static_lib";
        let stated = self.json.build_info.core.static_lib.as_ref();
        let stated = stated.and_then(|path| unpack::clean(path));
        let name = format!("libpython3.{}", self.minor);
        let path = match stated.filter(|path| self.root.join(path).is_file()) {
            Some(path) => path,
            None => WalkDir::new(self.root.join("install"))
                .sort_by_file_name()
                .into_iter()
                .flatten()
                .filter(|entry| entry.file_type().is_file())
                .find(|entry| {
                    let file = entry.file_name().to_string_lossy();
                    file.starts_with(&name) && file.ends_with(".a") && !file.ends_with("-pic.a")
                })
                .and_then(|entry| files::relative(&self.root, entry.path()).ok())
                .ok_or_else(|| {
                    let what =
                        format!("{key}: expected {name}.a, but it is not in the distribution");
                    Fault::at(&self.document, what).of_kind(Kind::Missing)
                })?,
        };
        self.file(key, &path)
    }

    /// The shared libpython, where there is one: where the document says, or where it usually is.
    fn shared_libpython(&self) -> Result<Option<FileRef>> {
        let usual = format!("install/lib/libpython3.{}.so.1.0", self.minor);
        let stated = self.json.build_info.core.shared_lib.as_ref();
        let stated = stated.and_then(|path| unpack::clean(path));
        let mut paths = stated.into_iter().chain([usual]);
        let Some(path) = paths.find(|path| self.root.join(path).is_file()) else {
            return Ok(None);
        };
        let file = self.file("build_info.core.shared_lib", &path)?;
        host::check_shared(&self.root.join(&file.path), machine_of(&self.json.target_triple))?;
        Ok(Some(file))
    }

    /// Has native archives in the place of those with LLVM bitcode, or says why it cannot: GNU ld reads none of it.
    ///
    /// Optimised builds have it, and the document says so; that is not all to be relied on.
    fn bitcode(
        &self,
        libpython: &mut FileRef,
        libraries: &mut [Library],
        ui: &dyn Reporter,
    ) -> Result<Option<String>> {
        let mut affected = Vec::new();
        let brought = libraries.iter_mut().filter_map(|library| library.archive.as_mut());
        for file in [libpython].into_iter().chain(brought) {
            if toolchain::objects(&self.root.join(&file.path))? == Objects::Bitcode {
                affected.push(file);
            }
        }
        let format = self.json.object_format();
        let what = match affected.first() {
            Some(file) if format == "elf" => {
                format!("{} holds LLVM bitcode", file.path.rsplit('/').next().unwrap_or(&file.path))
            }
            Some(_) => format!("its objects are {format}"),
            None => return Ok(None),
        };
        // Native ones are put beside them.
        let linkers: Vec<_> =
            if self.origin == Origin::Folder { Vec::new() } else { Linker::all().collect() };
        let mut makers = BTreeSet::new();
        for file in affected {
            let Some((native, linker)) = self.native(file, &linkers, ui)? else {
                let tried = linkers.iter().map(|linker| format!(" nor {}", linker.version));
                let tried: String = tried.collect();
                let readers = match linkers.len() {
                    0 => "which the system's linker does not read".to_owned(),
                    _ => format!("which neither the system's linker{tried} reads"),
                };
                return Ok(Some(format!("{what}, {readers}")));
            };
            *file = native;
            makers.insert(linker.version.as_str());
        }
        let makers = makers.into_iter().collect::<Vec<_>>().join(" and ");
        ui.detail(format_args!("{what}: native code was made of it by {makers}"));
        Ok(None)
    }

    /// A native archive in place of one with bitcode, by the first linker that reads it.
    fn native<'a>(
        &self,
        file: &FileRef,
        linkers: &'a [Linker],
        ui: &dyn Reporter,
    ) -> Result<Option<(FileRef, &'a Linker)>> {
        for linker in linkers {
            match linker.native(&self.root.join(&file.path), &self.root.join("build"), ui) {
                Ok(native) => {
                    let path = files::relative(&self.root, &native)?;
                    return files::reference(&self.root, &path).map(|file| Some((file, linker)));
                }
                Err(fault) if matches!(fault.kind(), Kind::Command { .. }) => ui.detail(fault),
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }

    fn extensions(&self) -> Result<Vec<Extension>> {
        let chosen = self
            .json
            .build_info
            .extensions
            .iter()
            .filter_map(|(name, variants)| Some((name, chosen(variants)?)));
        chosen
            .map(|(name, variant)| {
                let init = variant.init_fn.clone().filter(|function| function != "NULL");
                let Some(path) = in_a_file(variant) else {
                    let links = variant.links.iter().map(|link| link.name.clone());
                    return Ok(Extension {
                        name: name.clone(),
                        linkage: Linkage::Builtin,
                        init,
                        file: None,
                        libraries: links.filter(|link| !is_libc_link_name(link)).collect(),
                    });
                };
                let key = format!("build_info.extensions.{name}.shared_lib");
                let file = self.file(&key, path)?;
                let full = self.root.join(&file.path);
                let elf = Elf::parse(&pyox_stage::files::read(&full)?).fault_at(&full)?;
                Ok(Extension {
                    name: name.clone(),
                    linkage: Linkage::File,
                    init,
                    libraries: elf.needed_beyond_libc().map(str::to_owned).collect(),
                    file: Some(file),
                })
            })
            .collect()
    }

    /// What libpython and the built-in modules need.
    ///
    /// The list of each module names all that it needs, in link order. So that holds for the whole too
    /// if each library is where it is named last.
    fn libraries(&self) -> Result<Vec<Library>> {
        let extensions = self.json.build_info.extensions.values();
        let builtins = extensions.filter_map(|v| chosen(v)).filter(|v| in_a_file(v).is_none());
        let links = builtins.flat_map(|variant| &variant.links);
        let mut libraries: Vec<Library> = Vec::new();
        for link in links.chain(&self.json.build_info.core.links) {
            let name = &link.name;
            let known = libraries.iter().position(|library| library.name == *name);
            let known = known.map(|at| libraries.remove(at));
            let archive = match (known.and_then(|library| library.archive), &link.path_static) {
                (Some(archive), _) => Some(archive),
                (None, Some(path)) => Some(self.file(&format!("links.{name}.path_static"), path)?),
                // Some are annotated as the system's although the archive has them.
                (None, None) => {
                    let path = format!("build/lib/lib{name}.a");
                    let brought = !is_libc_link_name(name) && self.root.join(&path).is_file();
                    brought.then(|| files::reference(&self.root, &path)).transpose()?
                }
            };
            libraries.push(Library { name: name.clone(), archive });
        }
        // The system's stand behind all that may need them.
        libraries
            .sort_by_key(|library| (library.archive.is_none(), is_libc_link_name(&library.name)));
        Ok(libraries)
    }

    /// The licences of what can get into an executable, where the tree has them.
    fn licenses(&self) -> Vec<String> {
        let variants = self.json.build_info.extensions.values().filter_map(|v| chosen(v));
        let paths = variants.flat_map(Variant::licenses).chain(&self.json.license_path);
        sorted(paths.filter_map(|path| self.existing("license_path", path).ok()))
    }
}

/// The variant of an extension module to take: the one that is called the default, else the first.
fn chosen(variants: &[Variant]) -> Option<&Variant> {
    variants.iter().find(|variant| variant.name == "default").or_else(|| variants.first())
}

/// The shared object of a variant that is not in libpython.
fn in_a_file(variant: &Variant) -> Option<&str> {
    variant.shared_lib.as_deref().filter(|_| !variant.in_core)
}

fn why_not_static(libraries: &[Library], toolchain: &Toolchain) -> Option<String> {
    let system: Vec<_> = libraries
        .iter()
        .filter(|library| library.archive.is_none())
        .map(|library| library.name.as_str())
        .collect();
    toolchain.missing_static(&system)
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}
