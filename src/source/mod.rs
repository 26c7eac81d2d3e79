//! Where frames come from: the trait that cameras, files and simulations implement.

mod camera_options;
#[cfg(feature = "v4l2")]
pub mod devices;
pub mod faults;
#[cfg(feature = "v4l2")]
mod holders;
#[cfg(feature = "v4l2")]
pub mod imx500;
pub mod metadata;
#[cfg(feature = "modlib")]
pub mod modlib;
#[cfg(feature = "v4l2")]
mod obstacle;
pub mod redetector;
#[cfg(feature = "v4l2")]
pub mod v4l2;
pub mod virtual_scene;

pub use camera_options::{CameraOptions, PictureSource, RawMetadata, WhiteBalance};
#[cfg(feature = "v4l2")]
pub use holders::{Holder, holders};
#[cfg(feature = "v4l2")]
pub use obstacle::Obstacle;

use crate::frame::PictureInfo;
use crate::imx500::Network;
use crate::labels::Labels;
use crate::ledger::Loss;
use crate::limits::{NAME_BYTES_MAX, POST_NAME_BYTES_MAX};
use crate::slot::Slot;
use crate::time::{ClockPair, Span};

/// What a source delivers; known before the first frame, so that all memory can be sized from it.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// How the user named it (`v4l2:/dev/video0`, `virtual:seed=7`, a path); cut at `NAME_BYTES_MAX` by
    /// [`SourceInfo::new`].
    pub name: heapless::String<NAME_BYTES_MAX>,
    /// True for a source that cannot wait: when everything behind it is busy, frames are lost and accounted for. False: it
    /// waits for a free slot and loses nothing.
    pub live: bool,
    /// True when frames come without waiting and [`Slot::due_at`] says when each should appear; the engine then waits for
    /// that instant on its clock. False for hardware, which waits inside [`Source::fill`].
    pub paced: bool,
    /// True when silence is a fault: a source that delivered and then does not for two frame times and a second is stopped
    /// and started again, with growing pauses, and what that cost stands in the ledger. See [`Source::start`].
    pub watched: bool,
    /// Shape of the pictures (the largest, if they vary); `None` when headless.
    pub picture: Option<PictureInfo>,
    /// Largest compressed picture that it delivers, in bytes; 0 when it delivers pixels.
    pub jpeg_bytes_max: usize,
    /// Largest side plane (masks, heat maps) of one frame, in bytes.
    pub side_bytes_max: usize,
    /// Largest raw sensor buffer of one frame, in bytes.
    pub sensor_bytes_max: usize,
    /// Nominal frames a second as a ratio, e.g. (30, 1) or (30_000, 1_001).
    pub frame_rate: (u32, u32),
    /// Frames in all, if known (files).
    pub frames: Option<u64>,
    /// The network that runs, or empty.
    pub network: heapless::String<NAME_BYTES_MAX>,
    /// Post-processing of the network by name ([`PostName`](crate::imx500::decode::PostName)), or empty.
    pub post: heapless::String<POST_NAME_BYTES_MAX>,
    /// Names of its classes.
    pub labels: Labels,
    /// IANA name of the time zone that local times mean, or empty for the machine's own.
    pub time_zone: heapless::String<NAME_BYTES_MAX>,
    /// Both clocks at one instant of the *recorded* time, when the frames carry times of their own (files); `None` when
    /// capture times are of the clock that the engine runs on.
    pub recorded_clock: Option<ClockPair>,
}

impl SourceInfo {
    /// A live headless source at 30 frames/s without a network; set what differs.
    pub fn new(name: &str) -> Self {
        Self {
            name: bounded(name),
            live: true,
            paced: false,
            watched: false,
            picture: None,
            jpeg_bytes_max: 0,
            side_bytes_max: 0,
            sensor_bytes_max: 0,
            frame_rate: (30, 1),
            frames: None,
            network: heapless::String::new(),
            post: heapless::String::new(),
            labels: Labels::new(),
            time_zone: heapless::String::new(),
            recorded_clock: None,
        }
    }

    /// Nominal time between two frames, rounded down to the nanosecond.
    pub fn frame_time(&self) -> Span {
        let (n, d) = self.frame_rate;
        Span::from_ns((1_000_000_000 * u64::from(d) / u64::from(n.max(1))) as i64)
    }
}

/// Advice when nothing is made of what `network` says, or frames of `info` come more than 5 a second faster than its results.
fn advice_on(info: &SourceInfo, network: &Network) -> Option<String> {
    if let Some(why) = network.no_post().filter(|_| info.sensor_bytes_max == 0) {
        return Some(format!(
            "{}: frames have no results: {why} with --post, or keep the sensor's bytes with --raw-metadata",
            info.name
        ));
    }
    let per_second = |(frames, seconds): (u32, u32)| f64::from(frames) / f64::from(seconds.max(1));
    let (fps, dps) = (per_second(info.frame_rate), per_second(network.intrinsics().inference_rate?));
    (fps - dps > 5.0).then(|| {
        format!(
            "{}: {fps:.1} frames a second, but the network gives {dps:.1} results a second: most frames repeat the result \
             before them; --fps {dps:.0} saves memory and disk",
            info.name
        )
    })
}

