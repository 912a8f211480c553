//! pyox-collect: reads an application and its wheels and writes the manifest.
//!
//! The distribution document comes in, the manifest goes out. Everything of the standard library and
//! of the named projects is taken, except what `exclusions` lists, because what a Python program
//! imports at run time cannot be told from its sources. Nothing is compiled and nothing is copied:
//! the manifest refers to files by path, size and digest. What it costs is reading them once.

mod application;
mod candidate;
mod entry;
mod exclusions;
mod known;
mod libraries;
mod locations;
mod path_order;
mod payloads;
mod place;
mod projects;
mod record;
mod settings;
mod stdlib;
mod suspects;
mod tree;
mod wheel;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::{Args as ClapArgs, Parser};
use pyox_cli::{Answer, Common, Fault, Result, Ui, cache, input, output};
use pyox_schema::{
    Bytecode, Distribution, DistributionRef, Document, Manifest, Payload, Project, Resource,
};

use application::App;
use candidate::{Candidate, Found};
use entry::{Choice, Wanted};
use exclusions::Exclusions;
use known::Facts;
use payloads::Reader;
use projects::Request;

/// Reads an application and its wheels and writes the manifest
#[derive(Debug, Parser)]
#[command(name = "pyox-collect", version, max_term_width = 100)]
// Each is an option of the command line.
#[allow(clippy::struct_excessive_bools)]
struct Args {
    /// A script, a package's folder or a wheel; the first one runs unless an option says otherwise.
    /// Modules beside a script are not taken by themselves: name them too, or their folder by --path
    #[arg(value_name = "APP")]
    apps: Vec<PathBuf>,
    /// The distribution document (default: stdin)
    #[arg(short, long, value_name = "DIST.json")]
    distribution: Option<PathBuf>,
    /// Install what a requirements file names, as pip does
    #[arg(short, long, value_name = "FILE")]
    requirements: Vec<PathBuf>,
    /// Install a project, by anything that pip understands
    #[arg(long, value_name = "PROJECT")]
    with: Vec<String>,
    /// Take the modules and packages in a folder, as if it were on `sys.path`
    #[arg(long, value_name = "FOLDER")]
    path: Vec<PathBuf>,
    /// Resolve and install projects again, even where that was done before
    #[arg(long)]
    upgrade: bool,
    #[command(flatten)]
    run: RunArgs,
    /// Take a part of the standard library that is left out by default
    #[arg(long, value_name = "NAME")]
    include: Vec<String>,
    /// Leave out a module or package and all below it
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    /// Set a field of `PyConfig`
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Set a field of `PyPreConfig`
    #[arg(long, value_name = "KEY=VALUE")]
    preconfig: Vec<String>,
    /// Compile as `python -O` (1) or `python -OO` (2) do
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    optimize: u8,
    /// Leave the sources out: tracebacks and `inspect` then show no source lines
    #[arg(long)]
    no_sources: bool,
    /// Let whoever sets `PYOX_INTERPRETER=1` use the executable as `python`, as the application's own
    /// children do
    #[arg(long, conflicts_with = "no_interpreter")]
    interpreter: bool,
    /// Keep the application's own children from using `sys.executable` as `python`
    #[arg(long)]
    no_interpreter: bool,
    /// Where a package's files are at run time: in memory (`PACKAGE=memory`), in the user's cache folder
    /// (`PACKAGE=cache`) or in a folder next to the executable (`PACKAGE=beside`)
    #[arg(long, value_name = "PACKAGE=WHERE")]
    location: Vec<String>,
    /// Write the manifest to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many files to read at once (default: the number of cores)
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// What runs; at most one of them.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
struct RunArgs {
    /// Run a module, as `python -m` does
    #[arg(long, value_name = "MODULE")]
    run_module: Option<String>,
    /// Run a script, as `python FILE` does
    #[arg(long, value_name = "FILE")]
    run_script: Option<PathBuf>,
    /// Run a statement, as `python -c` does
    #[arg(long, value_name = "CODE")]
    run_code: Option<String>,
    /// Run a function, or the console script of that name
    #[arg(long, value_name = "MODULE:FUNCTION")]
    entry_point: Option<String>,
    /// Run the interactive interpreter
    #[arg(long)]
    repl: bool,
}

fn main() -> ExitCode {
    pyox_cli::run("pyox-collect", |args: &Args| &args.common, collect)
}

fn collect(args: &Args, ui: &Ui) -> Result<Answer> {
    let config = settings::parse("--config", &args.config)?;
    let preconfig = settings::parse("--preconfig", &args.preconfig)?;
    let locations = locations::parse(&args.location)?;
    let (apps, main) = apps(args)?;
    let distribution: Distribution = input::document(args.distribution.as_deref())?;
    let sha256 = cache::remember(&distribution)?;
    let suffixes = &distribution.python.extension_suffixes;
    let jobs = args.jobs.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));

    let exclusions = Exclusions::new(&args.include, &args.exclude);
    let mut found = Found::default();
    for (number, app) in apps.iter().enumerate() {
        found.append(application::find(app, number, main == Some(number), suffixes)?);
    }
    found.append(stdlib::find(&distribution, &exclusions)?);
    let request = Request {
        with: args.with.clone(),
        files: args.requirements.clone(),
        wheels: apps.iter().filter_map(App::wheel).collect(),
        upgrade: args.upgrade,
    };
    let mut installed = Vec::new();
    let mut key = None;
    if !request.is_empty() {
        let folder = request.install(&distribution, ui)?;
        installed = wheel::installed(&folder)?;
        key = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let reason = |name: &str| request.reason(name);
        found.append(wheel::find(&folder, &installed, suffixes, reason, ui)?);
    }
    exclusions.apply(&mut found);
    path_order::apply(&mut found)?;
    application::name_main(&mut found);
    exclusions.check_includes(&found)?;
    place::apply(&mut found, &distribution);
    // Folders list their files in any order; what follows goes by this one.
    found.candidates.sort_by(|one, two| {
        let key = |c: &Candidate| (c.layer, c.resource.kind, c.resource.name.clone());
        key(one).cmp(&key(two))
    });

    let reader = Reader::new(&sha256, key.as_deref(), jobs)?;
    let mut reads = reader.read(&found.candidates)?;
    payloads::check_architecture(&found.candidates, &reads, &distribution.target)?;
    libraries::follow(&mut found, &mut reads, &reader, &exclusions, ui)?;
    reader.save()?;
    exclusions.check_excludes()?;

    let wanted = wanted(&args.run);
    let choice =
        Choice { wanted, apps: &apps, candidates: &found.candidates, installed: &installed };
    let run = choice.decide()?;
    let spoken: Vec<String> = locations.keys().cloned().collect();
    let locations = locations::decide(locations, &found.candidates, ui)?;
    let spoken = |module: &str| {
        let mut names = spoken.iter().chain(locations.keys());
        names.any(|name| locations::overlap(name, module))
    };
    suspects::report(&found.candidates, &reads, spoken, ui);

    let manifest = Manifest {
        schema: Manifest::SCHEMA.to_owned(),
        distribution: DistributionRef {
            sha256,
            version: distribution.python.version.clone(),
            target: distribution.target.clone(),
        },
        run,
        preconfig,
        config,
        interpreter: match (args.interpreter, args.no_interpreter) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        bytecode: Bytecode { optimize: args.optimize, sources: !args.no_sources },
        locations,
        projects: projects(&mut found),
        resources: resources(&mut found, reads)?,
        excluded: {
            found.excluded.sort();
            found.excluded.dedup();
            found.excluded
        },
    };
    output::text(args.output.as_deref(), &manifest.to_json())?;
    Ok(Answer::Done)
}

