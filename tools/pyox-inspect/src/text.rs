//! How answers look: aligned columns, sizes as people read them, JSON for everyone else.

use std::borrow::Cow;
use std::fmt::Write as _;

use pyox_cli::Result;
use pyox_stage::FaultExt;
use serde::Serialize;

/// An answer in JSON: indented, with a final newline.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).fault("JSON")?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A number of bytes with a unit, such as `1.2 MiB`; below one KiB exact.
pub(crate) fn size(bytes: u64) -> String {
    // A rounded number for people: precision beyond 52 bits is not shown anyway.
    #[allow(clippy::cast_precision_loss)]
    let mut number = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        // 1023.95 would be shown as 1024.0.
        if number < 1023.95 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{number:.1} {unit}") }
}

/// Text of an input as a terminal may see it: control characters are written as escapes.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if letter.is_control() {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

/// Rows of cells, aligned when they are written.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

/// To which side a column's cells go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl Table {
    pub(crate) fn new(columns: &[Align]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cow<'_, str>; N]) {
        self.rows.push(cells.into_iter().map(Cow::into_owned).collect());
    }

    /// Writes the rows, two spaces between columns, each line after `indent`.
    pub(crate) fn write(&self, indent: &str, to: &mut String) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                let gap = if column == 0 { "" } else { "  " };
                let _ = match self.columns.get(column) {
                    Some(Align::Right) => write!(line, "{gap}{cell:>width$}"),
                    _ => write!(line, "{gap}{cell:<width$}"),
                };
            }
            to.push_str(line.trim_end());
            to.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_258_291, "1.2 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn no_escape_sequence_reaches_a_terminal() {
        assert_eq!(shown("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(shown("naïve ☕.txt"), "naïve ☕.txt");
    }
}
