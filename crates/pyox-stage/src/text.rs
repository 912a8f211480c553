//! Text of others, for people.
//!
//! Names, messages of other programs and the like come from input. Shown as they are, line breaks would make several
//! messages of one, escape sequences would write over what the terminal shows, and a long name would bury the rest.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How many characters of a message are shown.
const LONGEST: usize = 1000;

/// A message on one line: control characters, and those that change the direction of text, are escaped as in Rust's strings.
/// The middle of a text of more than a thousand characters is left out.
///
/// ```
/// use pyox_stage::shown;
///
/// assert_eq!(shown("app/a\n\u{1b}[31mb.py"), r"app/a\n\u{1b}[31mb.py");
/// ```
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_short = text.len() <= LONGEST || text.chars().nth(LONGEST).is_none();
    if is_short && !text.contains(is_unfit) {
        return text.into();
    }
    let escaped = escaped(text, is_unfit);
    let count = escaped.chars().count();
    if count <= LONGEST {
        return escaped.into();
    }
    // What is wrong stands at the end of a message, and where at its beginning.
    let (head, tail) = (LONGEST * 2 / 5, LONGEST / 2);
    let start: String = escaped.chars().take(head).collect();
    let end: String = escaped.chars().skip(count - tail).collect();
    format!("{start}[{} characters]{end}", count - head - tail).into()
}

/// The same for what may have several lines, and be long.
#[must_use]
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    let is_unfit = |letter: char| letter != '\n' && is_unfit(letter);
    if text.contains(is_unfit) { escaped(text, is_unfit).into() } else { text.into() }
}

fn escaped(text: &str, is_unfit: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unfit(letter) {
            // Writing to a string cannot fail.
            let _ = match letter {
                '\n' | '\r' | '\t' | '\0' => write!(shown, "{}", letter.escape_default()),
                letter => write!(shown, "{}", letter.escape_unicode()),
            };
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Control characters, line and paragraph separators, and marks of direction, which can make a line read as another.
fn is_unfit(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_control_characters() {
        assert_eq!(shown("plain `text` \"ü\""), "plain `text` \"ü\"");
        assert_eq!(shown("a\r\nb\tc\0d\u{7f}\u{9b}"), r"a\r\nb\tc\u{0}d\u{7f}\u{9b}");
        assert_eq!(shown("a\u{202e}b\u{2028}"), r"a\u{202e}b\u{2028}");
        assert_eq!(shown_lines("a\nb\u{1b}[2J"), "a\nb\\u{1b}[2J");
    }

    #[test]
    fn the_middle_of_a_long_message_is_left_out() {
        let exact = "x".repeat(LONGEST);
        assert_eq!(shown(&exact), exact);
        let message = shown(&format!("place: {}: what", "ü".repeat(100_000))).into_owned();
        assert!(message.chars().count() < LONGEST, "{}", message.chars().count());
        assert!(message.starts_with("place: ü") && message.ends_with("ü: what"), "{message}");
        assert!(message.contains("[99113 characters]"), "{message}");
    }
}
