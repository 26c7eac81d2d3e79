//! `kinora replay`: the Replay operator over a live source, with clips around events, steered by keys, lines of JSON or a socket.

mod feed;
mod fit;
mod lines;
mod output;
mod panel;
mod pending;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kinora::clips::{ClipControl, ClipEvent};
use kinora::notify::Notifier;
use kinora::replay::control::{ReplayControl, ReplayEvent};
use kinora::replay::machine::State;
use kinora::replay::settings::ReplaySettings;
use kinora::sink::Ended;
use kinora::{Clock, Span, SystemClock, Timestamp};
use serde_json::json;

use super::command::{EngineChoice, SourceChoice, StreamPlace};
use super::end::{End, Failure};
use super::output::{Manner, Progress};
use super::stop::Stop;
use super::units::show_bytes;
use feed::Feed;
use lines::Lines;
use output::Out;
use panel::{Key, Panel};
use pending::Pending;

/// What `kinora replay` was asked for, checked.
#[derive(Debug)]
pub struct Replay {
    pub source: SourceChoice,
    pub engine: EngineChoice,
    pub settings: ReplaySettings,
    pub capacity: u32,
    pub frame_bytes: Option<usize>,
    pub span_max: Option<Span>,
    pub bytes_max: Option<u64>,
    pub rules: Vec<String>,
    /// Time that is kept for clips; `None`: the pre-roll, at least half a minute.
    pub clip_history: Option<Span>,
    pub pre: Span,
    pub post: Span,
    pub clips: Option<PathBuf>,
    pub on_clip: Option<String>,
    /// Clips outlive the trimming of their directory.
    pub lock: bool,
    /// Size of the clips' directory.
    pub keep_size: Option<u64>,
    /// Bytes a second that clips take of the disk.
    pub clip_rate: Option<u64>,
    /// Bytes of the disk that stay free.
    pub min_free: u64,
    pub out: Option<PathBuf>,
    pub output: Option<ReplayOutput>,
    pub control: Option<PathBuf>,
    pub name: String,
}

/// Where output frames go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayOutput {
    /// A JPEG stream.
    Stream(StreamPlace),
    /// A recording.
    Recording(PathBuf),
}

/// Lines and keys are looked at so often, also when the source is slow.
const SERVE_EVERY: Span = Span::from_ms(50);

/// Replays until the source or the input ends, or somebody stops us.
pub fn run(replay: Replay, manner: Manner) -> Result<End, Failure> {
    let stop = Stop::on_signals()?;
    let save_now = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&save_now))
        .map_err(Failure::io("cannot listen for SIGUSR1"))?;
    let mut notifier = Notifier::of_this_process().map_err(Failure::io("cannot speak to the service manager"))?;
    let panel = Panel::of_terminal();
    if let (Some(ReplayOutput::Stream(StreamPlace::Descriptor(1))), None, None) =
        (&replay.output, &replay.control, &panel)
    {
        let remedy = "give --control SOCKET, or another descriptor: --output fd:3 3>FILE";
        return Err(Failure::Usage(format!("--output fd:1: answers to control lines go there; {remedy}")));
    }
    let lines = match (&replay.control, &panel) {
        (Some(path), _) => Lines::of_socket(path)?,
        (None, Some(_)) => Lines::none(),
        (None, None) => Lines::of_stdin(),
    };
    let Some(mut out) = Out::open(&replay, &stop)? else { return Ok(End::Done) };
    let feed = Feed::start(&replay)?;
    out.begin(feed.info(), SystemClock.pair())?;
    manner.remark(format_args!("source   {}", feed.info().name));
    let (frames, room) = (replay.settings.max_frames_in_memory, replay.capacity);
    let room = if frames < room { format!(", room for {room}") } else { String::new() };
    let arena_bytes = show_bytes(feed.operator().status().arena_bytes);
    manner.remark(format_args!("window   {frames} frames{room}, {arena_bytes}"));
    let mut stage = Stage::new(&replay, feed, out, lines, panel, manner);
    while !stop.is_asked() && !stage.wants_end {
        if save_now.swap(false, Ordering::Relaxed) {
            stage.save("SIGUSR1");
        }
        let goes_on = stage.tick()?;
        if let Some(start) = &stage.start {
            notifier.takes_long(stage.clock.now(), start);
        }
        let account = stage.feed.account();
        notifier.frames(account.frames, stage.clock.now(), || {
            format!("{} frames, {} lost, {:.1} frames/s", account.frames, account.lost, stage.rates.0)
        });
        if !goes_on {
            break;
        }
    }
    notifier.stopping();
    stage.finish(&mut notifier)
}

