//! A session with the packed modules at hand.

use pyembed::{Error, MainPythonInterpreter};

include!(concat!(env!("PYOX_ARTIFACTS"), "/python_config.rs"));

fn main() -> Result<(), Error> {
    println!("Python {PYTHON_VERSION} in Rust; `orbits` is there");
    let interpreter = MainPythonInterpreter::new(default_python_config()?)?;
    interpreter.run_code("import orbits")?;
    match interpreter.repl() {
        Err(Error::Exit(status)) => println!("left with {status}"),
        other => other?,
    }
    Ok(())
}
