//! What the executable runs: as the user says, or what there is only one of.
//!
//! It is looked up among the resources here, so that a misspelt name fails now and not at the first
//! start of the finished executable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pyox_schema::{Origin, Resource, ResourceKind, Run};
use pyox_stage::{Fault, Result, files};

use crate::application::App;
use crate::candidate::{is_dotted_name, is_importable};
use crate::multicall;
use crate::wheel::{Installed, Script};

/// What the executable is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The first of the APPs, or what there is only one of.
    Default,
    /// The interactive interpreter.
    Repl,
    /// A module, as `python -m` runs it.
    Module(String),
    /// A script, by its path, as `python FILE` runs it.
    Script(PathBuf),
    /// A statement, as `python -c` runs it.
    Code(String),
    /// A function, as `module:function`, or a console script by its name.
    EntryPoint(String),
    /// One of several, by the name that the executable is called by.
    OneOf(BTreeMap<String, Wanted>),
}

impl Wanted {
    /// The path, if it is a script.
    #[must_use]
    pub fn script(&self) -> Option<&Path> {
        if let Self::Script(path) = self { Some(path) } else { None }
    }
}

/// The importable resources by their names.
type Names<'a> = BTreeMap<&'a str, &'a Resource>;

/// What is there to choose from.
pub(crate) struct Choice<'a> {
    /// The APPs, the first of which decides where the options say nothing.
    pub(crate) apps: &'a [App],
    /// The resources.
    pub(crate) resources: &'a [Resource],
    /// The installed projects.
    pub(crate) installed: &'a [Installed],
}

impl Choice<'_> {
    /// Decides.
    pub(crate) fn decide(&self, wanted: &Wanted) -> Result<Run> {
        let names: Names = self
            .resources
            .iter()
            .filter(|resource| is_importable(resource.kind))
            .map(|resource| (resource.name.as_str(), resource))
            .collect();
        self.decide_of(&names, wanted)
    }

    fn decide_of(&self, names: &Names, wanted: &Wanted) -> Result<Run> {
        match wanted {
            Wanted::Repl => Ok(Run::Repl),
            Wanted::Code(code) => Ok(Run::Code { code: code.clone() }),
            Wanted::Script(_) => Ok(Run::Script),
            Wanted::Module(name) => {
                let place = format!("--run-module {name}");
                runnable(names, name).map_err(|what| Fault::new(place, what))?;
                Ok(Run::Module { module: name.clone() })
            }
            Wanted::EntryPoint(text) => self.entry_point(names, text),
            Wanted::Default => self.default(names),
            Wanted::OneOf(programs) => {
                let one = |(name, wanted): (&String, &Wanted)| match wanted.script() {
                    Some(script) => Ok((name.clone(), self.module_of(script)?)),
                    None => Ok((name.clone(), self.decide_of(names, wanted)?)),
                };
                let programs = programs.iter().map(one).collect::<Result<_>>()?;
                Ok(Run::Code { code: multicall::code(&programs)? })
            }
        }
    }

    /// The module that a script is taken as.
    fn module_of(&self, script: &Path) -> Result<Run> {
        let is_it = |resource: &&Resource| {
            is_importable(resource.kind)
                && resource.payload.as_ref().is_some_and(|payload| payload.path == script)
        };
        let module = self.resources.iter().find(is_it);
        let module = module.ok_or_else(|| Fault::at(script, "it was not collected"))?;
        Ok(Run::Module { module: module.name.clone() })
    }

    fn entry_point(&self, names: &Names, text: &str) -> Result<Run> {
        let place = format!("--entry-point {text}");
        let script = self.scripts().find(|(_, script)| script.name == text);
        let (module, function) = match (text.split_once(':'), script) {
            (Some((module, function)), _) => (module.trim(), function.trim()),
            (None, Some((_, script))) => (script.module.as_str(), script.function.as_str()),
            (None, None) => {
                let known: Vec<_> =
                    self.scripts().map(|(_, script)| script.name.as_str()).collect();
                let hint = if known.is_empty() {
                    "name a function, as MODULE:FUNCTION".to_owned()
                } else {
                    format!("console scripts here: {}", known.join(", "))
                };
                let what = "expected MODULE:FUNCTION or a console script's name, got neither";
                return Err(Fault::new(place, what).hint(hint));
            }
        };
        check_function(names, module, function).map_err(|what| Fault::new(place, what))?;
        Ok(Run::EntryPoint { module: module.to_owned(), function: function.to_owned() })
    }

    fn default(&self, names: &Names) -> Result<Run> {
        let requested: Vec<&Installed> = self.installed.iter().filter(|i| i.requested).collect();
        match (self.apps.first(), requested.as_slice()) {
            (Some(App::Script(_)), _) => return Ok(Run::Script),
            (Some(App::Folder(_)), _) if names.contains_key("__main__") => return Ok(Run::Script),
            (Some(App::Package(_, name)), _) if runnable(names, name).is_ok() => {
                return Ok(Run::Module { module: name.clone() });
            }
            (None, []) => return Ok(Run::Repl),
            (None | Some(App::Wheel(_)), [one]) => {
                if let Some(script) = only_script(one) {
                    return self
                        .entry_point(names, &format!("{}:{}", script.module, script.function));
                }
            }
            _ => {}
        }
        let mut ways: Vec<String> = Vec::new();
        for (_, script) in self.scripts().filter(|(installed, _)| installed.requested) {
            ways.push(format!("--entry-point {}", script.name));
        }
        let packages = self.resources.iter().filter(|resource| {
            resource.name.ends_with(".__main__")
                && resource.kind == ResourceKind::Module
                && resource.origin != Origin::StandardLibrary
        });
        for module in packages {
            let package = module.name.trim_end_matches(".__main__");
            ways.push(format!("--run-module {package}"));
        }
        ways.truncate(8);
        if ways.is_empty() {
            ways.push("--run-module MODULE".to_owned());
        }
        ways.push("--repl".to_owned());
        let what = "expected one thing to run, found none or several";
        Err(Fault::new("application", what).hint(format_args!("choose: {}", ways.join(", "))))
    }

    fn scripts(&self) -> impl Iterator<Item = (&Installed, &Script)> {
        self.installed.iter().flat_map(|i| i.scripts.iter().map(move |script| (i, script)))
    }
}

