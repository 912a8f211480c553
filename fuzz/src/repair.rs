//! Makes checksums right, where a reader would refuse damage by them and nothing else.

use pyox_blob::layout::{
    self, FILE_SIZE, GROUP_SIZE, HEADER_SIZE, MODULE_SIZE, SECTION_SIZE, Section, file, group,
    header, module, section,
};

/// A blob with the right magic, version, size and checksums, as far as they lie inside.
pub(crate) fn blob(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if bytes.len() < HEADER_SIZE {
        return bytes;
    }
    bytes[..layout::MAGIC.len()].copy_from_slice(&layout::MAGIC);
    put(&mut bytes, header::MAJOR, &layout::MAJOR.to_le_bytes());
    let len = bytes.len() as u64;
    put(&mut bytes, header::SIZE, &len.to_le_bytes());
    let count = (number(&bytes, header::SECTION_COUNT, 4) as usize).min(64);
    let sections: Vec<(usize, Option<Section>, u64, u64)> = (0..count)
        .map(|number| HEADER_SIZE + number * SECTION_SIZE)
        .take_while(|entry| entry + SECTION_SIZE <= bytes.len())
        .map(|entry| {
            let code = u32::try_from(number(&bytes, entry + section::KIND, 4)).unwrap_or_default();
            let start = number(&bytes, entry + section::OFFSET, 8);
            (entry, Section::from_code(code), start, number(&bytes, entry + section::LENGTH, 8))
        })
        .collect();
    let strings = sections.iter().find(|it| it.1 == Some(Section::Strings)).map(|it| it.2);
    groups(&mut bytes, &sections);
    for (_, kind, start, len) in &sections {
        let (size, payload, crc, end) = match kind {
            Some(Section::Modules) => (
                MODULE_SIZE,
                (module::CODE_OFFSET, module::CODE_LENGTH, 4),
                module::CODE_CRC,
                module::RECORD_CRC,
            ),
            Some(Section::Files) => {
                (FILE_SIZE, (file::OFFSET, file::STORED_LENGTH, 8), file::CRC, file::RECORD_CRC)
            }
            _ => continue,
        };
        let Some((start, len)) = usize::try_from(*start).ok().zip(usize::try_from(*len).ok())
        else {
            continue;
        };
        for record in (0..len / size).map(|number| start.saturating_add(number * size)).take(10_000)
        {
            if record.checked_add(size).is_none_or(|end| end > bytes.len()) {
                break;
            }
            let (at, len, width) = payload;
            let place = (number(&bytes, record + at, 8), number(&bytes, record + len, width));
            if let Some(payload) = inside(&bytes, place.0, place.1) {
                let sum = crc32fast::hash(payload);
                put(&mut bytes, record + crc, &sum.to_le_bytes());
            }
            let name = strings.and_then(|strings| {
                let start = strings.checked_add(number(&bytes, record, 4))?;
                inside(&bytes, start, number(&bytes, record + 4, 4))
            });
            let Some(name) = name.filter(|name| name.len() <= 4096) else { continue };
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(name);
            hasher.update(&bytes[record + 8..record + end]);
            put(&mut bytes, record + end, &hasher.finalize().to_le_bytes());
        }
    }
    for (entry, _, start, len) in &sections {
        if let Some(content) = inside(&bytes, *start, *len) {
            let sum = crc32fast::hash(content);
            put(&mut bytes, entry + section::CRC, &sum.to_le_bytes());
        }
    }
    let end = (HEADER_SIZE + count * SECTION_SIZE).min(bytes.len());
    let table = crc32fast::hash(&bytes[HEADER_SIZE..end]);
    put(&mut bytes, header::TABLE_CRC, &table.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..header::HEADER_CRC]);
    put(&mut bytes, header::HEADER_CRC, &sum.to_le_bytes());
    bytes
}

/// An executable with the right checksum in a compressed runner, of its header and its pieces' records.
pub(crate) fn runner(data: &[u8]) -> Vec<u8> {
    const HEADER: usize = 72;
    const CRC: usize = 64;
    const RECORD: usize = 48;
    let mut bytes = data.to_vec();
    let magic = b"PYOXRUNR";
    let Some(start) = data.windows(magic.len()).position(|bytes| bytes == magic) else {
        return bytes;
    };
    let Some(head) = data.get(start..start + HEADER) else { return bytes };
    let count = number(head, 12, 4).min(256) as usize;
    let Some(head) = data.get(start..start + HEADER + RECORD * count) else { return bytes };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..CRC]);
    hasher.update(&head[CRC + 4..]);
    put(&mut bytes, start + CRC, &hasher.finalize().to_le_bytes());
    bytes
}

/// A tar stream with the right checksum in each block that could be a header.
pub(crate) fn tar(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// The bytes as a gzip file, not compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut pieces = bytes.chunks(0xffff).peekable();
    if pieces.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(piece) = pieces.next() {
        let len = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        out.push(u8::from(pieces.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
    out
}

/// Makes right what groups' records say of themselves and of their frames. What lies in a group keeps the checksum that its record
/// has: a blob of the corpus has the right one.
fn groups(bytes: &mut [u8], sections: &[(usize, Option<Section>, u64, u64)]) {
    let Some((_, _, start, len)) = sections.iter().find(|it| it.1 == Some(Section::Groups)) else {
        return;
    };
    let Some((start, len)) = usize::try_from(*start).ok().zip(usize::try_from(*len).ok()) else {
        return;
    };
    for record in (0..len / GROUP_SIZE).map(|it| start.saturating_add(it * GROUP_SIZE)).take(10_000)
    {
        if record.checked_add(GROUP_SIZE).is_none_or(|end| end > bytes.len()) {
            break;
        }
        let at = number(bytes, record + group::OFFSET, 8);
        if let Some(frame) = inside(bytes, at, number(bytes, record + group::STORED_LENGTH, 4)) {
            let sum = crc32fast::hash(frame);
            put(bytes, record + group::CRC, &sum.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[record..record + group::RECORD_CRC]);
        put(bytes, record + group::RECORD_CRC, &sum.to_le_bytes());
    }
}

fn inside(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(start).ok()?..)?.get(..usize::try_from(len).ok()?)
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
