//! Compiles what starts an executable whose runner is compressed: `pyembed/unpacker` and zstd's decoder, as plain bytes.
//!
//! It is compiled by itself and not taken from the tools' zstd, because it runs before there is a C library: without what
//! compilers add that needs one.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/addresses.rs"]
#[allow(dead_code, reason = "the library needs more of them")]
mod addresses;

use addresses::{RUNNER_ADDRESS, UNPACKER_ADDRESS};

/// The sources of zstd's decoder.
const DECODER: [&str; 8] = [
    "common/entropy_common.c",
    "common/error_private.c",
    "common/fse_decompress.c",
    "common/zstd_common.c",
    "decompress/huf_decompress.c",
    "decompress/zstd_ddict.c",
    "decompress/zstd_decompress.c",
    "decompress/zstd_decompress_block.c",
];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../../pyembed/unpacker");
    for path in [folder.as_path(), Path::new("build.rs"), Path::new("src/addresses.rs")] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rustc-check-cfg=cfg(has_unpacker)");
    // It begins with a few instructions, which are x86-64's.
    let machine = (variable("CARGO_CFG_TARGET_ARCH"), variable("CARGO_CFG_TARGET_OS"));
    if machine != ("x86_64".to_owned(), "linux".to_owned()) {
        return;
    }
    println!("cargo::rustc-cfg=has_unpacker");
    let zstd = PathBuf::from(variable("DEP_ZSTD_INCLUDE"));
    let mut build = cc::Build::new();
    build
        .no_default_flags(true)
        .cargo_metadata(false)
        .warnings(false)
        .flag("-O2")
        .flag("-ffreestanding")
        .flag("-fno-stack-protector")
        .flag("-fno-pic")
        .flag("-fcf-protection=none")
        .flag("-fno-asynchronous-unwind-tables")
        .flag("-ffunction-sections")
        .flag("-fdata-sections")
        .flag("-U_FORTIFY_SOURCE")
        .include(&zstd)
        .define("RUNNER_ADDRESS", RUNNER_ADDRESS.to_string().as_str())
        .define("XXH_PRIVATE_API", "")
        .define("ZSTD_LEGACY_SUPPORT", "0")
        .define("ZSTD_STRIP_ERROR_STRINGS", "1")
        // Two thirds of the code, for a tenth of the time.
        .define("ZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT", "1")
        .define("HUF_FORCE_DECOMPRESS_X1", "1")
        .define("ZSTD_DISABLE_ASM", "1")
        .define("DYNAMIC_BMI2", "0")
        .file(folder.join("unpacker.c"))
        .files(DECODER.map(|file| zstd.join(file)));
    let objects = build.compile_intermediates();
    let script = fs::read_to_string(folder.join("unpacker.ld")).expect("the linker script");
    let own = out.join("unpacker.ld");
    fs::write(&own, script.replace("UNPACKER_ADDRESS", &UNPACKER_ADDRESS.to_string()))
        .expect("a file of the build");
    let mut link = build.get_compiler().to_command();
    link.args(["-static", "-nostdlib", "-no-pie", "-Wl,--gc-sections,--build-id=none"])
        .args(["-fuse-ld=bfd", "-Wl,--oformat=binary", "-Wl,-z,noexecstack"])
        .arg(format!("-Wl,-T,{}", own.display()))
        .arg("-o")
        .arg(out.join("unpacker"))
        .args(objects);
    let status = link.status().expect("the C compiler");
    assert!(status.success(), "{link:?} failed with {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
