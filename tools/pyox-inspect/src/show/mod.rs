//! How the program shows answers: tables and trees for people. JSON is the values themselves.

mod diff;
mod portability;
mod summary;
mod text;

use pyox_cli::size;
use pyox_inspect::{By, Contents, Facts, Kind, Node, Sum, Verdict};
use serde_json::Value;

use text::{Align, Table, shown};

pub(crate) use diff::difference;
pub(crate) use portability::portability;
pub(crate) use summary::summary;

/// All resources, one for each line.
pub(crate) fn list(contents: &Contents<'_>) -> String {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left, Align::Left]);
    for resource in &contents.resources {
        table.row([
            resource.kind.name().into(),
            resource.room().to_string().into(),
            shown(&resource.project),
            shown(&resource.name),
        ]);
    }
    table.text("")
}

/// Resources added up, with a total; `bytes` shows exact numbers.
pub(crate) fn sums(sums: &[Sum], by: By, bytes: bool) -> String {
    let show = |number: u64| if bytes { number.to_string() } else { size(number) };
    let total = |of: fn(&Sum) -> u64| sums.iter().map(of).sum::<u64>();
    let all = Sum {
        name: "total".to_owned(),
        resources: sums.iter().map(|sum| sum.resources).sum(),
        size: total(|sum| sum.size),
        code: total(|sum| sum.code),
        files: total(|sum| sum.files),
    };
    let mut table =
        Table::new(&[Align::Right, Align::Right, Align::Right, Align::Right, Align::Left]);
    let heading = match by {
        By::Project => "PROJECT",
        By::Kind => "KIND",
        By::Package => "PACKAGE",
    };
    table.row(["SIZE".into(), "CODE".into(), "FILES".into(), "COUNT".into(), heading.into()]);
    for sum in sums.iter().chain([&all]) {
        table.row([
            show(sum.size).into(),
            show(sum.code).into(),
            show(sum.files).into(),
            sum.resources.to_string().into(),
            shown(&sum.name),
        ]);
    }
    table.text("")
}

/// Folders and files, below the name of the input.
pub(crate) fn tree(root: &Node, name: &str) -> String {
    let mut table = Table::new(&[Align::Right, Align::Left]);
    branch(root, name, "", "", &mut table);
    table.text("")
}

fn branch(node: &Node, name: &str, lead: &str, below: &str, table: &mut Table) {
    let mark = match node.kind {
        None if lead.is_empty() => String::new(),
        None => "/".to_owned(),
        Some(kind @ (Kind::BuiltIn | Kind::SystemLibrary)) => format!("  ({})", kind.name()),
        Some(_) => String::new(),
    };
    let line = format!("{lead}{}{mark}", shown(name));
    table.row([size(node.size).into(), line.into()]);
    let last = node.children.len().saturating_sub(1);
    for (number, (name, child)) in node.children.iter().enumerate() {
        let (end, rest) =
            if number == last { ("└── ", "    ") } else { ("├── ", "│   ") };
        branch(child, name, &format!("{below}{end}"), &format!("{below}{rest}"), table);
    }
}

/// Keys and values.
pub(crate) fn facts(facts: &Facts) -> String {
    let mut table = Table::new(&[Align::Left, Align::Left]);
    for (key, value) in facts {
        table.row([shown(key), plain(value).into()]);
    }
    table.text("")
}

/// What is damaged, or that nothing is.
pub(crate) fn verdict(verdict: &Verdict, name: &str) -> String {
    let name = shown(name);
    if verdict.ok {
        return format!("{name}: ok: {} checked\n", verdict.checked);
    }
    let lines = verdict.problems.iter().map(|problem| {
        format!("{name}: damaged: {}: {}\n", shown(&problem.name), shown(&problem.problem))
    });
    lines.collect()
}

/// A fact's value as people read it: text without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text).into_owned(),
        Value::Array(items) if items.is_empty() => "(none)".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
