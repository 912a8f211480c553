//! A canonical form for marshalled code objects.
//!
//! What `marshal.dumps` writes depends on what the process did before. An object gets `FLAG_REF` where its
//! reference count happens to be above one, whether the stream refers to it again or not, and that
//! shifts the numbers of all references behind it and the order of a frozen set's elements. A class's
//! qualified name is one object with the constant that the class body loads, and both are interned, unless
//! some module before had a class of that name. So a stream is read into a graph in which equal
//! constants are one object, strings are interned where one of their equals was, and the graph is
//! written anew: `FLAG_REF` where an object occurs more than once, references numbered in order, sets
//! sorted by their elements' own bytes.
//!
//! What was the same object stays the same object; that equal constants become one too is what the compiler
//! does within a module whenever it can. Code objects are never merged. The result is shorter, and
//! loading it makes fewer objects.
//!
//! The name of the file that code objects have (`co_filename`) is one object, and no constant is the same object. It
//! stands in the stream once, so that a reader can put another name in its place.
//!
//! It knows what the compilers of CPython 3.11 to 3.15 write into a code object, and nothing else: an
//! unknown type is an error, never a guess. The cost is linear in the stream's length.

use std::collections::HashMap;
use std::fmt;

/// Goes into the keys of what is cached: to be raised when the result changes.
pub const VERSION: u32 = 3;

const FLAG_REF: u8 = 0x80;
/// A code object ends with linetable and exceptiontable, behind its first line's number.
const CODE_TABLES: usize = 2;
/// The part of a code object that is the name of its file: behind the numbers and five objects.
const FILE_NAME: usize = 6;

/// Why a stream is not a marshalled code object of a version that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The stream ends too early.
    Truncated,
    /// Bytes behind the object.
    Trailing(usize),
    /// A type code that no code object of CPython 3.11 to 3.15 holds.
    UnknownType {
        /// The type code.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// A reference to an object that does not exist, or is not complete yet.
    BadReference(u32),
    /// Something other than a string where a code object has the name of its file.
    FileName,
}

/// A marshalled code object in canonical form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// The marshalled object.
    pub stream: Vec<u8>,
    /// Where in it the name of the file stands, the string's type code; 0 in what is no code object.
    pub file_name: u32,
}

/// The canonical form of a marshalled object.
///
/// ```
/// // A tuple of two equal strings, which are two objects here and become one.
/// let code = pyox_pack::marshal::canonical(b"\x29\x02\x7a\x01a\x7a\x01a").unwrap();
/// assert_eq!(code.stream, b"\x29\x02\xfa\x01ar\x00\x00\x00\x00");
/// ```
///
/// # Errors
///
/// If it is none, or holds what no code object of CPython 3.11 to 3.15 does.
pub fn canonical(stream: &[u8]) -> Result<Code, Error> {
    let graph =
        Graph { objects: Vec::new(), constants: HashMap::new(), file_names: HashMap::new() };
    let mut reader = Reader { stream, at: 0, graph, references: Vec::new() };
    let root = reader.read()?;
    match stream.len() - reader.at {
        0 => Ok(reader.graph.write(stream, root)),
        rest => Err(Error::Trailing(rest)),
    }
}

/// How many bytes of a set's elements are compared. What is shared in a forged stream can be longer than any memory when it is written
/// out.
const COMPARED: usize = 64 << 10;

/// An object's number in the graph.
type Id = usize;

/// The objects of a stream. What they hold besides other objects are slices of the stream.
struct Graph<'a> {
    objects: Vec<Object>,
    constants: HashMap<Key<'a>, Id>,
    /// The strings that are names of files, by the constant that is equal.
    file_names: HashMap<Id, Id>,
}

/// What makes constants equal: their type and what they hold. Equal constants share their parts already, so comparing
/// parts by identity is enough.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    code: u8,
    bytes: &'a [u8],
    objects: Vec<Id>,
}

struct Object {
    /// The type code, without `FLAG_REF`.
    code: u8,
    /// What it consists of, in its order.
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
enum Part {
    /// Bytes of the stream, from and to.
    Bytes(usize, usize),
    Object(Id),
}

impl Part {
    fn object(&self) -> Option<Id> {
        match *self {
            Self::Object(id) => Some(id),
            Self::Bytes(..) => None,
        }
    }
}

struct Reader<'a> {
    stream: &'a [u8],
    at: usize,
    graph: Graph<'a>,
    /// What each reference number stands for; none while the object is being read.
    references: Vec<Option<Id>>,
}

