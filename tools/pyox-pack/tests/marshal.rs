//! The canonical form of code objects, on what the interpreter on `PATH` really compiles.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use pyox_pack::marshal::{Code, Error, canonical};

/// Compiles modules of the standard library in an order that depends on the argument, after making
/// other references to the strings and numbers in them; prints length and marshalled code of each.
const COMPILE: &str = r#"
import marshal, os, sys, sysconfig, pathlib
out = sys.stdout.buffer
lib = pathlib.Path(sysconfig.get_path("stdlib"))
names = sorted(p.name for p in lib.glob("*.py") if p.name not in ("this.py", "antigravity.py"))[::2]
made, alive = {}, []
if sys.argv[1] == "backward":
    # References that live on change the counts that marshal looks at.
    for name in names:
        code = compile((lib / name).read_bytes(), "other/" + name, "exec", dont_inherit=True)
        alive.append((code, [sys.intern(str(n)) for n in code.co_names], list(code.co_consts)))
    names.reverse()
for name in names:
    code = compile((lib / name).read_bytes(), name, "exec", dont_inherit=True)
    if sys.argv[1] == "backward":
        alive.append(code)
    made[name] = marshal.dumps(code)
for name in sorted(made):
    out.write(len(made[name]).to_bytes(4, "little") + made[name])
"#;

/// Reads two files of such streams; the objects must be equal, and what was one object still is one.
const COMPARE: &str = r#"
import marshal, sys, types

