//! One view of everything that holds resources, so that each question is answered once.
//!
//! A manifest lists resources as the import system knows them; a blob keeps modules and files apart
//! and joins them by number; a distribution and a link plan name the files that are linked. Here
//! all are a list of [`Resource`], sorted by kind and name.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use pyox_blob::layout::{Codec, FileKind, ModuleKind};
use pyox_blob::{Blob, File, Groups, Module};
use pyox_schema::{Digest, Distribution, FileRef, LinkPlan, Manifest, ResourceKind};
use pyox_stage::{Fault, FaultExt, Kind as FaultKind, Result, files};
use serde::Serialize;

use crate::input::{Input, Subject};

/// What is in an input.
#[derive(Debug)]
pub struct Contents<'a> {
    /// How messages name the input.
    pub name: &'a str,
    /// Sorted by kind and name.
    pub resources: Vec<Resource>,
    /// Sorted by name.
    pub projects: Vec<Project>,
    /// The blob that the resources lie in, where they do.
    blob: Option<Blob<'a>>,
    groups: RefCell<Groups<'a>>,
}

/// A project that resources belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Project {
    /// Its name. The standard library and the interpreter are `python`.
    pub name: String,
    /// Its version, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Name and version: `rich 15.0.0`.
impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A resource, wherever it lies.
#[derive(Debug, Clone, Serialize)]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// The dotted name of something importable; for the others a path or a library's name.
    pub name: String,
    /// Its path in the application's or the distribution's tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The name of its project.
    pub project: String,
    /// Length of its file, in bytes; none without a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Length of its bytecode, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u64>,
    /// In a blob: how many bytes its file and its bytecode take there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Whether it is an extension module that is itself a package.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub package: bool,
    /// Locations of the shared libraries that must be loaded before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Why it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In a blob: where the source lay that its bytecode is of.
    #[serde(skip)]
    source: Option<String>,
    #[serde(skip)]
    pub(crate) bytes: Bytes,
}

/// Where a resource's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bytes {
    Nowhere,
    /// In a file, whose length and digest are known unless it is one that is only named.
    OnDisk(PathBuf, Option<(u64, Digest)>),
    /// In the blob: the numbers of its module record and its file record.
    InBlob {
        module: Option<u32>,
        file: Option<u32>,
    },
}

/// Kinds of resource, in the order in which they are listed: a manifest's, and what else is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A module in one file.
    Module,
    /// A package with an `__init__`.
    Package,
    /// A package without one.
    NamespacePackage,
    /// A shared object that Python imports.
    ExtensionModule,
    /// An extension module without a file: it is in libpython.
    BuiltIn,
    /// Any other file of a project.
    PackageData,
    /// A file of a project's `.dist-info`.
    Metadata,
    /// A shared object that others need.
    SharedLibrary,
    /// A source that belongs to no module of the blob.
    Source,
    /// An object file or static library.
    Archive,
    /// A library that the system provides at link time.
    SystemLibrary,
    /// The text of a licence.
    License,
}

impl Kind {
    /// As documents and options write it, such as `package-data`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Package => "package",
            Self::NamespacePackage => "namespace-package",
            Self::ExtensionModule => "extension-module",
            Self::BuiltIn => "built-in",
            Self::PackageData => "package-data",
            Self::Metadata => "metadata",
            Self::SharedLibrary => "shared-library",
            Self::Source => "source",
            Self::Archive => "archive",
            Self::SystemLibrary => "system-library",
            Self::License => "license",
        }
    }

    /// Whether its name is dotted.
    #[must_use]
    pub fn is_importable(self) -> bool {
        self <= Self::BuiltIn
    }
}

impl Resource {
    fn new(kind: Kind, name: &str, project: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            location: None,
            project: project.to_owned(),
            size: None,
            code: None,
            stored: None,
            package: false,
            needs: Vec::new(),
            reason: None,
            source: None,
            bytes: Bytes::Nowhere,
        }
    }

    /// Whether its file may hold native code. The sources of modules do not.
    pub(crate) fn may_be_native(&self) -> bool {
        matches!(
            self.kind,
            Kind::ExtensionModule | Kind::PackageData | Kind::SharedLibrary | Kind::Archive
        )
    }

    /// What it takes, where it lies: in a blob what is stored, else its file.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.stored.or(self.size).unwrap_or(0)
    }

    /// Whether both are modules of one file.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        let file = |resource: &Self| match &resource.bytes {
            Bytes::InBlob { file: Some(number), .. } => {
                Bytes::InBlob { module: None, file: Some(*number) }
            }
            other => other.clone(),
        };
        self.kind == Kind::Module && other.kind == Kind::Module && file(self) == file(other)
    }

    /// Its path in the tree; made up from the name where it has none of its own.
    #[must_use]
    pub fn path(&self) -> String {
        if let Some(location) = &self.location {
            return location.clone();
        }
        if let Some(source) = &self.source {
            return format!("{source}c");
        }
        let stem = self.name.replace('.', "/");
        match self.kind {
            Kind::Module => stem + ".pyc",
            Kind::Package => stem + "/__init__.pyc",
            Kind::NamespacePackage => stem + "/",
            _ => self.name.clone(),
        }
    }

    /// The top-level package or folder that it belongs to.
    #[must_use]
    pub fn package(&self) -> &str {
        let separator = if self.kind.is_importable() { '.' } else { '/' };
        self.name.split(separator).next().unwrap_or(&self.name)
    }
}

