//! One history: sessions one after the other on one disk, with everything that goes wrong and everything that people do meanwhile.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kinora::frame::Frame;
use kinora::jpeg_header::JpegOptions;
use kinora::prelude::*;
use kinora::recorder::Format;
use kinora::recording::SyncPolicy;
use kinora::replay::operator::ReplayLimits;
use kinora::watchdog::WatchdogSettings;
use kinora::{
    Capture, Clock, ClockPair, ManualClock, Output, PictureFormat, Policy, ReplayControl, ReplayOperator,
    ReplaySettings, ReplayStream, Session, SessionStatus, Settings, Span, Tap, Timestamp, WallTime,
};

use super::camera::{Camera, FRAME_TIME, HangingCamera, Sent, Told};
use super::chance::Chance;
use super::disk::{Disk, Shelf};
use super::judge::{self, Trace};

/// Looks at one session; a stalled camera takes many.
const STEPS_MAX: u64 = 3_000;

/// What happened in all histories, for the line at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub sessions: u64,
    pub not_begun: u64,
    pub steps: u64,
    pub captured: u64,
    pub kept: u64,
    pub lost: u64,
    pub files: u64,
    pub syncs_failed: u64,
    pub ended_early: u64,
    pub power_cuts: u64,
    pub replayed: u64,
    /// Cameras that hung, or did not start again, and sessions that gave theirs up.
    pub stops: u64,
    pub given_up: u64,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.not_begun += other.not_begun;
        self.steps += other.steps;
        self.captured += other.captured;
        self.kept += other.kept;
        self.lost += other.lost;
        self.files += other.files;
        self.syncs_failed += other.syncs_failed;
        self.ended_early += other.ended_early;
        self.power_cuts += other.power_cuts;
        self.replayed += other.replayed;
        self.stops += other.stops;
        self.given_up += other.given_up;
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sessions,
            not_begun,
            steps,
            captured,
            kept,
            lost,
            files,
            syncs_failed,
            ended_early,
            power_cuts,
            replayed,
            stops,
            given_up,
        } = self;
        write!(
            f,
            "{sessions} sessions ({not_begun} could not begin, {ended_early} ended early), {steps} steps, {captured} frames captured, \
             {kept} kept, {lost} lost, {files} files, {syncs_failed} failed disks, {power_cuts} power cuts, {replayed} frames replayed, \
             silent cameras stopped {stops} times and given up {given_up} times"
        )
    }
}

/// A loop of the caller's that is as slow as chance has it.
struct Reader {
    frames: Frames,
    /// Frames that the engine had captured when it came.
    from: u64,
    /// Frames that may wait for it.
    waiting_max: u64,
    /// Where the newest frame that it saw stands among those sent.
    at: usize,
    /// Looks once in so many steps.
    slowness: u64,
}

enum Frames {
    Tap(Tap),
    Replay(Box<ReplayStream>, ReplayControl),
}

/// Lives the history of `seed` and returns what it did; its trace is the same every time.
///
/// # Panics
/// When an invariant does not hold.
pub fn live(seed: u64, directory: &Path) -> (u64, Sums) {
    live_with(seed, directory, false)
}

/// The same with cameras that hang for ever, which the watchdog has to start again.
///
/// # Panics
/// As [`live`].
pub fn live_hanging(seed: u64, directory: &Path) -> (u64, Sums) {
    live_with(seed, directory, true)
}

fn live_with(seed: u64, directory: &Path, hangs: bool) -> (u64, Sums) {
    let mut chance = Chance::new(seed);
    // One in eight clocks stands before 1970.
    let wall = if chance.once_in(8) { -86_400_000_000_000 } else { 1_790_000_000_000_000_000 };
    let start = ClockPair { monotonic: Timestamp::from_ns(1_000_000_000), wall: WallTime::from_utc_ns(wall) };
    let clock = Arc::new(ManualClock::new(start));
    let shelf = Arc::new(Mutex::new(Shelf::default()));
    let disk = Arc::new(Disk::new(Arc::clone(&clock), chance.fork(), Arc::clone(&shelf)));
    let (mut trace, mut sums) = (Trace::default(), Sums::default());
    for _ in 0..1 + chance.below(3) {
        let life = Life { clock: &clock, shelf: &shelf, disk: &disk, directory, hangs };
        life.session(&mut chance.fork(), &mut trace, &mut sums);
        // The camera is plugged in again, the program started again.
        clock.advance(Span::from_ms(chance.between(10, 20_000)));
    }
    let shelf = shelf.lock().unwrap();
    (sums.files, sums.syncs_failed) = (shelf.files.len() as u64, shelf.syncs_failed);
    for file in &shelf.files {
        trace.bytes(file.store.live());
    }
    (trace.value(), sums)
}

