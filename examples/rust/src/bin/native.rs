//! Packed code imports a module that is written in Rust, with `PyO3`.

use pyembed::MainPythonInterpreter;
use pyo3::prelude::*;

include!(concat!(env!("PYOX_ARTIFACTS"), "/python_config.rs"));

#[pymodule]
mod native {
    use pyo3::prelude::*;

    #[pyfunction]
    #[allow(clippy::cast_precision_loss)] // A mean of a few numbers.
    fn mean(values: Vec<f64>) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = default_python_config()?.builtin_module(c"native", native::__pyo3_init);
    let interpreter = MainPythonInterpreter::new(config)?;
    let mean: f64 = interpreter.attach(|py| {
        py.import("orbits.mean")?.call_method1("of", (3.9, 0.5, 1000))?.extract::<f64>()
    })?;
    println!("{mean:.3}");
    Ok(())
}
