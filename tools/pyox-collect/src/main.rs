//! `pyox-collect`: the distribution document comes in, the manifest goes out.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Parser};
use pyox_cli::{Answer, Common, Result, input, output};
use pyox_collect::{Extensions, Installer, Options, Wanted, depfile, placements, settings};
use pyox_schema::{Distribution, Document};
use pyox_stage::Reporter;

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
    /// Download nothing: what is not installed yet comes from uv's cache and from folders of wheels
    #[arg(long, conflicts_with = "upgrade")]
    offline: bool,
    /// Who installs projects: uv where it is on PATH, else pip
    #[arg(long, value_name = "NAME", default_value = "any", hide_default_value = true)]
    installer: Installer,
    #[command(flatten)]
    run: RunArgs,
    /// Take a part of the standard library that is left out by default
    #[arg(long, value_name = "NAME")]
    include: Vec<String>,
    /// Leave out a module or package and all below it
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    /// Which extension modules of the standard library to take, beside those that --include names
    #[arg(long, value_name = "WHICH", default_value = "all", hide_default_value = true)]
    extensions: Extensions,
    /// Take no modules but those of these names, and what is around them
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
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
    placement: Vec<String>,
    /// Take libpython as a shared library, for `pyox-link --shape portable`
    #[arg(long)]
    libpython: bool,
    /// Set an attribute of `sys`; `$ORIGIN` in it is the executable's folder
    #[arg(long, value_name = "NAME=VALUE")]
    sys: Vec<String>,
    /// Append a folder to `sys.path` at run time; `$ORIGIN` in it is the executable's folder
    #[arg(long, value_name = "FOLDER")]
    search_path: Vec<String>,
    /// Set a variable of the environment; `$ORIGIN` in it is the executable's folder
    #[arg(long, value_name = "NAME=TEXT")]
    env: Vec<String>,
    /// Let each process list the modules that it has imported, in the folder that a variable of this name in its
    /// environment names
    #[arg(long, value_name = "NAME")]
    module_lists: Option<String>,
    /// Write the manifest to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the application's files as dependencies of the manifest to a file, for Make
    #[arg(long, value_name = "FILE", requires = "output")]
    depfile: Option<PathBuf>,
    /// How many files to read at once (default: the number of cores)
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
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
    pyox_cli::run("pyox-collect", |args: &Args| &args.common, run)
}

fn run(args: &Args, reporter: &dyn Reporter) -> Result<Answer> {
    let options = options(args)?;
    let distribution: Distribution = input::document(args.distribution.as_deref())?;
    let manifest = pyox_collect::collect(&distribution, &options, reporter)?;
    output::text(args.output.as_deref(), &manifest.to_json())?;
    if let (Some(path), Some(output)) = (&args.depfile, &args.output) {
        let others = args.requirements.iter().chain(&args.distribution);
        let others: Vec<_> = others.map(PathBuf::as_path).collect();
        output::text(Some(path), depfile(&manifest, output, &others).as_bytes())?;
    }
    Ok(Answer::Done)
}

fn options(args: &Args) -> Result<Options> {
    let defaults = Options::default();
    Ok(Options {
        apps: args.apps.clone(),
        paths: args.path.clone(),
        requirements: args.requirements.clone(),
        with: args.with.clone(),
        locked: defaults.locked,
        pinned: defaults.pinned,
        projects: defaults.projects,
        upgrade: args.upgrade,
        offline: args.offline,
        indexes: defaults.indexes,
        installer: args.installer,
        run: wanted(&args.run),
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        extensions: args.extensions,
        only: (!args.only.is_empty()).then(|| args.only.iter().cloned().collect()),
        config: settings::parse("--config", &args.config)?,
        preconfig: settings::parse("--preconfig", &args.preconfig)?,
        optimize: args.optimize,
        sources: !args.no_sources,
        interpreter: match (args.interpreter, args.no_interpreter) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        placements: placements::parse(&args.placement)?,
        libpython: args.libpython,
        sys: settings::parse("--sys", &args.sys)?,
        search_path: args.search_path.clone(),
        environment: settings::parse_texts("--env", &args.env)?,
        module_lists: args.module_lists.clone(),
        jobs: args.jobs.unwrap_or(defaults.jobs),
    })
}

fn wanted(run: &RunArgs) -> Wanted {
    match run {
        RunArgs { run_module: Some(module), .. } => Wanted::Module(module.clone()),
        RunArgs { run_script: Some(script), .. } => Wanted::Script(script.clone()),
        RunArgs { run_code: Some(code), .. } => Wanted::Code(code.clone()),
        RunArgs { entry_point: Some(name), .. } => Wanted::EntryPoint(name.clone()),
        RunArgs { repl: true, .. } => Wanted::Repl,
        _ => Wanted::Default,
    }
}
