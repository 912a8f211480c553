//! A summary on one screen.

use std::borrow::Cow;
use std::fmt::Write as _;

use pyox_cli::size;
use pyox_inspect::{BlobFacts, Project, SnapshotFacts, Sum, Summary};

use serde_json::Value;

use super::plain;
use super::text::{Align, Table, shown};

/// How many projects the text shows before it adds the rest up.
const TOP: usize = 12;

/// All of it, on one screen.
pub(crate) fn summary(summary: &Summary, name: &str) -> String {
    let mut out = format!("{}: {}, {}\n", shown(name), summary.kind, size(summary.size));
    let mut table = Table::new(&[Align::Left, Align::Left]);
    for (label, value) in lines(summary) {
        table.row([label.into(), value.into()]);
    }
    table.write("  ", &mut out);
    if summary.kinds.is_empty() {
        return out;
    }
    out.push('\n');
    sums(&summary.kinds, "KIND", |sum| shown(&sum.name), &mut out);
    if summary.projects.len() > 1 || !matches!(summary.kind, "distribution" | "link-plan") {
        out.push('\n');
        sums(&summary.projects, "PROJECT", |sum| with_version(summary, &sum.name), &mut out);
    }
    out
}

fn with_version<'a>(summary: &Summary, name: &'a str) -> Cow<'a, str> {
    match summary.versions.iter().find(|project| project.name == name) {
        Some(Project { version: Some(version), .. }) => {
            format!("{} {}", shown(name), shown(version)).into()
        }
        _ => shown(name),
    }
}

/// The head: label and value, in the order in which people ask.
fn lines(summary: &Summary) -> Vec<(&'static str, String)> {
    let facts = &summary.config;
    let fact = |key: &str| {
        let value = facts.iter().find(|(name, _)| name == key)?;
        Some(plain(&value.1)).filter(|text| !text.is_empty())
    };
    let mut lines = Vec::new();
    let version = fact("python.version").or_else(|| fact("distribution.version"));
    lines.extend(version.or_else(|| fact("python")).map(|text| ("python", text)));
    lines.extend(
        fact("target").or_else(|| fact("distribution.target")).map(|text| ("target", text)),
    );
    lines.extend(fact("source").map(|text| ("source", text)));
    lines.extend(fact("root").map(|text| ("root", text)));
    lines.extend(fact("distribution").map(|text| {
        let short = text.get(..12).unwrap_or(&text).to_owned();
        (if summary.kind == "distribution" { "digest" } else { "distribution" }, short)
    }));
    lines.extend(fact("run.mode").map(|mode| ("runs", runs(&mode, &fact))));
    let interpreter = match fact("interpreter").as_deref() {
        Some("always") => Some("for its own children, and with PYOX_INTERPRETER=1"),
        Some("never") => Some("never, not even for its own children"),
        _ => None,
    };
    lines.extend(interpreter.map(|when| ("interpreter", when.to_owned())));
    let placed: Vec<_> = facts
        .iter()
        .filter_map(|(key, at)| Some((key.strip_prefix("placements.")?, plain(at))))
        .map(|(package, at)| format!("{package} ({at})"))
        .collect();
    if !placed.is_empty() {
        lines.push(("files of", placed.join(", ")));
    }
    let can = ["static", "dynamic"].into_iter();
    let can: Vec<_> =
        can.filter(|mode| fact(&format!("link.{mode}")).as_deref() == Some("true")).collect();
    if !can.is_empty() {
        let why = fact("link.reason").map(|text| format!(" ({text})")).unwrap_or_default();
        lines.push(("links", format!("{}{why}", can.join(", "))));
    }
    lines.extend(
        fact("mode")
            .map(|mode| ("links", format!("{mode} ({})", fact("reason").unwrap_or_default()))),
    );
    lines.extend(fact("stdlib.files").map(|count| ("stdlib", format!("{count} files"))));
    if let Some(shape) = &summary.executable {
        let needs = match (shape.mode, shape.needed.is_empty()) {
            ("static", true) => "nothing but the kernel".to_owned(),
            _ => shape.needed.join(" "),
        };
        let glibc = shape.glibc.iter().map(|version| format!(", glibc {version} or newer"));
        lines
            .push(("links", format!("{}: needs {needs}{}", shape.mode, glibc.collect::<String>())));
    }
    let shape = summary.executable.as_ref();
    lines.extend(shape.and_then(|shape| shape.compressed.as_ref()).map(|found| {
        let (stored, original) = (size(found.size), size(found.original_size));
        let digest = found.sha256.get(..12).unwrap_or_default();
        ("runner", format!("compressed, {stored} of {original}, sha256 {digest}"))
    }));
    if let Some(found) = &summary.snapshot {
        lines.push(("snapshot", snapshot_line(found)));
        lines.extend(guards_of(found).map(|guards| ("guards", guards)));
        lines.extend(not_held(found).into_iter().map(|line| ("not held", line)));
    }
    lines.extend(summary.blob.iter().map(|blob| ("blob", blob_line(blob))));
    let left_out = summary.excluded.filter(|count| *count > 0);
    lines.extend(left_out.map(|count| ("left out", format!("{count} (see `excluded`)"))));
    lines
}

