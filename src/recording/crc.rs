//! Checksums of records: CRC-32C, continued from a seed that names the file and the place in it.

use crate::sys::copy;

/// Bytes copied and summed at a time. The processor writes one chunk out while it sums the next, so a chunk is no longer than
/// what it can hold back; and it is a multiple of 768, the three lanes of 256 bytes that `crc32c` sums side by side.
const CHUNK_BYTES: usize = 3072;

/// The start value of every checksum of one record: CRC-32C of the file's id and the record's offset. Bytes of another file or
/// of another place therefore never pass for a record.
pub fn seed(id: &[u8; 16], offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id), &offset.to_le_bytes())
}

/// Continues `crc` over `bytes`.
pub fn update(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// Copies `from` to the start of `to` and continues `crc` over it: each chunk is read from memory once, and what it goes over is
/// not read at all. Nobody may be told of the bytes before this returns.
///
/// # Panics
/// When `to` is shorter than `from`.
pub fn copy(crc: u32, from: &[u8], to: &mut [u8]) -> u32 {
    let to = &mut to[..from.len()];
    let mut crc = crc;
    for (from, to) in from.chunks(CHUNK_BYTES).zip(to.chunks_mut(CHUNK_BYTES)) {
        crc = update(crc, from);
        copy::around_cache(from, to);
    }
    copy::settle();
    crc
}

/// Zeroes `to` and continues `crc` over it.
pub fn zero(crc: u32, to: &mut [u8]) -> u32 {
    to.fill(0);
    update(crc, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_castagnolis() {
        assert_eq!(update(0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn another_file_or_another_place_gives_another_sum() {
        let (id, other) = ([1; 16], [2; 16]);
        let sums = [seed(&id, 64), seed(&id, 128), seed(&other, 64)].map(|seed| update(seed, b"same bytes"));
        assert!(sums[0] != sums[1] && sums[0] != sums[2] && sums[1] != sums[2]);
    }

    #[test]
    fn a_copy_in_chunks_has_the_sum_of_the_whole() {
        let from: Vec<u8> = (0..3 * CHUNK_BYTES + 77).map(|i| (i * 31) as u8).collect();
        let mut to = vec![0xFF; from.len() + 3];
        assert_eq!(copy(7, &from, &mut to), update(7, &from));
        assert_eq!(&to[..from.len()], &from[..]);
        assert_eq!(zero(9, &mut to), update(9, &vec![0; from.len() + 3]));
    }
}
