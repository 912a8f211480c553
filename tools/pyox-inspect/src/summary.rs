//! `pyox-inspect FILE`: what it is, what runs, and what is in it, on one screen.

use std::borrow::Cow;
use std::fmt::Write as _;

use pyox_cli::Result;
use pyox_elf::Elf;
use pyox_stage::FaultExt;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::By;
use crate::config::{self, Facts};
use crate::contents::{Contents, Project};
use crate::list::{self, Sum};
use crate::subject::{Input, Subject};
use crate::text::{self, Align, Table, shown};

/// How many projects the text shows before it adds the rest up.
const TOP: usize = 12;

#[derive(Serialize)]
struct Summary<'a> {
    /// What the input is.
    kind: &'static str,
    /// Its length in bytes.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<Shape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobFacts>,
    config: Map<String, Value>,
    kinds: Vec<Sum>,
    /// By size; what a project has no version for is left out.
    projects: Vec<Sum>,
    versions: &'a [Project],
    /// What a manifest says was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    excluded: Option<usize>,
}

/// What an executable needs of the system.
#[derive(Serialize)]
struct Shape {
    /// `static` or `dynamic`.
    mode: &'static str,
    architecture: Option<&'static str>,
    interpreter: Option<String>,
    needed: Vec<String>,
}

#[derive(Serialize)]
struct BlobFacts {
    format: String,
    /// SHA-256 of everything behind its header, as the header states it.
    sha256: String,
    size: u64,
    /// Where it begins in the executable.
    offset: u64,
    /// Whether the executable has section headers that name it.
    section: Option<&'static str>,
    sections: Vec<SectionFacts>,
}

#[derive(Serialize)]
struct SectionFacts {
    name: Cow<'static, str>,
    offset: u64,
    size: u64,
    count: u64,
}

/// The answer without a command.
pub(crate) fn answer(input: &Input, json: bool) -> Result<Vec<u8>> {
    let subject = input.subject()?;
    let contents = Contents::of(input, &subject)?;
    let facts = config::facts(input, &subject)?;
    let summary = Summary {
        kind: subject.kind(),
        size: input.bytes.len() as u64,
        executable: match &subject {
            Subject::Executable(executable) => Some(Shape::of(&executable.elf)),
            _ => None,
        },
        blob: subject.blob().map(|bytes| BlobFacts::of(input, &subject, bytes)).transpose()?,
        config: Map::from_iter(facts.clone()),
        kinds: list::sums(&contents, By::Kind),
        projects: list::sums(&contents, By::Project),
        versions: &contents.projects,
        excluded: match &subject {
            Subject::Manifest(manifest) => Some(manifest.excluded.len()),
            _ => None,
        },
    };
    if json { text::json(&summary) } else { Ok(summary.text(&input.name, &facts).into_bytes()) }
}

impl Shape {
    fn of(elf: &Elf) -> Self {
        Self {
            mode: if elf.interpreter.is_some() { "dynamic" } else { "static" },
            architecture: elf.architecture(),
            interpreter: elf.interpreter.clone(),
            needed: elf.needed.clone(),
        }
    }
}

impl BlobFacts {
    fn of(input: &Input, subject: &Subject<'_>, bytes: &[u8]) -> Result<Self> {
        let blob = input.open(bytes).fault("blob")?;
        let (offset, section) = match subject {
            Subject::Executable(found) => {
                (found.offset, Some(pyox_blob::layout::ELF_SECTION).filter(|_| found.has_section))
            }
            _ => (0, None),
        };
        let sections = blob.sections().map(|entry| SectionFacts {
            name: entry.section.map_or_else(
                || format!("unknown-{}", entry.code).into(),
                |known| known.name().into(),
            ),
            offset: entry.offset,
            size: entry.len,
            count: entry.count,
        });
        let version = pyox_blob::layout::header::MAJOR;
        let header = blob.bytes();
        Ok(Self {
            format: format!(
                "{}.{}",
                u16::from_le_bytes([header[version], header[version + 1]]),
                u16::from_le_bytes([header[version + 2], header[version + 3]])
            ),
            sha256: pyox_schema::Digest(blob.digest()).to_string(),
            size: header.len() as u64,
            offset,
            section,
            sections: sections.collect(),
        })
    }
}

impl Summary<'_> {
    fn text(&self, name: &str, facts: &Facts) -> String {
        let mut out = format!("{}: {}, {}\n", shown(name), self.kind, text::size(self.size));
        let mut table = Table::new(&[Align::Left, Align::Left]);
        for (label, value) in self.lines(facts) {
            table.row([label.into(), value.into()]);
        }
        table.write("  ", &mut out);
        if self.kinds.is_empty() {
            return out;
        }
        out.push('\n');
        sums(&self.kinds, "KIND", |sum| shown(&sum.name), &mut out);
        if self.projects.len() > 1 || !matches!(self.kind, "distribution" | "link-plan") {
            out.push('\n');
            sums(&self.projects, "PROJECT", |sum| self.with_version(&sum.name), &mut out);
        }
        out
    }

    fn with_version<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self.versions.iter().find(|project| project.name == name) {
            Some(Project { version: Some(version), .. }) => {
                format!("{} {}", shown(name), shown(version)).into()
            }
            _ => shown(name),
        }
    }

    /// The head: label and value, in the order in which people ask.
    fn lines(&self, facts: &Facts) -> Vec<(&'static str, String)> {
        let fact = |key: &str| {
            let value = facts.iter().find(|(name, _)| name == key)?;
            Some(config::plain(&value.1)).filter(|text| !text.is_empty())
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
            (if self.kind == "distribution" { "digest" } else { "distribution" }, short)
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
            .filter_map(|(key, at)| Some((key.strip_prefix("placements.")?, config::plain(at))))
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
        if let Some(shape) = &self.executable {
            let needs = match (shape.mode, shape.needed.is_empty()) {
                ("static", true) => "nothing but the kernel".to_owned(),
                _ => shape.needed.join(" "),
            };
            lines.push(("links", format!("{}: needs {needs}", shape.mode)));
        }
        lines.extend(self.blob.iter().map(|blob| ("blob", blob.line())));
        let left_out = self.excluded.filter(|count| *count > 0);
        lines.extend(left_out.map(|count| ("left out", format!("{count} (see `excluded`)"))));
        lines
    }
}

impl BlobFacts {
    fn line(&self) -> String {
        let mut line = format!("format {}, {}", self.format, text::size(self.size));
        if let Some(section) = self.section {
            let _ = write!(line, " in section {section}");
        }
        if self.offset > 0 {
            let _ = write!(line, " at {:#x}", self.offset);
        }
        let _ = write!(line, ", sha256 {}", self.sha256.get(..12).unwrap_or_default());
        line
    }
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
        let size = sum.iter().map(|sum| sum.size).sum();
        table.row([name, count.to_string().into(), text::size(size).into()]);
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
