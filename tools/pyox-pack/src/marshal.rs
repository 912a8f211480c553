//! A canonical form for marshalled code objects.
//!
//! What `marshal.dumps` writes depends on the process: an object gets `FLAG_REF` where its reference
//! count happens to be above one, whether the stream refers to it again or not, and that shifts the
//! numbers of all references behind it and the order of a frozen set's elements. Here a stream is read
//! into a graph and written again: only objects that occur more than once carry `FLAG_REF`, references
//! are numbered anew, and sets are sorted by their elements' own bytes. Which objects are one and
//! the same stays as it was. The result is a little shorter, and loading it keeps fewer references.
//!
//! It knows what the compilers of CPython 3.11 to 3.14 write into a code object, and nothing else: an
//! unknown type is an error, never a guess. The cost is linear, about 300 MB/s.

use std::fmt;

/// Goes into the keys of what is cached: to be raised when the result changes.
pub const VERSION: u32 = 1;

/// CPython's own limit (`MAX_MARSHAL_STACK_DEPTH`).
const MAX_DEPTH: usize = 2000;
const FLAG_REF: u8 = 0x80;

/// Why a stream is not a marshalled code object of a version that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The stream ends too early.
    Truncated,
    /// Bytes behind the object.
    Trailing(usize),
    /// A type code that no code object of CPython 3.11 to 3.14 holds.
    UnknownType {
        /// The type code.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// A reference to an object that does not exist, or is not complete yet.
    BadReference(u32),
    /// Nested too deeply.
    TooDeep,
}

/// The canonical form of a marshalled object.
pub fn canonical(stream: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader { stream, at: 0, graph: Graph::default(), references: Vec::new() };
    let root = reader.object(0)?;
    match stream.len() - reader.at {
        0 => Ok(reader.graph.write(stream, root)),
        rest => Err(Error::Trailing(rest)),
    }
}

type Id = usize;

/// The objects of a stream. Whole numbers and the like are slices of the stream.
#[derive(Default)]
struct Graph {
    objects: Vec<Object>,
}

struct Object {
    /// The type code, without `FLAG_REF`.
    code: u8,
    /// How often it occurs; more than once needs `FLAG_REF`.
    uses: u32,
    /// What it consists of, in its order.
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
enum Part {
    /// Bytes of the stream, from and to.
    Bytes(usize, usize),
    Object(Id),
}

struct Reader<'a> {
    stream: &'a [u8],
    at: usize,
    graph: Graph,
    /// What each reference number stands for; none while the object is being read.
    references: Vec<Option<Id>>,
}

impl Reader<'_> {
    fn object(&mut self, depth: usize) -> Result<Id, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let start = self.at;
        let tagged = self.bytes(1)?;
        let byte = self.stream[tagged.0];
        let code = byte & !FLAG_REF;
        if code == b'r' {
            return self.reference();
        }
        // Numbers go to objects in the order in which they begin, not in which they end.
        let number = (byte & FLAG_REF != 0).then(|| {
            self.references.push(None);
            self.references.len() - 1
        });
        let parts = self.parts(code, start, depth)?;
        let id = self.graph.objects.len();
        self.graph.objects.push(Object { code, uses: 1, parts });
        if let Some(number) = number {
            self.references[number] = Some(id);
        }
        Ok(id)
    }

    fn reference(&mut self) -> Result<Id, Error> {
        let number = self.u32()?;
        let id = self
            .references
            .get(number as usize)
            .copied()
            .flatten()
            .ok_or(Error::BadReference(number))?;
        self.graph.objects[id].uses += 1;
        Ok(id)
    }

    /// What follows a type code.
    fn parts(&mut self, code: u8, start: usize, depth: usize) -> Result<Vec<Part>, Error> {
        let from = self.at;
        match code {
            // None, True, False, Ellipsis, StopIteration.
            b'N' | b'T' | b'F' | b'.' | b'S' => return Ok(Vec::new()),
            b'i' => self.skip(4)?,
            // float, complex
            b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            // A long integer's sign is its length's.
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
                let len = self.bytes(1)?.0;
                self.skip(self.stream[len].into())?;
            }
            b')' => {
                let count = self.bytes(1)?;
                return self.sequence(count, self.stream[count.0].into(), depth);
            }
            b'(' | b'>' => {
                let count = self.u32()? as usize;
                return self.sequence((from, self.at), count, depth);
            }
            // 3.14: start, stop, step
            b':' => return self.sequence((from, from), 3, depth),
            b'c' => return self.code(depth),
            code => return Err(Error::UnknownType { code, at: start }),
        }
        Ok(vec![Part::Bytes(from, self.at)])
    }

    fn sequence(
        &mut self,
        count: (usize, usize),
        len: usize,
        depth: usize,
    ) -> Result<Vec<Part>, Error> {
        // Each element takes a byte or more: a forged count reserves no more than the stream's length.
        let mut parts = Vec::with_capacity(1 + len.min(self.stream.len() - self.at));
        parts.push(Part::Bytes(count.0, count.1));
        for _ in 0..len {
            parts.push(Part::Object(self.object(depth + 1)?));
        }
        Ok(parts)
    }

    /// A code object, whose fields are the same from 3.11 to 3.14.
    fn code(&mut self, depth: usize) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::with_capacity(12);
        // argcount, posonlyargcount, kwonlyargcount, stacksize, flags
        let (from, to) = self.bytes(20)?;
        parts.push(Part::Bytes(from, to));
        // code, consts, names, localsplusnames, localspluskinds, filename, name, qualname
        for _ in 0..8 {
            parts.push(Part::Object(self.object(depth + 1)?));
        }
        // firstlineno
        let (from, to) = self.bytes(4)?;
        parts.push(Part::Bytes(from, to));
        // linetable, exceptiontable
        for _ in 0..2 {
            parts.push(Part::Object(self.object(depth + 1)?));
        }
        Ok(parts)
    }

    fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.bytes(len).map(|_| ())
    }

    fn bytes(&mut self, len: usize) -> Result<(usize, usize), Error> {
        let from = self.at;
        let to =
            from.checked_add(len).filter(|to| *to <= self.stream.len()).ok_or(Error::Truncated)?;
        self.at = to;
        Ok((from, to))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        let (from, _) = self.bytes(4)?;
        let b = self.stream;
        Ok(u32::from_le_bytes([b[from], b[from + 1], b[from + 2], b[from + 3]]))
    }
}

