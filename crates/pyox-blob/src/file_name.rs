//! The name of the file that code objects have (`co_filename`), in a marshalled code object.
//!
//! It stands there once, as the module's location. A reader that knows where the file is says so by putting another
//! name in its place before the code is loaded, which costs a copy of the bytes.

/// A reference is made to an object with this flag.
const FLAG_REF: u8 = 0x80;

/// A marshalled code object around the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    before: &'a [u8],
    flag: u8,
    text: &'a str,
    behind: &'a [u8],
}

impl<'a> FileName<'a> {
    /// The name that stands at an offset; `None` if no string of marshal's does.
    #[must_use]
    pub fn at(code: &'a [u8], at: usize) -> Option<Self> {
        let (before, name) = code.split_at_checked(at)?;
        let (kind, rest) = name.split_first()?;
        let (len, rest) = match kind & !FLAG_REF {
            // Short ASCII, interned or not; then ASCII and Unicode, both likewise.
            b'z' | b'Z' => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
            b'a' | b'A' | b'u' | b't' => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
            }
            _ => return None,
        };
        let (text, behind) = rest.split_at_checked(len)?;
        let text = std::str::from_utf8(text).ok()?;
        Some(Self { before, flag: kind & FLAG_REF, text, behind })
    }

    /// The name.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Appends the code object with another name: text in UTF-8, which may hold surrogates, as Python has paths whose
    /// bytes are none. Costs a copy.
    pub fn write_with(&self, name: &[u8], out: &mut Vec<u8>) {
        let len = u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.reserve(self.before.len() + len.len() + 1 + name.len() + self.behind.len());
        out.extend_from_slice(self.before);
        match (name.is_ascii(), u8::try_from(name.len())) {
            (true, Ok(len)) => out.extend([b'z' | self.flag, len]),
            (ascii, _) => {
                out.push(if ascii { b'a' } else { b'u' } | self.flag);
                out.extend(len);
            }
        }
        out.extend_from_slice(name);
        out.extend_from_slice(self.behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(code: &[u8], at: usize, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        FileName::at(code, at).unwrap().write_with(name.as_bytes(), &mut out);
        out
    }

    #[test]
    fn another_name_takes_the_place_of_the_first() {
        let code = b"c12\xfa\x04a.pyrest";
        assert_eq!(FileName::at(code, 3).unwrap().text(), "a.py");
        assert_eq!(renamed(code, 3, "/b"), b"c12\xfa\x02/brest");
        assert_eq!(renamed(code, 3, "\u{e4}"), b"c12\xf5\x02\0\0\0\xc3\xa4rest");
        let long = "x".repeat(300);
        let expected = [&b"c12\xe1\x2c\x01\0\0"[..], long.as_bytes(), b"rest"].concat();
        assert_eq!(renamed(code, 3, &long), expected);
        assert_eq!(renamed(b"u\x02\0\0\0\xc3\xa4", 0, "/b"), b"z\x02/b");
    }

    #[test]
    fn what_is_no_name_is_none() {
        for (code, at) in [
            (&b"c12"[..], 0),
            (b"z\x04a.p", 0),
            (b"a\xff\xff\xff\xffa", 0),
            (b"u\x01\0", 0),
            (b"z\x01\xff", 0),
            (b"z\x01a", 3),
            (b"z\x01a", 4),
        ] {
            assert_eq!(FileName::at(code, at), None, "{code:?} at {at}");
        }
    }
}
