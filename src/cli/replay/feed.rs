//! Where the loop's frames come from: a plain stream, or a tap of a session when clips or a recording are wanted besides.

use kinora::clips::{ClipControl, ClipSettings, RuleSettings};
use kinora::recorder::Recorder;
use kinora::source::SourceInfo;
use kinora::{Frame, Labels, Policy, Session, Span, Stream, Tap};

use super::Replay;
use crate::cli::end::Failure;
use crate::cli::source;

/// A running source.
pub struct Feed {
    running: Running,
    info: SourceInfo,
    late: bool,
    frames: u64,
}

enum Running {
    Stream(Box<Stream>),
    Session { session: Box<Session>, tap: Tap },
    Stopped,
}

/// What passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    pub frames: u64,
    pub lost: u64,
}

impl Feed {
    /// Opens and starts the source, and what goes on beside the loop.
    pub fn start(replay: &Replay) -> Result<Self, Failure> {
        let mut capture = source::open(&replay.source)?.settings(source::engine(&replay.engine));
        if replay.clips.is_none() && replay.out.is_none() {
            let stream = capture.start()?;
            let info = stream.info().clone();
            return Ok(Self { running: Running::Stream(Box::new(stream)), info, late: false, frames: 0 });
        }
        let mut builder = Session::builder().source(capture);
        if let Some(directory) = &replay.out {
            builder = builder.recorder(Recorder::builder().directory(directory).create()?);
        }
        if let Some(directory) = &replay.clips {
            let rules =
                replay.rules.iter().map(|rule| RuleSettings { rule: rule.clone(), pre: replay.pre, post: replay.post });
            builder = builder.clip_settings(ClipSettings {
                history: replay.pre.max(Span::from_s(30)),
                rules: rules.collect(),
                on_clip: replay.on_clip.clone(),
                frame_bytes: replay.frame_bytes,
                lock: replay.lock,
                keep_size: replay.keep_size,
                ..ClipSettings::new(directory)
            });
        }
        let mut session = builder.start()?;
        let tap = session.frames(Policy::Every)?;
        let info = session.info().clone();
        Ok(Self { running: Running::Session { session: Box::new(session), tap }, info, late: false, frames: 0 })
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// The names of the classes, if the source knows any.
    pub fn labels(&self) -> Option<&Labels> {
        (!self.info.labels.is_empty()).then_some(&self.info.labels)
    }

    /// The handle on clips, once.
    pub fn take_clips(&mut self) -> Option<ClipControl> {
        match &mut self.running {
            Running::Session { session, .. } => session.take_clip_control(),
            _ => None,
        }
    }

    /// The next live frame, if one comes in time.
    pub fn next_within(&mut self, within: Span) -> Result<Option<Frame<'_>>, Failure> {
        let frame = match &mut self.running {
            Running::Stream(stream) => stream.next_within(within)?,
            Running::Session { tap, .. } => tap.next_within(within)?,
            Running::Stopped => None,
        };
        self.late = frame.is_none();
        self.frames += u64::from(frame.is_some());
        Ok(frame)
    }

    /// True while the live frame that was waited for last did not come.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// True when the source has ended and its last frame was taken.
    pub fn is_ended(&self) -> bool {
        match &self.running {
            Running::Stream(stream) => stream.is_ended(),
            Running::Session { tap, .. } => tap.is_ended(),
            Running::Stopped => true,
        }
    }

    /// What passed so far.
    pub fn account(&self) -> Account {
        let lost = match &self.running {
            Running::Stream(stream) => stream.stats().lost,
            Running::Session { session, tap } => session.status().lost() + tap.stats().skipped,
            Running::Stopped => 0,
        };
        Account { frames: self.frames, lost }
    }

    /// Stops the source and closes what goes on beside the loop.
    pub fn stop(&mut self) -> Result<Account, Failure> {
        let account = self.account();
        if let Running::Session { session, tap } = std::mem::replace(&mut self.running, Running::Stopped) {
            drop(tap);
            let report = session.stop()?;
            if let Some(error) = report.sink_error.or(report.source_error) {
                return Err(error.into());
            }
        }
        Ok(account)
    }
}
