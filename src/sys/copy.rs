//! Copies that leave the cache alone, for bytes that the next to touch them is the disk.
//!
//! A plain store first reads the line that it overwrites. In a map of hundreds of megabytes no line is in the cache, so that a
//! plain copy moves every byte three times where two do. Arm's cores notice whole lines being overwritten by themselves.

/// Copies `from` to `to`, around the cache on x86-64 when `to` begins on a multiple of 16 bytes, plainly otherwise. Other
/// threads may see the bytes in any order until [`settle`] returned.
///
/// # Panics
/// When the lengths differ.
pub fn around_cache(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "both sides of a copy");
    #[cfg(target_arch = "x86_64")]
    if to.as_ptr().addr() % 16 == 0 {
        use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        let (mut from, mut to) = (from.chunks_exact(LINE_BYTES), to.chunks_exact_mut(LINE_BYTES));
        for (from, to) in from.by_ref().zip(to.by_ref()) {
            let (from, to) = (from.as_ptr().cast::<__m128i>(), to.as_mut_ptr().cast::<__m128i>());
            // SAFETY: both chunks have 64 bytes, which four words of 16 cover; `to` lies on a multiple of 16, since it began
            // on one and a line is a multiple of it, as the store demands; the load demands nothing. Every x86-64 has SSE2.
            unsafe {
                let words = [0, 1, 2, 3].map(|word| _mm_loadu_si128(from.add(word)));
                for (word, value) in words.into_iter().enumerate() {
                    _mm_stream_si128(to.add(word), value);
                }
            }
        }
        to.into_remainder().copy_from_slice(from.remainder());
        return;
    }
    to.copy_from_slice(from);
}

/// Waits until all bytes that [`around_cache`] copied on this thread are where everybody sees them. To be called before anybody
/// is told of them.
pub fn settle() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE; the instruction touches no memory of its own.
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_the_original_at_every_length_and_place() {
        let from: Vec<u8> = (0..1000).map(|i| (i * 37 + 11) as u8).collect();
        for start in 0..20 {
            for len in [0, 1, 15, 16, 63, 64, 65, 127, 128, 500, 777] {
                let mut to = vec![0xEE; 900];
                around_cache(&from[start..start + len], &mut to[start..start + len]);
                settle();
                assert_eq!(to[start..start + len], from[start..start + len]);
                assert!(
                    to[..start].iter().chain(&to[start + len..]).all(|&byte| byte == 0xEE),
                    "{len} bytes at {start}"
                );
            }
        }
    }

    #[test]
    #[should_panic = "both sides of a copy"]
    fn sides_of_different_lengths_are_refused() {
        around_cache(&[1, 2], &mut [0]);
    }
}
