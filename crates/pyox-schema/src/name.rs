//! The names of modules: the same for whoever lists them and whoever packs them.

use unicode_ident::{is_xid_continue, is_xid_start};

/// Whether Python takes a word for an identifier.
#[must_use]
pub fn is_identifier(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first == '_' || is_xid_start(first))
        && letters.all(is_xid_continue)
}

/// Whether a word can be a part of a dotted name: an identifier's characters and hyphens. No statement can import
/// `0001_initial` or `unicode17-0-0`, but calls do.
#[must_use]
pub fn is_module_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter == '-' || is_xid_continue(letter))
}

/// Whether a text is a dotted name of such words.
#[must_use]
pub fn is_module_name(name: &str) -> bool {
    name.split('.').all(is_module_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pythons() {
        for word in ["a", "_", "ü", "ℌ", "a1", "ﬁ"] {
            assert!(is_identifier(word) && is_module_word(word), "{word}");
        }
        // A superscript is numeric, but no letter of an identifier.
        for word in ["", "1", "m²", "a-b", "a b", "a.b", "a/b"] {
            assert!(!is_identifier(word), "{word}");
        }
        assert!(is_module_word("0001_initial") && is_module_word("unicode17-0-0"));
        assert!(!is_module_word("m²") && !is_module_name("a..b") && is_module_name("a.0-1"));
    }
}
