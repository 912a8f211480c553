//! What the tests share: a folder to work in, a distribution, and the tool itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pyox_schema::{Distribution, Document, Manifest, Resource, ResourceKind};
use tempfile::TempDir;

/// A folder with a distribution document and a cache of its own.
pub(crate) struct Workshop {
    folder: TempDir,
    pub(crate) distribution: Distribution,
}

/// What the tool did.
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Workshop {
    /// A fresh one, with the `python3` of the machine as its distribution.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let python = Command::new("python3")
            .args(["-I", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/describe.py")])
            .output()
            .expect("these tests need a python3");
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let distribution = Distribution::from_json(&python.stdout).expect("a document");
        fs::write(folder.path().join("dist.json"), &python.stdout).expect("a file");
        Self { folder, distribution }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and the folders around it.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    }

    /// The distribution's interpreter.
    pub(crate) fn python(&self) -> Command {
        let executable = self.distribution.path(&self.distribution.paths.executable);
        let mut command = Command::new(executable);
        command.current_dir(self.folder.path());
        command
    }

    /// Makes a wheel of files, whose RECORD `forge` may change, and gives its name.
    pub(crate) fn wheel(&self, name: &str, files: &[(&str, &str)], forge: &str) -> String {
        let spec: Vec<_> = files.iter().collect();
        let spec = serde_json::to_string(&spec).expect("JSON");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wheel.py");
        let output = self.python().args(["-I", script, name, &spec, forge]).output();
        let output = output.expect("the interpreter runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a name").trim().to_owned()
    }

    /// Runs the tool here, without an index to install from.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_pyox-collect"))
            .current_dir(self.folder.path())
            .env("PYOX_CACHE_DIR", self.path("cache"))
            .env("PIP_NO_INDEX", "1")
            .env("PIP_CONFIG_FILE", self.path("pip.conf"))
            .env_remove("PIP_FIND_LINKS")
            .args(["-d", "dist.json"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the tool runs");
        output.into()
    }

    /// Runs the tool, which must succeed.
    pub(crate) fn collect(&self, arguments: &[&str]) -> Manifest {
        let outcome = self.run(arguments);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        Manifest::from_json(&outcome.stdout).expect("a manifest")
    }

    /// Runs the tool, which must refuse with one line of that text; gives all it says.
    pub(crate) fn refuses(&self, arguments: &[&str], text: &str) -> String {
        let outcome = self.run(arguments);
        let stderr = &outcome.stderr;
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {stderr}");
        assert!(outcome.stdout.is_empty(), "{arguments:?} wrote something");
        let errors: Vec<_> =
            stderr.lines().filter(|line| line.starts_with("pyox-collect: error: ")).collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(errors[0].contains(text), "expected `{text}` in {stderr}");
        outcome.stderr
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The resource of a kind and name; of files by the end of their path.
pub(crate) fn resource<'a>(manifest: &'a Manifest, kind: ResourceKind, name: &str) -> &'a Resource {
    let is_meant = |full: &str| {
        full.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let mut found = manifest.resources.iter().filter(|r| r.kind == kind && is_meant(&r.name));
    found.next().unwrap_or_else(|| panic!("no {} `{name}`", kind.name()))
}

/// The reason why something was left out.
pub(crate) fn excluded<'a>(manifest: &'a Manifest, name: &str) -> &'a str {
    let mut found = manifest.excluded.iter().filter(|excluded| excluded.name == name);
    &found.next().unwrap_or_else(|| panic!("`{name}` is not left out")).reason
}

/// Names of everything importable.
pub(crate) fn importable(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let resources = manifest.resources.iter();
    resources.filter(|r| r.kind <= ResourceKind::ExtensionModule).map(|r| r.name.as_str())
}

/// Whether a path is below a folder.
pub(crate) fn is_below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder)
}
