//! Which C compiler compiles and links.

use std::env;
use std::path::PathBuf;

/// A C compiler, which is the linker's driver too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// Its path or its name on PATH.
    pub program: PathBuf,
    /// What it always gets: what stands behind its name in `CC`, and what `CFLAGS` holds.
    pub arguments: Vec<String>,
}

impl Compiler {
    /// The usual name of the compiler for a target triple, as Debian and others have it.
    #[must_use]
    pub fn usual(target: &str) -> String {
        let (architecture, _) = target.split_once('-').unwrap_or((target, ""));
        let musl = target.ends_with("-musl");
        match (architecture == env::consts::ARCH, musl) {
            // Where musl is the system's libc, `cc` is for it and there is no `musl-gcc`.
            (true, musl) if !musl || cfg!(target_env = "musl") => "cc".to_owned(),
            (true, _) => "musl-gcc".to_owned(),
            (false, true) => format!("{architecture}-linux-musl-gcc"),
            (false, false) => format!("{architecture}-linux-gnu-gcc"),
        }
    }

    /// The compiler for a target triple: that of the variables `CC_TARGET`, `HOST_CC` and `CC`, with the flags of
    /// `CFLAGS_TARGET`, `HOST_CFLAGS` and `CFLAGS`, as the crate `cc` reads them; where none of them is set the usual one.
    #[must_use]
    pub fn of(target: &str, usual: &str) -> Self {
        let unset = Self { program: usual.into(), arguments: Vec::new() };
        let underlined = target.replace('-', "_");
        let is_set = |name: &str| {
            let variants =
                [name.into(), format!("{name}_{target}"), format!("{name}_{underlined}")];
            let all =
                variants.into_iter().chain([format!("TARGET_{name}"), format!("HOST_{name}")]);
            { all }.any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
        };
        let is_named = is_set("CC");
        if !is_named && !is_set("CFLAGS") {
            return unset;
        }
        let mut build = cc::Build::new();
        build.target(target).host(target).opt_level(0).debug(false).no_default_flags(true);
        build.cargo_metadata(false).cargo_warnings(false).cargo_debug(false);
        if !is_named {
            build.compiler(usual);
        }
        match build.try_get_compiler() {
            Ok(tool) => Self {
                program: tool.path().to_owned(),
                arguments: tool.args().iter().map(|a| a.to_string_lossy().into_owned()).collect(),
            },
            // Whoever runs it says that it is not there.
            Err(_) => unset,
        }
    }
}