/// The APPs, with the script of `--run-script` among them, and the number of the one that becomes
/// `__main__`.
fn apps(args: &Args) -> Result<(Vec<App>, Option<usize>)> {
    let mut apps: Vec<App> = Vec::new();
    for path in &args.apps {
        let app = App::from_path(path)?;
        if !apps.contains(&app) {
            apps.push(app);
        }
    }
    for path in &args.path {
        apps.push(App::folder(path)?);
    }
    let run = &args.run;
    if let Some(path) = &run.run_script {
        let script = App::script(path)?;
        let number = apps.iter().position(|app| *app == script);
        let number = number.unwrap_or_else(|| {
            apps.push(script);
            apps.len() - 1
        });
        return Ok((apps, Some(number)));
    }
    let says_nothing = matches!(wanted(run), Wanted::Default);
    let first_is_script = matches!(apps.first(), Some(App::Script(_)));
    let main = (says_nothing && first_is_script).then_some(0);
    Ok((apps, main))
}

fn wanted(run: &RunArgs) -> Wanted {
    match run {
        RunArgs { run_module: Some(module), .. } => Wanted::Module(module.clone()),
        RunArgs { run_script: Some(_), .. } => Wanted::Script,
        RunArgs { run_code: Some(code), .. } => Wanted::Code(code.clone()),
        RunArgs { entry_point: Some(name), .. } => Wanted::EntryPoint(name.clone()),
        RunArgs { repl: true, .. } => Wanted::Repl,
        _ => Wanted::Default,
    }
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
            return Err(Fault::new(candidate.place(), "it was not read").into());
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
