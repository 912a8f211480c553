//! From a project to its executables.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use pyox_collect::{self as collect, Collection, Installer, Wanted};
use pyox_fetch::{self as fetch, Spec};
use pyox_inspect::{By, Input};
use pyox_link::{self as link, Emit, Link};
use pyox_pack::{self as pack, Compression};
use pyox_schema::{Distribution, LinkMode, Manifest, Placement};
use pyox_stage::{Fault, FaultExt, Reporter, Result};

use crate::recording::{Recording, Snapshot};
use crate::{Program, Project, Settings};
use crate::{delivery, links, siblings, unchanged};

/// What a caller wants otherwise than the project says.
#[derive(Debug, Clone, Default)]
// Each is a choice of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct BuildOptions {
    /// Distributions in place of the project's, the first that can be had.
    pub python: Vec<String>,
    /// The target triple of the executables, where they are for another machine: that of the archive among `python`.
    pub target: Option<String>,
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
    /// One executable for all programs, which answers by the name that it is called by.
    pub multicall: bool,
    /// Whether the executables begin where a start has ended, whatever the project says.
    pub snapshot: Option<Snapshot>,
    /// Let the executables be small, whatever the project says.
    pub small: bool,
    /// Resolve and install projects again.
    pub upgrade: bool,
    /// Download nothing.
    pub offline: bool,
    /// Who installs projects.
    pub installer: Option<Installer>,
    /// How many jobs run at once; one for each core without a word.
    pub jobs: Option<NonZero<usize>>,
}

/// An executable that was made.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// The programs that it is, where it is several.
    pub programs: Vec<String>,
    /// How long it is, in bytes.
    pub size: u64,
    /// Whether it needs the platform's loader and C library.
    pub mode: LinkMode,
    /// The version of glibc that all in it needs at least, such as `2.35`, if anything needs one.
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
    let is_one = programs.len() > 1 && (options.multicall || project.settings.multicall);
    if programs.len() > 1 && !is_one && (options.output.is_some() || options.emit.is_some()) {
        let place = if options.output.is_some() { "--output" } else { "--emit" };
        let what = format!("expected one program, got {}", programs.len());
        return Err(Fault::new(place, what).hint("choose one by --program, or use --multicall"));
    }
    let distribution = distribution(project, options, reporter)?;
    let collecting = Collecting { project, options, distribution: &distribution, reporter };
    let built = if is_one { collecting.one(&programs)? } else { collecting.each(&programs)? };
    for built in &built {
        delivery::make(&project.settings, &built.path, &distribution, reporter)?;
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
    let has_release = specs.iter().any(|spec| matches!(spec, Spec::Release(..)));
    let fetch = fetch::Options {
        requires_python: project.requires_python.clone(),
        project: Some(project.root.clone()),
        upgrade: options.upgrade,
        offline: options.offline,
        // Any other Python is for what it is for; whether that is the target, pyox-link tells.
        target: options.target.clone().filter(|_| has_release),
        // It is that of the project's own archive.
        sha256: project.settings.sha256.filter(|_| options.python.is_empty()),
        ..fetch::Options::default()
    };
    fetch::fetch(&specs, &fetch, reporter)
}

/// What runs where one executable is several programs.
fn one_of(programs: &[&Program]) -> Wanted {
    let by_name = programs.iter().map(|program| (program.name.clone(), program.run.clone()));
    Wanted::OneOf(by_name.collect())
}

/// What all executables of a build have in common.
struct Collecting<'a> {
    project: &'a Project,
    options: &'a BuildOptions,
    distribution: &'a Distribution,
    reporter: &'a dyn Reporter,
}

/// An executable to make.
struct Target<'a> {
    path: PathBuf,
    /// What the link plan calls it.
    name: &'a str,
    /// Further names of the file.
    links: Vec<PathBuf>,
    /// The programs that it is, where it is several.
    programs: Vec<String>,
}