def streams(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size

FIELDS = """co_argcount co_posonlyargcount co_kwonlyargcount co_nlocals co_stacksize co_flags co_code
    co_consts co_names co_varnames co_freevars co_cellvars co_filename co_name co_qualname
    co_firstlineno co_linetable co_exceptiontable""".split()

def same(one, other, seen):
    assert type(one) is type(other), (one, other)
    # What was one object stays one.
    if type(one) in (tuple, str, bytes, frozenset, types.CodeType) and one:
        assert seen.setdefault(id(one), id(other)) == id(other), one
    if isinstance(one, types.CodeType):
        for field in FIELDS:
            # Computed anew by each access.
            fresh = field in ("co_code", "co_varnames", "co_freevars", "co_cellvars")
            same(getattr(one, field), getattr(other, field), {} if fresh else seen)
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            same(a, b, seen)
    else:
        assert repr(one) == repr(other) if not isinstance(one, frozenset) else one == other

count = 0
for before, after in zip(streams(sys.argv[1]), streams(sys.argv[2]), strict=True):
    assert len(after) <= len(before)
    same(marshal.loads(before), marshal.loads(after), {})
    count += 1
print(count)
"#;

fn python(script: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("python3")
        .args(["-I", "-W", "ignore", "-c", script])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("python3 on PATH");
    assert!(output.status.success());
    output.stdout
}

/// What a script prints that reads a stream from stdin.
fn fed(script: &str, stream: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(["-I", "-X", "int_max_str_digits=0", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 on PATH");
    child.stdin.take().expect("a pipe").write_all(stream).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("ASCII")
}

fn streams(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut streams = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let (stream, rest) = rest.split_at(u32::from_le_bytes(*head) as usize);
        streams.push(stream);
        bytes = rest;
    }
    streams
}

#[test]
fn it_does_not_depend_on_what_the_process_did_before() {
    let forward = python(COMPILE, &["forward"]);
    let backward = python(COMPILE, &["backward"]);
    let (forward, backward) = (streams(&forward), streams(&backward));
    assert!(forward.len() > 60 && forward.len() == backward.len());
    // Otherwise there would be nothing to put right, and this test would prove nothing.
    assert_ne!(forward, backward);
    for (one, other) in forward.iter().zip(&backward) {
        let one = canonical(one).expect("known types only");
        assert!(one == canonical(other).expect("known types only"));
        assert!(one == canonical(&one.stream).expect("known types only"), "it is a fixed point");
    }
}

#[test]
fn it_loads_as_an_equal_object_with_the_same_sharing() {
    let before = python(COMPILE, &["forward"]);
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("before"), folder.path().join("after"));
    std::fs::write(&one, &before).expect("written");
    let mut file = std::fs::File::create(&other).expect("created");
    for stream in streams(&before) {
        let after = canonical(stream).expect("known types only").stream;
        let len = u32::try_from(after.len()).expect("short");
        file.write_all(&len.to_le_bytes()).expect("written");
        file.write_all(&after).expect("written");
    }
    let paths = [one.to_str().expect("UTF-8"), other.to_str().expect("UTF-8")];
    let count: usize =
        String::from_utf8(python(COMPARE, &paths)).expect("text").trim().parse().expect("a number");
    assert!(count > 60, "{count}");
}

#[test]
fn every_kind_of_constant_survives() {
    const EVERY: &str = r#"
import marshal, sys
source = '''
a = None, True, False, ..., 0, -1, 2**31, -2**70, 10**4000 % 10**300, 1.5, float, 1e999, 2j
b = "", "x", "é", "π", "\\udc80", "long text with blanks", "😀" * 300, b"", b"bytes", ("nested", ("tuples",))
def f(x, /, y=1, *args, z: "annotation" = 2, **kwargs):
    "documentation"
    return x in {"b", "a", 1, 2.5, b"c", ("t", "u"), None, "é"}, [x for x in y], lambda: args
class C(str):
    async def m(self, i):
        return i[1:2], i[::3]
'''
sys.stdout.buffer.write(marshal.dumps(compile(source, "f.py", "exec")))
"#;
    const RUN: &str = "import marshal, sys; scope = {}; \
        exec(marshal.loads(sys.stdin.buffer.read()), scope); \
        print(ascii((scope['a'][6:10], scope['b'], scope['f'](2.5, [1])[0], scope['f'].__code__.co_consts)))";
    // The sets' order when they are shown is not the stream's, and may differ.
    let run = |stream: &[u8]| fed(RUN, stream).split("frozenset").next().map(str::to_owned);
    let stream = python(EVERY, &[]);
    let after = canonical(&stream).expect("known types only");
    assert_eq!(run(&stream), run(&after.stream));
}

#[test]
fn the_name_of_the_file_stands_once_and_is_no_constant() {
    // The name as a constant too, before the code objects in the module end and behind.
    const SOURCE: &str = "import marshal, sys; source = 'a = \"app.py\"\\ndef f(): return \"app.py\"\\nclass C: pass'; \
        sys.stdout.buffer.write(marshal.dumps(compile(source, sys.intern('app.py'), 'exec')))";
    const SHOW: &str = "import marshal, sys; scope = {}; code = marshal.loads(sys.stdin.buffer.read()); \
        exec(code, scope); print(code.co_filename, scope['f'].__code__.co_filename, scope['a'], scope['f']())";
    let Code { stream, file_name } = canonical(&python(SOURCE, &[])).expect("known types only");
    let at = file_name as usize;
    // A short string, referred to later, of six bytes.
    assert_eq!(stream[at..][..8], *b"\xfa\x06app.py");
    let named = [&stream[..at], b"\xfa\x0b/o/p/app.py", &stream[at + 8..]].concat();
    assert_eq!(fed(SHOW, &named), "/o/p/app.py /o/p/app.py app.py app.py\n");
}

/// No code of CPython's has a set in a set. The form of one does not depend on its order either.
#[test]
fn the_canonical_form_of_sets_in_sets_is_its_own() {
    let forged = b"\xbe\x04\0\0\0\xbe\x04\0\0\0\xc6\xc6\xae\xc6\xc6\xbe\x04\0\0\0\xc6\xce\xae.\xae";
    let once = canonical(forged).unwrap().stream;
    assert_eq!(canonical(&once).unwrap().stream, once);
    // What is shared is as long as two to the power of forty when it is written out.
    let mut shared = b"\xa9\x02NN".to_vec();
    for number in 1_u32..=40 {
        let pair =
            [&[0xa9, 2, b'r'][..], &number.to_le_bytes(), b"r", &number.to_le_bytes()].concat();
        shared.extend(pair);
    }
    let all = [&b"\xa9\x2a"[..], &shared].concat();
    let set = [&all[..], b">\x02\0\0\0r\x29\0\0\0N"].concat();
    assert!(canonical(&set).is_ok());
}

#[test]
fn what_is_not_known_or_not_whole_is_an_error() {
    let stream = python(
        "import marshal, sys; sys.stdout.buffer.write(marshal.dumps(compile('def f(): return {1}, 2, 3.5', 'f', 'exec')))",
        &[],
    );
    for end in 0..stream.len() {
        assert!(canonical(&stream[..end]).is_err(), "cut at {end}");
    }
    let mut longer = stream.clone();
    longer.push(b'N');
    assert_eq!(canonical(&longer), Err(Error::Trailing(1)));
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut flipped = stream.clone();
            flipped[at] ^= 1 << bit;
            // An error or another object, but no panic and no endless loop.
            let _ = canonical(&flipped);
        }
    }
    assert_eq!(canonical(b"?"), Err(Error::UnknownType { code: b'?', at: 0 }));
    assert_eq!(canonical(b"r\0\0\0\0"), Err(Error::BadReference(0)));
    // A tuple that holds itself.
    assert_eq!(canonical(b"\xa9\x01r\0\0\0\0"), Err(Error::BadReference(0)));
    let mut deep = b")\x01".repeat(1_000_000);
    assert_eq!(canonical(&deep), Err(Error::Truncated));
    deep.push(b'N');
    assert_eq!(canonical(&deep), Ok(Code { stream: deep.clone(), file_name: 0 }));
    // A forged count.
    assert_eq!(canonical(b"(\xff\xff\xff\xffN"), Err(Error::Truncated));
}
