//! What the operator tells about itself: one consistent set of read-outs, published after every tick.

use std::sync::Arc;

use super::machine::State;
use super::settings::{Bound, DefaultOutput, ReplayPacing, ReplaySettings};
use crate::snapshot::Snapshot;
use crate::time::{Span, Speed, Timestamp, WallTime};

/// Words of a published status.
const WORDS: usize = 40;

/// Every read-out of the page, and ours, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `PlaybackState`; `Paused` reports as `Playback`.
    pub state: State,
    /// All settings as they read now. Marks read as [`Bound::Frame`]; their positions are below.
    pub settings: ReplaySettings,
    /// `PlaybackStartFrame`: a position, 1 is the oldest frame.
    pub playback_start_frame: u64,
    /// `PlaybackStopFrame`: a position; follows the buffer until it is set.
    pub playback_stop_frame: u64,
    /// `PlaybackCurrentFrame`: position of the frame that is shown or was shown last; 0 after a clear.
    pub playback_current_frame: u64,
    /// `PlaybackCurrentFrameTime`: when it was recorded.
    pub playback_current_frame_time: Option<WallTime>,
    /// `PlaybackCurrentFrameTimeFromBufferStart`, by the monotonic clock.
    pub playback_current_frame_time_from_buffer_start: Option<Span>,
    /// Recording time of the frame that will play first (`PlaybackStartFrameTimeString`).
    pub playback_start_frame_time: Option<WallTime>,
    /// `NumberOfFramesInStorage`.
    pub number_of_frames_in_storage: u32,
    /// `FrameBufferFull`: any bound (frames, bytes, seconds) is reached.
    pub frame_buffer_full: bool,
    /// `FrameStoreStartTime`: recording time of the oldest frame.
    pub frame_store_start_time: Option<WallTime>,
    /// `FrameStoreStopTime`: recording time of the newest frame.
    pub frame_store_stop_time: Option<WallTime>,
    /// Newest minus oldest, by the monotonic clock (`FrameStoreDurationString`).
    pub frame_store_duration: Span,
    /// Exact bytes of the stored frames (`FramesMemoryUsage` is this in MB of 2^20, rounded).
    pub frames_memory_bytes: u64,
    /// Bytes of the arena, used or not.
    pub arena_bytes: u64,
    /// Most frames that can be kept, chosen at the start.
    pub capacity: u32,
    /// A lower `MaxFramesInMemory` waits for the end of the replay.
    pub max_frames_pending: bool,
    /// The source delivers JPEG, so `JpegQuality` has no effect.
    pub jpeg_quality_unused: bool,
    /// Frames encoded once more at a lower quality, to fit.
    pub requantised: u64,
    /// Frames too big to be stored.
    pub too_big: u64,
    /// Capture time and bytes of the newest of them.
    pub too_big_last: Option<(Timestamp, u64)>,
    /// Frames stored since the start.
    pub stored: u64,
    /// Ticks since the start.
    pub ticks: u64,
    /// Time spent in the newest tick.
    pub stage_time_last: Span,
    /// Longest time spent in a tick.
    pub stage_time_max: Span,
    /// Events that nobody took in time and that were therefore dropped.
    pub events_lost: u64,
}

/// What the page's audio metering reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioMetering {
    /// Channels that are metered.
    pub channels: u32,
    /// True when no channel has a level.
    pub is_silent: bool,
}

impl Status {
    /// Silent, 0 channels, always: the camera has no microphone and recordings hold no sound.
    pub const fn audio(&self) -> AudioMetering {
        AudioMetering { channels: 0, is_silent: true }
    }

    /// `FramesMemoryUsage`: megabytes of 2^20 bytes, rounded.
    pub const fn frames_memory_usage_mb(&self) -> u64 {
        (self.frames_memory_bytes + (1 << 19)) >> 20
    }

