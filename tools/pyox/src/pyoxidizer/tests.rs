use pyox_schema::Value;
use pyox_stage::Silent;

use super::*;

const HERE: &str = "x86_64-unknown-linux-gnu";

fn project(text: &str) -> Result<Project> {
    project_for(text, HERE)
}

fn project_for(text: &str, target: &str) -> Result<Project> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pyoxidizer.toml");
    fs::write(&file, text).unwrap();
    open(folder.path().to_owned(), &file, target, &Silent)
}

fn fault(text: &str) -> (String, Option<String>) {
    let fault = project(text).unwrap_err();
    let text = fault.to_string();
    let (_, rest) = text.split_once("pyoxidizer.toml:").unwrap();
    (rest.to_owned(), fault.way_out().map(str::to_owned))
}

#[test]
fn later_tables_win_and_those_of_other_platforms_do_not_count() {
    let project = project(
        "[[build]]\napplication_name = 'one'\n[[build]]\napplication_name = 'two'\n\
         [[build]]\nbuild_target = 'x86_64-pc-windows-msvc'\napplication_name = 'three'\n\
         [[embedded_python_run]]\nmode = 'repl'\n[[embedded_python_run]]\nmode = 'module'\nmodule = 'm'\n",
    )
    .unwrap();
    assert_eq!(project.programs, [Program { name: "two".into(), run: Wanted::Module("m".into()) }]);
}

#[test]
fn what_pyox_does_anyway_sets_nothing() {
    let text = "[[embedded_python_config]]\ndont_write_bytecode = true\nignore_environment = true\nno_site = true\n\
                no_user_site_directory = true\nunbuffered_stdio = false\nraw_allocator = 'system'\n";
    let settings = project(text).unwrap().settings;
    assert!(settings.config.is_empty() && settings.preconfig.is_empty());
}

#[test]
fn the_interpreter_is_configured() {
    let text = "[[embedded_python_config]]\nignore_environment = false\nstdio_encoding = 'latin-1:replace'\n\
                unbuffered_stdio = true\noptimize_level = 2\n[[embedded_python_config]]\nno_site = false\n";
    let settings = project(text).unwrap().settings;
    let fields: Vec<&str> = settings.config.keys().map(String::as_str).collect();
    let expected = [
        "buffered_stdio",
        "isolated",
        "site_import",
        "stdio_encoding",
        "stdio_errors",
        "use_environment",
    ];
    assert_eq!(fields, expected);
    assert_eq!(settings.config["stdio_errors"], Value::Text("replace".to_owned()));
    assert_eq!(settings.optimize, 2);
}

#[test]
fn sys_and_the_environment_are_set() {
    let text = "[[embedded_python_config]]\nsys_frozen = true\nsys_meipass = true\nsys_paths = ['a']\nterminfo_dirs = '/t'\n\
                write_modules_directory_env = 'M'\n";
    let settings = project(text).unwrap().settings;
    assert_eq!(settings.sys["frozen"], Value::Boolean(true));
    assert_eq!(settings.sys["_MEIPASS"], Value::Text("$ORIGIN".to_owned()));
    assert_eq!(
        (&settings.search_path[..], settings.module_lists.as_deref()),
        (&["a".to_owned()][..], Some("M"))
    );
    assert!(settings.environment.is_empty());
    let last = format!(
        "{text}[[embedded_python_config]]\nsys_paths = ['b']\nterminfo_resolution = 'static'\nsys_frozen = false\n"
    );
    let settings = project(&last).unwrap().settings;
    assert_eq!(settings.environment["TERMINFO_DIRS"], "/t");
    assert_eq!(
        (settings.search_path, settings.sys.contains_key("frozen")),
        (vec!["b".to_owned()], false)
    );
}

