//! JPEG by libjpeg-turbo: pixels into a buffer of the caller's, and back.
//!
//! One [`Encoder`] or [`Decoder`] belongs to one thread and is used again for every frame, so that its state is made once.
//! YUV pictures are compressed from their planes, without a way through RGB; their bytes are taken as JFIF takes them (full
//! range, BT.601).

use turbojpeg::{Compressor, Decompressor, Image, OutputBuf, Subsamp, YuvPlanesImage};

use crate::frame::{PictureInfo, PixelFormat, Pixels};
pub use crate::jpeg_header::{JpegHeader, JpegHeaderError, JpegOptions, Subsampling};
use crate::ledger::Cause;
use crate::slot::Slot;

/// Why a picture was not compressed or decompressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JpegError {
    /// Quality out of its range.
    #[error("JPEG quality {0} is not in 1..=100")]
    Quality(u8),
    /// No way from or to this pixel format.
    #[error("{0} pictures cannot be {1}; record them as raw (--format raw)")]
    Format(PixelFormat, &'static str),
    /// The shape is out of its limits, or there are fewer bytes than it needs.
    #[error("{} picture of {}x{}, stride {}, does not go with {bytes} bytes", .info.format, .info.width, .info.height, .info.stride)]
    Shape {
        /// The shape.
        info: PictureInfo,
        /// Bytes at hand.
        bytes: usize,
    },
    /// A buffer of the caller's is too small.
    #[error("{what} needs {needed} bytes, has {capacity}")]
    TooSmall {
        /// Which buffer.
        what: &'static str,
        /// Bytes that always suffice.
        needed: usize,
        /// Bytes that it has.
        capacity: usize,
    },
    /// The markers are not those of a picture that we take.
    #[error(transparent)]
    Header(#[from] JpegHeaderError),
    /// libjpeg-turbo refused.
    #[error("libjpeg-turbo: {0}")]
    Library(#[from] turbojpeg::Error),
}

impl JpegError {
    /// What a lost frame is accounted under.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::TooSmall { .. } => Cause::TooBig,
            Self::Header(_) => Cause::Corrupt,
            _ => Cause::EncodeFailed,
        }
    }
}

/// Bytes that the JPEG of any picture of this shape fits into (libjpeg-turbo's bound; real pictures take a tenth).
pub fn jpeg_bytes_max(info: PictureInfo, options: &JpegOptions) -> usize {
    let subsampling = chroma_of(info.format, options.subsampling);
    turbojpeg::compressed_buf_len(info.width as usize, info.height as usize, subsampling).unwrap_or(usize::MAX)
}

/// Bytes of working memory that [`Encoder::encode`] needs for pictures of this shape; 0 for those that go in as they are.
pub fn scratch_bytes(info: PictureInfo, options: &JpegOptions) -> usize {
    let (w, h) = (info.width as usize, info.height as usize);
    let (w2, h2) = (w.div_ceil(2), h.div_ceil(2));
    match (info.format, chroma_of(info.format, options.subsampling)) {
        (PixelFormat::Yuyv, Subsamp::Sub2x2) => 2 * w2 * 2 * h2 + 2 * w2 * h2,
        (PixelFormat::Yuyv, _) => 2 * w2 * h + 2 * w2 * h,
        (PixelFormat::Nv12, _) => 2 * w2 * h2,
        _ => 0,
    }
}

fn chroma_of(format: PixelFormat, wanted: Subsampling) -> Subsamp {
    match (format, wanted) {
        (PixelFormat::Grey, _) => Subsamp::Gray,
        (PixelFormat::Nv12 | PixelFormat::Yuv420, _) | (_, Subsampling::S420) => Subsamp::Sub2x2,
        (PixelFormat::Yuyv, _) | (_, Subsampling::S422) => Subsamp::Sub2x1,
        (_, Subsampling::S444) => Subsamp::None,
    }
}

/// Compresses pictures.
#[derive(Debug)]
pub struct Encoder {
    compressor: Compressor,
    options: JpegOptions,
}