impl<'a> Contents<'a> {
    /// The resource of a dotted name or a path: names go before paths, modules before files.
    ///
    /// # Errors
    ///
    /// If there is none. The hint names one that may be meant.
    pub fn find(&self, name: &str) -> Result<&Resource> {
        let resources = &self.resources;
        resources
            .iter()
            .find(|resource| resource.name == name)
            .or_else(|| resources.iter().find(|resource| resource.path() == name))
            .ok_or_else(|| self.unknown(name))
    }

    pub(crate) fn unknown(&self, name: &str) -> Fault {
        let fault = Fault::new(self.name, format_args!("there is no resource `{name}`"));
        let last = |name: &str| name.rsplit(['.', '/']).next().unwrap_or_default().to_lowercase();
        let wanted = last(name);
        let near = self.resources.iter().map(|resource| resource.name.as_str());
        match near.filter(|near| last(near) == wanted).min_by_key(|near| near.len()) {
            Some(near) => fault.hint(format_args!("did you mean `{near}`?")),
            None => fault.hint(format_args!("`pyox-inspect list {}` names all", self.name)),
        }
        .of_kind(FaultKind::Missing)
    }

    /// The resources of an input.
    pub(crate) fn of(input: &'a Input<'_>, subject: &Subject<'a>) -> Result<Self> {
        let blob = subject.blob().map(|bytes| input.blob(bytes)).transpose()?;
        let (mut resources, mut projects) = match (subject, &blob) {
            (Subject::Manifest(manifest), _) => of_manifest(manifest),
            (Subject::Distribution(distribution), _) => of_distribution(distribution),
            (Subject::LinkPlan(plan), _) => of_link_plan(plan),
            (_, Some(blob)) => of_blob(blob).fault(&input.name)?,
            (_, None) => (Vec::new(), Vec::new()),
        };
        resources.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        projects.sort();
        Ok(Self { name: &input.name, resources, projects, blob, groups: RefCell::default() })
    }

    /// The bytes of a resource's file, decompressed and verified: of a module the source. `None` if it has no file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not what the document or the blob says.
    pub fn file(&self, resource: &Resource) -> Result<Option<Vec<u8>>> {
        let place = || format!("{}: {}", self.name, resource.name);
        match (&resource.bytes, &self.blob) {
            (Bytes::OnDisk(path, expected), _) => {
                let bytes = files::read(path)?;
                match expected {
                    Some((_, digest)) if *digest != Digest::of(&bytes) => {
                        let found = Digest::of(&bytes);
                        let what = format!(
                            "digest mismatch: the document says {}, the file has {}",
                            digest.short(),
                            found.short()
                        );
                        let kind = FaultKind::Digest { expected: *digest, found };
                        Err(Fault::at(path, what).of_kind(kind))
                    }
                    _ => Ok(Some(bytes)),
                }
            }
            (Bytes::InBlob { file: Some(number), .. }, Some(blob)) => {
                let file = blob.file_at(*number).fault(place())?;
                decoded(blob, &file, &mut self.groups.borrow_mut())
                    .map(Some)
                    .map_err(|what| Fault::new(place(), what))
            }
            _ => Ok(None),
        }
    }

    /// A module's bytecode, as marshal writes it. `None` if it has none, as in a document.
    ///
    /// # Errors
    ///
    /// If its checksum does not hold.
    pub fn code(&self, resource: &Resource) -> Result<Option<Cow<'a, [u8]>>> {
        let (Bytes::InBlob { module: Some(number), .. }, Some(blob)) =
            (&resource.bytes, &self.blob)
        else {
            return Ok(None);
        };
        let place = || format!("{}: {}", self.name, resource.name);
        let module = blob.module_at(*number).fault(place())?;
        let code = blob.code(&module, &mut self.groups.borrow_mut()).fault(place())?;
        Ok(Some(code).filter(|code| !code.is_empty()))
    }

    /// The bytecode magic number, as the first four bytes of a `.pyc` file.
    pub(crate) fn bytecode_magic(&self) -> Result<Option<[u8; 4]>> {
        let config = self.blob.as_ref().map(Blob::config).transpose().fault(self.name)?;
        Ok(config.map(|config| config.bytecode_magic.to_le_bytes()))
    }
}

