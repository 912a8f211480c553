//! A runner whose segments are compressed.
//!
//! The file that is made has a segment with the unpacker, one with the compressed runner, and room for the blob where the runner
//! has it, so that a blob joins it as any other. It takes some seconds, of the processor and not of the disk, and is worth
//! keeping.

use object::elf::{
    self as constants, FileFlags, PF_R, PF_X, PT_GNU_STACK, PT_LOAD, ProgramFlags, ProgramType,
    SHF_ALLOC, SHF_EXECINSTR,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::write::elf::{self as write, Writer};
use object::{Endianness, LittleEndian};
use pyox_blob::layout::ELF_SECTION;
use pyox_schema::Digest;
use pyox_stage::{Fault, FaultExt, Kind, Result};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::addresses::{HEADERS_ADDRESS, RUNNER_ADDRESS, UNPACKER_ADDRESS};
use crate::calls;
use crate::layout::{
    self, CRC, Elf, Filter, HEADER, LARGEST, MAGIC, MOST_PIECES, PAGE, Piece, RECORD,
    RUNNER_SECTION, Segment, UNPACKER_SECTION, VERSION,
};

/// The unpacker: code that begins with its first instruction.
#[cfg(has_unpacker)]
const UNPACKER: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/unpacker")));

/// It is not written for the machine of these tools.
#[cfg(not(has_unpacker))]
const UNPACKER: Option<&[u8]> = None;

/// The hardest that zstd tries. What decodes it takes no longer.
const LEVEL: i32 = 22;

/// Whether runners for that machine can be compressed, which is named as target triples have it. What starts them is part of these
/// tools, for their own machine alone.
#[must_use]
pub fn can_compress(machine: &str) -> bool {
    UNPACKER.is_some() && machine == std::env::consts::ARCH
}

/// What the bytes depend on that [`compressed`] makes, besides the runner.
#[must_use]
pub fn recipe() -> Digest {
    let mut all = UNPACKER.unwrap_or_default().to_vec();
    all.extend(VERSION.to_le_bytes());
    all.extend(LEVEL.to_le_bytes());
    all.extend(zstd::zstd_safe::version_number().to_le_bytes());
    Digest::of(&all)
}

/// Compresses a runner that is linked statically, at fixed addresses.
///
/// Costs ten seconds of CPU time for 17 MB, on as many threads as there are large segments.
///
/// # Errors
///
/// If the runner's segments lie where the unpacker has to be or not on pages of their own, or there is no unpacker for this machine.
pub fn compressed(runner: &[u8]) -> Result<Vec<u8>> {
    let unpacker = UNPACKER.ok_or_else(|| unsupported("there is no unpacker for this machine"))?;
    let endian = LittleEndian;
    let elf = Elf::parse(runner).fault("runner")?;
    let segments = elf.program_headers(endian, runner).fault("runner")?;
    let pieces = pieces(segments, runner)?;
    let first = pieces.iter().find(|piece| piece.0.address != 0);
    let (first, _) = first.ok_or_else(|| unsupported("expected segments, found none"))?;
    let blob = segments
        .iter()
        .filter(|it| it.p_type(endian) == PT_LOAD)
        .map(|it| it.p_vaddr(endian))
        .max();
    let (packed, frames) = pack(&pieces)?;

    let mut head = Vec::with_capacity(HEADER);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(u32::try_from(packed.len()).fault("runner")?.to_le_bytes());
    head.extend((runner.len() as u64).to_le_bytes());
    head.extend(first.address.to_le_bytes());
    head.extend(Digest::of(runner).0);
    head.extend([0; HEADER - CRC]);
    head.extend(packed.iter().flat_map(|piece| piece.to_bytes()));
    let crc = layout::crc(&head);
    head[CRC..CRC + 4].copy_from_slice(&crc.to_le_bytes());
    head.extend(frames.into_iter().flatten());

    let stack = segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_STACK);
    let stack = stack.map_or(PF_R | constants::PF_W, |stack| stack.p_flags(endian));
    file(unpacker, &head, blob.unwrap_or_default(), stack)
}

fn unsupported(what: &str) -> Fault {
    Fault::new("runner", what).hint("link without `--small`").of_kind(Kind::Unsupported)
}

/// The runner's file in pieces: its segments but the blob's, and what lies between them.
fn pieces<'a>(segments: &[Segment], runner: &'a [u8]) -> Result<Vec<(Piece, &'a [u8])>> {
    let endian = LittleEndian;
    let mut loaded: Vec<_> = segments.iter().filter(|it| it.p_type(endian) == PT_LOAD).collect();
    loaded.sort_by_key(|segment| segment.p_vaddr(endian));
    // The blob's is the last, see `join`.
    loaded.pop();
    let odd = || unsupported("expected segments on pages of their own, in the order of the file");
    let mut pieces = Vec::new();
    let (mut at, mut free) = (0, 0);
    for segment in loaded {
        let (offset, len) = segment.file_range(endian);
        let (address, in_memory) = (segment.p_vaddr(endian), segment.p_memsz(endian));
        let end = address.checked_add(in_memory).filter(|end| *end <= HEADERS_ADDRESS);
        let bytes = part(runner, offset, len).ok_or_else(odd)?;
        if address & !(PAGE - 1) < free || offset < at || len > in_memory {
            return Err(odd());
        }
        free = end.ok_or_else(odd)?.next_multiple_of(PAGE);
        pieces.extend(between(runner, at, offset));
        let is_code = segment.p_flags(endian).0 & PF_X.0 != 0;
        let filter = if is_code { Filter::X86Calls } else { Filter::None };
        let rights = segment.p_flags(endian).0;
        let piece = Piece { address, in_memory, len, frame: 0, frame_len: 0, rights, filter };
        pieces.push((piece, bytes));
        at = offset + len;
    }
    pieces.extend(between(runner, at, runner.len() as u64));
    Ok(pieces)
}