impl Encoder {
    /// Makes the library's state.
    ///
    /// # Errors
    /// The quality is out of its range, or there is no memory.
    pub fn new(options: &JpegOptions) -> Result<Self, JpegError> {
        if !(1..=100).contains(&options.quality) {
            return Err(JpegError::Quality(options.quality));
        }
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(options.quality))?;
        // Named here although they are the library's defaults: a recorder wants speed, not the last percent of size.
        compressor.set_optimize(false)?;
        compressor.set_progressive(false)?;
        Ok(Self { compressor, options: *options })
    }

    /// Takes another quality from the next picture on. Allocates nothing.
    ///
    /// # Errors
    /// [`JpegError::Quality`] when it is not in `1..=100`; the old one stays.
    pub fn set_quality(&mut self, quality: u8) -> Result<(), JpegError> {
        if !(1..=100).contains(&quality) {
            return Err(JpegError::Quality(quality));
        }
        self.compressor.set_quality(i32::from(quality))?;
        self.options.quality = quality;
        Ok(())
    }

    /// Compresses `pixels` into the front of `jpeg` and returns how many bytes that took.
    ///
    /// `scratch`: at least [`scratch_bytes`]; its content does not matter. `jpeg`: [`jpeg_bytes_max`] always suffices;
    /// with less, pictures that need more fail.
    ///
    /// # Errors
    /// [`JpegError::TooSmall`] when a buffer does not suffice, [`JpegError::Format`] for RAW10 and JPEG,
    /// [`JpegError::Shape`] when shape and bytes disagree.
    pub fn encode(&mut self, pixels: Pixels<'_>, jpeg: &mut [u8], scratch: &mut [u8]) -> Result<usize, JpegError> {
        let info = pixels.info;
        let needed = scratch_bytes(info, &self.options);
        let bytes = info.bytes().and_then(|bytes| pixels.bytes.get(..bytes));
        let bytes = bytes.ok_or(JpegError::Shape { info, bytes: pixels.bytes.len() })?;
        let capacity = scratch.len();
        let scratch =
            scratch.get_mut(..needed).ok_or(JpegError::TooSmall { what: "scratch memory", needed, capacity })?;
        let capacity = jpeg.len();
        let result = match info.format {
            PixelFormat::Bgr888 => self.packed(info, bytes, turbojpeg::PixelFormat::BGR, jpeg),
            PixelFormat::Rgb888 => self.packed(info, bytes, turbojpeg::PixelFormat::RGB, jpeg),
            PixelFormat::Grey => self.packed(info, bytes, turbojpeg::PixelFormat::GRAY, jpeg),
            PixelFormat::Yuyv => self.planes(&yuyv_planes(info, bytes, scratch, self.options.subsampling), jpeg),
            PixelFormat::Nv12 => self.planes(&nv12_planes(info, bytes, scratch), jpeg),
            PixelFormat::Yuv420 => self.planes(&yuv420_planes(info, bytes), jpeg),
            PixelFormat::Raw10 | PixelFormat::Jpeg => return Err(JpegError::Format(info.format, "compressed to JPEG")),
        };
        result.map_err(|error| {
            let needed = jpeg_bytes_max(info, &self.options);
            if capacity < needed {
                // The library says "too small" in words only; with less than its bound nothing else is likelier.
                JpegError::TooSmall { what: "JPEG memory", needed, capacity }
            } else {
                JpegError::Library(error)
            }
        })
    }

    /// Compresses the slot's pixels into its JPEG plane; the pixels stay. A slot without pixels, or that has a JPEG
    /// already, is left as it is.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_slot(&mut self, slot: &mut Slot) -> Result<(), JpegError> {
        if slot.frame(None).jpeg.is_some() {
            return Ok(());
        }
        let Some(encoding) = slot.encoding() else { return Ok(()) };
        let PictureInfo { width, height, .. } = encoding.pixels.info;
        let len = self.encode(encoding.pixels, encoding.jpeg, encoding.scratch)?;
        slot.set_jpeg(len, width, height);
        Ok(())
    }

    fn packed(
        &mut self,
        info: PictureInfo,
        pixels: &[u8],
        format: turbojpeg::PixelFormat,
        jpeg: &mut [u8],
    ) -> turbojpeg::Result<usize> {
        self.compressor.set_subsamp(chroma_of(info.format, self.options.subsampling))?;
        let (width, height, pitch) = (info.width as usize, info.height as usize, info.stride as usize);
        let mut output = OutputBuf::borrowed(jpeg);
        self.compressor.compress(Image { pixels, width, pitch, height, format }, &mut output)?;
        Ok(output.len())
    }

    fn planes(&mut self, planes: &YuvPlanesImage<&[u8]>, jpeg: &mut [u8]) -> turbojpeg::Result<usize> {
        let mut output = OutputBuf::borrowed(jpeg);
        self.compressor.compress_yuv_planes(planes, &mut output)?;
        Ok(output.len())
    }
}

