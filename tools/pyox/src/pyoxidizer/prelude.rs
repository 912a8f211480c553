//! Statements that run before the program, for what no field of `PyConfig` does.

use std::fmt::Write as _;

use pyox_collect::Wanted;

/// What they do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prelude {
    /// `sys.frozen` is true.
    pub(super) is_frozen: bool,
    /// `sys._MEIPASS` is the executable's folder.
    pub(super) has_meipass: bool,
    /// Folders that `sys.path` ends with, in which `$ORIGIN` is the executable's folder.
    pub(super) paths: Vec<String>,
    /// The folders of terminfo databases.
    pub(super) terminfo: Option<String>,
}

const ORIGIN: &str = "__import__('os').path.dirname(__import__('sys').executable)";

/// Where `sys.frozen` is true, multiprocessing starts its children by this word.
const CHILD: &str = "__import__('sys').argv[1:2] == ['--multiprocessing-fork'] and __import__('multiprocessing.spawn').spawn.freeze_support()";

impl Prelude {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line, which leaves no names behind.
    fn line(&self) -> String {
        let mut line = String::new();
        // Writing to a string cannot fail.
        if self.is_frozen {
            line.push_str("__import__('sys').frozen = True; ");
        }
        if self.has_meipass {
            let _ = write!(line, "__import__('sys')._MEIPASS = {ORIGIN}; ");
        }
        for path in &self.paths {
            let path = if path.contains("$ORIGIN") {
                format!("{}.replace('$ORIGIN', {ORIGIN})", text(path))
            } else {
                text(path)
            };
            let _ = write!(line, "__import__('sys').path.append({path}); ");
        }
        if let Some(folders) = &self.terminfo {
            let folders = text(folders);
            let _ = write!(line, "__import__('os').environ['TERMINFO_DIRS'] = {folders}; ");
        }
        if self.is_frozen {
            line.push_str(CHILD);
        }
        line.trim_end_matches([' ', ';']).to_owned()
    }

    /// Code, with them before it.
    pub(super) fn code(&self, code: &str) -> Wanted {
        Wanted::Code(if self.is_empty() {
            code.to_owned()
        } else {
            format!("{}\n{code}", self.line())
        })
    }

    /// A module as `python -m` runs it, with them before it.
    pub(super) fn module(&self, module: &str) -> Wanted {
        if self.is_empty() {
            return Wanted::Module(module.to_owned());
        }
        self.code(&format!("__import__('runpy')._run_module_as_main({})", text(module)))
    }
}

/// A text as Python writes it; of what JSON escapes, Python reads all in the same way.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_leaves_no_trace() {
        let none = Prelude::default();
        assert_eq!(none.code("x = 1"), Wanted::Code("x = 1".to_owned()));
        assert_eq!(none.module("m"), Wanted::Module("m".to_owned()));
    }

    #[test]
    fn it_is_one_line_before_the_program() {
        let prelude = Prelude { is_frozen: true, paths: vec!["a\"b".into()], ..Prelude::default() };
        let Wanted::Code(code) = prelude.code("x = 1") else { panic!("it is code") };
        let (line, rest) = code.split_once('\n').unwrap();
        assert!(line.starts_with("__import__('sys').frozen = True; "));
        assert!(line.contains("; __import__('sys').path.append(\"a\\\"b\"); "));
        assert!(line.ends_with(CHILD));
        assert_eq!(rest, "x = 1");
    }
}
