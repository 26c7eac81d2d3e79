//! The operator's decisions, and nothing else: commands, settings and ticks go in; what to show and what to do with the
//! store come out. It owns no frame, reads no clock, and takes a few integer operations a tick.
//!
//! Frames are named by *ordinals* (stored since the start, from 0) inside and by *positions* (1 is the oldest still there)
//! outside; [`Extent`] translates. While a replay runs the store does not change, so ordinals stay valid.

use core::fmt;

use super::settings::{Bound, DefaultOutput, OutOfRange, ReplayPacing, ReplaySettings, Setting};
use crate::time::Speed;

/// What the operator does now. The page's three states; `Paused` is ours and reports as `Playback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Idle; the buffer is kept.
    #[default]
    Stopped,
    /// Live frames go into the buffer.
    Recording,
    /// Buffered frames come out.
    Playback,
    /// A replay that stands still until it is resumed.
    Paused,
}

impl State {
    /// The page's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Recording => "Recording",
            Self::Playback | Self::Paused => "Playback",
        }
    }

    /// True while stored frames come out.
    pub const fn is_playing(self) -> bool {
        matches!(self, Self::Playback | Self::Paused)
    }
}

/// Which frames the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Ordinal of the oldest frame.
    pub oldest: u64,
    /// Number of frames.
    pub len: u32,
}

impl Extent {
    /// Position of a frame: 1 is the oldest. Frames that are gone rest at 1; those to come have no position yet.
    pub fn position(self, ordinal: u64) -> u64 {
        ordinal.saturating_sub(self.oldest) + 1
    }

    fn ordinal(self, position: u64) -> u64 {
        self.oldest + position - 1
    }
}

/// A command of the page, or one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `CommandStartRecording`: clears the buffer and records.
    StartRecording,
    /// `CommandStartPlayback`: plays from the start frame to the stop frame.
    StartPlayback,
    /// `CommandStop`: back to idle, whatever was going on; the buffer is kept.
    Stop,
    /// `ResetCmd`: the page's defaults, stopped, the buffer cut to its newest 100.
    Reset,
    /// Ours: records on without clearing.
    ResumeRecording,
    /// Ours: holds the replay at its frame.
    Pause,
    /// Ours: lets a held replay go on.
    Resume,
    /// Ours: makes the newest frame (in a replay: the one that is shown) the first to play, and follows it.
    MarkIn,
    /// Ours: makes the newest frame (in a replay: the one that is shown) the last to play, and follows it.
    MarkOut,
    /// Ours: all frames are played again, as after 0 for PlaybackStartFrame and PlaybackStopFrame.
    ClearMarks,
    /// Ours: holds the replay and shows the frame so many further on (negative: back), in recorded order whatever the direction
    /// of play; at the replay's ends it stays.
    Step(i32),
    /// Ours: shows the first frame of the replay and goes on from there.
    Home,
    /// Ours: shows the last frame of the replay.
    End,
}

/// Why a command did nothing; everything goes on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is no frame to play.
    BufferEmpty,
    /// The first frame to play comes after the last.
    StartAfterStop {
        /// Position of the first.
        start: u64,
        /// Position of the last.
        stop: u64,
    },
    /// Only a replay can be paused, resumed and stepped through.
    NotPlaying,
    /// The operator is switched off (`enabled` false).
    Disabled,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferEmpty => write!(f, "the buffer is empty: start recording first"),
            Self::StartAfterStop { start, stop } => {
                write!(f, "PlaybackStartFrame {start} comes after PlaybackStopFrame {stop}")
            }
            Self::NotPlaying => write!(f, "there is no replay: start playback first"),
            Self::Disabled => write!(f, "the operator is disabled"),
        }
    }
}

impl core::error::Error for Refused {}

/// What the owner of the store must do with it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum StoreAction {
    /// Nothing.
    #[default]
    Keep,
    /// Forget all frames.
    Clear,
    /// Forget the oldest until so many are left.
    CutTo(u32),
}

/// What one tick shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The live frame.
    Live,
    /// A black frame.
    Black,
    /// The stored frame of this ordinal.
    Stored(u64),
}

/// Outcome of one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// What to show.
    pub shown: Shown,
    /// True when the live frame of this tick belongs into the store.
    pub record: bool,
    /// What to do with the store before that.
    pub store: StoreAction,
    /// True when a replay ended with the tick before this one.
    pub ended: bool,
    /// True when a stored frame is shown that the pace of the replay did not lead to: the first one, or that of a command.
    pub jumped: bool,
}

