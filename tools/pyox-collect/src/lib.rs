//! From an application and its wheels to a manifest.
//!
//! The distribution document comes in, the manifest goes out. Everything of the standard library and
//! of the named projects is taken, except what `exclusions` lists, because what a Python program
//! imports at run time cannot be told from its sources. Nothing is compiled and nothing is copied:
//! the manifest refers to files by path, size and digest. What it costs is reading them once.

#![deny(missing_docs)]

mod application;
mod candidate;
mod cold;
mod depfile;
mod edits;
mod entry;
mod exclusions;
mod extensions;
mod imports;
pub mod inline;
mod installer;
mod known;
mod layout;
mod libraries;
mod multicall;
mod path_order;
mod payloads;
mod pip_config;
mod place;
pub mod placements;
mod projects;
mod record;
mod requirements;
mod selection;
pub mod settings;
mod stdlib;
mod suspects;
mod tkinter;
mod tree;
mod wheel;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use pyox_schema::{
    Bytecode, Distribution, DistributionRef, Document, Manifest, Payload, Placement, Project,
    Resource, Run, Value,
};
use pyox_stage::{Fault, FaultExt, Reporter, Result, cache};

use application::App;
use candidate::{Candidate, Found};
use entry::Choice;
use exclusions::Exclusions;
use known::Facts;
use payloads::Reader;
use projects::Request;
use wheel::Installed;

pub use depfile::depfile;
pub use entry::Wanted;
pub use extensions::Extensions;
pub use inline::{Indexes, Metadata};
pub use installer::Installer;
pub use projects::{Folder, file_url};
pub use wheel::project_name;

/// What to collect, and how.
#[derive(Debug, Clone)]
// Each is an option of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// Scripts, folders of packages and wheels; the first one runs unless `run` says otherwise. Modules beside a script are
    /// not taken by themselves.
    pub apps: Vec<PathBuf>,
    /// Folders whose modules and packages are taken, as if they were on `sys.path`.
    pub paths: Vec<PathBuf>,
    /// Requirements files, as pip reads them.
    pub requirements: Vec<PathBuf>,
    /// A requirements file that names all that is needed, each with its digests: nothing else is resolved.
    pub locked: Option<PathBuf>,
    /// Requirements that are fixed without digests, such as commits; what they depend on is not resolved.
    pub pinned: Vec<String>,
    /// Projects, by anything that pip understands.
    pub with: Vec<String>,
    /// Folders of projects that their own build backends build, without what they depend on.
    pub projects: Vec<Folder>,
    /// Resolve and install projects again, even where that was done before.
    pub upgrade: bool,
    /// Download nothing: projects that are not installed yet come from the installer's cache and from folders of wheels.
    pub offline: bool,
    /// Where projects come from, beside what pip's own configuration says.
    pub indexes: Indexes,
    /// Who installs them.
    pub installer: Installer,
    /// What runs.
    pub run: Wanted,
    /// Parts of the standard library to take that are left out by default.
    pub include: Vec<String>,
    /// Modules and packages to leave out, with all below them.
    pub exclude: Vec<String>,
    /// Which extension modules of the standard library are taken, beside those that `include` names.
    pub extensions: Extensions,
    /// The modules to which all is narrowed, by their full names. What is around them comes with them, and what packages have beside
    /// modules.
    pub only: Option<BTreeSet<String>>,
    /// Fields of `PyConfig`.
    pub config: BTreeMap<String, Value>,
    /// Fields of `PyPreConfig`.
    pub preconfig: BTreeMap<String, Value>,
    /// The level of `python -O`, 0 to 2.
    pub optimize: u8,
    /// Whether sources are taken.
    pub sources: bool,
    /// Who may use the executable as `python`: whoever asks for it (`true`), nobody (`false`), or the application's own
    /// children.
    pub interpreter: Option<bool>,
    /// Where packages' files are at run time.
    pub placements: BTreeMap<String, Placement>,
    /// Whether libpython is taken as a shared library; it always is where the distribution has no static one.
    pub libpython: bool,
    /// Attributes of `sys`. In their texts and in the next two fields, `$ORIGIN` is the executable's folder at run time.
    pub sys: BTreeMap<String, Value>,
    /// Folders at the end of `sys.path`.
    pub search_path: Vec<String>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// The variable of the environment that names a folder for lists of imported modules.
    pub module_lists: Option<String>,
    /// How many files are read at once.
    pub jobs: NonZero<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            apps: Vec::new(),
            paths: Vec::new(),
            requirements: Vec::new(),
            locked: None,
            pinned: Vec::new(),
            with: Vec::new(),
            projects: Vec::new(),
            upgrade: false,
            offline: false,
            indexes: Indexes::default(),
            installer: Installer::default(),
            run: Wanted::Default,
            include: Vec::new(),
            exclude: Vec::new(),
            extensions: Extensions::default(),
            only: None,
            config: BTreeMap::new(),
            preconfig: BTreeMap::new(),
            optimize: 0,
            sources: true,
            interpreter: None,
            placements: BTreeMap::new(),
            sys: BTreeMap::new(),
            search_path: Vec::new(),
            environment: BTreeMap::new(),
            module_lists: None,
            libpython: false,
            jobs: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        }
    }
}

