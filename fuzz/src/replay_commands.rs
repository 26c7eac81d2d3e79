//! Random frames, silences, commands and settings against the Replay operator: whatever the input asks for, each request gets one
//! answer, the window holds what it should, and every frame that comes out is one that went in.
//!
//! The first two bytes choose settings and limits; then come operations, one byte each, the byte behind it being its argument.

use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat, Pixels};
use kinora::replay::control::{ReplayControl, Request};
use kinora::replay::machine::{Command, State};
use kinora::replay::operator::{Output, ReplayLimits, ReplayOperator};
use kinora::replay::settings::{DefaultOutput, ReplayPacing, ReplaySettings, Setting};
use kinora::results::Results;
use kinora::{Span, Speed, Timestamp, WallTime};

/// Operations of one input.
const OPERATIONS_MAX: usize = 200;
const CAPACITY: u32 = 12;
const FRAME_BYTES: usize = 256;
/// Side of the picture; a frame of pixels has the square of it.
const SIDE: u32 = 12;

struct Rig {
    operator: ReplayOperator,
    control: ReplayControl,
    results: Box<Results>,
    sequence: u64,
    now: Timestamp,
    /// Requests that were sent and not answered yet.
    waiting: u64,
    answered: u64,
}

/// # Panics
/// When something above does not hold.
pub fn check(input: &[u8]) {
    let [first, second, operations @ ..] = input else { return };
    let mut rig = Rig::new(*first, *second);
    for operation in operations.chunks_exact(2).take(OPERATIONS_MAX) {
        rig.apply(operation[0], operation[1]);
        rig.hold();
    }
}

impl Rig {
    fn new(first: u8, second: u8) -> Self {
        let flag = |bit: u8| first >> bit & 1 == 1;
        let settings = ReplaySettings {
            autostart_recording: flag(0),
            start_recording_after_playback: flag(1),
            enabled: !flag(2),
            pacing: if flag(3) { ReplayPacing::Recorded } else { ReplayPacing::Tick },
            default_output: if flag(4) { DefaultOutput::None } else { DefaultOutput::PassThrough },
            max_frames_in_memory: u32::from(second) % CAPACITY + 1,
            ..ReplaySettings::default()
        };
        let limits = ReplayLimits {
            capacity: CAPACITY,
            picture: (SIDE, SIDE),
            frame_bytes: Some(FRAME_BYTES),
            reserve: u32::from(second >> 6),
            span_max: flag(5).then_some(Span::from_ms(200)),
            bytes_max: flag(6).then_some(1_000),
            ..ReplayLimits::default()
        };
        let mut operator = ReplayOperator::with_limits(settings, limits).expect("settings in range");
        let control = operator.control();
        let (results, now) = (Box::default(), Timestamp::from_ns(0));
        Self { operator, control, results, sequence: 0, now, waiting: 0, answered: 0 }
    }

    fn apply(&mut self, operation: u8, argument: u8) {
        let value = i64::from(argument);
        match operation % 16 {
            0..=4 => self.live(usize::from(argument) * 2, false),
            5 => self.live(0, true),
            6 => self.silence(),
            7 => self.ask(Request::Command(command(argument))),
            8 => self.ask(Request::Set(Setting::JpegQuality(value - 20))),
            9 => self.ask(Request::Set(Setting::MaxFramesInMemory(value % 20 - 2))),
            10 => {
                let speed = Speed::new(i32::from(argument >> 4) - 8, u32::from(argument & 15));
                // No such speed: refused at once.
                self.waiting += u64::from(self.control.set_speed(speed).is_ok());
            }
            11 => self.ask(Request::Set(Setting::PlaybackStartFrame(i64::from(argument as i8)))),
            12 => self.ask(Request::Set(Setting::PlaybackStopFrame(i64::from(argument as i8)))),
            13 => self.ask(Request::Set(switch(argument))),
            14 => {
                let from = wall(Timestamp::from_ns(0) + Span::from_ms(value * 8));
                self.ask(Request::PlayBetween { from, to: from + Span::from_ms(100) });
            }
            // Time leaps, also backwards.
            _ => self.now = Timestamp::from_ns(self.now.as_ns() + (i64::from(argument as i8)) * 5_000_000),
        }
    }

    fn ask(&mut self, request: Request) {
        self.waiting += u64::from(self.control.request(request).is_ok());
    }

