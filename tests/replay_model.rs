//! The operator against a plain model, over random commands, settings and ticks; invariants after each step.
//!
//! The model is written to be obvious, not fast: a list of frames, and a replay as "so many ticks since an anchor, times the
//! speed", computed anew each time. Replays run forward here; reverse has its own tests beside the machine.

use std::collections::VecDeque;

use kinora::Speed;
use kinora::frame::{Frame, FrameMeta, JpegPicture};
use kinora::replay::control::{ReplayControl, Request};
use kinora::replay::machine::{Command, State};
use kinora::replay::operator::{Output, ReplayLimits, ReplayOperator};
use kinora::replay::settings::{DefaultOutput, ReplaySettings, Setting};
use kinora::results::Results;
use kinora::time::Timestamp;
use proptest::prelude::*;

const CAPACITY: u32 = 12;
const FRAME_BYTES: usize = 256;

#[derive(Clone, Copy, Debug)]
enum Step {
    Live { bytes: usize },
    Silence,
    Ask(Request),
}

/// What a tick shows: a live or stored frame by its sequence number, or black.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Live(u64),
    Black,
    Stored(u64),
    Nothing,
}

struct Replay {
    frames: Vec<u64>,
    anchor: usize,
    ticks: i64,
    current: usize,
    first: usize,
    next_first: usize,
    stop: usize,
    speed: Speed,
    begun: bool,
    paused: bool,
}

/// A mark: a frame that the property follows.
#[derive(Clone, Copy)]
enum End {
    Full,
    Number(u64),
    Mark(u64),
}

struct Model {
    frames: VecDeque<u64>,
    gone: u64,
    recording: bool,
    replay: Option<Replay>,
    max_frames: u32,
    pending: Option<u32>,
    speed: Speed,
    black_when_idle: bool,
    record_after: bool,
    looped: bool,
    start: End,
    stop: End,
    shown: Option<u64>,
}

impl Model {
    fn new() -> Self {
        Self {
            frames: VecDeque::new(),
            gone: 0,
            recording: false,
            replay: None,
            max_frames: CAPACITY,
            pending: None,
            speed: Speed::NORMAL,
            black_when_idle: false,
            record_after: false,
            looped: false,
            start: End::Full,
            stop: End::Full,
            shown: None,
        }
    }

    fn cut(&mut self, keep: u32) {
        while self.frames.len() > keep as usize {
            self.frames.pop_front();
            self.gone += 1;
        }
    }

    fn end_replay(&mut self) {
        self.replay = None;
        if let Some(keep) = self.pending.take() {
            self.cut(keep);
        }
    }

    fn fresh_recording(&mut self) {
        self.replay = None;
        self.pending = None;
        self.shown = None;
        self.cut(0);
        self.recording = true;
    }

    fn number(&self, end: End, full: u64) -> u64 {
        match end {
            End::Full => full,
            End::Number(n) => n,
            // `mark` counts all frames ever stored; those before the oldest rest at 1.
            End::Mark(mark) => mark.saturating_sub(self.gone) + 1,
        }
    }

    fn clamp(&self, number: u64) -> usize {
        number.clamp(1, self.frames.len().max(1) as u64) as usize - 1
    }

    fn play(&mut self) -> bool {
        let (start, stop) = (self.number(self.start, 1), self.number(self.stop, self.frames.len() as u64));
        let both = !matches!(self.start, End::Full) && !matches!(self.stop, End::Full);
        let (first, last) = (self.clamp(start), self.clamp(stop));
        if self.frames.is_empty() || first > last || both && start > stop {
            return false;
        }
        let frames = self.frames.iter().copied().collect();
        let (anchor, current, stop, speed) = (first, first, last, self.speed);
        self.recording = false;
        let (begun, paused) = (false, false);
        let next_first = first;
        self.replay = Some(Replay { frames, anchor, ticks: 0, current, first, next_first, stop, speed, begun, paused });
        true
    }

