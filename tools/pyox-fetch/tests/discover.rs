//! Which of this machine's Pythons `host` and `uv` take, on a machine that each test furnishes.

mod common;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Place, stderr};
use pyox_schema::{Distribution, Document};

/// Where Pythons and the project say what they are; none of it is this machine's.
const VARIABLES: [&str; 9] = [
    "VIRTUAL_ENV",
    "UV_PYTHON_INSTALL_DIR",
    "XDG_DATA_HOME",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "CONDA_PREFIX",
    "CONDA_ROOT",
    "CONDA_EXE",
    "HOME",
];

/// A command on a machine that has nothing but a C compiler and a home folder.
fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let bin = place.path("bin");
    if !bin.exists() {
        let path = env::var_os("PATH").unwrap();
        let cc = env::split_paths(&path).map(|folder| folder.join("cc")).find(|cc| cc.exists());
        fs::create_dir_all(&bin).unwrap();
        symlink(cc.unwrap(), bin.join("cc")).unwrap();
    }
    command.env("HOME", place.path("home")).env("PATH", bin);
    command
}

fn output(place: &Place, arguments: &[&str]) -> Output {
    command(place, arguments).output().unwrap()
}

/// What it says when there is nothing for it.
fn refused(place: &Place, arguments: &[&str]) -> String {
    let output = output(place, arguments);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

/// A Python of this machine that has its library, and its version.
fn real() -> (PathBuf, String) {
    let home = PathBuf::from(env::var_os("HOME").unwrap());
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut candidates: Vec<_> = versions.map(|entry| entry.path().join("bin/python3")).collect();
    candidates.sort();
    candidates.extend(
        ["11", "12", "13", "14", "15"].map(|minor| format!("/usr/bin/python3.{minor}").into()),
    );
    let place = Place::new();
    let found = candidates.into_iter().filter(|python| python.exists()).find_map(|python| {
        let output = place.run(&[&format!("host:{}", python.display())]);
        let document = Distribution::from_json(&output.stdout).ok()?;
        Some((document.path(&document.paths.executable), document.python.version))
    });
    found.expect("no Python here has its library: see CONTRIBUTING.md")
}

/// A program that starts a Python.
fn launcher(place: &Place, name: &str, python: &Path) {
    place.script(name, &format!("#!/bin/sh\nexec {} \"$@\"\n", python.display()));
}

/// A program that answers as a CPython of some version would, but has no library.
fn pretender(place: &Place, name: &str, version: &str) {
    let minor = version.split('.').nth(1).unwrap();
    place.script(
        name,
        &format!(
            r#"#!/bin/sh
while read -r _; do :; done
echo '{{"implementation":"cpython","version":"{version}","version_info":[3,{minor}],"details":null}}'
"#
        ),
    );
}

#[test]
fn what_cannot_be_embedded_is_passed_over_with_its_reason() {
    let place = Place::new();
    let (python, version) = real();
    place.script("bin2/python3", "#!/bin/sh\necho no such version >&2\nexit 127\n");
    launcher(&place, "bin3/python3", &python);
    // One of another machine is no Python of this one, whoever runs it.
    let mut arm = fs::read(env!("CARGO_BIN_EXE_pyox-fetch")).unwrap();
    arm[18..20].copy_from_slice(&183_u16.to_le_bytes());
    place.script("bin4/python3", "");
    place.write("bin4/python3", &arm);
    let folders = ["bin2", "bin4", "bin3", "bin"].map(|name| place.path(name));
    let path = env::join_paths(folders).unwrap();
    let output = command(&place, &["host"]).env("PATH", &path).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("note: passed over") && said.contains("no such version"), "{said}");
    assert!(said.contains("expected a Python for x86_64, got one for aarch64\n"), "{said}");
    assert!(said.contains(&format!("note: host: CPython {version}, ")), "{said}");
    assert_eq!(Distribution::from_json(&output.stdout).unwrap().python.version, version);
}

