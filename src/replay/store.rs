//! How a live frame becomes a stored one: JPEG as it is, pixels compressed once, and once more at a lower quality when that was
//! too big for the window's promise.

use super::window::Window;
use crate::frame::Frame;

/// What became of a frame that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is the newest.
    AsIs,
    /// It is the newest, at a lower quality than was set.
    #[cfg_attr(not(feature = "jpeg"), expect(dead_code, reason = "nothing is compressed in this build"))]
    Requantised,
    /// It has more bytes than the window promises; it was not stored and nothing was evicted.
    TooBig {
        /// Its bytes.
        bytes: usize,
    },
}

fn push(window: &mut Window, frame: &Frame<'_>, frames_max: u32) -> Stored {
    match window.push(frame, frames_max) {
        Ok(_) => Stored::AsIs,
        Err(too_big) => Stored::TooBig { bytes: too_big.needed },
    }
}

#[cfg(feature = "jpeg")]
pub(super) use with_jpeg::StoreEncoder;
#[cfg(not(feature = "jpeg"))]
pub(super) use without_jpeg::StoreEncoder;

#[cfg(feature = "jpeg")]
mod with_jpeg {
    use super::{Stored, push};
    use crate::frame::{Frame, JpegPicture, PictureInfo, PixelFormat};
    use crate::jpeg::{Encoder, JpegOptions, jpeg_bytes_max, scratch_bytes};
    use crate::replay::window::Window;

    /// Lowest quality of the page's range.
    const QUALITY_MIN: u8 = 10;

    /// Bytes of the largest JPEG and of the working memory.
    fn sizes(options: &JpegOptions, (width, height): (u32, u32)) -> (usize, usize) {
        let shapes = [PixelFormat::Bgr888, PixelFormat::Yuyv, PixelFormat::Nv12]
            .map(|format| PictureInfo::packed(format, width, height));
        let jpeg = shapes.iter().map(|&info| jpeg_bytes_max(info, options)).max().unwrap_or(0);
        let scratch = shapes.iter().map(|&info| scratch_bytes(info, options)).max().unwrap_or(0);
        (jpeg, scratch)
    }

    /// Compresses into memory of its own.
    #[derive(Debug)]
    pub(in crate::replay) struct StoreEncoder {
        encoder: Option<Encoder>,
        quality: u8,
        jpeg: Box<[u8]>,
        scratch: Box<[u8]>,
    }

    impl StoreEncoder {
        /// Memory for pictures up to `(width, height)` of any format.
        pub fn new(quality: u8, picture: (u32, u32)) -> Self {
            let options = JpegOptions { quality, ..JpegOptions::default() };
            let (jpeg, scratch) = sizes(&options, picture);
            Self {
                encoder: Encoder::new(&options).ok(),
                quality,
                jpeg: vec![0; jpeg].into_boxed_slice(),
                scratch: vec![0; scratch].into_boxed_slice(),
            }
        }

        /// Bytes of that memory.
        pub fn bytes(quality: u8, picture: (u32, u32)) -> usize {
            let (jpeg, scratch) = sizes(&JpegOptions { quality, ..JpegOptions::default() }, picture);
            jpeg + scratch
        }

        /// Quality of the next frames, `10..=100`.
        pub fn set_quality(&mut self, quality: u8) {
            self.quality = quality;
        }

        /// Stores a frame.
        pub fn store(&mut self, frame: &Frame<'_>, window: &mut Window, frames_max: u32) -> Stored {
            // Pixels are compressed at the operator's own quality, whoever else compressed them already.
            if frame.pixels.is_none() {
                return push(window, frame, frames_max);
            }
            let first = self.compress(frame, self.quality, window, frames_max);
            let Stored::TooBig { bytes } = first else { return first };
            // Bytes fall a little slower than the quality does, so aim at three quarters of the proportion.
            let promised = window.settings().frame_bytes;
            let lower = usize::from(self.quality) * promised * 3 / (bytes * 4).max(1);
            match self.compress(frame, (lower as u8).clamp(QUALITY_MIN, self.quality), window, frames_max) {
                Stored::AsIs => Stored::Requantised,
                other => other,
            }
        }

        fn compress(&mut self, frame: &Frame<'_>, quality: u8, window: &mut Window, frames_max: u32) -> Stored {
            let (Some(encoder), Some(pixels)) = (&mut self.encoder, frame.pixels) else {
                return push(window, frame, frames_max);
            };
            let compressed =
                encoder.set_quality(quality).and_then(|()| encoder.encode(pixels, &mut self.jpeg, &mut self.scratch));
            match compressed {
                Ok(len) => {
                    let (width, height) = (pixels.info.width, pixels.info.height);
                    let jpeg = Some(JpegPicture { width, height, bytes: &self.jpeg[..len] });
                    push(window, &Frame { jpeg, pixels: None, ..*frame }, frames_max)
                }
                // A format without a way to JPEG (RAW10) is kept as it is, if it fits.
                Err(_) => push(window, frame, frames_max),
            }
        }
    }
}

#[cfg(not(feature = "jpeg"))]
mod without_jpeg {
    use super::{Stored, push};
    use crate::frame::Frame;
    use crate::replay::window::Window;

    /// Keeps frames as they come: this build has no JPEG encoder.
    #[derive(Debug)]
    pub(in crate::replay) struct StoreEncoder;

    impl StoreEncoder {
        /// Needs no memory.
        pub fn new(_quality: u8, _picture: (u32, u32)) -> Self {
            Self
        }

        /// Needs no memory.
        pub fn bytes(_quality: u8, _picture: (u32, u32)) -> usize {
            0
        }

        /// Has no effect.
        pub fn set_quality(&mut self, _quality: u8) {}

        /// Stores a frame.
        pub fn store(&mut self, frame: &Frame<'_>, window: &mut Window, frames_max: u32) -> Stored {
            push(window, frame, frames_max)
        }
    }
}