    fn ask(&mut self, request: Request) -> bool {
        match request {
            Request::Command(Command::StartRecording) => self.fresh_recording(),
            Request::Command(Command::ResumeRecording) => {
                self.end_replay();
                self.recording = true;
            }
            Request::Command(Command::StartPlayback) => return self.play(),
            Request::Command(Command::Stop) => {
                self.end_replay();
                self.recording = false;
            }
            Request::Command(Command::Reset) => {
                let (frames, gone) = (std::mem::take(&mut self.frames), self.gone);
                let shown = self.shown;
                *self = Self { frames, gone, shown, ..Self::new() };
            }
            Request::Command(command @ (Command::Pause | Command::Resume)) => match &mut self.replay {
                Some(replay) => replay.paused = command == Command::Pause,
                None => return false,
            },
            Request::Command(command @ (Command::MarkIn | Command::MarkOut)) => {
                let stored = self.gone + self.frames.len() as u64;
                let newest = if self.frames.is_empty() { None } else { Some(stored - 1) };
                let playing = self.replay.as_ref().map(|r| self.gone + r.current as u64);
                let Some(mark) = playing.or(newest) else { return false };
                if command == Command::MarkIn {
                    self.start = End::Mark(mark);
                    self.move_start();
                } else {
                    self.stop = End::Mark(mark);
                    self.move_stop();
                }
            }
            Request::Command(Command::ClearMarks) => {
                (self.start, self.stop) = (End::Full, End::Full);
                self.move_start();
                self.move_stop();
            }
            Request::Command(Command::Step(by)) => match &mut self.replay {
                Some(replay) => {
                    replay.paused = true;
                    if replay.first <= replay.stop {
                        let wanted = replay.current as i64 + i64::from(by);
                        replay.go_to(wanted.clamp(replay.first as i64, replay.stop as i64) as usize);
                    }
                }
                None => return false,
            },
            Request::Command(Command::Home) => match &mut self.replay {
                Some(replay) if replay.next_first <= replay.stop => {
                    replay.first = replay.next_first;
                    replay.go_to(replay.first);
                }
                _ => return false,
            },
            Request::Command(Command::End) => match &mut self.replay {
                Some(replay) if replay.first <= replay.stop => replay.go_to(replay.stop),
                _ => return false,
            },
            Request::Set(Setting::Loop(on)) => self.looped = on,
            Request::Set(Setting::MaxFramesInMemory(n)) => {
                if !(1..=i64::from(CAPACITY)).contains(&n) {
                    return false;
                }
                self.max_frames = n as u32;
                match self.replay {
                    Some(_) => self.pending = Some(n as u32),
                    None => self.cut(n as u32),
                }
            }
            Request::Set(Setting::PlaybackSpeed(speed)) => {
                self.speed = speed;
                if let Some(replay) = &mut self.replay {
                    replay.speed = speed;
                    replay.anchor = replay.current;
                    replay.ticks = 0;
                }
            }
            Request::Set(Setting::PlaybackStartFrame(n)) => {
                if n < 0 {
                    return false;
                }
                self.start = if n == 0 { End::Full } else { End::Number(n as u64) };
                self.move_start();
            }
            Request::Set(Setting::PlaybackStopFrame(n)) => {
                if n < 0 {
                    return false;
                }
                self.stop = if n == 0 { End::Full } else { End::Number(n as u64) };
                self.move_stop();
            }
            Request::Set(Setting::DefaultOutput(output)) => self.black_when_idle = output == DefaultOutput::None,
            Request::Set(Setting::StartRecordingAfterPlayback(on)) => self.record_after = on,
            other => unreachable!("{other:?} is not generated"),
        }
        true
    }

    /// A new start counts when the replay begins again.
    fn move_start(&mut self) {
        let first = self.clamp(self.number(self.start, 1));
        if let Some(replay) = &mut self.replay {
            replay.next_first = first;
        }
    }

