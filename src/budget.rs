//! Where the memory of a recording session goes: computed by the code that makes it, from the same settings.
//!
//! `memory.md` and `kinora memory` show these rows. Not counted: stacks of threads (2 MiB of address space each, of which
//! some pages are used), the driver's own buffers (V4L2: four pictures), libjpeg-turbo's tables, and the program itself.

use crate::clips::{ClipSettings, ClipSink};
use crate::engine::{PictureFormat, Settings};
use crate::error::Result;
use crate::frame::{PictureInfo, PixelFormat};
use crate::limits::TAPS_MAX;
use crate::recorder::{Format, planned_writer};
use crate::recording::{STEPS_MAPPED_MAX, SessionHeader, geometry};
use crate::replay::operator::ReplayLimits;
use crate::replay::window::WindowSettings;
use crate::slot::SlotSizes;
use crate::source::SourceInfo;
use crate::time::{ClockPair, Span};

/// Whose memory a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// The process's own, touched at the start.
    Own,
    /// The kernel's page cache, which gives it back when others need it.
    PageCache,
    /// Addresses only; what is touched of them is in another row.
    AddressSpace,
}

impl Memory {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::PageCache => "page cache",
            Self::AddressSpace => "addresses",
        }
    }
}

/// One kind of memory, made at the start.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Region {
    /// What it is.
    pub region: &'static str,
    /// Whose it is.
    pub memory: Memory,
    /// How many of them.
    pub count: u64,
    /// Bytes of each.
    pub bytes_each: u64,
    /// Where the number comes from.
    pub why: String,
    /// What happens when all of it is in use.
    pub when_full: &'static str,
}

impl Region {
    /// Bytes of all of them.
    pub const fn total(&self) -> u64 {
        self.count * self.bytes_each
    }
}

/// Bytes of the rows that are memory: the process's own and the page cache's.
pub fn total(regions: &[Region]) -> u64 {
    regions.iter().filter(|row| row.memory != Memory::AddressSpace).map(Region::total).sum()
}

/// What a process takes besides the rows: the program's data, the allocator's, the touched pages of stacks. Measured by
/// `tests/memory_measured.rs`.
pub const FIXED_OWN_BYTES: u64 = 3_000_000;

/// What a process maps besides the recording: the program and the C library. Measured likewise, with a build for tests.
pub const FIXED_FILE_BYTES: u64 = 8_600_000;

/// Settings that suit a board, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// As it is sold.
    pub name: &'static str,
    /// Memory of its smallest kind.
    pub memory_bytes: u64,
    /// Picture that it records at 30 frames a second.
    pub size: (u32, u32),
    /// Threads that compress.
    pub encoders: usize,
    /// Frames of the replay window.
    pub replay_frames: u32,
    /// How long before an event clips can begin.
    pub history: Span,
}

/// The boards of `memory.md`: ten seconds of replay each and 20 or 30 s of history for clips, in pictures that grow with the
/// board's processor.
pub const BOARDS: [Board; 3] = [
    Board {
        name: "Zero 2 W",
        memory_bytes: 512 << 20,
        size: (640, 480),
        encoders: 1,
        replay_frames: 300,
        history: Span::from_s(30),
    },
    Board {
        name: "Pi 4",
        memory_bytes: 2 << 30,
        size: (1280, 720),
        encoders: 2,
        replay_frames: 300,
        history: Span::from_s(30),
    },
    Board {
        name: "Pi 5",
        memory_bytes: 2 << 30,
        size: (1920, 1080),
        encoders: 3,
        replay_frames: 300,
        history: Span::from_s(15),
    },
];

impl Board {
    /// A camera that gives uncompressed pictures of the board's size.
    pub fn camera(&self) -> SourceInfo {
        let mut info = SourceInfo::new("a camera");
        info.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, self.size.0, self.size.1));
        info
    }

    /// The engine's settings.
    pub fn settings(&self) -> Settings {
        Settings { encoders: self.encoders, ..Settings::default() }
    }

    /// Everything at once: a recording, the replay window with its tap, and the history of clips.
    ///
    /// # Errors
    /// As [`recording`].
    pub fn regions(&self) -> Result<Vec<Region>> {
        let (info, settings) = (self.camera(), self.settings());
        let limits = ReplayLimits { capacity: self.replay_frames, picture: self.size, ..ReplayLimits::default() };
        let mut regions = recording(&info, &settings)?;
        regions.push(replay_tap(&info, &settings)?);
        regions.extend(replay(&limits, 80));
        let history = ClipSettings { history: self.history, ..ClipSettings::new("clips") };
        regions.extend(clips(&info, &history));
        Ok(regions)
    }
}