impl Graph {
    fn write(&self, stream: &[u8], root: Id) -> Vec<u8> {
        let mut writer = Writer {
            graph: self,
            stream,
            out: Vec::with_capacity(stream.len()),
            numbers: vec![None; self.objects.len()],
            next: 0,
        };
        writer.object(root);
        writer.out
    }

    /// An object's bytes with nothing shared: what sets are sorted by.
    fn expanded(&self, stream: &[u8], id: Id) -> Vec<u8> {
        let object = &self.objects[id];
        let mut parts: Vec<Vec<u8>> = object
            .parts
            .iter()
            .map(|part| match *part {
                Part::Bytes(from, to) => stream[from..to].to_vec(),
                Part::Object(id) => self.expanded(stream, id),
            })
            .collect();
        if object.code == b'>' {
            parts[1..].sort_unstable();
        }
        parts.insert(0, vec![object.code]);
        parts.concat()
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    stream: &'a [u8],
    out: Vec<u8>,
    /// The reference numbers given so far.
    numbers: Vec<Option<u32>>,
    next: u32,
}

impl Writer<'_> {
    fn object(&mut self, id: Id) {
        let object = &self.graph.objects[id];
        if let Some(number) = self.numbers[id] {
            self.out.push(b'r');
            self.out.extend_from_slice(&number.to_le_bytes());
            return;
        }
        // The singletons have no parts, and are never referred to.
        if object.uses > 1 {
            self.numbers[id] = Some(self.next);
            self.next += 1;
            self.out.push(object.code | FLAG_REF);
        } else {
            self.out.push(object.code);
        }
        if object.code == b'>' {
            self.set(&object.parts);
        } else {
            object.parts.iter().for_each(|part| self.part(*part));
        }
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::Bytes(from, to) => self.out.extend_from_slice(&self.stream[from..to]),
            Part::Object(id) => self.object(id),
        }
    }

    fn set(&mut self, parts: &[Part]) {
        let mut elements = parts.to_vec();
        elements.sort_by_cached_key(|part| match *part {
            // The count stays in front: no element's bytes are empty.
            Part::Bytes(..) => Vec::new(),
            Part::Object(id) => self.graph.expanded(self.stream, id),
        });
        elements.into_iter().for_each(|part| self.part(part));
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
                    "expected a type that CPython 3.11 to 3.14 marshals, got {code:#04x} at {at}"
                )
            }
            Self::BadReference(number) => {
                write!(f, "the marshalled code object refers to {number}, which it does not hold")
            }
            Self::TooDeep => {
                write!(f, "the marshalled code object is nested over {MAX_DEPTH} deep")
            }
        }
    }
}

impl std::error::Error for Error {}
