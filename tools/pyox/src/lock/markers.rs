//! Environment markers, as far as lock files ask for them: they are put together here, and pip evaluates them.

use std::collections::BTreeSet;

/// The markers under which a package is wanted: one of the alternatives has to hold, with all of its markers. The one
/// without any always holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Markers(BTreeSet<BTreeSet<String>>);

impl Markers {
    pub(super) fn always() -> Self {
        Self([BTreeSet::new()].into())
    }

    /// Those under which a marker holds as well.
    pub(super) fn and(&self, marker: &str) -> Self {
        let with =
            |one: &BTreeSet<String>| one.iter().cloned().chain([marker.to_owned()]).collect();
        Self(self.0.iter().map(with).collect())
    }

    /// Adds alternatives; whether any of them says something new. One that asks for more than another says nothing, so
    /// that packages which need each other come to an end.
    pub(super) fn add(&mut self, others: &Self) -> bool {
        let is_new = |one: &&BTreeSet<String>| !self.0.iter().any(|known| known.is_subset(one));
        let new: Vec<_> = others.0.iter().filter(is_new).cloned().collect();
        self.0.retain(|known| !new.iter().any(|one| one.is_subset(known)));
        self.0.extend(new.iter().cloned());
        !new.is_empty()
    }

    /// What stands behind a requirement; nothing where it always holds.
    pub(super) fn text(&self) -> String {
        if *self == Self::always() {
            return String::new();
        }
        let all = |one: &BTreeSet<String>| {
            let each: Vec<_> = one.iter().map(|marker| format!("({marker})")).collect();
            format!("({})", each.join(" and "))
        };
        let alternatives: Vec<_> = self.0.iter().map(all).collect();
        format!(" ; {}", alternatives.join(" or "))
    }
}

/// What always holds, and what never does, wherever pip runs.
const HOLDS: [&str; 2] = ["python_version < '3'", "python_version >= '3'"];

/// A marker in which each comparison with `extra` has become what it is for these extras: pip knows none of them.
pub(super) fn with_extras(marker: &str, extras: &BTreeSet<String>) -> String {
    let mut text = String::new();
    let mut rest = marker;
    while let Some(at) = start_of_extra(rest) {
        let (before, found) = rest.split_at(at);
        let Some((is_equal, name, behind)) = comparison(found) else { break };
        text.push_str(before);
        text.push_str(HOLDS[usize::from(extras.contains(name) == is_equal)]);
        rest = behind;
    }
    text + rest
}

/// Where the variable `extra` stands, outside of strings.
fn start_of_extra(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) if open == letter => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None => {
                let is_word = before.is_alphanumeric() || before == '_';
                if !is_word && text[at..].starts_with("extra") && comparison(&text[at..]).is_some()
                {
                    return Some(at);
                }
            }
        }
        before = letter;
    }
    None
}

/// `extra == "name"` at the start of a text: whether it is `==`, the name, and what stands behind it.
fn comparison(text: &str) -> Option<(bool, &str, &str)> {
    let rest = text.strip_prefix("extra")?.trim_start();
    let is_equal = rest.starts_with("==");
    let rest = rest.strip_prefix("==").or(rest.strip_prefix("!="))?.trim_start();
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    let (name, behind) = rest[1..].split_once(quote)?;
    Some((is_equal, name, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_that_asks_for_more_says_nothing() {
        let always = Markers::always();
        let (x, y) = (always.and("x"), always.and("y"));
        let mut markers = Markers::default();
        assert!(markers.add(&x) && !markers.add(&x.and("y")) && markers.add(&y));
        assert_eq!(markers.text(), " ; ((x)) or ((y))");
        assert!(markers.add(&always) && !markers.add(&x));
        assert_eq!(markers.text(), "");
    }

    #[test]
    fn extras_are_decided() {
        let extras = ["a".to_owned()].into();
        for (marker, expected) in [
            ("extra == \"a\" and x == 'extra'", "python_version >= '3' and x == 'extra'"),
            ("(extra == 'b') or extra != 'b'", "(python_version < '3') or python_version >= '3'"),
            ("os_name == \"extra == 'a'\"", "os_name == \"extra == 'a'\""),
        ] {
            assert_eq!(with_extras(marker, &extras), expected);
        }
    }
}