/// An object that is being read.
struct Open {
    code: u8,
    /// Its reference number, where it has `FLAG_REF`.
    number: Option<usize>,
    parts: Vec<Part>,
    /// How many objects in it are still to come.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Reads one object with all that it holds, keeping its own stack: sources can nest deeply.
    fn read(&mut self) -> Result<Id, Error> {
        let mut stack: Vec<Open> = Vec::new();
        loop {
            let mut done = match self.begin()? {
                Begun::Reference(id) => id,
                Begun::Object(open) if open.left > 0 => {
                    stack.push(open);
                    continue;
                }
                Begun::Object(open) => self.finish(open)?,
            };
            loop {
                let Some(mut open) = stack.pop() else { return Ok(done) };
                open.parts.push(Part::Object(done));
                open.left -= 1;
                if open.code == b'c' && open.left == CODE_TABLES {
                    // firstlineno
                    open.parts.push(self.bytes(4)?);
                }
                if open.left > 0 {
                    stack.push(open);
                    break;
                }
                done = self.finish(open)?;
            }
        }
    }

    fn finish(&mut self, mut open: Open) -> Result<Id, Error> {
        let number = open.number;
        let id = if open.code == b'c' {
            self.graph.set_file_name_apart(&mut open.parts)?;
            self.graph.add(Object { code: open.code, parts: open.parts })
        } else {
            self.constant(open)
        };
        if let Some(number) = number {
            self.references[number] = Some(id);
        }
        Ok(id)
    }

    /// The object for a constant: the one that was there before, where there was an equal one.
    fn constant(&mut self, open: Open) -> Id {
        let Open { code, mut parts, .. } = open;
        if code == b'>' {
            // The count stays in front. Sets in it have their order already.
            parts[1..].sort_by_cached_key(|part| self.graph.expanded(self.stream, *part));
        }
        let key = self.key(code, &parts);
        if let Some(&id) = self.graph.constants.get(&key) {
            if is_interned(code) {
                self.graph.objects[id].code = code;
            }
            return id;
        }
        let id = self.graph.add(Object { code, parts });
        self.graph.constants.insert(key, id);
        id
    }

    fn key(&self, code: u8, parts: &[Part]) -> Key<'a> {
        // A constant's bytes are all in front of the objects in it.
        let bytes = match parts.first() {
            Some(&Part::Bytes(from, to)) => &self.stream[from..to],
            _ => &[],
        };
        let mut objects: Vec<Id> = parts.iter().filter_map(Part::object).collect();
        if code == b'>' {
            objects.sort_unstable();
        }
        Key { code: plain(code), bytes, objects }
    }

    /// Reads an object up to the first object in it.
    fn begin(&mut self) -> Result<Begun, Error> {
        let start = self.at;
        let byte = self.byte()?;
        let code = byte & !FLAG_REF;
        if code == b'r' {
            return self.reference().map(Begun::Reference);
        }
        // Numbers go to objects in the order in which they begin, not in which they end.
        let number = (byte & FLAG_REF != 0).then(|| {
            self.references.push(None);
            self.references.len() - 1
        });
        let from = self.at;
        let mut left = 0;
        match code {
            code if is_singleton(code) => {}
            b'i' => self.skip(4)?,
            // float, complex
            b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            // A long integer's sign is that of its length, which counts digits of 15 bits.
            b'l' => {
                let digits = self.u32()?.cast_signed().unsigned_abs() as usize;
                self.skip(digits.checked_mul(2).ok_or(Error::Truncated)?)?;
            }
            // bytes; then strings by their encoding, interned or not
            b's' | b'u' | b't' | b'a' | b'A' => {
                let len = self.u32()? as usize;
                self.skip(len)?;
            }
            b'z' | b'Z' => {
                let len = self.byte()?.into();
                self.skip(len)?;
            }
            // tuple, by the size of its length; frozenset
            b')' => left = self.byte()?.into(),
            b'(' | b'>' => left = self.u32()? as usize,
            // 3.14's slice: start, stop, step
            b':' => left = 3,
            // argcount, posonlyargcount, kwonlyargcount, stacksize, flags; then code, consts, names,
            // localsplusnames, localspluskinds, filename, name, qualname; then the tables
            b'c' => {
                self.skip(20)?;
                left = 8 + CODE_TABLES;
            }
            code => return Err(Error::UnknownType { code, at: start }),
        }
        // Each object takes a byte or more: a forged count reserves no more than the stream's length.
        let mut parts = Vec::with_capacity(2 + left.min(self.stream.len() - self.at));
        parts.push(Part::Bytes(from, self.at));
        Ok(Begun::Object(Open { code, number, parts, left }))
    }

    fn reference(&mut self) -> Result<Id, Error> {
        let number = self.u32()?;
        let known = self.references.get(number as usize).copied().flatten();
        known.ok_or(Error::BadReference(number))
    }

    fn bytes(&mut self, len: usize) -> Result<Part, Error> {
        let from = self.at;
        let to = from.checked_add(len).filter(|to| *to <= self.stream.len());
        self.at = to.ok_or(Error::Truncated)?;
        Ok(Part::Bytes(from, self.at))
    }

    fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.bytes(len).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.skip(1).map(|()| self.stream[self.at - 1])
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.skip(4)?;
        let b = &self.stream[self.at - 4..self.at];
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

