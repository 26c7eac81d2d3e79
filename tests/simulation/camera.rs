//! A camera that does what cameras do wrong, and says to the judge what it did.

use std::sync::{Arc, Mutex};

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::slot::Slot;
use kinora::source::{Filled, Source, SourceError, SourceInfo};
use kinora::{Cause, Clock, ClockPair, Loss, ManualClock, ResultKind, Span, Timestamp};

use super::chance::Chance;

pub const FRAME_TIME: Span = Span::from_ns(33_333_333);
const WIDTH: u32 = 48;
const HEIGHT: u32 = 16;

/// A frame that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub sequence: u64,
    pub captured_at: Timestamp,
    /// Rows of its picture, and the value of every pixel.
    pub rows: u32,
    pub value: u8,
}

impl Sent {
    /// The class that its only result has.
    pub fn class(&self) -> i32 {
        (self.sequence as i32) ^ i32::from(self.value)
    }
}

/// What the camera did since it was started.
#[derive(Debug, Default)]
pub struct Told {
    pub sent: Vec<Sent>,
    /// Frames that never reached the engine, by cause: what its ledger has to say.
    pub lost: [u64; Cause::ALL.len()],
    /// The newest sequence number that the engine knows of.
    newest: Option<u64>,
    /// Frames that may be delivered before the next look.
    pub allowed: u64,
    pub ended: bool,
    pub gone: bool,
    /// Of a camera that hangs: when its newest frame was due, lost ones included.
    newest_at: Option<Timestamp>,
    /// Times that it was stopped since its last frame, and since the beginning.
    pub failures: u32,
    pub stops: u64,
    /// The session ends: that it is stopped now has nothing to do with silence.
    pub over: bool,
}

impl Told {
    /// Frames that a camera which was stopped, or did not start, should have delivered until then.
    pub fn silent_until(&mut self, until: Timestamp) {
        let (Some(newest), Some(newest_at)) = (self.newest, self.newest_at) else { return };
        let missed = ((until - newest_at).as_ns() / FRAME_TIME.as_ns()).max(0) as u64;
        self.lost[usize::from(Cause::SourceStalled.code()) - 1] += missed;
        self.newest = Some(newest + missed);
        self.newest_at = Some(newest_at + Span::from_ns(FRAME_TIME.as_ns() * missed as i64));
    }

    /// What is lost at the end: a camera that was stopped and did not come back.
    pub fn settle(&mut self, now: Timestamp) {
        self.over = true;
        if self.failures > 0 {
            self.silent_until(now);
        }
    }

    /// Frames made: delivered, lost on the way, or skipped and noticed.
    pub fn made(&self) -> u64 {
        self.sent.len() as u64 + self.lost.iter().sum::<u64>()
    }

    fn noticed(&mut self, first: u64, last: u64) {
        if let Some(newest) = self.newest {
            self.lost[usize::from(Cause::SourceGap.code()) - 1] += first.saturating_sub(newest).saturating_sub(1);
        }
        let _ = last;
    }
}

/// How often which trouble comes: once in so many frames; 0 is never.
#[derive(Clone, Copy, Debug)]
pub struct Troubles {
    pub late: u64,
    pub early: u64,
    pub duplicate: u64,
    pub skipped: u64,
    pub too_big: u64,
    pub smaller: u64,
    pub corrupt: u64,
    pub stall: u64,
    pub restart: u64,
    pub clock_stands: u64,
    pub gone: u64,
}

impl Troubles {
    pub fn draw(chance: &mut Chance) -> Self {
        let mut rate = |often: u64| if chance.once_in(3) { 2 + chance.below(often) } else { 0 };
        Self {
            late: rate(20),
            early: rate(20),
            duplicate: rate(30),
            skipped: rate(20),
            too_big: rate(40),
            smaller: rate(20),
            corrupt: rate(30),
            stall: rate(60),
            restart: rate(80),
            clock_stands: rate(10),
            gone: rate(300),
        }
    }
}

pub struct Camera {
    info: SourceInfo,
    clock: Arc<ManualClock>,
    chance: Chance,
    troubles: Troubles,
    told: Arc<Mutex<Told>>,
    next: u64,
    due_at: Timestamp,
    /// Looks that bring nothing yet, and frames that are lost by then.
    stalled: Option<(u64, u64)>,
    /// Its numbers began anew, and no frame came since.
    restarted: bool,
    frames: u64,
    frames_max: u64,
}

