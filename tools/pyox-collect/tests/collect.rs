//! What the tool takes from a real standard library, from applications and from wheels.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use pyox_schema::{ResourceKind, Run, Value};
use support::{Workshop, excluded, importable, is_below, resource};

#[test]
fn a_script_is_main_and_its_siblings_stay_out() {
    let shop = Workshop::new();
    shop.write("hello.py", "print('hello')\n");
    shop.write("sibling.py", "x = 1\n");
    let manifest = shop.collect(&["hello.py"]);
    assert_eq!(manifest.run, Run::Script);
    let main = resource(&manifest, ResourceKind::Module, "__main__");
    assert_eq!(main.location.as_deref(), Some("app/hello.py"));
    // `python hello.py` can import it by its name.
    let again = resource(&manifest, ResourceKind::Module, "hello");
    assert_eq!((&again.location, &again.payload), (&main.location, &main.payload));
    assert_eq!(main.project, "hello");
    assert!(importable(&manifest).all(|name| name != "sibling"));
    let manifest = shop.collect(&["hello.py", "sibling.py"]);
    resource(&manifest, ResourceKind::Module, "sibling");
}

#[test]
fn the_standard_library_is_there_name_by_name() {
    let shop = Workshop::new();
    let manifest = shop.collect(&[]);
    assert_eq!(manifest.run, Run::Repl);
    let there: BTreeSet<&str> = importable(&manifest).collect();
    // What the interpreter's own tools find on disk, but the parts that are left out by default.
    let script = r"
import pkgutil, sys, sysconfig
stdlib = sysconfig.get_path('stdlib')
skip = {'test', 'idlelib', 'ensurepip', 'turtledemo', 'tests', 'sitecustomize', 'site-packages'}
def walk(path, prefix):
    for _, name, package in pkgutil.iter_modules(path):
        if name in skip or name.startswith(('_test', 'xx', '_xx', '_ctypes_test')):
            continue
        print(prefix + name)
        if package:
            walk([f'{folder}/{name}' for folder in path], f'{prefix}{name}.')
walk([stdlib, stdlib + '/lib-dynload'], '')
for name in sys.builtin_module_names:
    print(name)
";
    let output = shop.python().args(["-I", "-S", "-c", script]).output().unwrap();
    let on_disk = String::from_utf8(output.stdout).unwrap();
    let on_disk: BTreeSet<&str> = on_disk.lines().collect();
    assert!(on_disk.len() > 500, "{}", on_disk.len());
    let missing: Vec<_> = on_disk.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(excluded(&manifest, "ensurepip.*").contains("--include ensurepip"));
    assert!(!there.contains("test.support"));
}

#[test]
fn what_is_left_out_can_be_put_back() {
    let shop = Workshop::new();
    let manifest = shop.collect(&["--include", "ensurepip"]);
    resource(&manifest, ResourceKind::Package, "ensurepip");
    assert!(manifest.excluded.iter().all(|excluded| !excluded.name.starts_with("ensurepip")));
    let manifest = shop.collect(&["--exclude", "email", "--exclude", "this"]);
    assert!(importable(&manifest).all(|name| name != "this" && !name.starts_with("email")));
    excluded(&manifest, "email.*");
    excluded(&manifest, "this");
    shop.refuses(&["--exclude", "emali"], "--exclude emali");
    shop.refuses(&["--include", "tset"], "--include tset");
}

#[test]
fn a_package_brings_its_data_and_runs_by_its_main() {
    let shop = Workshop::new();
    shop.write("src/app/__init__.py", "");
    shop.write("src/app/__main__.py", "print('app')\n");
    shop.write("src/app/data/words.txt", "word\n");
    // No statement can import it, but `importlib.import_module` can.
    shop.write("src/app/by-name.py", "x = 1\n");
    shop.write("src/app/__pycache__/x.pyc", "");
    shop.write("src/app/.git/config", "");
    let manifest = shop.collect(&["src/app"]);
    assert_eq!(manifest.run, Run::Module { module: "app".to_owned() });
    resource(&manifest, ResourceKind::Package, "app");
    resource(&manifest, ResourceKind::PackageData, "app/data/words.txt");
    resource(&manifest, ResourceKind::Module, "app.by-name");
    excluded(&manifest, "app/.git/");
    assert!(manifest.resources.iter().all(|r| !r.name.contains("__pycache__")));
    let payload = resource(&manifest, ResourceKind::Package, "app").payload.as_ref().unwrap();
    assert!(payload.path.is_absolute());
}

