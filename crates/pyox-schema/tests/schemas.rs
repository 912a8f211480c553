//! The JSON Schemas, held against the Rust types and against the examples of the specifications.
//!
//! The validator is the `jsonschema` crate: what the types write must validate, what the schemas
//! forbid must not, and the examples in `docs/formats/` must be both valid and readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use pyox_schema::{
    Bytecode, Digest, Distribution, DistributionRef, Document, Excluded, Extension, FileRef,
    Library, Link, LinkMode, LinkPlan, Linkage, Manifest, Paths, Payload, Placement, Project,
    Python, Resource, ResourceKind, Run, Stdlib, Value as Setting,
};
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schema(kind: &str) -> Validator {
    let path = repository().join(format!("schemas/pyox.{kind}.1.json"));
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(jsonschema::meta::is_valid(&schema), "{kind} is no valid schema");
    jsonschema::draft202012::new(&schema).unwrap()
}

fn assert_valid(validator: &Validator, document: &Value) {
    let errors: Vec<_> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn written<D: Document>(document: &D) -> Value {
    serde_json::from_slice(&document.to_json()).unwrap()
}

fn file(path: &str) -> FileRef {
    FileRef { path: path.to_owned(), size: 3, sha256: Digest::of(b"foo") }
}

fn distribution() -> Distribution {
    let text = str::to_owned;
    Distribution {
        schema: text(Distribution::SCHEMA),
        source: text("source@3.14"),
        root: "/opt/python".into(),
        target: text("x86_64-unknown-linux-musl"),
        python: Python {
            implementation: text("cpython"),
            version: text("3.14.0rc1"),
            version_info: (3, 14),
            tag: text("cp314t"),
            soabi: text("cpython-314t-x86_64-linux-musl"),
            bytecode_magic: text("2b0e0d0a"),
            extension_suffixes: vec![text(".abi3.so"), text(".so")],
            platform: text("linux-x86_64"),
        },
        paths: Paths {
            executable: text("bin/python3.14"),
            stdlib: text("lib/python3.14"),
            dynload: None,
            include: Some(text("include/python3.14")),
            test_packages: vec![text("idlelib.idle_test"), text("test")],
        },
        stdlib: Stdlib { sha256: Digest::of(b""), files: 1 },
        link: Link {
            can_static: true,
            can_dynamic: false,
            reason: Some(text("no shared libc")),
            libpython: Some(file("lib/libpython3.14.a")),
            pic_libpython: Some(file("lib/libpython3.14-pic.a")),
            shared_libpython: Some(file("lib/libpython3.14.so.1.0")),
            archives: vec![file("build/Modules/a b.o")],
            libraries: vec![
                Library { name: text("z"), archive: Some(file("lib/libz.a")) },
                Library { name: text("m"), archive: None },
            ],
            arguments: vec![text("-Wl,-z,now")],
            driver: text("cc"),
            object_format: text("llvm-bitcode:22.1"),
        },
        extensions: vec![
            Extension {
                name: text("_warnings"),
                linkage: Linkage::Builtin,
                init: None,
                file: None,
                libraries: vec![],
            },
            Extension {
                name: text("_ssl"),
                linkage: Linkage::File,
                init: Some(text("PyInit__ssl")),
                file: Some(file("lib/_ssl.so")),
                libraries: vec![text("libssl.so.3")],
            },
        ],
        licenses: vec![text("licenses/LICENSE.cpython.txt")],
    }
}

fn resource(kind: ResourceKind, name: &str, location: Option<&str>) -> Resource {
    Resource {
        kind,
        name: name.to_owned(),
        location: location.map(str::to_owned),
        payload: location.map(|location| Payload {
            path: Path::new("/src").join(location),
            size: 3,
            sha256: Digest::of(b"foo"),
        }),
        package: false,
        cold: false,
        needs: vec![],
        project: "app".to_owned(),
        origin: pyox_schema::Origin::Application,
        reason: "the application".to_owned(),
    }
}

fn manifest(run: Run) -> Manifest {
    use ResourceKind as Kind;
    let text = str::to_owned;
    let values = [
        ("a_flag", Setting::Boolean(true)),
        ("hash_seed", Setting::Integer(4_294_967_295)),
        ("program_name", Setting::Text(text("äpp"))),
        ("xoptions", Setting::List(vec![text("dev")])),
    ];
    let values: BTreeMap<_, _> = values.map(|(name, value)| (text(name), value)).into();
    let native = resource(Kind::ExtensionModule, "app.fast", Some("app/fast.abi3.so"));
    let library = resource(Kind::SharedLibrary, "app.libs/libz.so", Some("app.libs/libz.so"));
    Manifest {
        schema: text(Manifest::SCHEMA),
        distribution: DistributionRef {
            sha256: distribution().digest(),
            version: text("3.14.0rc1"),
            target: text("x86_64-unknown-linux-gnu"),
        },
        run,
        preconfig: values.clone(),
        config: values,
        interpreter: Some(true),
        bytecode: Bytecode { optimize: 2, sources: false },
        placements: [(text("app"), Placement::Cache), (text("ns.app_1"), Placement::Beside)].into(),
        sys: [
            (text("frozen"), Setting::Boolean(true)),
            (text("_MEIPASS"), Setting::Text(text("$ORIGIN"))),
        ]
        .into(),
        search_path: vec![text("$ORIGIN/plugins")],
        environment: [(text("TERMINFO_DIRS"), text("/usr/share/terminfo"))].into(),
        module_lists: Some(text("MODULES")),
        projects: vec![Project { name: text("app"), version: None }],
        resources: vec![
            resource(Kind::Module, "app.größe", Some("app/größe.py")),
            resource(Kind::Package, "app", Some("app/__init__.py")),
            resource(Kind::NamespacePackage, "ns.app_1", None),
            resource(Kind::ExtensionModule, "_abc", None),
            Resource { package: true, cold: true, needs: vec![text("app.libs/libz.so")], ..native },
            resource(Kind::PackageData, "app/a file…", Some("app/a file…")),
            resource(Kind::Metadata, "app-1.dist-info/METADATA", Some("app-1.dist-info/METADATA")),
            library,
        ],
        excluded: vec![Excluded {
            name: text("test.*"),
            project: text("python"),
            reason: text("left out by default"),
        }],
    }
}

fn link_plan() -> LinkPlan {
    let text = str::to_owned;
    LinkPlan {
        schema: text(LinkPlan::SCHEMA),
        distribution: manifest(Run::Repl).distribution,
        mode: LinkMode::Dynamic,
        reason: text("asked for"),
        root: "/opt/python".into(),
        driver: text("cc"),
        runtime: file("libpyembed_runner.a"),
        libpython: file("lib/libpython3.14.a"),
        archives: vec![file("lib/libz.a")],
        libraries: vec![text("m"), text(":libffi.a")],
        arguments: vec![text("-rdynamic")],
        inittab: vec![text("_abc")],
        section: text(".pyox_blob"),
    }
}

#[test]
fn what_the_types_write_is_valid() {
    assert_valid(&schema("distribution"), &written(&distribution()));
    assert_valid(&schema("link-plan"), &written(&link_plan()));
    let (module, function) = ("app".to_owned(), "cli.main".to_owned());
    for run in [
        Run::Repl,
        Run::Script,
        Run::Module { module: module.clone() },
        Run::Code { code: String::new() },
        Run::EntryPoint { module, function },
    ] {
        let manifest = manifest(run);
        assert_valid(&schema("manifest"), &written(&manifest));
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
    }
}

/// Names that no import statement could write, and that real projects have.
#[test]
fn names_that_only_calls_can_import_are_valid() {
    let mut document = written(&manifest(Run::Repl));
    for name in ["85cae5375ceb5d1ca6c6__mypyc", "_sysconfigdata__linux_x86_64-linux-gnu"] {
        document["resources"][0]["name"] = json!(name);
        assert_valid(&schema("manifest"), &document);
    }
}

#[test]
fn unknown_keys_are_valid() {
    let mut document = written(&manifest(Run::Repl));
    document["x"] = json!(1);
    document["resources"][0]["x"] = json!(null);
    document["distribution"]["x"] = json!([]);
    assert_valid(&schema("manifest"), &document);
    Manifest::from_json(&serde_json::to_vec(&document).unwrap()).unwrap();
}

/// Applies each edit to a valid document, and expects it to be refused.
fn assert_refused(kind: &str, valid: &Value, edits: &[(&str, Value)]) {
    let validator = schema(kind);
    assert_valid(&validator, valid);
    for (pointer, value) in edits {
        let mut document = valid.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent) {
            Some(Value::Object(object)) => object.insert(key.to_owned(), value.clone()),
            Some(Value::Array(items)) => {
                items[key.parse::<usize>().unwrap()] = value.clone();
                None
            }
            other => panic!("{pointer}: nothing to edit in {other:?}"),
        };
        assert!(!validator.is_valid(&document), "{kind}: {pointer} = {value} is taken for valid");
    }
}