impl Camera {
    pub fn new(clock: Arc<ManualClock>, mut chance: Chance, told: Arc<Mutex<Told>>) -> Self {
        let mut info = SourceInfo::new("simulated");
        info.picture = Some(PictureInfo::packed(PixelFormat::Grey, WIDTH, HEIGHT));
        info.live = !chance.once_in(4);
        let frames_max = 20 + chance.below(180);
        let (troubles, next) = (Troubles::draw(&mut chance), chance.below(3) * chance.below(1 << 40));
        let due_at = clock.now();
        Self {
            info,
            clock,
            chance,
            troubles,
            told,
            next,
            due_at,
            stalled: None,
            restarted: false,
            frames: 0,
            frames_max,
        }
    }

    fn strikes(&mut self, once_in: u64) -> bool {
        once_in > 0 && self.chance.once_in(once_in)
    }

    fn lose(&mut self, told: &mut Told, cause: Cause, count: u64) -> Filled {
        let (first, now) = (self.next, self.clock.now());
        let last = first + count - 1;
        told.noticed(first, last);
        told.lost[usize::from(cause.code()) - 1] += count;
        told.newest = Some(told.newest.map_or(last, |newest| newest.max(last)));
        self.next = last + 1;
        Filled::Lost(Loss::run(cause, first, count, now, now))
    }

    /// Fills the slot. A live frame that comes `again` is to be refused: it is lost, and tells nothing new of the numbers.
    fn deliver(&mut self, told: &mut Told, slot: &mut Slot, sent: Sent, again: bool) -> Filled {
        let info = PictureInfo::packed(PixelFormat::Grey, WIDTH, sent.rows);
        slot.pixels_mut(info).expect("the slot was made for it").fill(sent.value);
        slot.meta.sequence = sent.sequence;
        slot.meta.captured_at = sent.captured_at;
        slot.meta.captured_wall = self.clock.pair().wall_of(sent.captured_at);
        slot.results.begin(ResultKind::Classifications);
        slot.results.push_classification(0.5, sent.class()).expect("room for one");
        if again && self.info.live {
            told.lost[usize::from(Cause::Repeated.code()) - 1] += 1;
        } else {
            told.noticed(sent.sequence, sent.sequence);
            told.newest = Some(sent.sequence);
            told.sent.push(sent);
            self.restarted = false;
        }
        told.allowed -= 1;
        self.frames += 1;
        Filled::Frame
    }
}

/// A camera that hangs after some frames, for ever: until it is stopped and started again, if it then starts.
pub struct HangingCamera {
    camera: Camera,
    started: bool,
    /// Frames until it hangs.
    life: u64,
    /// It numbers from zero at each start, the engine does not: what the engine adds.
    offset: u64,
    own_next: u64,
    /// When the newest frame since its start came.
    last_at: Option<Timestamp>,
}

impl HangingCamera {
    pub fn new(mut camera: Camera) -> Self {
        (camera.info.live, camera.info.watched, camera.info.frame_rate) = (true, true, (30, 1));
        assert_eq!(camera.info.frame_time(), FRAME_TIME);
        Self { camera, started: false, life: 0, offset: 0, own_next: 0, last_at: None }
    }
}

impl Source for HangingCamera {
    fn describe(&self) -> &SourceInfo {
        &self.camera.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        let (now, chance) = (self.camera.clock.now(), &mut self.camera.chance);
        let mut told = self.camera.told.lock().unwrap();
        told.silent_until(now);
        (self.own_next, self.last_at) = (0, None);
        let again = std::mem::replace(&mut self.started, true);
        self.life = 1 + chance.below(50);
        match chance.below(24) {
            0..=5 if again => return Err(SourceError::Unavailable("simulated: no answer".into())),
            6 if again => {
                (told.ended, told.gone) = (true, true);
                return Err(SourceError::Gone("simulated".into()));
            }
            7..=10 if again => self.life = 0,
            11 => self.life = 0,
            _ => {}
        }
        Ok(())
    }

    fn stop(&mut self) {
        let mut told = self.camera.told.lock().unwrap();
        if !told.over {
            told.failures += 1;
            told.stops += 1;
            told.silent_until(self.camera.clock.now());
        }
    }

    fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
        let told = Arc::clone(&self.camera.told);
        let told = &mut *told.lock().unwrap();
        let (clock, chance) = (Arc::clone(&self.camera.clock), &mut self.camera.chance);
        // Two frame times and a second without a frame, and it is asked no more.
        let silence = self.last_at.map_or(Span::ZERO, |at| clock.now() - at);
        assert!(silence <= FRAME_TIME + FRAME_TIME + Span::from_s(1), "asked after {silence} of silence");
        if told.allowed == 0 {
            clock.advance(Span::from_ns(1));
            return Ok(Filled::Nothing);
        }
        if self.camera.frames >= self.camera.frames_max {
            told.ended = true;
            return Ok(Filled::End);
        }
        if self.life == 0 {
            told.allowed -= 1;
            if !told.sent.is_empty() && chance.once_in(20) {
                return Err(SourceError::io("simulated")(std::io::Error::from_raw_os_error(5)));
            }
            clock.advance(Span::from_ms(100));
            return Ok(Filled::Nothing);
        }
        self.life -= 1;
        clock.advance(FRAME_TIME);
        if chance.once_in(15) {
            clock.advance(Span::from_ms(chance.between(1, 400)));
        }
        if chance.once_in(20) {
            self.own_next += 1 + chance.below(9);
        }
        let (captured_at, value) = (clock.now(), chance.word() as u8);
        if self.last_at.is_none() {
            // Half a frame time before it, so that it is not missing itself.
            told.silent_until(captured_at - Span::from_ns(FRAME_TIME.as_ns() / 2));
            self.offset = told.newest.map_or(self.own_next, |newest| newest + 1).wrapping_sub(self.own_next);
        }
        let own = self.own_next;
        let sent = Sent { sequence: own.wrapping_add(self.offset), captured_at, rows: HEIGHT, value };
        let filled = self.camera.deliver(told, slot, sent, false);
        slot.meta.sequence = own;
        self.own_next += 1;
        (told.newest_at, told.failures, self.last_at) = (Some(captured_at), 0, Some(captured_at));
        Ok(filled)
    }
}

impl Source for Camera {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
        let told = Arc::clone(&self.told);
        let told = &mut *told.lock().unwrap();
        if told.allowed == 0 {
            // The look of this step is over: a moment passes, so that the engine gives control back.
            self.clock.advance(Span::from_ns(1));
            return Ok(Filled::Nothing);
        }
        if let Some((looks, lost)) = self.stalled {
            self.clock.advance(Span::from_ms(100));
            self.stalled = (looks > 0).then(|| (looks - 1, lost));
            told.allowed -= 1;
            return Ok(if looks > 0 { Filled::Nothing } else { self.lose(told, Cause::SourceStalled, lost) });
        }
        if self.frames >= self.frames_max {
            told.ended = true;
            return Ok(Filled::End);
        }
        let troubles = self.troubles;
        if self.strikes(troubles.gone) {
            (told.ended, told.gone) = (true, true);
            return Err(SourceError::Gone("simulated".into()));
        }
        if self.strikes(troubles.stall) {
            // Up to ten minutes, seldom.
            let looks = if self.chance.once_in(10) { 6_000 } else { self.chance.below(40) };
            self.stalled = Some((looks.min(400), 1 + looks * 3));
            self.clock.advance(Span::from_ms(100 * (looks - looks.min(400)) as i64));
        }
        if self.strikes(troubles.restart) {
            self.next = self.chance.below(10);
            self.restarted = true;
        }
        if !self.strikes(troubles.clock_stands) {
            self.due_at = self.due_at.max(self.clock.now() - FRAME_TIME) + FRAME_TIME;
            self.clock.sleep_until(self.due_at);
        }
        if self.strikes(troubles.late) {
            self.clock.advance(Span::from_ms(self.chance.between(1, 400)));
        }
        if self.strikes(troubles.skipped) {
            self.next += if self.chance.once_in(20) { self.chance.below(1 << 33) } else { 1 + self.chance.below(9) };
        }
        if self.strikes(troubles.corrupt) {
            told.allowed -= 1;
            let count = 1 + self.chance.below(3);
            return Ok(self.lose(told, Cause::Corrupt, count));
        }
        if self.strikes(troubles.too_big) {
            let info = PictureInfo::packed(PixelFormat::Grey, WIDTH, HEIGHT * 4);
            assert!(slot.pixels_mut(info).is_err(), "the slot took a picture that it was not made for");
            told.allowed -= 1;
            return Ok(self.lose(told, Cause::TooBig, 1));
        }
        let again = told.sent.last().copied().filter(|_| self.strikes(troubles.duplicate));
        let rows = if self.strikes(troubles.smaller) { 1 + self.chance.below(HEIGHT.into()) as u32 } else { HEIGHT };
        let mut early =
            if self.strikes(troubles.early) { Span::from_ms(self.chance.between(1, 90)) } else { Span::ZERO };
        if self.restarted {
            // Numbers may begin anew, but then the times go on.
            self.clock.advance(Span::from_ns(1));
            early = Span::ZERO;
        }
        let fresh =
            Sent { sequence: self.next, captured_at: self.clock.now() - early, rows, value: self.chance.word() as u8 };
        let sent = again.unwrap_or(fresh);
        self.next = self.next.max(sent.sequence + 1);
        Ok(self.deliver(told, slot, sent, again.is_some()))
    }
}
