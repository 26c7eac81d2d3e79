//! A recording as a source of frames, and in the caller's loop.

#[path = "common/timelines.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod timelines;

use std::sync::Arc;

use kinora::event::{Event, EventKind};
use kinora::playback::{Place, PlaybackSource};
use kinora::prelude::*;
use kinora::slot::{Slot, SlotSizes};
use kinora::{ClockPair, ManualClock, WallTime};
use timelines::Times;

const START_NS: i64 = 9_000_000_000;

fn now() -> ClockPair {
    ClockPair { monotonic: Timestamp::from_ns(START_NS), wall: WallTime::from_utc_ns(0) }
}

/// Sequence, recorded milliseconds, due milliseconds after the start of what the source delivers; `None` for a loss.
fn fill(source: &mut PlaybackSource, limit: usize) -> Vec<Option<(u64, i64, i64)>> {
    let mut slot = Slot::new(&SlotSizes::default());
    let mut out = Vec::new();
    while out.len() < limit {
        slot.reset();
        match source.fill(&mut slot, Span::ZERO).unwrap() {
            Filled::Frame => {
                let due_ns = slot.due_at.unwrap().as_ns() - START_NS;
                out.push(Some((slot.meta.sequence, slot.meta.captured_at.as_ns() / 1_000_000, due_ns / 1_000_000)));
            }
            Filled::Lost(loss) => {
                assert_eq!((loss.cause, loss.count), (Cause::Corrupt, 1));
                out.push(None);
            }
            Filled::Nothing => panic!("a file never has nothing"),
            Filled::End => break,
        }
    }
    out
}

fn source(times: Times, looped: bool) -> PlaybackSource {
    let mut source = PlaybackSource::new(times, SourceInfo::new("a.kinora"), looped);
    source.start(now()).unwrap();
    source
}

#[test]
fn frames_keep_their_recorded_times_and_are_due_at_their_distance_from_the_start() {
    let mut source = source(Times::ms([500, 540, 530, 600]), false);
    assert_eq!(source.describe().frames, Some(4));
    assert!(!source.describe().live && source.describe().paced);
    let expected = [(0, 500, 0), (1, 540, 40), (2, 530, 40), (3, 600, 100)].map(Some);
    assert_eq!(fill(&mut source, 99), expected);
    assert_eq!(fill(&mut source, 99), [], "the end stays the end");
}

#[test]
fn a_loop_goes_on_with_times_and_sequence_numbers() {
    let mut source = source(Times::ms([500, 540, 580]), true);
    assert_eq!(source.describe().frames, None);
    let expected =
        [(0, 500, 0), (1, 540, 40), (2, 580, 80), (3, 620, 120), (4, 660, 160), (5, 700, 200), (6, 740, 240)];
    assert_eq!(fill(&mut source, 7), expected.map(Some));
}

#[test]
fn a_started_again_source_begins_again() {
    let mut source = source(Times::ms([500, 540]), true);
    let first = fill(&mut source, 5);
    source.start(now()).unwrap();
    assert_eq!(fill(&mut source, 5), first);
}

#[test]
fn a_damaged_frame_is_a_loss_and_a_loop_of_nothing_else_ends() {
    let mut times = Times::ms([500, 540, 580]);
    times.damaged = vec![1];
    assert_eq!(fill(&mut source(times, false), 9), [Some((0, 500, 0)), None, Some((2, 580, 80))]);
    let mut times = Times::ms([500, 540]);
    times.damaged = vec![0, 1];
    assert_eq!(fill(&mut source(times, true), 9), [None, None]);
    assert_eq!(fill(&mut source(Times::ms([]), true), 9), []);
}

/// Everything that a loop over a playback sees, with the report.
fn watch(playback: &mut Playback) -> (Vec<u64>, String) {
    let mut stream = playback.start().unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = stream.next().unwrap() {
        seen.push(frame.meta.sequence);
    }
    (seen, stream.report().to_string())
}

fn playback(times: Times, events: Vec<Event>) -> Playback {
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let mut info = SourceInfo::new("in memory");
    info.recorded_clock =
        Some(ClockPair { monotonic: Timestamp::from_ns(500_000_000), wall: WallTime::from_utc_ns(7_000_000_000) });
    Playback::of(times, info, events).clock(clock)
}

fn bookmark(text: &str, at_ms: i64) -> Event {
    let text = text.try_into().unwrap();
    Event { kind: EventKind::Bookmark, at: Timestamp::from_ns(at_ms * 1_000_000), wall: WallTime::default(), text }
}

#[test]
fn a_playback_can_be_started_again_and_shows_the_same() {
    let mut playback = playback(Times::ms([500, 540, 580]), Vec::new());
    let first = watch(&mut playback);
    assert_eq!(first.0, [0, 1, 2]);
    assert_eq!(first, watch(&mut playback));
}

#[test]
fn from_and_to_take_frames_offsets_instants_wall_times_and_bookmarks() {
    let range = |from: Place, to: Place| {
        let events = vec![bookmark("goal", 545), bookmark("end", 585)];
        let mut playback = playback(Times::ms([500, 540, 580, 620]), events)
            .from(&from)
            .and_then(|playback| playback.to(&to))
            .unwrap();
        watch(&mut playback).0
    };
    assert_eq!(range(Place::Frame(1), Place::Frame(2)), [1, 2]);
    assert_eq!(range(Place::Offset(Span::from_ms(40)), Place::Offset(Span::from_ms(100))), [1, 2]);
    assert_eq!(range(Place::Offset(Span::from_ms(41)), Place::Offset(Span::from_s(9))), [2, 3]);
    let wall = |ms: i64| Place::Wall(WallTime::from_utc_ns(7_000_000_000 + ms * 1_000_000));
    assert_eq!(range(wall(-50), wall(40)), [0, 1]);
    assert_eq!(range(Place::Bookmark("goal".into()), Place::Bookmark("end".into())), [2]);
}

#[test]
fn places_that_do_not_exist_are_refused_with_what_there_is() {
    let refusal = |from: Option<Place>, to: Option<Place>| {
        let mut playback = Ok(playback(Times::ms([500, 540]), vec![bookmark("goal", 540)]));
        if let Some(place) = from {
            playback = playback.and_then(|playback| playback.from(&place));
        }
        if let Some(place) = to {
            playback = playback.and_then(|playback| playback.to(&place));
        }
        playback.unwrap_err().to_string()
    };
    assert_eq!(refusal(Some(Place::Frame(2)), None), "frame 2 is beyond the recording's last frame, 1");
    assert!(refusal(Some(Place::Offset(Span::from_ms(41))), None).contains("last frame, 1"));
    assert!(refusal(None, Some(Place::Offset(Span::from_ms(-1)))).contains("before the first frame"));
    assert!(refusal(Some(Place::Bookmark("gaol".into())), None).contains("there are `goal`"));
    assert!(refusal(Some(Place::Frame(1)), Some(Place::Frame(0))).contains("swap"));
}
