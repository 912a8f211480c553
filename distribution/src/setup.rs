//! CPython's `Modules/Setup` lines and the table of built-in modules that `makesetup` makes of them.
//!
//! `configure` writes `Setup.stdlib`, one line per standard extension module whose dependencies it
//! found. That list, less some modules and with our own lines for a few, becomes `Setup.local`, and
//! every module in it a built-in. The same lines then tell which object files and libraries a
//! module consists of.

use std::collections::BTreeMap;

use pyox_stage::{Fault, Result};

use crate::libraries::Version;

/// The standard extension modules that are never built in, and why.
pub(crate) const LEFT_OUT: [(&str, &str); 4] = [
    ("_tkinter", "pulls Tcl, Tk and the X11 libraries into the link, and needs Tcl's script files"),
    ("_gdbm", "GNU dbm is GPL"),
    (
        "_dbm",
        "its libraries are GNU dbm's or Berkeley DB's, GPL and AGPL; dbm.dumb and dbm.sqlite3 stay",
    ),
    ("nis", "Debian's static libtirpc needs a GSS-API library that has no static archive"),
];

/// The modules that CPython 3.11's `setup.py` builds by code of its own, as `Setup` lines. A `=` would
/// make a line a make variable, hence `-DNAME` without a value.
const LINES_3_11: &str = "\
_ctypes _ctypes/_ctypes.c _ctypes/callbacks.c _ctypes/callproc.c _ctypes/stgdict.c _ctypes/cfield.c \
-DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC -lffi
_curses _cursesmodule.c -DHAVE_NCURSESW -lncursesw -ltinfo
_curses_panel _curses_panel.c -DHAVE_NCURSESW -lpanelw -lncursesw -ltinfo
readline readline.c -ledit
";

/// `Modules/Setup.local` for a version, from `configure`'s `Setup.stdlib`.
pub(crate) fn local(stdlib: &str, version: Version) -> String {
    let mut text = String::from("*static*\n");
    for line in active(stdlib) {
        let name = line.split_whitespace().next().unwrap_or_default();
        if !LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
            text.push_str(line);
            text.push('\n');
        }
    }
    if version == (3, 11) {
        text.push_str(LINES_3_11);
        // setup.py would try to build what is not mentioned.
        text.push_str("*disabled*\n");
        for (name, _) in LEFT_OUT {
            text.push_str(name);
            text.push('\n');
        }
    }
    text
}

/// `Modules/Setup` without its modules: in some releases a test module is active there.
pub(crate) fn without_modules(setup: &str) -> String {
    let line = |line| {
        let comment = if is_module(line) { "#" } else { "" };
        format!("{comment}{line}\n")
    };
    setup.lines().map(line).collect()
}

/// The lines that name a module to build in.
fn active(setup: &str) -> impl Iterator<Item = &str> {
    // `configure` writes what must be shared behind a `*shared*` line: test modules only.
    let mut shared = false;
    setup.lines().filter(move |line| {
        match line.trim() {
            "*shared*" => shared = true,
            "*static*" => shared = false,
            _ => {}
        }
        !shared && is_module(line)
    })
}

/// Whether a line defines a module: no comment, no `*section*`, no `NAME=value`.
fn is_module(line: &str) -> bool {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let name = words.next().unwrap_or_default();
    let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(identifier)
        && words.next().is_some()
        && !line.contains('=')
}

/// A built-in module as a `Setup` line defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    pub name: String,
    /// Object files, relative to the build tree.
    pub objects: Vec<String>,
    /// `-l` names and paths of archives, in link order.
    pub links: Vec<String>,
    /// Whether the line gives flags; one without takes those of `configure`.
    pub has_flags: bool,
}

/// The modules of a `Setup` file.
pub(crate) fn modules(setup: &str) -> Vec<Module> {
    active(setup).map(module).collect()
}

fn module(line: &str) -> Module {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let mut module = Module {
        name: words.next().unwrap_or_default().to_owned(),
        objects: Vec::new(),
        links: Vec::new(),
        has_flags: false,
    };
    for word in words {
        if let Some(source) = word.strip_suffix(".c") {
            module.objects.push(format!("Modules/{source}.o"));
        } else {
            module.has_flags = true;
            module.links.extend(links(word));
        }
    }
    module
}

