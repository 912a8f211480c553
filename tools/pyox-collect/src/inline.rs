//! Inline script metadata (PEP 723): what a script says about itself in a comment.
//!
//! The block is TOML behind `# `, between `# /// script` and `# ///`. Of `[tool.uv]` the index settings count that pip has
//! the same; `[tool.pyox]` is for the driver.

use std::path::Path;

use pyox_schema::specifiers;
use pyox_stage::{Fault, FaultExt, Result, files, position};
use serde::Deserialize;

/// What a script says about itself.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The Python versions that it runs on, as `>=3.12`.
    pub requires_python: Option<String>,
    /// The projects that it needs, as pip understands them.
    pub dependencies: Vec<String>,
    /// Where they come from.
    pub indexes: Indexes,
    /// `[tool.pyox]`.
    pub pyox: Option<toml::Table>,
}

/// Where pip finds projects, beside what its own configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes {
    /// In place of the usual index.
    pub index: Option<String>,
    /// Further indexes.
    pub extra: Vec<String>,
    /// Pages and folders with archives.
    pub find_links: Vec<String>,
    /// Whether indexes are left out.
    pub no_index: bool,
}

impl Indexes {
    /// These, or where they say nothing, others.
    pub(crate) fn or(self, others: Self) -> Self {
        if self == Self::default() { others } else { self }
    }

    /// pip's options for them.
    pub(crate) fn options(&self) -> Vec<String> {
        let pair = |name: &str, value: &String| [name.to_owned(), value.clone()];
        let mut options: Vec<String> = Vec::new();
        options.extend(self.index.iter().flat_map(|url| pair("--index-url", url)));
        options.extend(self.extra.iter().flat_map(|url| pair("--extra-index-url", url)));
        options.extend(self.find_links.iter().flat_map(|place| pair("--find-links", place)));
        options.extend(self.no_index.then(|| "--no-index".to_owned()));
        options
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Block {
    requires_python: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    tool: Tools,
}

#[derive(Deserialize, Default)]
struct Tools {
    #[serde(default)]
    uv: Uv,
    pyox: Option<toml::Table>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Uv {
    index_url: Option<String>,
    extra_index_url: Vec<String>,
    find_links: Vec<String>,
    no_index: bool,
    index: Vec<UvIndex>,
}

#[derive(Deserialize)]
struct UvIndex {
    url: String,
    #[serde(default)]
    default: bool,
}

impl Metadata {
    /// Reads what a script says; nothing where it says nothing.
    ///
    /// # Errors
    ///
    /// If the script cannot be read, its block does not parse, or there are two.
    pub fn of_script(path: &Path) -> Result<Option<Self>> {
        Self::parse(&files::read(path)?, path)
    }

    /// Reads it from a script's bytes.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Option<Self>> {
        let Some((line, text)) = block(&String::from_utf8_lossy(bytes), path)? else {
            return Ok(None);
        };
        let block: Block =
            toml::from_str(&text).map_err(|error| at_line(path, line, &text, error))?;
        let uv = block.tool.uv;
        let mut indexes = Indexes {
            index: uv.index_url,
            extra: uv.extra_index_url,
            find_links: uv.find_links,
            no_index: uv.no_index,
        };
        for index in uv.index {
            if index.default {
                indexes.index = Some(index.url);
            } else {
                indexes.extra.push(index.url);
            }
        }
        if let Some(text) = &block.requires_python {
            specifiers(text).fault_at(path)?;
        }
        Ok(Some(Self {
            requires_python: block.requires_python,
            dependencies: block.dependencies,
            indexes,
            pyox: block.tool.pyox,
        }))
    }
}

/// The text of the block, and the number of its first line in the script.
fn block(script: &str, path: &Path) -> Result<Option<(usize, String)>> {
    let lines: Vec<&str> = script.lines().collect();
    let mut starts = lines.iter().enumerate().filter(|(_, line)| **line == "# /// script");
    let Some((start, _)) = starts.next() else { return Ok(None) };
    let inside =
        lines[start + 1..].iter().take_while(|l| **l == "#" || l.starts_with("# ")).count();
    // The block ends at the last of its lines that can end it.
    let end = (start + 1..start + 1 + inside).rev().find(|&number| lines[number] == "# ///");
    let Some(end) = end else {
        let what = "expected `# ///` at the end of the metadata, found none";
        return Err(Fault::new(place(path, start), what));
    };
    if let Some((again, _)) = starts.find(|(number, _)| *number > end) {
        let what = "expected one block of metadata, found a second one";
        return Err(Fault::new(place(path, again), what));
    }
    let text = lines[start + 1..end].iter().map(|line| line.get(2..).unwrap_or_default());
    Ok(Some((start + 1, text.collect::<Vec<_>>().join("\n"))))
}

fn place(path: &Path, line: usize) -> String {
    format!("{}:{}", path.display(), line + 1)
}

/// An error in the block, by its place in the script.
fn at_line(path: &Path, first: usize, text: &str, error: toml::de::Error) -> Fault {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    // Two letters stand before each line.
    let (line, column) = (first + line - 1, column + 2);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Fault::new(format_args!("{}:{column}", place(path, line)), message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Result<Option<Metadata>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.py");
        std::fs::write(&path, script).unwrap();
        Metadata::of_script(&path)
    }

    fn fault(script: &str) -> String {
        let fault = read(script).unwrap_err().to_string();
        fault.split_once("s.py").unwrap().1.to_owned()
    }

    #[test]
    fn a_block_is_read() {
        let script = "#!/usr/bin/env python3\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"rich\", # a comment\n#\n# ]\n# [tool.uv]\n# extra-index-url = [\"a\"]\n# [[tool.uv.index]]\n# url = \"b\"\n# default = true\n# [tool.pyox]\n# mode = \"static\"\n# [tool.other]\n# x = 1\n# ///\nprint(1)\n";
        let found = read(script).unwrap().unwrap();
        assert_eq!(found.requires_python.as_deref(), Some(">=3.11"));
        assert_eq!(found.dependencies, ["rich"]);
        assert_eq!(
            (found.indexes.index.as_deref(), found.indexes.extra),
            (Some("b"), vec!["a".to_owned()])
        );
        assert_eq!(found.pyox.unwrap()["mode"].as_str(), Some("static"));
    }

    #[test]
    fn scripts_without_one() {
        for script in
            ["", "print(1)\n", "# /// other\n# a = 1\n# ///\n", "  # /// script\n  # ///\n"]
        {
            assert!(read(script).unwrap().is_none(), "{script}");
        }
    }

    #[test]
    fn faults_have_their_place() {
        let broken = "\n# /// script\n# dependencies = [\"a\"\n# x\n# ///\n";
        assert!(fault(broken).starts_with(":4:"), "{}", fault(broken));
        let wrong = "# /// script\n# dependencies = \"a\"\n# ///\n";
        assert_eq!(fault(wrong), ":2:18: invalid type: string \"a\", expected a sequence");
        let open = "# /// script\n# dependencies = []\n";
        assert_eq!(fault(open), ":1: expected `# ///` at the end of the metadata, found none");
        let twice = "# /// script\n# ///\nx\n# /// script\n# ///\n";
        assert_eq!(fault(twice), ":4: expected one block of metadata, found a second one");
        let odd = "# /// script\n# requires-python = \"three\"\n# ///\n";
        assert!(
            fault(odd).starts_with(": requires-python: expected version specifiers, got `three`")
        );
    }
}
