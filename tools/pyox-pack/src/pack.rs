//! The work on each resource, and what becomes of it in the blob.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZero;
use std::path::Path;

use pyox_blob::config::{self, Config, Setting};
use pyox_blob::layout::{FileKind, ModuleKind};
use pyox_schema::{
    Digest, Distribution, Manifest, Origin, Payload, Placement, Resource, ResourceKind, Run, Value,
};
use pyox_stage::{Fault, FaultExt, Kind, Reporter, Result, Store, cache, files};

use crate::blob::{self, Contents};
use crate::compile::{Compiled, Compiler, Worker};
use crate::compress::{Compression, Shrinker};
use crate::marshal::Code;
use crate::{group, parallel, validate};

/// The project of the standard library, and of the system's libraries for it.
const PYTHON: &str = "python";

fn is_native(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::ExtensionModule | ResourceKind::SharedLibrary)
}

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The distribution's document, where it is not the one that the cache knows.
    pub distribution: Option<&'a Path>,
    /// How many jobs to run at once.
    pub jobs: NonZero<usize>,
    /// What is compressed.
    pub compression: Compression,
    /// The CPython that compiles in the place of the distribution's own, where that does not run here. It must have exactly the
    /// same version.
    pub compile_with: Option<&'a Path>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            distribution: None,
            jobs: parallel::available(),
            compression: Compression::default(),
            compile_with: None,
        }
    }
}

/// What one resource adds to the blob.
#[derive(Default)]
struct Packed {
    module: Option<blob::Module>,
    file: Option<blob::File>,
    warning: Option<String>,
}

/// Packs a manifest's resources into a blob.
///
/// The same manifest gives the same bytes, with any number of jobs. Costs compiling what no run has compiled before, with
/// interpreters of the distribution, and reading and hashing everything else. The blob is in memory whole.
///
/// # Errors
///
/// If the manifest contradicts itself, the distribution is not known, a file has changed since it was collected
/// ([`Kind::Digest`]), or the distribution's interpreter fails ([`Kind::Command`]). A source that does not compile is a
/// warning.
///
/// ```no_run
/// use pyox_pack::{Options, pack};
/// use pyox_stage::{Kind, Silent};
/// # fn example(manifest: &pyox_schema::Manifest) -> pyox_stage::Result<()> {
/// match pack(manifest, &Options::default(), &Silent) {
///     Ok(blob) => std::fs::write("app.blob", blob).unwrap(),
///     Err(fault) if matches!(fault.kind(), Kind::Digest { .. }) => println!("collect again: {fault}"),
///     Err(fault) => return Err(fault),
/// }
/// # Ok(())
/// # }
/// ```
pub fn pack(manifest: &Manifest, options: &Options, ui: &dyn Reporter) -> Result<Vec<u8>> {
    validate::manifest(manifest)?;
    let distribution = cache::distribution(options.distribution, &manifest.distribution.sha256)?;
    let magic = validate::distribution(manifest, &distribution)?;
    let optimize = manifest.bytecode.optimize;
    let store = Store::open("bytecode")?;
    let compiler = Compiler::new(&distribution, options.compile_with, magic, optimize, store);
    let shrinker = Shrinker::new(options.compression)?;

    let task = ui.begin(Some(manifest.resources.len() as u64), "packing");
    let each = |worker: &mut Option<Worker>, resource: &Resource| {
        let result = pack_one(resource, manifest.bytecode.sources, &compiler, worker, &shrinker);
        task.advance(1);
        result
    };
    let results = parallel::map(options.jobs, &manifest.resources, || None, each);
    drop(task);

    let config = config(manifest, &distribution, magic);
    let projects = manifest.projects.iter().map(|project| blob::Project {
        name: project.name.clone(),
        version: project.version.clone().unwrap_or_default(),
    });
    let mut contents = Contents {
        config,
        projects: projects.collect(),
        modules: Vec::new(),
        files: Vec::new(),
        groups: Vec::new(),
    };
    for result in results {
        let packed = result?;
        packed.warning.iter().for_each(|warning| ui.warn(warning));
        contents.modules.extend(packed.module);
        contents.files.extend(packed.file);
    }
    // A file may be two modules: a script as `__main__`, and under its own name.
    contents.files.sort_by(|one, two| one.path.cmp(&two.path));
    contents.files.dedup_by(|one, two| one.path == two.path);
    if options.compression == Compression::Small {
        let task = ui.begin(None, "compressing");
        group::group(&mut contents, &shrinker, options.jobs)?;
        drop(task);
    }
    let (sources, workers) = compiler.counts();
    ui.detail(format_args!("compiled {sources} sources with {workers} interpreters"));
    for trouble in [compiler.trouble(), shrinker.trouble()].into_iter().flatten() {
        ui.warn(format_args!("{trouble}: what was made is not kept for the next run"));
    }
    blob::write(contents)
}