/// Collects an application for a distribution. What the script that runs says about itself (PEP 723) counts as well.
///
/// Costs reading the files once, and pip's time where projects are installed for the first time.
///
/// # Errors
///
/// What the user can put right: a script that wants another Python, paths that are not there, names that nothing has, projects that cannot be installed, two
/// modules of one name.
///
/// ```no_run
/// use pyox_collect::{Options, collect};
/// # fn example(distribution: &pyox_schema::Distribution) -> pyox_stage::Result<()> {
/// let options = Options { apps: vec!["app.py".into()], with: vec!["rich".into()], ..Options::default() };
/// let manifest = collect(distribution, &options, &pyox_stage::Silent)?;
/// # Ok(())
/// # }
/// ```
pub fn collect(
    distribution: &Distribution,
    options: &Options,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    Collection::new(distribution, options, reporter)?.into_manifest(&options.run)
}

/// What was collected: the manifests of all programs that differ in nothing but what they run.
#[derive(Debug)]
pub struct Collection {
    /// All but what it runs.
    manifest: Manifest,
    apps: Vec<App>,
    installed: Vec<Installed>,
}

impl Collection {
    /// Collects. Of what `options` say that runs, the script counts and what would need parts of the standard library.
    ///
    /// # Errors
    ///
    /// As [`collect`].
    pub fn new(
        distribution: &Distribution,
        options: &Options,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        find(distribution, options, reporter)
    }

    /// The manifest of a program.
    ///
    /// # Errors
    ///
    /// For a name that nothing has, and where there is not one thing to run.
    pub fn manifest(&self, run: &Wanted) -> Result<Manifest> {
        Ok(Manifest { run: self.decide(run)?, ..self.manifest.clone() })
    }

    /// The same, without a copy of all that is in it.
    fn into_manifest(self, run: &Wanted) -> Result<Manifest> {
        Ok(Manifest { run: self.decide(run)?, ..self.manifest })
    }

    fn decide(&self, run: &Wanted) -> Result<Run> {
        let Self { manifest, apps, installed } = self;
        Choice { apps, resources: &manifest.resources, installed }.decide(run)
    }
}

