//! Pictures that are stored as pixels, as JPEG for those who want that.

use kinora::Frame;

use super::end::Failure;

/// Makes JPEG of pixels; its memory is used again for each picture.
pub struct Compress {
    #[cfg(feature = "jpeg")]
    encoder: kinora::jpeg::Encoder,
    #[cfg(feature = "jpeg")]
    options: kinora::jpeg::JpegOptions,
    #[cfg(feature = "jpeg")]
    scratch: Vec<u8>,
    jpeg: Vec<u8>,
}

impl Compress {
    /// `quality`: 1 to 100.
    #[cfg(feature = "jpeg")]
    pub fn new(quality: u8) -> Result<Self, Failure> {
        let options = kinora::jpeg::JpegOptions { quality, ..kinora::jpeg::JpegOptions::default() };
        let encoder = kinora::jpeg::Encoder::new(&options).map_err(kinora::Error::from)?;
        Ok(Self { encoder, options, scratch: Vec::new(), jpeg: Vec::new() })
    }

    /// `quality`: 1 to 100.
    #[cfg(not(feature = "jpeg"))]
    pub fn new(_quality: u8) -> Result<Self, Failure> {
        Ok(Self { jpeg: Vec::new() })
    }

    /// The same frame with a JPEG; one that has one, or no picture at all, stays as it is.
    pub fn with_jpeg<'a>(&'a mut self, frame: Frame<'a>) -> Result<Frame<'a>, Failure> {
        match (frame.jpeg, frame.pixels) {
            (None, Some(pixels)) => {
                let len = self.compress(pixels)?;
                let (width, height) = (pixels.info.width, pixels.info.height);
                let jpeg = kinora::frame::JpegPicture { width, height, bytes: &self.jpeg[..len] };
                Ok(Frame { jpeg: Some(jpeg), ..frame })
            }
            _ => Ok(frame),
        }
    }

    #[cfg(feature = "jpeg")]
    fn compress(&mut self, pixels: kinora::frame::Pixels<'_>) -> Result<usize, Failure> {
        self.jpeg.resize(kinora::jpeg::jpeg_bytes_max(pixels.info, &self.options), 0);
        self.scratch.resize(kinora::jpeg::scratch_bytes(pixels.info, &self.options), 0);
        let len = self.encoder.encode(pixels, &mut self.jpeg, &mut self.scratch).map_err(kinora::Error::from)?;
        Ok(len)
    }

    #[cfg(not(feature = "jpeg"))]
    fn compress(&mut self, _: kinora::frame::Pixels<'_>) -> Result<usize, Failure> {
        Err(Failure::Failed(
            "the recording holds pixels, and this build cannot compress; build with feature `jpeg`".into(),
        ))
    }
}
