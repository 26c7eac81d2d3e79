//! The members of the Replay operator's page, each with the test of its name.

use kinora::Speed;
use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat, Pixels};
use kinora::replay::control::{ReplayControl, ReplayEvent, Request, RequestError};
use kinora::replay::machine::{Command, Refused, State};
use kinora::replay::operator::{Output, ReplayLimits, ReplayOperator};
use kinora::replay::settings::{Bound, DefaultOutput, OutOfRange, ReplayPacing, ReplaySettings, Setting};
use kinora::replay::status::Status;
use kinora::replay::text;
use kinora::results::{ResultKind, Results};
use kinora::time::{Span, Timestamp, WallTime};

/// 2025-06-14T10:32:07.419283 UTC.
const FIRST_UTC_NS: i64 = 1_749_897_127_419_283_000;
const FRAME_TIME: Span = Span::from_ns(33_333_333);

/// A camera of 8 x 6 pixels whose JPEG bytes tell their frame, and the operator behind it.
struct Rig {
    operator: ReplayOperator,
    control: ReplayControl,
    next: u64,
}

/// What came out of one tick.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Live(u64),
    Black(u64),
    Replayed { sequence: u64, position: u64 },
}

impl Rig {
    fn new(settings: ReplaySettings) -> Self {
        Self::with_limits(settings, ReplayLimits { picture: (8, 6), frame_bytes: Some(2048), ..Default::default() })
    }

    fn with_limits(settings: ReplaySettings, limits: ReplayLimits) -> Self {
        let mut operator = ReplayOperator::with_limits(settings, limits).unwrap();
        let control = operator.control();
        Self { operator, control, next: 0 }
    }

    fn recorded(frames: u64) -> Self {
        let mut rig = Self::new(ReplaySettings { autostart_recording: true, ..Default::default() });
        rig.run(frames);
        rig.command(Command::Stop).unwrap();
        rig
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ns(1_000_000) + Span::from_ns(FRAME_TIME.as_ns() * self.next as i64)
    }

    fn tick(&mut self) -> Seen {
        self.tick_with_bytes(200)
    }

    fn tick_with_bytes(&mut self, bytes: usize) -> Seen {
        let (sequence, now) = (self.next, self.now());
        let meta = FrameMeta {
            sequence,
            captured_at: now,
            captured_wall: WallTime::from_utc_ns(FIRST_UTC_NS) + Span::from_ns(FRAME_TIME.as_ns() * sequence as i64),
            ..FrameMeta::new()
        };
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        results.push_detection([0.1, 0.2, 0.3, 0.4], 0.9, sequence as i32, None).unwrap();
        let jpeg = vec![sequence as u8; bytes];
        let live = Frame {
            meta: &meta,
            results: &results,
            pixels: None,
            jpeg: Some(JpegPicture { width: 8, height: 6, bytes: &jpeg }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        self.next += 1;

        match self.operator.process(live, now) {
            Output::Live(frame) => Seen::Live(frame.meta.sequence),
            Output::Black(frame) => {
                let pixels = frame.pixels.expect("a black picture");
                assert_eq!((pixels.info.width, pixels.info.height), (8, 6), "the live frame's geometry");
                assert!(pixels.bytes.iter().all(|&b| b == 0) && frame.results.is_empty());
                assert_eq!(frame.meta.captured_at, now);
                Seen::Black(frame.meta.sequence)
            }
            Output::Replayed { frame, captured_at, position } => {
                let sequence = frame.meta.sequence;
                assert_eq!(frame.results.class_id.as_slice(), [sequence as i32], "its own detections");
                assert_eq!(frame.jpeg.unwrap().bytes, vec![sequence as u8; 200], "the stored bytes");
                assert_eq!(captured_at, frame.meta.captured_at);
                assert!(captured_at < now, "the original capture time");
                Seen::Replayed { sequence, position }
            }
        }
    }

    fn run(&mut self, ticks: u64) -> Vec<Seen> {
        (0..ticks).map(|_| self.tick()).collect()
    }

    fn request(&mut self, request: Request) -> Result<State, RequestError> {
        let ticket = self.control.request(request)?;
        // Requests are carried out before the live frame of the next tick; this tick has none.
        let now = self.now();
        self.operator.tick(now);
        let answer = std::iter::from_fn(|| self.control.answer()).find(|answer| answer.ticket == ticket);
        answer.expect("every request is answered").outcome
    }

    /// As a user sends it: carried out at the next tick, whatever that is.
    fn send(&mut self, command: Command) {
        self.control.command(command).unwrap();
    }

    fn command(&mut self, command: Command) -> Result<State, RequestError> {
        self.request(Request::Command(command))
    }

    fn set(&mut self, setting: Setting) -> Result<State, RequestError> {
        self.request(Request::Set(setting))
    }

    fn status(&self) -> Status {
        let status = self.control.status();
        assert_eq!(&status, self.operator.status(), "published after every tick");
        status
    }

    fn positions(&mut self) -> Vec<u64> {
        self.send(Command::StartPlayback);
        let mut positions = Vec::new();
        while let Seen::Replayed { position, .. } = self.tick() {
            positions.push(position);
        }
        positions
    }
}

#[test]
fn autostart_recording() {
    assert!(!ReplaySettings::default().autostart_recording);
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, ..Default::default() });
    assert_eq!(rig.status().state, State::Recording);
    assert_eq!(rig.run(2), [Seen::Live(0), Seen::Live(1)]);
    assert_eq!(rig.status().number_of_frames_in_storage, 2);
    let mut idle = Rig::new(ReplaySettings::default());
    idle.run(2);
    assert_eq!((idle.status().state, idle.status().number_of_frames_in_storage), (State::Stopped, 0));
}