fn find(
    distribution: &Distribution,
    options: &Options,
    reporter: &dyn Reporter,
) -> Result<Collection> {
    let (apps, main) = apps(options)?;
    let script = main.and_then(|number| apps[number].path_of_script());
    let metadata = script.map(Metadata::of_script).transpose()?.flatten().unwrap_or_default();
    check_python(&metadata, script, distribution)?;
    let sha256 = cache::remember(distribution)?;
    let suffixes = &distribution.python.extension_suffixes;

    let exclusions = Exclusions::new(&options.include, &options.exclude);
    let mut found = Found::default();
    for (number, app) in apps.iter().enumerate() {
        found.append(application::find(app, number, main == Some(number), suffixes)?);
    }
    found.append(stdlib::find(distribution, &exclusions)?);
    let request = Request {
        with: options.with.clone(),
        script: script.map(Path::to_owned),
        inline: metadata.dependencies,
        indexes: options.indexes.clone().or(metadata.indexes),
        installer: options.installer,
        files: options.requirements.clone(),
        wheels: apps.iter().filter_map(App::wheel).collect(),
        upgrade: options.upgrade,
        offline: options.offline,
        ..Request::default()
    };
    let locked = options.locked.as_deref().map(|file| request.of_locked(file));
    let requests = [Some(request.clone()), locked, Some(request.of_pinned(&options.pinned))];
    let requests = requests.into_iter().flatten().filter(|request| !request.is_empty());
    let own = options.projects.iter().map(|folder| request.of_project(folder));
    let (mut installed, mut folders) = (Vec::new(), Vec::new());
    for request in requests.chain(own) {
        let folder = request.install(distribution, reporter)?;
        let there = wheel::installed(&folder)?;
        let reason = |name: &str| request.reason(name);
        found.append(wheel::find(&folder, &there, suffixes, reason, reporter)?);
        installed.extend(there);
        folders.push(folder);
    }
    exclusions.apply(&mut found);
    selection::apply(&mut found, options, distribution, &exclusions);
    path_order::apply(&mut found)?;
    application::name_main(&mut found);
    exclusions.check_includes(&found)?;
    place::apply(&mut found, distribution);
    if options.libpython || distribution.link.libpython.is_none() {
        found.candidates.push(stdlib::libpython(distribution)?);
    }
    // Folders list their files in any order; what follows goes by this one.
    found.candidates.sort_by(|one, two| {
        let key = |c: &Candidate| (c.layer, c.resource.kind, c.resource.name.clone());
        key(one).cmp(&key(two))
    });

    let reader = Reader::new(&sha256, &folders, options.jobs.get())?;
    let mut reads = reader.read(&found.candidates, reporter)?;
    if options.interpreter != Some(true) {
        tkinter::leave_out(&mut found, &mut reads, &exclusions, &options.run);
    }
    payloads::check_architecture(&found.candidates, &reads, distribution.machine())?;
    libraries::follow(&mut found, &mut reads, &reader, &exclusions, distribution, reporter)?;
    cold::mark(&mut found.candidates, &reads, &options.run);
    reader.save();
    exclusions.check_excludes()?;

    let spoken: Vec<String> = options.placements.keys().cloned().collect();
    let placements = placements::decide(options.placements.clone(), &found.candidates, reporter)?;
    let spoken = |module: &str| {
        let mut names = spoken.iter().chain(placements.keys());
        names.any(|name| placements::overlap(name, module))
    };
    suspects::report(&found.candidates, &reads, spoken, reporter);

    let manifest = Manifest {
        schema: Manifest::SCHEMA.to_owned(),
        distribution: DistributionRef {
            sha256,
            version: distribution.python.version.clone(),
            target: distribution.target.clone(),
        },
        run: Run::Repl,
        preconfig: options.preconfig.clone(),
        config: options.config.clone(),
        interpreter: options.interpreter,
        bytecode: Bytecode { optimize: options.optimize, sources: options.sources },
        placements,
        sys: options.sys.clone(),
        search_path: options.search_path.clone(),
        environment: options.environment.clone(),
        module_lists: options.module_lists.clone(),
        projects: projects(&mut found),
        resources: resources(&mut found, reads)?,
        excluded: {
            found.excluded.sort();
            found.excluded.dedup();
            found.excluded
        },
    };
    Ok(Collection { manifest, apps, installed })
}

/// Refuses a Python on which the script does not run.
fn check_python(
    metadata: &Metadata,
    script: Option<&Path>,
    distribution: &Distribution,
) -> Result<()> {
    let (Some(script), Some(wanted)) = (script, &metadata.requires_python) else { return Ok(()) };
    let found = &distribution.python.version;
    if distribution.python.meets(wanted).fault_at(script)? {
        return Ok(());
    }
    let what = format_args!("requires-python: expected Python {wanted}, got {found}").to_string();
    Err(Fault::at(script, what).hint("fetch a distribution of such a version"))
}

