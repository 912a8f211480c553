//! One executable that is several programs: it answers by the name that it is called by.
//!
//! What chooses among them is Python source that runs as `__main__`, so that neither the blob nor the run-time library
//! knows of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pyox_schema::Run;
use pyox_stage::{Fault, Result};

/// The code; `PROGRAMS` is put in front of it.
const CODE: &str = include_str!("multicall.py");

/// The source that runs one of these programs.
pub(crate) fn code(programs: &BTreeMap<String, Run>) -> Result<String> {
    let mut code = "def run(\n    programs={\n".to_owned();
    for (name, run) in programs {
        let what = match run {
            Run::EntryPoint { module, function } => {
                format!("({}, {})", text(module), text(function))
            }
            Run::Module { module } => format!("({}, None)", text(module)),
            Run::Repl | Run::Script | Run::Code { .. } => {
                let what =
                    "expected a function, a module or a script to be one of several programs";
                return Err(Fault::new(name, what));
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(code, "        {}: {what},", text(name));
    }
    code.push_str("    }\n):\n");
    code.push_str(CODE);
    Ok(code)
}

/// A text as Python writes it; of what JSON escapes, Python reads all in the same way.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_in_the_source() {
        let entry = Run::EntryPoint { module: "m".into(), function: "f".into() };
        let programs =
            [("a\"b".to_owned(), entry), ("c".to_owned(), Run::Module { module: "n".into() })];
        let code = code(&programs.into()).unwrap();
        assert!(code.starts_with("def run(\n    programs={\n        \"a\\\"b\": (\"m\", \"f\"),\n        \"c\": (\"n\", None),\n    }\n):\n"));
        assert!(super::code(&[("r".to_owned(), Run::Repl)].into()).is_err());
    }
}