#[test]
fn start_recording_after_playback() {
    let mut rig = Rig::recorded(3);
    rig.set(Setting::StartRecordingAfterPlayback(true)).unwrap();
    rig.set(Setting::DefaultOutput(DefaultOutput::None)).unwrap();
    assert_eq!(rig.positions(), [1, 2, 3]);
    // The tick that ended the loop was live and is the first frame of a fresh recording.
    let status = rig.status();
    assert_eq!((status.state, status.number_of_frames_in_storage), (State::Recording, 1));
    assert_eq!(status.playback_current_frame, 0, "nothing was shown of the fresh recording");
}

#[test]
fn jpeg_quality() {
    assert_eq!(ReplaySettings::default().jpeg_quality, 80);
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, ..Default::default() });
    for (value, ok) in [(10, true), (100, true), (9, false), (101, false)] {
        let expected = OutOfRange { field: "JpegQuality", min: 10, max: 100, got: value };
        let outcome = rig.set(Setting::JpegQuality(value));
        assert_eq!(outcome.is_ok(), ok);
        assert!(ok || outcome == Err(RequestError::OutOfRange(expected)));
    }
    assert_eq!(rig.status().settings.jpeg_quality, 100, "the last good value stays");
    rig.tick();
    assert!(rig.status().jpeg_quality_unused, "the source is JPEG already");
}

#[test]
fn default_output() {
    let mut rig = Rig::new(ReplaySettings::default());
    assert_eq!(rig.tick(), Seen::Live(0));
    rig.set(Setting::DefaultOutput(DefaultOutput::None)).unwrap();
    assert_eq!(rig.tick(), Seen::Black(1));
    rig.send(Command::StartRecording);
    assert_eq!(rig.tick(), Seen::Live(2), "it counts only when stopped");
    assert_eq!(DefaultOutput::from_name("PassThrough"), Some(DefaultOutput::PassThrough));
    assert_eq!(DefaultOutput::from_name("none"), None);
}

#[test]
fn max_frames_in_memory() {
    assert_eq!(ReplaySettings::default().max_frames_in_memory, 100);
    let mut rig = Rig::recorded(150);
    assert_eq!(rig.status().number_of_frames_in_storage, 100, "exactly that many, always");
    rig.set(Setting::MaxFramesInMemory(30)).unwrap();
    assert_eq!(rig.status().number_of_frames_in_storage, 30);
    let range = OutOfRange { field: "MaxFramesInMemory", min: 1, max: 300, got: 301 };
    assert_eq!(rig.set(Setting::MaxFramesInMemory(301)), Err(RequestError::OutOfRange(range)));
    rig.send(Command::StartPlayback);
    rig.tick();
    rig.set(Setting::MaxFramesInMemory(10)).unwrap();
    assert_eq!((rig.status().number_of_frames_in_storage, rig.status().max_frames_pending), (30, true));
    rig.command(Command::Stop).unwrap();
    assert_eq!((rig.status().number_of_frames_in_storage, rig.status().max_frames_pending), (10, false));
}

