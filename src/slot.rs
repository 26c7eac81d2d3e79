//! A slot: all memory that one frame can need, made once and filled again and again.
//!
//! Slots travel the pipeline by ownership. A source fills one in place; the encoder adds the JPEG; the sink copies out
//! what it keeps and gives the slot back. Nothing here allocates after [`Slot::new`].

use std::fmt;

use crate::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, Pixels};
use crate::labels::Labels;
use crate::ledger::Cause;
use crate::results::{ResultState, Results};
use crate::time::Timestamp;

/// Bytes of each plane of a slot, computed at the start from the settings and the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSizes {
    /// Uncompressed picture; 0 when the source delivers JPEG or nothing.
    pub pixels: usize,
    /// Compressed picture; 0 when nothing is compressed.
    pub jpeg: usize,
    /// Masks and heat maps.
    pub side: usize,
    /// The sensor's own bytes.
    pub sensor: usize,
    /// Working memory of the encoder (planes of a split YUYV or NV12 picture).
    pub scratch: usize,
}

impl SlotSizes {
    /// Bytes of one slot, its fixed part included.
    pub const fn total(&self) -> usize {
        self.pixels + self.jpeg + self.side + self.sensor + self.scratch + size_of::<Slot>()
    }
}

/// Bytes did not fit a plane that was sized at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// Which plane.
    pub plane: &'static str,
    /// Bytes asked for.
    pub needed: usize,
    /// Bytes that the plane has.
    pub capacity: usize,
}

impl fmt::Display for TooBig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plane, needed, capacity } = self;
        write!(f, "the frame's {plane} needs {needed} bytes, the slot has {capacity}")
    }
}

impl std::error::Error for TooBig {}

/// Preallocated bytes and how many of them count.
#[derive(Debug, Default)]
struct Plane {
    bytes: Box<[u8]>,
    len: usize,
}

impl Plane {
    fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), len: 0 }
    }

    fn used(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// A plane of at least `capacity` bytes; what it held is gone when it was smaller.
    fn grow(&mut self, capacity: usize) {
        if self.bytes.len() < capacity {
            *self = Self::new(capacity);
        }
    }

    fn resize(&mut self, plane: &'static str, needed: usize) -> Result<&mut [u8], TooBig> {
        if needed > self.bytes.len() {
            return Err(TooBig { plane, needed, capacity: self.bytes.len() });
        }
        self.len = needed;
        Ok(&mut self.bytes[..needed])
    }
}

/// What an encoder works on, borrowed apart: see [`Slot::encoding`].
#[derive(Debug)]
pub struct Encoding<'a> {
    /// The picture to compress.
    pub pixels: Pixels<'a>,
    /// Where the JPEG goes; its whole capacity.
    pub jpeg: &'a mut [u8],
    /// Working memory.
    pub scratch: &'a mut [u8],
}

/// Memory for one frame.
#[derive(Debug)]
pub struct Slot {
    /// Capture times, rates, region: written by the source.
    pub meta: FrameMeta,
    /// Results: written by the source.
    pub results: Results,
    /// When a source that does not wait by itself wants the frame to appear; set by paced sources only.
    pub due_at: Option<Timestamp>,
    /// Set by an encoder that could not keep this frame: it travels on to the sink, which accounts for it.
    pub lost: Option<Cause>,
    pixels_info: Option<PictureInfo>,
    pixels: Plane,
    jpeg_size: Option<(u32, u32)>,
    jpeg: Plane,
    side: Plane,
    sensor: Plane,
    scratch: Plane,
}

impl Slot {
    /// Allocates all planes and touches every page of them.
    pub fn new(sizes: &SlotSizes) -> Box<Self> {
        let mut slot = Box::new(Self {
            meta: FrameMeta::new(),
            results: Results::new(),
            due_at: None,
            lost: None,
            pixels_info: None,
            pixels: Plane::new(sizes.pixels),
            jpeg_size: None,
            jpeg: Plane::new(sizes.jpeg),
            side: Plane::new(sizes.side),
            sensor: Plane::new(sizes.sensor),
            scratch: Plane::new(sizes.scratch),
        });
        // A zeroed allocation is not backed by memory until it is written: write now, not in the capture thread.
        for plane in [&mut slot.pixels, &mut slot.jpeg, &mut slot.side, &mut slot.sensor, &mut slot.scratch] {
            plane.bytes.fill(1);
            std::hint::black_box(&mut plane.bytes);
            plane.bytes.fill(0);
        }
        slot
    }