/// A project's only console script, or the one of its own name. Scripts that need an extra do not
/// count: whether the extra is installed is not written down anywhere.
fn only_script(installed: &Installed) -> Option<&Script> {
    let plain: Vec<&Script> = installed.scripts.iter().filter(|script| !script.extra).collect();
    match plain.as_slice() {
        [one] => Some(one),
        several => several.iter().copied().find(|script| script.name == installed.name),
    }
}

/// Whether `python -m NAME` would run something.
fn runnable(names: &Names, name: &str) -> Result<(), String> {
    if !is_dotted_name(name) {
        return Err(format!("expected a module's name, but `{name}` is none"));
    }
    let Some(resource) = names.get(name) else {
        return Err("expected a module that is taken, found none of that name".to_owned());
    };
    let package = match resource.kind {
        ResourceKind::Package | ResourceKind::NamespacePackage => true,
        _ => resource.package,
    };
    if package && !names.contains_key(format!("{name}.__main__").as_str()) {
        return Err(format!("expected a module, but `{name}` is a package without `__main__`"));
    }
    Ok(())
}

/// Whether a module is there and can have that function.
fn check_function(names: &Names, module: &str, function: &str) -> Result<(), String> {
    if !is_dotted_name(module) || !is_dotted_name(function) {
        return Err(format!("expected MODULE:FUNCTION, got `{module}:{function}`"));
    }
    let Some(resource) = names.get(module) else {
        return Err(format!("expected a module that is taken, found no `{module}`"));
    };
    if !matches!(resource.kind, ResourceKind::Module | ResourceKind::Package) {
        return Ok(());
    }
    let source = resource.payload.as_ref().and_then(|payload| files::read(&payload.path).ok());
    let Some(source) = source.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) else {
        return Ok(());
    };
    let first = function.split('.').next().unwrap_or(function);
    // A name may come to a module by other ways than being written there; then it is not for this
    // check to say.
    let computed = ["import *", "globals", "__getattr__", "setattr", "exec", "sys.modules"];
    let written = source
        .split(|letter: char| !(letter == '_' || letter.is_alphanumeric()))
        .any(|word| word == first);
    if written || computed.iter().any(|way| source.contains(way)) {
        return Ok(());
    }
    Err(format!("expected a function, but `{module}` has nothing named `{first}`"))
}
