//! What a runner needs so that `pyox-snapshot` can take an image of it.
//!
//! All writable data that is not the C library's lies in one segment at a fixed address, whose first bytes are a header. The
//! C library keeps its own data, and its own start. Constructors are gathered there too, for pyembed to call: those with a
//! number note what a process is given and run in each, mimalloc's takes random numbers and runs where there is no image, and all
//! others have run when an image is taken. It is the
//! linker's usual layout in all else, so a runner is what it was, until it gets an image.

use std::fmt::Write as _;

use pyox_schema::LinkMode;

use pyox_blob::snapshot::{
    BSS_SECTION, DATA_SECTION, Header, IMAGE_ADDRESS, INITIAL_ADDRESS, INITIAL_SECTION,
    LIBRARY_SECTIONS, MOVABLE_IMAGE_ADDRESS, MOVABLE_INITIAL_ADDRESS, MOVABLE_LIBRARIES_ADDRESS,
    OF_LIBC, PYTHON_SECTIONS, WATCHED,
};

use crate::plan::wrap;

/// The file of the linker script.
pub(crate) const SCRIPT: &str = "snapshot.ld";

/// The file with the header and the room for the first data.
pub(crate) const SECTIONS: &str = "snapshot.s";

/// The C library's family and the compiler's own objects. Each process starts them anew. So it does with what OpenSSL has
/// found out about the processor, before `main`, and with the code that libffi makes in memory.
const OUTSIDE: [&str; 14] = [
    "*libc.a:*",
    "*libm.a:*",
    "*libm-*.a:*",
    "*libmvec.a:*",
    "*libdl.a:*",
    "*libpthread.a:*",
    "*librt.a:*",
    "*libutil.a:*",
    "*libresolv.a:*",
    "*libgcc*.a:*",
    "*crt*.o",
    "*libcrypto.a:*cpuid*.o",
    "*libffi.a:closures.o",
    "*libffi.a:tramp.o",
];

/// The linker's arguments for that.
pub(crate) fn arguments(mode: LinkMode) -> impl Iterator<Item = String> {
    OF_LIBC.into_iter().chain(WATCHED).map(move |name| match mode {
        LinkMode::Static => wrap(name),
        // The original is no place in the executable: see `sections`.
        LinkMode::Dynamic | LinkMode::Portable => {
            format!("-Wl,--wrap={name},--defsym=__wrap_{name}=pyembed_{name}")
        }
    })
}

/// The linker script, which adds to the usual one.
pub(crate) fn script(mode: LinkMode) -> String {
    let (initial, image, python) = if mode == LinkMode::Portable {
        (MOVABLE_INITIAL_ADDRESS, MOVABLE_IMAGE_ADDRESS, room_for_python())
    } else {
        (INITIAL_ADDRESS, IMAGE_ADDRESS, String::new())
    };
    let outside = OUTSIDE.join(" ");
    let inside = |sections: &[&str]| {
        let each = sections.iter().map(|section| format!("EXCLUDE_FILE({outside}) {section}"));
        format!("*({})", each.collect::<Vec<_>>().join(" "))
    };
    // What Rust's standard library has found out about the processor, and pyembed about the C library's functions.
    let outside_too = "*(.bss.*std_detect* .bss.pyembed_process)";
    // Not `.data.rel.ro`, which the linker protects.
    let data = inside(&[".data", ".data.[!r]*", ".data.rel", ".data.rel.local*", ".PyRuntime*"]);
    let bss = inside(&[".bss", ".bss.*", "COMMON"]);
    let constructors = inside(&[".init_array"]);
    format!(
        "SECTIONS
{{
  .pyox_process : {{ {outside_too} }}
  {INITIAL_SECTION} {initial:#x} : {{ KEEP(*({INITIAL_SECTION})) }}
{python}  {DATA_SECTION} {image:#x} : {{
    KEEP(*(.pyox_snapshot))
    {data}
    . = ALIGN(16);
    pyembed_constructors = .;
    KEEP(*(SORT(.init_array.*)))
    pyembed_constructors_late = .;
    KEEP(*libpython*.a:*obmalloc.o(.init_array))
    pyembed_constructors_once = .;
    KEEP({constructors})
    pyembed_constructors_end = .;
    . = ALIGN(4096);
    pyembed_image_data_end = .;
  }}
  {BSS_SECTION} : {{
    {bss}
    . = ALIGN(4096);
    pyembed_image_end = .;
  }}
}}
INSERT AFTER .bss;
"
    )
}

/// The sections that libpython and what it needs can take, each with its flags, in the order of their addresses.
fn spare() -> impl Iterator<Item = (&'static str, &'static str)> {
    let libraries = LIBRARY_SECTIONS.into_iter().flat_map(|of| of.into_iter().zip(["ax", "aw"]));
    libraries.chain(PYTHON_SECTIONS.into_iter().zip(["a", "ax", "a", "aw", "ax"]))
}

/// How far the beginnings of these segments lie apart as long as nobody has taken them: more than any page.
const APART: usize = 0x10_0000;

/// The part of the script that gives each of libpython's segments one to take, and each of the libraries that it needs two.
fn room_for_python() -> String {
    let addresses = (MOVABLE_LIBRARIES_ADDRESS..).step_by(APART);
    let mut text = String::new();
    for ((section, _), address) in spare().zip(addresses) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {section} {address:#x} : {{ KEEP(*({section})) }}");
    }
    text
}

/// The header of a runner, and room for a copy of the first data. In a dynamic one, the ways to the C library's own functions.
pub(crate) fn sections(mode: LinkMode, machine: &str) -> String {
    let mut text = String::from(
        ".section .pyox_snapshot, \"aw\", @progbits\n.balign 16\n.globl pyembed_image\npyembed_image:\n",
    );
    for byte in Header::EMPTY.to_bytes() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, ".byte {byte}");
    }
    let _ = write!(
        text,
        ".section {INITIAL_SECTION}, \"a\", @progbits\n.balign 4096\n.globl pyembed_initial\n\
         pyembed_initial: .zero 4096\n.section .note.GNU-stack, \"\", @progbits\n"
    );
    if mode == LinkMode::Portable {
        for (section, flags) in spare() {
            let _ = write!(
                text,
                "\n.section {section}, \"{flags}\", @progbits\n.balign 4096\n.zero 4096\n"
            );
        }
    }
    if mode != LinkMode::Static {
        let jump = if machine == "x86_64" { "jmp" } else { "b" };
        text += "\n.text\n";
        for name in OF_LIBC.into_iter().chain(WATCHED) {
            let own = format!("pyembed_real_{name}");
            let _ = write!(text, ".globl {own}\n.hidden {own}\n{own}: {jump} __real_{name}\n");
        }
    }
    text
}
