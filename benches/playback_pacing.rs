//! How exact is paced playback beside the least that a program can do, a loop around `clock_nanosleep`?
//!
//! Both sides run in one thread with the same timer slack (and priority, when `KINORA_BENCH_RT=PRIO` asks for one), in 15
//! blocks each that take turns, so that whatever else the machine does meets both. Both measure the same: the clock after
//! the frame is at hand, minus its deadline. Typical is the frame: 30 KB of JPEG with ten boxes, checked before the wait.
//! Not typical is the rate, 250 a second, which gives more samples in the time. The last part plays hours on the manual
//! clock and compares every deadline with the exact ratio.

mod common;

use common::{Bars, Samples, median, say, size};
use kinora::playback::{Player, Rate, TransportSettings};
use kinora::results::ResultKind;
use kinora::slot::{Slot, SlotSizes};
use kinora::thread::ThreadSettings;
use kinora::timeline::Timeline;
use kinora::{Clock, ClockPair, Error, Frame, ManualClock, Result, Span, SystemClock, Timestamp};
use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};

const BLOCKS: usize = 15;
const FRAME_NS: i64 = 4_000_000;
const JPEG_BYTES: usize = 30_000;

fn main() {
    let mut bars = Bars::default();
    let rt_priority = std::env::var("KINORA_BENCH_RT").ok().and_then(|text| text.parse().ok());
    let refusals = ThreadSettings { rt_priority, ..ThreadSettings::default() }.apply();
    println!("playback_pacing: {BLOCKS} blocks of {} frames a side, one every 4 ms", frames());
    refusals.iter().for_each(|refusal| say("not granted", refusal));
    beside_bare_sleep(&mut bars);
    for rate in ["1", "1/3", "-7/3"] {
        no_drift(&mut bars, rate);
    }
    bars.finish();
}

fn frames() -> u64 {
    size(25, 500)
}

/// Frames at a fixed distance: one slot lends them all, and its picture is checked each time, as a recording's is.
struct Steady {
    slot: Box<Slot>,
    frames: u64,
    frame_ns: i64,
    checksum: u32,
}

impl Steady {
    fn new(frames: u64, frame_ns: i64, jpeg_bytes: usize) -> Self {
        let mut slot = Slot::new(&SlotSizes { jpeg: jpeg_bytes, ..SlotSizes::default() });
        let picture: Vec<u8> = (0..jpeg_bytes).map(|i| ((i * 31) >> 3) as u8).collect();
        slot.put_jpeg(&picture, 640, 480).expect("the plane was made for it");
        slot.results.begin(ResultKind::Detections);
        for i in 0..10 {
            slot.results.push_detection([0.1, 0.1, 0.2, 0.3], 0.9, i, None).expect("room for ten");
        }
        Self { slot, frames, frame_ns, checksum: crc32c::crc32c(&picture) }
    }
}

impl Timeline for Steady {
    fn len(&self) -> u64 {
        self.frames
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        (index < self.frames).then(|| Timestamp::from_ns(index as i64 * self.frame_ns))
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        (at.as_ns().max(0) as u64).div_ceil(self.frame_ns as u64).min(self.frames)
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        let captured_at = self.captured_at(index).ok_or_else(|| Error::Setting(format!("no frame {index}")))?;
        self.slot.meta.sequence = index;
        self.slot.meta.captured_at = captured_at;
        let frame = self.slot.frame(None);
        let found = frame.jpeg.map_or(0, |jpeg| crc32c::crc32c(jpeg.bytes));
        if found == self.checksum { Ok(frame) } else { Err(Error::Setting(format!("frame {index} is damaged"))) }
    }
}

/// Errors of one block of the bare loop.
fn bare_block(errors: &mut Vec<u64>) {
    let start = SystemClock.now();
    for index in 1..frames() as i64 {
        let due_ns = start.as_ns() + index * FRAME_NS;
        let due = Timespec { tv_sec: due_ns / 1_000_000_000, tv_nsec: due_ns % 1_000_000_000 };
        while clock_nanosleep_absolute(ClockId::Monotonic, &due).is_err() {}
        errors.push((SystemClock.now().as_ns() - due_ns) as u64);
    }
}

/// Errors of one block of ours, and our work between waking and handing out, as p99 and max of the player's own report.
fn player_block(errors: &mut Vec<u64>) -> (u64, u64) {
    let mut player = Player::new(Steady::new(frames(), FRAME_NS, JPEG_BYTES), TransportSettings::default());
    let mut boxes = 0;
    while let Some(frame) = player.next(&SystemClock).expect("the frames are good") {
        boxes += frame.detections().bbox().len();
        let now = SystemClock.now();
        if let Some(due_at) = player.newest().and_then(|shown| shown.due_at) {
            assert!(now >= due_at, "a frame was early");
            errors.push((now - due_at).as_ns() as u64);
        }
    }
    let report = player.report();
    assert_eq!((boxes as u64, report.counts.delivered), (10 * frames(), frames()));
    (report.work.p99_ns, report.work.max_ns)
}

fn beside_bare_sleep(bars: &mut Bars) {
    let (mut bare_all, mut ours_all, mut ratios, mut works) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut work_max_ns = 0;
    for block in 0..BLOCKS {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        // The side that begins changes, so that none always runs after the other.
        if block % 2 == 0 {
            bare_block(&mut bare);
        }
        let (work_ns, max_ns) = player_block(&mut ours);
        if block % 2 == 1 {
            bare_block(&mut bare);
        }
        works.push(work_ns as f64);
        work_max_ns = work_max_ns.max(max_ns);
        ratios.push(Samples::new(ours.clone()).at(500) as f64 / Samples::new(bare.clone()).at(500) as f64);
        bare_all.append(&mut bare);
        ours_all.append(&mut ours);
    }
    let (ours, bare) = (Samples::new(ours_all), Samples::new(bare_all));
    say("bare clock_nanosleep loop, error", bare.line());
    say("our playback, error", ours.line());
    let work_us = median(works) / 1e3;
    say("our work from waking to handing out, max", common::us(work_max_ns));
    bars.beside(common::us(ours.at(500)), format!("{} bare clock_nanosleep", common::us(bare.at(500))));
    bars.at_most("error p50, ours / bare, median of 15 blocks", median(ratios), 1.25);
    bars.at_most("our work from waking to handing out, p99, µs", work_us, 5.0);
}

/// Plays an hour (ten in a real run) on the manual clock.
fn no_drift(bars: &mut Bars, text: &str) {
    let rate: Rate = text.parse().expect("a rate");
    let Rate::At(speed) = rate else { unreachable!("not one of the rates above") };
    let (frame_ns, frames) = (33_366_667, size(107_892, 1_078_920));
    let clock = ManualClock::new(ClockPair::default());
    let begun = SystemClock.now();
    let mut player = Player::new(Steady::new(frames, frame_ns, 0), TransportSettings { rate, ..Default::default() });
    let (mut first, mut drift_ns) = (None, 0);
    while let Some(frame) = player.next(&clock).expect("the frames are good") {
        let recorded = frame.meta.captured_at;
        let distance = recorded - *first.get_or_insert(recorded);
        let exact = speed.output_span(distance).unwrap_or(Span::ZERO);
        drift_ns = drift_ns.max((clock.now().as_ns() - exact.as_ns()).abs());
    }
    let took = SystemClock.now() - begun;
    say(&format!("{} h recorded at speed {text}, manual clock, took", size(1, 10)), took);
    bars.at_most(&format!("largest drift at speed {text}, ns"), drift_ns as f64, 0.0);
}