/// What is told once, at the first frame that it costs.
#[derive(Default)]
struct Told {
    output_ended: bool,
    recording_ended: bool,
    too_big: bool,
}

/// Everything that one tick touches.
struct Stage<'a> {
    replay: &'a Replay,
    feed: Feed,
    control: ReplayControl,
    clips: Option<ClipControl>,
    out: Out,
    lines: Lines,
    panel: Option<Panel>,
    pending: Pending,
    manner: Manner,
    clock: SystemClock,
    failed_clips: u64,
    told: Told,
    /// Frames and results a second, running means of the newest live frame.
    rates: (f64, f64),
    /// What the source's start is at, while it takes long, and its line where there is no panel.
    start: Option<String>,
    progress: Option<Progress>,
    wants_end: bool,
}

impl<'a> Stage<'a> {
    fn new(replay: &'a Replay, mut feed: Feed, out: Out, lines: Lines, panel: Option<Panel>, manner: Manner) -> Self {
        let control = feed.control();
        let clips = feed.take_clips();
        Self {
            replay,
            feed,
            control,
            clips,
            out,
            lines,
            panel,
            pending: Pending::default(),
            manner,
            clock: SystemClock,
            failed_clips: 0,
            told: Told::default(),
            rates: (0.0, 0.0),
            start: None,
            progress: None,
            wants_end: false,
        }
    }

    /// One output frame, or none when the source is late and nothing replays; false at the end.
    fn tick(&mut self) -> Result<bool, Failure> {
        self.serve_lines();
        self.serve_keys()?;
        let (shown, ended) = match self.feed.next_within(SERVE_EVERY)? {
            Some(output) => (true, self.out.write(output.frame())?),
            None => (false, None),
        };
        self.tell_ended(ended);
        self.rates = self.feed.rates().unwrap_or(self.rates);
        self.answer();
        self.tell_events();
        self.tell_source();
        if let Some(panel) = &mut self.panel {
            panel.show(self.feed.operator().status(), &self.feed.account(), self.rates, self.start.as_deref())?;
        }
        Ok((shown || !self.feed.is_ended()) && !self.lines.are_over())
    }

    /// A recording that ends, as on a full disk, costs the replay nothing; but nobody should learn of it hours later.
    fn tell_ended(&mut self, output: Option<Ended>) {
        if let Some(ended) = output.filter(|_| !std::mem::replace(&mut self.told.output_ended, true)) {
            self.warn(format!("--output: {ended}; the replay goes on"));
        }
        if !self.told.recording_ended && self.feed.recording_ended() {
            self.told.recording_ended = true;
            self.warn(
                "--out: the recording takes no more frames, the replay goes on; the reason is told at the end".into(),
            );
        }
    }

    fn warn(&mut self, text: String) {
        match &mut self.panel {
            Some(panel) => panel.say(text),
            None => self.manner.warn(text),
        }
    }

    /// What the source has to say, and what its start is at.
    fn tell_source(&mut self) {
        self.start = self.feed.told.start();
        match (&mut self.panel, &self.start) {
            (Some(panel), _) => self.feed.told.say(|text| panel.say(text)),
            (None, Some(start)) => {
                let progress = self.progress.get_or_insert_with(|| Progress::new(self.manner));
                progress.show(|| start.clone());
            }
            (None, None) => {
                self.end_progress();
                self.feed.told.tell(self.manner);
            }
        }
    }

