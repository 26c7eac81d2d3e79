//! A source that misbehaves as told, by a seed: any source with drops, repetitions, frames out of order, stalls, corrupt
//! buffers and other sizes. For tests, of this crate and of programs that use it.
//!
//! What it did is counted, so that a recording's ledger can be held against it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Filled, Remarks, Source, SourceError, SourceInfo, StartProgress};
use crate::frame::{PictureInfo, PixelFormat};
use crate::imx500::Network;
use crate::ledger::{Cause, Loss};
use crate::slot::{Slot, SlotSizes};
use crate::time::{ClockPair, Span, Timestamp};

/// Chances in a million for each frame, and the seed; everything else follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// The frame never comes: a gap in the numbers.
    pub drops: u32,
    /// The frame comes twice.
    pub duplicates: u32,
    /// The frame comes after its successor.
    pub reorder: u32,
    /// The source stands still for 1 to 30 frames from this one on, and says so.
    pub stalls: u32,
    /// The frame's bytes are broken, and the source says so. A virtual IMX500 has its metadata damaged instead.
    pub corrupt: u32,
    /// The picture has half the width and height; one that cannot be cut is lost as of another format.
    pub resize: u32,
}

/// How often each fault happened.
#[derive(Debug, Default)]
pub struct FaultCounts([AtomicU64; 6]);

impl FaultCounts {
    fn add(&self, kind: Kind, count: u64) {
        self.0[kind as usize].fetch_add(count, Ordering::Relaxed);
    }

    fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    /// Frames that were swallowed.
    pub fn drops(&self) -> u64 {
        self.of(Kind::Drop)
    }

    /// Frames that came a second time.
    pub fn duplicates(&self) -> u64 {
        self.of(Kind::Duplicate)
    }

    /// Frames that came after their successor.
    pub fn reordered(&self) -> u64 {
        self.of(Kind::Reorder)
    }

    /// Frames that stalls cost.
    pub fn stalled(&self) -> u64 {
        self.of(Kind::Stall)
    }

    /// Frames that were reported as corrupt.
    pub fn corrupt(&self) -> u64 {
        self.of(Kind::Corrupt)
    }

    /// Frames of another size or format.
    pub fn resized(&self) -> u64 {
        self.of(Kind::Resize)
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Drop,
    Duplicate,
    Reorder,
    Stall,
    Corrupt,
    Resize,
}

/// Longest stall, in frames.
const STALL_MAX: u64 = 30;
const MILLION: u64 = 1_000_000;
const FORM: &str = "give drops, duplicates, reorder, stalls, corrupt, resize (each a fraction of the frames) or seed, \
                    as KEY=VALUE with commas between";

impl FromStr for FaultOptions {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let mut options = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let wrong = || SourceError::Unavailable(format!("faults: `{word}` is not understood: {FORM}"));
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let chance = || {
                let fraction = value.parse::<f64>().ok().filter(|x| (0.0..=1.0).contains(x));
                fraction.map(|x| (x * MILLION as f64).round() as u32).ok_or_else(wrong)
            };
            match key {
                "seed" => options.seed = value.parse().map_err(|_| wrong())?,
                "drops" => options.drops = chance()?,
                "duplicates" => options.duplicates = chance()?,
                "reorder" => options.reorder = chance()?,
                "stalls" => options.stalls = chance()?,
                "corrupt" => options.corrupt = chance()?,
                "resize" => options.resize = chance()?,
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }
}

/// A source with faults.
pub struct Faults<S> {
    source: S,
    options: FaultOptions,
    counts: Arc<FaultCounts>,
    /// Frames of the source so far; the dice of each.
    next: u64,
    /// A copy that waits to come, again or late.
    held: Box<Slot>,
    holds: bool,
    /// What remains of a stall.
    stall: Option<Stall>,
    /// Working memory for a picture that is cut.
    row: Vec<u8>,
}

struct Stall {
    left: u64,
    loss: Option<Loss>,
}

impl<S: Source> Faults<S> {
    /// `source` with these faults.
    pub fn new(source: S, options: FaultOptions) -> Self {
        let info = source.describe();
        let sizes = SlotSizes {
            pixels: info.picture.filter(|p| p.format != PixelFormat::Jpeg).and_then(PictureInfo::bytes).unwrap_or(0),
            jpeg: info.jpeg_bytes_max,
            side: info.side_bytes_max,
            sensor: info.sensor_bytes_max,
            scratch: 0,
        };
        let row = vec![0; sizes.pixels];
        let held = Slot::new(&sizes);
        let counts = Arc::default();
        Self { source, options, counts, next: 0, held, holds: false, stall: None, row }
    }

    /// What was done so far; it goes on counting.
    pub fn counts(&self) -> Arc<FaultCounts> {
        Arc::clone(&self.counts)
    }

    fn strikes(&self, kind: Kind, chance: u32) -> bool {
        dice(self.options.seed ^ (kind as u64 + 1) << 56, self.next) % MILLION < u64::from(chance)
    }