    /// A new stop counts at once.
    fn move_stop(&mut self) {
        let last = self.clamp(self.number(self.stop, self.frames.len() as u64));
        if let Some(replay) = &mut self.replay {
            replay.stop = last;
        }
    }

    /// The stored frame that this tick of a replay shows, or nothing when it is over.
    fn replayed(&mut self) -> Option<u64> {
        let replay = self.replay.as_mut()?;
        if !replay.begun {
            replay.begun = true;
        } else if !replay.paused {
            replay.ticks += 1;
            let (n, d) = (i64::from(replay.speed.numerator()), i64::from(replay.speed.denominator()));
            let next = replay.anchor + (replay.ticks * n / d) as usize;
            let over = next > replay.stop && next != replay.current;
            if over && !(self.looped && replay.next_first <= replay.stop) {
                return None;
            }
            if over {
                replay.first = replay.next_first;
                replay.go_to(replay.first);
                replay.begun = true;
            } else {
                replay.current = next;
            }
        }
        let frame = replay.frames[replay.current];
        self.shown = Some(frame);
        Some(frame)
    }

    fn tick(&mut self, live: Option<(u64, bool)>) -> Shown {
        if self.replay.is_none() && live.is_none() {
            return Shown::Nothing;
        }
        if self.replay.is_some() {
            if let Some(frame) = self.replayed() {
                return Shown::Stored(frame);
            }
            if self.record_after { self.fresh_recording() } else { self.end_replay() }
        }
        let Some((sequence, fits)) = live else { return Shown::Nothing };
        if self.recording {
            if fits {
                self.cut(self.max_frames.saturating_sub(1));
                self.frames.push_back(sequence);
            }
            return Shown::Live(sequence);
        }
        if self.black_when_idle { Shown::Black } else { Shown::Live(sequence) }
    }

    fn state(&self) -> State {
        match &self.replay {
            Some(replay) if replay.paused => State::Paused,
            Some(_) => State::Playback,
            None if self.recording => State::Recording,
            None => State::Stopped,
        }
    }
}

impl Replay {
    /// The next tick shows this frame, and the speed counts from it.
    fn go_to(&mut self, frame: usize) {
        (self.anchor, self.ticks, self.current, self.begun) = (frame, 0, frame, false);
    }
}

struct Rig {
    operator: ReplayOperator,
    control: ReplayControl,
    sequence: u64,
}

impl Rig {
    fn new() -> Self {
        let limits = ReplayLimits {
            capacity: CAPACITY,
            picture: (4, 4),
            frame_bytes: Some(FRAME_BYTES),
            reserve: 0,
            ..Default::default()
        };
        let settings = ReplaySettings { max_frames_in_memory: CAPACITY, ..Default::default() };
        let mut operator = ReplayOperator::with_limits(settings, limits).unwrap();
        let control = operator.control();
        Self { operator, control, sequence: 0 }
    }

