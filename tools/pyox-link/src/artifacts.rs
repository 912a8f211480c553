//! `--emit artifacts`: what another build system needs to make the executable itself.
//!
//! | file | what it is |
//! |---|---|
//! | `libpyembed_runner.a` | pyembed with a `main`; leave its object out where the program has one |
//! | `libpythonX.Y.a`, … | the distribution's archives |
//! | `app.blob` | the blob |
//! | `app.files/` | what is to lie beside the executable, under its name, where packages want that |
//! | `python-config.json` | the configuration in the blob, as `PythonConfig` starts with it |
//! | `python_config.rs` | the same, as Rust source |
//! | `link-plan.json` | the link plan, its paths relative to this folder |
//! | `cargo.txt` | the link plan as lines for a build script |

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pyox_blob::Config;
use pyox_blob::config::{Run, Setting, Value};
use pyox_schema::{Document, FileRef, LinkMode, LinkPlan};
use pyox_stage::{HintExt, Result, files};
use serde_json::{Map, json};

/// Writes the artifacts into a folder, which is made where it is missing.
pub(crate) fn write(folder: &Path, plan: &LinkPlan, config: &Config, blob: &[u8]) -> Result<()> {
    fs::create_dir_all(folder).fault_at(folder)?;
    let name_of = |archive: &FileRef| {
        let name = Path::new(&archive.path).file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    for archive in plan.files() {
        let source = Path::new(&archive.path);
        let mut file = fs::File::open(source).fault_at(source)?;
        files::atomically(&folder.join(name_of(archive)), files::PLAIN, |to| {
            std::io::copy(&mut file, to).map(|_| ())
        })?;
    }
    let named = |archive: &FileRef| FileRef { path: name_of(archive), ..archive.clone() };
    let plan = LinkPlan { root: ".".into(), ..plan.with_files(named) };
    let text = |name: &str, bytes: &[u8]| files::write(&folder.join(name), bytes);
    text("app.blob", blob)?;
    text("link-plan.json", &plan.to_json())?;
    text("python-config.json", &pretty(&config_json(config)))?;
    text("python_config.rs", rust_config(config).as_bytes())?;
    text("cargo.txt", cargo_lines(&plan).as_bytes())?;
    Ok(())
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = format!("{value:#}");
    text.push('\n');
    text.into_bytes()
}

fn config_json(config: &Config) -> serde_json::Value {
    let settings = |settings: &[Setting]| -> Map<String, serde_json::Value> {
        let value = |value: &Value| match value {
            Value::Integer(value) => json!(value),
            Value::Text(value) => json!(value),
            Value::List(value) => json!(value),
        };
        settings.iter().map(|s| (s.name.clone(), value(&s.value))).collect()
    };
    let run = match &config.run {
        Run::Repl => json!({ "mode": "repl" }),
        Run::Module(module) => json!({ "mode": "module", "module": module }),
        Run::Script => json!({ "mode": "script" }),
        Run::Code(code) => json!({ "mode": "code", "code": code }),
        Run::EntryPoint { module, function } => {
            json!({ "mode": "entry-point", "module": module, "function": function })
        }
    };
    json!({
        "python": format!("{}.{}", config.python.0, config.python.1),
        "distribution": config.distribution,
        "run": run,
        "preconfig": settings(&config.preconfig),
        "config": settings(&config.config),
        "interpreter": config.interpreter.name(),
    })
}

/// The configuration as a Rust function, for a program that depends on pyembed.
fn rust_config(config: &Config) -> String {
    let mut text = String::from(
        "// The configuration that pyox-link found in the blob, for a program that depends on pyembed:\n\
         // include!(\"python_config.rs\"), and pass it the bytes of app.blob.\n\n\
         /// What the interpreter starts with.\n\
         pub fn default_python_config(blob: &'static [u8]) -> Result<pyembed::PythonConfig, pyembed::Error> {\n    \
         Ok(pyembed::PythonConfig::from_blob(blob)?\n",
    );
    let run = match &config.run {
        Run::Repl => "Repl".to_owned(),
        Run::Module(module) => format!("Module({module:?}.into())"),
        Run::Script => "Script".to_owned(),
        Run::Code(code) => format!("Code({code:?}.into())"),
        Run::EntryPoint { module, function } => {
            format!("EntryPoint {{ module: {module:?}.into(), function: {function:?}.into() }}")
        }
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "        .run(pyembed::Run::{run})");
    for (method, settings) in [("preconfig", &config.preconfig), ("config", &config.config)] {
        for Setting { name, value } in settings {
            let value = match value {
                Value::Integer(value) => format!("Integer({value})"),
                Value::Text(value) => format!("Text({value:?}.into())"),
                Value::List(items) => {
                    let items: Vec<_> = items.iter().map(|i| format!("{i:?}.into()")).collect();
                    format!("List(vec![{}])", items.join(", "))
                }
            };
            let _ = write!(text, "\n        .{method}({name:?}, pyembed::Value::{value})");
        }
    }
    text.push_str(")\n}\n");
    text
}

/// Lines that a Cargo build script prints.
fn cargo_lines(plan: &LinkPlan) -> String {
    let mut text = String::from("cargo:rustc-link-search=native=.\n");
    // pyembed is what Cargo builds itself.
    let name = |archive: &FileRef| {
        let name = archive.path.trim_end_matches(".a");
        name.strip_prefix("lib").unwrap_or(name).to_owned()
    };
    let whole = if plan.mode == LinkMode::Dynamic { ":+whole-archive" } else { "" };
    let _ = writeln!(text, "cargo:rustc-link-lib=static{whole}={}", name(&plan.libpython));
    for archive in &plan.archives {
        let _ = writeln!(text, "cargo:rustc-link-lib=static={}", name(archive));
    }
    for library in &plan.libraries {
        let _ = writeln!(text, "cargo:rustc-link-lib={library}");
    }
    for argument in &plan.arguments {
        let _ = writeln!(text, "cargo:rustc-link-arg-bins={argument}");
    }
    text
}
