//! What can be chosen about an engine, and the sizes that follow from it.

use crate::clips::ClipSettings;
use crate::error::{Error, Result};
use crate::frame::PixelFormat;
use crate::jpeg_header::JpegOptions;
use crate::limits::ENCODERS_MAX;
use crate::replay::operator::frame_bytes;
use crate::slot::SlotSizes;
use crate::source::SourceInfo;
use crate::sys::thread::ThreadSettings;
use crate::time::Span;
use crate::watchdog::WatchdogSettings;

/// How pictures travel to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Compressed in the engine's encoder threads; pictures that come as JPEG pass as they are.
    Jpeg(JpegOptions),
    /// As the source delivers them.
    Raw,
}

impl Default for PictureFormat {
    fn default() -> Self {
        Self::Jpeg(JpegOptions::default())
    }
}

/// Choices for a [`Stream`](crate::Stream) or a [`Session`](crate::Session). `Default` suits a camera of 30 frames/s on a
/// Raspberry Pi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Frames that may wait before each stage (encoders, sink) in ordinary times, `1..=64`. Default 4: a stage may be four
    /// frames late before slack is used.
    pub ring_depth: usize,
    /// Longest stall behind the source that must cost no frame; there are as many slots more as frames come in that time,
    /// `2..=256`. Default 250 ms: the longest stall seen of an SD card that was written steadily. The window of memory that
    /// this costs stands in `memory.md`.
    pub slack: Span,
    /// Encoder threads, `1..=ENCODERS_MAX`. Default: one less than the processors, so that capture and sink have one.
    pub encoders: usize,
    /// How pictures travel to the sink; a stream hands them out as the source delivers them.
    pub format: PictureFormat,
    /// Bytes that the caller promises suffice for a compressed picture; a larger one is lost and accounted for as too big.
    /// Default: libjpeg-turbo's bound, about 1.5 bytes a pixel at 4:2:0, which nothing exceeds.
    pub jpeg_bytes_max: Option<usize>,
    /// The source ends after so many frames. Default: never.
    pub frames_max: Option<u64>,
    /// The source ends before the first frame that was captured so long or longer after the first one. Default: never.
    pub duration_max: Option<Span>,
    /// Scheduling of the thread that waits for the source. Default: an ordinary thread. What the
    /// system refuses is reported in the notes of the stream or session, which runs without.
    pub capture_thread: ThreadSettings,
    /// Scheduling of the encoder threads. Default: an ordinary thread.
    pub encoder_threads: ThreadSettings,
    /// Scheduling of the thread that hands frames to the recorder and the taps. Default: an ordinary thread.
    pub sink_thread: ThreadSettings,
    /// How long to wait for the first frame, and how often to start a source again that went silent. For sources that are
    /// [watched](SourceInfo::watched): cameras.
    pub watchdog: WatchdogSettings,
    /// Locks the slots into memory, and nothing else. Default false. Needs `CAP_IPC_LOCK` or a `MEMLOCK` limit.
    pub lock_memory: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            ring_depth: 4,
            slack: Span::from_ms(250),
            encoders: processors.saturating_sub(1).clamp(1, ENCODERS_MAX),
            format: PictureFormat::default(),
            jpeg_bytes_max: None,
            frames_max: None,
            duration_max: None,
            capture_thread: ThreadSettings::default(),
            encoder_threads: ThreadSettings::default(),
            sink_thread: ThreadSettings::default(),
            watchdog: WatchdogSettings::DEFAULT,
            lock_memory: false,
        }
    }
}

/// Slots held by a stage while it works on them.
const IN_HAND: usize = 1;
const RING_DEPTH_MAX: usize = 64;
const SLACK_SLOTS: std::ops::RangeInclusive<u64> = 2..=256;