#[test]
fn the_places_are_asked_in_their_order() {
    let place = Place::new();
    let (python, version) = real();
    let places = [
        ("VIRTUAL_ENV", "active/bin/python", "active"),
        ("PATH", "path/python3", "path"),
        ("UV_PYTHON_INSTALL_DIR", "uv/cpython-3.13.0-linux-x86_64-gnu/bin/python3", "uv"),
        ("PYENV_ROOT", "pyenv/versions/3.13.0/bin/python3", "pyenv"),
        ("CONDA_PREFIX", "conda/bin/python3", "conda"),
    ];
    let mut command = command(&place, &["-v", "host"]);
    for (variable, program, folder) in places {
        launcher(&place, program, &python);
        if variable != "PATH" {
            command.env(variable, place.path(folder));
        }
    }
    command
        .env("PATH", format!("{}:{}", place.path("path").display(), place.path("bin").display()));
    let here = place.folder.path().display().to_string() + "/";
    for (variable, program, _) in places {
        let said = stderr(&command.output().unwrap());
        assert!(said.contains("host: looks at VIRTUAL_ENV ("), "{said}");
        let shown = said.replace(&here, "");
        let taken = format!("detail: host: CPython {version}, {program} (");
        assert!(shown.contains(&taken), "{variable}: {shown}");
        fs::remove_file(place.path(program)).unwrap();
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains(
            "error: host: expected a Python, found none at VIRTUAL_ENV, PATH, uv, pyenv, conda"
        ),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_virtual_environment_names_its_base() {
    let place = Place::new();
    let (python, version) = real();
    let mut make = Command::new(&python);
    make.args(["-m", "venv", "--without-pip"]).arg(place.path("venv"));
    assert!(make.status().unwrap().success());
    let output =
        command(&place, &["-v", "host"]).env("VIRTUAL_ENV", place.path("venv")).output().unwrap();
    let said = stderr(&output);
    let document = Distribution::from_json(&output.stdout).unwrap();
    assert_eq!(document.path(&document.paths.executable), python);
    let taken = format!(
        "host: CPython {version}, {}, the base of {} (VIRTUAL_ENV)",
        python.display(),
        place.path("venv").display()
    );
    assert!(said.contains(&taken), "{said}");
}

#[test]
fn a_version_is_looked_for_everywhere() {
    let place = Place::new();
    let (python, version) = real();
    pretender(&place, "home/.pyenv/versions/3.99.7/bin/python3", "3.99.7");
    launcher(
        &place,
        &format!("home/.local/share/uv/python/cpython-{version}-linux/bin/python3"),
        &python,
    );
    let (minor, _) = version.rsplit_once('.').unwrap();
    for spec in
        [format!("host@{minor}"), format!("uv@{version}"), "uv".to_owned(), "host".to_owned()]
    {
        let output = output(&place, &[&spec]);
        assert_eq!(stderr(&output), "");
        assert_eq!(Distribution::from_json(&output.stdout).unwrap().python.version, version);
    }
    let said = refused(&place, &["host@3.98"]);
    let found =
        format!("error: host@3.98: expected Python 3.98 (host@3.98), found {version}, 3.99.7\n");
    assert!(said.contains(&found), "{said}");
    assert!(said.contains("hint: install it (`uv python install 3.98`)"), "{said}");
    // It is of that version, so what is wrong with it is what counts.
    assert!(refused(&place, &["host@3.99"]).contains("expected CPython 3.11 to 3.15, got 3.99.7"));
    let said = refused(&place, &["uv@3.99"]);
    assert!(said.contains(&format!("expected Python 3.99 (uv@3.99), found {version}")), "{said}");
}

#[test]
fn a_project_says_which_versions_will_do() {
    let place = Place::new();
    let (python, version) = real();
    launcher(&place, "home/.local/share/uv/python/cpython-3.11.0-linux/bin/python3", &python);
    let here = place.folder.path();
    fs::create_dir_all(here.join("project/inner")).unwrap();
    let project = here.join("project");
    let run = |arguments: &[&str]| {
        let output =
            command(&place, arguments).current_dir(project.join("inner")).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    assert_eq!(run(&["host"]), (Some(0), String::new()));

    fs::write(project.join("pyproject.toml"), "[project]\nrequires-python = '>=3.98'\n").unwrap();
    let (status, said) = run(&["host"]);
    let file = project.join("pyproject.toml");
    assert_eq!(status, Some(2));
    let expected = format!("host: expected Python >=3.98 ({}), found {version}\n", file.display());
    assert!(said.contains(&expected), "{said}");
    // Whoever names a version knows better.
    assert_eq!(run(&[&format!("host@{version}")]), (Some(0), String::new()));
    fs::write(&file, "[project]\nrequires-python = '>=3.11'\n").unwrap();
    assert_eq!(run(&["host"]).0, Some(0));

    let pin = project.join(".python-version");
    fs::write(&pin, "# what we deploy\n3.98.1\n").unwrap();
    let (status, said) = run(&["host"]);
    assert_eq!(status, Some(2));
    assert!(said.contains(&format!("expected Python 3.98.1 ({})", pin.display())), "{said}");
    assert!(said.contains(&format!(" and >=3.11 ({}), found {version}", file.display())), "{said}");

    fs::write(&pin, python.to_str().unwrap()).unwrap();
    assert_eq!(run(&["host"]), (Some(0), String::new()));
    fs::write(&pin, "my-environment\n").unwrap();
    let (status, said) = run(&["host"]);
    assert_eq!(status, Some(0));
    assert!(
        said.contains("warning: ") && said.contains("got `my-environment`: it is ignored"),
        "{said}"
    );
    fs::write(&pin, "pypy3.10\n").unwrap();
    let (status, said) = run(&["host"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("expected a CPython with its lock, got `pypy3.10`"), "{said}");
    fs::remove_file(&pin).unwrap();

    fs::write(&file, "[project\n").unwrap();
    assert!(run(&["host"]).1.contains("pyproject.toml: "));
}
