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

/// The extras and dependency groups that are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Selected {
    pub(super) extras: BTreeSet<String>,
    pub(super) groups: BTreeSet<String>,
}

impl Selected {
    /// A marker in which each question for an extra or a group has become its answer: pip knows none of them. They are
    /// `extra == "name"` and PEP 751's `"name" in extras` and `"name" in dependency_groups`.
    pub(super) fn decide(&self, marker: &str) -> String {
        let (places, tokens): (Vec<usize>, Vec<&str>) = tokens(marker).into_iter().unzip();
        let (mut text, mut copied, mut number) = (String::new(), 0, 0);
        while number < tokens.len() {
            let (answer, length) = match &tokens[number..] {
                ["extra", operator @ ("==" | "!="), name, ..]
                | [name, operator @ ("==" | "!="), "extra", ..] => {
                    (self.extras.contains(unquoted(name)) == (*operator == "=="), 3)
                }
                [name, "in", "extras", ..] => (self.extras.contains(unquoted(name)), 3),
                [name, "not", "in", "extras", ..] => (!self.extras.contains(unquoted(name)), 4),
                [name, "in", "dependency_groups", ..] => (self.groups.contains(unquoted(name)), 3),
                [name, "not", "in", "dependency_groups", ..] => {
                    (!self.groups.contains(unquoted(name)), 4)
                }
                _ => {
                    number += 1;
                    continue;
                }
            };
            text.push_str(&marker[copied..places[number]]);
            text.push_str(HOLDS[usize::from(answer)]);
            number += length;
            copied = places[number - 1] + tokens[number - 1].len();
        }
        text + &marker[copied..]
    }
}

/// The words, strings with their quotes, operators and brackets of a marker, each with its place.
fn tokens(marker: &str) -> Vec<(usize, &str)> {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.');
    let mut tokens = Vec::new();
    let mut rest = marker.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            // An open string is the rest.
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            '(' | ')' => 1,
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ => {
                let ends = |letter: char| {
                    is_word(letter)
                        || letter.is_whitespace()
                        || matches!(letter, '"' | '\'' | '(' | ')')
                };
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        let (token, behind) = rest.split_at(length);
        tokens.push((marker.len() - rest.len(), token));
        rest = behind.trim_start();
    }
    tokens
}

fn unquoted(token: &str) -> &str {
    token.trim_matches(['"', '\''])
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
    fn extras_and_groups_are_decided() {
        let selected =
            Selected { extras: ["a".to_owned()].into(), groups: ["dev".to_owned()].into() };
        let (yes, no) = (HOLDS[1], HOLDS[0]);
        for (marker, expected) in [
            ("extra == \"a\" and x == 'extra'", format!("{yes} and x == 'extra'")),
            ("(extra=='b') or 'b' != extra", format!("({no}) or {yes}")),
            ("os_name == \"extra == 'a'\"", "os_name == \"extra == 'a'\"".to_owned()),
            ("'a' in extras and 'b' not in extras", format!("{yes} and {yes}")),
            ("'dev' in dependency_groups or 'a' in dependency_groups", format!("{yes} or {no}")),
            ("python_full_version>='3.11'", "python_full_version>='3.11'".to_owned()),
            ("sys_platform == 'open", "sys_platform == 'open".to_owned()),
            ("", String::new()),
        ] {
            assert_eq!(selected.decide(marker), expected);
        }
    }
}
