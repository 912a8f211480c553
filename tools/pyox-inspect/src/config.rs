//! How an input says that the interpreter runs, as a flat list of facts.
//!
//! The names are the documents' own, with dots between levels, and the same whether they come from
//! a manifest or from the blob made of it; that is what a diff compares.

use pyox_blob::config as record;
use pyox_schema::{Distribution, FileRef, LinkPlan, Manifest, Placement, Run, Value as Setting};
use pyox_stage::{FaultExt, Result};
use serde_json::{Value, json};

use crate::executable::Executable;
use crate::input::{Input, Subject};

/// Keys and values, in the order in which they are shown.
pub type Facts = Vec<(String, Value)>;

/// How an input says that the interpreter runs, and of a distribution what it is: key and value, in the order in which
/// they are shown.
///
/// The keys are those of the documents, with dots between levels: `run.mode`, `config.utf8_mode`.
///
/// # Errors
///
/// If it is nothing that pyox makes, or its configuration is damaged.
pub fn facts(input: &Input<'_>) -> Result<Facts> {
    of_subject(input, &input.subject()?)
}

/// What an input says of the interpreter.
pub(crate) fn of_subject(input: &Input<'_>, subject: &Subject<'_>) -> Result<Facts> {
    Ok(match subject {
        Subject::Distribution(distribution) => of_distribution(distribution),
        Subject::Manifest(manifest) => of_manifest(manifest),
        Subject::LinkPlan(plan) => of_link_plan(plan),
        Subject::Blob(blob) | Subject::Executable(Executable { blob, .. }) => {
            of_record(&input.blob(blob)?.config().fault(&input.name)?)
        }
    })
}

fn of_record(config: &record::Config) -> Facts {
    let mut facts = Facts::new();
    let mut add = |key: &str, value: Value| facts.push((key.to_owned(), value));
    add("python", json!(format!("{}.{}", config.python.0, config.python.1)));
    // In the order of a `.pyc` file's bytes, as the distribution document has it.
    add("bytecode_magic", json!(format!("{:08x}", config.bytecode_magic.swap_bytes())));
    add("distribution", json!(config.distribution));
    match &config.run {
        record::Run::Repl => add("run.mode", json!("repl")),
        record::Run::Module(module) => {
            add("run.mode", json!("module"));
            add("run.module", json!(module));
        }
        record::Run::Script => add("run.mode", json!("script")),
        record::Run::Code(code) => {
            add("run.mode", json!("code"));
            add("run.code", json!(code));
        }
        record::Run::EntryPoint { module, function } => {
            add("run.mode", json!("entry-point"));
            add("run.module", json!(module));
            add("run.function", json!(function));
        }
    }
    add("interpreter", json!(config.interpreter.name()));
    for (group, settings) in [("preconfig", &config.preconfig), ("config", &config.config)] {
        for setting in settings {
            add(&format!("{group}.{}", setting.name), of_setting(&setting.value));
        }
    }
    for (package, placement) in &config.placements {
        add(&format!("placements.{package}"), json!(placement.name()));
    }
    for setting in &config.sys {
        add(&format!("sys.{}", setting.name), of_setting(&setting.value));
    }
    if !config.search_path.is_empty() {
        add("search_path", json!(config.search_path));
    }
    for (name, value) in &config.environment {
        add(&format!("environment.{name}"), json!(value));
    }
    if let Some(name) = &config.module_lists {
        add("module_lists", json!(name));
    }
    facts
}

fn of_setting(value: &record::Value) -> Value {
    match value {
        record::Value::Integer(number) => json!(number),
        record::Value::Text(text) => json!(text),
        record::Value::List(items) => json!(items),
        record::Value::Boolean(flag) => json!(flag),
    }
}

