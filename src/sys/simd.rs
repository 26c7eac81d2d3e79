//! The loops of a picture in the processor's own vector instructions, chosen at run time; each gives the bytes of the portable
//! one, which does what a vector does not fill.
//!
//! x86-64: AVX2 (SSSE3 comes with it), when the processor has it. AArch64: NEON, which every one has.

use crate::imx500::picture::Kernels;

/// The fastest loops that this processor can run.
pub fn kernels() -> Kernels {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return avx2::KERNELS;
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        return neon::KERNELS;
    }
    Kernels::PORTABLE
}

/// Pixels of one vector load: two groups of four pixels in ten bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod packed {
    /// Where the two bytes of each sample stand, low bits first: pixels 0 2 4 6, then 1 3 5 7.
    pub(super) const BYTES: [u8; 16] = [4, 0, 4, 2, 9, 5, 9, 7, 4, 1, 4, 3, 9, 6, 9, 8];
    /// What brings a pixel's two low bits to bits 6 and 7.
    pub(super) const SHIFTS: [u16; 8] = [64, 4, 64, 4, 16, 1, 16, 1];
}

/// The lines of the tone curve as bytes for look-ups of 16. What is looked up for a bright line is added to what is looked up for a
/// dark one, which is 0 where there is none.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod curve {
    use crate::imx500::picture::curve::{BRIGHT, DARK, DARK_IN_FIRST};

    /// `[bright, dark]`: starts of the lines, and high bytes of their slopes.
    pub(super) const STARTS: [[u8; 16]; 2] = tables().0;
    pub(super) const HIGH: [[u8; 16]; 2] = tables().1;
    /// Low bytes of the slopes; dark lines add none.
    pub(super) const LOW: [u8; 16] = tables().2;

    const fn tables() -> ([[u8; 16]; 2], [[u8; 16]; 2], [u8; 16]) {
        let (mut starts, mut high, mut low) = ([[0; 16]; 2], [[0; 16]; 2], [0; 16]);
        let mut i = 0;
        while i < 16 {
            let (line, dark, under) = (BRIGHT[i], DARK[i], BRIGHT[i / DARK_IN_FIRST]);
            assert!(dark.slope as u8 == under.slope as u8);
            starts[0][i] = line.start;
            starts[1][i] = dark.start.wrapping_sub(under.start);
            high[0][i] = (line.slope >> 8) as u8;
            high[1][i] = ((dark.slope >> 8) as u8).wrapping_sub((under.slope >> 8) as u8);
            low[i] = line.slope as u8;
            i += 1;
        }
        (starts, high, low)
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::curve::{HIGH, LOW, STARTS};
    use super::packed::{BYTES, SHIFTS};
    use crate::imx500::picture::cells::{self, Planes, Tones};
    use crate::imx500::picture::resize::{Resize, ResizedRow};
    use crate::imx500::picture::{CellRow, Kernels, Tone};

    pub(super) const KERNELS: Kernels = Kernels { packed_cells, unpacked_cells, sum_open, filter, levels, weave };

    /// Cells of one step, and the bytes of a row that it reads: 40 are used.
    const CELLS: usize = 16;
    const READ: usize = 46;

    fn packed_cells(upper_row: &[u8], lower_row: &[u8], green_first: bool, row: CellRow<'_>) {
        // SAFETY: `KERNELS` is handed out only where AVX2 was detected.
        unsafe { packed_cells_avx2(upper_row, lower_row, green_first, row) }
    }

    fn unpacked_cells(upper_row: &[u8], lower_row: &[u8], green_first: bool, shift: u32, row: CellRow<'_>) {
        // SAFETY: as above.
        unsafe { unpacked_cells_avx2(upper_row, lower_row, green_first, shift, row) }
    }

    fn sum_open(planes: Planes<'_>, clipped_from: u16) -> ([u64; 3], u32) {
        // SAFETY: as above.
        unsafe { sum_open_avx2(planes, clipped_from) }
    }

    fn filter(resize: &mut Resize, planes: Planes<'_>) -> ResizedRow {
        // SAFETY: as above.
        unsafe { filter_avx2(resize, planes) }
    }

    fn levels(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]) {
        // SAFETY: as above.
        unsafe { levels_avx2(planes, tones, rgb) }
    }

    fn weave(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]) {
        // SAFETY: as above.
        unsafe { weave_avx2(planes, offset, rgb) }
    }

    /// The portable loop, compiled for AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn filter_avx2(resize: &mut Resize, planes: Planes<'_>) -> ResizedRow {
        resize.add(planes)
    }

    /// The portable loop, compiled for AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn unpacked_cells_avx2(upper: &[u8], lower: &[u8], green_first: bool, shift: u32, row: CellRow<'_>) {
        cells::unpacked_cells(upper, lower, green_first, shift, row);
    }

    /// The portable loop, compiled for AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn sum_open_avx2(planes: Planes<'_>, clipped_from: u16) -> ([u64; 3], u32) {
        cells::sum_open(planes, clipped_from)
    }

    #[target_feature(enable = "avx2")]
    unsafe fn packed_cells_avx2(upper_row: &[u8], lower_row: &[u8], green_first: bool, row: CellRow<'_>) {
        let CellRow { upper, green, lower } = row;
        let bytes = upper_row.len().min(lower_row.len());
        let count = upper.len().min(green.len()).min(lower.len());
        let mut done = 0;
        while done + CELLS <= count && done / 2 * 5 + READ <= bytes {
            let at = done / 2 * 5;
            // SAFETY: 46 bytes from `at` on are inside both rows, and 16 values from `done` on inside all three planes.
            unsafe {
                let (ue, uo) = pixels(upper_row.as_ptr().add(at));
                let (le, lo) = pixels(lower_row.as_ptr().add(at));
                let (a, g, b) =
                    if green_first { (uo, _mm256_avg_epu16(ue, lo), le) } else { (ue, _mm256_avg_epu16(uo, le), lo) };
                _mm256_storeu_si256(upper.as_mut_ptr().add(done).cast(), a);
                _mm256_storeu_si256(green.as_mut_ptr().add(done).cast(), g);
                _mm256_storeu_si256(lower.as_mut_ptr().add(done).cast(), b);
            }
            done += CELLS;
        }
        let (at, rest) = (done / 2 * 5, done..);
        let rest =
            CellRow { upper: &mut upper[rest.clone()], green: &mut green[rest.clone()], lower: &mut lower[rest] };
        cells::packed_cells(&upper_row[at..], &lower_row[at..], green_first, rest);
    }

    /// 32 pixels, doubled: those in even columns and those in odd ones. The mean of two doubled samples is their sum.
    ///
    /// # Safety
    /// AVX2; 46 bytes can be read at `source`.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pixels(source: *const u8) -> (__m256i, __m256i) {
        // SAFETY: the last of the four loads ends at byte 46; the constants have 16 bytes.
        unsafe {
            let order = _mm256_broadcastsi128_si256(_mm_loadu_si128(BYTES.as_ptr().cast()));
            let shifts = _mm256_broadcastsi128_si256(_mm_loadu_si128(SHIFTS.as_ptr().cast()));
            let load = |first: usize, second: usize| {
                let low = _mm256_castsi128_si256(_mm_loadu_si128(source.add(first).cast()));
                let both = _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(source.add(second).cast()));
                let pairs = _mm256_shuffle_epi8(both, order);
                let low_bits = _mm256_and_si256(_mm256_mullo_epi16(pairs, shifts), _mm256_set1_epi16(0xC0));
                let high_bits = _mm256_and_si256(pairs, _mm256_set1_epi16(0xFF00_u16 as i16));
                _mm256_srli_epi16::<5>(_mm256_or_si256(high_bits, low_bits))
            };
            // Pixels 0..8 and 16..24, 8..16 and 24..32: so the halves of both come out in order.
            let (a, b) = (load(0, 20), load(10, 30));
            (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b))
        }
    }

    /// Places of 16 samples of red, green and blue in 16 of their 48 bytes of RGB; 0x80 leaves a zero.
    const fn woven(part: usize) -> [[u8; 16]; 3] {
        let mut masks = [[0x80; 16]; 3];
        let mut byte = 0;
        while byte < 16 {
            let place = 16 * part + byte;
            masks[place % 3][byte] = (place / 3) as u8;
            byte += 1;
        }
        masks
    }

    const WOVEN: [[[u8; 16]; 3]; 3] = [woven(0), woven(1), woven(2)];

    #[target_feature(enable = "avx2")]
    unsafe fn levels_avx2(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]) {
        const STEP: usize = 32;
        let count = planes[0].len().min(planes[1].len()).min(planes[2].len()).min(rgb.len() / 3);
        if count < STEP {
            return cells::levels(planes, tones, rgb);
        }
        let mut done = 0;
        while done < count {
            // The last step takes some of the one before it again.
            let at = done.min(count - STEP);
            // SAFETY: 32 values from `at` on are inside all planes, and 96 bytes from `3 * at` on inside `rgb`.
            unsafe {
                let r = levels_of(planes[0].as_ptr().add(at), tones[0]);
                let g = levels_of(planes[1].as_ptr().add(at), tones[1]);
                let b = levels_of(planes[2].as_ptr().add(at), tones[2]);
                let target = rgb.as_mut_ptr().add(3 * at);
                for (part, masks) in WOVEN.iter().enumerate() {
                    let place = |levels, mask: &[u8; 16]| _mm256_shuffle_epi8(levels, both_halves(mask));
                    let two = _mm256_or_si256(place(r, &masks[0]), place(g, &masks[1]));
                    let all = _mm256_or_si256(two, place(b, &masks[2]));
                    _mm_storeu_si128(target.add(16 * part).cast(), _mm256_castsi256_si128(all));
                    _mm_storeu_si128(target.add(48 + 16 * part).cast(), _mm256_extracti128_si256::<1>(all));
                }
            }
            done += STEP;
        }
    }

    /// # Safety
    /// AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn both_halves(bytes: &[u8; 16]) -> __m256i {
        // SAFETY: the array has the 16 bytes that are read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    /// Levels of 32 values, in their order.
    ///
    /// # Safety
    /// AVX2; 32 values can be read at `source`.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn levels_of(source: *const u16, tone: &Tone) -> __m256i {
        // SAFETY: 32 values can be read.
        unsafe {
            let every = |value: u16| _mm256_set1_epi16(value as i16);
            let light = |first: usize| {
                let values = _mm256_loadu_si256(source.add(first).cast());
                let above = _mm256_min_epu16(_mm256_subs_epu16(values, every(tone.black)), every(tone.span));
                _mm256_mulhrs_epi16(_mm256_mullo_epi16(above, every(tone.scale)), every(tone.factor))
            };
            let (a, b) = (light(0), light(16));
            let bright = _mm256_packus_epi16(_mm256_srli_epi16::<10>(a), _mm256_srli_epi16::<10>(b));
            let dark_line = |light| _mm256_mulhi_epi16(light, every(3 << 8));
            // Places from 16 on get their top bit set, for which the look-up gives 0.
            let dark = _mm256_adds_epu8(_mm256_packus_epi16(dark_line(a), dark_line(b)), _mm256_set1_epi8(0x70));
            let look_up = |[of_bright, of_dark]: &[[u8; 16]; 2]| {
                let of_bright = _mm256_shuffle_epi8(both_halves(of_bright), bright);
                _mm256_add_epi8(of_bright, _mm256_shuffle_epi8(both_halves(of_dark), dark))
            };
            let (start, high) = (look_up(&STARTS), look_up(&HIGH));
            let low = _mm256_shuffle_epi8(both_halves(&LOW), bright);
            // Rounded by an instruction that, unlike a shift behind a product, compilers leave as it is.
            let rise = |light, slope| _mm256_mulhrs_epi16(_mm256_mulhrs_epi16(light, slope), every(1 << 13));
            let (a, b) = (rise(a, _mm256_unpacklo_epi8(low, high)), rise(b, _mm256_unpackhi_epi8(low, high)));
            _mm256_permute4x64_epi64::<0xD8>(_mm256_add_epi8(start, _mm256_packus_epi16(a, b)))
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn weave_avx2(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]) {
        let count = planes[0].len().min(planes[1].len()).min(planes[2].len()).min(rgb.len() / 3);
        let mut done = 0;
        while done + 16 <= count {
            // SAFETY: 16 samples from `done` on are inside all planes, and 48 bytes from `3 * done` on inside `rgb`.
            unsafe {
                let offset = _mm_set1_epi8(offset as i8);
                let load = |plane: &[u8]| _mm_add_epi8(_mm_loadu_si128(plane.as_ptr().add(done).cast()), offset);
                let [r, g, b] = [load(planes[0]), load(planes[1]), load(planes[2])];
                for (part, masks) in WOVEN.iter().enumerate() {
                    let place =
                        |samples, mask: &[u8; 16]| _mm_shuffle_epi8(samples, _mm_loadu_si128(mask.as_ptr().cast()));
                    let all = _mm_or_si128(_mm_or_si128(place(r, &masks[0]), place(g, &masks[1])), place(b, &masks[2]));
                    _mm_storeu_si128(rgb.as_mut_ptr().add(3 * done + 16 * part).cast(), all);
                }
            }
            done += 16;
        }
        cells::weave(planes.map(|plane| &plane[done..]), offset, &mut rgb[3 * done..]);
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::curve::{HIGH, LOW, STARTS};
    use super::packed::{BYTES, SHIFTS};
    use crate::imx500::picture::cells::{self, Planes, Tones};
    use crate::imx500::picture::{CellRow, Kernels, Tone};

    pub(super) const KERNELS: Kernels = Kernels { packed_cells, levels, weave, ..Kernels::PORTABLE };

    /// Cells of one step, and the bytes of a row that it reads: 20 are used.
    const CELLS: usize = 8;
    const READ: usize = 26;

    fn packed_cells(upper_row: &[u8], lower_row: &[u8], green_first: bool, row: CellRow<'_>) {
        // SAFETY: `KERNELS` is handed out only where NEON was detected.
        unsafe { packed_cells_neon(upper_row, lower_row, green_first, row) }
    }

    fn levels(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]) {
        // SAFETY: as above.
        unsafe { levels_neon(planes, tones, rgb) }
    }

    fn weave(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]) {
        // SAFETY: as above.
        unsafe { weave_neon(planes, offset, rgb) }
    }

    #[target_feature(enable = "neon")]
    unsafe fn packed_cells_neon(upper_row: &[u8], lower_row: &[u8], green_first: bool, row: CellRow<'_>) {
        let CellRow { upper, green, lower } = row;
        let bytes = upper_row.len().min(lower_row.len());
        let count = upper.len().min(green.len()).min(lower.len());
        let mut done = 0;
        while done + CELLS <= count && done / 2 * 5 + READ <= bytes {
            let at = done / 2 * 5;
            // SAFETY: 26 bytes from `at` on are inside both rows, and 8 values from `done` on inside all three planes.
            unsafe {
                let (ue, uo) = pixels(upper_row.as_ptr().add(at));
                let (le, lo) = pixels(lower_row.as_ptr().add(at));
                let (a, g, b) = if green_first { (uo, vhaddq_u16(ue, lo), le) } else { (ue, vhaddq_u16(uo, le), lo) };
                vst1q_u16(upper.as_mut_ptr().add(done), a);
                vst1q_u16(green.as_mut_ptr().add(done), g);
                vst1q_u16(lower.as_mut_ptr().add(done), b);
            }
            done += CELLS;
        }
        let (at, rest) = (done / 2 * 5, done..);
        let rest =
            CellRow { upper: &mut upper[rest.clone()], green: &mut green[rest.clone()], lower: &mut lower[rest] };
        cells::packed_cells(&upper_row[at..], &lower_row[at..], green_first, rest);
    }

    /// 16 pixels, doubled: those in even columns and those in odd ones. The mean of two doubled samples is their sum.
    ///
    /// # Safety
    /// NEON; 26 bytes can be read at `source`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn pixels(source: *const u8) -> (uint16x8_t, uint16x8_t) {
        // SAFETY: the second of the two loads ends at byte 26; the constants have 16 bytes.
        unsafe {
            let order = vld1q_u8(BYTES.as_ptr());
            let shifts = vld1q_u16(SHIFTS.as_ptr());
            let load = |first: usize| {
                let pairs = vreinterpretq_u16_u8(vqtbl1q_u8(vld1q_u8(source.add(first)), order));
                let low_bits = vandq_u16(vmulq_u16(pairs, shifts), vdupq_n_u16(0xC0));
                vshrq_n_u16::<5>(vorrq_u16(vandq_u16(pairs, vdupq_n_u16(0xFF00)), low_bits))
            };
            let (a, b) = (load(0), load(10));
            let evens = vcombine_u16(vget_low_u16(a), vget_low_u16(b));
            (evens, vcombine_u16(vget_high_u16(a), vget_high_u16(b)))
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn levels_neon(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]) {
        const STEP: usize = 16;
        let count = planes[0].len().min(planes[1].len()).min(planes[2].len()).min(rgb.len() / 3);
        if count < STEP {
            return cells::levels(planes, tones, rgb);
        }
        let mut done = 0;
        while done < count {
            // The last step takes some of the one before it again.
            let at = done.min(count - STEP);
            // SAFETY: 16 values from `at` on are inside all planes, and 48 bytes from `3 * at` on inside `rgb`.
            unsafe {
                let r = levels_of(planes[0].as_ptr().add(at), tones[0]);
                let g = levels_of(planes[1].as_ptr().add(at), tones[1]);
                let b = levels_of(planes[2].as_ptr().add(at), tones[2]);
                vst3q_u8(rgb.as_mut_ptr().add(3 * at), uint8x16x3_t(r, g, b));
            }
            done += STEP;
        }
    }

    /// Levels of 16 values.
    ///
    /// # Safety
    /// NEON; 16 values can be read at `source`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn levels_of(source: *const u16, tone: &Tone) -> uint8x16_t {
        // SAFETY: 16 values can be read; the tables have 16 bytes.
        unsafe {
            let product = |a: uint16x8_t, b: uint16x8_t| {
                vreinterpretq_u16_s16(vqrdmulhq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)))
            };
            let light = |values| {
                let above = vminq_u16(vqsubq_u16(values, vdupq_n_u16(tone.black)), vdupq_n_u16(tone.span));
                product(vmulq_n_u16(above, tone.scale), vdupq_n_u16(tone.factor))
            };
            let (a, b) = (light(vld1q_u16(source)), light(vld1q_u16(source.add(8))));
            let bright = vcombine_u8(vmovn_u16(vshrq_n_u16::<10>(a)), vmovn_u16(vshrq_n_u16::<10>(b)));
            let dark_line = |light| vshrn_n_u16::<8>(vmulq_n_u16(light, 3));
            let dark = vcombine_u8(dark_line(a), dark_line(b));
            // Places from 16 on are looked up as 0.
            let look_up = |[of_bright, of_dark]: &[[u8; 16]; 2]| {
                let of_bright = vqtbl1q_u8(vld1q_u8(of_bright.as_ptr()), bright);
                vaddq_u8(of_bright, vqtbl1q_u8(vld1q_u8(of_dark.as_ptr()), dark))
            };
            let (start, high) = (look_up(&STARTS), look_up(&HIGH));
            let low = vqtbl1q_u8(vld1q_u8(LOW.as_ptr()), bright);
            let rise = |light, slope| vrshrn_n_u16::<2>(product(light, vreinterpretq_u16_u8(slope)));
            vaddq_u8(start, vcombine_u8(rise(a, vzip1q_u8(low, high)), rise(b, vzip2q_u8(low, high))))
        }
    }

    #[target_feature(enable = "neon")]
    unsafe fn weave_neon(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]) {
        let count = planes[0].len().min(planes[1].len()).min(planes[2].len()).min(rgb.len() / 3);
        let mut done = 0;
        while done + 16 <= count {
            // SAFETY: 16 samples from `done` on are inside all planes, and 48 bytes from `3 * done` on inside `rgb`.
            unsafe {
                let offset = vdupq_n_u8(offset);
                let load = |plane: &[u8]| vaddq_u8(vld1q_u8(plane.as_ptr().add(done)), offset);
                let woven = uint8x16x3_t(load(planes[0]), load(planes[1]), load(planes[2]));
                vst3q_u8(rgb.as_mut_ptr().add(3 * done), woven);
            }
            done += 16;
        }
        cells::weave(planes.map(|plane| &plane[done..]), offset, &mut rgb[3 * done..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imx500::picture::cells::LEVELS;
    use crate::imx500::picture::{BLACK_LEVEL, BayerOrder, CellRow, Developer, RawFormat, RawPacking, SIZES, Tone};

    fn noise(count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2_654_435_769) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        (0..count).map(|_| if next() % 7 == 0 { 0xFF } else { next() as u8 }).collect()
    }

    #[test]
    fn the_loops_of_this_processor_give_the_bytes_of_the_portable_ones() {
        let fast = kernels();
        for (seed, cells) in [2, 14, 16, 18, 30, 32, 46, 100, 1014, 2028].into_iter().enumerate() {
            let seed = seed as u32;
            let made = |kernels: &Kernels| {
                let mut all = Vec::new();
                for green_first in [false, true] {
                    for packed in [true, false] {
                        let bytes = if packed { cells / 2 * 5 } else { cells * 4 };
                        let (u, l) = (noise(bytes, seed), noise(bytes, seed + 100));
                        let [mut upper, mut green, mut lower] = [vec![0; cells], vec![0; cells], vec![0; cells]];
                        let row = CellRow { upper: &mut upper, green: &mut green, lower: &mut lower };
                        match packed {
                            true => (kernels.packed_cells)(&u, &l, green_first, row),
                            false => (kernels.unpacked_cells)(&u, &l, green_first, 6 * (seed % 2), row),
                        }
                        let sums = (kernels.sum_open)([&upper, &green, &lower], 1900);
                        all.push((upper, green, lower, sums));
                    }
                }
                let samples = noise(3 * cells, seed + 7);
                let mut rgb = vec![0; 3 * cells];
                (kernels.weave)([&samples[..cells], &samples[cells..2 * cells], &samples[2 * cells..]], 128, &mut rgb);
                (all, rgb)
            };
            assert!(made(&fast) == made(&Kernels::PORTABLE), "{cells} cells differ");
        }
    }

    #[test]
    fn every_value_of_every_tone_has_the_level_of_the_portable_loop() {
        let every: Vec<u16> = (0..LEVELS as u16).collect();
        let backwards: Vec<u16> = every.iter().rev().copied().collect();
        let fast = kernels();
        for (black, white) in [(0, 4095), (0, 2046), (128, 2046), (1022, 2046)] {
            for gain in 256..=1024 {
                let tones = [256, gain, 1280 - gain].map(|gain| Tone::new(black, white, gain));
                for count in [LEVELS, if gain % 16 == 0 { usize::from(gain) - 240 } else { 1014 }] {
                    let made = |kernels: &Kernels| {
                        let mut rgb = vec![0; 3 * count];
                        (kernels.levels)([&every, &backwards, &every].map(|p| &p[..count]), tones.each_ref(), &mut rgb);
                        rgb
                    };
                    assert!(made(&fast) == made(&Kernels::PORTABLE), "{black} {white} {gain} {count}");
                }
            }
        }
    }

    #[test]
    fn pictures_of_every_size_and_mode_are_those_of_the_portable_loops() {
        for (width, height) in [(2028, 1520), (4056, 3040)] {
            let (packing, order) = (RawPacking::Packed, BayerOrder::Rggb);
            let format = RawFormat { width, height, stride: width / 4 * 5, packing, order };
            let raw = noise(format.bytes(), width);
            for size in SIZES {
                let made = |kernels| {
                    let mut developer = Developer::new(format, size, BLACK_LEVEL, kernels).unwrap();
                    let mut rgb = vec![0; (size.0 * size.1 * 3) as usize];
                    (developer.develop(&raw, &mut rgb).unwrap(), rgb)
                };
                assert!(made(kernels()) == made(Kernels::PORTABLE), "{size:?} of {width}x{height}");
            }
        }
    }

    #[test]
    fn vectors_stop_at_the_end_of_the_shortest_slice() {
        let (fast, rows, samples) = (kernels(), noise(50, 3), noise(64, 4));
        let [mut upper, mut green, mut lower] = [[7; 20], [7; 20], [7; 20]];
        let row = CellRow { upper: &mut upper, green: &mut green[..17], lower: &mut lower };
        (fast.packed_cells)(&rows[..45], &rows, false, row);
        let mut rgb = [9; 50];
        (fast.weave)([&samples, &samples[..40], &samples], 0, &mut rgb);
        assert_eq!(rgb[48..], [9, 9]);
        assert_eq!(rgb[45..48], [samples[15]; 3]);
        let (tone, values) = (Tone::new(0, 4095, 256), [4095; 50]);
        let mut rgb = [9; 150];
        (fast.levels)([&values, &values[..33], &values], [&tone; 3], &mut rgb);
        assert_eq!((rgb[..99].to_vec(), rgb[99..].to_vec()), (vec![255; 99], vec![9; 51]));
    }
}
