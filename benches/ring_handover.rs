//! What does it cost to hand a frame over, and how long until a sleeping thread runs?
//!
//! First: one lap of a slot (capture → sink → free → capture) beside the same lap over two bare rtrb rings of the same
//! slots, for payloads of 1 KB to 1 MB, in interleaved blocks on one thread, which shows the instructions and not the cache traffic of
//! this machine's cores. Second: from `notify` to the first instruction of the thread that slept on a `Wake`, which is the
//! kernel's and the scheduler's time. Not typical: an idle machine; under load the second is whatever the load makes it.

mod common;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use common::{Bars, Samples, median, say, size};
use kinora::ring::{Ends, Taken, circle};
use kinora::slot::{Slot, SlotSizes};
use kinora::wake::Wake;
use kinora::{Clock, Span, SystemClock};

const RATIO_BAR: f64 = 1.25;
const SLOTS: usize = 8;
const BLOCKS: usize = 31;

fn main() {
    let mut bars = Bars::default();
    let mut laps = Vec::new();
    for payload in [1 << 10, 30 << 10, 1 << 20] {
        laps.push(hand_over(&mut bars, payload));
    }
    bars.at_most("1 MB over 1 KB", laps[2] / laps[0], RATIO_BAR);
    wake_to_run();
    bars.finish();
}

/// Nanoseconds of one lap; the median over all blocks.
fn hand_over(bars: &mut Bars, payload: usize) -> f64 {
    let laps = size(2_000, 200_000);
    let sizes = SlotSizes { pixels: payload, ..SlotSizes::default() };
    let Ends { mut capture, mut sink, .. } = circle((0..SLOTS).map(|_| Slot::new(&sizes)).collect(), 0);
    let (mut there, mut arrived) = rtrb::RingBuffer::new(SLOTS);
    let (mut back, mut free) = rtrb::RingBuffer::new(SLOTS);
    for _ in 1..SLOTS {
        back.push(Slot::new(&sizes)).expect("room");
    }
    let mut in_hand = Slot::new(&sizes);
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        let begun = Instant::now();
        for lap in 0..laps {
            capture.slot_mut().meta.sequence = lap;
            capture.offer().expect("a free slot");
            let Taken::Slot(slot) = sink.take() else { panic!("a filled slot") };
            assert_eq!(slot.meta.sequence, lap);
            sink.give_back(slot);
        }
        let our_ns = begun.elapsed().as_nanos() as f64 / laps as f64;
        let begun = Instant::now();
        for lap in 0..laps {
            in_hand.meta.sequence = lap;
            let next = free.pop().expect("a free box");
            there.push(std::mem::replace(&mut in_hand, next)).expect("room");
            let full: Box<Slot> = arrived.pop().expect("a filled box");
            assert_eq!(full.meta.sequence, lap);
            back.push(full).expect("room");
        }
        let bare_ns = begun.elapsed().as_nanos() as f64 / laps as f64;
        ours.push(our_ns);
        bare.push(bare_ns);
        ratios.push(our_ns / bare_ns);
    }
    let line = |blocks: &[f64]| Samples::new(blocks.iter().map(|ns| (ns * 1e3) as u64).collect());
    for (who, blocks) in [("circle", &ours), ("bare rtrb", &bare)] {
        let samples = line(blocks);
        let [p50, p99, max] = [samples.at(500), samples.at(990), samples.max()].map(|ps| ps as f64 / 1e3);
        say(
            &format!("a lap with {payload} bytes, {who}"),
            format!("p50 {p50:.1} ns, p99 {p99:.1} ns, max {max:.1} ns"),
        );
    }
    let ns = |blocks: &[f64]| format!("{:.1} ns", median(blocks.to_vec()));
    bars.beside(ns(&ours), format!("{} bare rtrb", ns(&bare)));
    bars.at_most(&format!("hand-over of {payload} bytes over bare rtrb"), median(ratios), RATIO_BAR);
    median(ours)
}

fn wake_to_run() {
    let rounds = size(50, 5_000);
    let (sleeper, answer) = (Wake::new(), Wake::new());
    let (called_at, ran_at) = (AtomicI64::new(0), AtomicI64::new(0));
    let mut samples = Vec::new();
    let mut idle_ns = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                while !sleeper.wait(Span::from_s(1), || called_at.load(Ordering::Acquire) != 0) {}
                called_at.store(0, Ordering::Relaxed);
                ran_at.store(SystemClock.now().as_ns(), Ordering::Release);
                answer.notify();
            }
        });
        for _ in 0..rounds {
            // Long enough that the other thread sleeps.
            std::thread::sleep(std::time::Duration::from_micros(200));
            let now = SystemClock.now().as_ns();
            called_at.store(now, Ordering::Release);
            sleeper.notify();
            while !answer.wait(Span::from_s(1), || ran_at.load(Ordering::Acquire) != 0) {}
            samples.push((ran_at.swap(0, Ordering::Acquire) - now).max(0) as u64);
        }
    });
    for _ in 0..BLOCKS {
        let begun = Instant::now();
        for _ in 0..1_000 {
            answer.notify();
        }
        idle_ns.push(begun.elapsed().as_nanos() as f64 / 1e3);
    }
    say("from notify to run", Samples::new(samples).line());
    say("notify when nobody sleeps", format!("p50 {:.1} ns", median(idle_ns)));
}
