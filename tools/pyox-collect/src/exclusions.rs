//! What is left out: the standard library's parts that few applications run, as a table with
//! reasons, and what the user names.
//!
//! Wheels are taken whole: what they read at run time cannot be told from their sources. The table
//! is for the standard library alone, and every line of it can be undone by `--include`.

use std::cell::Cell;
use std::collections::BTreeMap;

use pyox_schema::Excluded;
use pyox_schema::name::is_identifier;
use pyox_stage::{Fault, Result};

use crate::candidate::{Candidate, Found};

/// A part of the standard library that is left out by default.
struct Rule {
    /// The path of a file or folder without the suffix; `*` stands for any rest of the last part,
    /// and a leading `**/` for any folders before it.
    path: &'static str,
    /// Why it is left out.
    reason: &'static str,
}

const TESTS: &str = "tests of the standard library";
const API_TESTS: &str = "an extension module that only CPython's own tests use";
const EXAMPLE: &str = "an example of an extension module in CPython's sources";
const INSTALLER: &str = "installs pip, which a packaged application has no use for";

const STDLIB: &[Rule] = &[
    Rule { path: "test", reason: TESTS },
    Rule { path: "**/test", reason: TESTS },
    Rule { path: "**/tests", reason: TESTS },
    Rule { path: "idlelib", reason: "IDLE, an editor" },
    Rule { path: "ensurepip", reason: INSTALLER },
    Rule { path: "turtledemo", reason: "demonstrations of turtle" },
    Rule { path: "sitecustomize", reason: "belongs to the machine, not to the standard library" },
    Rule { path: "usercustomize", reason: "belongs to the machine, not to the standard library" },
    Rule { path: "EXTERNALLY-MANAGED", reason: "says who manages the machine's own packages" },
    Rule { path: "config-*", reason: "for building extension modules and linking libpython" },
    Rule { path: "lib-dynload/_test*", reason: API_TESTS },
    Rule { path: "lib-dynload/_ctypes_test", reason: API_TESTS },
    Rule { path: "lib-dynload/_xxtestfuzz", reason: API_TESTS },
    Rule { path: "lib-dynload/xxlimited*", reason: EXAMPLE },
    Rule { path: "lib-dynload/xxsubtype", reason: EXAMPLE },
];

/// What the options and the table say.
#[derive(Debug)]
pub(crate) struct Exclusions {
    includes: Vec<Name>,
    excludes: Vec<Name>,
}

/// A name on the command line.
#[derive(Debug)]
struct Name {
    text: String,
    /// Whether anything had that name.
    used: Cell<bool>,
}

/// What becomes of a path of the standard library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken.
    Take,
    /// It is left out, for that reason.
    Leave(String),
    /// It is a package around something that `--include` names: its `__init__` is taken.
    Enter(String),
}

impl Exclusions {
    /// From the values of `--include` and `--exclude`.
    pub(crate) fn new(includes: &[String], excludes: &[String]) -> Self {
        let names = |names: &[String]| {
            names.iter().map(|text| Name { text: text.clone(), used: Cell::new(false) }).collect()
        };
        Self { includes: names(includes), excludes: names(excludes) }
    }

    /// What becomes of a file or folder of the standard library. `path` has no suffix;
    /// `test_packages` are the dotted names that the distribution gives.
    pub(crate) fn stdlib(&self, path: &str, test_packages: &[String]) -> Verdict {
        let dotted = path.strip_prefix("lib-dynload/").unwrap_or(path).replace('/', ".");
        let reason =
            STDLIB.iter().find(|rule| is_covered(path, rule.path)).map(|rule| rule.reason).or_else(
                || test_packages.iter().any(|name| is_at_or_below(&dotted, name)).then_some(TESTS),
            );
        let Some(reason) = reason else { return Verdict::Take };
        let mut enter = false;
        for include in &self.includes {
            let wanted = include.text.trim_end_matches(".*").trim_end_matches('/');
            if is_at_or_below(&dotted, wanted) || path == wanted {
                include.used.set(true);
                return Verdict::Take;
            }
            enter |= is_at_or_below(wanted, &dotted);
        }
        // `config-3.13/` and the like are no names for `--include` to shorten.
        let top = dotted.split('.').next().unwrap_or_default();
        let wanted = if is_identifier(top) { &dotted } else { path };
        let reason = format!("{reason}; --include {wanted} takes it");
        if enter { Verdict::Enter(reason) } else { Verdict::Leave(reason) }
    }

