//! Code that hands a path computed from `__file__` to another program.
//!
//! All code of the process can open paths in the executable, but another program cannot. This finds such calls and
//! reports them. Only running the application shows whether the path is a packed one, and whether the code runs at all. It
//! reads lines and follows names within one file, so it misses more than it finds wrongly. Costs a search for two
//! words in each source, once for each version of it.

use std::collections::{BTreeMap, BTreeSet};

use pyox_schema::ResourceKind;
use pyox_stage::Reporter;

use crate::candidate::{Candidate, Layer};
use crate::known::Facts;

/// What takes a path out of the process.
const CALLS: &[&str] = &[
    "subprocess.run(",
    "subprocess.call(",
    "subprocess.check_call(",
    "subprocess.check_output(",
    "Popen(",
    "create_subprocess_exec(",
    "os.system(",
    "os.popen(",
    "os.posix_spawn(",
    "os.execv(",
    "os.execve(",
    "os.execvp(",
    "os.execvpe(",
    "os.execl(",
    "os.execlp(",
    "os.spawnv(",
];

/// The names that paths begin with.
const PATHS: [&str; 2] = ["__file__", "__path__"];
/// How many lines a call may have.
const LINES: usize = 12;
/// How many packages are told.
const SHOWN: usize = 4;

/// The line of the first such call in a source.
pub(crate) fn scan(source: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(source).ok()?;
    if !PATHS.iter().any(|name| text.contains(name)) {
        return None;
    }
    let lines: Vec<&str> = text.lines().map(code).collect();
    let mut paths: BTreeSet<&str> = PATHS.into();
    // Twice: a function may stand below its use.
    for _ in 0..2 {
        let mut function = None;
        for line in &lines {
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix("def ") {
                function = words(rest).next();
            } else if let Some(value) = line.strip_prefix("return ") {
                if mentions(value, &paths) {
                    paths.extend(function);
                }
            } else if let Some((name, value)) = assignment(line)
                && mentions(value, &paths)
            {
                paths.insert(name);
            }
        }
    }
    let call = |number: usize, line: &str| {
        let begin = CALLS.iter().filter_map(|call| Some(line.find(call)? + call.len())).min()?;
        let arguments = arguments(&line[begin..], &lines[number + 1..]);
        // Another interpreter opens scripts as this one does.
        let found = mentions(&arguments, &paths) && !arguments.contains("sys.executable");
        found.then_some(number)
    };
    let number = lines.iter().enumerate().find_map(|(number, line)| call(number, line))?;
    u32::try_from(number + 1).ok()
}

/// Tells of the packages with such calls that nobody has given a placement.
pub(crate) fn report<'a>(
    candidates: &[Candidate],
    reads: &[Option<Facts>],
    spoken: impl Fn(&str) -> bool + 'a,
    ui: &dyn Reporter,
) {
    let script = candidates.iter().find(|candidate| candidate.resource.name == "__main__");
    let is_script = |candidate: &Candidate| script.is_some_and(|main| main.path == candidate.path);
    let mut packages: BTreeMap<&str, String> = BTreeMap::new();
    for (candidate, facts) in candidates.iter().zip(reads) {
        let Some(line) = facts.as_ref().and_then(|facts| facts.source.as_ref()?.outside) else {
            continue;
        };
        let name = &candidate.resource.name;
        let is_test = |part: &str| matches!(part, "test" | "tests" | "testing" | "conftest");
        if !concerns(candidate)
            // The script itself is in no package.
            || name == "__main__"
            || is_script(candidate)
            || spoken(name)
            || name.split('.').any(is_test)
        {
            continue;
        }
        let package = name.split('.').next().unwrap_or(name);
        let location = candidate.resource.location.as_deref().unwrap_or(name);
        packages.entry(package).or_insert_with(|| format!("{location}:{line}"));
    }
    for (package, place) in packages.iter().take(SHOWN) {
        ui.note(format_args!(
            "{package} gives paths to other programs ({place}); if it does not find its files: \
             --placement {package}=cache"
        ));
    }
    if packages.len() > SHOWN {
        let more: Vec<_> = packages.keys().skip(SHOWN).copied().collect();
        ui.note(format_args!("so do {}", more.join(", ")));
    }
}

/// Whether a candidate's source is looked at: the standard library is known to run from memory.
pub(crate) fn concerns(candidate: &Candidate) -> bool {
    matches!(candidate.layer, Layer::Application(_) | Layer::Projects)
        && matches!(candidate.resource.kind, ResourceKind::Module | ResourceKind::Package)
}

/// A line without its comment, as long as no quote is before that.
fn code(line: &str) -> &str {
    match line.split_once('#') {
        Some((code, _)) if !code.contains(['"', '\'']) => code,
        _ => line,
    }
}

/// `name = value`
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.split(':').next().unwrap_or(name).trim();
    let is_name = !name.is_empty() && words(name).next() == Some(name);
    (is_name && !value.starts_with('=')).then_some((name, value))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter != '_' && !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

fn mentions(text: &str, names: &BTreeSet<&str>) -> bool {
    words(text).any(|word| names.contains(word))
}

/// The text from behind an opening parenthesis to its closing one.
fn arguments(first: &str, rest: &[&str]) -> String {
    let (mut text, mut depth) = (String::new(), 1);
    for line in std::iter::once(&first).chain(rest).take(LINES) {
        for letter in line.chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return text;
            }
            text.push(letter);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::scan;

    fn line(source: &str) -> Option<u32> {
        scan(source.as_bytes())
    }

    #[test]
    fn a_path_is_followed_through_names_and_functions() {
        assert_eq!(line("import subprocess\nsubprocess.run([__file__])\n"), Some(2));
        assert_eq!(
            line(
                "HERE = Path(__file__).parent\nTOOL = HERE / 'tool'\nPopen(\n    [TOOL, 'x']\n)\n"
            ),
            Some(3)
        );
        assert_eq!(
            line("def main():\n    os.execv(tool(), [])\n\ndef tool():\n    return f(__file__)\n"),
            Some(2)
        );
    }

    #[test]
    fn what_python_opens_is_no_suspect() {
        for source in [
            "open(os.path.join(os.path.dirname(__file__), 'data'))\n",
            "sys.path.insert(0, os.path.dirname(__file__))\n",
            "HERE = __file__\nsubprocess.run(['ls'])\n",
            "subprocess.run([sys.executable, __file__])\n",
            "x = 1  # subprocess.run(__file__)\n",
            "if __file__ == x:\n    Popen(x)\n",
            "subprocess.run(['git'], cwd='.')\nprint(__file__)\n",
        ] {
            assert_eq!(line(source), None, "{source}");
        }
    }
}