    /// Empties the slot for its next frame: no picture, no result, default metadata. Plane bytes stay as they were.
    pub fn reset(&mut self) {
        self.meta = FrameMeta::new();
        self.results.reset(ResultState::Absent);
        self.due_at = None;
        self.lost = None;
        self.clear_picture();
        self.side.len = 0;
        self.sensor.len = 0;
    }

    /// Forgets the picture, compressed or not.
    pub fn clear_picture(&mut self) {
        self.pixels_info = None;
        self.pixels.len = 0;
        self.jpeg_size = None;
        self.jpeg.len = 0;
    }

    /// Begins an uncompressed picture: exactly `info.bytes()` bytes to fill, left over from an earlier frame.
    ///
    /// # Errors
    /// [`TooBig`] when the plane is smaller, or when the shape is out of its limits (`needed` is then `usize::MAX`).
    pub fn pixels_mut(&mut self, info: PictureInfo) -> Result<&mut [u8], TooBig> {
        let needed = info.bytes().unwrap_or(usize::MAX);
        let bytes = self.pixels.resize("picture", needed)?;
        self.pixels_info = Some(info);
        Ok(bytes)
    }

    /// Copies a compressed picture in.
    ///
    /// # Errors
    /// [`TooBig`] when the plane is smaller; the slot then has no JPEG.
    pub fn put_jpeg(&mut self, bytes: &[u8], width: u32, height: u32) -> Result<(), TooBig> {
        self.jpeg_size = None;
        self.jpeg.resize("JPEG", bytes.len())?.copy_from_slice(bytes);
        self.jpeg_size = Some((width, height));
        Ok(())
    }

    /// The JPEG plane's whole capacity, for those who write into it directly; then call [`Slot::set_jpeg`].
    pub fn jpeg_mut(&mut self) -> &mut [u8] {
        &mut self.jpeg.bytes
    }

    /// Declares that the first `len` bytes of the JPEG plane are a picture of that size.
    ///
    /// # Panics
    /// When `len` is above the plane's capacity.
    pub fn set_jpeg(&mut self, len: usize, width: u32, height: u32) {
        assert!(len <= self.jpeg.bytes.len(), "{len} bytes of JPEG in a plane of {}", self.jpeg.bytes.len());
        self.jpeg.len = len;
        self.jpeg_size = Some((width, height));
    }