    /// Whether `--include` names something, or a part of it.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.includes.iter().any(|include| is_at_or_below(&include.text, name))
    }

    /// Takes out what `--exclude` names.
    pub(crate) fn apply(&self, found: &mut Found) {
        let mut left: BTreeMap<&str, Excluded> = BTreeMap::new();
        found.candidates.retain(|candidate| {
            let Some(name) = self.excludes.iter().find(|name| is_named(candidate, &name.text))
            else {
                return true;
            };
            name.used.set(true);
            let entry = left.entry(&name.text).or_insert_with(|| Excluded {
                name: name.text.clone(),
                project: candidate.resource.project.clone(),
                reason: format!("left out by --exclude {}", name.text),
            });
            let below = candidate.resource.name != name.text;
            if below && !entry.name.ends_with(['/', '*']) {
                entry.name.push_str(".*");
            }
            false
        });
        found.excluded.extend(left.into_values());
    }

    /// Whether `--exclude` names a shared library of the system.
    pub(crate) fn leaves_library(&self, soname: &str) -> bool {
        let name = self.excludes.iter().find(|name| name.text == soname);
        name.is_some_and(|name| {
            name.used.set(true);
            true
        })
    }

    /// Refuses names in `--exclude` that nothing had: they are misspelt, or meant for another distribution.
    pub(crate) fn check_excludes(&self) -> Result<()> {
        match self.excludes.iter().find(|name| !name.used.get()) {
            Some(name) => Err(Fault::new(
                format_args!("--exclude {}", name.text),
                "expected the name of something that is taken, found nothing that has it",
            )
            .hint("a dotted name, a path that ends in `/`, or a library's SONAME is wanted")),
            None => Ok(()),
        }
    }

    /// The same for `--include`.
    pub(crate) fn check_includes(&self, found: &Found) -> Result<()> {
        let taken = |text: &str| found.candidates.iter().any(|candidate| is_named(candidate, text));
        match self.includes.iter().find(|name| !name.used.get() && !taken(&name.text)) {
            Some(name) => Err(Fault::new(
                format_args!("--include {}", name.text),
                "expected the name of something that is left out, found nothing that has it",
            )
            .hint("`excluded` in the manifest lists what is left out")),
            None => Ok(()),
        }
    }
}

/// Whether a name on the command line means a candidate.
fn is_named(candidate: &Candidate, name: &str) -> bool {
    let resource = &candidate.resource;
    if name.contains('/') {
        let location = resource.location.as_deref().unwrap_or_default();
        return location == name || name.ends_with('/') && location.starts_with(name);
    }
    let name = name.trim_end_matches(".*");
    if candidate.is_importable() {
        return is_at_or_below(&resource.name, name);
    }
    // Data belongs to the package around it.
    let folder = name.replace('.', "/");
    let rest = resource.name.strip_prefix(folder.as_str());
    is_identifier(name.split('.').next().unwrap_or_default())
        && rest.is_some_and(|rest| rest.starts_with('/'))
        || resource.name == name
}

/// Whether a dotted name is another, or below it.
fn is_at_or_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a rule's path means a path, or a folder around it.
fn is_covered(path: &str, rule: &str) -> bool {
    if let Some(part) = rule.strip_prefix("**/") {
        return path.split('/').any(|other| other == part);
    }
    let (mut parts, mut rules) = (path.split('/'), rule.split('/'));
    rules.all(|rule| match (rule.strip_suffix('*'), parts.next()) {
        (Some(start), Some(part)) => part.starts_with(start),
        (None, part) => part == Some(rule),
        (Some(_), None) => false,
    }) && rule.split('/').count() <= path.split('/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(includes: &[&str], path: &str) -> Verdict {
        let includes: Vec<_> = includes.iter().map(|&name| name.to_owned()).collect();
        Exclusions::new(&includes, &[]).stdlib(path, &["distutils.checks".to_owned()])
    }

    #[test]
    fn the_table_covers_what_it_names_and_all_below() {
        for path in [
            "test",
            "test/support",
            "unittest/test/x",
            "idlelib/help",
            "config-3.13-x86_64",
            "lib-dynload/_testcapi",
            "lib-dynload/xxlimited_35",
            "distutils/checks/a",
        ] {
            assert!(matches!(verdict(&[], path), Verdict::Leave(_)), "{path}");
        }
        for path in ["testing", "unittest", "lib-dynload/_ssl", "configparser", "doctest"] {
            assert_eq!(verdict(&[], path), Verdict::Take, "{path}");
        }
    }

    #[test]
    fn an_include_takes_what_it_names_and_enters_what_is_around() {
        assert_eq!(verdict(&["test"], "test/support/os_helper"), Verdict::Take);
        assert_eq!(verdict(&["test.support"], "test/support"), Verdict::Take);
        assert!(matches!(verdict(&["test.support"], "test"), Verdict::Enter(_)));
        assert!(matches!(verdict(&["test.support"], "test/regrtest"), Verdict::Leave(_)));
        assert_eq!(verdict(&["_testcapi"], "lib-dynload/_testcapi"), Verdict::Take);
        assert!(matches!(verdict(&["_test"], "lib-dynload/_testcapi"), Verdict::Leave(_)));
    }

    #[test]
    fn the_reason_names_the_option_that_undoes_it() {
        let Verdict::Leave(reason) = verdict(&[], "idlelib") else { panic!("it is taken") };
        assert!(reason.ends_with("; --include idlelib takes it"), "{reason}");
    }
}