fn pack_one(
    resource: &Resource,
    keep_source: bool,
    compiler: &Compiler,
    worker: &mut Option<Worker>,
    shrinker: &Shrinker,
) -> Result<Packed, Fault> {
    let module = |kind, code, file| blob::Module {
        name: resource.name.clone(),
        kind,
        package: resource.package,
        project: resource.project.clone(),
        code,
        place: None,
        file,
    };
    // Validation has seen that both are there together.
    let (Some(location), Some(payload)) = (&resource.location, &resource.payload) else {
        let kind = match resource.kind {
            ResourceKind::NamespacePackage => ModuleKind::Namespace,
            _ => ModuleKind::Builtin,
        };
        return Ok(Packed {
            module: Some(module(kind, Code::default(), None)),
            ..Packed::default()
        });
    };
    let mut bytes = verified(location, payload)?;
    if resource.project == PYTHON && is_native(resource.kind) {
        // Wheels have been stripped by those who made them, or not for a reason.
        let stripped = pyox_elf::stripped(&bytes);
        // A folder of the machine that the distribution was made on can be anybody's on another. What is needed of it is packed.
        let without = pyox_elf::without_run_path(stripped.as_deref().unwrap_or(&bytes));
        if let Some(own) = without.or(stripped) {
            bytes = own;
        }
    }
    let file = |kind, bytes: Vec<u8>| -> Result<_, Fault> {
        let len = bytes.len() as u64;
        let (codec, stored) = shrinker.stored(kind, resource.cold, bytes, &payload.sha256)?;
        Ok(Some(blob::File {
            path: location.clone(),
            kind,
            project: resource.project.clone(),
            codec,
            stored,
            place: None,
            len,
            needs: resource.needs.clone(),
        }))
    };
    let module_kind = match resource.kind {
        ResourceKind::Module => ModuleKind::Module,
        ResourceKind::Package => ModuleKind::Package,
        ResourceKind::ExtensionModule => {
            let module = module(ModuleKind::Extension, Code::default(), Some(location.clone()));
            let file = file(FileKind::Extension, bytes)?;
            return Ok(Packed { module: Some(module), file, warning: None });
        }
        ResourceKind::PackageData | ResourceKind::NamespacePackage => {
            return Ok(Packed { file: file(FileKind::Data, bytes)?, ..Packed::default() });
        }
        ResourceKind::Metadata => {
            return Ok(Packed { file: file(FileKind::Metadata, bytes)?, ..Packed::default() });
        }
        ResourceKind::SharedLibrary => {
            return Ok(Packed { file: file(FileKind::Library, bytes)?, ..Packed::default() });
        }
    };
    match compiler.compile(worker, location, &bytes, &payload.sha256)? {
        Compiled::Code(code) => Ok(Packed {
            module: Some(module(module_kind, code, keep_source.then(|| location.clone()))),
            file: if keep_source { file(FileKind::Source, bytes)? } else { None },
            warning: None,
        }),
        Compiled::Rejected { line, reason } => {
            let place = if line > 0 { format!("{location}:{line}") } else { location.clone() };
            if resource.origin == Origin::Application {
                return Err(Fault::new(place, reason));
            }
            // Wheels and the standard library hold templates and sources for other versions.
            Ok(Packed {
                module: None,
                file: file(FileKind::Data, bytes)?,
                warning: Some(format!(
                    "{place}: {reason}: kept as package data; an import of it fails, as under `python`"
                )),
            })
        }
    }
}

