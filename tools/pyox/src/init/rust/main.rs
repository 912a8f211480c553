//! @NAME@: a Rust program with Python in it.

use pyembed::MainPythonInterpreter;

// What pyox has linked in: `default_python_config` and `PYTHON_VERSION`.
include!(concat!(env!("PYOX_ARTIFACTS"), "/python_config.rs"));

fn main() {
    // It runs what pyox.toml says. `run_code` and `run_module` run something else, and come back.
    let status = match default_python_config().and_then(MainPythonInterpreter::new) {
        Ok(interpreter) => interpreter.run(),
        Err(error) => {
            eprintln!("@NAME@: error: {error}");
            2
        }
    };
    std::process::exit(status);
}