/// The rows for a session that records this source into a `.kinora` file, in the order of the way that a frame takes.
///
/// # Errors
/// A setting is out of its range, or the source's pictures are.
pub fn recording(info: &SourceInfo, settings: &Settings) -> Result<Vec<Region>> {
    settings.check()?;
    let encoders = settings.encoders_for(info);
    let sizes = settings.slot_sizes(info, encoders)?;
    let count = settings.slots(info, encoders) as u64;
    let format = if settings.format == PictureFormat::Raw { Format::Raw } else { Format::Jpeg };
    let mut regions = planes(&sizes, count);
    regions[0].why = format!("{count} slots: {}", slots_reason(settings, info, encoders));
    if encoders > 0 {
        regions.push(Region {
            region: "recorder's own encoder",
            memory: Memory::Own,
            count: 1,
            bytes_each: (sizes.jpeg + sizes.scratch) as u64,
            why: "for frames that reach the recorder without a JPEG; the largest JPEG and its working memory".into(),
            when_full: "a larger picture is lost and counted as too_big",
        });
    }
    regions.extend(file(info, format)?);
    Ok(regions)
}

/// The rows of a tap, which a caller's loop adds: its own copies of frames.
pub fn tap(info: &SourceInfo, settings: &Settings, every: bool) -> Result<Region> {
    let sizes = settings.slot_sizes(info, settings.encoders_for(info))?;
    Ok(Region {
        region: "tap",
        memory: Memory::Own,
        count: if every { 6 } else { 3 },
        bytes_each: sizes.total() as u64,
        why: format!("copies of frames for one loop of the caller's, at most {TAPS_MAX} of them"),
        when_full: "frames are skipped for that loop, and counted; the recording has them",
    })
}

/// The row of the tap between a session and `kinora replay` (with clips or a recording besides): as many copies as the ring
/// has slots, so that the picture may be as late as the disk.
///
/// # Errors
/// A setting is out of its range, or the source's pictures are.
pub fn replay_tap(info: &SourceInfo, settings: &Settings) -> Result<Region> {
    Ok(Region {
        region: "replay: tap",
        count: settings.slots(info, settings.encoders_for(info)) as u64,
        why: "copies of frames on their way from the session to the replay, as many as there are slots".into(),
        when_full: "frames are skipped for the replay, and counted; recording and clips have them",
        ..tap(info, settings, true)?
    })
}

/// The rows that an instant replay adds: the operator's store.
pub fn replay(limits: &ReplayLimits, quality: u8) -> Vec<Region> {
    let mut regions = window(&limits.window(quality), &REPLAY);
    regions.push(Region {
        region: "replay: encoder, black picture",
        memory: Memory::Own,
        count: 1,
        bytes_each: limits.picture_bytes(quality) as u64,
        why: "the largest JPEG with its working memory, and a grey plane of the picture's size".into(),
        when_full: "never: one frame at a time",
    });
    regions
}

/// The rows that clips around events add: the history, the reserve beside it, and the slots to the clip thread.
pub fn clips(info: &SourceInfo, settings: &ClipSettings) -> Vec<Region> {
    let mut regions = window(&ClipSink::history_settings(settings, info), &HISTORY);
    let (_, slots) = ClipSink::memory_bytes(settings, info);
    regions.push(Region {
        region: "clips: slots",
        memory: Memory::Own,
        count: 1,
        bytes_each: slots as u64,
        why: "frames between the frames' thread and the clip thread".into(),
        when_full: "frames wait in the history",
    });
    regions
}

/// Names and words of one window's rows.
struct WindowRows {
    frames: &'static str,
    reserve: &'static str,
    table: &'static str,
    when_reserve_full: &'static str,
}

const REPLAY: WindowRows = WindowRows {
    frames: "replay: frames",
    reserve: "replay: reserve",
    table: "replay: table of frames",
    when_reserve_full: "what is saved ends short, and says so",
};

const HISTORY: WindowRows = WindowRows {
    frames: "clips: history",
    reserve: "clips: reserve",
    table: "clips: table of frames",
    when_reserve_full: "the clip ends short, and says so",
};

/// The rows of a window; they add up to what it takes.
fn window(settings: &WindowSettings, rows: &WindowRows) -> Vec<Region> {
    let slots = u64::from(settings.capacity) + u64::from(settings.reserve) + 1;
    let each = settings.arena_bytes() as u64 / slots;
    let row = |region, count: u64, bytes_each: u64, why: String, when_full| Region {
        region,
        memory: Memory::Own,
        count,
        bytes_each,
        why,
        when_full,
    };
    let why = format!("{} frames, and one for the place at the end that a frame could not use", settings.capacity);
    let table = (settings.total_bytes() - settings.arena_bytes()) as u64;
    let mut made = vec![row(rows.frames, u64::from(settings.capacity) + 1, each, why, "the oldest frame goes")];
    if settings.reserve > 0 {
        let why = "frames that left the window and wait for the disk".into();
        made.push(row(rows.reserve, u64::from(settings.reserve), each, why, rows.when_reserve_full));
    }
    made.push(row(rows.table, 1, table, "where each frame lies, and its metadata".into(), "never: as many as frames"));
    made
}

