//! Sources become bytecode: in the distribution's own interpreter, once for each content.
//!
//! Bytecode does not depend on the machine: any CPython of the same version gives the same. So another one can do it for a
//! distribution that does not run here.
//!
//! A worker is an interpreter that runs `worker.py`; it is started when the first source has to be
//! compiled and not before, so that a run that finds everything in the store starts none. What it
//! gives is put into canonical form (see [`crate::marshal`]) and kept under the digest of all that
//! it depends on. Sources that do not compile are kept too, with the reason.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use pyox_schema::{Digest, Distribution, machine_of};
use pyox_stage::{Fault, FaultExt, Kind, Store};

use crate::marshal::{self, Code};

const WORKER: &str = include_str!("worker.py");

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compiled {
    /// The marshalled code object.
    Code(Code),
    /// It does not compile.
    Rejected {
        /// The line, counted from 1; 0 where none is known.
        line: u32,
        /// Why, in the compiler's words.
        reason: String,
    },
}

/// Compiles for one distribution at one optimisation level.
pub(crate) struct Compiler {
    interpreter: PathBuf,
    /// Implementation and version, which only the same compiles for.
    version: String,
    /// Of whatever machine that is.
    target: String,
    magic: [u8; 4],
    optimize: u8,
    store: Store,
    compiled: AtomicUsize,
    workers: AtomicUsize,
}

/// What an interpreter says of a source.
enum Answer {
    /// The marshalled code object, as it is.
    Code(Vec<u8>),
    /// See [`Compiled::Rejected`].
    Rejected { line: u32, reason: String, is_final: bool },
}

/// A running interpreter.
pub(crate) struct Worker {
    child: Child,
    program: PathBuf,
    // None once it is told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Compiler {
    /// A compiler for that distribution, whose bytecode magic number is `magic`; `instead` runs in the place of its
    /// interpreter.
    #[must_use]
    pub(crate) fn new(
        distribution: &Distribution,
        instead: Option<&Path>,
        magic: [u8; 4],
        optimize: u8,
        store: Store,
    ) -> Self {
        Self {
            interpreter: instead
                .map_or_else(|| distribution.path(&distribution.paths.executable), Path::to_owned),
            target: distribution.target.clone(),
            version: format!(
                "{} {}",
                distribution.python.implementation, distribution.python.version
            ),
            magic,
            optimize,
            store,
            compiled: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
        }
    }

    /// How many sources were compiled, and how many interpreters did it.
    #[must_use]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.compiled.load(Ordering::Relaxed), self.workers.load(Ordering::Relaxed))
    }

    /// What went wrong with keeping results.
    #[must_use]
    pub(crate) fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }

    /// Compiles a source, or finds it compiled. `location` is its path in the application's tree, and
    /// what tracebacks show. `worker` is the calling thread's own, started when it is needed.
    pub(crate) fn compile(
        &self,
        worker: &mut Option<Worker>,
        location: &str,
        source: &[u8],
        sha256: &Digest,
    ) -> Result<Compiled, Fault> {
        // The magic number names the format; releases of one format may still compile differently.
        let key = Store::key(&[
            &self.magic,
            self.version.as_bytes(),
            &[self.optimize],
            location.as_bytes(),
            &sha256.0,
            &marshal::VERSION.to_le_bytes(),
        ]);
        if let Some(known) = self.store.get(&key).as_deref().and_then(Compiled::decode) {
            return Ok(known);
        }
        let worker = match worker {
            Some(worker) => worker,
            none => none.insert(self.start()?),
        };
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let compiled = match worker.ask(location, source) {
            Ok(Answer::Code(stream)) => {
                Compiled::Code(marshal::canonical(&stream).fault(location)?)
            }
            Ok(Answer::Rejected { line, reason, is_final: true }) => {
                Compiled::Rejected { line, reason }
            }
            // With more memory it may compile, so it is not kept.
            Ok(Answer::Rejected { line, reason, is_final: false }) => {
                return Ok(Compiled::Rejected { line, reason });
            }
            Err(error) => return Err(worker.died(location, error)),
        };
        self.store.put(&key, &compiled.encode());
        Ok(compiled)
    }

    fn start(&self) -> Result<Worker, Fault> {
        let place = self.interpreter.display();
        let mut command = Command::new(&self.interpreter);
        // As `-I`, which would ignore the hash seed too: no variable of the user's, no user site, and
        // no import from the current folder.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PYTHON") {
                command.env_remove(name);
            }
        }
        command
            .args(["-s", "-P", "-S", "-B", "-X", "utf8", "-c", WORKER, &self.optimize.to_string()])
            .env("PYTHONHASHSEED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().fault(&place).map_err(|fault| self.with_hint(fault))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fault::new(place, "expected pipes to the interpreter"));
        };
        let mut worker = Worker {
            child,
            program: self.interpreter.clone(),
            input: Some(input),
            output: BufReader::new(output),
        };
        self.workers.fetch_add(1, Ordering::Relaxed);
        let magic = match read_array(&mut worker.output) {
            Ok(magic) => magic,
            Err(error) => return Err(self.with_hint(worker.died(place, error))),
        };
        if magic != self.magic {
            let what = format!(
                "bytecode magic: expected {:08x} as the distribution says, got {:08x}",
                u32::from_be_bytes(self.magic),
                u32::from_be_bytes(magic)
            );
            return Err(Fault::new(place, what).hint("fetch the distribution again"));
        }
        let version = match worker.read_bytes() {
            Ok(version) => format!("cpython {}", String::from_utf8_lossy(&version)),
            Err(error) => return Err(worker.died(place, error)),
        };
        if version != self.version {
            let what = format!("expected {} as the distribution says, got {version}", self.version);
            return Err(Fault::new(place, what).hint("patch releases may compile differently"));
        }
        Ok(worker)
    }

    /// The way out where the distribution's interpreter is not for this machine.
    fn with_hint(&self, fault: Fault) -> Fault {
        if machine_of(&self.target) == std::env::consts::ARCH {
            return fault;
        }
        fault.hint(format_args!(
            "it is for {}: an emulator runs it, or --compile-with names a {} of this machine",
            self.target, self.version
        ))
    }
}