struct Life<'a> {
    clock: &'a Arc<ManualClock>,
    shelf: &'a Arc<Mutex<Shelf>>,
    disk: &'a Arc<Disk>,
    directory: &'a Path,
    hangs: bool,
}

impl Life<'_> {
    fn session(&self, chance: &mut Chance, trace: &mut Trace, sums: &mut Sums) {
        let told = Arc::new(Mutex::new(Told::default()));
        let camera = Camera::new(Arc::clone(self.clock), chance.fork(), Arc::clone(&told));
        let first_file = self.shelf.lock().unwrap().files.len();
        sums.sessions += 1;
        let jpeg = chance.once_in(6);
        let failures_max = if self.hangs { 2 + chance.below(4) as u32 } else { 0 };
        let Some(mut session) = self.begin(camera, jpeg, failures_max, chance) else {
            sums.not_begun += 1;
            return trace.word(u64::MAX);
        };
        let mut kept: Vec<Sent> = Vec::new();
        let mut bookmarks = 0;
        let mut readers: Vec<Reader> = Vec::new();
        let mut before = SessionStatus::default();
        for _ in 0..STEPS_MAX {
            let look = chance.once_in(24);
            self.shelf.lock().unwrap().wanted = look;
            told.lock().unwrap().allowed = 1;
            let over = session.wait_within(Span::ZERO);
            let status = session.status();
            {
                let told = told.lock().unwrap();
                judge::account(&status, &before, &told);
                if status.kept > before.kept {
                    kept.push(told.sent[told.sent.len() - 1]);
                }
                for reader in &mut readers {
                    reader.look(&told, &status, chance, sums);
                }
                if look {
                    let mut shelf = self.shelf.lock().unwrap();
                    shelf.wanted = false;
                    if let Some(image) = shelf.image.take() {
                        sums.power_cuts += judge::image(&image, &told.sent, chance);
                    }
                }
            }
            trace.status(&status, self.clock.now());
            sums.steps += 1;
            before = status;
            self.act(&mut session, &mut readers, &mut bookmarks, status.captured, chance);
            if over || chance.once_in(400) {
                break;
            }
        }
        told.lock().unwrap().settle(self.clock.now());
        let report = session.stop().expect("no thread of the engine panicked");
        let told = told.lock().unwrap();
        judge::account(&report.status, &before, &told);
        judge::end(report.source_error.as_ref(), &told, failures_max);
        let shelf = self.shelf.lock().unwrap();
        let files = &shelf.files[first_file..];
        judge::files(files, &told.sent, &kept, &report, bookmarks);
        for file in files {
            sums.power_cuts += judge::image(file, &told.sent, chance);
        }
        for reader in &mut readers {
            assert!(reader.drain(&told), "a reader does not notice the end");
        }
        sums.captured += report.status.captured;
        sums.kept += report.status.kept;
        sums.lost += report.status.lost();
        sums.ended_early += u64::from(report.status.sink_failed);
        sums.stops += told.stops;
        sums.given_up += u64::from(report.source_error.is_some() && !told.gone);
    }

    fn begin(&self, camera: Camera, jpeg: bool, failures_max: u32, chance: &mut Chance) -> Option<Session> {
        let sync = match chance.below(4) {
            0 => SyncPolicy::EveryFrame,
            1 => SyncPolicy::Never,
            _ => SyncPolicy::Every(Span::from_ms(chance.between(40, 2_000))),
        };
        let format = if jpeg { PictureFormat::Jpeg(JpegOptions::default()) } else { PictureFormat::Raw };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(self.clock);
        let mut recorder = Recorder::builder()
            .directory(self.directory)
            .format(Format::AsItComes)
            .sync(sync)
            .split_size(1 << 20)
            .clock(Arc::clone(&clock))
            .pages(Arc::<Disk>::clone(self.disk));
        if chance.once_in(3) {
            recorder = recorder.split_time(Span::from_ms(chance.between(100, 4_000)));
        }
        let recorder = recorder.create().expect("the directory is there");
        let mut settings = Settings { format, ..Settings::tiny() };
        let capture = if self.hangs {
            settings.watchdog =
                WatchdogSettings { start_timeout: Span::from_ms(chance.between(500, 5_000)), failures_max };
            Capture::new(HangingCamera::new(camera))
        } else {
            Capture::new(camera)
        };
        Session::builder().source(capture.clock(clock)).settings(settings).recorder(recorder).start().ok()
    }

    /// What people and the machine do between two frames.
    fn act(
        &self,
        session: &mut Session,
        readers: &mut Vec<Reader>,
        bookmarks: &mut u64,
        captured: u64,
        chance: &mut Chance,
    ) {
        match chance.below(60) {
            0 | 1 => *bookmarks += u64::from(session.bookmark("a moment").is_ok()),
            2 => {
                let step = chance.between(-40_000_000_000_000_000, 40_000_000_000_000_000);
                self.clock.step_wall(Span::from_ns(step >> chance.below(50)));
            }
            3 => self.clock.advance(Span::from_ms(chance.between(0, 3_600_000) >> chance.below(20))),
            4..=6 if readers.len() < 6 => {
                let policy = if chance.once_in(2) { Policy::Every } else { Policy::Latest };
                let waiting_max = if policy == Policy::Every { 6 } else { 1 };
                let mut tap = session.frames(policy);
                // One too many says so; from any other nothing comes before the session's next step.
                if tap.next_within(Span::ZERO).is_err() {
                    return;
                }
                let frames = if chance.once_in(3) { replay(tap, chance) } else { Frames::Tap(tap) };
                let slowness = if chance.once_in(4) { u64::MAX } else { 1 + chance.below(12) };
                readers.push(Reader { frames, from: captured, waiting_max, at: 0, slowness });
            }
            7 if !readers.is_empty() => {
                readers.swap_remove(chance.below(readers.len() as u64) as usize);
            }
            8..=16 => readers.iter().for_each(|reader| reader.command(chance)),
            _ => {}
        }
    }
}