    fn to_words(&self) -> [u64; WORDS] {
        let mut out = Writer { words: [0; WORDS], next: 0 };
        let s = &self.settings;
        out.put(self.state as u64);
        out.flags([
            s.autostart_recording,
            s.start_recording_after_playback,
            s.default_output == DefaultOutput::None,
            s.enabled,
            self.frame_buffer_full,
            self.max_frames_pending,
            self.jpeg_quality_unused,
            s.pacing == ReplayPacing::Recorded,
            s.looped,
        ]);
        out.put(u64::from(s.jpeg_quality));
        out.put(u64::from(s.max_frames_in_memory));
        out.put(s.playback_speed.numerator() as u32 as u64 | u64::from(s.playback_speed.denominator()) << 32);
        out.bound(s.playback_start_frame);
        out.bound(s.playback_stop_frame);
        for word in [
            self.playback_start_frame,
            self.playback_stop_frame,
            self.playback_current_frame,
            u64::from(self.number_of_frames_in_storage),
            self.frame_store_duration.as_ns() as u64,
            self.frames_memory_bytes,
            self.arena_bytes,
            u64::from(self.capacity),
            self.requantised,
            self.too_big,
            self.stored,
            self.ticks,
            self.stage_time_last.as_ns() as u64,
            self.stage_time_max.as_ns() as u64,
            self.events_lost,
        ] {
            out.put(word);
        }
        for time in [
            self.playback_current_frame_time,
            self.playback_start_frame_time,
            self.frame_store_start_time,
            self.frame_store_stop_time,
        ] {
            out.option(time.map(WallTime::as_utc_ns));
        }
        out.option(self.playback_current_frame_time_from_buffer_start.map(Span::as_ns));
        out.option(self.too_big_last.map(|(at, _)| at.as_ns()));
        out.put(self.too_big_last.map_or(0, |(_, bytes)| bytes));
        out.words
    }

    fn from_words(words: &[u64; WORDS]) -> Self {
        let mut words = Reader { words, next: 0 };
        let state = match words.take() {
            0 => State::Stopped,
            1 => State::Recording,
            2 => State::Playback,
            _ => State::Paused,
        };
        let [
            autostart_recording,
            start_recording_after_playback,
            none,
            enabled,
            full,
            pending,
            unused,
            recorded,
            looped,
        ] = words.flags();
        let jpeg_quality = words.take() as u8;
        let max_frames_in_memory = words.take() as u32;
        let speed = words.take();
        let playback_speed = Speed::new(speed as u32 as i32, (speed >> 32) as u32).unwrap_or_default();
        let settings = ReplaySettings {
            autostart_recording,
            start_recording_after_playback,
            jpeg_quality,
            default_output: if none { DefaultOutput::None } else { DefaultOutput::PassThrough },
            max_frames_in_memory,
            playback_speed,
            playback_start_frame: words.bound(),
            playback_stop_frame: words.bound(),
            pacing: if recorded { ReplayPacing::Recorded } else { ReplayPacing::Tick },
            looped,
            enabled,
        };
        let [start, stop, current, frames, duration, bytes, arena, capacity] = core::array::from_fn(|_| words.take());
        let [requantised, too_big, stored, ticks, last, max, events_lost] = core::array::from_fn(|_| words.take());
        let [current_time, start_time, store_start, store_stop] =
            core::array::from_fn(|_| words.option().map(WallTime::from_utc_ns));
        let from_start = words.option().map(Span::from_ns);
        let too_big_at = words.option().map(Timestamp::from_ns);
        let too_big_bytes = words.take();
        Self {
            state,
            settings,
            playback_start_frame: start,
            playback_stop_frame: stop,
            playback_current_frame: current,
            playback_current_frame_time: current_time,
            playback_current_frame_time_from_buffer_start: from_start,
            playback_start_frame_time: start_time,
            number_of_frames_in_storage: frames as u32,
            frame_buffer_full: full,
            frame_store_start_time: store_start,
            frame_store_stop_time: store_stop,
            frame_store_duration: Span::from_ns(duration as i64),
            frames_memory_bytes: bytes,
            arena_bytes: arena,
            capacity: capacity as u32,
            max_frames_pending: pending,
            jpeg_quality_unused: unused,
            requantised,
            too_big,
            too_big_last: too_big_at.map(|at| (at, too_big_bytes)),
            stored,
            ticks,
            stage_time_last: Span::from_ns(last as i64),
            stage_time_max: Span::from_ns(max as i64),
            events_lost,
        }
    }
}