#[test]
fn rules_become_settings() {
    let text = "[[packaging_rule]]\ntype = 'stdlib'\ninclude_source = false\noptimize_level = 1\n\
                [[packaging_rule]]\ntype = 'pip-install-simple'\npackage = 'click'\nexcludes = ['a.b']\n\
                include_source = false\noptimize_level = 1\nextra_args = ['--index-url', 'file:///i', '--find-links=w']\n\
                [[packaging_rule]]\ntype = 'stdlib-extensions-policy'\npolicy = 'minimal'\n\
                [[packaging_rule]]\ntype = 'stdlib-extensions-explicit-includes'\nincludes = ['math']\n\
                [[packaging_rule]]\ntype = 'write-license-files'\npath = 'licenses'\n";
    let project = project(text).unwrap();
    let settings = &project.settings;
    assert_eq!((settings.sources, settings.optimize), (Some(false), 1));
    assert_eq!(
        (&settings.with[..], &settings.exclude[..]),
        (&["click".into()][..], &["a.b".into()][..])
    );
    assert_eq!(project.indexes.index.as_deref(), Some("file:///i"));
    assert_eq!(project.indexes.find_links, ["w"]);
    assert_eq!(settings.extensions, Extensions::Minimal);
    assert_eq!(settings.include, ["math"]);
    assert_eq!(settings.licenses.as_deref(), Some(Path::new("licenses")));
}

#[test]
fn the_first_distribution_for_this_platform_counts() {
    let tables = ["x86_64-pc-windows-msvc", "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"]
        .map(|target| {
            format!(
                "[[python_distribution]]\nbuild_target = '{target}'\nlocal_path = '{target}.tar'\n"
            )
        });
    let last = tables[2].replace("gnu.tar", "gnu-2.tar");
    let python =
        project(&[&tables[0], &tables[1], last.as_str()].map(str::to_owned).concat()).unwrap();
    assert!(python.settings.python[0].ends_with("/x86_64-unknown-linux-gnu.tar"));
}

#[test]
fn tables_for_the_machine_of_the_executables_count() {
    let text = [HERE, "aarch64-unknown-linux-gnu"].map(|target| {
        format!("[[python_distribution]]\nbuild_target = '{target}'\nlocal_path = '{target}.tar'\n")
    });
    for target in [HERE, "aarch64-unknown-linux-gnu"] {
        let python = project_for(&text.concat(), target).unwrap();
        assert!(python.settings.python[0].ends_with(&format!("/{target}.tar")));
    }
}

#[test]
fn lists_of_modules_have_comments_and_lie_in_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("runs/1/deep")).unwrap();
    fs::write(folder.path().join("runs/1/deep/modules-1"), "# a run\na.b\n\n").unwrap();
    fs::write(folder.path().join("more"), "c\n").unwrap();
    let file = folder.path().join("pyoxidizer.toml");
    let text = "[[packaging_rule]]\ntype = 'filter-include'\nfiles = ['more']\nglob_files = ['runs/**/modules-*']\n";
    fs::write(&file, text).unwrap();
    let project = open(folder.path().to_owned(), &file, HERE, &Silent).unwrap();
    assert_eq!(project.settings.only, Some(["a.b", "c"].map(str::to_owned).into()));
}

#[test]
fn faults_name_line_and_table() {
    let said = |text| fault(text).0;
    assert_eq!(
        said("\n[[embedded_python_config]]\nraw_allocator = 'x'\n"),
        "3:1: [[embedded_python_config]]: expected a raw_allocator that is known, got `x`"
    );
    let (what, hint) = fault("[[packaging_rule]]\ntype = 'package-root'\npackges = []\n");
    assert_eq!(what, "3:1: [[packaging_rule]]: expected a key that is known, got `packges`");
    assert_eq!(hint.as_deref(), Some("did you mean `packages`?"));
    let (what, hint) = fault("[[build]]\n[[packaging_rules]]\n");
    assert_eq!(what, "2:3: expected a section that is known, got `packaging_rules`");
    assert_eq!(hint.as_deref(), Some("did you mean `packaging_rule`?"));
    assert_eq!(
        said("[[build]]\n\n  application_name = 1\n"),
        "3:22: [[build]]: application_name: invalid type: integer `1`, expected a string"
    );
    assert_eq!(
        said("# [[builds]]\n[build]\n"),
        "2:2: expected tables `[[build]]`, got something else"
    );
    assert!(
        said("[[packaging_rule]]\ntype = 'package-root'\npath = '.'\n")
            .contains("a key `packages`")
    );
    assert!(
        said("[[packaging_rule]]\ntype = 'stdlib'\noptimize_level = 3\n")
            .contains("0, 1 or 2, got 3")
    );
    assert!(said("[[distribution]]\ntype = 'wix'\n").contains("installer for Windows"));
    assert_eq!(
        said("[[embedded_python_config]]\nterminfo_resolution = 'static'\n"),
        "2:1: [[embedded_python_config]]: terminfo_resolution: expected `terminfo_dirs` beside `static`, found none"
    );
}
