//! From a project to its executables.

use std::fs::File;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use pyox_collect as collect;
use pyox_fetch::{self as fetch, Spec};
use pyox_inspect::{By, Input};
use pyox_link::{self as link, Emit, Link};
use pyox_pack as pack;
use pyox_schema::{Distribution, LinkMode, Placement};
use pyox_stage::{Fault, FaultExt, Reporter, Result};

use crate::{Program, Project};
use crate::{siblings, unchanged};

/// What a caller wants otherwise than the project says.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Distributions in place of the project's, the first that can be had.
    pub python: Vec<String>,
    /// Static or dynamic.
    pub mode: Option<LinkMode>,
    /// Which of its executables; all without a word.
    pub programs: Vec<String>,
    /// The folder that they are written to; `dist` in the project's folder without a word.
    pub folder: Option<PathBuf>,
    /// The file of the one executable.
    pub output: Option<PathBuf>,
    /// Something else in place of the one executable, and the folder for it.
    pub emit: Option<(Emit, PathBuf)>,
    /// Resolve and install projects again.
    pub upgrade: bool,
    /// How many jobs run at once; one for each core without a word.
    pub jobs: Option<NonZero<usize>>,
}

/// An executable that was made.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub size: u64,
    /// Whether it needs the platform's loader and C library.
    pub mode: LinkMode,
    /// The version of glibc that it needs at least, such as `2.35`, if it needs one.
    pub glibc: Option<String>,
    /// The Python in it, such as `3.13.5`.
    pub python: String,
    /// The sizes of the projects in it, in bytes, largest first.
    pub projects: Vec<(String, u64)>,
}

/// Builds a project's executables; where something else is emitted, none.
///
/// Costs a second where runner, wheels and bytecode are cached; the first time pip's and the linker's time.
///
/// # Errors
///
/// What each stage says, and for a program that the project does not have.
pub fn build(
    project: &Project,
    options: &BuildOptions,
    reporter: &dyn Reporter,
) -> Result<Vec<Built>> {
    let programs = chosen(project, options)?;
    let distribution = distribution(project, options, reporter)?;
    let folder = options.folder.clone().unwrap_or_else(|| project.root.join("dist"));
    let mut built = Vec::new();
    for program in programs {
        let path = options.output.clone().unwrap_or_else(|| folder.join(&program.name));
        built.extend(build_one(project, program, &distribution, options, &path, reporter)?);
    }
    Ok(built)
}

fn chosen<'a>(project: &'a Project, options: &BuildOptions) -> Result<Vec<&'a Program>> {
    let mut chosen: Vec<&Program> = Vec::new();
    for name in &options.programs {
        let found = project.programs.iter().find(|program| program.name == *name);
        chosen.push(found.ok_or_else(|| {
            let names: Vec<_> = project.programs.iter().map(|p| p.name.as_str()).collect();
            Fault::new(name, "expected a program of the project, got another name")
                .hint(format_args!("there are {}", names.join(", ")))
        })?);
    }
    if chosen.is_empty() {
        chosen.extend(&project.programs);
    }
    let is_one = options.output.is_some() || options.emit.is_some();
    if is_one && chosen.len() > 1 {
        let place = if options.output.is_some() { "--output" } else { "--emit" };
        let what = format!("expected one program, got {}", chosen.len());
        return Err(Fault::new(place, what).hint("choose one by --program"));
    }
    Ok(chosen)
}

/// The first distribution that can be had and that the project runs on.
fn distribution(
    project: &Project,
    options: &BuildOptions,
    reporter: &dyn Reporter,
) -> Result<Distribution> {
    let given = [&options.python, &project.settings.python];
    let words = given.into_iter().find(|words| !words.is_empty());
    let usual = vec!["host".to_owned()];
    let specs: Vec<_> =
        words.unwrap_or(&usual).iter().map(|word| Spec::parse(word)).collect::<Result<_>>()?;
    let fetch = fetch::Options {
        requires_python: project.requires_python.clone(),
        ..fetch::Options::default()
    };
    fetch::fetch(&specs, &fetch, reporter)
}

