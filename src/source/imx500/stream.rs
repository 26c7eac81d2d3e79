//! One stream: buffers of both queues become frames, and go back.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use v4l::v4l_sys;

use super::control::Control;
use super::picture::PictureMaker;
use super::rig::Rig;
use super::timing;
use crate::clock::SystemClock;
use crate::ledger::{Cause, Loss};
use crate::pairing::{Half, Paired, Pairing, Side};
use crate::slot::Slot;
use crate::source::metadata::{MetadataReader, Part, Seen};
use crate::source::v4l2::{Counter, captured_at};
use crate::source::{Filled, PictureSource, SourceError};
use crate::sys::v4l2 as sys;
use crate::time::{Clock, Span, Timestamp};

/// Halves of a frame that may wait for the other: with more, a driver would run out of buffers.
pub const HELD_MAX: usize = 2;
/// Frames after a start within which the network must have shown itself; then it was forgotten on the way.
pub const BLANK_FRAMES_MAX: u32 = 90;

/// What the capture thread tells whoever tells people.
#[derive(Default)]
pub struct Told {
    /// 0: not started; 1: a start is under way; 2: frames flow.
    pub phase: AtomicU8,
    /// Starts whose network did not show itself.
    pub forgotten: AtomicU32,
    /// Buffers that contradicted themselves.
    pub broken: AtomicU32,
}

/// A stream that was set up; parts are dropped from above: first the thread that talks to the sensor.
pub struct Stream {
    pub control: Control,
    pub rig: Rig,
    pub pairing: Pairing<sys::Filled>,
    pub pictures: PictureMaker,
    pub counter: Counter,
    pub is_on: bool,
    /// A half that is a frame of its own, after its loss was told.
    pub waiting: Option<(Side, Half<sys::Filled>, u64)>,
    /// Frames since the start whose network's part was blank; `None` once it was not.
    pub blank: Option<u32>,
    pub frame_time: Span,
}

/// What frames are made with.
pub struct Frames<'a> {
    pub reader: &'a mut MetadataReader,
    pub shows: PictureSource,
    pub told: &'a Told,
}

impl Stream {
    pub fn queue(&mut self, side: Side) -> &mut sys::Buffers {
        match side {
            Side::Image => &mut self.rig.image,
            Side::Metadata => &mut self.rig.metadata,
        }
    }

    /// Takes one buffer of a queue to the others that wait.
    pub fn take(&mut self, side: Side) -> std::io::Result<()> {
        let Some(filled) = self.queue(side).dequeue()? else { return Ok(()) };
        let half = Half { sequence: filled.sequence, at: captured_at(&filled, SystemClock.now()), token: filled };
        self.pairing.put(side, half);
        Ok(())
    }

    /// A buffer that cannot be queued again means that the device is going: the next call tells.
    fn give_back(&mut self, side: Side, half: &Half<sys::Filled>) {
        let _ = self.queue(side).requeue(half.token);
    }

    /// Makes a frame of the oldest halves, if it can be said what belongs together.
    pub fn next_frame(&mut self, frames: &mut Frames<'_>, slot: &mut Slot) -> Result<Option<Filled>, SourceError> {
        match self.pairing.next() {
            None => Ok(None),
            Some(paired) => self.frame_of(paired, frames, slot).map(Some),
        }
    }

    pub fn frame_of(
        &mut self,
        paired: Paired<sys::Filled>,
        frames: &mut Frames<'_>,
        slot: &mut Slot,
    ) -> Result<Filled, SourceError> {
        match paired {
            Paired::Both { image, metadata } => self.whole_frame(frames, image, metadata, slot),
            Paired::Late(side, half) => {
                self.give_back(side, &half);
                Ok(Filled::Nothing)
            }
            // Pictures that nobody sees are only measured.
            Paired::Alone(Side::Image, half) if frames.shows != PictureSource::Bayer => {
                self.give_back(Side::Image, &half);
                let number = self.counter.number(half.sequence);
                Ok(Filled::Lost(Loss::one(Cause::MetadataLost, number, half.at)))
            }
            Paired::Alone(side, half) => {
                let number = self.counter.number(half.sequence);
                if is_broken(&half) {
                    self.give_back(side, &half);
                    return Ok(Filled::Lost(Loss::one(Cause::Corrupt, number, half.at)));
                }
                if side == Side::Metadata && frames.shows != PictureSource::Bayer {
                    return self.half_frame(frames, side, half, number, slot);
                }
                // The missing half is told first, the frame comes with the next call.
                self.waiting = Some((side, half, number));
                let cause = if side == Side::Image { Cause::MetadataLost } else { Cause::PictureLost };
                Ok(Filled::Lost(Loss::one(cause, number, half.at)))
            }
        }
    }

    fn whole_frame(
        &mut self,
        frames: &mut Frames<'_>,
        image: Half<sys::Filled>,
        metadata: Half<sys::Filled>,
        slot: &mut Slot,
    ) -> Result<Filled, SourceError> {
        let number = self.counter.number(image.sequence);
        let lost = |cause| Ok(Filled::Lost(Loss::one(cause, number, image.at)));
        let made = self.read_both(frames, &image, &metadata, slot);
        // Together: a node with a buffer more than the other would catch half a frame.
        self.give_back(Side::Metadata, &metadata);
        match made {
            Ok(Read::Frame) => {
                self.give_back(Side::Image, &image);
                stamp(slot, number, image.at);
                Ok(Filled::Frame)
            }
            Ok(Read::OnlyPicture) => {
                self.waiting = Some((Side::Image, image, number));
                lost(Cause::MetadataLost)
            }
            Ok(Read::Lost(cause)) => {
                self.give_back(Side::Image, &image);
                slot.clear_picture();
                lost(cause)
            }
            Err(error) => {
                self.give_back(Side::Image, &image);
                Err(error)
            }
        }
    }