/// What a start-up snapshot holds. All names of modules are in the answer as JSON.
fn snapshot_line(snapshot: &SnapshotFacts) -> String {
    let fact = |name: &str| snapshot.facts.get(name).map(plain).unwrap_or_default();
    let modules = snapshot.facts.get("modules").and_then(Value::as_array).map_or(0, Vec::len);
    format!(
        "{}: {} modules, {} objects, {} hashes, {}",
        fact("level"),
        modules,
        fact("objects"),
        fact("hashes"),
        size(snapshot.size)
    )
}

/// The variables with which an executable does not use its snapshot.
fn guards_of(snapshot: &SnapshotFacts) -> Option<String> {
    let guards = snapshot.facts.get("guards")?.as_array()?;
    let names: Vec<_> = guards.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// The modules that a snapshot does not hold, with the reason, and how many others import each of them.
fn not_held(snapshot: &SnapshotFacts) -> Vec<String> {
    let Some(refused) = snapshot.facts.get("refused").and_then(Value::as_object) else {
        return Vec::new();
    };
    let cause = |why: &Value| {
        let rest = why.as_str()?.strip_prefix("it imports ")?;
        Some(rest.split_once(": ")?.0.to_owned())
    };
    let own = refused.iter().filter(|(_, why)| cause(why).is_none());
    let line = |(name, why): (&String, &Value)| {
        let others = refused.values().filter(|why| cause(why).as_ref() == Some(name)).count();
        let others = if others > 0 { format!(" ({others} more import it)") } else { String::new() };
        format!("{name}: {}{others}", plain(why))
    };
    own.map(line).collect()
}

fn blob_line(blob: &BlobFacts) -> String {
    let mut line = format!("format {}, {}", blob.format, size(blob.size));
    if let Some(section) = blob.section {
        let _ = write!(line, " in section {section}");
    }
    if blob.offset > 0 {
        let _ = write!(line, " at {:#x}", blob.offset);
    }
    let _ = write!(line, ", sha256 {}", blob.sha256.get(..12).unwrap_or_default());
    line
}

fn runs(mode: &str, fact: &dyn Fn(&str) -> Option<String>) -> String {
    let module = fact("run.module").unwrap_or_default();
    match mode {
        "module" => format!("module {module}"),
        "entry-point" => format!("{module}:{}", fact("run.function").unwrap_or_default()),
        "code" => {
            let code = fact("run.code").unwrap_or_default();
            let short: String = code.chars().take(60).collect();
            format!("code {short}{}", if short.len() < code.len() { "…" } else { "" })
        }
        "script" => "a script, as __main__".to_owned(),
        _ => "the interactive interpreter".to_owned(),
    }
}

fn sums<'a>(
    all: &'a [Sum],
    heading: &'static str,
    name: impl Fn(&'a Sum) -> Cow<'a, str>,
    out: &mut String,
) {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right]);
    table.row([heading.into(), "COUNT".into(), "SIZE".into()]);
    let mut row = |name: Cow<'_, str>, sum: &[Sum]| {
        let count: usize = sum.iter().map(|sum| sum.resources).sum();
        let bytes = sum.iter().map(|sum| sum.size).sum();
        table.row([name, count.to_string().into(), size(bytes).into()]);
    };
    let shown = if all.len() > TOP { TOP - 1 } else { all.len() };
    for sum in &all[..shown] {
        row(name(sum), std::slice::from_ref(sum));
    }
    let rest = &all[shown..];
    if !rest.is_empty() {
        row(format!("{} more", rest.len()).into(), rest);
    }
    if all.len() > 1 {
        row("total".into(), all);
    }
    table.write("  ", out);
}