/// What decides which frame a tick of a replay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// The speed: each tick is one frame time, slow motion repeats frames evenly.
    Evenly,
    /// Somebody who looked at the recorded times: this frame.
    To(u64),
    /// Somebody who looked at the recorded times: the replay is over.
    Over,
}

/// A running replay, for somebody who looks at the recorded times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Ordinal of the frame that is shown.
    pub current: u64,
    /// Lowest ordinal of the replay.
    pub first: u64,
    /// Highest ordinal of the replay.
    pub last: u64,
    /// How fast, and in which direction.
    pub speed: Speed,
    /// True while it is held.
    pub paused: bool,
    /// What paces it.
    pub pacing: ReplayPacing,
}

impl Following {
    /// The frame after `ordinal` in the direction of play, or `None` at the end.
    pub const fn next(&self, ordinal: u64) -> Option<u64> {
        match self.speed.is_reverse() {
            true if ordinal > self.first => Some(ordinal - 1),
            false if ordinal < self.last => Some(ordinal + 1),
            _ => None,
        }
    }
}

/// A running replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replay {
    current: u64,
    first: u64,
    last: u64,
    /// Where it begins when it begins again.
    next_first: u64,
    pacing: ReplayPacing,
    speed: Speed,
    /// Progress towards the next frame, in units of 1 / denominator of a frame.
    progress: u64,
    /// The frame was chosen by a command and was not shown yet.
    is_new: bool,
    paused: bool,
}

/// Capacity of a `Reset` operator, the page's default.
const RESET_FRAMES: u32 = 100;

/// The operator's state.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: ReplaySettings,
    capacity: u32,
    recording: bool,
    replay: Option<Replay>,
    /// A cut that waits for the end of the replay.
    pending_cut: Option<u32>,
    /// The last frame that was shown, kept after the end.
    last_shown: Option<u64>,
}