fn build_one(
    project: &Project,
    program: &Program,
    distribution: &Distribution,
    options: &BuildOptions,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<Built>> {
    let settings = &project.settings;
    let within = |paths: &[PathBuf]| paths.iter().map(|path| project.root.join(path)).collect();
    let defaults = collect::Options::default();
    let mut collected = collect::Options {
        apps: within(&settings.apps),
        paths: within(&settings.paths),
        requirements: within(&settings.requirements),
        locked: project.locked.clone(),
        with: project.dependencies.iter().chain(&settings.with).cloned().collect(),
        projects: project.folders.clone(),
        upgrade: options.upgrade,
        indexes: project.indexes.clone(),
        run: program.run.clone(),
        include: settings.include.clone(),
        exclude: settings.exclude.clone(),
        config: settings.config.clone(),
        preconfig: settings.preconfig.clone(),
        optimize: settings.optimize,
        sources: settings.sources.unwrap_or(true),
        interpreter: settings.interpreter,
        placements: settings.placement.clone(),
        jobs: options.jobs.unwrap_or(defaults.jobs),
    };
    if let collect::Wanted::Script(script) = &program.run {
        let found = siblings::find(script, distribution)?;
        // What the project names itself is there already.
        let new: Vec<_> = found.into_iter().filter(|path| !collected.apps.contains(path)).collect();
        if !new.is_empty() {
            let names = new.iter().filter_map(|path| path.file_name()?.to_str());
            let names = names.collect::<Vec<_>>().join(", ");
            reporter.note(format_args!("taken from beside the script: {names}"));
        }
        collected.apps.extend(new);
    }
    let manifest = collect::collect(distribution, &collected, reporter)?;
    let packing = pack::Options {
        jobs: collected.jobs,
        compress: settings.compress.unwrap_or(true),
        compress_native: settings.compress_native,
        ..pack::Options::default()
    };
    let mode = options.mode.or(settings.mode);
    // Where files lie beside an executable, they are looked at each time.
    let is_alone = !manifest.placements.values().any(|place| *place == Placement::Beside);
    let how = format!("{mode:?} {} {}", packing.compress, packing.compress_native);
    let done = unchanged::Build::new(&manifest, &how, &distribution.python.tag, path)?;
    let is_wanted = is_alone && options.emit.is_none();
    if let Some(built) = done.made(path).filter(|_| is_wanted) {
        reporter.detail(format_args!("{}: nothing has changed", path.display()));
        return Ok(Some(built));
    }
    let blob = pack::pack(&manifest, &packing, reporter)?;
    let linking = link::Options { mode, ..Default::default() };
    let link = Link::new(&blob, &program.name, &linking, reporter)?;
    if let Some((kind, folder)) = &options.emit {
        link.emit(*kind, folder, &program.name, reporter)?;
        return Ok(None);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).fault_at(folder)?;
    }
    link.executable(path, reporter)?;
    let executable = File::open(path).fault_at(path)?;
    let built = Built {
        path: path.to_owned(),
        size: executable.metadata().fault_at(path)?.len(),
        glibc: pyox_elf::glibc(executable),
        mode: link.plan().mode,
        python: distribution.python.version.clone(),
        projects: sizes(&program.name, &blob)?,
    };
    done.note(&built);
    Ok(Some(built))
}

/// How many bytes of a blob belong to each project, by its name and version; the largest comes first.
fn sizes(name: &str, blob: &[u8]) -> Result<Vec<(String, u64)>> {
    let input = Input::new(name, blob);
    let contents = input.contents()?;
    let title = |name: &str| match contents.projects.iter().find(|project| project.name == name) {
        Some(project) => project.to_string(),
        None => name.to_owned(),
    };
    Ok(contents.sums(By::Project).iter().map(|sum| (title(&sum.name), sum.size)).collect())
}
