//! modlib's lines on standard input, or on any other pipe, as a source: `print(json.dumps(frame.json()))` in a modlib
//! loop, piped to `kinora record --source -`.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::frame::{PictureInfo, PixelFormat};
use crate::ledger::{Cause, Loss};
use crate::limits::{PICTURE_BYTES_MAX, SIDE_PLANE_BYTES_MAX};
use crate::modlib::{Broken, Format, Import, Imported, LINE_BYTES_MAX, Reason};
use crate::slot::{Slot, SlotSizes};
use crate::source::{Filled, Remarks, Source, SourceError, SourceInfo};
use crate::time::{ClockPair, Span, Timestamp};

/// What cannot be known before all lines were read. A frame that is larger than these sizes is no loss: its slot is made
/// larger, which allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinesSettings {
    /// Largest JPEG, in bytes, up to `PICTURE_BYTES_MAX`. `None`: four times the first frame's, at least one byte a pixel
    /// of it and at least 1 MiB, because pictures of one camera differ by what they show.
    pub jpeg_bytes_max: Option<usize>,
    /// Largest masks of one frame together, in bytes, up to `SIDE_PLANE_BYTES_MAX`. `None`: four times the first frame's
    /// and at least 1 MiB.
    pub side_bytes_max: Option<usize>,
    /// Longest line, in bytes.
    pub line_bytes_max: usize,
    /// Frames a second, for what must be sized by it; modlib's own `fps` begins at 0.
    pub frame_rate: (u32, u32),
}

impl Default for LinesSettings {
    fn default() -> Self {
        Self { jpeg_bytes_max: None, side_bytes_max: None, line_bytes_max: LINE_BYTES_MAX, frame_rate: (30, 1) }
    }
}

/// Broken lines that wait to be fetched with [`LinesSource::broken`]; further ones are only counted, in the ledger.
const BROKEN_WAITING_MAX: usize = 1000;

/// Smallest planes that are made when a size has to be guessed.
const GUESS_BYTES_MIN: usize = 1 << 20;

/// Reads in one [`Source::fill`]: a line without an end comes back to the engine now and then, which may have been asked to stop.
const READS_MAX: usize = 64;

/// An input is given up when its first bytes, this many times the longest line, hold no frame.
const LINES_BEFORE_FRAME: u64 = 4;

/// Lines of modlib as they come. Not live: a full pipe makes the writer wait, and nothing is lost. Not paced: a frame comes
/// when its line does. Frames bear modlib's own times; see [`Reader::read_line`](crate::modlib::Reader::read_line).
///
/// After the start nothing is allocated once the longest line has been seen, but for broken lines.
pub struct LinesSource<R> {
    import: Import<R>,
    info: SourceInfo,
    first: Option<Box<Slot>>,
    newest_at: Timestamp,
    broken_out: SyncSender<Broken>,
    broken_in: Option<Receiver<Broken>>,
}

impl LinesSource<File> {
    /// modlib's lines on standard input, the source `-`; naive timestamps are local times of this machine (`TZ`).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn standard_input(frame_rate: Option<(u32, u32)>) -> Result<Self, SourceError> {
        // Not through Rust's own buffer: a source waits on the descriptor, which knows nothing of it.
        let input =
            std::io::stdin().as_fd().try_clone_to_owned().map_err(SourceError::io("cannot use standard input"))?;
        let mut settings = LinesSettings::default();
        settings.frame_rate = frame_rate.unwrap_or(settings.frame_rate);
        Self::open("-", input.into(), TimeZone::system(), &settings)
    }
}

impl<R: Read + AsFd + Send> LinesSource<R> {
    /// Waits for the first good line on `input`, which tells size and clock.
    ///
    /// # Errors
    /// The input ends, breaks or is interrupted by a signal before a good line came, or none came in so many bytes as four of
    /// the longest lines have.
    pub fn open(name: &str, input: R, zone: TimeZone, settings: &LinesSettings) -> Result<Self, SourceError> {
        let time_zone = crate::source::bounded(zone.iana_name().unwrap_or(""));
        let mut import = Import::new(input, Format::Json, zone, settings.line_bytes_max);
        let (broken_out, broken_in) = sync_channel(BROKEN_WAITING_MAX);
        let most = settings.line_bytes_max as u64 * LINES_BEFORE_FRAME;
        let first = first_frame(name, &mut import, &broken_out, most)?;
        let mut info = info_of(name, &first, settings);
        info.time_zone = time_zone;
        let newest_at = first.meta.captured_at;
        Ok(Self { import, info, first: Some(first), newest_at, broken_out, broken_in: Some(broken_in) })
    }

    /// Lines that are no frames, as they turn up, the first thousand. Can be taken once, before the source is started.
    pub fn broken(&mut self) -> Option<Receiver<Broken>> {
        self.broken_in.take()
    }

    /// Reads the newest line, which did not fit, into a slot of our own that grows, and from there into `slot`.
    fn put_larger(&mut self, slot: &mut Slot) -> bool {
        let mut sizes = SlotSizes { jpeg: GUESS_BYTES_MIN, side: GUESS_BYTES_MIN, ..SlotSizes::default() };
        let mut own = Slot::new(&sizes);
        let read = self.import.again_fitting(&mut own, &mut sizes);
        read == Imported::Frame && slot.copy_growing(&own.frame(None)).is_ok()
    }

    fn lost(&mut self, cause: Cause, broken: Broken) -> Filled {
        // A full list keeps the first ones.
        let _ = self.broken_out.try_send(broken);
        Filled::Lost(Loss::one(cause, self.import.sequence(), self.newest_at))
    }

