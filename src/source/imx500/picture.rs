//! From a raw buffer to a frame's picture, and from what the picture says to the next exposure and white balance.

use super::control::Wish;
use super::timing::gain_code;
use crate::frame::{ColorFormat, ImageType, PictureInfo};
use crate::imx500::Registers;
use crate::imx500::picture::{
    AutoExposure, BLACK_LEVEL, DevelopError, Developer, Exposure, Gains, RawFormat, Statistics, WhiteBalance,
};
use crate::ledger::Cause;
use crate::slot::Slot;
use crate::sys::simd;

/// Size in which pictures are developed that nobody sees, for their sums.
const UNSEEN_SIZE: (u32, u32) = (507, 380);
/// One in so many of these is developed.
const UNSEEN_EVERY: u32 = 4;
/// Gains that differ by less (of 256) are not told to the sensor again.
const NOTIFY_STEP: u16 = 4;
/// Pictures after which a wish that does not act is written again; the sensor's own delay is 2 or 3.
const WISH_AGAIN: u32 = 12;

/// Exposure and gain that were fixed by the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Exposure, in lines.
    pub lines: Option<u32>,
    /// Gain code.
    pub code: Option<u32>,
}

/// Drives exposure and white balance.
#[derive(Clone, Debug)]
pub struct Loops {
    exposure: AutoExposure,
    fixed: Fixed,
    white: WhiteBalance,
    gains: Option<Gains>,
    notified: Option<Gains>,
    /// Lines and gain code, and for how many pictures they have been asked for.
    wished: Option<((u32, u32), u32)>,
}

impl Loops {
    /// `frame_lines`: length of a frame (height + VBLANK).
    pub fn new(frame_lines: u32, fixed: Fixed, white: WhiteBalance) -> Self {
        Self { exposure: AutoExposure::new(frame_lines), fixed, white, gains: None, notified: None, wished: None }
    }

    /// What to write after a picture that was taken with `registers`, at most one wish of each kind; and the gains for the
    /// next picture.
    fn step(&mut self, seen: &Statistics, registers: Option<&Registers>) -> (Gains, [Option<Wish>; 2]) {
        let gains = self.white.next(seen, self.gains);
        self.gains = Some(gains);
        let is_far = self.notified.is_none_or(|old| {
            old.red.abs_diff(gains.red) >= NOTIFY_STEP || old.blue.abs_diff(gains.blue) >= NOTIFY_STEP
        });
        let notify = is_far.then(|| {
            self.notified = Some(gains);
            Wish::NotifyGains(gains.notify_values())
        });
        (gains, [registers.and_then(|registers| self.expose(seen, gains, registers)), notify])
    }

    fn expose(&mut self, seen: &Statistics, gains: Gains, registers: &Registers) -> Option<Wish> {
        let in_force = Exposure { lines: registers.exposure_lines.into(), gain_code: registers.gain_code.min(978) };
        let next = self.exposure.next(seen, gains, in_force);
        let wanted = match (self.fixed.lines, self.fixed.code) {
            (Some(lines), Some(code)) => (lines, code),
            (Some(lines), None) => (lines, gain_code(total(next) / lines.max(1) as f32)),
            (None, Some(code)) => {
                let gain = 1024.0 / (1024 - code.min(978)) as f32;
                ((total(next) / gain).clamp(8.0, self.exposure.lines_max as f32) as u32, code)
            }
            (None, None) => (next.lines, next.gain_code.into()),
        };
        let as_it_is = (in_force.lines, u32::from(in_force.gain_code));
        if wanted == as_it_is {
            self.wished = None;
            return None;
        }
        // What was asked for a few frames ago may still be on its way.
        if let Some((wish, age)) = &mut self.wished {
            *age += 1;
            if *wish == wanted && *age < WISH_AGAIN {
                return None;
            }
        }
        self.wished = Some((wanted, 0));
        Some(Wish::Exposure(wanted.0, wanted.1))
    }
}

/// Lines times gain.
fn total(exposure: Exposure) -> f32 {
    exposure.lines as f32 * 1024.0 / f32::from(1024 - exposure.gain_code.min(978))
}

/// Develops the pictures of one stream.
pub struct PictureMaker {
    developer: Box<Developer>,
    loops: Loops,
    /// Where pictures are developed that are not shown.
    unseen: Vec<u8>,
    unseen_count: u32,
}

impl PictureMaker {
    /// `size`: of the frames' pictures; `None` when they are not shown, only measured.
    ///
    /// # Errors
    /// The size is not offered.
    pub fn new(raw: RawFormat, size: Option<(u32, u32)>, loops: Loops) -> Result<Self, DevelopError> {
        let developer = Developer::new(raw, size.unwrap_or(UNSEEN_SIZE), BLACK_LEVEL, simd::kernels())?;
        let unseen = if size.is_none() { developer.info().bytes().unwrap_or(0) } else { 0 };
        Ok(Self { developer: Box::new(developer), loops, unseen: vec![0; unseen], unseen_count: 0 })
    }

    /// Shape of the pictures.
    pub fn info(&self) -> PictureInfo {
        self.developer.info()
    }

    /// Makes the picture of `raw` in `slot`. `registers`: those of the same frame; without them the exposure stays.
    ///
    /// # Errors
    /// The buffer is short, or the slot too small: the frame is lost for that cause.
    pub fn show(
        &mut self,
        raw: &[u8],
        registers: Option<&Registers>,
        slot: &mut Slot,
    ) -> Result<[Option<Wish>; 2], Cause> {
        let info = self.developer.info();
        let pixels = slot.pixels_mut(info).map_err(|_| Cause::TooBig)?;
        let seen = self.developer.develop(raw, pixels).map_err(|_| Cause::Corrupt)?;
        let meta = &mut slot.meta;
        meta.image_type = Some(ImageType::Vga);
        (meta.width, meta.height, meta.channels) = (Some(info.width), Some(info.height), Some(3));
        meta.color_format = Some(ColorFormat::Rgb);
        Ok(self.step(&seen, registers))
    }

    /// Measures a picture that is not shown, one in four of them.
    pub fn measure(&mut self, raw: &[u8], registers: Option<&Registers>) -> [Option<Wish>; 2] {
        self.unseen_count = self.unseen_count.wrapping_add(1);
        if self.unseen_count % UNSEEN_EVERY != 1 || self.unseen.is_empty() {
            return [None; 2];
        }
        match self.developer.develop(raw, &mut self.unseen) {
            Ok(seen) => self.step(&seen, registers),
            Err(_) => [None; 2],
        }
    }

    fn step(&mut self, seen: &Statistics, registers: Option<&Registers>) -> [Option<Wish>; 2] {
        let (gains, wishes) = self.loops.step(seen, registers);
        self.developer.set_gains(gains);
        wishes
    }
}
