//! What the directory has to know about the inside of a recording: is it ours, is it closed, how much of its end is unused.
//! Reads a few bytes at both ends, whatever the size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::FromBytes;

use super::directory::{Anatomy, Standing};
use super::format::{ALIGN, END_MAGIC, EndMark, FRONT_MAGIC, Front, Geometry, HEAD_BYTES_MAX, Head, RECORD_MAGIC};

/// The anatomy of `.kinora` files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinora;

/// Bytes that are read at a time.
const CHUNK_BYTES: u64 = 256 << 10;

/// Places that look like a record and are none, before a file is left alone: somebody made it so.
const FALSE_RECORDS_MAX: usize = 1024;

impl Anatomy for Kinora {
    fn standing(&self, file: &File, len: u64) -> io::Result<Standing> {
        let mut magic = [0; FRONT_MAGIC.len()];
        if len < size_of::<Front>() as u64 || file.read_at(&mut magic, 0)? < magic.len() || magic != FRONT_MAGIC {
            return Ok(Standing::Foreign);
        }
        let mut end = [0; size_of::<EndMark>()];
        file.read_exact_at(&mut end, len - size_of::<EndMark>() as u64)?;
        let closed = end.starts_with(&END_MAGIC) && len % ALIGN == 0;
        Ok(if closed { Standing::Closed } else { Standing::Unclosed })
    }

    fn record_end(&self, file: &File, data_end: u64, len: u64) -> io::Result<u64> {
        let Some(geometry) = geometry(file)? else { return Ok(len) };
        let first = u64::from(geometry.page_bytes);
        if data_end <= first {
            return Ok(first.min(len));
        }
        let lowest = first.max(data_end.saturating_sub(geometry.step_bytes));
        let found = last_record(file, &geometry, lowest, data_end, len)?;
        Ok(found.unwrap_or(len).min(len))
    }
}

/// `None` when the front cannot be trusted.
fn geometry(file: &File) -> io::Result<Option<Geometry>> {
    let mut bytes = [0; size_of::<Front>()];
    file.read_exact_at(&mut bytes, 0)?;
    let front = Front::read_from_bytes(&bytes).expect("the length is the front's");
    let geometry = front.geometry();
    Ok((front.checksum() == front.crc.get() && geometry.is_valid()).then_some(geometry))
}

/// End of the last record with an intact head that begins in `lowest..end`; looks at every multiple of 64, last first.
fn last_record(file: &File, geometry: &Geometry, lowest: u64, end: u64, len: u64) -> io::Result<Option<u64>> {
    let mut head = vec![0; HEAD_BYTES_MAX];
    let mut chunk = vec![0; CHUNK_BYTES as usize];
    let mut false_records = 0;
    let mut high = end;
    while high > lowest {
        let low = ((high - 1) / CHUNK_BYTES * CHUNK_BYTES).max(lowest);
        let bytes = &mut chunk[..(high - low) as usize];
        file.read_exact_at(bytes, low)?;
        for (i, block) in bytes.chunks(ALIGN as usize).enumerate().rev() {
            if !block.starts_with(&RECORD_MAGIC) {
                continue;
            }
            let offset = low + i as u64 * ALIGN;
            let wanted = head.len().min((len - offset) as usize);
            file.read_exact_at(&mut head[..wanted], offset)?;
            match Head::parse(&head[..wanted], offset, geometry, len - offset) {
                Ok(found) => return Ok(Some(found.end())),
                Err(_) if false_records == FALSE_RECORDS_MAX => return Ok(None),
                Err(_) => false_records += 1,
            }
        }
        high = low;
    }
    Ok(None)
}
