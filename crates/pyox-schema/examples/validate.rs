//! Validates documents against a JSON Schema: `validate SCHEMA FILE…`, where `-` is stdin.
//!
//! For tests of whole pipelines and for hand-written documents. The validator is a library that
//! nobody here wrote. Exit status: 0 all are valid; 1 one is not, and why is on stderr; 2 one
//! cannot be read.

use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    match validate(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("validate: error: {error}");
            ExitCode::from(2)
        }
    }
}

fn validate(arguments: &[String]) -> Result<bool, String> {
    let [schema, files @ ..] = arguments else {
        return Err("command line: expected `validate SCHEMA FILE…`".to_owned());
    };
    if files.is_empty() {
        return Err("command line: expected documents to validate, got none".to_owned());
    }
    let validator = jsonschema::draft202012::new(&read(schema)?)
        .map_err(|error| format!("{schema}: {error}"))?;
    let mut valid = true;
    for file in files {
        let document = read(file)?;
        for error in validator.iter_errors(&document) {
            valid = false;
            eprintln!("validate: error: {file}: {}: {error}", error.instance_path());
        }
    }
    Ok(valid)
}

fn read(path: &str) -> Result<Value, String> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| ()),
        _ => std::fs::read(path).map(|content| bytes = content),
    };
    read.map_err(|error| format!("{path}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{path}: {error}"))
}