/// Removes each key of an object, and expects all but `optional` to be missed.
fn assert_required(kind: &str, valid: &Value, pointer: &str, optional: &[&str]) {
    let validator = schema(kind);
    for key in valid.pointer(pointer).and_then(Value::as_object).unwrap().keys() {
        let mut document = valid.clone();
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
        let is_optional = optional.contains(&key.as_str());
        assert_eq!(validator.is_valid(&document), is_optional, "{kind}: without {pointer}/{key}");
    }
}

const DIGEST: &str = "FCDE2B2EDBA56BF408601FB721FE9B5C338D10EE429EA04FAE5511B68FBF8FB9";

#[test]
fn wrong_distributions_are_refused() {
    let valid = written(&distribution());
    assert_required("distribution", &valid, "", &["licenses"]);
    assert_required("distribution", &valid, "/python", &[]);
    assert_required("distribution", &valid, "/paths", &["dynload", "include", "test_packages"]);
    assert_required(
        "distribution",
        &valid,
        "/link",
        &["reason", "archives", "arguments", "libpython", "pic_libpython", "shared_libpython"],
    );
    assert_required("distribution", &valid, "/link/libpython", &[]);
    assert_required("distribution", &valid, "/extensions/1", &["init", "libraries"]);
    let edits = [
        ("/schema", json!("pyox.distribution/2")),
        ("/schema", json!("pyox.manifest/1")),
        ("/root", json!("")),
        ("/target", json!("Linux")),
        ("/python/version", json!("3.13")),
        ("/python/version_info", json!([3])),
        ("/python/version_info", json!([3, 13, 5])),
        ("/python/version_info", json!(["3", "13"])),
        ("/python/bytecode_magic", json!(3571)),
        ("/python/bytecode_magic", json!("f30d")),
        ("/paths/stdlib", json!("/usr/lib/python3.13")),
        ("/paths/stdlib", json!("lib/../../etc")),
        ("/paths/dynload", json!(null)),
        ("/stdlib/files", json!(-1)),
        ("/stdlib/sha256", json!(DIGEST)),
        ("/link/static", json!("yes")),
        ("/link/object_format", json!("llvm-bitcode")),
        ("/link/libpython/size", json!("3")),
        ("/link/libpython/sha256", json!("fcde")),
        ("/link/libpython/path", json!("lib//libpython.a")),
        ("/link/libraries", json!(["z"])),
        ("/extensions/0/linkage", json!("static")),
        ("/extensions/0/file", json!({ "path": "a", "size": 0, "sha256": DIGEST.to_lowercase() })),
        ("/extensions/0/name", json!("a-b")),
    ];
    assert_refused("distribution", &valid, &edits);
}