/// The APPs, with the script that is to run among them, and the number of the one that becomes `__main__`.
fn apps(options: &Options) -> Result<(Vec<App>, Option<usize>)> {
    let mut apps: Vec<App> = Vec::new();
    for path in &options.apps {
        let app = App::from_path(path)?;
        if !apps.contains(&app) {
            apps.push(app);
        }
    }
    for path in &options.paths {
        apps.push(App::folder(path)?);
    }
    if let Wanted::Script(path) = &options.run {
        let script = App::script(path)?;
        let number = apps.iter().position(|app| *app == script);
        let number = number.unwrap_or_else(|| {
            apps.push(script);
            apps.len() - 1
        });
        return Ok((apps, Some(number)));
    }
    if let Wanted::OneOf(programs) = &options.run {
        // Each is a module; the code that chooses runs it as `__main__`.
        for script in programs.values().filter_map(Wanted::script) {
            let script = App::script(script)?;
            if !apps.contains(&script) {
                apps.push(script);
            }
        }
        return Ok((apps, None));
    }
    let says_nothing = matches!(options.run, Wanted::Default);
    let first_is_script = matches!(apps.first(), Some(App::Script(_)));
    let main = (says_nothing && first_is_script).then_some(0);
    Ok((apps, main))
}

/// The projects of what is taken or left out, each once.
fn projects(found: &mut Found) -> Vec<Project> {
    let mut projects = std::mem::take(&mut found.projects);
    // A project with a version sorts behind itself without one.
    projects.sort_by(|one, two| one.name.cmp(&two.name).then(two.version.cmp(&one.version)));
    projects.dedup_by(|one, two| one.name == two.name);
    projects
}

/// The resources with their payloads, sorted as a manifest has them.
fn resources(found: &mut Found, reads: Vec<Option<Facts>>) -> Result<Vec<Resource>> {
    let mut resources = Vec::with_capacity(reads.len());
    for (candidate, read) in std::mem::take(&mut found.candidates).into_iter().zip(reads) {
        if candidate.path.is_some() && read.is_none() {
            return Err(Fault::new(candidate.place(), "it was not read"));
        }
        let mut resource = candidate.resource;
        resource.payload = candidate.path.zip(read).map(|(path, facts)| Payload {
            path,
            size: facts.size,
            sha256: facts.sha256,
        });
        resources.push(resource);
    }
    resources.sort_by(|one, two| (one.kind, &one.name).cmp(&(two.kind, &two.name)));
    Ok(resources)
}

/// How an entry of the cache's folders that this stage writes is found to be as it was written.
pub mod verify {
    use std::path::Path;

    use pyox_stage::verify::Verdict;

    pub use crate::known::check as digests;
    use crate::wheel;

    /// Installed projects: by the digests that they were installed with.
    #[must_use]
    pub fn installed(folder: &Path) -> Verdict {
        let checked = wheel::installed(folder).and_then(|all| wheel::check(folder, &all));
        match checked {
            Ok(()) => Verdict::Whole,
            Err(fault) => Verdict::Damaged(fault.to_string()),
        }
    }
}

/// For the targets in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::path::Path;

    use crate::{imports, inline, record, requirements, suspects, wheel};

    /// Reads a wheel's `RECORD` and `entry_points.txt`.
    pub fn wheel(text: &str) {
        if let Ok(rows) = record::parse(text, "x.dist-info") {
            for row in &rows {
                let _ = (record::role(&row.path), row.to_string());
            }
        }
        let _ = (wheel::console_scripts(text), wheel::project_name(text));
    }

    /// Reads a requirements file, without the files that it includes.
    pub fn requirements(bytes: &[u8]) {
        let mut requirements = requirements::Requirements::default();
        let _ = requirements.add_lines(Path::new("/nonexistent/r.txt"), bytes, false);
        let _ = (requirements.names(), requirements.is_empty());
    }

    /// Reads what is looked for in a module's source, and in a script's.
    pub fn source(bytes: &[u8]) {
        let _ = inline::Metadata::parse(bytes, Path::new("app.py"));
        let _ = (imports::Imports::of(bytes), suspects::scan(bytes));
    }
}