/// A file's bytes. No more is decoded than its record announces.
pub(crate) fn decoded<'a>(
    blob: &Blob<'a>,
    file: &File<'a>,
    groups: &mut Groups<'a>,
) -> Result<Vec<u8>, String> {
    let bytes = match file.codec {
        Codec::Stored | Codec::Grouped => {
            blob.content_of(file, groups).map_err(|error| error.to_string())?.into_owned()
        }
        Codec::Zstd => {
            let stored = blob.stored(file).map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            zstd::stream::read::Decoder::with_buffer(stored)
                .and_then(|frame| frame.take(file.len.saturating_add(1)).read_to_end(&mut bytes))
                .map_err(|error| format!("file {}: zstd: {error}", file.path))?;
            bytes
        }
    };
    if bytes.len() as u64 == file.len {
        return Ok(bytes);
    }
    Err(format!(
        "file {}: expected {} bytes, its stored bytes decode to {}",
        file.path,
        file.len,
        if bytes.len() as u64 > file.len { "more".to_owned() } else { bytes.len().to_string() }
    ))
}

type Parts = (Vec<Resource>, Vec<Project>);

fn of_manifest(manifest: &Manifest) -> Parts {
    let resources = manifest.resources.iter().map(|resource| {
        let kind = match (resource.kind, &resource.payload) {
            (ResourceKind::Module, _) => Kind::Module,
            (ResourceKind::Package, _) => Kind::Package,
            (ResourceKind::NamespacePackage, _) => Kind::NamespacePackage,
            (ResourceKind::ExtensionModule, Some(_)) => Kind::ExtensionModule,
            (ResourceKind::ExtensionModule, None) => Kind::BuiltIn,
            (ResourceKind::PackageData, _) => Kind::PackageData,
            (ResourceKind::Metadata, _) => Kind::Metadata,
            (ResourceKind::SharedLibrary, _) => Kind::SharedLibrary,
        };
        let bytes = resource.payload.as_ref().map_or(Bytes::Nowhere, |payload| {
            Bytes::OnDisk(payload.path.clone(), Some((payload.size, payload.sha256)))
        });
        Resource {
            location: resource.location.clone(),
            size: resource.payload.as_ref().map(|payload| payload.size),
            package: resource.package,
            needs: resource.needs.clone(),
            reason: Some(resource.reason.clone()),
            bytes,
            ..Resource::new(kind, &resource.name, &resource.project)
        }
    });
    let projects = manifest.projects.iter();
    let projects =
        projects.map(|p| Project { name: p.name.clone(), version: p.version.clone() }).collect();
    (resources.collect(), projects)
}

/// The project of everything that comes with the interpreter.
const PYTHON: &str = "python";

fn linked(root: &std::path::Path, kind: Kind, name: &str, file: &FileRef) -> Resource {
    Resource {
        location: Some(file.path.clone()),
        size: Some(file.size),
        bytes: Bytes::OnDisk(root.join(&file.path), Some((file.size, file.sha256))),
        ..Resource::new(kind, name, PYTHON)
    }
}

fn of_distribution(distribution: &Distribution) -> Parts {
    let (root, link) = (&distribution.root, &distribution.link);
    let libpython = [&link.libpython, &link.pic_libpython, &link.shared_libpython];
    let archives = libpython.into_iter().flatten().chain(&link.archives);
    let mut resources: Vec<_> =
        archives.map(|file| linked(root, Kind::Archive, &file.path, file)).collect();
    resources.extend(link.libraries.iter().map(|library| match &library.archive {
        Some(file) => linked(root, Kind::Archive, &file.path, file),
        None => Resource::new(Kind::SystemLibrary, &library.name, PYTHON),
    }));
    resources.extend(distribution.extensions.iter().map(|extension| Resource {
        needs: extension.libraries.clone(),
        ..match &extension.file {
            Some(file) => linked(root, Kind::ExtensionModule, &extension.name, file),
            None => Resource::new(Kind::BuiltIn, &extension.name, PYTHON),
        }
    }));
    resources.extend(distribution.licenses.iter().map(|path| Resource {
        location: Some(path.clone()),
        bytes: Bytes::OnDisk(root.join(path), None),
        ..Resource::new(Kind::License, path, PYTHON)
    }));
    let version = Some(distribution.python.version.clone());
    (resources, vec![Project { name: PYTHON.to_owned(), version }])
}