fn of_manifest(manifest: &Manifest) -> Facts {
    let mut facts = Facts::new();
    let mut add = |key: &str, value: Value| facts.push((key.to_owned(), value));
    let version = &manifest.distribution.version;
    add("python", json!(version.split('.').take(2).collect::<Vec<_>>().join(".")));
    add("distribution", json!(manifest.distribution.sha256));
    add("distribution.version", json!(version));
    add("distribution.target", json!(manifest.distribution.target));
    match &manifest.run {
        Run::Repl => add("run.mode", json!("repl")),
        Run::Module { module } => {
            add("run.mode", json!("module"));
            add("run.module", json!(module));
        }
        Run::Script => add("run.mode", json!("script")),
        Run::Code { code } => {
            add("run.mode", json!("code"));
            add("run.code", json!(code));
        }
        Run::EntryPoint { module, function } => {
            add("run.mode", json!("entry-point"));
            add("run.module", json!(module));
            add("run.function", json!(function));
        }
    }
    add(
        "interpreter",
        json!(match manifest.interpreter {
            Some(true) => "always",
            Some(false) => "never",
            None => "children",
        }),
    );
    add("bytecode.optimize", json!(manifest.bytecode.optimize));
    add("bytecode.sources", json!(manifest.bytecode.sources));
    for (group, settings) in [("preconfig", &manifest.preconfig), ("config", &manifest.config)] {
        for (name, value) in settings {
            let value = match value {
                // The blob's record has numbers only, as CPython's structures do.
                Setting::Boolean(flag) => json!(i64::from(*flag)),
                Setting::Integer(number) => json!(number),
                Setting::Text(text) => json!(text),
                Setting::List(items) => json!(items),
            };
            add(&format!("{group}.{name}"), value);
        }
    }
    // The blob's record leaves out what is in memory, as everything is without a word.
    for (package, placement) in
        manifest.placements.iter().filter(|(_, at)| **at != Placement::Memory)
    {
        add(&format!("placements.{package}"), json!(placement.name()));
    }
    for (name, value) in &manifest.sys {
        add(&format!("sys.{name}"), json!(value));
    }
    if !manifest.search_path.is_empty() {
        add("search_path", json!(manifest.search_path));
    }
    for (name, value) in &manifest.environment {
        add(&format!("environment.{name}"), json!(value));
    }
    if let Some(name) = &manifest.module_lists {
        add("module_lists", json!(name));
    }
    facts
}

fn of_distribution(distribution: &Distribution) -> Facts {
    let mut facts = Facts::new();
    let mut add = |key: &str, value: Value| facts.push((key.to_owned(), value));
    let (python, paths, link) = (&distribution.python, &distribution.paths, &distribution.link);
    let (major, minor) = python.version_info;
    add("python", json!(format!("{major}.{minor}")));
    add("bytecode_magic", json!(python.bytecode_magic));
    add("distribution", json!(distribution.digest()));
    add("source", json!(distribution.source));
    add("root", json!(distribution.root));
    add("target", json!(distribution.target));
    add("python.implementation", json!(python.implementation));
    add("python.version", json!(python.version));
    add("python.tag", json!(python.tag));
    add("python.soabi", json!(python.soabi));
    add("python.extension_suffixes", json!(python.extension_suffixes));
    add("python.platform", json!(python.platform));
    add("paths.executable", json!(paths.executable));
    add("paths.stdlib", json!(paths.stdlib));
    add("paths.dynload", json!(paths.dynload.as_deref().unwrap_or_default()));
    add("paths.include", json!(paths.include.as_deref().unwrap_or_default()));
    add("paths.test_packages", json!(paths.test_packages));
    add("stdlib.sha256", json!(distribution.stdlib.sha256));
    add("stdlib.files", json!(distribution.stdlib.files));
    add("link.static", json!(link.can_static));
    add("link.dynamic", json!(link.can_dynamic));
    add("link.reason", json!(link.reason.as_deref().unwrap_or_default()));
    let path =
        |file: &Option<FileRef>| file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
    add("link.libpython", json!(path(&link.libpython)));
    add("link.pic_libpython", json!(path(&link.pic_libpython)));
    add("link.shared_libpython", json!(path(&link.shared_libpython)));
    add("link.libraries", json!(link.libraries.iter().map(|l| &l.name).collect::<Vec<_>>()));
    add("link.arguments", json!(link.arguments));
    add("link.driver", json!(link.driver));
    add("link.object_format", json!(link.object_format));
    facts
}

fn of_link_plan(plan: &LinkPlan) -> Facts {
    let mut facts = Facts::new();
    let mut add = |key: &str, value: Value| facts.push((key.to_owned(), value));
    let version = &plan.distribution.version;
    add("python", json!(version.split('.').take(2).collect::<Vec<_>>().join(".")));
    add("distribution", json!(plan.distribution.sha256));
    add("distribution.version", json!(version));
    add("distribution.target", json!(plan.distribution.target));
    add("mode", json!(plan.mode.name()));
    add("reason", json!(plan.reason));
    add("root", json!(plan.root));
    add("driver", json!(plan.driver));
    add("libraries", json!(plan.libraries));
    add("arguments", json!(plan.arguments));
    add("section", json!(plan.section));
    facts
}
