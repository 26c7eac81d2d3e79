//! Where the loop's frames come from: a plain stream, or a tap of a session when clips or a recording are wanted besides.

use kinora::budget;
use kinora::clips::{ClipControl, ClipSettings, ClipSink, RuleSettings};
use kinora::recorder::{Format, Recorder, RecorderBuilder};
use kinora::replay::control::ReplayControl;
use kinora::replay::operator::{ReplayLimits, ReplayOperator};
use kinora::source::SourceInfo;
use kinora::{Output, ReplayStream, Session, Settings, Span};

use super::Replay;
use super::fit::{self, History};
use crate::cli::end::Failure;
use crate::cli::output::Manner;
use crate::cli::record::why_ended;
use crate::cli::source::{self, Told};

/// A running source with the operator behind it.
pub struct Feed {
    session: Option<Session>,
    /// The session records everything.
    records: bool,
    stream: ReplayStream,
    /// What the source has to say.
    pub told: Told,
}

/// What passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    pub frames: u64,
    pub lost: u64,
}

impl Feed {
    /// Makes the operator, then starts the source and what goes on beside the loop: nothing waits for memory then.
    pub fn start(replay: &Replay) -> Result<Self, Failure> {
        let settings = source::engine(&replay.engine);
        let (capture, told) = source::open_telling(&replay.source)?;
        let mut capture = capture.settings(settings.clone());
        let clips = clip_settings(replay, &settings, capture.info());
        let limits = limits(replay, capture.info());
        let history = clips.as_ref().map(|clips| {
            let (history, slots) = ClipSink::memory_bytes(clips, capture.info());
            History { span: clips.history, bytes: history + slots }
        });
        let has_tap = clips.is_some() || replay.out.is_some();
        let tap_bytes = if has_tap { budget::replay_tap(capture.info(), &settings)?.total() } else { 0 };
        fit::check(replay, &limits, history, tap_bytes as usize)?;
        let operator = ReplayOperator::with_limits(replay.settings.clone(), limits)
            .map_err(|range| Failure::Usage(range.to_string()))?
            .named(&replay.name);
        if !has_tap {
            let stream = ReplayStream::new(capture.start()?, operator);
            return Ok(Self { session: None, records: false, stream, told });
        }
        let mut builder = Session::builder().source(capture);
        if let Some(directory) = &replay.out {
            builder = builder.recorder(recorder(replay).directory(directory).create()?);
        }
        if let Some(clips) = clips {
            builder = builder.clip_settings(clips);
        }
        // The picture may be as late as the disk.
        let (session, tap) = builder.start_with_frames()?;
        let records = replay.out.is_some();
        Ok(Self { session: Some(session), records, stream: ReplayStream::new(tap, operator), told })
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        self.stream.info()
    }

    /// A handle on the operator.
    pub fn control(&mut self) -> ReplayControl {
        self.stream.control()
    }

    /// The handle on clips, once.
    pub fn take_clips(&mut self) -> Option<ClipControl> {
        self.session.as_mut().and_then(Session::take_clip_control)
    }

    /// Marks this moment in the recording of everything; false when there is none.
    pub fn bookmark(&mut self, text: &str) -> Result<bool, Failure> {
        match &mut self.session {
            Some(session) if self.records => session.bookmark(text).map(|()| true).map_err(Failure::from),
            _ => Ok(false),
        }
    }

    /// The next output frame, if one comes in time.
    pub fn next_within(&mut self, within: Span) -> Result<Option<Output<'_>>, Failure> {
        Ok(self.stream.next_within(within)?)
    }

    /// Frames and results a second, running means as of the newest live frame.
    pub fn rates(&self) -> Option<(f64, f64)> {
        self.stream.live_frame().map(|frame| (frame.meta.fps, frame.meta.dps))
    }

    /// True when the source has ended and its last frame was taken.
    pub fn is_ended(&self) -> bool {
        self.stream.is_ended()
    }

    /// The operator.
    pub fn operator(&self) -> &ReplayOperator {
        self.stream.operator()
    }

    /// What passed so far.
    pub fn account(&self) -> Account {
        let stats = self.stream.stats();
        let lost = match &self.session {
            None => stats.lost,
            Some(session) => session.status().lost() + stats.skipped,
        };
        Account { frames: stats.frames, lost }
    }

    /// True once the recording of everything takes no more frames.
    pub fn recording_ended(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.status().sink_failed)
    }

    /// Stops the source and closes what goes on beside the loop; the text says why the recording ended before its source.
    /// `meanwhile` is told what a stop that takes long waits for.
    pub fn stop(&mut self, manner: Manner, meanwhile: impl FnMut(&str)) -> Result<(Account, Option<String>), Failure> {
        let account = self.account();
        let Some(session) = self.session.take() else { return Ok((account, None)) };
        let report = source::stop_telling(&mut self.told, manner, meanwhile, || session.stop())?;
        let ended = why_ended(&report);
        match report.source_error {
            Some(error) => Err(error.into()),
            None => Ok((account, ended)),
        }
    }

    /// Ends a source that nothing went on beside.
    pub fn end(mut self, manner: Manner, meanwhile: impl FnMut(&str)) {
        let stream = self.stream;
        source::stop_telling(&mut self.told, manner, meanwhile, || drop(stream));
    }
}

/// A recorder as this replay wants it, of the session or of the output.
pub fn recorder(replay: &Replay) -> RecorderBuilder {
    let format = if replay.engine.raw { Format::Raw } else { Format::Jpeg };
    Recorder::builder().quality(replay.engine.quality).format(format).min_free(replay.min_free)
}

fn limits(replay: &Replay, info: &SourceInfo) -> ReplayLimits {
    ReplayLimits {
        capacity: replay.capacity,
        picture: info.picture.map_or((0, 0), |picture| (picture.width, picture.height)),
        frame_bytes: replay.frame_bytes,
        frame_time: info.frame_time(),
        span_max: replay.span_max,
        bytes_max: replay.bytes_max,
        ..ReplayLimits::default()
    }
}

fn clip_settings(replay: &Replay, settings: &Settings, info: &SourceInfo) -> Option<ClipSettings> {
    let rules = replay.rules.iter().map(|rule| RuleSettings { rule: rule.clone(), pre: replay.pre, post: replay.post });
    let mut clips = ClipSettings {
        history: replay.clip_history.unwrap_or(replay.pre.max(fit::HISTORY)),
        rules: rules.collect(),
        on_clip: replay.on_clip.clone(),
        frame_bytes: replay.frame_bytes,
        lock: replay.lock,
        keep_size: replay.keep_size,
        write_rate: replay.clip_rate,
        min_free_bytes: replay.min_free,
        ..ClipSettings::new(replay.clips.as_ref()?)
    };
    clips.frame_bytes = settings.clip_frame_bytes(&clips, info);
    Some(clips)
}
