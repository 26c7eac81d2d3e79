//! A recording from anywhere: any bytes open or are refused, nothing panics, no time is spent without end, and no frame comes
//! out that does not hold together.
//!
//! Checksums would stop nearly every mutation at the door, so each input is tried twice: as it is, and with the checksums of
//! all its records computed again.

use kinora::Frame;
use kinora::recording::{Entry, Reader, exercise};
use kinora::view::Rows;

/// # Panics
/// When something above does not hold.
pub fn check(bytes: &[u8]) {
    try_open(bytes);
    let mut sealed = bytes.to_vec();
    if seal(&mut sealed) {
        try_open(&sealed);
    }
}

fn try_open(bytes: &[u8]) {
    if exercise::open_bytes(bytes).is_none() {
        return;
    }
    let mut reader = Reader::over(bytes).expect("it has just been opened");
    let info = reader.info();
    assert!(reader.end() <= bytes.len() as u64, "the end {} lies behind {} bytes", reader.end(), bytes.len());
    assert!(info.frames <= bytes.len() as u64 / 64, "{} frames in {} bytes", info.frames, bytes.len());
    walk(&mut reader, bytes.len());
}

/// Every record once.
fn walk(reader: &mut Reader<&[u8]>, bytes: usize) {
    let mut records = reader.records();
    let (mut count, mut end) = (0, 0);
    while let Some(record) = records.next() {
        assert!(record.offset >= end, "the record at {} begins before {end}", record.offset);
        end = record.offset + record.bytes;
        count += 1;
        assert!(count <= bytes / 64 + 2, "more records than fit into {bytes} bytes");
        if let Entry::Frame { frame, .. } = &record.entry {
            check_frame(frame);
        }
    }
}

fn check_frame(frame: &Frame<'_>) {
    assert!(frame.results.is_consistent(frame.side.len()), "columns that do not fit: {:?}", frame.results);
    if let Some(pixels) = frame.pixels {
        assert_eq!(pixels.info.bytes(), Some(pixels.bytes.len()));
    }
    for seen in frame.detections().iter() {
        std::hint::black_box(seen);
    }
}

/// Computes the front's checksum and those of all records that lie where records should; false when there is no front.
fn seal(bytes: &mut [u8]) -> bool {
    let Some(front) = bytes.get_mut(..64) else { return false };
    let crc = crc32c::crc32c(&front[..60]);
    front[60..64].copy_from_slice(&crc.to_le_bytes());
    let id = front[16..32].to_vec();
    let mut at = u32_at(front, 12) as usize;
    while let Some(record) = bytes.get_mut(at..).filter(|rest| rest.len() >= 64) {
        if record[..4] != [0xF1, 0x4B, 0x4E, 0x8E] {
            at += 64;
            continue;
        }
        let total = (u32_at(record, 8) as usize).next_multiple_of(64).clamp(64, record.len());
        let head = (u32_at(record, 12) as usize).clamp(64, total);
        let seed = crc32c::crc32c_append(crc32c::crc32c(&id), &(at as u64).to_le_bytes());
        let bulk = if record[4] == 7 { seed } else { crc32c::crc32c_append(seed, &record[head..total]) };
        record[56..60].copy_from_slice(&bulk.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &record[..60]), &record[64..head]);
        record[60..64].copy_from_slice(&crc.to_le_bytes());
        at += total;
    }
    true
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
