//! The names that a source imports, as its text says them.
//!
//! It reads statements line by line and knows nothing else of the language. What a program puts together while it
//! runs is missed, so no decision that an application could see may stand on this. Costs one pass over the text.

use serde::{Deserialize, Serialize};

/// The names in a source's import statements, sorted, each once. A leading dot is one of a relative import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Imports {
    /// Those that run when the module is imported.
    pub(crate) at_once: Vec<String>,
    /// Those in functions.
    pub(crate) later: Vec<String>,
}

impl Imports {
    /// Those of a source. What is not UTF-8 imports nothing.
    pub(crate) fn of(source: &[u8]) -> Self {
        let mut imports = Self::default();
        let Ok(text) = std::str::from_utf8(source) else { return imports };
        // The indentation of the function that the line is in.
        let mut function: Option<usize> = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let code = line.trim_start();
            let indentation = line.len() - code.len();
            if code.is_empty() || code.starts_with('#') {
                continue;
            }
            if function.is_some_and(|function| indentation <= function) {
                function = None;
            }
            if function.is_none() && (code.starts_with("def ") || code.starts_with("async def ")) {
                function = Some(indentation);
            }
            let mut statement = without_comment(code).to_owned();
            if code.starts_with("from ") && statement.contains('(') {
                while !statement.contains(')')
                    && let Some(line) = lines.next()
                {
                    statement.push_str(without_comment(line));
                }
            }
            let list = if function.is_some() { &mut imports.later } else { &mut imports.at_once };
            names(&statement, list);
        }
        for list in [&mut imports.at_once, &mut imports.later] {
            list.sort();
            list.dedup();
        }
        imports
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

/// Appends the names of a statement.
fn names(statement: &str, list: &mut Vec<String>) {
    let first_word = |text: &str| -> String {
        text.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '(')
            .chars()
            .take_while(|&letter| letter == '_' || letter == '.' || letter.is_alphanumeric())
            .collect()
    };
    if let Some(rest) = statement.strip_prefix("import ") {
        list.extend(rest.split(',').map(first_word).filter(|name| !name.is_empty()));
    } else if let Some(rest) = statement.strip_prefix("from ")
        && let Some((package, rest)) = rest.split_once(" import")
    {
        let package = first_word(package);
        let separator = if package.ends_with('.') { "" } else { "." };
        // Each may be an attribute or a module.
        list.extend(
            rest.split(',')
                .map(first_word)
                .filter(|name| !name.is_empty())
                .map(|name| format!("{package}{separator}{name}")),
        );
        list.push(package);
    }
}

#[cfg(test)]
mod tests {
    use super::Imports;

    #[test]
    fn statements_are_read() {
        let source = b"import a, b.c as d\nfrom e import f  # g\nfrom . import (h,  # i\n    j)\n\
            class K:\n    import l\n    def m(self):\n        import n\n\n    import o\n\
            async def p():\n    from ..q import r\nimport s\ntext = 'import t'\nfrom u import *\n";
        let imports = Imports::of(source);
        let at_once = [".", ".h", ".j", "a", "b.c", "e", "e.f", "l", "o", "s", "u"];
        assert_eq!(imports.at_once, at_once);
        assert_eq!(imports.later, ["..q", "..q.r", "n"]);
        assert_eq!(Imports::of(b"\xff import a"), Imports::default());
        assert_eq!(Imports::of(b"from\nimport\nfrom a\nimport ("), Imports::default());
    }
}
