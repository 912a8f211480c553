//! The link plan: static or dynamic, and what the linker gets.

use std::collections::BTreeSet;

use pyox_blob::Blob;
use pyox_blob::layout::{ELF_SECTION, FileKind};
use pyox_blob::snapshot::FIXED_BLOB_ADDRESS;
use pyox_schema::{
    Distribution, DistributionRef, Document, FileRef, Library, LinkMode, LinkPlan, Linkage,
    machine_of,
};
use pyox_stage::{Compiler, Fault, Kind, Result};

use crate::runtime::{OWN_TARGET, Runtime};

/// Where it begins in a runner that is loaded anywhere, as portable ones are: the kernel reserves all that lies before.
const MOVABLE_SECTION_ADDRESS: u64 = 0x0400_0000;

/// The argument for a static runner at a fixed address, which alone can have a snapshot.
const FIXED_STATIC: &str = "-static";

/// The argument for any runner at a fixed address.
const FIXED: &str = "-no-pie";

/// Libraries of the C library's family, which a static link takes from the toolchain and a dynamic one
/// from the platform.
const LIBC_FAMILY: [&str; 6] = ["c", "dl", "m", "pthread", "rt", "util"];

/// Functions of the C library that pyembed has its own in place of, as `pyembed/src/files/` tells.
const INTERPOSED: [&str; 109] = [
    "__fxstat",
    "__fxstat64",
    "__fxstatat",
    "__fxstatat64",
    "__lxstat",
    "__lxstat64",
    "__open64_2",
    "__open_2",
    "__openat64_2",
    "__openat_2",
    "__readlink_chk",
    "__realpath_chk",
    "__xstat",
    "__xstat64",
    "access",
    "canonicalize_file_name",
    "chmod",
    "chown",
    "closedir",
    "creat",
    "creat64",
    "dirfd",
    "dlerror",
    "eaccess",
    "euidaccess",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "faccessat",
    "fchmodat",
    "fchownat",
    "fdopendir",
    "fopen",
    "fopen64",
    "freopen",
    "freopen64",
    "fstat",
    "fstat64",
    "fstatat",
    "fstatat64",
    "ftw",
    "ftw64",
    "futimesat",
    "getxattr",
    "glob",
    "glob64",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lsetxattr",
    "lstat",
    "lstat64",
    "lutimes",
    "mkdir",
    "mkdirat",
    "mkfifo",
    "mkfifoat",
    "mknod",
    "mknodat",
    "nftw",
    "nftw64",
    "open",
    "open64",
    "openat",
    "openat64",
    "opendir",
    "pathconf",
    "posix_spawn",
    "posix_spawn_file_actions_addopen",
    "posix_spawnp",
    "readdir",
    "readdir64",
    "readdir64_r",
    "readdir_r",
    "readlink",
    "readlinkat",
    "realpath",
    "remove",
    "removexattr",
    "rename",
    "renameat",
    "rewinddir",
    "rmdir",
    "scandir",
    "scandir64",
    "seekdir",
    "setxattr",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statvfs",
    "statvfs64",
    "statx",
    "symlink",
    "symlinkat",
    "telldir",
    "truncate",
    "truncate64",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
];

/// The same, where there is no dynamic loader, which would know the executable's symbols and load name services.
const ONLY_STATIC: [&str; 28] = [
    "dlsym",
    "getaddrinfo",
    "getgrent",
    "getgrgid",
    "getgrgid_r",
    "getgrnam",
    "getgrnam_r",
    "getgrouplist",
    "gethostbyaddr_r",
    "gethostbyname",
    "gethostbyname_r",
    "getlogin",
    "getlogin_r",
    "getnameinfo",
    "getprotobyname",
    "getpwent",
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getservbyname",
    "getservbyport",
    "getspent",
    "getspnam",
    "initgroups",
    "setgrent",
    "setpwent",
    "setspent",
];

/// How many names a message lists.
const SHOWN: usize = 3;

/// The paths of a blob's shared objects, extension modules first: with any of them, an executable must be
/// dynamic.
pub(crate) fn shared_objects<'a>(blob: &Blob<'a>) -> Result<Vec<&'a str>, pyox_blob::Error> {
    let (mut extensions, mut libraries) = (Vec::new(), Vec::new());
    for file in blob.files() {
        let file = file?;
        match file.kind {
            FileKind::Extension => extensions.push(file.path),
            FileKind::Library => libraries.push(file.path),
            FileKind::Source | FileKind::Data | FileKind::Metadata => {}
        }
    }
    extensions.append(&mut libraries);
    Ok(extensions)
}