/// Y0 U Y1 V into three planes. For 4:2:0 the colours of two rows are averaged (rounded up); the last row of an odd height
/// stands for itself and is doubled, since the library reads whole pairs of rows.
fn yuyv_planes<'a>(
    info: PictureInfo,
    bytes: &[u8],
    scratch: &'a mut [u8],
    wanted: Subsampling,
) -> YuvPlanesImage<&'a [u8]> {
    let (width, height, stride) = (info.width as usize, info.height as usize, info.stride as usize);
    let half = width.div_ceil(2);
    let subsamp = chroma_of(PixelFormat::Yuyv, wanted);
    let rows_a_chroma_row = if subsamp == Subsamp::Sub2x2 { 2 } else { 1 };
    let chroma = half * height.div_ceil(rows_a_chroma_row);
    let y_rows = height.next_multiple_of(rows_a_chroma_row);
    let (y_plane, rest) = scratch.split_at_mut(2 * half * y_rows);
    let (u_plane, v_plane) = rest.split_at_mut(chroma);
    for row in 0..height {
        let line = &bytes[row * stride..][..4 * half];
        let y_line = &mut y_plane[row * 2 * half..][..2 * half];
        let at = row / rows_a_chroma_row * half;
        let (u_line, v_line) = (&mut u_plane[at..][..half], &mut v_plane[at..][..half]);
        if row % rows_a_chroma_row == 0 {
            split_yuyv(line, y_line, |i, u, v| (u_line[i], v_line[i]) = (u, v));
        } else {
            split_yuyv(line, y_line, |i, u, v| {
                (u_line[i], v_line[i]) = (mean(u_line[i], u), mean(v_line[i], v));
            });
        }
    }
    if y_rows > height {
        y_plane.copy_within((height - 1) * 2 * half..height * 2 * half, height * 2 * half);
    }
    YuvPlanesImage {
        y_plane,
        u_plane,
        v_plane: &v_plane[..chroma],
        width,
        height,
        y_stride: 2 * half,
        u_stride: half,
        v_stride: half,
        subsamp,
    }
}

fn split_yuyv(line: &[u8], y_line: &mut [u8], mut put: impl FnMut(usize, u8, u8)) {
    for (i, (four, two)) in line.chunks_exact(4).zip(y_line.chunks_exact_mut(2)).enumerate() {
        (two[0], two[1]) = (four[0], four[2]);
        put(i, four[1], four[3]);
    }
}

const fn mean(a: u8, b: u8) -> u8 {
    (a as u16 + b as u16).div_ceil(2) as u8
}

/// The Y plane as it lies, and U V U V taken apart.
fn nv12_planes<'a>(info: PictureInfo, bytes: &'a [u8], scratch: &'a mut [u8]) -> YuvPlanesImage<&'a [u8]> {
    let (width, height, stride) = (info.width as usize, info.height as usize, info.stride as usize);
    let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
    let pairs = &bytes[stride * height..];
    let (u_plane, v_plane) = scratch.split_at_mut(half * rows);
    for row in 0..rows {
        let line = &pairs[row * stride..][..2 * half];
        let (u_line, v_line) = (&mut u_plane[row * half..][..half], &mut v_plane[row * half..][..half]);
        for ((pair, u), v) in line.chunks_exact(2).zip(u_line).zip(v_line) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }
    YuvPlanesImage {
        // All bytes: of an odd height the library reads one row more, which is outside of the picture.
        y_plane: bytes,
        u_plane,
        v_plane,
        width,
        height,
        y_stride: stride,
        u_stride: half,
        v_stride: half,
        subsamp: Subsamp::Sub2x2,
    }
}

