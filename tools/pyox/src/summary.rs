//! What is said at the end of a build.

use std::fmt::Write as _;
use std::path::Path;

use pyox::Built;
use pyox_cli::size;
use pyox_schema::LinkMode;

/// How many projects are named.
const NAMED: usize = 4;

/// What was made, how large it is and by what, what it needs, and how to run it: some lines.
pub(crate) fn summary(built: &Built) -> String {
    let path = shown(&built.path);
    let needs = match built.mode {
        LinkMode::Static => "static: needs nothing but the kernel".to_owned(),
        shape => match &built.glibc {
            Some(version) => format!("{}: needs glibc {version} or newer", shape.name()),
            None => format!("{}: needs the C library", shape.name()),
        },
    };
    let mut text = format!("{path}: {}, Python {}, {needs}\n", size(built.size), built.python);
    let largest = built.projects.iter().take(NAMED).filter(|(_, bytes)| *bytes >= 1024);
    let largest = largest.map(|(name, bytes)| format!("{name} {}", size(*bytes)));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  largest  {}", largest.collect::<Vec<_>>().join(", "));
    if !built.programs.is_empty() {
        let _ = writeln!(text, "  programs {}", built.programs.join(", "));
    }
    let _ =
        write!(text, "  run it   {}", if path.contains('/') { path } else { format!("./{path}") });
    text
}

/// A path relative to the working folder, where it lies in it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
