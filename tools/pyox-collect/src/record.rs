//! `RECORD`, the list of an installed wheel's files (PyPA's "recording installed projects").

use std::fmt;

use pyox_schema::Digest;
use pyox_stage::{Fault, Result};

use crate::stdlib::is_bytecode;

/// A line of `RECORD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Relative to `site-packages`, with `/` between the parts.
    pub(crate) path: String,
    /// As it stands there: `sha256=` and the digest in URL-safe base64, or nothing.
    pub(crate) hash: String,
    /// The length, or nothing.
    pub(crate) size: String,
}

/// What becomes of a file that `RECORD` names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    /// A file below `site-packages`.
    Taken,
    /// A file that the installation made and that is of no use elsewhere.
    Bytecode,
    /// A script or a program, by its path from the top of the installation: `bin/` and its name.
    Script(&'a str),
    /// A file for another place of the installation, such as `share/man`, by its path from the top.
    Beside(&'a str),
}

/// Reads a `RECORD` of that `.dist-info` folder.
pub(crate) fn parse(text: &str, folder: &str) -> Result<Vec<Row>> {
    checked(rows(text), folder)
}

/// Refuses paths that lead anywhere but into the installation.
fn checked(record: Vec<Row>, folder: &str) -> Result<Vec<Row>> {
    let wrong = record.iter().find(|row| {
        let mut parts = row.path.trim_start_matches("../").split('/');
        parts.any(|part| matches!(part, "" | "." | ".."))
    });
    match wrong {
        Some(row) => {
            let what = format!("expected a path inside the installation, got `{}`", row.path);
            Err(Fault::new(format_args!("{folder}/RECORD"), what))
        }
        None => Ok(record),
    }
}

/// What a path of `RECORD` is. pip installs scripts and data beside `site-packages`, so that their
/// paths begin with `..`.
pub(crate) fn role(path: &str) -> Role<'_> {
    if let Some(rest) = path.strip_prefix("../") {
        let rest = rest.trim_start_matches("../");
        return if rest.starts_with("bin/") { Role::Script(rest) } else { Role::Beside(rest) };
    }
    if is_bytecode(path) || path.split('/').any(|part| part == "__pycache__") {
        return Role::Bytecode;
    }
    Role::Taken
}

/// The rows of a `RECORD`: comma-separated values.
fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let mut fields = fields(line).into_iter();
            let mut next = || fields.next().unwrap_or_default();
            Row { path: next(), hash: next(), size: next() }
        })
        .collect()
}

/// The fields of a line, those in quotes without them.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields[field].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields[field].push(letter),
        }
    }
    fields
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.contains([',', '"']) {
            write!(f, "\"{}\"", self.path.replace('"', "\"\""))?;
        } else {
            f.write_str(&self.path)?;
        }
        write!(f, ",{},{}", self.hash, self.size)
    }
}

/// The digest in `sha256=…`; none for nothing and for other algorithms.
pub(crate) fn digest_of(hash: &str) -> Option<Digest> {
    let mut bytes = Vec::with_capacity(33);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in hash.strip_prefix("sha256=")?.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    bytes.try_into().ok().map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_its_quotes() {
        let row = |path: &str, hash: &str, size: &str| Row {
            path: path.to_owned(),
            hash: hash.to_owned(),
            size: size.to_owned(),
        };
        assert_eq!(
            rows("a/b.py,sha256=xyz,12\n\"c,\"\"d\"\".py\",sha256=x,3\r\na.dist-info/RECORD,,\n"),
            [
                row("a/b.py", "sha256=xyz", "12"),
                row("c,\"d\".py", "sha256=x", "3"),
                row("a.dist-info/RECORD", "", ""),
            ]
        );
        assert_eq!(row("c,\"d\".py", "sha256=x", "3").to_string(), "\"c,\"\"d\"\".py\",sha256=x,3");
        assert_eq!(row("a.dist-info/RECORD", "", "").to_string(), "a.dist-info/RECORD,,");
    }

    #[test]
    fn a_digest_is_read_from_its_base64() {
        // The digest of no bytes at all.
        let empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(digest_of(empty), Some(Digest::of(b"")));
        assert_eq!(digest_of(""), None);
        assert_eq!(digest_of("sha256=47DE"), None);
        assert_eq!(digest_of("sha512=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), None);
    }

    #[test]
    fn scripts_and_data_are_told_from_modules() {
        assert_eq!(role("../../bin/black"), Role::Script("bin/black"));
        assert_eq!(role("../../share/man/x.1"), Role::Beside("share/man/x.1"));
        assert_eq!(role("a/__pycache__/b.cpython-313.pyc"), Role::Bytecode);
        assert_eq!(role("bin/tool.py"), Role::Taken);
    }
}