#[test]
fn a_folder_without_init_stays_a_namespace() {
    let shop = Workshop::new();
    shop.write("ns/part/mod.py", "x = 1\n");
    shop.write("ns/icons/a.svg", "");
    let manifest = shop.collect(&["ns", "--run-module", "ns.part.mod"]);
    resource(&manifest, ResourceKind::NamespacePackage, "ns");
    resource(&manifest, ResourceKind::NamespacePackage, "ns.part");
    assert!(importable(&manifest).all(|name| name != "ns.icons"));
    shop.write("lib/one.py", "x = 1\n");
    let manifest = shop.collect(&["--path", "lib", "--run-code", "import one"]);
    resource(&manifest, ResourceKind::Module, "one");
    assert_eq!(manifest.run, Run::Code { code: "import one".to_owned() });
}

#[test]
fn a_wheel_is_taken_by_its_record() {
    let shop = Workshop::new();
    let wheel = shop.wheel(
        "Tool_One-1.5",
        &[
            ("tool_one/__init__.py", "def main():\n    pass\n"),
            ("tool_one/data.txt", "x"),
            ("legacy/old.py", "x = 1\n"),
            ("paths.pth", "legacy\nimport os\n/elsewhere\n"),
            ("Tool_One-1.5.data/data/share/man/tool.1", "man"),
            ("entry_points.txt", "[console_scripts]\ntool = tool_one:main\n"),
        ],
        "",
    );
    let manifest = shop.collect(&[&wheel]);
    let run = Run::EntryPoint { module: "tool_one".to_owned(), function: "main".to_owned() };
    assert_eq!(manifest.run, run);
    let package = resource(&manifest, ResourceKind::Package, "tool_one");
    assert_eq!((package.project.as_str(), package.reason.as_str()), ("tool-one", "application"));
    resource(&manifest, ResourceKind::PackageData, "tool_one/data.txt");
    let module = resource(&manifest, ResourceKind::Module, "old");
    let (major, minor) = shop.distribution.python.version_info;
    let place = format!("lib/python{major}.{minor}/site-packages/legacy/old.py");
    assert_eq!(module.location, Some(place));
    for name in ["METADATA", "RECORD", "entry_points.txt"] {
        resource(&manifest, ResourceKind::Metadata, &format!("Tool_One-1.5.dist-info/{name}"));
    }
    assert!(excluded(&manifest, "bin/tool").contains("--entry-point tool"));
    assert!(excluded(&manifest, "paths.pth").contains("site"));
    resource(&manifest, ResourceKind::PackageData, "share/man/tool.1");
    let project = manifest.projects.iter().find(|project| project.name == "tool-one").unwrap();
    assert_eq!(project.version.as_deref(), Some("1.5"));

    // No path of the machine is in what will be packed.
    let cache = shop.path("");
    for resource in manifest.resources.iter().filter(|r| r.project == "tool-one") {
        let payload = resource.payload.as_ref().unwrap();
        assert!(is_below(&payload.path, &cache));
        let text = fs::read_to_string(&payload.path).unwrap();
        assert!(!text.contains(cache.to_str().unwrap()), "{}", resource.name);
        assert!(!text.contains("bin/tool"), "{}", resource.name);
    }
}

#[test]
fn libraries_are_loaded_before_what_needs_them() {
    let shop = Workshop::new();
    let manifest = shop.collect(&[]);
    let ssl = resource(&manifest, ResourceKind::ExtensionModule, "_ssl");
    assert!(ssl.location.as_deref().is_some_and(|place| place.contains("/lib-dynload/_ssl.")));
    let at = |start: &str| ssl.needs.iter().position(|need| need.starts_with(start)).unwrap();
    assert!(at("lib/libcrypto.so") < at("lib/libssl.so"), "{:?}", ssl.needs);
    for user in &manifest.resources {
        for (number, need) in user.needs.iter().enumerate() {
            let library = resource(&manifest, ResourceKind::SharedLibrary, need);
            assert!(library.needs.iter().all(|deeper| user.needs[..number].contains(deeper)));
            assert!(!need.contains("/libc.so") && !need.contains("/libm.so"), "{need}");
        }
    }
    let manifest = shop.collect(&["--exclude", "_ssl", "--exclude", "_hashlib"]);
    assert!(manifest.resources.iter().all(|r| !r.name.starts_with("lib/libssl")));
}