#[test]
fn playback_speed() {
    let mut rig = Rig::recorded(3);
    assert_eq!(text::speed(rig.status().settings.playback_speed), "100%");
    for (name, expected) in [
        ("Every", vec![1, 2, 3]),
        ("50%", vec![1, 1, 2, 2, 3, 3]),
        ("33%", vec![1, 1, 1, 2, 2, 2, 3, 3, 3]),
        ("200%", vec![1, 3]),
        ("-100%", vec![3, 2, 1]),
    ] {
        rig.set(Setting::PlaybackSpeed(text::parse_speed(name).unwrap())).unwrap();
        assert_eq!(rig.positions(), expected, "{name}");
    }
    rig.control.set_speed(Speed::new(0, 1)).unwrap();
    rig.send(Command::StartPlayback);
    assert!(rig.run(1000).iter().all(|seen| matches!(seen, Seen::Replayed { position: 1, .. })), "frozen");
    assert!(rig.control.set_speed(Speed::new(1, 0)).is_err());
}

#[test]
fn playback_start_frame() {
    let mut rig = Rig::recorded(5);
    assert_eq!(rig.status().playback_start_frame, 1);
    rig.set(Setting::PlaybackStartFrame(4)).unwrap();
    assert_eq!((rig.status().playback_start_frame, rig.positions()), (4, vec![4, 5]));
    rig.set(Setting::PlaybackStartFrame(9)).unwrap();
    assert_eq!((rig.status().playback_start_frame, rig.positions()), (9, vec![5]), "clamped when it plays");
}

#[test]
fn playback_stop_frame() {
    let mut rig = Rig::recorded(5);
    assert_eq!(rig.status().playback_stop_frame, 5, "follows the buffer");
    rig.set(Setting::PlaybackStopFrame(2)).unwrap();
    assert_eq!((rig.status().playback_stop_frame, rig.positions()), (2, vec![1, 2]));
    rig.set(Setting::PlaybackStartFrame(3)).unwrap();
    let refused = Refused::StartAfterStop { start: 3, stop: 2 };
    assert_eq!(rig.command(Command::StartPlayback), Err(RequestError::Refused(refused)));
    rig.set(Setting::PlaybackStopFrame(0)).unwrap();
    assert_eq!(rig.status().playback_stop_frame, 5, "0 is the full range again");
}

#[test]
fn playback_current_frame() {
    let mut rig = Rig::recorded(3);
    assert_eq!(rig.status().playback_current_frame, 0);
    rig.send(Command::StartPlayback);
    for position in 1..=3 {
        rig.tick();
        assert_eq!(rig.status().playback_current_frame, position);
    }
    rig.run(5);
    assert_eq!(rig.status().playback_current_frame, 3, "kept after the end");
    rig.send(Command::StartRecording);
    rig.tick();
    assert_eq!(rig.status().playback_current_frame, 0, "0 after a clear");
}

#[test]
fn playback_start_frame_time_string() {
    let mut rig = Rig::recorded(3);
    let wall = |frame: i64| WallTime::from_utc_ns(FIRST_UTC_NS) + Span::from_ns(FRAME_TIME.as_ns() * frame);
    assert_eq!(rig.status().playback_start_frame_time, Some(wall(0)));
    rig.set(Setting::PlaybackStartFrame(2)).unwrap();
    assert_eq!(rig.status().playback_start_frame_time, Some(wall(1)));
    assert_eq!(Rig::new(ReplaySettings::default()).status().playback_start_frame_time, None);
}

#[test]
fn playback_current_frame_time_from_buffer_start() {
    let mut rig = Rig::recorded(3);
    assert_eq!(rig.status().playback_current_frame_time_from_buffer_start, None);
    rig.send(Command::StartPlayback);
    rig.run(3);
    let span = rig.status().playback_current_frame_time_from_buffer_start.unwrap();
    assert_eq!((span, text::time_span(span).as_str()), (Span::from_ns(66_666_666), "00:00:00.0666666"));
}

