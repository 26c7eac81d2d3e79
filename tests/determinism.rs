//! The manual clock: hours of playback in milliseconds, without drift, the same each time.

#[path = "common/timelines.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod timelines;

use kinora::playback::TransportSettings;
use kinora::prelude::*;
use kinora::{ClockPair, ManualClock};
use timelines::Times;

const FRAME_NS: i64 = 33_366_667;
const HOUR_FRAMES: i64 = 107_892;

fn clock() -> ManualClock {
    ManualClock::new(ClockPair::default())
}

fn settings(rate: &str) -> TransportSettings {
    TransportSettings { rate: rate.parse().unwrap(), ..TransportSettings::default() }
}

/// Plays everything and returns the largest difference between a frame's hand-out and `recorded distance ÷ speed`.
fn drift_ns(times: Times, rate: &str) -> i64 {
    let Rate::At(speed) = rate.parse().unwrap() else { panic!("{rate} has no deadlines") };
    let clock = clock();
    let mut player = Player::new(times, settings(rate));
    let (mut first, mut worst) = (None, 0);
    while let Some(frame) = player.next(&clock).unwrap() {
        let recorded = frame.meta.captured_at;
        let distance = (recorded - *first.get_or_insert(recorded)).as_ns();
        let (n, d) = (i128::from(speed.numerator()), i128::from(speed.denominator()));
        let exact_ns = (i128::from(distance) * d).div_euclid(n.abs()) * n.signum();
        worst = worst.max((i128::from(clock.now().as_ns()) - exact_ns).abs() as i64);
    }
    worst
}

#[test]
fn an_hour_at_any_speed_drifts_by_nothing() {
    for rate in ["1", "1/100", "1/7", "1/3", "1/2", "2", "3", "4", "999/1000", "16", "-1", "-1/3", "-7"] {
        assert_eq!(drift_ns(Times::every(FRAME_NS, HOUR_FRAMES), rate), 0, "at speed {rate}");
    }
}

#[test]
fn ten_hours_drift_by_nothing() {
    for rate in ["1", "1/3", "-7/3"] {
        assert_eq!(drift_ns(Times::every(FRAME_NS, 10 * HOUR_FRAMES), rate), 0, "at speed {rate}");
    }
}

#[test]
fn ten_hours_of_a_short_loop_drift_by_nothing() {
    let clock = clock();
    let mut player = Player::new(Times::every(FRAME_NS, 7), TransportSettings { looped: true, ..settings("1/3") });
    let frames = 10 * HOUR_FRAMES;
    for _ in 0..=frames {
        assert!(player.next(&clock).unwrap().is_some());
    }
    assert_eq!(clock.now().as_ns(), 3 * frames * FRAME_NS);
}

#[test]
fn pausing_and_seeking_a_thousand_times_leaves_no_error_behind() {
    let clock = clock();
    let mut player = Player::new(Times::every(FRAME_NS, HOUR_FRAMES), settings("1"));
    let mut standing = Span::ZERO;
    for k in 0..1_000 {
        assert!(player.next(&clock).unwrap().is_some());
        clock.advance(Span::from_ns(FRAME_NS / 3));
        player.command(Command::TogglePause, clock.now());
        clock.advance(Span::from_ns(1_000_003 + k));
        standing = standing + Span::from_ns(1_000_003 + k);
        player.command(Command::TogglePause, clock.now());
    }
    assert!(player.next(&clock).unwrap().is_some());
    assert_eq!(clock.now().as_ns() - standing.as_ns(), 1_000 * FRAME_NS);
}

/// A session with commands, as text: every frame, every instant, and the report.
fn session() -> String {
    let clock = clock();
    let mut player = Player::new(Times::every(FRAME_NS, 2_000), TransportSettings { looped: true, ..settings("3/7") });
    let commands = [Command::Faster, Command::SeekFrame(1_234), Command::Reverse, Command::Step(-3), Command::Resume];
    let mut text = String::new();
    for round in 0..2_000_usize {
        if round % 97 == 96 {
            player.command(commands[round / 97 % commands.len()], clock.now());
        }
        if let Some(frame) = player.next(&clock).unwrap() {
            text += &format!("{} {}\n", frame.meta.sequence, clock.now().as_ns());
        }
        clock.advance(Span::from_ns(round as i64 * 7_919));
    }
    text + &player.report().to_string()
}

#[test]
fn two_runs_are_identical_to_the_nanosecond() {
    let first = session();
    assert!(first.lines().count() > 1_000);
    assert_eq!(first, session());
}