    /// Reads both halves into the slot, as far as they are good.
    fn read_both(
        &mut self,
        frames: &mut Frames<'_>,
        image: &Half<sys::Filled>,
        metadata: &Half<sys::Filled>,
        slot: &mut Slot,
    ) -> Result<Read, SourceError> {
        match (is_broken(image), is_broken(metadata)) {
            (true, true) => return Ok(Read::Lost(Cause::Corrupt)),
            (false, true) => return Ok(Read::OnlyPicture),
            _ => {}
        }
        let Ok(seen) = frames.reader.read(self.rig.metadata.bytes(&metadata.token), slot) else {
            return Ok(Read::Lost(Cause::TooBig));
        };
        self.note(&seen, frames.told)?;
        if matches!(seen.network, Part::Broken(_)) {
            return Ok(if is_broken(image) { Read::Lost(Cause::Corrupt) } else { Read::OnlyPicture });
        }
        let raw = self.rig.image.bytes(&image.token);
        let registers = seen.registers.as_ref();
        let wishes = match frames.shows {
            PictureSource::Bayer if is_broken(image) => return Ok(Read::Lost(Cause::Corrupt)),
            PictureSource::Bayer => match self.pictures.show(raw, registers, slot) {
                Ok(wishes) => wishes,
                Err(cause) => return Ok(Read::Lost(cause)),
            },
            _ => self.pictures.measure(raw, registers),
        };
        for wish in wishes.into_iter().flatten() {
            // When too many wait, the next picture asks again.
            let _ = self.control.wish(wish);
        }
        Ok(Read::Frame)
    }

    /// A frame of one half.
    pub fn half_frame(
        &mut self,
        frames: &mut Frames<'_>,
        side: Side,
        half: Half<sys::Filled>,
        number: u64,
        slot: &mut Slot,
    ) -> Result<Filled, SourceError> {
        let made = match side {
            Side::Image => {
                let repeated = frames.reader.repeat_last(slot).map_err(|_| Cause::TooBig);
                let raw = self.rig.image.bytes(&half.token);
                repeated.and_then(|()| self.pictures.show(raw, None, slot)).map(|_| None)
            }
            Side::Metadata => {
                let read = frames.reader.read(self.rig.metadata.bytes(&half.token), slot);
                read.map(Some).map_err(|_| Cause::TooBig)
            }
        };
        self.give_back(side, &half);
        let lost = |cause| Ok(Filled::Lost(Loss::one(cause, number, half.at)));
        match made {
            Ok(None) => {}
            Ok(Some(seen)) => {
                self.note(&seen, frames.told)?;
                if matches!(seen.network, Part::Broken(_)) {
                    return lost(Cause::Corrupt);
                }
            }
            Err(cause) => {
                slot.clear_picture();
                return lost(cause);
            }
        }
        stamp(slot, number, half.at);
        Ok(Filled::Frame)
    }

    /// Keeps what the registers say of the frame's length, and notices a network that never shows itself.
    fn note(&mut self, seen: &Seen, told: &Told) -> Result<(), SourceError> {
        if let Some(registers) = &seen.registers {
            // Longer frames are counted in units that the registers do not show.
            if self.rig.vblank + self.rig.raw.height <= timing::PLAIN_FRAME_LINES_MAX
                && registers.frame_length_lines > 0
            {
                let (clocks, lines) = (registers.line_length_clocks, registers.frame_length_lines);
                self.frame_time = timing::frame_time(clocks.into(), lines.into());
            }
        }
        match (seen.network, &mut self.blank) {
            (Part::Broken(_), _) => {
                told.broken.fetch_add(1, Ordering::Relaxed);
            }
            (Part::Blank, Some(blank)) => {
                *blank += 1;
                if *blank == BLANK_FRAMES_MAX {
                    self.blank = None;
                    if told.forgotten.fetch_add(1, Ordering::Relaxed) == 0 {
                        return Err(SourceError::Unavailable("imx500: the sensor forgot the network".into()));
                    }
                }
            }
            (Part::NoResult | Part::Result, blank) => *blank = None,
            _ => {}
        }
        Ok(())
    }
}

/// What became of both halves.
enum Read {
    Frame,
    OnlyPicture,
    Lost(Cause),
}

/// The driver marked the buffer as broken.
fn is_broken(half: &Half<sys::Filled>) -> bool {
    half.token.flags & v4l_sys::V4L2_BUF_FLAG_ERROR != 0
}

fn stamp(slot: &mut Slot, number: u64, at: Timestamp) {
    let meta = &mut slot.meta;
    meta.sequence = number;
    meta.captured_at = at;
    // A fresh pair with every frame (no system call): a step of the wall clock shows in the next frame.
    meta.captured_wall = SystemClock.pair().wall_of(at);
}