#[test]
fn playback_current_frame_time() {
    let mut rig = Rig::recorded(3);
    rig.send(Command::StartPlayback);
    rig.run(2);
    let wall = WallTime::from_utc_ns(FIRST_UTC_NS) + FRAME_TIME;
    assert_eq!(rig.status().playback_current_frame_time, Some(wall));
}

#[test]
fn playback_state() {
    let mut rig = Rig::new(ReplaySettings::default());
    assert_eq!(rig.status().state.name(), "Stopped");
    rig.send(Command::StartRecording);
    rig.run(2);
    assert_eq!(rig.status().state.name(), "Recording");
    rig.send(Command::StartPlayback);
    rig.tick();
    assert_eq!(rig.status().state.name(), "Playback");
    rig.send(Command::Pause);
    rig.tick();
    assert_eq!((rig.status().state, rig.status().state.name()), (State::Paused, "Playback"));
    let changes: Vec<_> = rig
        .control
        .events()
        .filter_map(|event| match event {
            ReplayEvent::StateChanged { from, to, .. } => Some((from, to)),
            _ => None,
        })
        .collect();
    let (stopped, recording) = (State::Stopped, State::Recording);
    let (playback, paused) = (State::Playback, State::Paused);
    assert_eq!(changes, [(stopped, recording), (recording, playback), (playback, paused)]);
}

#[test]
fn command_start_recording() {
    let mut rig = Rig::recorded(5);
    rig.control.start_recording().unwrap();
    assert_eq!(rig.tick(), Seen::Live(5));
    assert_eq!((rig.status().state, rig.status().number_of_frames_in_storage), (State::Recording, 1), "cleared");
}

#[test]
fn command_start_playback() {
    let mut rig = Rig::new(ReplaySettings::default());
    assert_eq!(rig.command(Command::StartPlayback), Err(RequestError::Refused(Refused::BufferEmpty)));
    let mut rig = Rig::recorded(300);
    rig.control.start_playback().unwrap();
    assert_eq!(rig.tick(), Seen::Replayed { sequence: 200, position: 1 }, "from the very next tick");
    rig.run(99);
    assert_eq!(rig.tick(), Seen::Live(400));
    assert!(rig.control.events().any(|event| matches!(event, ReplayEvent::PlaybackEnded { .. })));
}

#[test]
fn command_stop() {
    for before in [Command::Stop, Command::ResumeRecording, Command::StartPlayback] {
        let mut rig = Rig::recorded(4);
        rig.command(before).unwrap();
        rig.control.stop().unwrap();
        assert!(matches!(rig.tick(), Seen::Live(_)));
        assert_eq!((rig.status().state, rig.status().number_of_frames_in_storage), (State::Stopped, 4));
    }
}

#[test]
fn reset_cmd() {
    let mut rig =
        Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 250, ..Default::default() });
    rig.run(250);
    rig.set(Setting::JpegQuality(50)).unwrap();
    rig.set(Setting::PlaybackStartFrame(7)).unwrap();
    rig.control.reset().unwrap();
    rig.tick();
    let status = rig.status();
    assert_eq!((status.state, status.number_of_frames_in_storage), (State::Stopped, 100));
    assert_eq!(status.settings, ReplaySettings::default());
    assert_eq!((status.playback_start_frame, status.playback_stop_frame), (1, 100), "the full range");
}

#[test]
fn number_of_frames_in_storage() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 7, ..Default::default() });
    for tick in 1..=20 {
        rig.tick();
        assert_eq!(rig.status().number_of_frames_in_storage, tick.min(7));
    }
}