#[test]
fn the_order_of_sys_path_decides_between_projects_and_the_rest() {
    let shop = Workshop::new();
    let one = [("ns/a.py", ""), ("json/__init__.py", "x = 1\n"), ("both.py", "x = 1\n")];
    let one = shop.wheel("one-1", &one, "");
    let two = shop.wheel("two-1", &[("ns/b.py", ""), ("both.py", "x = 2\n")], "");
    shop.write("colorsys.py", "x = 1\n");
    let manifest = shop.collect(&["colorsys.py", &one, &two, "--repl"]);
    for (kind, name, project) in [
        (ResourceKind::NamespacePackage, "ns", "one"),
        (ResourceKind::Module, "ns.a", "one"),
        (ResourceKind::Module, "ns.b", "two"),
        (ResourceKind::Package, "json", "python"),
        (ResourceKind::Module, "colorsys", "colorsys"),
    ] {
        assert_eq!(resource(&manifest, kind, name).project, project, "{name}");
    }
    assert!(excluded(&manifest, "json").contains("hidden by `json` of python"));
    assert!(excluded(&manifest, "colorsys").contains("of colorsys"));
    assert_eq!(importable(&manifest).filter(|name| *name == "both").count(), 1);
}

#[test]
fn native_code_that_cannot_be_loaded_is_refused() {
    let shop = Workshop::new();
    let suffix = &shop.distribution.python.extension_suffixes[0];
    let (file, place) =
        (format!("app/fast{suffix}"), format!("fast{suffix}: expected a shared object"));
    shop.write("app/__main__.py", "");
    shop.write(&file, "no ELF file\n");
    shop.refuses(&["app"], &place);
    // An ELF header for a machine that this is not: e_machine is at 18.
    let python = shop.distribution.path(&shop.distribution.paths.executable);
    let mut bytes = fs::read(python).unwrap();
    bytes[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    fs::write(shop.path(&file), bytes).unwrap();
    shop.refuses(&["app"], "expected an extension module for");
}

#[test]
fn an_entry_point_is_found_by_its_name_or_refused_now() {
    let shop = Workshop::new();
    let wheel = shop.wheel(
        "two-1",
        &[
            ("two.py", "def a(): pass\ndef b(): pass\n"),
            ("entry_points.txt", "[console_scripts]\naa = two:a\nbb = two:b\n"),
        ],
        "",
    );
    let hint = shop.refuses(&[&wheel], "expected one thing to run");
    assert!(hint.contains("--entry-point aa, --entry-point bb"), "{hint}");
    let manifest = shop.collect(&[&wheel, "--entry-point", "bb"]);
    let run = Run::EntryPoint { module: "two".to_owned(), function: "b".to_owned() };
    assert_eq!(manifest.run, run);
    shop.refuses(&[&wheel, "--entry-point", "cc"], "--entry-point cc");
    shop.refuses(&[&wheel, "--entry-point", "two:c"], "nothing named `c`");
    shop.refuses(&[&wheel, "--entry-point", "three:a"], "no `three`");
    shop.refuses(&[&wheel, "--run-module", "three"], "--run-module three");
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_folder_on_any_cores() {
    let collect = |jobs: &str| {
        let shop = Workshop::new();
        for module in ["b", "a", "c"] {
            shop.write(&format!("app/{module}.py"), "x = 1\n");
        }
        shop.write("app/__main__.py", "");
        let wheel = shop.wheel("w-1", &[("w.py", "x = 1\n")], "");
        let mut manifest = shop.collect(&["app", &wheel, "-j", jobs, "--run-module", "app"]);
        for resource in &mut manifest.resources {
            if let Some(payload) = &mut resource.payload {
                payload.path.clear();
            }
        }
        manifest
    };
    assert_eq!(collect("1"), collect("4"));
}

#[test]
fn a_second_run_needs_no_pip_and_sees_what_changed() {
    let shop = Workshop::new();
    let wheel = shop.wheel("w-1", &[("w.py", "x = 1\n")], "");
    let script = shop.write("s.py", "import w\n");
    shop.write("requirements.txt", &format!("./{wheel}\n"));
    let first = shop.collect(&["s.py", "-r", "requirements.txt"]);
    let installed = resource(&first, ResourceKind::Module, "w").payload.clone().unwrap();
    let taken = fs::metadata(&installed.path).unwrap().modified().unwrap();
    fs::write(&script, "import w, os\n").unwrap();
    let second = shop.collect(&["s.py", "-r", "requirements.txt"]);
    let main = |manifest| resource(manifest, ResourceKind::Module, "__main__").payload.clone();
    assert_ne!(main(&first).unwrap().sha256, main(&second).unwrap().sha256);
    assert_eq!(resource(&second, ResourceKind::Module, "w").payload, Some(installed.clone()));
    assert_eq!(fs::metadata(&installed.path).unwrap().modified().unwrap(), taken);
    assert!(resource(&second, ResourceKind::Module, "w").reason.contains("requirements.txt"));

    // The wheel changed: what was installed from the other one is not used.
    shop.wheel("w-1", &[("w.py", "x = 2\n")], "");
    let third = shop.collect(&["s.py", "-r", "requirements.txt"]);
    let changed = resource(&third, ResourceKind::Module, "w").payload.clone().unwrap();
    assert_ne!(changed.sha256, installed.sha256);
}

#[test]
fn how_the_user_installs_otherwise_does_not_matter() {
    let shop = Workshop::new();
    let wheel = shop.wheel("w-1", &[("w.py", "x = 1\n")], "");
    shop.write("pip.conf", "[global]\nrequire-virtualenv = true\n[install]\nuser = true\n");
    resource(&shop.collect(&[&wheel, "--repl"]), ResourceKind::Module, "w");
}

#[test]
fn an_installed_file_that_was_changed_is_refused() {
    let shop = Workshop::new();
    let wheel = shop.wheel("w-1", &[("w.py", "x = 1\n")], "");
    let manifest = shop.collect(&[&wheel, "--repl"]);
    let payload = resource(&manifest, ResourceKind::Module, "w").payload.clone().unwrap();
    fs::write(payload.path, "x = 3\n").unwrap();
    shop.refuses(&[&wheel, "--repl"], "digest mismatch");
}

#[test]
fn what_cannot_be_an_application_is_refused_by_name() {
    let shop = Workshop::new();
    shop.write("a.py", "x = 1\n");
    shop.write("d/a.py", "x = 2\n");
    shop.write("no-name.py", "");
    shop.write("no-package/x.py", "");
    shop.write("notes.txt", "");
    fs::create_dir(shop.path("empty")).unwrap();
    shop.refuses(&["missing.py"], "missing.py: no such file");
    shop.refuses(&["a.py", "d/a.py", "--repl"], "d/a.py is another");
    shop.refuses(&["no-name.py", "--repl"], "`no-name` is no identifier");
    shop.refuses(&["no-package"], "`no-package` is no identifier");
    shop.refuses(&["notes.txt"], "notes.txt: expected a script");
    shop.refuses(&["empty"], "empty: expected a folder with Python modules");
    shop.refuses(&["a.py", "--config", "x"], "--config x");
    let manifest = shop.collect(&["no-name.py", "--config", "dev_mode=true"]);
    assert_eq!(manifest.config["dev_mode"], Value::Boolean(true));
    symlink("..", shop.path("d/loop")).unwrap();
    shop.refuses(&["d"], "this link leads to a folder around it");
}

#[test]
fn names_that_are_not_utf_8_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let shop = Workshop::new();
    shop.write("app/__main__.py", "");
    let name = std::ffi::OsStr::from_bytes(b"app/\xff.txt");
    fs::write(shop.path("").join(name), "").unwrap();
    shop.refuses(&["app"], "expected a name in UTF-8");
}

#[test]
fn wheels_that_lie_or_do_not_fit_are_refused() {
    let shop = Workshop::new();
    let files = [("w.py", "x = 1\n")];
    for (forge, text) in [
        ("missing", "w/missing.py"),
        ("wrong", "digest mismatch"),
        ("outside", "expected a path inside the installation"),
    ] {
        let wheel = shop.wheel("w-1", &files, forge);
        shop.refuses(&[&wheel, "--repl"], text);
        let left = fs::read_dir(shop.path("cache/projects")).unwrap().count();
        assert_eq!(left, 0, "{forge} left something behind");
    }
    let wheel = shop.wheel("w-1-cp27-cp27mu-win32", &files, "");
    shop.refuses(&[&wheel, "--repl"], "not a supported wheel");
    let needs = shop.wheel("n-1", &[("n.py", ""), ("METADATA", "Requires-Dist: absent\n")], "");
    shop.refuses(&[&needs, "--repl"], "absent");
}

#[test]
fn two_requirements_that_contradict_are_explained() {
    let shop = Workshop::new();
    shop.wheel("base-1", &[("base.py", "")], "");
    shop.wheel("base-2", &[("base.py", "")], "");
    shop.wheel("top-1", &[("top.py", ""), ("METADATA", "Requires-Dist: base==1\n")], "");
    shop.write("requirements.txt", "--find-links .\ntop\nbase==2\n");
    shop.refuses(&["-r", "requirements.txt", "--repl"], "top 1 depends on base==1");
}

#[test]
fn documents_that_are_none_are_refused() {
    let shop = Workshop::new();
    let whole = fs::read_to_string(shop.path("dist.json")).unwrap();
    shop.write("dist.json", &whole[..whole.len() / 2]);
    shop.refuses(&[], "dist.json");
    shop.write("dist.json", &whole.replace("pyox.distribution/1", "pyox.distribution/2"));
    shop.refuses(&[], "expected `pyox.distribution/1`, got `pyox.distribution/2`");
    shop.write("dist.json", "");
    shop.refuses(&[], "expected a document, got nothing");
}