/// The libraries in linker flags: `-l` names without the `-l`, and archives by their path.
pub(crate) fn links(flags: &str) -> Vec<String> {
    let library = |word: &str| {
        if let Some(name) = word.strip_prefix("-l") {
            return Some(name.to_owned());
        }
        // Not a file of this system: CPython's lines write it with a lower-case extension.
        #[allow(clippy::case_sensitive_file_extension_comparisons)]
        word.ends_with(".a").then(|| word.to_owned())
    };
    flags.split_whitespace().filter_map(library).collect()
}

/// The table of built-in modules in `Modules/config.c`: name to initialisation function, `NULL` for
/// those that the interpreter sets up by itself.
pub(crate) fn inittab(config: &str) -> Result<BTreeMap<String, String>> {
    let table = config
        .split_once("_PyImport_Inittab[]")
        .and_then(|(_, rest)| rest.split_once('{'))
        .map(|(_, table)| table)
        .ok_or_else(|| Fault::new("Modules/config.c", "no table of built-in modules"))?;
    let mut modules = BTreeMap::new();
    for line in table.lines() {
        let Some((name, function)) = line
            .trim()
            .strip_prefix("{\"")
            .and_then(|rest| rest.split_once("\","))
            .map(|(name, rest)| (name, rest.trim().trim_end_matches(['}', ','])))
        else {
            continue;
        };
        modules.insert(name.to_owned(), function.to_owned());
    }
    if modules.is_empty() {
        return Err(Fault::new("Modules/config.c", "the table of built-in modules is empty"));
    }
    Ok(modules)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDLIB: &str = "# comment\n*static*\narray arraymodule.c\n#_off off.c\n\
        _sha2 sha2module.c -I$(srcdir)/Modules/_hacl/include Modules/_hacl/libHacl_Hash_SHA2.a\n\
        _tkinter _tkinter.c tkappinit.c\n_blake2 _blake2/blake2module.c _blake2/blake2b_impl.c\n\
        *shared*\n_testmultiphase _testmultiphase.c\n";

    #[test]
    fn the_local_setup_is_static_and_less_what_is_left_out() {
        let local = local(STDLIB, (3, 13));
        assert!(local.starts_with("*static*\narray arraymodule.c\n_sha2 "));
        assert!(!local.contains("_tkinter") && !local.contains("_testmultiphase"));
        assert!(!local.contains("_ctypes"));
    }

    #[test]
    fn python_3_11_gets_the_lines_it_lacks() {
        let local = local(STDLIB, (3, 11));
        let names: Vec<_> = modules(&local).into_iter().map(|module| module.name).collect();
        for name in ["_ctypes", "_curses", "_curses_panel", "readline"] {
            assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        }
        assert!(local.contains("*disabled*\n_tkinter\n"));
        // A line with a `=` would be taken for a variable of make.
        assert!(!local.contains('='));
    }

    #[test]
    fn a_line_names_objects_and_libraries() {
        let modules = modules(STDLIB);
        assert_eq!(modules[0].objects, ["Modules/arraymodule.o"]);
        assert!(!modules[0].has_flags);
        assert_eq!(modules[1].links, ["Modules/_hacl/libHacl_Hash_SHA2.a"]);
        assert_eq!(
            modules[3].objects,
            ["Modules/_blake2/blake2module.o", "Modules/_blake2/blake2b_impl.o"]
        );
        assert_eq!(
            links("-lm  Modules/expat/libexpat.a -pthread"),
            ["m", "Modules/expat/libexpat.a"]
        );
    }

    #[test]
    fn test_modules_of_the_general_setup_are_switched_off() {
        let setup = "DESTPATH=\nPYTHONPATH=$(COREPYTHONPATH)\nxxsubtype xxsubtype.c  # for tests\n";
        let expected =
            "DESTPATH=\nPYTHONPATH=$(COREPYTHONPATH)\n#xxsubtype xxsubtype.c  # for tests\n";
        assert_eq!(without_modules(setup), expected);
    }

    #[test]
    fn the_table_of_built_in_modules_is_read() {
        let config = "extern PyObject* PyInit_gc(void);\nstruct _inittab _PyImport_Inittab[] = {\n\n\
                      {\"array\", PyInit_array},\n    {\"builtins\", NULL},\n/* {x} */\n{0, 0}\n};";
        let table = inittab(config).unwrap();
        assert_eq!(table["array"], "PyInit_array");
        assert_eq!(table["builtins"], "NULL");
        assert_eq!(table.len(), 2);
        assert!(inittab("int main(void)").is_err());
    }
}