#[test]
fn frame_buffer_full() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 3, ..Default::default() });
    for tick in 1..=6 {
        rig.tick();
        assert_eq!(rig.status().frame_buffer_full, tick >= 3);
    }
    let full = rig.control.events().filter(|event| matches!(event, ReplayEvent::BufferFull { .. })).count();
    assert_eq!(full, 1, "told once");
    let span_max = Some(Span::from_ms(100));
    let limits = ReplayLimits { span_max, picture: (8, 6), frame_bytes: Some(2048), ..Default::default() };
    let mut rig = Rig::with_limits(ReplaySettings { autostart_recording: true, ..Default::default() }, limits);
    rig.run(50);
    let status = rig.status();
    assert!(status.frame_buffer_full && status.frame_store_duration <= Span::from_ms(100));
    assert_eq!(status.number_of_frames_in_storage, 4, "three intervals of 33.3 ms fit into 100 ms");
    let limits = ReplayLimits { bytes_max: Some(1500), picture: (8, 6), frame_bytes: Some(2048), ..Default::default() };
    let mut rig = Rig::with_limits(ReplaySettings { autostart_recording: true, ..Default::default() }, limits);
    rig.tick();
    let bytes_each = rig.status().frames_memory_bytes;
    assert!(!rig.status().frame_buffer_full, "one of {bytes_each} bytes");
    rig.run(50);
    let status = rig.status();
    assert_eq!(u64::from(status.number_of_frames_in_storage), 1500 / bytes_each);
    assert!(status.frame_buffer_full && status.frames_memory_bytes <= 1500);
    rig.tick_with_bytes(1600);
    assert_eq!(rig.status().number_of_frames_in_storage, 1, "the newest stays, whatever it takes");
}

#[test]
fn frame_store_duration_string() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, ..Default::default() });
    assert_eq!(text::seconds(rig.status().frame_store_duration), "0.000");
    rig.tick();
    assert_eq!(text::seconds(rig.status().frame_store_duration), "0.000", "one frame spans nothing");
    rig.run(30);
    assert_eq!(text::seconds(rig.status().frame_store_duration), "0.999");
}

#[test]
fn frame_store_start_time() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 2, ..Default::default() });
    assert_eq!(rig.status().frame_store_start_time, None);
    rig.run(5);
    let wall = WallTime::from_utc_ns(FIRST_UTC_NS) + Span::from_ns(FRAME_TIME.as_ns() * 3);
    assert_eq!(rig.status().frame_store_start_time, Some(wall));
}

#[test]
fn frame_store_stop_time() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 2, ..Default::default() });
    assert_eq!(rig.status().frame_store_stop_time, None);
    rig.run(5);
    let wall = WallTime::from_utc_ns(FIRST_UTC_NS) + Span::from_ns(FRAME_TIME.as_ns() * 4);
    assert_eq!(rig.status().frame_store_stop_time, Some(wall));
}

#[test]
fn frames_memory_usage() {
    let limits = ReplayLimits { picture: (8, 6), frame_bytes: Some(700_000), ..Default::default() };
    let mut rig = Rig::with_limits(ReplaySettings { autostart_recording: true, ..Default::default() }, limits);
    for _ in 0..5 {
        rig.tick_with_bytes(600_000);
    }
    let status = rig.status();
    assert!((3_000_000..3_010_000).contains(&status.frames_memory_bytes), "{}", status.frames_memory_bytes);
    assert_eq!(status.frames_memory_usage_mb(), 3, "2.86 MB of 2^20, rounded");
    assert!(status.arena_bytes >= 300 * 700_000);
}

#[test]
fn a_frame_too_big_for_the_promise_is_counted_told_and_evicts_nothing() {
    let mut rig = Rig::recorded(3);
    rig.command(Command::ResumeRecording).unwrap();
    assert_eq!(rig.tick_with_bytes(5000), Seen::Live(3), "the live picture passes all the same");
    let status = rig.status();
    assert_eq!((status.too_big, status.number_of_frames_in_storage), (1, 3));
    assert!(status.too_big_last.is_some_and(|(_, bytes)| bytes >= 5000));
    assert!(rig.control.events().any(|event| matches!(event, ReplayEvent::Dropped { sequence: 3, .. })));
}