/// A row for each plane of the slots.
fn planes(sizes: &SlotSizes, count: u64) -> Vec<Region> {
    const WAITS: &str = "a live source loses the frame, counted as ring_full; any other source waits";
    let planes = sizes.pixels + sizes.jpeg + sizes.side + sizes.sensor + sizes.scratch;
    let fixed = sizes.total() - planes;
    let rows = [
        ("slots: metadata and results", fixed, "fixed columns for 512 boxes, 1,024 rows, 2,048 keypoints"),
        ("slots: pixels", sizes.pixels, "the source's uncompressed picture"),
        ("slots: JPEG", sizes.jpeg, "the largest JPEG that an encoder or the source may give"),
        ("slots: encoder's scratch", sizes.scratch, "planes of a split YUYV or NV12 picture"),
        ("slots: masks and heat maps", sizes.side, "the largest side plane that the source may give"),
        ("slots: sensor bytes", sizes.sensor, "the largest raw buffer that the source may give"),
    ];
    let made = rows.into_iter().filter(|&(_, bytes, _)| bytes > 0);
    made.map(|(region, bytes, why)| Region {
        region,
        memory: Memory::Own,
        count,
        bytes_each: bytes as u64,
        why: why.into(),
        when_full: WAITS,
    })
    .collect()
}

fn slots_reason(settings: &Settings, info: &SourceInfo, encoders: usize) -> String {
    let stages = if encoders == 0 { 1 } else { 2 };
    let hands = encoders + 2;
    format!(
        "{} wait before each of {stages} stages, {hands} in hand, the rest bridges a stall of {} at {} a frame; fixed columns \
         for 512 boxes, 1,024 rows, 2,048 keypoints",
        settings.ring_depth,
        settings.slack,
        Span::from_ns(info.frame_time().as_ns())
    )
}

/// The file's mapped window, which the page cache holds anyway.
fn file(info: &SourceInfo, format: Format) -> Result<Vec<Region>> {
    let writer = planned_writer(info, format);
    let header = SessionHeader::from_source(info, ClockPair::default(), [0; 16]);
    let geometry = geometry(&header, &writer)?;
    Ok(vec![
        Region {
            region: "file: prefaulted pages",
            memory: Memory::PageCache,
            count: 1,
            bytes_each: writer.prefault_bytes,
            why: "pages ahead of the newest record, so that appending does not fault".into(),
            when_full: "an append faults; counted",
        },
        Region {
            region: "file: mapped window",
            memory: Memory::AddressSpace,
            count: STEPS_MAPPED_MAX as u64,
            bytes_each: geometry.step_bytes,
            why: "the growth step that is written, the next one, and up to two before that wait for the disk; of each, pages \
                  that were written are in the page cache"
                .into(),
            when_full: "the helper thread maps the next step; an append waits for it, counted",
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Slot;

    fn vga() -> SourceInfo {
        let mut info = SourceInfo::new("test");
        info.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 640, 480));
        info
    }

    #[test]
    fn the_rows_of_replay_and_clips_add_up_to_what_they_take() {
        let limits = ReplayLimits::default();
        let rows = replay(&limits, 80);
        assert_eq!(total(&rows), (limits.memory_bytes(80) + limits.picture_bytes(80)) as u64);
        assert_eq!((rows[0].count, rows[0].bytes_each), (301, 93_184), "300 frames of 640 x 480 at quality 80");
        let settings = ClipSettings::new("clips");
        let (history, slots) = ClipSink::memory_bytes(&settings, &vga());
        let rows = clips(&vga(), &settings);
        assert_eq!(total(&rows), (history + slots) as u64);
        assert!(rows.iter().all(|row| row.count > 0 && row.bytes_each > 0), "{rows:?}");
    }

    #[test]
    fn the_rows_of_the_slots_add_up_to_what_a_slot_takes() {
        let settings = Settings { format: PictureFormat::Raw, ..Settings::default() };
        let rows = recording(&vga(), &settings).unwrap();
        let slots = rows.iter().filter(|row| row.region.starts_with("slots"));
        let each: u64 = slots.map(|row| row.bytes_each).sum();
        assert_eq!(each, (640 * 480 * 3 + size_of::<Slot>()) as u64);
        assert!(rows.iter().all(|row| row.count > 0 && row.bytes_each > 0), "{rows:?}");
        assert!(rows[0].count >= settings.slots(&vga(), 0) as u64);
    }

    #[test]
    #[cfg(feature = "jpeg")]
    fn compression_costs_a_jpeg_in_every_slot() {
        let rows = recording(&vga(), &Settings::default()).unwrap();
        assert!(rows.iter().any(|row| row.region == "slots: JPEG" && row.bytes_each >= 640 * 480));
        assert!(rows.iter().any(|row| row.region == "recorder's own encoder"));
    }
}