impl Worker {
    fn ask(&mut self, location: &str, source: &[u8]) -> io::Result<Answer> {
        let too_long = |_| io::Error::other("longer than 4 GiB");
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut request = Vec::with_capacity(8 + location.len() + source.len());
        for part in [location.as_bytes(), source] {
            request.extend(u32::try_from(part.len()).map_err(too_long)?.to_le_bytes());
        }
        request.extend_from_slice(location.as_bytes());
        request.extend_from_slice(source);
        input.write_all(&request)?;
        match read_u32(&mut self.output)? {
            0 => Ok(Answer::Code(self.read_bytes()?)),
            kind @ (1 | 2) => Ok(Answer::Rejected {
                is_final: kind == 1,
                line: read_u32(&mut self.output)?,
                reason: String::from_utf8_lossy(&self.read_bytes()?).into_owned(),
            }),
            answer => Err(io::Error::other(format!("expected an answer, got {answer}"))),
        }
    }

    fn read_bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = read_u32(&mut self.output)?;
        let mut bytes = Vec::new();
        (&mut self.output).take(len.into()).read_to_end(&mut bytes)?;
        if bytes.len() == len as usize {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// What to say when the interpreter stops answering: its last words, or how it ended.
    fn died(&mut self, place: impl std::fmt::Display, error: io::Error) -> Fault {
        self.input = None;
        let mut words = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            let _ = stderr.take(1 << 16).read_to_string(&mut words);
        }
        let status = self.child.wait();
        let ended = status.as_ref().map_or_else(|_| error.to_string(), ToString::to_string);
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&ended);
        let what = format!("the distribution's interpreter stopped: {last}");
        let fault = Fault::new(place, what);
        match status {
            Ok(status) => fault
                .caused_by(error)
                .of_kind(Kind::Command { program: self.program.display().to_string(), status }),
            Err(_) => fault.caused_by(error),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends when its stdin does.
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Compiled {
    /// As it is kept: a tag, where the file's name stands or the line, then the code object or the reason.
    fn encode(&self) -> Vec<u8> {
        let (tag, number, rest) = match self {
            Self::Code(code) => (0, code.file_name, code.stream.as_slice()),
            Self::Rejected { line, reason } => (1, *line, reason.as_bytes()),
        };
        let mut bytes = Vec::with_capacity(5 + rest.len());
        bytes.push(tag);
        bytes.extend(number.to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[tag, ref number @ ..], rest) = bytes.split_first_chunk::<5>()?;
        let number = u32::from_le_bytes(*number);
        match tag {
            0 => Some(Self::Code(Code { stream: rest.to_vec(), file_name: number })),
            1 => Some(Self::Rejected {
                line: number,
                reason: String::from_utf8(rest.to_vec()).ok()?,
            }),
            _ => None,
        }
    }
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map(|()| bytes)
}

fn read_u32(reader: &mut impl Read) -> io::Result<u32> {
    read_array(reader).map(u32::from_le_bytes)
}
