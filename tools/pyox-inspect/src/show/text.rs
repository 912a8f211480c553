//! How text looks: aligned columns, sizes as people read them, nothing that controls a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

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

    /// The rows, each line after `indent`.
    pub(crate) fn text(&self, indent: &str) -> String {
        let mut text = String::new();
        self.write(indent, &mut text);
        text
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
    fn no_escape_sequence_reaches_a_terminal() {
        assert_eq!(shown("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(shown("naïve ☕.txt"), "naïve ☕.txt");
    }
}
