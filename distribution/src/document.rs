//! `PYTHON.json`, format version 8, of a finished build.
//!
//! The fields are python-build-standalone's, which documents them in its `docs/distributions.rst`; all
//! paths are relative to the archive's `python/`. Facts come from three places: the interpreter itself
//! (`describe.py`), the `Setup` files and `config.c` that the build used, and the linker's view of the
//! installed executable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pyox_stage::{Fault, FaultExt as _, Result};
use serde::{Deserialize, Serialize};

use crate::Flavor;
use crate::libraries::compiler;
use crate::recipe::{Build, PREFIX};
use crate::setup::{self, Module};

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    version: &'static str,
    target_triple: String,
    optimizations: &'static str,
    build_options: &'static str,
    python_tag: String,
    python_abi_tag: String,
    python_platform_tag: String,
    python_implementation_cache_tag: String,
    python_implementation_hex_version: u64,
    python_implementation_name: String,
    python_implementation_version: Vec<String>,
    python_version: String,
    python_major_minor_version: String,
    python_paths: BTreeMap<String, String>,
    python_paths_abstract: BTreeMap<String, String>,
    python_config_vars: BTreeMap<String, String>,
    python_exe: String,
    python_stdlib_platform_config: String,
    python_stdlib_test_packages: Vec<String>,
    python_suffixes: BTreeMap<String, Vec<String>>,
    python_bytecode_magic_number: String,
    libpython_link_mode: &'static str,
    python_symbol_visibility: &'static str,
    python_extension_module_loading: [&'static str; 2],
    crt_features: Vec<String>,
    run_tests: &'static str,
    licenses: [&'static str; 1],
    license_path: &'static str,
    pub build_info: BuildInfo,
}

/// The build's artifacts.
#[derive(Debug, Serialize)]
pub(crate) struct BuildInfo {
    pub core: Core,
    pub extensions: BTreeMap<String, [Extension; 1]>,
    pub inittab_object: &'static str,
    pub inittab_source: &'static str,
    inittab_cflags: [&'static str; 3],
    object_file_format: String,
}

/// libpython.
#[derive(Debug, Serialize)]
pub(crate) struct Core {
    pub objs: Vec<String>,
    pub links: Vec<Link>,
    pub static_lib: String,
}

/// One built-in extension module.
#[derive(Debug, Serialize)]
pub(crate) struct Extension {
    in_core: bool,
    init_fn: String,
    licenses: Vec<&'static str>,
    pub license_paths: Vec<String>,
    license_public_domain: bool,
    pub links: Vec<Link>,
    pub objs: Vec<String>,
    required: bool,
    variant: &'static str,
}

/// A library to link: one of the archive's, or one of the system's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_static: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<bool>,
}

/// What `describe.py` prints.
#[derive(Debug, Deserialize)]
struct Facts {
    version: String,
    hex_version: u64,
    implementation: String,
    implementation_version: Vec<String>,
    cache_tag: String,
    abi_flags: String,
    platform: String,
    builtins: BTreeSet<String>,
    magic: String,
    suffixes: BTreeMap<String, Vec<String>>,
    config_vars: BTreeMap<String, String>,
    paths: BTreeMap<String, String>,
    paths_abstract: BTreeMap<String, String>,
    test_packages: Vec<String>,
}

/// Describes a finished build, after checking that it is what the document says.
pub(crate) fn describe(build: &Build) -> Result<Document> {
    smoke(build)?;
    let facts = facts(build)?;
    let build_info = build_info(build, &facts)?;
    let var = |name: &str| {
        facts.config_vars.get(name).cloned().ok_or_else(|| {
            Fault::new("describe.py", format_args!("no configuration variable {name}"))
        })
    };
    let host = var("HOST_GNU_TYPE")?;
    let arch = host.split('-').next().unwrap_or_default();
    let minor = build.minor();
    let config = var("LIBPL")?;
    let tag = format!("cp{}", minor.replace('.', ""));
    let options = match build.flavor {
        Flavor::Plain => "noopt",
        Flavor::Optimized => "pgo+lto",
        Flavor::Lto => "lto",
        Flavor::Debug => "debug",
    };
    // Like "install/lib/python3.13"; `data` is the prefix itself.
    let path = |path: &str| {
        if path == "." { "install".to_owned() } else { format!("install/{path}") }
    };
    Ok(Document {
        version: "8",
        target_triple: format!("{arch}-unknown-linux-gnu"),
        optimizations: options,
        build_options: options,
        python_abi_tag: format!("{tag}{}", facts.abi_flags),
        python_tag: tag,
        python_platform_tag: facts.platform.replace(['-', '.'], "_"),
        python_implementation_cache_tag: facts.cache_tag,
        python_implementation_hex_version: facts.hex_version,
        python_implementation_name: facts.implementation,
        python_implementation_version: facts.implementation_version,
        python_version: facts.version,
        python_paths: facts.paths.into_iter().map(|(name, at)| (name, path(&at))).collect(),
        python_paths_abstract: facts.paths_abstract,
        python_config_vars: neutral(facts.config_vars, build),
        python_exe: format!("install/bin/python{minor}"),
        python_stdlib_platform_config: format!("install{}", config.trim_start_matches(PREFIX)),
        python_stdlib_test_packages: facts.test_packages,
        python_suffixes: facts.suffixes,
        python_bytecode_magic_number: facts.magic,
        python_major_minor_version: minor,
        libpython_link_mode: "static",
        python_symbol_visibility: "global-default",
        python_extension_module_loading: ["builtin", "shared-library"],
        crt_features: crt_features(build)?,
        run_tests: "build/run_tests.py",
        licenses: ["Python-2.0"],
        license_path: "licenses/LICENSE.cpython.txt",
        build_info,
    })
}

/// Runs the check that the archive ships, with the interpreter it ships.
fn smoke(build: &Build) -> Result<()> {
    let mut command = build.command(build.python());
    command.args(["-I", "-B", "-c", include_str!("../smoke.py")]);
    build.step(&mut command, "smoke.py")
}

fn facts(build: &Build) -> Result<Facts> {
    let mut command = build.command(build.python());
    command.args(["-I", "-S", "-B", "-c", include_str!("../describe.py"), PREFIX]);
    let text = build.output(&mut command, "describe.py")?;
    serde_json::from_str(&text).fault("describe.py")
}

/// Configuration variables without this machine's build folder.
fn neutral(vars: BTreeMap<String, String>, build: &Build) -> BTreeMap<String, String> {
    let root = build.tree.root.to_string_lossy();
    vars.into_iter().map(|(name, value)| (name, value.replace(&*root, "/build"))).collect()
}

fn build_info(build: &Build, facts: &Facts) -> Result<BuildInfo> {
    let read = |path: &str| {
        let path = build.tree.root.join(path);
        fs::read_to_string(&path).fault_at(&path)
    };
    let inittab = setup::inittab(&read("Modules/config.c")?)?;
    let names: BTreeSet<_> = inittab.keys().cloned().collect();
    if names != facts.builtins {
        let odd: Vec<_> = names.symmetric_difference(&facts.builtins).cloned().collect();
        let what = format_args!("not what the interpreter has built in: {}", odd.join(", "));
        return Err(Fault::new("Modules/config.c", what));
    }
    let bootstrap = setup::modules(&read("Modules/Setup.bootstrap")?);
    let required: BTreeSet<_> = bootstrap.iter().map(|module| module.name.clone()).collect();
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for module in setup::modules(&read("Modules/Setup.local")?).into_iter().chain(bootstrap) {
        modules.insert(module.name.clone(), module);
    }

    let mut extensions = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (name, init_fn) in inittab {
        let module = modules.get(&name);
        // What no Setup file names is part of the core: `sys`, `gc`, `marshal` and the like.
        let in_core = module.is_none();
        let names = module.map_or_else(Vec::new, |module| {
            if module.has_flags {
                return module.links.clone();
            }
            let variable = format!("MODULE_{}_LDFLAGS", module.name.to_uppercase());
            setup::links(facts.config_vars.get(&variable).map_or("", String::as_str))
        });
        let objects = module.map_or(&[][..], |module| &module.objects);
        taken.extend(objects.iter().cloned());
        let used = links(build, &names).map_err(|missing| {
            Fault::new(&name, format_args!("needs lib{missing}.a, which is not a known library"))
        })?;
        extensions.insert(
            name.clone(),
            [Extension {
                in_core,
                init_fn,
                licenses: licenses(&used).into_iter().collect(),
                license_paths: license_paths(&used).into_iter().collect(),
                license_public_domain: public_domain(&used),
                links: used,
                objs: objects.iter().map(|object| format!("build/{object}")).collect(),
                required: in_core || required.contains(&name),
                variant: "default",
            }],
        );
    }

    let core = build
        .library_objects()?
        .into_iter()
        .filter(|object| !taken.contains(object))
        .map(|object| format!("build/{object}"))
        .collect::<BTreeSet<_>>();
    let config = facts.config_vars.get("LIBPL").map_or("", String::as_str);
    let mut core_links: Vec<_> = facts
        .config_vars
        .get("LIBS")
        .map_or_else(Vec::new, |libs| setup::links(libs))
        .into_iter()
        .chain(["m".to_owned()])
        .map(|name| Link { name, path_static: None, system: Some(true) })
        .collect();
    core_links.dedup();
    Ok(BuildInfo {
        core: Core {
            objs: core.into_iter().collect(),
            links: core_links,
            static_lib: format!(
                "install{}/{}",
                config.trim_start_matches(PREFIX),
                build.libpython()
            ),
        },
        extensions,
        inittab_object: "build/Modules/config.o",
        inittab_source: "build/Modules/config.c",
        inittab_cflags: ["-std=c11", "-DNDEBUG", "-DPy_BUILD_CORE"],
        object_file_format: object_file_format(build)?,
    })
}

/// What the objects of CPython are; clang's version is LLVM's.
fn object_file_format(build: &Build) -> Result<String> {
    if build.flavor != Flavor::Lto {
        return Ok("elf".to_owned());
    }
    let compiler = compiler(build.flavor);
    let mut command = build.command(compiler.get_program());
    let version = build.output(command.arg("-dumpversion"), "clang -dumpversion")?;
    Ok(format!("llvm-bitcode:{}", version.trim()))
}

/// Libraries that are part of the C library, and so of the system.
const SYSTEM: [&str; 5] = ["c", "m", "dl", "pthread", "rt"];

/// The links of a module: its libraries and all that those need, in link order.
fn links(build: &Build, names: &[String]) -> Result<Vec<Link>, String> {
    let mut links: Vec<Link> = Vec::new();
    let mut queue: std::collections::VecDeque<_> = names.iter().cloned().collect();
    while let Some(name) = queue.pop_front() {
        // CPython's own libraries come by path: Modules/expat/libexpat.a.
        let own = name.rsplit_once("/lib").map(|(_, file)| file.trim_end_matches(".a").to_owned());
        let found = build.libraries.iter().find(|found| found.library.name == name);
        let link = if let Some(own) = own {
            let path = format!("build/lib/lib{own}.a");
            Link { name: own, path_static: Some(path), system: None }
        } else if let Some(found) = found {
            queue.extend(found.library.needs.iter().map(|need| (*need).to_owned()));
            let path = format!("build/lib/lib{name}.a");
            Link { name, path_static: Some(path), system: None }
        } else if SYSTEM.contains(&name.as_str()) {
            Link { name, path_static: None, system: Some(true) }
        } else {
            return Err(name);
        };
        // What is needed twice goes to the last place: behind all that need it.
        links.retain(|earlier| earlier.name != link.name);
        links.push(link);
    }
    Ok(links)
}

/// CPython's own libraries: how their names begin, the licence of their code, and its text.
const OWN: [(&str, &str, &str); 3] = [
    ("expat", "MIT", "licenses/LICENSE.cpython-incorporated.txt"),
    ("mpdec", "BSD-2-Clause", "licenses/LICENSE.cpython-incorporated.txt"),
    ("Hacl", "MIT", "licenses/LICENSE.hacl.txt"),
];

fn own(links: &[Link]) -> impl Iterator<Item = (&'static str, &'static str)> {
    links
        .iter()
        .filter_map(|link| OWN.iter().find(|(name, ..)| link.name.starts_with(name)))
        .map(|(_, license, text)| (*license, *text))
}

fn known(links: &[Link]) -> impl Iterator<Item = &'static crate::libraries::Library> {
    let names: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
    crate::libraries::LIBRARIES
        .iter()
        .filter(move |library| names.iter().any(|name| name == library.name))
}