/// Why an executable is dynamic, in terms of what somebody has chosen: packages, and the distribution.
fn needs_loader(shared: &[&str]) -> String {
    let mut packages = BTreeSet::new();
    for path in shared {
        if let Some((_, inside)) = path.split_once("/site-packages/") {
            let name = inside.split(['/', '.']).next().unwrap_or(inside);
            packages.insert(name);
        }
    }
    if packages.is_empty() {
        let what = "the distribution's extension modules are shared objects";
        return format!("{what}; those of `source@…` are built in");
    }
    let named: Vec<_> = packages.iter().take(SHOWN).copied().collect();
    let more = match packages.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("native code of {}{more} needs a loader", named.join(", "))
}

/// The plan for a runner.
pub(crate) fn make(
    distribution: &Distribution,
    wanted: Option<LinkMode>,
    is_pie: bool,
    shared: &[&str],
    runtime: &Runtime,
) -> Result<LinkPlan> {
    let (mode, reason) = choose(distribution, wanted, shared)?;
    let link = &distribution.link;
    if mode == LinkMode::Portable {
        return portable(distribution, reason, runtime);
    }
    let Some(libpython) = &link.libpython else {
        return Err(Fault::new("distribution", "expected a static libpython, found none"));
    };
    // It is that of an interpreter that lies at a fixed address itself.
    if is_pie && link.arguments.iter().any(|argument| argument == FIXED) {
        return Err(not_movable());
    }
    let brought = link.libraries.iter().filter_map(|library| library.archive.as_ref());
    let of_system = |library: &&Library| library.archive.is_none();
    let compiler = Compiler::of(&distribution.target, &link.driver);
    let mut arguments = arguments(mode, is_pie, &distribution.python.version, &link.arguments);
    arguments.extend(compiler.arguments);
    Ok(LinkPlan {
        schema: LinkPlan::SCHEMA.to_owned(),
        distribution: reference(distribution),
        mode,
        reason,
        root: "/".into(),
        driver: compiler.program.to_string_lossy().into_owned(),
        runtime: runtime.library()?,
        libpython: absolute(distribution, libpython),
        archives: link
            .archives
            .iter()
            .chain(brought)
            .map(|it| absolute(distribution, it))
            .collect(),
        libraries: link.libraries.iter().filter(of_system).map(|l| l.name.clone()).collect(),
        arguments,
        inittab: inittab(distribution),
        section: ELF_SECTION.to_owned(),
    })
}

/// Whether a runner with that plan can have a snapshot: it lies at fixed addresses, and the linker takes scripts that add to its
/// own, as GNU ld does. A static runner is linked by no other.
pub(crate) fn can_have_snapshot(plan: &LinkPlan) -> bool {
    let mut chosen =
        plan.arguments.iter().filter_map(|argument| argument.strip_prefix("-fuse-ld="));
    let takes_scripts = plan.mode == LinkMode::Static || chosen.all(|linker| linker == "bfd");
    takes_scripts && plan.arguments.iter().any(|argument| argument == FIXED)
}

/// Whether a static runner with that plan can be compressed: it lies at fixed addresses, and there is code that unpacks it.
pub(crate) fn can_be_compressed(plan: &LinkPlan) -> bool {
    let is_fixed = plan.arguments.iter().any(|argument| argument == FIXED);
    is_fixed && pyox_runner::can_compress(machine_of(&plan.distribution.target))
}

/// Why an executable cannot be loaded anywhere.
pub(crate) fn not_movable() -> Fault {
    Fault::new("--pie", "the distribution's libpython was compiled for a fixed address")
        .hint("link without --pie, or take another distribution, such as source@3.13")
        .of_kind(Kind::Unsupported)
}

/// The plan where nothing is left to link: the run-time library is the runner.
fn portable(distribution: &Distribution, reason: String, runtime: &Runtime) -> Result<LinkPlan> {
    let Some(libpython) = &distribution.link.shared_libpython else {
        return Err(Fault::new("distribution", "expected a shared libpython, found none"));
    };
    Ok(LinkPlan {
        schema: LinkPlan::SCHEMA.to_owned(),
        distribution: reference(distribution),
        mode: LinkMode::Portable,
        reason,
        root: "/".into(),
        driver: distribution.link.driver.clone(),
        runtime: runtime.runner()?,
        libpython: absolute(distribution, libpython),
        archives: Vec::new(),
        libraries: Vec::new(),
        arguments: Vec::new(),
        inittab: inittab(distribution),
        section: ELF_SECTION.to_owned(),
    })
}

