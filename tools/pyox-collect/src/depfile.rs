//! What a manifest was made of, for Make: a rule without commands, as compilers write it with `-MD`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use pyox_schema::{Manifest, Origin};

/// The rule for a manifest in a file: it depends on the application's files and its packages' folders, where files may
/// come, and on `others`. Each of them is a target too, so that one that has gone is no error but a reason to collect again.
#[must_use]
pub fn depfile(manifest: &Manifest, output: &Path, others: &[&Path]) -> String {
    let mut needed: BTreeSet<&Path> = others.iter().copied().collect();
    for resource in &manifest.resources {
        if let Some(payload) = &resource.payload
            && resource.origin == Origin::Application
        {
            needed.insert(&payload.path);
            // The folder of a script is not looked through, that of a package is.
            let location = resource.location.as_deref().unwrap_or_default();
            if location.matches('/').count() > 1 {
                needed.extend(payload.path.parent());
            }
        }
    }
    let mut text = format!("{}:", escaped(output));
    for path in &needed {
        // Writing to a string cannot fail.
        let _ = write!(text, " \\\n  {}", escaped(path));
    }
    text.push('\n');
    for path in &needed {
        let _ = writeln!(text, "{}:", escaped(path));
    }
    text
}

/// A path as Make reads it.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for letter in path.display().to_string().chars() {
        match letter {
            ' ' | '#' | '\\' | ':' => text.extend(['\\', letter]),
            '$' => text.push_str("$$"),
            _ => text.push(letter),
        }
    }
    text
}
