//! What is different between two inputs, one difference for each line.

use pyox_cli::size;
use pyox_inspect::Difference;
use serde_json::Value;

use super::plain;
use super::text::{Align, Table, shown};

/// `-` is only in the first, `+` only in the second, `~` in both.
pub(crate) fn difference(difference: &Difference) -> String {
    let mut table = Table::new(&[Align::Left; 4]);
    let sets = [("config", &difference.config), ("project", &difference.projects)];
    for (label, changes) in sets {
        for change in changes {
            let (from, to) = (value(&change.from), value(&change.to));
            let sign = match (&change.from, &change.to) {
                (Value::Null, _) => "+",
                (_, Value::Null) => "-",
                _ => "~",
            };
            table.row([
                sign.into(),
                label.into(),
                shown(&change.name),
                format!("{from} -> {to}").into(),
            ]);
        }
    }
    let gone = difference.removed.iter().map(|resource| ("-", resource));
    for (sign, resource) in gone.chain(difference.added.iter().map(|resource| ("+", resource))) {
        table.row([
            sign.into(),
            resource.kind.name().into(),
            shown(&resource.name),
            size(resource.room()).into(),
        ]);
    }
    for change in &difference.changed {
        let (from, to) = (change.from.room(), change.to.room());
        let size = if from == to { size(to) } else { format!("{} -> {}", size(from), size(to)) };
        table.row([
            "~".into(),
            change.kind.name().into(),
            shown(&change.name),
            format!("{} ({size})", change.what.join(", ")).into(),
        ]);
    }
    table.text("")
}

fn value(value: &Value) -> String {
    if value.is_null() { "(none)".to_owned() } else { plain(value) }
}