/// The libpython that a shared library is made of, where it is another one than an executable's.
pub(crate) fn pic_libpython(distribution: &Distribution) -> Option<FileRef> {
    distribution.link.pic_libpython.as_ref().map(|file| absolute(distribution, file))
}

fn absolute(distribution: &Distribution, file: &FileRef) -> FileRef {
    FileRef { path: distribution.path(&file.path).to_string_lossy().into_owned(), ..file.clone() }
}

fn reference(distribution: &Distribution) -> DistributionRef {
    DistributionRef {
        sha256: distribution.digest(),
        version: distribution.python.version.clone(),
        target: distribution.target.clone(),
    }
}

fn inittab(distribution: &Distribution) -> Vec<String> {
    let builtin = distribution.extensions.iter().filter(|e| e.linkage == Linkage::Builtin);
    builtin.map(|extension| extension.name.clone()).collect()
}

/// Whether the toolchain is asked for a library of that name in any case.
pub(crate) fn is_libc(library: &str) -> bool {
    LIBC_FAMILY.contains(&library)
}

fn choose(
    distribution: &Distribution,
    wanted: Option<LinkMode>,
    shared: &[&str],
) -> Result<(LinkMode, String)> {
    let link = &distribution.link;
    let version = &distribution.python.version;
    let why_not = link.reason.as_deref().unwrap_or("the distribution does not allow it");
    let names: Vec<&str> =
        shared.iter().map(|path| path.rsplit('/').next().unwrap_or(path)).collect();
    let listed = match names.len() {
        0..=SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    };
    let is_useless = !link.can_static && !link.can_dynamic && link.shared_libpython.is_none();
    match wanted {
        _ if is_useless => {
            let hint = if link.object_format.starts_with("llvm-bitcode") {
                "install LLD, of the same LLVM or a newer one, and fetch the distribution again"
            } else {
                "fetch another distribution"
            };
            Err(Fault::new("distribution", format!("Python {version}: {why_not}"))
                .hint(hint)
                .of_kind(Kind::Unsupported))
        }
        Some(LinkMode::Static) if !shared.is_empty() => Err(Fault::new(
            "--static",
            format!("a static executable cannot load shared objects, and the blob holds {listed}"),
        )
        .hint("link with --dynamic, or leave them out with `pyox-collect --exclude`")
        .of_kind(Kind::Unsupported)),
        Some(LinkMode::Static) if !link.can_static => {
            Err(Fault::new("--static", format!("Python {version}: {why_not}"))
                .hint("link with --dynamic, or fetch a distribution built from source")
                .of_kind(Kind::Unsupported))
        }
        Some(LinkMode::Dynamic) if !link.can_dynamic => {
            Err(Fault::new("--dynamic", format!("Python {version}: {why_not}"))
                .hint("link with --static")
                .of_kind(Kind::Unsupported))
        }
        Some(LinkMode::Portable) if link.shared_libpython.is_none() => Err(Fault::new(
            "--shape portable",
            format!("Python {version}: the distribution has no shared libpython"),
        )
        .hint("link with --dynamic")
        .of_kind(Kind::Unsupported)),
        Some(mode) => Ok((mode, "as asked for".to_owned())),
        // Its runner is linked already; for the others a compiler and libraries for that machine are wanted.
        None if distribution.target != OWN_TARGET && link.shared_libpython.is_some() => {
            Ok((LinkMode::Portable, format!("it is for {}", distribution.target)))
        }
        None if shared.is_empty() && link.can_static => {
            Ok((LinkMode::Static, "no shared object needs a loader".to_owned()))
        }
        None if !link.can_dynamic && link.shared_libpython.is_some() => {
            Ok((LinkMode::Portable, why_not.to_owned()))
        }
        None if !link.can_dynamic => Err(Fault::new(
            "distribution",
            format!("it can only be linked statically, but the blob holds {listed}"),
        )
        .hint("leave them out with `pyox-collect --exclude`, or fetch another distribution")
        .of_kind(Kind::Unsupported)),
        None if shared.is_empty() => Ok((LinkMode::Dynamic, why_not.to_owned())),
        None => Ok((LinkMode::Dynamic, needs_loader(shared))),
    }
}

/// The arguments by which a function of an archive is called `__real_NAME` by pyembed, and pyembed's own by all others.
pub(crate) fn wrap(name: &str) -> String {
    format!(
        "-Wl,--wrap={name},--defsym=__wrap_{name}=pyembed_{name},--defsym=pyembed_real_{name}=__real_{name}"
    )
}