impl Collecting<'_> {
    /// Makes one executable of several programs.
    fn one(&self, programs: &[&Program]) -> Result<Vec<Built>> {
        let run = one_of(programs);
        let names = programs.iter().map(|program| program.name.clone());
        let names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
        let manifest = self.collect(&run)?.manifest(&run)?;
        let target = Target {
            path: self.path_of(&self.project.name),
            name: &self.project.name,
            // Names are of use beside each other; a file that was asked for is the one that is made.
            links: match self.options.output {
                Some(_) => Vec::new(),
                None => names.iter().map(|name| self.folder().join(name)).collect(),
            },
            programs: names,
        };
        Ok(self.make(&manifest, &target)?.into_iter().collect())
    }

    /// Makes an executable of each program.
    fn each(&self, programs: &[&Program]) -> Result<Vec<Built>> {
        // Programs that are no scripts differ in nothing but what they run.
        let is_alike = |program: &&Program| !matches!(program.run, Wanted::Script(_));
        let alike: Vec<&Program> = programs.iter().copied().filter(is_alike).collect();
        let common = match alike.as_slice() {
            [] | [_] => None,
            several => Some(self.collect(&one_of(several))?),
        };
        let mut built = Vec::new();
        for program in programs {
            let manifest = match common.as_ref().filter(|_| is_alike(program)) {
                Some(common) => common.manifest(&program.run)?,
                None => self.collect(&program.run)?.manifest(&program.run)?,
            };
            let target = Target {
                path: self.path_of(&program.name),
                name: &program.name,
                links: Vec::new(),
                programs: Vec::new(),
            };
            built.extend(self.make(&manifest, &target)?);
        }
        Ok(built)
    }

    fn folder(&self) -> PathBuf {
        self.options.folder.clone().unwrap_or_else(|| self.project.root.join("dist"))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.options.output.clone().unwrap_or_else(|| self.folder().join(name))
    }

    fn collect(&self, run: &Wanted) -> Result<Collection> {
        let (project, settings) = (self.project, &self.project.settings);
        let within = |paths: &[PathBuf]| paths.iter().map(|path| project.root.join(path)).collect();
        let mut apps: Vec<PathBuf> = within(&settings.apps);
        let scripts: Vec<&Path> = match run {
            Wanted::Script(script) => vec![script],
            Wanted::OneOf(programs) => programs.values().filter_map(Wanted::script).collect(),
            _ => Vec::new(),
        };
        for script in scripts {
            let found = siblings::find(script, self.distribution)?;
            // What the project names itself is there already.
            let new: Vec<_> = found.into_iter().filter(|path| !apps.contains(path)).collect();
            if !new.is_empty() {
                let names = new.iter().filter_map(|path| path.file_name()?.to_str());
                let names = names.collect::<Vec<_>>().join(", ");
                self.reporter.note(format_args!("taken from beside the script: {names}"));
            }
            apps.extend(new);
        }
        let options = collect::Options {
            apps,
            paths: within(&settings.paths),
            requirements: within(&settings.requirements),
            locked: project.locked.clone(),
            pinned: project.pinned.clone(),
            with: project.dependencies.iter().chain(&settings.with).cloned().collect(),
            projects: project.folders.clone(),
            upgrade: self.options.upgrade,
            offline: self.options.offline,
            indexes: project.indexes.clone(),
            installer: self.options.installer.or(settings.installer).unwrap_or_default(),
            run: run.clone(),
            include: settings.include.clone(),
            exclude: settings.exclude.clone(),
            config: settings.config.clone(),
            preconfig: settings.preconfig.clone(),
            optimize: settings.optimize,
            sources: settings.sources.unwrap_or(true),
            interpreter: settings.interpreter,
            extensions: settings.extensions,
            only: settings.only.clone(),
            placements: settings.placement.clone(),
            sys: settings.sys.clone(),
            search_path: settings.search_path.clone(),
            environment: settings.environment.clone(),
            module_lists: settings.module_lists.clone(),
            libpython: self.mode() == Some(LinkMode::Portable),
            jobs: self.jobs(),
        };
        Collection::new(self.distribution, &options, self.reporter)
    }

    /// The shape that was asked for.
    fn mode(&self) -> Option<LinkMode> {
        self.options.mode.or(self.project.settings.mode)
    }

    fn jobs(&self) -> NonZero<usize> {
        self.options.jobs.unwrap_or(collect::Options::default().jobs)
    }

    fn compression(&self) -> Compression {
        match &self.project.settings {
            settings if self.options.small || settings.small => Compression::Small,
            Settings { compress: Some(false), .. } => Compression::Nothing,
            Settings { compress_native: true, .. } => Compression::Native,
            _ => Compression::default(),
        }
    }

    /// Makes an executable; nothing is built where something else is emitted in its place.
    fn make(&self, manifest: &Manifest, target: &Target) -> Result<Option<Built>> {
        let (settings, reporter, path) = (&self.project.settings, self.reporter, &target.path);
        let packing = pack::Options {
            jobs: self.jobs(),
            compression: self.compression(),
            ..pack::Options::default()
        };
        let mode = self.mode();
        // Where files lie beside an executable, they are looked at each time.
        let is_alone = !manifest.placements.values().any(|place| *place == Placement::Beside);
        let max_glibc = settings.max_glibc;
        let recording = Recording::of(self.options, settings, &self.project.root)?;
        let packed = packing.compression;
        let how = format!("{mode:?} {max_glibc:?} {packed:?} {recording:?}");
        let python = &self.distribution.python;
        let done = unchanged::Build::new(manifest, &how, &python.tag, path)?;
        let is_wanted = is_alone && self.options.emit.is_none();
        if let Some(built) = done.made(path).filter(|_| is_wanted) {
            reporter.detail(format_args!("{}: nothing has changed", path.display()));
            // A further name that had come or gone would be a change of the file.
            return Ok(Some(Built { programs: target.programs.clone(), ..built }));
        }
        let blob = pack::pack(manifest, &packing, reporter)?;
        let target_triple = self.options.target.clone();
        let linking =
            link::Options { mode, max_glibc, target: target_triple, ..Default::default() };
        let link = Link::new(&blob, target.name, &linking, reporter)?;
        if let Some((kind, folder)) = &self.options.emit {
            link.emit(*kind, folder, target.name, reporter)?;
            if matches!(recording, Recording::Wanted(_)) {
                reporter.note(format_args!("parts of a program have no snapshot"));
            }
            return Ok(None);
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).fault_at(folder)?;
        }
        recording.make(&link, path, reporter)?;
        links::make(path, &target.links)?;
        let built = Built {
            path: path.clone(),
            programs: target.programs.clone(),
            size: std::fs::metadata(path).fault_at(path)?.len(),
            glibc: link.glibc(reporter)?.map(|found| found.to_string()),
            mode: link.plan().mode,
            python: python.version.clone(),
            projects: sizes(target.name, &blob)?,
        };
        done.note(&built);
        Ok(Some(built))
    }
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