fn of_link_plan(plan: &LinkPlan) -> Parts {
    let archives = plan.files();
    let mut resources: Vec<_> =
        archives.map(|file| linked(&plan.root, Kind::Archive, &file.path, file)).collect();
    let named = |kind, names: &[String]| -> Vec<_> {
        names.iter().map(|name| Resource::new(kind, name, PYTHON)).collect()
    };
    resources.extend(named(Kind::SystemLibrary, &plan.libraries));
    resources.extend(named(Kind::BuiltIn, &plan.inittab));
    let version = Some(plan.distribution.version.clone());
    (resources, vec![Project { name: PYTHON.to_owned(), version }])
}

fn of_blob(blob: &Blob<'_>) -> Result<Parts, pyox_blob::Error> {
    let files = blob.files().collect::<Result<Vec<_>, _>>()?;
    let mut resources = Vec::with_capacity(blob.module_count() + files.len());
    let mut taken = vec![false; files.len()];
    let mut groups = Groups::default();
    for (number, module) in (0..).zip(blob.modules()) {
        let module = module?;
        let file = module.file.map(|file| blob.file_at(file)).transpose()?;
        let mut resource = of_module(blob, number, &module, file.as_ref(), &mut groups)?;
        let taken = module.file.and_then(|file| taken.get_mut(file as usize));
        // A script is `__main__` and a module of its own name, but its file is there once.
        if taken.is_some_and(|taken| std::mem::replace(taken, true)) {
            resource.stored = Some(blob.code_size(&module)?);
        }
        resources.push(resource);
    }
    for ((number, file), taken) in (0..).zip(&files).zip(taken) {
        if !taken {
            resources.push(of_file(blob, number, file)?);
        }
    }
    let projects = (0..).take(blob.project_count()).map(|number| {
        let project = blob.project(number)?;
        let version = Some(project.version.to_owned()).filter(|version| !version.is_empty());
        Ok(Project { name: project.name.to_owned(), version })
    });
    Ok((resources, projects.collect::<Result<_, _>>()?))
}

fn of_module<'a>(
    blob: &Blob<'a>,
    number: u32,
    module: &Module<'a>,
    file: Option<&File<'_>>,
    groups: &mut Groups<'a>,
) -> Result<Resource, pyox_blob::Error> {
    let kind = match module.kind {
        ModuleKind::Module => Kind::Module,
        ModuleKind::Package => Kind::Package,
        ModuleKind::Namespace => Kind::NamespacePackage,
        ModuleKind::Extension => Kind::ExtensionModule,
        ModuleKind::Builtin => Kind::BuiltIn,
    };
    let code = Some(module.code_len()).filter(|len| *len > 0);
    let of_file = file.map_or(Ok(0), |file| blob.stored_size(file))?;
    let stored = blob.code_size(module)?.saturating_add(of_file);
    Ok(Resource {
        location: file.map(|file| file.path.to_owned()),
        size: file.map(|file| file.len),
        code,
        stored: Some(stored),
        package: kind == Kind::ExtensionModule && module.is_package,
        needs: file.map(|file| needs(blob, file)).transpose()?.unwrap_or_default(),
        source: blob.location(module, groups)?.map(Cow::into_owned),
        bytes: Bytes::InBlob { module: Some(number), file: module.file },
        ..Resource::new(kind, module.name, blob.project(module.project)?.name)
    })
}

fn of_file(blob: &Blob<'_>, number: u32, file: &File<'_>) -> Result<Resource, pyox_blob::Error> {
    let kind = match file.kind {
        FileKind::Source => Kind::Source,
        FileKind::Data => Kind::PackageData,
        FileKind::Metadata => Kind::Metadata,
        FileKind::Extension => Kind::ExtensionModule,
        FileKind::Library => Kind::SharedLibrary,
    };
    Ok(Resource {
        location: Some(file.path.to_owned()),
        size: Some(file.len),
        stored: Some(blob.stored_size(file)?),
        needs: needs(blob, file)?,
        bytes: Bytes::InBlob { module: None, file: Some(number) },
        ..Resource::new(kind, file.path, blob.project(file.project)?.name)
    })
}

fn needs(blob: &Blob<'_>, file: &File<'_>) -> Result<Vec<String>, pyox_blob::Error> {
    blob.needs(file)?.map(|number| Ok(blob.file_at(number)?.path.to_owned())).collect()
}