/// What pyembed has in place of two functions of CPython.
const REPLACED: &str = "-Wl,--wrap=_PyConfig_InitPathConfig,--wrap=PyThread_exit_thread";

/// Where interpreters start, all of which get the importer, and where they end.
fn of_interpreters(version: &str) -> impl Iterator<Item = String> + use<> {
    let start: &[&str] = if version.starts_with("3.11.") {
        &["_PyImportZip_Init"]
    } else {
        &["_PyImport_InitCore", "_PyImport_InitExternal"]
    };
    start.iter().chain(&END).map(|name| wrap(name))
}

/// What CPython calls when an interpreter ends.
const END: [&str; 5] = [
    "_PyExc_Fini",
    "_PyGC_CollectNoFail",
    "_PyTypes_Fini",
    "_PyTypes_FiniTypes",
    "_PyUnicode_ClearInterned",
];

/// The arguments for one object in which all calls of the C library's functions go to pyembed's, which find the originals
/// by themselves.
pub(crate) fn arguments_within(version: &str) -> Vec<String> {
    let own = INTERPOSED.iter().chain(&["dlopen"]);
    let own = own.map(|name| format!("-Wl,--wrap={name},--defsym=__wrap_{name}=pyembed_{name}"));
    [REPLACED.to_owned()].into_iter().chain(of_interpreters(version)).chain(own).collect()
}

/// The arguments for the runner that has no libpython in it.
pub(crate) fn portable_arguments() -> Vec<String> {
    // Only then are the places of all addresses of Python kept.
    let mut arguments = of_every_runner(true);
    arguments.push("-pie".to_owned());
    arguments.extend(of_dynamic_ones());
    // A daemon thread of CPython before 3.14 ends by this function, and may have frames of ours.
    arguments.push("-Wl,--defsym=pthread_exit=pyembed_pthread_exit".to_owned());
    // Newer compilers' unwinders ask for what glibc 2.35 brought.
    arguments.push("-Wl,--defsym=_dl_find_object=pyembed__dl_find_object".to_owned());
    arguments.push("-Wl,--unresolved-symbols=ignore-all".to_owned());
    // A loader must be as new as glibc 2.36 for these.
    arguments.push("-Wl,-z,nopack-relative-relocs".to_owned());
    arguments
}

/// Puts the blob's section there.
fn at(address: u64) -> String {
    format!("-Wl,--section-start={ELF_SECTION}={address:#x}")
}

/// What all runners are linked with.
fn of_every_runner(is_pie: bool) -> Vec<String> {
    vec![
        at(if is_pie { MOVABLE_SECTION_ADDRESS } else { FIXED_BLOB_ADDRESS }),
        "-Wl,--build-id=none".to_owned(),
        "-Wl,-z,noexecstack".to_owned(),
        "-Wl,--strip-all".to_owned(),
        "-static-libgcc".to_owned(),
    ]
}

/// Extension modules find Python's functions in a dynamic runner, and C code there finds functions that know the files
/// and libraries in the blob.
fn of_dynamic_ones() -> impl Iterator<Item = String> {
    let names = INTERPOSED.iter().chain(&["dlopen"]);
    let own = names.map(|name| format!("-Wl,--defsym={name}=pyembed_{name}"));
    // All functions are bound at the start, so that their table can be closed to writing.
    ["-Wl,--export-dynamic", "-Wl,-z,relro,-z,now"].map(str::to_owned).into_iter().chain(own)
}

fn arguments(
    mode: LinkMode,
    is_pie: bool,
    version: &str,
    of_distribution: &[String],
) -> Vec<String> {
    let mut arguments = of_every_runner(is_pie);
    let position: &[&str] = match (mode, is_pie) {
        // At fixed addresses there is nothing to relocate at the start.
        (LinkMode::Static, false) => &[FIXED, FIXED_STATIC],
        (_, false) => &[FIXED],
        (LinkMode::Static, true) => &["-static-pie", "-Wl,-z,relro,-z,now"],
        (_, true) => &["-pie"],
    };
    arguments.extend(position.iter().copied().map(str::to_owned));
    arguments.push(REPLACED.to_owned());
    arguments.extend(of_interpreters(version));
    match mode {
        LinkMode::Static => {
            arguments.push("-Wl,--gc-sections".to_owned());
            arguments.extend(INTERPOSED.iter().chain(&ONLY_STATIC).map(|name| wrap(name)));
        }
        LinkMode::Dynamic | LinkMode::Portable => arguments.extend(of_dynamic_ones()),
    }
    arguments.extend_from_slice(of_distribution);
    arguments
}
