//! The operator's settings: names, ranges and defaults of the Replay operator's page.

use core::fmt;

use crate::time::Speed;

/// What comes out while the operator is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DefaultOutput {
    /// The live picture, unchanged.
    #[default]
    PassThrough,
    /// A black frame with the live frame's geometry, sequence and time, and no detections.
    None,
}

impl DefaultOutput {
    /// The page's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "PassThrough",
            Self::None => "None",
        }
    }

    /// The value of the page's word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::PassThrough, Self::None].into_iter().find(|value| value.name() == name)
    }
}

/// What paces a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReplayPacing {
    /// One output frame for each live frame; slow motion repeats frames evenly. The page's way.
    #[default]
    Tick,
    /// The recorded intervals divided by the speed, as in playback of a file.
    Recorded,
}

impl ReplayPacing {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tick => "Tick",
            Self::Recorded => "Recorded",
        }
    }

    /// The value of the word in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Tick, Self::Recorded].into_iter().find(|value| value.name() == name)
    }
}

/// One end of the part to play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The end of the buffer: the first frame, or the last one however many there are.
    #[default]
    Full,
    /// A position, 1 is the oldest frame still there. Stays as set whatever happens to the buffer.
    Position(u32),
    /// A frame, by its ordinal since the start. Its position slides down as older frames go, and rests at 1.
    Frame(u64),
}

/// Settings of the operator. `Default` is the page's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// Record as soon as the engine starts; read once. Default false.
    pub autostart_recording: bool,
    /// Begin a fresh recording when a replay ends. Default false.
    pub start_recording_after_playback: bool,
    /// Quality of stored frames, `10..=100`, default 80: a good balance for HD. No effect on sources that are JPEG already.
    pub jpeg_quality: u8,
    /// What comes out while stopped. Default `PassThrough`.
    pub default_output: DefaultOutput,
    /// Frames kept, `1..=` the capacity chosen at the start; default 100.
    pub max_frames_in_memory: u32,
    /// Speed of replays, default 1; 0 freezes, negative plays backwards.
    pub playback_speed: Speed,
    /// First frame to play. Default `Full`.
    pub playback_start_frame: Bound,
    /// Last frame to play. Default `Full`.
    pub playback_stop_frame: Bound,
    /// What paces replays. Default `Tick`. Ours.
    pub pacing: ReplayPacing,
    /// A replay begins again at its end, instead of ending. Default false. Ours.
    pub looped: bool,
    /// False lets live frames pass untouched and stores nothing. Default true.
    pub enabled: bool,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self {
            autostart_recording: false,
            start_recording_after_playback: false,
            jpeg_quality: 80,
            default_output: DefaultOutput::PassThrough,
            max_frames_in_memory: 100,
            playback_speed: Speed::NORMAL,
            playback_start_frame: Bound::Full,
            playback_stop_frame: Bound::Full,
            pacing: ReplayPacing::Tick,
            looped: false,
            enabled: true,
        }
    }
}

/// A value out of its range; the old value stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The page's name of the setting.
    pub field: &'static str,
    /// Smallest value that is allowed.
    pub min: i64,
    /// Largest value that is allowed.
    pub max: i64,
    /// What was asked for.
    pub got: i64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, min, max, got } = self;
        write!(f, "{field} must be {min} to {max}, {got} was given")
    }
}

impl core::error::Error for OutOfRange {}

/// One setting and its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// `AutostartRecording`; read once at the start, so a new value changes nothing until then.
    AutostartRecording(bool),
    /// `StartRecordingAfterPlayback`.
    StartRecordingAfterPlayback(bool),
    /// `JpegQuality`, `10..=100`.
    JpegQuality(i64),
    /// `DefaultOutput`.
    DefaultOutput(DefaultOutput),
    /// `MaxFramesInMemory`, `1..=capacity`.
    MaxFramesInMemory(i64),
    /// `PlaybackSpeed`.
    PlaybackSpeed(Speed),
    /// `PlaybackStartFrame`, a position from 1; 0 is the full range.
    PlaybackStartFrame(i64),
    /// `PlaybackStopFrame`, a position from 1; 0 is the full range.
    PlaybackStopFrame(i64),
    /// `Pacing`, at the next start.
    Pacing(ReplayPacing),
    /// `Loop`; counts at the end of a replay.
    Loop(bool),
    /// `Enabled`.
    Enabled(bool),
}

impl Setting {
    /// The page's name, or ours in its manner.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AutostartRecording(_) => "AutostartRecording",
            Self::StartRecordingAfterPlayback(_) => "StartRecordingAfterPlayback",
            Self::JpegQuality(_) => "JpegQuality",
            Self::DefaultOutput(_) => "DefaultOutput",
            Self::MaxFramesInMemory(_) => "MaxFramesInMemory",
            Self::PlaybackSpeed(_) => "PlaybackSpeed",
            Self::PlaybackStartFrame(_) => "PlaybackStartFrame",
            Self::PlaybackStopFrame(_) => "PlaybackStopFrame",
            Self::Pacing(_) => "Pacing",
            Self::Loop(_) => "Loop",
            Self::Enabled(_) => "Enabled",
        }
    }
}

impl ReplaySettings {
    /// Checks every range for a window of `capacity` frames.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self, capacity: u32) -> Result<(), OutOfRange> {
        in_range("JpegQuality", i64::from(self.jpeg_quality), 10, 100)?;
        in_range("MaxFramesInMemory", i64::from(self.max_frames_in_memory), 1, i64::from(capacity))?;
        Ok(())
    }

    /// Takes one new value, if it is in range; else nothing changes.
    ///
    /// # Errors
    /// The value is out of its range.
    pub fn set(&mut self, setting: Setting, capacity: u32) -> Result<(), OutOfRange> {
        match setting {
            Setting::AutostartRecording(value) => self.autostart_recording = value,
            Setting::StartRecordingAfterPlayback(value) => self.start_recording_after_playback = value,
            Setting::JpegQuality(value) => self.jpeg_quality = in_range("JpegQuality", value, 10, 100)? as u8,
            Setting::DefaultOutput(value) => self.default_output = value,
            Setting::MaxFramesInMemory(value) => {
                self.max_frames_in_memory = in_range("MaxFramesInMemory", value, 1, i64::from(capacity))? as u32;
            }
            Setting::PlaybackSpeed(value) => self.playback_speed = value,
            Setting::PlaybackStartFrame(value) => self.playback_start_frame = position("PlaybackStartFrame", value)?,
            Setting::PlaybackStopFrame(value) => self.playback_stop_frame = position("PlaybackStopFrame", value)?,
            Setting::Pacing(value) => self.pacing = value,
            Setting::Loop(value) => self.looped = value,
            Setting::Enabled(value) => self.enabled = value,
        }
        Ok(())
    }
}

fn in_range(field: &'static str, got: i64, min: i64, max: i64) -> Result<i64, OutOfRange> {
    if (min..=max).contains(&got) { Ok(got) } else { Err(OutOfRange { field, min, max, got }) }
}

fn position(field: &'static str, value: i64) -> Result<Bound, OutOfRange> {
    match in_range(field, value, 0, i64::from(u32::MAX))? {
        0 => Ok(Bound::Full),
        value => Ok(Bound::Position(value as u32)),
    }
}