#[test]
fn a_wall_clock_window_is_played_and_refused_while_playing() {
    let mut rig = Rig::recorded(10);
    let wall = |frame: i64| WallTime::from_utc_ns(FIRST_UTC_NS) + Span::from_ns(FRAME_TIME.as_ns() * frame);
    let (from, to) = (wall(3), wall(5));
    assert_eq!(rig.control.request(Request::PlayBetween { from, to }).map(|_| ()), Ok(()));
    let seen = rig.run(4);
    let positions: Vec<_> = seen.iter().map(|s| matches!(s, Seen::Replayed { position: 4..=6, .. })).collect();
    assert_eq!(positions, [true, true, true, false]);
    rig.send(Command::StartPlayback);
    rig.tick();
    let answers: Vec<_> = std::iter::from_fn(|| rig.control.answer()).collect();
    assert_eq!(answers.len(), 2);
    let playing = rig.request(Request::PlayBetween { from, to });
    assert_eq!(playing, Err(RequestError::AlreadyPlaying));
    rig.command(Command::Stop).unwrap();
    let nothing = rig.request(Request::PlayBetween { from: wall(100), to: wall(200) });
    assert_eq!(nothing, Err(RequestError::NothingBetween));
}

#[test]
fn requests_are_never_lost_silently() {
    let rig = Rig::new(ReplaySettings::default());
    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(rig.control.stop() == Err(RequestError::TooManyWaiting));
    }
    assert_eq!(refused, 36, "64 wait, the others are told");
    let mut operator = rig.operator;
    let mut answered = 0;
    for _ in 0..10 {
        operator.tick(Timestamp::from_ns(0));
        answered += std::iter::from_fn(|| rig.control.answer()).count();
    }
    assert_eq!(answered, 64);
}

#[test]
fn a_replay_goes_on_when_no_live_frame_comes() {
    let mut rig = Rig::recorded(3);
    rig.send(Command::StartPlayback);
    let mut positions = Vec::new();
    for _ in 0..5 {
        let now = rig.now();
        if let Some(Output::Replayed { position, .. }) = rig.operator.tick(now) {
            positions.push(position);
        }
    }
    assert_eq!(positions, [1, 2, 3]);
}

#[test]
fn recorded_intervals_are_kept_whatever_the_ticks_are() {
    let mut rig = Rig::recorded(6);
    rig.set(Setting::Pacing(ReplayPacing::Recorded)).unwrap();
    rig.set(Setting::PlaybackSpeed(Speed::new(1, 2).unwrap())).unwrap();
    rig.send(Command::StartPlayback);
    // Ticks every 10 ms: frame k is due k * 66.67 ms after the start, and stands until the next one is.
    let start = rig.now();
    let mut first_seen = Vec::new();
    for tick in 0..60 {
        let now = start + Span::from_ms(10 * tick);
        if let Some(Output::Replayed { position, .. }) = rig.operator.tick(now) {
            if first_seen.last().is_none_or(|&(seen, _)| seen != position) {
                first_seen.push((position, 10 * tick));
            }
        }
    }
    assert_eq!(first_seen, [(1, 0), (2, 70), (3, 140), (4, 200), (5, 270), (6, 340)]);
    assert_eq!(rig.status().state, State::Stopped, "the last frame had its time");
    rig.send(Command::StartPlayback);
    let start = start + Span::from_s(9);
    rig.operator.tick(start);
    assert_eq!(rig.operator.next_due(), Some(start + Span::from_ns(2 * FRAME_TIME.as_ns())));
    rig.send(Command::Pause);
    rig.operator.tick(start + Span::from_ms(50));
    rig.operator.tick(start + Span::from_s(5));
    assert_eq!((rig.status().playback_current_frame, rig.operator.next_due()), (1, None));
    rig.send(Command::Resume);
    rig.operator.tick(start + Span::from_s(6));
    assert_eq!(rig.operator.next_due(), Some(start + Span::from_s(6) + Span::from_ns(16_666_666)));
}

#[test]
fn a_disabled_operator_lets_frames_pass_untouched() {
    let mut rig =
        Rig::new(ReplaySettings { enabled: false, default_output: DefaultOutput::None, ..Default::default() });
    assert_eq!(rig.tick(), Seen::Live(0));
    assert_eq!(rig.command(Command::StartRecording), Err(RequestError::Refused(Refused::Disabled)));
    rig.set(Setting::Enabled(true)).unwrap();
    assert_eq!(rig.tick(), Seen::Black(1));
}

#[test]
fn a_disabled_operator_ignores_autostart() {
    let mut rig = Rig::new(ReplaySettings { enabled: false, autostart_recording: true, ..Default::default() });
    assert_eq!(rig.run(2), [Seen::Live(0), Seen::Live(1)]);
    assert_eq!((rig.status().state, rig.status().number_of_frames_in_storage), (State::Stopped, 0));
}