impl Machine {
    /// A machine over a store of at most `capacity` frames. `AutostartRecording` is read here, and only here.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn new(settings: ReplaySettings, capacity: u32) -> Result<Self, OutOfRange> {
        settings.validate(capacity)?;
        let recording = settings.autostart_recording && settings.enabled;
        Ok(Self { settings, capacity, recording, replay: None, pending_cut: None, last_shown: None })
    }

    /// The settings as they read now.
    pub const fn settings(&self) -> &ReplaySettings {
        &self.settings
    }

    /// What the operator does now.
    pub fn state(&self) -> State {
        match self.replay {
            Some(replay) if replay.paused => State::Paused,
            Some(_) => State::Playback,
            None if self.recording => State::Recording,
            None => State::Stopped,
        }
    }

    /// Ordinal of the frame that is shown, or was shown last; none after a clear.
    pub const fn last_shown(&self) -> Option<u64> {
        self.last_shown
    }

    /// True when a lower `MaxFramesInMemory` waits for the end of the replay.
    pub const fn has_pending_cut(&self) -> bool {
        self.pending_cut.is_some()
    }

    /// `PlaybackStartFrame` as it reads now.
    pub fn start_position(&self, store: Extent) -> u64 {
        bound_position(self.settings.playback_start_frame, store, 1)
    }

    /// `PlaybackStopFrame` as it reads now.
    pub fn stop_position(&self, store: Extent) -> u64 {
        bound_position(self.settings.playback_stop_frame, store, u64::from(store.len))
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// Why it did nothing.
    pub fn command(&mut self, command: Command, store: Extent) -> Result<StoreAction, Refused> {
        if !self.settings.enabled && command != Command::Reset {
            return Err(Refused::Disabled);
        }
        match command {
            Command::StartRecording => Ok(self.start_recording()),
            Command::ResumeRecording => {
                self.recording = true;
                Ok(self.end_replay())
            }
            Command::StartPlayback => self.start_playback(store).map(|()| StoreAction::Keep),
            Command::Stop => {
                self.recording = false;
                Ok(self.end_replay())
            }
            Command::Reset => {
                self.recording = false;
                self.replay = None;
                self.pending_cut = None;
                let defaults = ReplaySettings::default();
                let max_frames_in_memory = defaults.max_frames_in_memory.min(self.capacity);
                self.settings = ReplaySettings { max_frames_in_memory, ..defaults };
                Ok(StoreAction::CutTo(RESET_FRAMES.min(self.capacity)))
            }
            Command::Pause | Command::Resume => match &mut self.replay {
                Some(replay) => {
                    replay.paused = command == Command::Pause;
                    Ok(StoreAction::Keep)
                }
                None => Err(Refused::NotPlaying),
            },
            Command::MarkIn | Command::MarkOut => self.mark(command, store).map(|()| StoreAction::Keep),
            Command::ClearMarks => {
                (self.settings.playback_start_frame, self.settings.playback_stop_frame) = (Bound::Full, Bound::Full);
                self.follow_bounds(store);
                Ok(StoreAction::Keep)
            }
            Command::Step(frames) => match &mut self.replay {
                Some(replay) => {
                    replay.step(frames);
                    Ok(StoreAction::Keep)
                }
                None => Err(Refused::NotPlaying),
            },
            Command::Home | Command::End => self.jump(command, store).map(|()| StoreAction::Keep),
        }
    }

    /// Takes a new value.
    ///
    /// # Errors
    /// It is out of its range; the old value stays.
    pub fn set(&mut self, setting: Setting, store: Extent) -> Result<StoreAction, OutOfRange> {
        self.settings.set(setting, self.capacity)?;
        match setting {
            Setting::MaxFramesInMemory(_) => Ok(self.cut_to(self.settings.max_frames_in_memory)),
            Setting::PlaybackSpeed(speed) => {
                if let Some(replay) = &mut self.replay {
                    // The frame that is shown stays and gets its full time at the new speed; none is skipped.
                    replay.speed = speed;
                    replay.progress = 0;
                }
                Ok(StoreAction::Keep)
            }
            Setting::PlaybackStartFrame(_) => {
                let next_first = self.clamped(self.start_position(store), store);
                if let Some(replay) = &mut self.replay {
                    replay.next_first = next_first;
                }
                Ok(StoreAction::Keep)
            }
            Setting::PlaybackStopFrame(_) => {
                let last = self.clamped(self.stop_position(store), store);
                if let Some(replay) = &mut self.replay {
                    replay.last = last;
                }
                Ok(StoreAction::Keep)
            }
            Setting::Enabled(false) => {
                self.recording = false;
                Ok(self.end_replay())
            }
            _ => Ok(StoreAction::Keep),
        }
    }

    /// The replay, unless a command chose its next frame.
    pub fn following(&self) -> Option<Following> {
        let Replay { current, first, last, speed, paused, pacing, is_new, .. } = self.replay?;
        (!is_new).then_some(Following { current, first, last, speed, paused, pacing })
    }

    /// One output frame is due: what is it? The store is as it was before this tick's live frame is stored.
    pub fn tick(&mut self, advance: Advance) -> Tick {
        let was_playing = self.replay.is_some();
        let mut store = StoreAction::Keep;
        if let Some(replay) = &mut self.replay {
            if let Some((ordinal, jumped)) = replay.advance(advance, self.settings.looped) {
                self.last_shown = Some(ordinal);
                return Tick { shown: Shown::Stored(ordinal), record: false, store, ended: false, jumped };
            }
            store = match self.settings.start_recording_after_playback {
                true => self.start_recording(),
                false => self.end_replay(),
            };
        }
        let shown = match self.settings.default_output {
            DefaultOutput::None if !self.recording && self.settings.enabled => Shown::Black,
            _ => Shown::Live,
        };
        Tick { shown, record: self.recording, store, ended: was_playing, jumped: false }
    }

    fn start_recording(&mut self) -> StoreAction {
        self.replay = None;
        self.pending_cut = None;
        self.last_shown = None;
        self.recording = true;
        StoreAction::Clear
    }

    fn start_playback(&mut self, store: Extent) -> Result<(), Refused> {
        self.play(self.settings.playback_start_frame, self.settings.playback_stop_frame, store)
    }

    /// Plays from one bound to another at the set speed; the settings stay as they are.
    ///
    /// # Errors
    /// There is nothing to play, or the first frame comes after the last; everything goes on as it was.
    pub fn play(&mut self, start_bound: Bound, stop_bound: Bound, store: Extent) -> Result<(), Refused> {
        if !self.settings.enabled {
            return Err(Refused::Disabled);
        }
        if store.len == 0 {
            return Err(Refused::BufferEmpty);
        }
        let start = bound_position(start_bound, store, 1);
        let stop = bound_position(stop_bound, store, u64::from(store.len));
        let (first, last) = (self.clamped(start, store), self.clamped(stop, store));
        let both_set = start_bound != Bound::Full && stop_bound != Bound::Full;
        if first > last || both_set && start > stop {
            return Err(Refused::StartAfterStop { start, stop });
        }
        let ReplaySettings { playback_speed: speed, pacing, .. } = self.settings;
        let current = if speed.is_reverse() { last } else { first };
        self.recording = false;
        self.replay = Some(Replay {
            current,
            first,
            last,
            next_first: first,
            pacing,
            speed,
            progress: 0,
            is_new: true,
            paused: false,
        });
        Ok(())
    }

    /// Ends a replay if there is one; a cut that waited for it is due now.
    fn end_replay(&mut self) -> StoreAction {
        self.replay = None;
        self.pending_cut.take().map_or(StoreAction::Keep, StoreAction::CutTo)
    }

    fn cut_to(&mut self, frames: u32) -> StoreAction {
        if self.replay.is_some() {
            self.pending_cut = Some(frames);
            return StoreAction::Keep;
        }
        StoreAction::CutTo(frames)
    }

    fn mark(&mut self, command: Command, store: Extent) -> Result<(), Refused> {
        let newest = store.len.checked_sub(1).map(|i| store.oldest + u64::from(i));
        let marked = self.replay.map(|replay| replay.current).or(newest).ok_or(Refused::BufferEmpty)?;
        match command {
            Command::MarkIn => {
                self.settings.playback_start_frame = Bound::Frame(marked);
                if let Some(replay) = &mut self.replay {
                    replay.next_first = marked;
                }
            }
            _ => {
                self.settings.playback_stop_frame = Bound::Frame(marked);
                if let Some(replay) = &mut self.replay {
                    replay.last = marked;
                }
            }
        }
        Ok(())
    }

    /// A new stop counts at once in a replay, a new start when it begins again.
    fn follow_bounds(&mut self, store: Extent) {
        let next_first = self.clamped(self.start_position(store), store);
        let last = self.clamped(self.stop_position(store), store);
        if let Some(replay) = &mut self.replay {
            (replay.next_first, replay.last) = (next_first, last);
        }
    }

    fn jump(&mut self, command: Command, store: Extent) -> Result<(), Refused> {
        let replay = self.replay.as_mut().ok_or(Refused::NotPlaying)?;
        let first = if command == Command::Home { replay.next_first } else { replay.first };
        if first > replay.last {
            return Err(Refused::StartAfterStop { start: store.position(first), stop: store.position(replay.last) });
        }
        replay.first = first;
        replay.seek(if command == Command::Home { first } else { replay.last });
        Ok(())
    }

    fn clamped(&self, position: u64, store: Extent) -> u64 {
        store.ordinal(position.clamp(1, u64::from(store.len.max(1))))
    }
}