    fn live(&mut self, bytes: usize) -> Shown {
        let meta = FrameMeta {
            sequence: self.sequence,
            captured_at: Timestamp::from_ns(self.sequence as i64 * 1_000),
            ..FrameMeta::new()
        };
        let (results, jpeg) = (Results::new(), vec![self.sequence as u8; bytes]);
        let live = Frame {
            meta: &meta,
            results: &results,
            pixels: None,
            jpeg: Some(JpegPicture { width: 4, height: 4, bytes: &jpeg }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        self.sequence += 1;
        shown(Some(self.operator.process(live, meta.captured_at)))
    }
}

fn shown(output: Option<Output<'_>>) -> Shown {
    match output {
        None => Shown::Nothing,
        Some(Output::Live(frame)) => Shown::Live(frame.meta.sequence),
        Some(Output::Black(_)) => Shown::Black,
        Some(Output::Replayed { frame, .. }) => {
            let jpeg = frame.jpeg.unwrap().bytes;
            assert!(jpeg.iter().all(|&b| b == frame.meta.sequence as u8), "the frame's own bytes");
            Shown::Stored(frame.meta.sequence)
        }
    }
}

fn request() -> impl Strategy<Value = Request> {
    let command = prop::sample::select(vec![
        Command::StartRecording,
        Command::StartPlayback,
        Command::StartPlayback,
        Command::Stop,
        Command::Reset,
        Command::ResumeRecording,
        Command::ResumeRecording,
        Command::Pause,
        Command::Resume,
        Command::MarkIn,
        Command::MarkOut,
        Command::ClearMarks,
        Command::Step(1),
        Command::Step(-1),
        Command::Step(3),
        Command::Step(-10),
        Command::Home,
        Command::End,
    ]);
    let speed = prop::sample::select(vec![(1, 1), (1, 2), (1, 3), (2, 3), (0, 1), (3, 2), (4, 1)])
        .prop_map(|(n, d)| Setting::PlaybackSpeed(Speed::new(n, d).unwrap()));
    let setting = prop_oneof![
        (-1..=i64::from(CAPACITY) + 2).prop_map(Setting::MaxFramesInMemory),
        (-1..16_i64).prop_map(Setting::PlaybackStartFrame),
        (-1..16_i64).prop_map(Setting::PlaybackStopFrame),
        any::<bool>().prop_map(Setting::StartRecordingAfterPlayback),
        any::<bool>().prop_map(Setting::Loop),
        prop::sample::select(vec![DefaultOutput::PassThrough, DefaultOutput::None]).prop_map(Setting::DefaultOutput),
        speed,
    ];
    prop_oneof![command.prop_map(Request::Command), setting.prop_map(Request::Set)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..300_usize).prop_map(|bytes| Step::Live { bytes }),
        1 => Just(Step::Silence),
        3 => request().prop_map(Step::Ask),
    ]
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut rig, mut model) = (Rig::new(), Model::new());
    let mut stored = 0_u64;
    for step in steps {
        let before = rig.operator.status().stored;
        match step {
            Step::Live { bytes } => {
                let expected = model.tick(Some((rig.sequence, bytes <= FRAME_BYTES)));
                prop_assert_eq!(rig.live(bytes), expected);
            }
            Step::Silence => {
                let expected = model.tick(None);
                let at = Timestamp::from_ns(rig.sequence as i64 * 1_000);
                prop_assert_eq!(shown(rig.operator.tick(at)), expected);
            }
            Step::Ask(request) => {
                // Values out of range are refused at once; everything else waits for a tick, here one without a frame.
                let sent = rig.control.request(request);
                let accepted = model.ask(request);
                let expected = if sent.is_ok() { model.tick(None) } else { Shown::Nothing };
                if sent.is_ok() {
                    let at = Timestamp::from_ns(rig.sequence as i64 * 1_000);
                    prop_assert_eq!(shown(rig.operator.tick(at)), expected);
                    let answer = rig.control.answer().unwrap();
                    prop_assert_eq!(answer.outcome.is_ok(), accepted, "{:?}", answer);
                } else {
                    prop_assert!(!accepted);
                }
            }
        }
        let status = rig.operator.status();
        stored += status.stored - before;
        prop_assert_eq!(status.state, model.state());
        prop_assert_eq!(u64::from(status.number_of_frames_in_storage), model.frames.len() as u64);
        prop_assert!(model.frames.len() as u64 <= stored.min(u64::from(CAPACITY)));
        prop_assert!(status.frames_memory_bytes <= status.arena_bytes);
        let extent = rig.operator.window().extent();
        for (i, &sequence) in model.frames.iter().enumerate() {
            let meta = rig.operator.window().meta(extent.oldest + i as u64).unwrap();
            prop_assert_eq!(meta.sequence, sequence, "oldest out first");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_operator_agrees_with_the_model(steps in prop::collection::vec(step(), 100)) {
        run(steps)?;
    }
}