/// A payload's bytes, once they are what the manifest says.
fn verified(location: &str, payload: &Payload) -> Result<Vec<u8>, Fault> {
    let path = payload.path.display();
    let place = || format!("{location}: {path}");
    let changed = |what: String| {
        // What was remembered of its digest may be wrong, and then collecting again would not help.
        let _ = cache::forget("digests");
        Fault::new(location, what).hint(format_args!("{path} has changed: collect again"))
    };
    let mut file = files::open(&payload.path).fault(location)?;
    let size = file.metadata().fault(place())?.len();
    if size != payload.size {
        return Err(changed(format!("size mismatch: manifest {}, file {size}", payload.size)));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    (&mut file).take(size + 1).read_to_end(&mut bytes).fault(place())?;
    let found = Digest::of(&bytes);
    if found == payload.sha256 {
        return Ok(bytes);
    }
    let kind = Kind::Digest { expected: payload.sha256, found };
    let (expected, found) = (payload.sha256.short(), found.short());
    Err(changed(format!("digest mismatch: manifest {expected}…, file {found}…")).of_kind(kind))
}

fn config(manifest: &Manifest, distribution: &Distribution, magic: [u8; 4]) -> Config {
    // CPython's structures have integers for what is true or false.
    let field = |value: &Value| match value {
        Value::Boolean(value) => config::Value::Integer((*value).into()),
        other => setting_of(other),
    };
    Config {
        python: distribution.python.version_info,
        bytecode_magic: u32::from_le_bytes(magic),
        distribution: manifest.distribution.sha256.to_string(),
        run: match manifest.run.clone() {
            Run::Repl => config::Run::Repl,
            Run::Module { module } => config::Run::Module(module),
            Run::Script => config::Run::Script,
            Run::Code { code } => config::Run::Code(code),
            Run::EntryPoint { module, function } => config::Run::EntryPoint { module, function },
        },
        preconfig: settings(&manifest.preconfig, field),
        config: settings(&manifest.config, field),
        interpreter: match manifest.interpreter {
            Some(true) => config::Interpreter::Always,
            Some(false) => config::Interpreter::Never,
            None => config::Interpreter::Children,
        },
        placements: manifest.placements.iter().filter_map(placement).collect(),
        sys: settings(&manifest.sys, setting_of),
        search_path: manifest.search_path.clone(),
        environment: manifest.environment.clone().into_iter().collect(),
        module_lists: manifest.module_lists.clone(),
    }
}

fn settings(
    values: &BTreeMap<String, Value>,
    value: impl Fn(&Value) -> config::Value,
) -> Vec<Setting> {
    let setting =
        |(name, set): (&String, &Value)| Setting { name: name.clone(), value: value(set) };
    values.iter().map(setting).collect()
}

fn setting_of(value: &Value) -> config::Value {
    match value.clone() {
        Value::Boolean(value) => config::Value::Boolean(value),
        Value::Integer(value) => config::Value::Integer(value),
        Value::Text(value) => config::Value::Text(value),
        Value::List(value) => config::Value::List(value),
    }
}

/// What the blob says of a package's placement; nothing for memory.
fn placement((package, placement): (&String, &Placement)) -> Option<(String, config::Placement)> {
    let placement = match placement {
        Placement::Memory => return None,
        Placement::Cache => config::Placement::Cache,
        Placement::Beside => config::Placement::Beside,
    };
    Some((package.clone(), placement))
}