enum Begun {
    Reference(Id),
    Object(Open),
}

/// The type code of the same string without interning. What is left of the codes follows from the text.
fn plain(code: u8) -> u8 {
    match code {
        b't' => b'u',
        b'A' => b'a',
        b'Z' => b'z',
        code => code,
    }
}

fn is_string(code: u8) -> bool {
    matches!(plain(code), b'u' | b'a' | b'z')
}

fn is_interned(code: u8) -> bool {
    plain(code) != code
}

/// `None`, `True`, `False`, `Ellipsis`, `StopIteration`: nothing ever refers to them.
fn is_singleton(code: u8) -> bool {
    matches!(code, b'N' | b'T' | b'F' | b'.' | b'S')
}

impl Graph<'_> {
    fn add(&mut self, object: Object) -> Id {
        self.objects.push(object);
        self.objects.len() - 1
    }

    /// Makes the name of a code object's file an object of its own.
    fn set_file_name_apart(&mut self, parts: &mut [Part]) -> Result<(), Error> {
        let name = parts.get(FILE_NAME).and_then(Part::object).ok_or(Error::FileName)?;
        if !is_string(self.objects[name].code) {
            return Err(Error::FileName);
        }
        let apart = if let Some(known) = self.file_names.get(&name) {
            *known
        } else {
            // Whether it is interned depends on what the process did before.
            let Object { code, parts } = &self.objects[name];
            let twin = Object { code: plain(*code), parts: parts.clone() };
            let apart = self.add(twin);
            self.file_names.insert(name, apart);
            apart
        };
        parts[FILE_NAME] = Part::Object(apart);
        Ok(())
    }

    fn write(&self, stream: &[u8], root: Id) -> Code {
        let shared = self.shared(root);
        let mut out = Vec::with_capacity(stream.len());
        let root_object = &self.objects[root];
        let name = root_object.parts.get(FILE_NAME).and_then(Part::object);
        let name = name.filter(|_| root_object.code == b'c');
        let mut file_name = 0;
        // The reference numbers given so far.
        let mut numbers: Vec<Option<u32>> = vec![None; self.objects.len()];
        let mut next = 0;
        let mut left = vec![Part::Object(root)];
        while let Some(part) = left.pop() {
            let id = match part {
                Part::Object(id) => id,
                Part::Bytes(from, to) => {
                    out.extend_from_slice(&stream[from..to]);
                    continue;
                }
            };
            let object = &self.objects[id];
            if let Some(number) = numbers[id] {
                out.push(b'r');
                out.extend_from_slice(&u32::to_le_bytes(number));
                continue;
            }
            if Some(id) == name {
                // No stream has 4 GiB: its length is an u32.
                file_name = u32::try_from(out.len()).unwrap_or(0);
            }
            if shared[id] {
                numbers[id] = Some(next);
                next += 1;
                out.push(object.code | FLAG_REF);
            } else {
                out.push(object.code);
            }
            left.extend(object.parts.iter().rev());
        }
        Code { stream: out, file_name }
    }

    /// Whether each object occurs more than once in what is written: those need `FLAG_REF`.
    fn shared(&self, root: Id) -> Vec<bool> {
        let mut seen = vec![false; self.objects.len()];
        let mut shared = vec![false; self.objects.len()];
        let mut left = vec![root];
        while let Some(id) = left.pop() {
            let object = &self.objects[id];
            if seen[id] {
                shared[id] = !is_singleton(object.code);
                continue;
            }
            seen[id] = true;
            left.extend(object.parts.iter().filter_map(Part::object));
        }
        shared
    }

    /// A part's bytes with nothing shared: what sets are sorted by. Elements that have more in common than is compared keep their order.
    fn expanded(&self, stream: &[u8], part: Part) -> Vec<u8> {
        let mut out = Vec::new();
        let mut left = vec![part];
        while let Some(part) = left.pop().filter(|_| out.len() < COMPARED) {
            match part {
                Part::Bytes(from, to) => out.extend_from_slice(&stream[from..to]),
                Part::Object(id) => {
                    out.push(plain(self.objects[id].code));
                    left.extend(self.objects[id].parts.iter().rev());
                }
            }
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the marshalled code object ends too early"),
            Self::Trailing(bytes) => write!(f, "{bytes} bytes behind the marshalled code object"),
            Self::UnknownType { code, at } => {
                write!(
                    f,
                    "expected a type that CPython 3.11 to 3.15 marshals, got {code:#04x} at {at}"
                )
            }
            Self::FileName => f.write_str("expected a text for the name of a code object's file"),
            Self::BadReference(number) => {
                write!(f, "the marshalled code object refers to {number}, which it does not hold")
            }
        }
    }
}

impl std::error::Error for Error {}
