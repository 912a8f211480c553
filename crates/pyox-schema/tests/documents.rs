//! Reading documents: what is refused, in which words, and what a distribution's digest depends on.

use pyox_schema::{Digest, Distribution, Document, Error, LinkPlan, Manifest};
use serde_json::{Value, json};

/// The example of the specification: every kind of value is in it.
fn example() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats/distribution.md");
    let text = std::fs::read_to_string(path).unwrap();
    let example = text.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    serde_json::from_str(example).unwrap()
}

fn read(document: &Value) -> Result<Distribution, Error> {
    Distribution::from_json(&serde_json::to_vec(document).unwrap())
}

#[test]
fn an_empty_input_points_at_the_stage_before() {
    for empty in ["", "  \n\t\r\n"] {
        let error = Manifest::from_json(empty.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Empty), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("did the stage before fail"), "{message}");
    }
}

#[test]
fn a_truncated_document_is_an_error_with_its_place() {
    let whole = read(&example()).unwrap().to_json();
    for len in (1..whole.len() - 2).step_by(97) {
        let error = Distribution::from_json(&whole[..len]).unwrap_err();
        let Error::Json(json) = &error else { panic!("{len}: {error:?}") };
        let message = json.to_string();
        let line = whole[..len].split(|byte| *byte == b'\n').count();
        assert!(message.contains("EOF"), "{message}");
        // A cut right behind a line feed is reported at the end of the line before or of the next.
        let near = [line - 1, line].map(|line| format!("at line {line} column "));
        assert!(near.iter().any(|place| message.contains(place)), "{message}: expected {near:?}");
    }
    let error = Distribution::from_json(&[&whole[..], b"{}"].concat()).unwrap_err();
    assert!(error.to_string().starts_with("trailing characters at line"), "{error}");
}

#[test]
fn another_kind_or_major_version_is_refused_before_its_keys_are_looked_at() {
    for schema in ["pyox.distribution/2", "pyox.distribution/10", "pyox.manifest/1", "1"] {
        // Nothing else in it: a missing key is not what is wrong.
        let error = read(&json!({ "schema": schema })).unwrap_err();
        let message = format!("schema: expected `pyox.distribution/1`, got `{schema}`");
        assert_eq!(error.to_string(), message);
    }
    let error = LinkPlan::from_json(b"{}").unwrap_err();
    let wanted = LinkPlan::SCHEMA;
    assert!(matches!(error, Error::Schema { expected, found: None } if expected == wanted));
}

#[test]
fn a_missing_or_wrong_key_is_named() {
    let mut document = example();
    document["link"].as_object_mut().unwrap().remove("driver");
    let message = read(&document).unwrap_err().to_string();
    assert!(message.contains("missing field `driver`") && message.contains("line"), "{message}");

    let mut document = example();
    document["stdlib"]["sha256"] = json!("beef");
    let message = read(&document).unwrap_err().to_string();
    assert!(message.contains("expected a SHA-256") && message.contains("`beef`"), "{message}");
}

#[test]
fn unknown_keys_are_ignored() {
    let plain = read(&example()).unwrap();
    let mut document = example();
    document["new"] = json!({ "a": [1, null] });
    document["python"]["new"] = json!(1);
    document["link"]["libraries"][0]["new"] = json!("x");
    assert_eq!(read(&document).unwrap(), plain);
    assert_eq!(read(&document).unwrap().digest(), plain.digest());
}

#[test]
fn a_document_survives_being_written_and_read() {
    let document = read(&example()).unwrap();
    let json = document.to_json();
    assert_eq!(json.last(), Some(&b'\n'));
    assert_eq!(Distribution::from_json(&json).unwrap(), document);
    assert_eq!(Distribution::from_json(&json).unwrap().to_json(), json);
}

/// The same document in the form that the specification prescribes, written here by hand.
#[test]
fn the_digest_is_that_of_the_specified_form() {
    let text = r#"{
  "schema": "pyox.distribution/1",
  "source": "ä\\\"\u0001\n",
  "root": "",
  "target": "x86_64-unknown-linux-gnu",
  "python": {
    "implementation": "cpython",
    "version": "3.13.5",
    "version_info": [
      3,
      13
    ],
    "tag": "cp313",
    "soabi": "",
    "bytecode_magic": "f30d0d0a",
    "extension_suffixes": [],
    "platform": "linux-x86_64"
  },
  "paths": {
    "executable": "bin/python3",
    "stdlib": "lib",
    "test_packages": []
  },
  "stdlib": {
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "files": 1
  },
  "link": {
    "static": true,
    "dynamic": true,
    "libpython": {
      "path": "libpython.a",
      "size": 3,
      "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    },
    "archives": [],
    "libraries": [],
    "arguments": [],
    "driver": "cc",
    "object_format": "elf"
  },
  "extensions": []
}
"#;
    let document = Distribution::from_json(text.as_bytes()).unwrap();
    // Whether it links statically depends on what else is installed, and the driver's name on the machine.
    let without = text.replace("\"static\": true", "\"static\": false");
    let without = without.replace("\"driver\": \"cc\"", "\"driver\": \"\"");
    assert_eq!(document.digest(), Digest::of(without.as_bytes()));
}

#[test]
fn the_digest_does_not_depend_on_the_folder_but_on_all_else() {
    let document = read(&example()).unwrap();
    let mut moved = document.clone();
    moved.root = "/somewhere/else".into();
    assert_eq!(moved.digest(), document.digest());
    // Nor on how the document was written.
    let compact = serde_json::to_vec(&example()).unwrap();
    assert_eq!(Distribution::from_json(&compact).unwrap().digest(), document.digest());

    let changes: [fn(&mut Distribution); 5] = [
        |d| d.python.version.push('1'),
        |d| d.link.libpython.as_mut().unwrap().sha256 = Digest::of(b"another"),
        |d| d.stdlib.sha256 = Digest::of(b"another"),
        |d| d.link.arguments.push("-g".to_owned()),
        |d| drop(d.extensions.pop()),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = document.clone();
        change(&mut other);
        assert_ne!(other.digest(), document.digest(), "change {number}");
    }
}

#[test]
fn a_digest_is_64_hexadecimal_digits() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    assert_eq!(empty.parse(), Ok(Digest::of(b"")));
    assert_eq!(Digest::of_reader(&b"foo"[..]).unwrap(), (Digest::of(b"foo"), 3));
    for wrong in ["", "e3b0", &empty[1..], &format!("{empty}0"), &empty.replace('e', "ä")] {
        let error = wrong.parse::<Digest>().unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }
}