#[test]
fn wrong_manifests_are_refused() {
    let valid = written(&manifest(Run::Module { module: "app".to_owned() }));
    let optional = [
        "preconfig",
        "config",
        "interpreter",
        "bytecode",
        "placements",
        "sys",
        "search_path",
        "environment",
        "module_lists",
        "excluded",
    ];
    assert_required("manifest", &valid, "", &optional);
    assert_required("manifest", &valid, "/distribution", &[]);
    assert_required("manifest", &valid, "/run", &[]);
    assert_required("manifest", &valid, "/bytecode", &["optimize", "sources"]);
    assert_required("manifest", &valid, "/resources/0", &["origin"]);
    assert_required("manifest", &valid, "/resources/0/payload", &[]);
    // The kinds that only have both or neither.
    assert_required("manifest", &valid, "/resources/4", &["package", "cold", "needs", "origin"]);
    assert_required("manifest", &valid, "/excluded/0", &[]);
    let edits = [
        ("/schema", json!("pyox.manifest/2")),
        ("/run", json!({ "mode": "python" })),
        ("/run", json!({ "mode": "repl", "module": "app" })),
        ("/run", json!({ "mode": "module", "module": "app", "x": 1 })),
        ("/run/module", json!("app:main")),
        ("/run", json!({ "mode": "entry-point", "module": "app", "function": "1st" })),
        ("/preconfig/utf8_mode", json!(1.5)),
        ("/preconfig/utf8-mode", json!(1)),
        ("/config/argv", json!([1])),
        ("/interpreter", json!(1)),
        ("/placements/app", json!("disk")),
        ("/sys/frozen", json!(null)),
        ("/search_path/0", json!(1)),
        ("/environment/TERMINFO_DIRS", json!(1)),
        ("/module_lists", json!("a=b")),
        ("/bytecode/optimize", json!(3)),
        ("/projects/0/name", json!("Ruamel.Yaml")),
        ("/resources/0/kind", json!("source")),
        ("/resources/0/name", json!("app.one two")),
        ("/resources/0/name", json!("app/größe")),
        ("/resources/0/name", json!("app..x")),
        ("/resources/0/location", json!("/app/x.py")),
        ("/resources/0/location", json!("app/./x.py")),
        ("/resources/0/location", json!("..")),
        ("/resources/0/location", json!("app/")),
        ("/resources/0/location", json!("a\u{0}b")),
        ("/resources/0/package", json!(true)),
        ("/resources/0/needs", json!(["app.libs/libz.so"])),
        ("/resources/0/payload/sha256", json!(DIGEST)),
        ("/resources/0/payload/size", json!(-1)),
        ("/resources/2/location", json!("ns")),
        ("/resources/3/location", json!("_abc.so")),
        ("/resources/5/name", json!("/etc/passwd")),
    ];
    assert_refused("manifest", &valid, &edits);
}