    /// Waits until there is something to read, for at most `wait`.
    fn wait(&mut self, wait: Span) -> Result<bool, SourceError> {
        let timeout = Timespec { tv_sec: wait.as_ns() / 1_000_000_000, tv_nsec: wait.as_ns() % 1_000_000_000 };
        let mut fds = [PollFd::new(self.import.input(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(SourceError::io(format!("cannot wait for {}", self.info.name))(errno.into())),
        }
    }
}

impl<R: Read + AsFd + Send> Source for LinesSource<R> {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _now: ClockPair) -> Result<(), SourceError> {
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        if let Some(first) = self.first.take() {
            return Ok(match slot.copy_growing(&first.frame(None)) {
                Ok(()) => Filled::Frame,
                Err(_) => Filled::Lost(Loss::one(Cause::TooBig, first.meta.sequence, self.newest_at)),
            });
        }
        // Bytes that hold no whole line yet are taken in one read after another, each as soon as it is there.
        for _ in 0..READS_MAX {
            match self.import.take(slot) {
                Some(Imported::Frame) => {
                    self.newest_at = slot.meta.captured_at;
                    return Ok(Filled::Frame);
                }
                Some(Imported::Broken(broken)) if is_too_big(&broken) => {
                    if self.put_larger(slot) {
                        self.newest_at = slot.meta.captured_at;
                        return Ok(Filled::Frame);
                    }
                    return Ok(self.lost(Cause::TooBig, broken));
                }
                Some(Imported::Broken(broken)) => return Ok(self.lost(Cause::Corrupt, broken)),
                Some(Imported::End) => return Ok(Filled::End),
                None if !self.wait(wait)? => return Ok(Filled::Nothing),
                None => {
                    let doing = || format!("cannot read {}", self.info.name);
                    self.import.read_more().map_err(|error| SourceError::io(doing())(error))?;
                }
            }
        }
        Ok(Filled::Nothing)
    }

    fn remarks(&mut self) -> Option<Remarks> {
        let broken = self.broken()?;
        let name = self.info.name.clone();
        Some(Box::new(std::iter::from_fn(move || broken.try_recv().ok().map(|broken| format!("{name}: {broken}")))))
    }
}

fn is_too_big(broken: &Broken) -> bool {
    matches!(broken.defect.reason, Reason::TooBig(_))
}

fn first_frame<R: Read + AsFd>(
    name: &str,
    import: &mut Import<R>,
    broken_out: &SyncSender<Broken>,
    bytes_max: u64,
) -> Result<Box<Slot>, SourceError> {
    let mut sizes = SlotSizes { jpeg: GUESS_BYTES_MIN, side: GUESS_BYTES_MIN, ..SlotSizes::default() };
    let mut slot = Slot::new(&sizes);
    let mut seen = None;
    loop {
        match import.take_fitting(&mut slot, &mut sizes) {
            Some(Imported::Frame) => return Ok(slot),
            Some(Imported::Broken(broken)) => {
                seen.get_or_insert_with(|| broken.to_string());
                let _ = broken_out.try_send(broken);
            }
            Some(Imported::End) => {
                let why = seen.unwrap_or_else(|| "it ended before a line came".to_string());
                return Err(SourceError::Malformed(format!("{name}: no frame of modlib's on it: {why}")));
            }
            None if import.newest().0 >= bytes_max => {
                let why = seen.unwrap_or_else(|| "no line ended".to_string());
                let text = format!("{name}: no frame of modlib's in the first {bytes_max} bytes: {why}");
                return Err(SourceError::Malformed(text));
            }
            None => {
                // Without a limit, but a signal ends it: the caller may have to stop.
                let mut fds = [PollFd::new(import.input(), PollFlags::IN)];
                poll(&mut fds, None).map_err(|errno| match errno {
                    Errno::INTR => SourceError::Unavailable(format!("{name}: stopped before a frame came")),
                    _ => SourceError::io(format!("cannot wait for the first frame on {name}"))(errno.into()),
                })?;
                import.read_more().map_err(SourceError::io(format!("cannot read {name}")))?;
            }
        }
    }
}

fn info_of(name: &str, first: &Slot, settings: &LinesSettings) -> SourceInfo {
    let frame = first.frame(None);
    let guess = |len: usize, least: usize, limit: usize| (4 * len).max(least).max(GUESS_BYTES_MIN).min(limit);
    let mut info = SourceInfo::new(name);
    info.live = false;
    info.frame_rate = settings.frame_rate;
    info.recorded_clock = Some(ClockPair { monotonic: frame.meta.captured_at, wall: frame.meta.captured_wall });
    if let Some(jpeg) = frame.jpeg {
        let pixels = jpeg.width as usize * jpeg.height as usize;
        info.picture = Some(PictureInfo::packed(PixelFormat::Jpeg, jpeg.width, jpeg.height));
        info.jpeg_bytes_max = guess(jpeg.bytes.len(), pixels, PICTURE_BYTES_MAX);
    } else {
        info.jpeg_bytes_max = GUESS_BYTES_MIN;
    }
    info.side_bytes_max = guess(frame.side.len(), 0, SIDE_PLANE_BYTES_MAX);
    if let Some(bytes) = settings.jpeg_bytes_max {
        info.jpeg_bytes_max = bytes.min(PICTURE_BYTES_MAX);
    }
    if let Some(bytes) = settings.side_bytes_max {
        info.side_bytes_max = bytes.min(SIDE_PLANE_BYTES_MAX);
    }
    info
}