fn part(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

fn between(runner: &[u8], start: u64, end: u64) -> Option<(Piece, &[u8])> {
    let bytes = part(runner, start, end.checked_sub(start)?).filter(|bytes| !bytes.is_empty())?;
    let len = bytes.len() as u64;
    let (frame, frame_len, rights) = (0, 0, 0);
    let filter = Filter::None;
    Some((Piece { address: 0, in_memory: 0, len, frame, frame_len, rights, filter }, bytes))
}

/// Compresses the pieces, each on a thread of its own. Gives their records and their frames.
fn pack(pieces: &[(Piece, &[u8])]) -> Result<(Vec<Piece>, Vec<Vec<u8>>)> {
    let len: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
    if len as u64 > LARGEST || pieces.len() > MOST_PIECES as usize {
        return Err(unsupported("expected a runner of at most 256 MiB"));
    }
    let frames = std::thread::scope(|scope| {
        let threads: Vec<_> = { pieces.iter() }
            .map(|(piece, bytes)| scope.spawn(move || frame(piece.filter, bytes)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| stopped())?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut at = (HEADER + RECORD * pieces.len()) as u64;
    let packed = pieces.iter().zip(&frames).map(|((piece, _), frame)| {
        let (start, frame_len) = (at, frame.len() as u64);
        at += frame_len;
        Piece { frame: start, frame_len, ..*piece }
    });
    Ok((packed.collect(), frames))
}

fn stopped() -> Fault {
    Fault::new("runner", "the thread that compressed it has ended")
}

/// One zstd frame with a checksum. Nothing for nothing.
fn frame(filter: Filter, bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = bytes.to_vec();
    if filter == Filter::X86Calls {
        calls::absolute(&mut bytes);
    }
    let mut compressor = Compressor::new(LEVEL).fault("runner")?;
    compressor.set_parameter(CParameter::ChecksumFlag(true)).fault("runner")?;
    compressor.compress(&bytes).fault("runner")
}

/// The file: headers, unpacker, compressed runner, a page for the blob, and the sections' headers.
fn file(unpacker: &[u8], runner: &[u8], blob: u64, stack: ProgramFlags) -> Result<Vec<u8>> {
    let (unpacker_len, runner_len) = (unpacker.len() as u64, runner.len() as u64);
    let unpacker_end = RUNNER_ADDRESS - UNPACKER_ADDRESS;
    if unpacker_len > unpacker_end || blob < RUNNER_ADDRESS + runner_len {
        return Err(unsupported("expected a runner that is compressed to 15 MB, got a larger one"));
    }
    let mut file = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut file);
    writer.reserve_file_header();
    writer.reserve_program_headers(4);
    let unpacker_at = writer.reserve(unpacker_len, PAGE);
    let runner_at = writer.reserve(runner_len, PAGE);
    let blob_at = writer.reserve(PAGE, PAGE);
    let names = [UNPACKER_SECTION, RUNNER_SECTION, ELF_SECTION].map(|name| {
        writer.reserve_section_index();
        Some(writer.add_section_name(name.as_bytes()))
    });
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().fault("runner")?;
    writer.reserve_section_headers();

    let header = write::FileHeader {
        os_abi: constants::ELFOSABI_SYSV,
        abi_version: 0,
        e_type: constants::ET_EXEC,
        e_machine: constants::EM_X86_64,
        e_entry: UNPACKER_ADDRESS,
        e_flags: FileFlags::default(),
    };
    writer.write_file_header(&header).fault("runner")?;
    writer.write_align_program_headers();
    // The first holds the headers too.
    for (flags, offset, address, len) in [
        (PF_R | PF_X, 0, HEADERS_ADDRESS, unpacker_at + unpacker_len),
        (PF_R, runner_at, RUNNER_ADDRESS, runner_len),
        (PF_R, blob_at, blob, PAGE),
    ] {
        writer.write_program_header(&segment(PT_LOAD, flags, offset, address, len, PAGE));
    }
    writer.write_program_header(&segment(PT_GNU_STACK, stack, 0, 0, 0, 16));
    for (at, bytes) in [(unpacker_at, unpacker), (runner_at, runner)] {
        writer.pad_until(at);
        writer.write(bytes);
    }
    writer.pad_until(blob_at + PAGE);
    writer.write_shstrtab();
    writer.write_null_section_header();
    let code = SHF_ALLOC | SHF_EXECINSTR;
    let sections = [
        (code, UNPACKER_ADDRESS, unpacker_at, unpacker_len),
        (SHF_ALLOC, RUNNER_ADDRESS, runner_at, runner_len),
        (SHF_ALLOC, blob, blob_at, PAGE),
    ];
    for (name, (sh_flags, sh_addr, sh_offset, sh_size)) in names.into_iter().zip(sections) {
        writer.write_section_header(&write::SectionHeader {
            sh_name: writer.section_name_offset(name),
            sh_type: constants::SHT_PROGBITS,
            sh_flags,
            sh_addr,
            sh_offset,
            sh_size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: PAGE,
            sh_entsize: 0,
        });
    }
    writer.write_shstrtab_section_header();
    Ok(file)
}

/// A program header.
fn segment(
    p_type: ProgramType,
    p_flags: ProgramFlags,
    p_offset: u64,
    address: u64,
    len: u64,
    p_align: u64,
) -> write::ProgramHeader {
    write::ProgramHeader {
        p_type,
        p_flags,
        p_offset,
        p_vaddr: address,
        p_paddr: address,
        p_filesz: len,
        p_memsz: len,
        p_align,
    }
}