fn licenses(links: &[Link]) -> BTreeSet<&'static str> {
    let own = own(links).map(|(license, _)| license);
    known(links).flat_map(|library| library.licenses.iter().copied()).chain(own).collect()
}

fn license_paths(links: &[Link]) -> BTreeSet<String> {
    let own = own(links).map(|(_, text)| text.to_owned());
    known(links)
        .map(|library| format!("licenses/LICENSE.{}.txt", library.package))
        .chain(own)
        .collect()
}

fn public_domain(links: &[Link]) -> bool {
    known(links).any(|library| library.public_domain)
}

/// The C library's features, from the installed executable; refuses one that needs other libraries.
fn crt_features(build: &Build) -> Result<Vec<String>> {
    let mut command = build.command("objdump");
    command.arg("-p").arg(build.python());
    let text = build.output(&mut command, "objdump")?;
    for needed in text.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")) {
        let needed = needed.trim();
        let name = needed.strip_prefix("lib").and_then(|rest| rest.split_once(".so"));
        if !needed.starts_with("ld-linux") && !name.is_some_and(|(name, _)| SYSTEM.contains(&name))
        {
            let place = format_args!("bin/python{}", build.minor());
            let what = format_args!("expected to need the C library only, got {needed}");
            return Err(Fault::new(place, what));
        }
    }
    let newest = newest_glibc(&text)
        .ok_or_else(|| Fault::new("objdump", "no version of the C library in the executable"))?;
    Ok(vec!["glibc-dynamic".into(), format!("glibc-max-symbol-version:{newest}")])
}