#[test]
fn wrong_link_plans_are_refused() {
    let valid = written(&link_plan());
    assert_required("link-plan", &valid, "", &[]);
    let edits = [
        ("/schema", json!("pyox.link-plan/0")),
        ("/mode", json!("both")),
        ("/section", json!("pyox_blob")),
        ("/libraries", json!(["/usr/lib/libz.a"])),
        ("/archives/0/path", json!("../libpython.a")),
        ("/inittab/0", json!("")),
    ];
    assert_refused("link-plan", &valid, &edits);
}

/// What the readers refuse of `run`, the schema refuses too.
#[test]
fn nobody_takes_an_unknown_key_in_run() {
    let mut document = written(&manifest(Run::Module { module: "app".to_owned() }));
    document["run"]["function"] = json!("main");
    let error = Manifest::from_json(&serde_json::to_vec(&document).unwrap()).unwrap_err();
    assert!(error.to_string().contains("function"), "{error}");
}

#[test]
fn the_examples_of_the_specifications_are_valid() {
    fn check<D: Document>(kind: &str) {
        let path = repository().join(format!("docs/formats/{kind}.md"));
        let text = std::fs::read_to_string(path).unwrap();
        let examples: Vec<_> = text
            .split("```json\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default())
            .collect();
        assert!(!examples.is_empty(), "{kind}.md has no example");
        for example in examples {
            assert_valid(&schema(kind), &serde_json::from_str(example).unwrap());
            D::from_json(example.as_bytes()).unwrap();
        }
    }
    check::<Distribution>("distribution");
    check::<Manifest>("manifest");
    check::<LinkPlan>("link-plan");
}

/// Each key of the schemas has its row in the specification.
#[test]
fn the_specifications_name_every_key() {
    fn keys(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| keys(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    for kind in ["distribution", "manifest", "link-plan"] {
        let schema = repository().join(format!("schemas/pyox.{kind}.1.json"));
        let schema = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
        let text = repository().join(format!("docs/formats/{kind}.md"));
        let text = std::fs::read_to_string(text).unwrap();
        let mut found = Vec::new();
        keys(&schema, &mut found);
        assert!(found.len() > 10);
        for key in found {
            assert!(text.contains(&format!("`{key}`")), "{kind}.md says nothing of `{key}`");
        }
    }
}