fn yuv420_planes(info: PictureInfo, bytes: &[u8]) -> YuvPlanesImage<&[u8]> {
    let (width, height, stride) = (info.width as usize, info.height as usize, info.stride as usize);
    let (chroma_stride, rows) = (stride.div_ceil(2), height.div_ceil(2));
    let (u_plane, v_plane) = bytes[stride * height..].split_at(chroma_stride * rows);
    YuvPlanesImage {
        // As for NV12.
        y_plane: bytes,
        u_plane,
        v_plane,
        width,
        height,
        y_stride: stride,
        u_stride: chroma_stride,
        v_stride: chroma_stride,
        subsamp: Subsamp::Sub2x2,
    }
}

/// Decompresses pictures.
#[derive(Debug)]
pub struct Decoder {
    decompressor: Decompressor,
}

/// Scans of a progressive picture that are decoded before it is refused: usual ones have ten; crafted ones have thousands
/// to keep a decoder busy for minutes.
const SCANS_MAX: u32 = 100;

impl Decoder {
    /// Makes the library's state.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Self, JpegError> {
        let mut decompressor = Decompressor::new()?;
        decompressor.set_scan_limit(SCANS_MAX)?;
        decompressor.set_fast_upsample(false)?;
        Ok(Self { decompressor })
    }

    /// Decompresses `jpeg` into the front of `pixels`, without padding between rows, and returns the shape.
    ///
    /// `format`: BGR888, RGB888 or GREY. The size comes from the picture's own header; ask
    /// [`JpegHeader::read`] for it first to have enough bytes.
    ///
    /// # Errors
    /// The picture is damaged, or `pixels` is too small; what `pixels` holds is then undefined but initialised.
    pub fn decode(&mut self, jpeg: &[u8], format: PixelFormat, pixels: &mut [u8]) -> Result<PictureInfo, JpegError> {
        let library_format = match format {
            PixelFormat::Bgr888 => turbojpeg::PixelFormat::BGR,
            PixelFormat::Rgb888 => turbojpeg::PixelFormat::RGB,
            PixelFormat::Grey => turbojpeg::PixelFormat::GRAY,
            other => return Err(JpegError::Format(other, "made from JPEG")),
        };
        let header = JpegHeader::read(jpeg)?;
        let info = PictureInfo::packed(format, header.width, header.height);
        let needed = info.bytes().unwrap_or(usize::MAX);
        let capacity = pixels.len();
        let pixels = pixels.get_mut(..needed).ok_or(JpegError::TooSmall { what: "picture", needed, capacity })?;
        self.decompress(jpeg, info, library_format, pixels).inspect_err(|_| self.renew())?;
        Ok(info)
    }

    fn decompress(
        &mut self,
        jpeg: &[u8],
        info: PictureInfo,
        format: turbojpeg::PixelFormat,
        pixels: &mut [u8],
    ) -> Result<(), JpegError> {
        // The library finds the size by itself: nothing may pass whose size it reads otherwise than we do.
        let found = self.decompressor.read_header(jpeg)?;
        let (width, height, pitch) = (info.width as usize, info.height as usize, info.stride as usize);
        if (found.width, found.height) != (width, height) {
            return Err(JpegHeaderError::BadSize { width: found.width as u32, height: found.height as u32 }.into());
        }
        Ok(self.decompressor.decompress(jpeg, Image { pixels, width, pitch, height, format })?)
    }

    /// Makes the library's state anew. An error among the first markers leaves a marker behind in the old state, and every
    /// later picture is then refused as well (seen with libjpeg-turbo 3.1).
    fn renew(&mut self) {
        if let Ok(fresh) = Self::new() {
            *self = fresh;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SlotSizes;

    const COLOURS: [PixelFormat; 6] = [
        PixelFormat::Bgr888,
        PixelFormat::Rgb888,
        PixelFormat::Yuyv,
        PixelFormat::Nv12,
        PixelFormat::Yuv420,
        PixelFormat::Grey,
    ];

    /// A picture of one colour: BT.601 full range Y = 100, U = 90, V = 180, or its grey.
    fn plain(info: PictureInfo) -> Vec<u8> {
        // R = Y + 1.402 (V - 128), G = Y - 0.344 (U - 128) - 0.714 (V - 128), B = Y + 1.772 (U - 128)
        let (r, g, b) = (173, 76, 33);
        let (stride, rows) = (info.stride as usize, info.height as usize);
        let pattern: &[u8] = match info.format {
            PixelFormat::Bgr888 => &[b, g, r],
            PixelFormat::Rgb888 => &[r, g, b],
            PixelFormat::Yuyv => &[100, 90, 100, 180],
            _ => &[100],
        };
        let mut bytes: Vec<u8> = pattern.iter().copied().cycle().take(stride * rows).collect();
        match info.format {
            PixelFormat::Bgr888 | PixelFormat::Rgb888 => {
                for row in bytes.chunks_mut(stride) {
                    row.iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, &value)| *byte = value);
                }
            }
            PixelFormat::Nv12 => bytes.extend([90, 180].iter().cycle().take(stride * rows.div_ceil(2))),
            PixelFormat::Yuv420 => {
                let plane = stride.div_ceil(2) * rows.div_ceil(2);
                bytes.extend(std::iter::repeat_n(90, plane).chain(std::iter::repeat_n(180, plane)));
            }
            _ => {}
        }
        assert_eq!(Some(bytes.len()), info.bytes());
        bytes
    }

    fn round_trip(info: PictureInfo, options: &JpegOptions) -> Vec<u8> {
        let bytes = plain(info);
        let mut jpeg = vec![0; jpeg_bytes_max(info, options)];
        let mut scratch = vec![0; scratch_bytes(info, options)];
        let mut encoder = Encoder::new(options).unwrap();
        let len = encoder.encode(Pixels { info, bytes: &bytes }, &mut jpeg, &mut scratch).unwrap();
        let header = JpegHeader::read(&jpeg[..len]).unwrap();
        assert_eq!((header.width, header.height, header.bytes), (info.width, info.height, len));
        let mut pixels = vec![0; (info.width * info.height * 3) as usize];
        let found = Decoder::new().unwrap().decode(&jpeg[..len], PixelFormat::Rgb888, &mut pixels).unwrap();
        assert_eq!(found, PictureInfo::packed(PixelFormat::Rgb888, info.width, info.height));
        pixels
    }

    #[test]
    fn every_format_keeps_its_colour_at_even_and_odd_sizes_and_with_padded_rows() {
        for format in COLOURS {
            for (width, height) in [(64, 48), (33, 17), (1, 1), (2, 3)] {
                for padding in [0, 6] {
                    for subsampling in [Subsampling::S420, Subsampling::S422, Subsampling::S444] {
                        let mut info = PictureInfo::packed(format, width, height);
                        info.stride += padding * 2;
                        let pixels = round_trip(info, &JpegOptions { quality: 95, subsampling });
                        let wanted = if format == PixelFormat::Grey { [100, 100, 100] } else { [173, 76, 33] };
                        for pixel in pixels.chunks(3) {
                            let off = pixel.iter().zip(wanted).map(|(&a, b): (_, u8)| a.abs_diff(b)).max().unwrap();
                            assert!(off <= 4, "{format} {width}x{height}+{padding} {subsampling:?}: {pixel:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn raw10_and_jpeg_are_refused_by_name() {
        let info = PictureInfo::packed(PixelFormat::Raw10, 8, 2);
        let mut encoder = Encoder::new(&JpegOptions::default()).unwrap();
        let error = encoder.encode(Pixels { info, bytes: &[0; 20] }, &mut [0; 9_000], &mut []).unwrap_err();
        assert!(error.to_string().starts_with("RAW10 pictures cannot be compressed to JPEG"), "{error}");
        assert_eq!(error.cause(), Cause::EncodeFailed);
    }

    #[test]
    fn buffers_that_are_too_small_are_refused_with_what_suffices() {
        let info = PictureInfo::packed(PixelFormat::Nv12, 64, 64);
        let options = JpegOptions::default();
        let bytes = plain(info);
        let pixels = Pixels { info, bytes: &bytes };
        let mut encoder = Encoder::new(&options).unwrap();
        let error = encoder.encode(pixels, &mut [0; 30_000], &mut [0; 2047]).unwrap_err();
        assert!(matches!(error, JpegError::TooSmall { needed: 2048, capacity: 2047, .. }), "{error}");
        let error = encoder.encode(pixels, &mut [0; 100], &mut [0; 2048]).unwrap_err();
        assert_eq!(error.cause(), Cause::TooBig, "{error}");
        let short = Pixels { info, bytes: &bytes[1..] };
        let error = encoder.encode(short, &mut [0; 30_000], &mut [0; 2048]).unwrap_err();
        assert!(matches!(error, JpegError::Shape { .. }), "{error}");
        assert!(encoder.encode(pixels, &mut [0; 30_000], &mut [0; 2048]).is_ok(), "an error spoils nothing");
    }

    #[test]
    fn a_quality_out_of_range_is_refused() {
        for quality in [0, 101] {
            let options = JpegOptions { quality, ..JpegOptions::default() };
            assert!(matches!(Encoder::new(&options), Err(JpegError::Quality(q)) if q == quality));
        }
    }

    #[test]
    fn a_slot_is_compressed_once_and_keeps_its_pixels() {
        let info = PictureInfo::packed(PixelFormat::Yuyv, 16, 16);
        let options = JpegOptions::default();
        let sizes = SlotSizes {
            pixels: info.bytes().unwrap(),
            jpeg: jpeg_bytes_max(info, &options),
            scratch: scratch_bytes(info, &options),
            ..SlotSizes::default()
        };
        let mut slot = Slot::new(&sizes);
        let mut encoder = Encoder::new(&options).unwrap();
        encoder.encode_slot(&mut slot).unwrap();
        assert!(slot.frame(None).is_headless());
        slot.pixels_mut(info).unwrap().copy_from_slice(&plain(info));
        encoder.encode_slot(&mut slot).unwrap();
        let first = slot.frame(None).jpeg.unwrap().bytes.to_vec();
        encoder.encode_slot(&mut slot).unwrap();
        let frame = slot.frame(None);
        assert_eq!(frame.jpeg.map(|jpeg| (jpeg.width, jpeg.height, jpeg.bytes)), Some((16, 16, &first[..])));
        assert!(frame.pixels.is_some());
    }

    #[test]
    fn damaged_pictures_give_an_error_or_a_picture_but_never_a_panic() {
        let info = PictureInfo::packed(PixelFormat::Bgr888, 32, 32);
        let bytes = plain(info);
        let mut jpeg = vec![0; jpeg_bytes_max(info, &JpegOptions::default())];
        let mut encoder = Encoder::new(&JpegOptions::default()).unwrap();
        let len = encoder.encode(Pixels { info, bytes: &bytes }, &mut jpeg, &mut []).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut pixels = vec![0; 32 * 32 * 3];
        let mut refused = 0;
        for at in 0..len {
            let mut damaged = jpeg[..len].to_vec();
            damaged[at] ^= 0xff;
            refused += usize::from(decoder.decode(&damaged, PixelFormat::Bgr888, &mut pixels).is_err());
            assert!(decoder.decode(&jpeg[..at], PixelFormat::Bgr888, &mut pixels).is_err(), "cut at {at}");
        }
        assert!(refused > 100, "{refused} of {len} were refused");
        decoder.decode(&jpeg[..len], PixelFormat::Bgr888, &mut pixels).unwrap();
    }
}
