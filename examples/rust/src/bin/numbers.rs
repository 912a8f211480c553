//! Calls a packed function in a loop, and gets numbers back.

use pyembed::MainPythonInterpreter;
use pyo3::prelude::*;

include!(concat!(env!("PYOX_ARTIFACTS"), "/python_config.rs"));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let interpreter = MainPythonInterpreter::new(default_python_config()?)?;
    let last = interpreter.attach(|py| -> PyResult<f64> {
        let step = py.import("orbits")?.getattr("step")?;
        (0..1000).try_fold(0.5, |x, _| step.call1((3.9, x))?.extract())
    })?;
    println!("{last:.6}");
    if let Err(error) = interpreter.run_code("import orbits; orbits.orbit('3.9', 0.5, 1)") {
        println!("{error}");
    }
    Ok(())
}