impl Settings {
    /// The smallest: one frame waits before each stage, slack of two, one encoder. For tests that want full rings at once.
    pub fn tiny() -> Self {
        Self { ring_depth: 1, slack: Span::ZERO, encoders: 1, ..Self::default() }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first setting that is out of its range, with the range.
    pub fn check(&self) -> Result<()> {
        range("ring depth", self.ring_depth, 1, RING_DEPTH_MAX)?;
        range("number of encoders", self.encoders, 1, ENCODERS_MAX)?;
        if let PictureFormat::Jpeg(options) = self.format {
            range("JPEG quality", usize::from(options.quality), 1, 100)?;
        }
        for thread in [&self.capture_thread, &self.encoder_threads, &self.sink_thread] {
            if let Some(priority) = thread.rt_priority {
                range("real-time priority", usize::from(priority), 1, 99)?;
            }
        }
        Ok(())
    }

    /// Encoder threads that this source needs: none if there is nothing to compress.
    pub(crate) fn encoders_for(&self, info: &SourceInfo) -> usize {
        match self.format {
            PictureFormat::Jpeg(_) if has_pixels(info) => self.encoders,
            _ => 0,
        }
    }

    /// Bytes promised to each frame of a history for clips: as `clips` says, else what pictures of this source take in this
    /// format. `None`: those of JPEG at quality 80.
    pub fn clip_frame_bytes(&self, clips: &ClipSettings, info: &SourceInfo) -> Option<usize> {
        let picture = info.picture.filter(|_| clips.frame_bytes.is_none() && has_pixels(info));
        let beside = info.side_bytes_max + info.sensor_bytes_max;
        let promised = picture.and_then(|picture| match self.format {
            PictureFormat::Raw => Some(picture.bytes()? + frame_bytes(0, 0, 80) + beside),
            PictureFormat::Jpeg(options) => Some(frame_bytes(picture.width, picture.height, options.quality) + beside),
        });
        clips.frame_bytes.or(promised)
    }

    /// Slots on a circle with `encoders` stations: what may wait before each stage, one in each hand, slack.
    pub fn slots(&self, info: &SourceInfo, encoders: usize) -> usize {
        let waiting = if encoders == 0 { self.ring_depth } else { 2 * self.ring_depth };
        let hands = IN_HAND + encoders + IN_HAND;
        let frame_time_ns = info.frame_time().as_ns().max(1);
        let slack = (self.slack.as_ns().max(0) as u64).div_ceil(frame_time_ns as u64);
        waiting + hands + slack.clamp(*SLACK_SLOTS.start(), *SLACK_SLOTS.end()) as usize
    }

    /// Bytes of each plane of a slot, if `encoders` stations compress.
    ///
    /// # Errors
    /// The source's pictures are out of their limits, or cannot be compressed by this build.
    pub fn slot_sizes(&self, info: &SourceInfo, encoders: usize) -> Result<SlotSizes> {
        let pixels = match info.picture {
            Some(picture) if picture.format != PixelFormat::Jpeg => picture.bytes().ok_or_else(|| {
                let (width, height) = (picture.width, picture.height);
                Error::Setting(format!(
                    "{}: a {} picture of {width}x{height} is out of the limits",
                    info.name, picture.format
                ))
            })?,
            _ => 0,
        };
        let (jpeg, scratch) = if encoders > 0 { self.encoder_sizes(info)? } else { (0, 0) };
        Ok(SlotSizes {
            pixels,
            jpeg: jpeg.max(info.jpeg_bytes_max),
            side: info.side_bytes_max,
            sensor: info.sensor_bytes_max,
            scratch,
        })
    }

    #[cfg(feature = "jpeg")]
    fn encoder_sizes(&self, info: &SourceInfo) -> Result<(usize, usize)> {
        let (Some(picture), PictureFormat::Jpeg(options)) = (info.picture, self.format) else { return Ok((0, 0)) };
        if picture.format == PixelFormat::Raw10 {
            return Err(crate::jpeg::JpegError::Format(picture.format, "compressed to JPEG").into());
        }
        let bound = crate::jpeg::jpeg_bytes_max(picture, &options);
        Ok((self.jpeg_bytes_max.unwrap_or(bound), crate::jpeg::scratch_bytes(picture, &options)))
    }

    #[cfg(not(feature = "jpeg"))]
    fn encoder_sizes(&self, info: &SourceInfo) -> Result<(usize, usize)> {
        Err(Error::Setting(format!(
            "{}: this build cannot compress pictures; build it with the feature `jpeg` or record raw (--format raw)",
            info.name
        )))
    }
}

fn has_pixels(info: &SourceInfo) -> bool {
    info.picture.is_some_and(|picture| picture.format != PixelFormat::Jpeg)
}

fn range(what: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting(format!("{what} {value} is not in {least}..={most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PictureInfo;

    fn vga() -> SourceInfo {
        let mut info = SourceInfo::new("test");
        info.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 640, 480));
        info
    }

    #[test]
    fn slots_are_what_waits_plus_one_in_each_hand_plus_slack() {
        let settings = Settings { ring_depth: 4, slack: Span::from_ms(250), ..Settings::default() };
        // 250 ms at 30 frames/s are 8 frames.
        assert_eq!(settings.slots(&vga(), 0), 4 + 2 + 8);
        assert_eq!(settings.slots(&vga(), 3), 8 + 5 + 8);
        assert_eq!(Settings::tiny().slots(&vga(), 0), 1 + 2 + 2);
    }

    #[test]
    fn settings_out_of_range_are_refused_with_the_range() {
        let settings = Settings { encoders: 5, ..Settings::default() };
        assert_eq!(settings.check().unwrap_err().to_string(), "number of encoders 5 is not in 1..=4");
        let options = JpegOptions { quality: 0, ..JpegOptions::default() };
        let settings = Settings { format: PictureFormat::Jpeg(options), ..Settings::default() };
        assert_eq!(settings.check().unwrap_err().to_string(), "JPEG quality 0 is not in 1..=100");
    }

    #[test]
    fn a_history_promises_what_the_format_takes() {
        let (clips, vga) = (ClipSettings::new("clips"), vga());
        let jpeg = |quality| PictureFormat::Jpeg(JpegOptions { quality, ..JpegOptions::default() });
        let promised = |format| Settings { format, ..Settings::default() }.clip_frame_bytes(&clips, &vga);
        assert_eq!(promised(jpeg(80)), Some(93_184));
        assert_eq!(promised(jpeg(100)), Some(477_184));
        assert_eq!(promised(PictureFormat::Raw), Some(921_600 + 16_384));
        let set = ClipSettings { frame_bytes: Some(7), ..ClipSettings::new("clips") };
        assert_eq!(Settings::default().clip_frame_bytes(&set, &vga), Some(7));
        assert_eq!(Settings::default().clip_frame_bytes(&clips, &SourceInfo::new("headless")), None);
    }

    #[test]
    fn a_raw_session_has_no_memory_for_compression() {
        let settings = Settings { format: PictureFormat::Raw, ..Settings::default() };
        assert_eq!(settings.encoders_for(&vga()), 0);
        let sizes = settings.slot_sizes(&vga(), 0).unwrap();
        assert_eq!((sizes.pixels, sizes.jpeg, sizes.scratch), (921_600, 0, 0));
    }
}