struct Writer {
    words: [u64; WORDS],
    next: usize,
}

impl Writer {
    fn put(&mut self, word: u64) {
        self.words[self.next] = word;
        self.next += 1;
    }

    fn flags<const N: usize>(&mut self, flags: [bool; N]) {
        self.put(flags.iter().enumerate().fold(0, |word, (i, &flag)| word | u64::from(flag) << i));
    }

    fn option(&mut self, value: Option<i64>) {
        self.put(u64::from(value.is_some()));
        self.put(value.unwrap_or(0) as u64);
    }

    fn bound(&mut self, bound: Bound) {
        let (kind, value) = match bound {
            Bound::Full => (0, 0),
            Bound::Position(position) => (1, u64::from(position)),
            Bound::Frame(ordinal) => (2, ordinal),
        };
        self.put(kind << 62 | value & (u64::MAX >> 2));
    }
}

struct Reader<'a> {
    words: &'a [u64; WORDS],
    next: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> u64 {
        self.next += 1;
        self.words[self.next - 1]
    }

    fn flags<const N: usize>(&mut self) -> [bool; N] {
        let word = self.take();
        core::array::from_fn(|i| word >> i & 1 == 1)
    }

    fn option(&mut self) -> Option<i64> {
        let (some, value) = (self.take(), self.take());
        (some != 0).then_some(value as i64)
    }

    fn bound(&mut self) -> Bound {
        let word = self.take();
        let value = word & (u64::MAX >> 2);
        match word >> 62 {
            0 => Bound::Full,
            1 => Bound::Position(value as u32),
            _ => Bound::Frame(value),
        }
    }
}

/// Where the operator publishes its status.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard(Arc<Snapshot<WORDS>>);

impl StatusBoard {
    /// Replaces the status. Only the operator calls this.
    pub(super) fn publish(&self, status: &Status) {
        self.0.publish(&status.to_words());
    }

    /// The newest status, whole. Never blocks the operator; repeats while a publication overlaps.
    pub fn status(&self) -> Status {
        Status::from_words(&self.0.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_back_as_it_was_published() {
        let board = StatusBoard::default();
        let status = Status {
            state: State::Paused,
            settings: ReplaySettings {
                default_output: DefaultOutput::None,
                playback_speed: Speed::new(-1, 3).unwrap(),
                playback_start_frame: Bound::Frame(1 << 40),
                playback_stop_frame: Bound::Position(7),
                jpeg_quality: 33,
                pacing: ReplayPacing::Recorded,
                looped: true,
                ..ReplaySettings::default()
            },
            playback_start_frame: 1,
            playback_stop_frame: 7,
            playback_current_frame: 3,
            playback_current_frame_time: Some(WallTime::from_utc_ns(-5)),
            playback_current_frame_time_from_buffer_start: Some(Span::from_ms(66)),
            playback_start_frame_time: None,
            number_of_frames_in_storage: 12,
            frame_buffer_full: true,
            frame_store_start_time: Some(WallTime::from_utc_ns(1)),
            frame_store_stop_time: Some(WallTime::from_utc_ns(2)),
            frame_store_duration: Span::from_ns(9),
            frames_memory_bytes: (3 << 20) + (1 << 19),
            arena_bytes: 11,
            capacity: 300,
            max_frames_pending: true,
            jpeg_quality_unused: true,
            requantised: 21,
            too_big: 22,
            too_big_last: Some((Timestamp::from_ns(-23), 24)),
            stored: 25,
            ticks: 26,
            stage_time_last: Span::from_us(27),
            stage_time_max: Span::from_us(28),
            events_lost: 29,
        };
        board.publish(&status);
        assert_eq!(board.status(), status);
        assert_eq!(status.frames_memory_usage_mb(), 4, "3.5 is rounded up");
        board.publish(&Status::default());
        assert_eq!(board.status(), Status::default());
    }
}