/// `text`, cut at a character boundary to what a bounded string holds.
pub fn bounded<const N: usize>(text: &str) -> heapless::String<N> {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut string = heapless::String::new();
    let _ = string.push_str(&text[..end]);
    string
}

/// What [`Source::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Filled {
    /// The slot holds a frame.
    Frame,
    /// Nothing came within the time allowed; ask again.
    Nothing,
    /// The source knows that it lost frames (broken buffer, stall). Plain gaps in the sequence numbers need not be
    /// reported: the engine sees them.
    Lost(Loss),
    /// There will be no more frames.
    End,
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The device, file or network cannot be used; the text names it and the remedy.
    #[error("{0}")]
    Unavailable(String),
    /// The operating system refused.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried, with the name of the thing.
        doing: String,
        /// The system's answer.
        #[source]
        error: std::io::Error,
    },
    /// The bytes are not what they should be; the text says where.
    #[error("{0}")]
    Malformed(String),
    /// The device went away while it was used.
    #[error("{0} went away")]
    Gone(String),
    /// An error of a source of the user's own.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl SourceError {
    /// For `map_err`: what was tried, and the system's answer. Makes its text at once, so not for [`Source::fill`].
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }
}

/// Something that delivers frames.
///
/// The engine calls [`start`](Source::start) once, then [`fill`](Source::fill) again and again from one thread (the
/// capture thread) with a slot lent for the call, then [`stop`](Source::stop). After `start`, `fill` must not allocate,
/// lock, log, or block except to wait for its next frame. A source that is [watched](SourceInfo::watched) may be stopped and
/// started again in between, on the capture thread; its numbers may begin anew then, the engine continues them.
pub trait Source: Send {
    /// What it delivers. Does not change between `start` and `stop`.
    fn describe(&self) -> &SourceInfo;

    /// Makes everything that `fill` needs. `now`: the engine's clocks at the start.
    ///
    /// # Errors
    /// The source cannot be used, with the remedy.
    fn start(&mut self, now: ClockPair) -> Result<(), SourceError>;

    /// Puts the next frame into `slot` (which was reset): picture, results, `meta.sequence`, `meta.captured_at`,
    /// `meta.captured_wall`. Waits for at most `wait` if it has to wait at all.
    ///
    /// # Errors
    /// The source cannot go on. A frame that does not fit the slot is not an error: return
    /// [`Filled::Lost`] with [`Cause::TooBig`](crate::Cause::TooBig).
    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError>;

    /// Gives back what `start` took. Called once after the last `fill`, also after an error.
    fn stop(&mut self) {}

    /// Time between frames as now in force, where that changes while it runs. Default: the nominal one.
    fn frame_time(&self) -> Span {
        self.describe().frame_time()
    }

    /// Runs `network` in place of the one that it was opened with, if any. Before `start`; what
    /// [`describe`](Source::describe) says follows it.
    ///
    /// # Errors
    /// The default: this source runs no network. Else what is missing for this one, with the remedy.
    fn deploy(&mut self, network: Network) -> Result<(), SourceError> {
        let (name, network) = (&self.describe().name, network.name());
        Err(SourceError::Unavailable(format!("{name} runs no network ({network}); an IMX500 does: --source imx500")))
    }

    /// What could be chosen better, for whoever tells people; default: nothing.
    fn advice(&self) -> Option<String> {
        None
    }

    /// What a start that takes long is at, for whoever tells people. Asked for at most once, before `start`; default: nothing.
    fn progress(&mut self) -> Option<StartProgress> {
        None
    }

    /// What is broken in its input, for whoever tells people. Asked for at most once, before `start`; default: nothing.
    fn remarks(&mut self) -> Option<Remarks> {
        None
    }
}

/// One text for each broken place (a line, a damaged recording), as they turn up: `None` means none for now. What was in
/// that place is lost.
pub type Remarks = Box<dyn Iterator<Item = String> + Send>;

/// A line about what a start is at, such as `uploading the network: 40 %`; `None` when it is at nothing that takes long.
pub type StartProgress = Box<dyn FnMut() -> Option<String> + Send>;

impl Source for Box<dyn Source> {
    fn describe(&self) -> &SourceInfo {
        (**self).describe()
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        (**self).start(now)
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        (**self).fill(slot, wait)
    }

    fn stop(&mut self) {
        (**self).stop();
    }

    fn frame_time(&self) -> Span {
        (**self).frame_time()
    }

    fn deploy(&mut self, network: Network) -> Result<(), SourceError> {
        (**self).deploy(network)
    }

    fn advice(&self) -> Option<String> {
        (**self).advice()
    }

    fn progress(&mut self) -> Option<StartProgress> {
        (**self).progress()
    }

    fn remarks(&mut self) -> Option<Remarks> {
        (**self).remarks()
    }
}