/// The newest `GLIBC_` version in the listing of an executable's dynamic section.
fn newest_glibc(listing: &str) -> Option<String> {
    let versions = listing
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_"))
        .filter_map(|text| text.split('.').map(|part| part.parse().ok()).collect());
    let newest: Vec<u32> = versions.max()?;
    Some(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::libraries::Toolchain;
    use crate::recipe::Tree;

    #[test]
    fn versions_are_compared_as_numbers() {
        let listing =
            "0x09691a75 0x00 09 GLIBC_2.2.5\n 0x0 0x00 02 GLIBC_2.36\n 0x0 0x00 03 GLIBC_2.4\n";
        assert_eq!(newest_glibc(listing).as_deref(), Some("2.36"));
        assert_eq!(newest_glibc("no versions"), None);
    }

    #[test]
    fn links_follow_what_libraries_need_and_stay_in_link_order() {
        let toolchain = Toolchain::find(Flavor::Plain).unwrap();
        let libraries = toolchain.libraries_for((3, 13));
        let tree = Tree { root: "/nowhere".into(), version: (3, 13), epoch: 0 };
        let build = Build {
            tree: &tree,
            libraries: &libraries,
            flavor: Flavor::Plain,
            jobs: 1,
            log: Path::new("/nowhere/log"),
        };
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            links(&build, &names)
                .map(|links| links.into_iter().map(|link| link.name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(&["edit"]).unwrap(), "edit bsd tinfo md");
        assert_eq!(names(&["ssl", "crypto"]).unwrap(), "ssl crypto");
        assert_eq!(names(&["m", "Modules/expat/libexpat.a"]).unwrap(), "m expat");
        assert_eq!(names(&["zz"]), Err("zz".into()));
    }
}