    /// The next frame of the source, with what happens to it.
    fn step(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        let filled = self.source.fill(slot, wait)?;
        if filled != Filled::Frame {
            return Ok(self.end_of_stall().filter(|_| filled == Filled::End).unwrap_or(filled));
        }
        let (n, at) = (slot.meta.sequence, slot.meta.captured_at);
        self.next += 1;
        if let Some(filled) = self.stand_still(n, at) {
            return Ok(filled);
        }
        let options = self.options;
        if self.strikes(Kind::Drop, options.drops) {
            self.counts.add(Kind::Drop, 1);
            return Ok(Filled::Nothing);
        }
        if self.strikes(Kind::Corrupt, options.corrupt) {
            self.counts.add(Kind::Corrupt, 1);
            return Ok(Filled::Lost(Loss::one(Cause::Corrupt, n, at)));
        }
        if self.strikes(Kind::Resize, options.resize) && slot.frame(None).pixels.is_some() {
            self.counts.add(Kind::Resize, 1);
            if !self.halve(slot) {
                return Ok(Filled::Lost(Loss::one(Cause::FormatChanged, n, at)));
            }
        }
        if self.strikes(Kind::Duplicate, options.duplicates) && self.hold(slot) {
            self.counts.add(Kind::Duplicate, 1);
        } else if self.strikes(Kind::Reorder, options.reorder) && self.hold(slot) {
            return self.overtake(slot, wait);
        }
        Ok(Filled::Frame)
    }

    /// The frame that overtakes the one that is held. If none comes, or not a good one, nothing is overtaken.
    fn overtake(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        slot.reset();
        let filled = self.source.fill(slot, wait)?;
        match filled {
            Filled::Frame => {
                self.next += 1;
                self.counts.add(Kind::Reorder, 1);
                Ok(filled)
            }
            Filled::End | Filled::Nothing => {
                self.give_back(slot);
                Ok(Filled::Frame)
            }
            Filled::Lost(_) => {
                // Told before the frame that is held, which comes next: late, as the account will see it.
                self.counts.add(Kind::Reorder, 1);
                Ok(filled)
            }
        }
    }

    /// True when a copy is kept: nothing else is.
    fn hold(&mut self, slot: &Slot) -> bool {
        self.holds = self.held.copy_from(&slot.frame(None)).is_ok();
        self.holds
    }

    fn give_back(&mut self, slot: &mut Slot) {
        self.holds = false;
        // The slot is as large as the one that it was copied from.
        let _ = slot.copy_from(&self.held.frame(None));
    }

    /// Swallows the frame when the source stands still, or begins to.
    fn stand_still(&mut self, n: u64, at: Timestamp) -> Option<Filled> {
        if self.stall.is_none() && self.strikes(Kind::Stall, self.options.stalls) {
            let left = 1 + dice(self.options.seed ^ 0x57a1, self.next) % STALL_MAX;
            self.stall = Some(Stall { left, loss: None });
        }
        let stall = self.stall.as_mut()?;
        let so_far = stall.loss.unwrap_or(Loss::run(Cause::SourceStalled, n, 0, at, at));
        let count = so_far.count + 1;
        stall.loss = Some(Loss::run(Cause::SourceStalled, so_far.first_sequence, count, so_far.first_at, at));
        stall.left -= 1;
        self.counts.add(Kind::Stall, 1);
        match stall.left {
            0 => self.end_of_stall(),
            _ => Some(Filled::Nothing),
        }
    }

    fn end_of_stall(&mut self) -> Option<Filled> {
        self.stall.take().and_then(|stall| stall.loss).map(Filled::Lost)
    }

    /// Leaves the upper left quarter of the picture, where its format has one plane of whole pixels.
    fn halve(&mut self, slot: &mut Slot) -> bool {
        let Some(pixels) = slot.frame(None).pixels else { return false };
        let old = pixels.info;
        let bytes_each = match old.format {
            PixelFormat::Bgr888 | PixelFormat::Rgb888 => 3,
            PixelFormat::Grey => 1,
            _ => return false,
        };
        let new = PictureInfo::packed(old.format, (old.width / 2).max(1), (old.height / 2).max(1));
        let line = new.width as usize * bytes_each;
        let lines = pixels.bytes.chunks(old.stride as usize).take(new.height as usize);
        for (target, source) in self.row.chunks_exact_mut(line).zip(lines) {
            target.copy_from_slice(&source[..line]);
        }
        let Ok(target) = slot.pixels_mut(new) else { return false };
        target.copy_from_slice(&self.row[..target.len()]);
        (slot.meta.width, slot.meta.height) = (Some(new.width), Some(new.height));
        true
    }
}

impl<S: Source> Source for Faults<S> {
    fn describe(&self) -> &SourceInfo {
        self.source.describe()
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        (self.next, self.holds, self.stall) = (0, false, None);
        self.source.start(now)
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        if self.holds {
            self.give_back(slot);
            return Ok(Filled::Frame);
        }
        self.step(slot, wait)
    }

    fn stop(&mut self) {
        self.source.stop();
    }

    fn frame_time(&self) -> Span {
        self.source.frame_time()
    }

    fn deploy(&mut self, network: Network) -> Result<(), SourceError> {
        self.source.deploy(network)
    }

    fn advice(&self) -> Option<String> {
        self.source.advice()
    }

    fn progress(&mut self) -> Option<StartProgress> {
        self.source.progress()
    }

    fn remarks(&mut self) -> Option<Remarks> {
        self.source.remarks()
    }
}

impl<S: Source> fmt::Debug for Faults<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.source.describe().name;
        f.debug_struct("Faults").field("source", name).field("options", &self.options).finish_non_exhaustive()
    }
}

/// A number that looks random, the same for the same input everywhere.
///
/// Source: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn dice(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
