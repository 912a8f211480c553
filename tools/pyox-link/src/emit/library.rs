//! `--emit staticlib` and `--emit cdylib`: one library with Python, pyembed and the blob in it.
//!
//! All of it is linked into one object first (`ld -r`), so that CPython and the libraries below it call pyembed's
//! functions in the place of the C library's, while the program that links the library calls its own. Of the object's
//! names only those of `pyembed.h` and of Python's C API stay visible: the program may have another zlib.
//!
//! | file | what it is |
//! |---|---|
//! | `libNAME.a` or `libNAME.so` | the library |
//! | `pyembed.h` | its functions |
//! | `NAME.pc` | how to link it, for pkg-config |

use std::fs;
use std::path::Path;
use std::process::Command;

use pyox_schema::{LinkMode, LinkPlan};
use pyox_stage::{Fault, FaultExt, Kind, Partial, Reporter, Result, cache, files};

use super::Emit;
use crate::{plan, runner};

/// The names that stay visible, as patterns.
const VISIBLE: [&str; 13] = [
    "Py*",
    "_Py*",
    "pyox_blob",
    "pyembed_add_builtin",
    "pyembed_end",
    "pyembed_error",
    "pyembed_exit_status",
    "pyembed_main",
    "pyembed_repl",
    "pyembed_run_code",
    "pyembed_run_file",
    "pyembed_run_module",
    "pyembed_start",
];

/// Writes the library and what goes with it into a folder, which is made where it is missing.
pub(crate) fn write(
    folder: &Path,
    name: &str,
    kind: Emit,
    plan: &LinkPlan,
    blob: &[u8],
    reporter: &dyn Reporter,
) -> Result<()> {
    if plan.mode == LinkMode::Static {
        let what = "expected a dynamic link: a program that has Python as a library loads its own libraries";
        return Err(
            Fault::new("--static", what).hint("for a static program, use `--emit artifacts`")
        );
    }
    super::check_linked(plan)?;
    check_name(name)?;
    runner::check_digests(plan)?;
    fs::create_dir_all(folder).fault_at(folder)?;
    // Its name is random, but the linker sees only what is in it.
    let work = Partial::new(&cache::folder("runners")?)?;
    let within = |name: &str| work.path().join(name);
    files::write(&within("blob.o"), &super::blob_object(blob)?)?;
    run(
        Command::new(&plan.driver).current_dir(work.path()).args(one_object(plan, reporter)),
        reporter,
    )?;
    let mut hide = Command::new(tool(plan, "objcopy"));
    hide.current_dir(work.path()).arg("--wildcard");
    hide.args(VISIBLE.map(|name| format!("--keep-global-symbol={name}")));
    run(hide.args(["python.o"]), reporter)?;
    let is_shared = kind == Emit::SharedLibrary;
    let file = format!("lib{name}.{}", if is_shared { "so" } else { "a" });
    let mut command = if is_shared {
        let mut command = Command::new(&plan.driver);
        command.args(["-shared", "-o", &file, &format!("-Wl,-soname,{file}")]);
        // An interpreter cannot be unloaded.
        command.args(["-Wl,-Bsymbolic", "-Wl,-z,nodelete", "-Wl,-z,noexecstack"]);
        command.args(["-Wl,--build-id=none", "-Wl,--strip-all", "-static-libgcc"]);
        command
    } else {
        let mut command = Command::new(tool(plan, "ar"));
        // Without times and owners.
        command.args(["rcsD", &file]);
        command
    };
    command.current_dir(work.path()).arg("python.o");
    if is_shared {
        command.args(system(plan, reporter).into_iter().filter(|word| word.starts_with("-l")));
    }
    run(&mut command, reporter)?;
    let bytes = fs::read(within(&file)).fault_at(&within(&file))?;
    files::write(&folder.join(&file), &bytes)?;
    files::write(&folder.join("pyembed.h"), super::HEADER)?;
    let description = pkg_config(name, kind, plan, reporter);
    files::write(&folder.join(format!("{name}.pc")), description.as_bytes())
}

/// The driver's arguments that make one object of everything.
fn one_object(plan: &LinkPlan, reporter: &dyn Reporter) -> Vec<String> {
    let words = [
        "-r",
        "-nostdlib",
        "-o",
        "python.o",
        "blob.o",
        "-Wl,--strip-debug",
        "-Wl,--undefined=pyembed_main",
    ];
    let mut line: Vec<String> = words.map(str::to_owned).into();
    line.extend(plan::arguments_within(&plan.distribution.version));
    line.push(plan.runtime.path.clone());
    line.extend(["-Wl,--whole-archive".into(), plan.libpython.path.clone()]);
    line.extend(["-Wl,--no-whole-archive".into(), "-Wl,--start-group".into()]);
    line.extend(plan.archives.iter().map(|archive| archive.path.clone()));
    // Of the system's libraries those that are there as archives; the others are left to whoever links.
    line.extend(system(plan, reporter).into_iter().filter(|word| !word.starts_with("-l")));
    line.push("-Wl,--end-group".into());
    line
}

/// The system's libraries: archives by their paths, and the others as `-lNAME`.
fn system(plan: &LinkPlan, reporter: &dyn Reporter) -> Vec<String> {
    let word = |library: &String| match runner::system_archive(plan, library, reporter) {
        Some(path) => path.to_string_lossy().into_owned(),
        None => format!("-l{library}"),
    };
    plan.libraries.iter().map(word).collect()
}

fn pkg_config(name: &str, kind: Emit, plan: &LinkPlan, reporter: &dyn Reporter) -> String {
    let libs = if kind == Emit::SharedLibrary {
        format!("-L${{pcfiledir}} -l{name}")
    } else {
        let shared = system(plan, reporter).into_iter().filter(|word| word.starts_with("-l"));
        // Extension modules find Python's functions in the program.
        let words = [format!("${{pcfiledir}}/lib{name}.a"), "-rdynamic".into(), "-pthread".into()];
        words.into_iter().chain(shared).collect::<Vec<_>>().join(" ")
    };
    format!(
        "Name: {name}\nDescription: A Python application as a library\nVersion: {}\n\
         Cflags: -I${{pcfiledir}}\nLibs: {libs}\n",
        plan.distribution.version
    )
}

/// What can be part of a file's name and of a linker's option.
fn check_name(name: &str) -> Result<()> {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(is_good) {
        let what = format!(
            "expected a library's name, of letters, digits, `-`, `_` and `.`, got `{name}`"
        );
        return Err(Fault::new("--name", what));
    }
    Ok(())
}

/// A program that belongs to the compiler.
fn tool(plan: &LinkPlan, name: &str) -> String {
    let asked = Command::new(&plan.driver).arg(format!("-print-prog-name={name}")).output();
    let found = asked.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned());
    found.ok().filter(|path| !path.is_empty()).unwrap_or_else(|| name.to_owned())
}

fn run(command: &mut Command, reporter: &dyn Reporter) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    reporter.detail(format_args!("{command:?}"));
    let result = runner::run(command.env("LC_ALL", "C"), &program)?;
    if result.status.success() {
        return Ok(());
    }
    if String::from_utf8_lossy(&result.stderr).contains("-fPIC") {
        let what = "this Python's static library is not compiled for shared libraries (-fPIC)";
        return Err(Fault::new("--emit cdylib", what)
            .hint("`--emit staticlib` needs no such code; most of `host` have it")
            .of_kind(Kind::Unsupported));
    }
    let folder = command.get_current_dir().unwrap_or(Path::new("."));
    Err(runner::linker_failed(&program, &result, folder))
}