    fn end_progress(&mut self) {
        if let Some(mut progress) = self.progress.take() {
            progress.finish();
        }
    }

    /// Capture times of the first and the last frame that would be played.
    fn marks(&self) -> Option<(Timestamp, Timestamp)> {
        let (status, window) = (self.feed.operator().status(), self.feed.operator().window());
        let at = |position: u64| {
            let position = position.clamp(1, u64::from(window.extent().len.max(1)));
            window.meta(window.extent().oldest + position - 1).map(|meta| meta.captured_at)
        };
        Some((at(status.playback_start_frame)?, at(status.playback_stop_frame)?))
    }

    fn serve_lines(&mut self) {
        // No more than wait, and each caller has one line under way.
        for _ in 0..64 {
            let Some(line) = self.lines.next() else { return };
            let marks = self.marks();
            self.pending.take(line, &self.control, self.clips.as_ref(), marks);
        }
    }

    fn answer(&mut self) {
        let now = self.clock.now();
        self.pending.answer(&self.control, self.feed.operator().status(), &self.replay.name, now);
    }

    fn serve_keys(&mut self) -> Result<(), Failure> {
        let Some(panel) = &mut self.panel else { return Ok(()) };
        let has_frames = self.feed.operator().status().number_of_frames_in_storage > 0;
        while let Some(key) = panel.key(has_frames)? {
            match key {
                Key::Ask(request) => {
                    if let Err(error) = self.control.request(request) {
                        panel.say(error.to_string());
                    }
                }
                Key::Trigger => match &self.clips {
                    Some(clips) => {
                        if let Err(error) = clips.trigger("key", self.replay.pre, self.replay.post) {
                            panel.say(error.to_string());
                        }
                    }
                    None => panel.say("no clips: start with --clips DIR".into()),
                },
                Key::Save => match &self.clips {
                    Some(clips) => {
                        if let Err(error) = clips.save("key") {
                            panel.say(error.to_string());
                        }
                    }
                    None => panel.say("no clips: start with --clips DIR".into()),
                },
                Key::Bookmark => panel.say(match (self.feed.bookmark("key")?, self.out.bookmark("key")?) {
                    (false, false) => "nothing is recorded that could have a bookmark: start with --out DIR".into(),
                    _ => "bookmark".into(),
                }),
                Key::Quit => self.wants_end = true,
            }
        }
        while let Some(answer) = self.pending.is_idle().then(|| self.control.answer()).flatten() {
            if let Err(error) = answer.outcome {
                panel.say(error.to_string());
            }
        }
        Ok(())
    }

    fn save(&mut self, label: &str) {
        match &self.clips {
            Some(clips) => {
                if let Err(error) = clips.save(label) {
                    self.manner.warn(error);
                }
            }
            None => self.manner.warn("SIGUSR1: nothing is saved without --clips DIR"),
        }
    }

    fn tell_events(&mut self) {
        let events: Vec<ReplayEvent> = self.control.events().collect();
        for event in events {
            let (line, text) = match event {
                ReplayEvent::StateChanged { from, to, .. } if from.name() == to.name() => {
                    let event = if to == State::Paused { "Paused" } else { "Resumed" };
                    (json!({ "event": event }), event.to_owned())
                }
                ReplayEvent::StateChanged { from, to, .. } => {
                    let line = json!({ "event": "StateChanged", "from": from.name(), "to": to.name() });
                    (line, format!("{} after {}", to.name(), from.name()))
                }
                ReplayEvent::PlaybackEnded { .. } => {
                    (json!({ "event": "PlaybackEnded" }), "the replay came to its end".to_owned())
                }
                ReplayEvent::BufferFull { .. } => (json!({ "event": "BufferFull" }), "the buffer is full".to_owned()),
                ReplayEvent::Dropped { sequence, bytes, .. } => (
                    json!({ "event": "Dropped", "sequence": sequence, "bytes": bytes }),
                    format!(
                        "frame {sequence} was not stored: it takes {bytes} bytes, more than is promised; raise --frame-bytes"
                    ),
                ),
                _ => continue,
            };
            // Once: where nothing fits, every frame would say so.
            let is_drop = matches!(event, ReplayEvent::Dropped { .. });
            if is_drop && self.panel.is_none() && !std::mem::replace(&mut self.told.too_big, true) {
                self.manner.warn(&text);
            }
            self.pending.tell(&line);
            if let Some(panel) = &mut self.panel {
                panel.say(text);
            }
        }
        let clips: Vec<ClipEvent> = self.clips.iter().flat_map(ClipControl::events).collect();
        clips.iter().for_each(|clip| self.tell_clip(clip));
    }

