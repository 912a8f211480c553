//! The answers as values, for programs that call the library.

#[path = "../../../crates/pyox-blob/tests/support/mod.rs"]
mod support;

use std::fs;

use pyox_blob::layout::ModuleKind;
use pyox_inspect::{By, Input, Kind, check, diff, facts, summary};
use pyox_schema::Digest;
use pyox_stage::Kind as FaultKind;
use support::{Draft, example, module};

fn blob(draft: &Draft) -> Vec<u8> {
    draft.write(|bytes| Digest::of(bytes).0)
}

#[test]
fn sums_agree_with_the_blob_where_a_file_is_two_modules() {
    let mut draft = example();
    let before = blob(&draft);
    let total = |blob: &[u8]| -> u64 {
        let input = Input::new("blob", blob);
        input.contents().unwrap().sums(By::Project).iter().map(|sum| sum.size).sum()
    };
    let mut main = module("__main__", ModuleKind::Module, b"code");
    main.file = Some("app/core.py");
    draft.modules.push(main);
    assert_eq!(total(&blob(&draft)), total(&before) + 4);
}

#[test]
fn a_resource_is_found_by_its_name_and_by_its_path() {
    let bytes = blob(&example());
    let input = Input::new("blob", &bytes);
    let contents = input.contents().unwrap();
    let core = contents.find("app.core").unwrap();
    assert_eq!((core.kind, &*core.path(), core.size), (Kind::Module, "app/core.py", Some(14)));
    assert_eq!(contents.find("app/core.py").unwrap().name, "app.core");
    assert_eq!(contents.file(core).unwrap().as_deref(), Some(&b"print('core')\n"[..]));
    assert_eq!(contents.code(core).unwrap().unwrap(), &b"code of app.core"[..]);
    let fault = contents.find("core").unwrap_err();
    assert_eq!(
        (fault.kind(), fault.way_out()),
        (&FaultKind::Missing, Some("did you mean `app.core`?"))
    );
}

#[test]
fn a_tree_ends_where_it_is_cut_and_keeps_its_sums() {
    let bytes = blob(&example());
    let input = Input::new("blob", &bytes);
    let contents = input.contents().unwrap();
    let (whole, cut) = (contents.tree(None), contents.tree(Some(1)));
    assert_eq!((cut.size, cut.resources), (whole.size, whole.resources));
    assert!(whole.children["app"].children.contains_key("core.py"));
    assert!(cut.children["app"].children.is_empty());
}

#[test]
fn damage_is_an_answer_and_something_else_is_a_fault() {
    let mut bytes = blob(&example());
    let input = Input::new("blob", &bytes);
    assert!(check(&input).unwrap().ok);
    assert_eq!(summary(&input).unwrap().kind, "blob");
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    let verdict = check(&Input::new("blob", &bytes)).unwrap();
    assert!(!verdict.ok && verdict.problems.iter().any(|problem| problem.name == "sha256"));
    assert_eq!(*check(&Input::new("x", &b"#!/bin/sh"[..])).unwrap_err().kind(), FaultKind::Input);
    assert_eq!(*Input::open("/nonexistent".as_ref()).unwrap_err().kind(), FaultKind::Missing);
}

#[test]
fn a_difference_names_resources_and_settings() {
    let one = blob(&example());
    let mut draft = example();
    draft.modules.retain(|module| module.name != "json");
    draft.config.placements.clear();
    let other = blob(&draft);
    let (one, other) = (Input::new("one", &one), Input::new("other", &other));
    assert!(diff(&one, &one).unwrap().equal);
    let difference = diff(&one, &other).unwrap();
    assert_eq!(difference.removed[0].name, "json");
    assert_eq!(difference.config[0].name, "placements.app");
    assert!(difference.config[0].to.is_null() && !difference.equal);
    assert!(facts(&other).unwrap().iter().any(|(key, _)| key == "run.mode"));
}

#[test]
fn resources_become_files_and_replace_none_unasked() {
    let bytes = blob(&example());
    let input = Input::new("blob", &bytes);
    let contents = input.contents().unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(contents.extract(&["app.core".to_owned()], folder.path(), false).unwrap(), 1);
    let path = folder.path().join("app/core.py");
    assert_eq!(fs::read(&path).unwrap(), b"print('core')\n");
    fs::write(&path, "mine").unwrap();
    assert!(contents.extract(&[], folder.path(), false).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    contents.extract(&[], folder.path(), true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"print('core')\n");
}