impl Replay {
    /// The frame that this tick shows and whether it was leapt to, or `None` when the replay is over.
    fn advance(&mut self, advance: Advance, looped: bool) -> Option<(u64, bool)> {
        if self.is_new {
            self.is_new = false;
            return Some((self.current, true));
        }
        let next = match advance {
            _ if self.paused => Some(self.current),
            Advance::Evenly => self.evenly(),
            Advance::Over => None,
            Advance::To(ordinal) => Some(ordinal.clamp(self.first, self.last.max(self.current))),
        };
        if let Some(next) = next {
            self.current = next;
            return Some((next, false));
        }
        // Where a start would be refused, a loop ends.
        if !looped || self.next_first > self.last {
            return None;
        }
        self.first = self.next_first;
        self.progress = 0;
        self.current = if self.speed.is_reverse() { self.last } else { self.first };
        Some((self.current, true))
    }

    /// The frame after one more frame time, or `None` at the end.
    fn evenly(&mut self) -> Option<u64> {
        let denominator = u64::from(self.speed.denominator());
        self.progress += u64::from(self.speed.numerator().unsigned_abs());
        let frames = self.progress / denominator;
        self.progress %= denominator;
        match self.speed.is_reverse() {
            _ if frames == 0 => Some(self.current),
            true => self.current.checked_sub(frames).filter(|&next| next >= self.first),
            false => Some(self.current + frames).filter(|&next| next <= self.last),
        }
    }

    fn step(&mut self, frames: i32) {
        self.paused = true;
        if self.first <= self.last {
            self.seek(self.current.saturating_add_signed(i64::from(frames)).clamp(self.first, self.last));
        }
    }

    /// The next tick shows this frame.
    fn seek(&mut self, ordinal: u64) {
        (self.current, self.progress, self.is_new) = (ordinal, 0, true);
    }
}

fn bound_position(bound: Bound, store: Extent, full: u64) -> u64 {
    match bound {
        Bound::Full => full,
        Bound::Position(position) => u64::from(position),
        Bound::Frame(ordinal) => store.position(ordinal),
    }
}

#[cfg(test)]
mod tests;