fn replay(tap: Tap, chance: &mut Chance) -> Frames {
    let settings = ReplaySettings {
        autostart_recording: chance.once_in(2),
        max_frames_in_memory: 1 + chance.below(20) as u32,
        ..ReplaySettings::default()
    };
    let limits =
        ReplayLimits { capacity: 20, picture: (48, 16), reserve: 4, frame_time: FRAME_TIME, ..Default::default() };
    let operator = ReplayOperator::with_limits(settings, limits).expect("settings in range");
    let mut stream = ReplayStream::new(tap, operator);
    let control = stream.control();
    Frames::Replay(Box::new(stream), control)
}

impl Reader {
    /// Takes what it can, when it is its turn.
    fn look(&mut self, told: &Told, status: &SessionStatus, chance: &mut Chance, sums: &mut Sums) {
        let offered = status.captured - self.from;
        let stats = match &self.frames {
            Frames::Tap(tap) => tap.stats(),
            Frames::Replay(stream, _) => stream.stats(),
        };
        let waiting = offered - stats.frames - stats.skipped;
        assert!(waiting <= self.waiting_max, "{waiting} frames wait for a reader of {}", self.waiting_max);
        if !chance.once_in(self.slowness) {
            return;
        }
        match &mut self.frames {
            Frames::Tap(tap) => {
                while let Some(frame) = tap.next_within(Span::ZERO).expect("taps have no errors") {
                    self.at = seen(&frame, &told.sent, self.at);
                }
            }
            Frames::Replay(stream, _) => {
                for _ in 0..8 {
                    match stream.next_within(Span::ZERO).expect("taps have no errors") {
                        Some(Output::Live(frame)) => self.at = seen(&frame, &told.sent, self.at),
                        Some(Output::Replayed { frame, .. }) => {
                            seen(&frame, &told.sent, 0);
                            sums.replayed += 1;
                        }
                        Some(Output::Black(frame)) => assert!(frame.results.is_empty(), "results in a black frame"),
                        None => break,
                    }
                }
                let status = stream.operator().status();
                assert!(status.frames_memory_bytes <= status.arena_bytes, "the window outgrew its arena");
                assert!(status.number_of_frames_in_storage <= status.capacity, "the window outgrew its capacity");
            }
        }
    }

    fn command(&self, chance: &mut Chance) {
        let Frames::Replay(_, control) = &self.frames else { return };
        // Refusals are answers.
        let _ = match chance.below(6) {
            0 => control.start_recording(),
            1 | 2 => control.start_playback(),
            3 => control.stop(),
            4 => control.reset(),
            _ => control.set_speed(kinora::Speed::new(chance.between(-4, 4) as i32, 1 + chance.below(4) as u32)),
        };
    }

    /// Reads on after the end until there is nothing more; true when the end was told.
    fn drain(&mut self, told: &Told) -> bool {
        match &mut self.frames {
            Frames::Tap(tap) => {
                while let Some(frame) = tap.next_within(Span::ZERO).expect("taps have no errors") {
                    self.at = seen(&frame, &told.sent, self.at);
                }
                tap.is_ended()
            }
            Frames::Replay(stream, _) => {
                for _ in 0..64 {
                    if stream.is_ended() {
                        return true;
                    }
                    let _ = stream.next_within(Span::ZERO).expect("taps have no errors");
                }
                false
            }
        }
    }
}

/// Checks that the frame is one that was sent, at `from` or later, and returns where it stands.
fn seen(frame: &Frame<'_>, sent: &[Sent], from: usize) -> usize {
    let found = sent[from..].iter().position(|sent| judge::shows(frame, sent));
    from + found.unwrap_or_else(|| panic!("a reader saw {frame}, which was not sent after frame {from}"))
}