    fn tell_clip(&mut self, clip: &ClipEvent) {
        let (line, text, is_loss) = match clip {
            ClipEvent::Saved { path, label, frames, pre_short, lost } => {
                let shown = path.display();
                let lacks = match lost {
                    0 => String::new(),
                    lost => format!(", {lost} are missing: the disk was too slow or full"),
                };
                let line = json!({ "event": "ClipSaved", "path": shown.to_string(), "label": label.as_str(),
                        "frames": frames, "pre_short_ns": pre_short.as_ns().to_string(), "lost": lost });
                (line, format!("clip     {shown} ({frames} frames{lacks})"), *lost > 0)
            }
            ClipEvent::Failed { label, reason } => {
                let line = json!({ "event": "ClipFailed", "label": label.as_str(), "reason": reason });
                (line, format!("clip {label:?} was not saved: {reason}"), true)
            }
            ClipEvent::TooBig { frames, needed, promised } => {
                let line = json!({ "event": "ClipTooBig", "frames": frames, "needed": needed, "promised": promised });
                let text = format!(
                    "{frames} frames of up to {needed} bytes are in no clip, {promised} are promised: raise --frame-bytes"
                );
                (line, text, true)
            }
            ClipEvent::Refused { label } => {
                let line = json!({ "event": "ClipRefused", "label": label.as_str() });
                (line, format!("clip {label:?} was not begun: too many are under way"), true)
            }
            _ => return,
        };
        self.failed_clips += u64::from(is_loss);
        self.pending.tell(&line);
        match &mut self.panel {
            Some(panel) => panel.say(text),
            None if is_loss => self.manner.warn(text),
            None => self.manner.remark(text),
        }
    }

    fn finish(mut self, notifier: &mut Notifier) -> Result<End, Failure> {
        self.end_progress();
        if let Some(panel) = self.panel.take() {
            panel.leave()?;
        }
        let mut meanwhile = |start: &str| notifier.takes_long(SystemClock.now(), start);
        let (account, ended) = self.feed.stop(self.manner, &mut meanwhile)?;
        let clips: Vec<ClipEvent> = self.clips.iter().flat_map(ClipControl::events).collect();
        clips.iter().for_each(|clip| self.tell_clip(clip));
        let lacking = self.out.finish(self.manner)?;
        if let Some(ended) = &ended {
            self.manner.warn(format_args!("--out: {ended}"));
        }
        let status = self.feed.operator().status();
        self.manner.remark(format_args!(
            "{} frames, {} stored, {} too big, {} lost; {} in the buffer",
            account.frames, status.stored, status.too_big, account.lost, status.number_of_frames_in_storage
        ));
        if status.too_big > 0 {
            let too_big = status.too_big;
            self.manner
                .warn(format_args!("{too_big} frames did not fit what is promised to each: raise --frame-bytes"));
        }
        let lost = account.lost + status.too_big + self.failed_clips + lacking;
        self.feed.end(self.manner, meanwhile);
        Ok(if lost > 0 || ended.is_some() { End::Lost } else { End::Done })
    }
}