    /// The uncompressed picture with the encoder's output and working memory beside it; `None` without pixels.
    pub fn encoding(&mut self) -> Option<Encoding<'_>> {
        let pixels = Pixels { info: self.pixels_info?, bytes: &self.pixels.bytes[..self.pixels.len] };
        Some(Encoding { pixels, jpeg: &mut self.jpeg.bytes, scratch: &mut self.scratch.bytes })
    }

    /// Adds `len` bytes to the side plane and returns their offset and the bytes to fill.
    ///
    /// # Errors
    /// [`TooBig`] when the plane is full; nothing was added.
    pub fn side_append(&mut self, len: usize) -> Result<(u32, &mut [u8]), TooBig> {
        let start = self.side.len;
        let bytes = self.side.resize("side plane", start.saturating_add(len))?;
        Ok((start as u32, &mut bytes[start..]))
    }

    /// Forgets the results and what belongs to them in the side plane; picture and sensor bytes stay.
    pub fn clear_results(&mut self) {
        self.results.reset(ResultState::Absent);
        self.side.len = 0;
    }

    /// Makes room for `len` of the sensor's own bytes and returns them to fill.
    ///
    /// # Errors
    /// [`TooBig`] when the plane is smaller.
    pub fn sensor_mut(&mut self, len: usize) -> Result<&mut [u8], TooBig> {
        self.sensor.resize("sensor data", len)
    }

    /// Copies a frame into this slot: metadata, results, whatever picture it has, side plane, sensor bytes.
    ///
    /// # Errors
    /// [`TooBig`] when a plane is smaller than the frame's; the slot is then empty.
    pub fn copy_from(&mut self, frame: &Frame<'_>) -> Result<(), TooBig> {
        self.reset();
        let copied = self.copy_planes(frame);
        match copied {
            Ok(()) => {
                self.meta.clone_from(frame.meta);
                self.results.clone_from(frame.results);
            }
            Err(_) => self.reset(),
        }
        copied
    }

    /// As [`copy_from`](Self::copy_from), but makes a plane that is too small larger. Allocates then: for sources that can
    /// wait.
    ///
    /// # Errors
    /// [`TooBig`] when the picture's shape is out of its limits; the slot is then empty.
    pub fn copy_growing(&mut self, frame: &Frame<'_>) -> Result<(), TooBig> {
        self.pixels.grow(frame.pixels.map_or(0, |pixels| pixels.bytes.len()));
        self.jpeg.grow(frame.jpeg.map_or(0, |jpeg| jpeg.bytes.len()));
        self.side.grow(frame.side.len());
        self.sensor.grow(frame.sensor.len());
        self.copy_from(frame)
    }

    fn copy_planes(&mut self, frame: &Frame<'_>) -> Result<(), TooBig> {
        if let Some(pixels) = frame.pixels {
            self.pixels_mut(pixels.info)?.copy_from_slice(pixels.bytes);
        }
        if let Some(jpeg) = frame.jpeg {
            self.put_jpeg(jpeg.bytes, jpeg.width, jpeg.height)?;
        }
        self.side_append(frame.side.len())?.1.copy_from_slice(frame.side);
        self.sensor_mut(frame.sensor.len())?.copy_from_slice(frame.sensor);
        Ok(())
    }

    /// All planes, whole, for locking them into memory.
    pub fn planes(&self) -> impl Iterator<Item = &[u8]> {
        [&self.pixels, &self.jpeg, &self.side, &self.sensor, &self.scratch].into_iter().map(|plane| &plane.bytes[..])
    }

    /// Lends what the slot holds.
    pub fn frame<'a>(&'a self, labels: Option<&'a Labels>) -> Frame<'a> {
        Frame {
            meta: &self.meta,
            results: &self.results,
            pixels: self.pixels_info.map(|info| Pixels { info, bytes: self.pixels.used() }),
            jpeg: self.jpeg_size.map(|(width, height)| JpegPicture { width, height, bytes: self.jpeg.used() }),
            side: self.side.used(),
            sensor: self.sensor.used(),
            labels,
            losses: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    const SIZES: SlotSizes = SlotSizes { pixels: 64, jpeg: 16, side: 8, sensor: 4, scratch: 0 };

    #[test]
    fn a_picture_that_is_too_big_is_refused_with_both_numbers() {
        let mut slot = Slot::new(&SIZES);
        let info = PictureInfo::packed(PixelFormat::Grey, 8, 9);
        assert_eq!(slot.pixels_mut(info), Err(TooBig { plane: "picture", needed: 72, capacity: 64 }));
        assert!(slot.frame(None).is_headless());
        assert!(slot.put_jpeg(&[0; 17], 1, 1).is_err());
        assert!(slot.frame(None).jpeg.is_none());
    }

    #[test]
    fn side_bytes_are_appended_until_the_plane_is_full() {
        let mut slot = Slot::new(&SIZES);
        assert_eq!(slot.side_append(5).map(|(at, bytes)| (at, bytes.len())), Ok((0, 5)));
        assert_eq!(slot.side_append(3).map(|(at, bytes)| (at, bytes.len())), Ok((5, 3)));
        assert!(slot.side_append(1).is_err());
        assert_eq!(slot.frame(None).side.len(), 8);
    }

    #[test]
    fn a_copy_holds_the_same_frame_and_a_copy_that_does_not_fit_holds_none() {
        let mut slot = Slot::new(&SIZES);
        slot.meta.sequence = 9;
        slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 4, 2)).unwrap().copy_from_slice(&[7; 8]);
        slot.side_append(2).unwrap().1.fill(3);
        let mut copy = Slot::new(&SIZES);
        copy.copy_from(&slot.frame(None)).unwrap();
        assert_eq!(copy.frame(None).pixels, slot.frame(None).pixels);
        assert_eq!((copy.meta.sequence, copy.frame(None).side), (9, &[3, 3][..]));

        let mut small = Slot::new(&SlotSizes { pixels: 8, ..SlotSizes::default() });
        assert!(small.copy_from(&slot.frame(None)).is_err());
        assert!(small.frame(None).is_headless());
        assert_eq!(small.meta.sequence, 0);
        small.copy_growing(&slot.frame(None)).unwrap();
        assert_eq!((small.frame(None).pixels, small.frame(None).side), (slot.frame(None).pixels, &[3, 3][..]));
    }
}
