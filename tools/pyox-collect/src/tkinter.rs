//! tkinter, which brings Tcl, Tk and X11 along: it is taken if something that is collected imports it.
//!
//! Few applications have windows, and these libraries are a fifth of a small executable. A source that contains the word
//! counts, so only names that a program puts together are missed.

use pyox_schema::{Excluded, ResourceKind};

use crate::candidate::{Candidate, Found, Layer};
use crate::entry::Wanted;
use crate::exclusions::Exclusions;
use crate::known::Facts;
use crate::stdlib::PROJECT;

/// What it is made of, and what stands on it.
const MODULES: [&str; 3] = ["tkinter", "_tkinter", "turtle"];

/// Whether a source may import it.
pub(crate) fn is_named_in(source: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(source) else { return true };
    let imports_turtle = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("import ").or(line.strip_prefix("from "));
        rest.is_some_and(|rest| rest.trim_start().starts_with("turtle"))
    };
    text.contains("tkinter") || text.contains("turtle") && text.lines().any(imports_turtle)
}

/// Leaves it out where nothing imports it. `reads` has the facts of each candidate.
pub(crate) fn leave_out(
    found: &mut Found,
    reads: &mut Vec<Option<Facts>>,
    exclusions: &Exclusions,
    wanted: &Wanted,
) {
    let names_it = |(candidate, facts): (&Candidate, &Option<Facts>)| {
        let source = facts.as_ref().and_then(|facts| facts.source.as_ref());
        candidate.layer != Layer::Stdlib && source.is_some_and(|source| source.tkinter)
    };
    let is_imported = found.candidates.iter().zip(reads.iter()).any(names_it);
    let runs_it = runs_it(found, wanted);
    // IDLE and the demonstrations stand on it as well.
    let is_included =
        MODULES.iter().chain(&["idlelib", "turtledemo"]).any(|name| exclusions.includes(name));
    if is_imported || runs_it || is_included {
        return;
    }
    let is_part = |candidate: &Candidate| {
        let top = candidate.resource.name.split(['.', '/']).next().unwrap_or_default();
        matches!(candidate.layer, Layer::Stdlib | Layer::Builtin) && MODULES.contains(&top)
    };
    let mut keep = found
        .candidates
        .iter()
        .map(|candidate| !is_part(candidate))
        .collect::<Vec<_>>()
        .into_iter();
    reads.retain(|_| keep.next().unwrap_or(true));
    for name in MODULES {
        let is_it = |candidate: &&Candidate| is_part(candidate) && candidate.resource.name == name;
        if let Some(candidate) = found.candidates.iter().find(is_it) {
            let is_package = candidate.resource.kind == ResourceKind::Package;
            let below = if is_package { ".*" } else { "" };
            found.excluded.push(Excluded {
                name: format!("{name}{below}"),
                project: PROJECT.to_owned(),
                reason: format!("nothing that is collected imports it; --include {name} takes it"),
            });
        }
    }
    found.candidates.retain(|candidate| !is_part(candidate));
}

/// Whether what runs is it, or may want it.
fn runs_it(found: &Found, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Code(text) | Wanted::Module(text) | Wanted::EntryPoint(text) => {
            is_named_in(text.as_bytes()) || text.starts_with("turtle")
        }
        // Whoever types may import anything.
        Wanted::Repl => true,
        Wanted::Default => {
            let is_own = |candidate: &Candidate| {
                matches!(candidate.layer, Layer::Application(_) | Layer::Projects)
            };
            !found.candidates.iter().any(is_own)
        }
        Wanted::Script(_) => false,
        Wanted::OneOf(programs) => programs.values().any(|program| runs_it(found, program)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_named_in;

    #[test]
    fn imports_are_seen() {
        for source in [
            "import tkinter as tk",
            "from tkinter import ttk",
            "x = __import__('tkinter')",
            "if x:\n    import turtle\n",
            "from turtle import *",
        ] {
            assert!(is_named_in(source.as_bytes()), "{source}");
        }
        for source in ["", "import json", "# a turtle is slow\nprint('turtle')"] {
            assert!(!is_named_in(source.as_bytes()), "{source}");
        }
    }
}
