//! What is stored of a frame's picture: the JPEG that it brought, checked; the JPEG made here; or its pixels.

use super::builder::Format;
use crate::error::{Error, Result};
use crate::frame::{Frame, JpegPicture, PictureInfo, PixelFormat};
use crate::jpeg_header::JpegHeader;
use crate::ledger::Cause;
use crate::source::SourceInfo;

/// Turns frames into what is stored of them. Its memory is made by [`PictureStage::size_for`].
pub struct PictureStage {
    format: Format,
    #[cfg(feature = "jpeg")]
    encoder: compress::Stage,
}

impl PictureStage {
    /// A stage without memory yet.
    ///
    /// # Errors
    /// libjpeg-turbo has no memory.
    #[cfg_attr(not(feature = "jpeg"), allow(unused_variables, clippy::unnecessary_wraps))]
    pub fn new(format: Format, quality: u8) -> Result<Self> {
        Ok(Self {
            format,
            #[cfg(feature = "jpeg")]
            encoder: compress::Stage::new(quality)?,
        })
    }

    /// Makes the memory for pictures of this shape.
    ///
    /// # Errors
    /// Pixels are to be compressed and this build cannot.
    pub fn size_for(&mut self, picture: Option<PictureInfo>) -> Result<()> {
        let Some(info) = picture.filter(|info| info.format != PixelFormat::Jpeg) else { return Ok(()) };
        if self.format != Format::Jpeg {
            return Ok(());
        }
        #[cfg(feature = "jpeg")]
        {
            self.encoder.size_for(info);
            Ok(())
        }
        #[cfg(not(feature = "jpeg"))]
        Err(Error::Setting(format!(
            "{} pictures are to be stored as JPEG, but this build has no encoder: record as raw, or build with feature `jpeg`",
            info.format
        )))
    }

    /// The frame as it is stored: with JPEG or pixels, never both. No allocation.
    ///
    /// # Errors
    /// Why the frame is lost: a damaged JPEG, a picture that the encoder refused or that is larger than the first.
    pub fn store<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Frame<'a>, Cause> {
        match (frame.jpeg, frame.pixels) {
            (_, Some(_)) if self.format == Format::Raw => Ok(Frame { jpeg: None, ..*frame }),
            (None, Some(_)) if self.format == Format::AsItComes => Ok(*frame),
            (Some(jpeg), _) => Ok(Frame { jpeg: Some(checked(jpeg)?), pixels: None, ..*frame }),
            #[cfg(feature = "jpeg")]
            (None, Some(pixels)) => {
                let jpeg = self.encoder.compress(pixels)?;
                Ok(Frame { jpeg: Some(jpeg), pixels: None, ..*frame })
            }
            #[cfg(not(feature = "jpeg"))]
            (None, Some(_)) => Err(Cause::EncodeFailed),
            (None, None) => Ok(*frame),
        }
    }
}

/// SOI, EOI and size; whatever a camera padded behind EOI is left out.
fn checked(jpeg: JpegPicture<'_>) -> Result<JpegPicture<'_>, Cause> {
    let header = JpegHeader::read(jpeg.bytes).map_err(|_| Cause::Corrupt)?;
    Ok(JpegPicture { width: header.width, height: header.height, bytes: &jpeg.bytes[..header.bytes] })
}

/// Largest picture, side plane and sensor bytes to expect, in bytes: what the longest record is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Picture as stored.
    pub picture: usize,
    /// Masks and heat maps.
    pub side: usize,
    /// The sensor's own bytes.
    pub sensor: usize,
}

impl Largest {
    /// As the source promises.
    pub fn of_source(source: &SourceInfo, format: Format) -> Self {
        let picture = source.picture.map_or(0, |info| picture_bytes(info, format)).max(source.jpeg_bytes_max);
        Self { picture, side: source.side_bytes_max, sensor: source.sensor_bytes_max }
    }

    /// As the first frame lets expect: pictures of its shape, four times its masks.
    pub fn of_frame(frame: &Frame<'_>, format: Format) -> Self {
        let jpeg = frame.jpeg.map_or(0, |jpeg| {
            let shape = PictureInfo { format: PixelFormat::Jpeg, width: jpeg.width, height: jpeg.height, stride: 0 };
            picture_bytes(shape, format).max(2 * jpeg.bytes.len())
        });
        let pixels = frame.pixels.map_or(0, |pixels| picture_bytes(pixels.info, format));
        let side = (4 * frame.side.len()).max(64 << 10);
        Self { picture: jpeg.max(pixels), side, sensor: 2 * frame.sensor.len() }
    }
}

/// No JPEG of that shape that an encoder makes at 4:4:4 is larger: three bytes a pixel and room for markers.
fn picture_bytes(info: PictureInfo, format: Format) -> usize {
    let compressed =
        (info.width as usize).next_multiple_of(16) * (info.height as usize).next_multiple_of(16) * 3 + 4096;
    match (info.bytes(), format) {
        (Some(raw), Format::Raw) => raw,
        (Some(raw), Format::AsItComes) => raw.max(compressed.min(crate::limits::PICTURE_BYTES_MAX)),
        _ => compressed.min(crate::limits::PICTURE_BYTES_MAX),
    }
}

#[cfg(feature = "jpeg")]
mod compress {
    use super::{Cause, Error, JpegPicture, PictureInfo, Result};
    use crate::frame::Pixels;
    use crate::jpeg::{Encoder, JpegOptions, jpeg_bytes_max, scratch_bytes};

    /// Encoder and its memory.
    pub struct Stage {
        encoder: Encoder,
        options: JpegOptions,
        jpeg: Box<[u8]>,
        scratch: Box<[u8]>,
    }

    impl Stage {
        pub fn new(quality: u8) -> Result<Self> {
            let options = JpegOptions { quality, ..JpegOptions::default() };
            let encoder = Encoder::new(&options).map_err(|error| Error::Setting(error.to_string()))?;
            Ok(Self { encoder, options, jpeg: Box::default(), scratch: Box::default() })
        }

        pub fn size_for(&mut self, info: PictureInfo) {
            let bytes = jpeg_bytes_max(info, &self.options).min(crate::limits::PICTURE_BYTES_MAX);
            // Written, not only reserved: the first pictures must not pay for the pages.
            self.jpeg = vec![1; bytes].into_boxed_slice();
            self.scratch = vec![1; scratch_bytes(info, &self.options)].into_boxed_slice();
        }

        pub fn compress(&mut self, pixels: Pixels<'_>) -> Result<JpegPicture<'_>, Cause> {
            // Nobody spoke of pixels before: the source's own pictures are JPEG, and this one, perhaps black, is not.
            if self.jpeg.is_empty() {
                self.size_for(pixels.info);
            }
            let encoded = self.encoder.encode(pixels, &mut self.jpeg, &mut self.scratch);
            let len = encoded.map_err(|error| error.cause())?;
            Ok(JpegPicture { width: pixels.info.width, height: pixels.info.height, bytes: &self.jpeg[..len] })
        }
    }
}