#[test]
fn a_name_is_known_to_the_operator_and_its_controls() {
    let mut operator = ReplayOperator::new(ReplaySettings::default()).unwrap().named("goal camera");
    let control = operator.control();
    assert_eq!((operator.name(), control.name()), ("goal camera", "goal camera"));
    assert_eq!(ReplayOperator::new(ReplaySettings::default()).unwrap().name(), "");
}

#[test]
fn the_time_in_the_stage_reads_as_last_and_longest() {
    let mut rig = Rig::new(ReplaySettings::default());
    for us in [40, 70, 50] {
        rig.tick();
        rig.operator.note_stage_time(Span::from_us(us));
    }
    let status = rig.status();
    assert_eq!((status.stage_time_last, status.stage_time_max), (Span::from_us(50), Span::from_us(70)));
}

#[test]
fn audio_metering_is_silent_without_channels() {
    let audio = Rig::recorded(3).status().audio();
    assert_eq!((audio.channels, audio.is_silent), (0, true));
}

#[test]
fn marks_read_as_positions() {
    let mut rig = Rig::new(ReplaySettings { autostart_recording: true, max_frames_in_memory: 5, ..Default::default() });
    rig.run(3);
    rig.command(Command::MarkIn).unwrap();
    rig.run(4);
    let status = rig.status();
    assert_eq!(status.settings.playback_start_frame, Bound::Frame(2));
    assert_eq!(status.playback_start_frame, 1, "frame 2 is the oldest of 2..=6");
}

#[cfg(feature = "jpeg")]
mod pixels {
    use super::*;

    fn noise(side: u32) -> (PictureInfo, Vec<u8>) {
        let info = PictureInfo::packed(PixelFormat::Bgr888, side, side);
        let mut state = 1_u32;
        let bytes = (0..info.bytes().unwrap()).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        (info, bytes.collect())
    }

    fn process(operator: &mut ReplayOperator, info: PictureInfo, bytes: &[u8]) {
        let (meta, results) = (FrameMeta::new(), Results::new());
        let pixels = Some(Pixels { info, bytes });
        let frame = Frame {
            meta: &meta,
            results: &results,
            pixels,
            jpeg: None,
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        let _ = operator.process(frame, Timestamp::from_ns(0));
    }

    #[test]
    fn a_picture_above_the_promise_is_compressed_once_more_at_a_lower_quality() {
        let (info, bytes) = noise(64);
        let settings = ReplaySettings { autostart_recording: true, jpeg_quality: 100, ..Default::default() };
        let limits = ReplayLimits { picture: (64, 64), frame_bytes: Some(4000), ..Default::default() };
        let mut operator = ReplayOperator::with_limits(settings.clone(), limits).unwrap();
        process(&mut operator, info, &bytes);
        let status = operator.status();
        assert_eq!((status.stored, status.requantised, status.too_big), (1, 1, 0));
        assert!(!status.jpeg_quality_unused);

        let tiny = ReplayLimits { frame_bytes: Some(500), ..limits };
        let mut operator = ReplayOperator::with_limits(settings, tiny).unwrap();
        process(&mut operator, info, &bytes);
        assert_eq!((operator.status().stored, operator.status().too_big), (0, 1));
    }

    #[test]
    fn a_new_quality_counts_for_the_next_stored_frame() {
        let (info, bytes) = noise(64);
        let settings = ReplaySettings { autostart_recording: true, jpeg_quality: 90, ..Default::default() };
        let limits = ReplayLimits { picture: (64, 64), frame_bytes: Some(20_000), ..Default::default() };
        let mut operator = ReplayOperator::with_limits(settings, limits).unwrap();
        let control = operator.control();
        process(&mut operator, info, &bytes);
        let first = operator.status().frames_memory_bytes;
        control.set(Setting::JpegQuality(20)).unwrap();
        process(&mut operator, info, &bytes);
        let second = operator.status().frames_memory_bytes - first;
        assert!(second * 2 < first, "{first} bytes at 90, {second} at 20");
        assert_eq!(operator.status().requantised, 0);
    }
}