    fn live(&mut self, bytes: usize, has_pixels: bool) {
        self.now += Span::from_ms(33);
        let meta = FrameMeta {
            sequence: self.sequence,
            captured_at: self.now,
            captured_wall: wall(self.now),
            ..FrameMeta::new()
        };
        let content = vec![self.sequence as u8; bytes.max((SIDE * SIDE) as usize)];
        let jpeg = (!has_pixels).then_some(JpegPicture { width: SIDE, height: SIDE, bytes: &content[..bytes] });
        let info = PictureInfo::packed(PixelFormat::Grey, SIDE, SIDE);
        let pixels = has_pixels.then_some(Pixels { info, bytes: &content[..(SIDE * SIDE) as usize] });
        let frame = Frame {
            meta: &meta,
            results: &self.results,
            pixels,
            jpeg,
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        let too_big = self.operator.status().too_big;
        let out = self.operator.process(frame, self.now);
        check_output(&out, self.sequence, SIDE);
        let (is_black, is_replayed) = (matches!(out, Output::Black(_)), matches!(out, Output::Replayed { .. }));
        let status = self.operator.status();
        let may_be_black = status.state == State::Stopped && status.settings.default_output == DefaultOutput::None;
        assert_eq!(is_black, may_be_black && status.settings.enabled && !is_replayed, "{status:?}");
        assert_eq!(is_replayed, status.state.is_playing(), "{status:?}");
        if status.state == State::Recording {
            let extent = self.operator.window().extent();
            let newest = extent.oldest + u64::from(extent.len) - u64::from(extent.len > 0);
            let is_there = self.operator.window().meta(newest).is_some_and(|meta| meta.sequence == self.sequence);
            assert!(
                is_there || status.too_big == too_big + 1,
                "frame {} was neither stored nor counted",
                self.sequence
            );
        }
        self.sequence += 1;
    }

    fn silence(&mut self) {
        self.now += Span::from_ms(33);
        if let Some(out) = self.operator.tick(self.now) {
            assert!(matches!(out, Output::Replayed { .. }), "without a live frame only a replay has something to show");
            check_output(&out, self.sequence, SIDE);
        }
    }

    /// What holds after every operation.
    fn hold(&mut self) {
        while let Some(answer) = self.control.answer() {
            self.answered += 1;
            assert_eq!(answer.ticket.0, self.answered, "answers come in order, one each");
            if let Err(error) = answer.outcome {
                assert!(!error.to_string().is_empty());
            }
        }
        assert!(self.answered <= self.waiting, "{} answers to {} requests", self.answered, self.waiting);
        self.control.events().for_each(drop);
        let status = self.operator.status();
        assert_eq!(&self.control.status(), status, "published after every tick");
        let extent = self.operator.window().extent();
        assert_eq!(extent.len, status.number_of_frames_in_storage);
        assert!(extent.len <= CAPACITY && u64::from(extent.len) <= status.stored);
        assert!(extent.len <= status.settings.max_frames_in_memory || status.max_frames_pending, "{status:?}");
        assert!(status.frames_memory_bytes <= status.arena_bytes && (10..=100).contains(&status.settings.jpeg_quality));
        assert!(status.playback_start_frame >= 1 && status.events_lost == 0, "{status:?}");
        let held = extent.oldest..extent.oldest + u64::from(extent.len);
        let sequences: Vec<u64> = held.filter_map(|i| Some(self.operator.window().meta(i)?.sequence)).collect();
        assert_eq!(sequences.len(), extent.len as usize, "every frame that is held can be read");
        assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "oldest first: {sequences:?}");
    }
}

/// A frame that comes out is the live one, black, or an earlier one with its own bytes.
fn check_output(out: &Output<'_>, live: u64, side: u32) {
    match out {
        Output::Live(frame) => assert_eq!(frame.meta.sequence, live),
        Output::Black(frame) => {
            let pixels = frame.pixels.expect("a black picture");
            assert_eq!((pixels.info.width, pixels.info.height, frame.meta.sequence), (side, side, live));
            assert!(pixels.bytes.iter().all(|&byte| byte == 0) && frame.results.is_empty());
        }
        Output::Replayed { frame, captured_at, position } => {
            assert!(frame.meta.sequence < live && *captured_at == frame.meta.captured_at);
            assert!((1..=u64::from(CAPACITY)).contains(position), "position {position}");
            let bytes = frame.jpeg.map(|jpeg| jpeg.bytes).or(frame.pixels.map(|pixels| pixels.bytes));
            let bytes = bytes.expect("the picture that was stored");
            let is_own = bytes.iter().all(|&byte| byte == frame.meta.sequence as u8);
            assert!(is_own || cfg!(feature = "jpeg") && frame.jpeg.is_some(), "another frame's bytes");
        }
    }
}

fn wall(at: Timestamp) -> WallTime {
    WallTime::from_utc_ns(1_749_897_127_000_000_000 + at.as_ns())
}

fn command(argument: u8) -> Command {
    match argument % 13 {
        0 => Command::StartRecording,
        1 => Command::StartPlayback,
        2 => Command::Stop,
        3 => Command::Reset,
        4 => Command::ResumeRecording,
        5 => Command::Pause,
        6 => Command::Resume,
        7 => Command::MarkIn,
        8 => Command::MarkOut,
        9 => Command::ClearMarks,
        10 => Command::Home,
        11 => Command::End,
        _ => Command::Step(i32::from(argument) / 13 - 9),
    }
}

fn switch(argument: u8) -> Setting {
    let on = argument & 1 == 1;
    match argument >> 1 & 7 {
        0 => Setting::AutostartRecording(on),
        1 => Setting::StartRecordingAfterPlayback(on),
        2 => Setting::Loop(on),
        3 => Setting::Pacing(if on { ReplayPacing::Recorded } else { ReplayPacing::Tick }),
        4 | 5 => Setting::DefaultOutput(if on { DefaultOutput::None } else { DefaultOutput::PassThrough }),
        _ => Setting::Enabled(on),
    }
}
