//! A timeline whose JPEG pictures come decoded. The compressed picture stays beside the pixels.

use crate::error::Result;
use crate::frame::{Frame, PictureInfo, PixelFormat, Pixels};
use crate::jpeg::Decoder;
use crate::limits::PICTURE_BYTES_MAX;
use crate::slot::TooBig;
use crate::time::Timestamp;
use crate::timeline::Timeline;

/// Decodes what the timeline below lends.
///
/// The buffer grows to the largest picture seen, at most `PICTURE_BYTES_MAX`, and is used again for each; the newest picture is kept, so that asking
/// for the same frame twice (once ahead of its deadline, once at it) decodes it once.
#[derive(Debug)]
pub struct Decoded<T> {
    inner: T,
    decoder: Decoder,
    format: PixelFormat,
    pixels: Vec<u8>,
    newest: Option<(u64, PictureInfo)>,
}

impl<T: Timeline> Decoded<T> {
    /// Pictures of `inner` as `format`: BGR888, RGB888 or GREY. `expected`: what they are probably like, so that the first one
    /// allocates nothing.
    ///
    /// # Errors
    /// There is no memory for the decoder.
    pub fn new(inner: T, format: PixelFormat, expected: Option<PictureInfo>) -> Result<Self> {
        let bytes = expected.and_then(|picture| PictureInfo::packed(format, picture.width, picture.height).bytes());
        let pixels = vec![0; bytes.filter(|&bytes| bytes <= PICTURE_BYTES_MAX).unwrap_or(0)];
        Ok(Self { inner, decoder: Decoder::new()?, format, pixels, newest: None })
    }
}

impl<T: Timeline> Timeline for Decoded<T> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        self.inner.captured_at(index)
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        self.inner.seek_time(at)
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        let frame = self.inner.frame(index)?;
        let (Some(jpeg), None) = (frame.jpeg, frame.pixels) else { return Ok(frame) };
        let info = match self.newest {
            Some((newest, info)) if newest == index => info,
            _ => {
                self.newest = None;
                let needed = PictureInfo::packed(self.format, jpeg.width, jpeg.height).bytes().unwrap_or(usize::MAX);
                if needed > PICTURE_BYTES_MAX {
                    return Err(TooBig { plane: "decoded picture", needed, capacity: PICTURE_BYTES_MAX }.into());
                }
                if self.pixels.len() < needed {
                    self.pixels.resize(needed, 0);
                }
                let info = self.decoder.decode(jpeg.bytes, self.format, &mut self.pixels)?;
                self.newest = Some((index, info));
                info
            }
        };
        let bytes = &self.pixels[..info.bytes().unwrap_or(0)];
        Ok(Frame { pixels: Some(Pixels { info, bytes }), ..frame })
    }
}
