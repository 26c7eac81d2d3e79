//! A player over a timeline in memory: order, deadlines, commands, late frames.

#[path = "common/timelines.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod timelines;

use kinora::playback::{Action, Counts, LatePolicy, PacingSettings, TransportSettings};
use kinora::prelude::*;
use kinora::{ClockPair, ManualClock};
use proptest::prelude::*;
use timelines::Times;

const START_NS: i64 = 1_000_000_000;

fn clock() -> ManualClock {
    ManualClock::new(ClockPair { monotonic: Timestamp::from_ns(START_NS), ..ClockPair::default() })
}

fn at_ms(ms: i64) -> Timestamp {
    Timestamp::from_ns(START_NS + ms * 1_000_000)
}

fn settings(rate: &str) -> TransportSettings {
    TransportSettings { rate: rate.parse().unwrap(), ..TransportSettings::default() }
}

/// Frame numbers and the milliseconds at which they went out, at most `limit` of them.
fn play(player: &mut Player<Times>, clock: &ManualClock, limit: usize) -> Vec<(u64, i64)> {
    let mut out = Vec::new();
    while out.len() < limit {
        let Some(frame) = player.next(clock).unwrap() else { break };
        let index = frame.meta.sequence;
        out.push((index, (clock.now().as_ns() - START_NS) / 1_000_000));
    }
    out
}

fn played(times: Times, settings: TransportSettings) -> Vec<(u64, i64)> {
    play(&mut Player::new(times, settings), &clock(), 1_000)
}

fn show(action: Action) -> u64 {
    match action {
        Action::Show(shown) => shown.index,
        other => panic!("expected a frame, found {other:?}"),
    }
}

#[test]
fn frames_come_in_order_each_at_its_recorded_distance_from_the_first() {
    assert_eq!(played(Times::ms([7, 47, 97, 98]), settings("1")), [(0, 0), (1, 40), (2, 90), (3, 91)]);
    assert_eq!(played(Times::ms([7, 47, 97]), settings("2")), [(0, 0), (1, 20), (2, 45)]);
    assert_eq!(played(Times::ms([7, 47, 97]), settings("1/4")), [(0, 0), (1, 160), (2, 360)]);
    assert_eq!(played(Times::ms([7, 47, 97]), settings("max")), [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn reverse_shows_the_same_frames_backwards_in_the_same_time() {
    assert_eq!(played(Times::ms([7, 47, 97]), settings("-1")), [(2, 0), (1, 50), (0, 90)]);
    assert_eq!(played(Times::ms([7, 47, 97]), settings("-max")), [(2, 0), (1, 0), (0, 0)]);
}

#[test]
fn an_empty_timeline_ends_at_once_and_obeys_every_command() {
    let mut player = Player::new(Times::ms([]), settings("1"));
    for command in [Command::TogglePause, Command::Step(1), Command::SeekFrame(3), Command::End, Command::Reverse] {
        player.command(command, at_ms(0));
        assert_eq!(player.poll(at_ms(1)), Action::Ended);
    }
    assert!(player.next(&clock()).unwrap().is_none());
    assert_eq!(player.report().counts, Counts::default());
}

#[test]
fn a_single_frame_is_shown_once_or_at_its_usual_distance_in_a_loop() {
    assert_eq!(played(Times::ms([500]), settings("1")), [(0, 0)]);
    let looped = TransportSettings { looped: true, ..settings("1") };
    let mut player = Player::new(Times::ms([500]), looped);
    assert_eq!(play(&mut player, &clock(), 4), [(0, 0), (0, 33), (0, 66), (0, 99)]);
}

#[test]
fn a_loop_goes_on_after_one_frame_time_in_either_direction() {
    let looped = |rate| TransportSettings { looped: true, ..settings(rate) };
    let mut player = Player::new(Times::ms([0, 40, 80]), looped("1"));
    assert_eq!(play(&mut player, &clock(), 7), [(0, 0), (1, 40), (2, 80), (0, 120), (1, 160), (2, 200), (0, 240)]);
    assert_eq!(player.report().counts.loops, 2);
    let mut player = Player::new(Times::ms([0, 40, 80]), looped("-2"));
    assert_eq!(play(&mut player, &clock(), 5), [(2, 0), (1, 20), (0, 40), (2, 60), (1, 80)]);
}

#[test]
fn only_frames_between_in_and_out_point_are_played() {
    let marked = |first, last, rate| TransportSettings { first, last, ..settings(rate) };
    let times = || Times::every(40_000_000, 10);
    assert_eq!(played(times(), marked(Some(3), Some(5), "1")), [(3, 0), (4, 40), (5, 80)]);
    assert_eq!(played(times(), marked(Some(8), None, "1")), [(8, 0), (9, 40)]);
    assert_eq!(played(times(), marked(None, Some(1), "-1")), [(1, 0), (0, 40)]);
    // Beyond the end there is only the last frame.
    assert_eq!(played(times(), marked(Some(99), Some(100), "1")), [(9, 0)]);
}

#[test]
fn marks_set_while_playing_hold_from_then_on() {
    let mut player = Player::new(Times::every(40_000_000, 10), settings("1"));
    let clock = clock();
    play(&mut player, &clock, 3);
    player.command(Command::MarkIn, clock.now());
    play(&mut player, &clock, 2);
    player.command(Command::MarkOut, clock.now());
    assert_eq!(player.transport().marks(), (Some(2), Some(4)));
    assert_eq!(player.poll(clock.now()), Action::Ended);
    player.command(Command::ToggleLoop, clock.now());
    let frames: Vec<u64> = play(&mut player, &clock, 4).into_iter().map(|(index, _)| index).collect();
    assert_eq!(frames, [2, 3, 4, 2]);
    player.command(Command::ToggleLoop, clock.now());
    player.command(Command::ClearMarks, clock.now());
    assert_eq!(play(&mut player, &clock, 100).len(), 7);
}

#[test]
fn a_pause_takes_no_recorded_time() {
    let mut player = Player::new(Times::ms([0, 100, 200]), settings("1"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    assert_eq!(player.poll(at_ms(30)), Action::WaitUntil(at_ms(100)));
    player.command(Command::TogglePause, at_ms(30));
    assert_eq!(player.poll(at_ms(5_000)), Action::Paused);
    player.command(Command::TogglePause, at_ms(6_000));
    assert_eq!(player.poll(at_ms(6_000)), Action::WaitUntil(at_ms(6_070)));
    assert_eq!(show(player.poll(at_ms(6_070))), 1);
    assert_eq!(player.poll(at_ms(6_070)), Action::WaitUntil(at_ms(6_170)));
}

#[test]
fn a_paused_start_shows_the_first_frame_and_waits() {
    let mut player = Player::new(Times::ms([0, 100]), TransportSettings { paused: true, ..settings("1") });
    assert_eq!(show(player.poll(at_ms(0))), 0);
    assert_eq!(player.poll(at_ms(50)), Action::Paused);
    player.command(Command::Resume, at_ms(1_000));
    assert_eq!(player.poll(at_ms(1_000)), Action::WaitUntil(at_ms(1_100)));
}

#[test]
fn steps_pause_and_go_both_ways_whatever_the_direction_of_play() {
    for rate in ["1", "-1"] {
        let mut player = Player::new(Times::every(40_000_000, 30), settings(rate));
        player.command(Command::SeekFrame(5), at_ms(0));
        assert_eq!(show(player.poll(at_ms(0))), 5);
        for (by, index) in [(1, 6), (10, 16), (-1, 15), (-10, 5), (-10, 0), (i64::MAX, 29), (i64::MIN, 0)] {
            player.command(Command::Step(by), at_ms(10));
            assert_eq!(show(player.poll(at_ms(10))), index);
            assert_eq!(player.poll(at_ms(500)), Action::Paused);
        }
    }
}

#[test]
fn two_steps_before_the_next_frame_is_shown_count_both() {
    let mut player = Player::new(Times::every(40_000_000, 30), settings("1"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    player.command(Command::Step(1), at_ms(1));
    player.command(Command::Step(1), at_ms(2));
    assert_eq!(show(player.poll(at_ms(3))), 2);
}

#[test]
fn seeks_by_frame_and_by_time_show_that_frame_and_play_on_from_it() {
    let mut player = Player::new(Times::ms([100, 140, 180, 220]), settings("1"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    player.command(Command::SeekFrame(2), at_ms(10));
    assert_eq!(show(player.poll(at_ms(11))), 2);
    assert_eq!(player.poll(at_ms(11)), Action::WaitUntil(at_ms(51)));
    player.command(Command::SeekTime(Span::from_ms(40)), at_ms(20));
    assert_eq!(show(player.poll(at_ms(20))), 1);
    player.command(Command::SeekAt(Timestamp::from_ns(141_000_000)), at_ms(20));
    assert_eq!(show(player.poll(at_ms(20))), 2);
    player.command(Command::SeekTime(Span::from_s(100)), at_ms(20));
    assert_eq!(show(player.poll(at_ms(20))), 3);
    player.command(Command::Home, at_ms(30));
    assert_eq!(show(player.poll(at_ms(30))), 0);
    player.command(Command::End, at_ms(30));
    assert_eq!(show(player.poll(at_ms(30))), 3);
    assert_eq!(player.poll(at_ms(30)), Action::Ended);
}

#[test]
fn bookmarks_are_visited_forward_and_back() {
    let mut player = Player::new(Times::every(40_000_000, 30), settings("1"));
    let recorded = |k: i64| Timestamp::from_ns(5_000_000_000 + k * 40_000_000);
    player.set_bookmarks([recorded(20), recorded(10)]);
    assert_eq!(show(player.poll(at_ms(0))), 0);
    for (command, index) in [
        (Command::NextBookmark, 10),
        (Command::NextBookmark, 20),
        (Command::PreviousBookmark, 10),
        (Command::Step(2), 12),
        (Command::PreviousBookmark, 10),
    ] {
        player.command(command, at_ms(0));
        assert_eq!(show(player.poll(at_ms(0))), index);
    }
    player.command(Command::PreviousBookmark, at_ms(0));
    assert_eq!(player.poll(at_ms(0)), Action::Paused, "there is none before the first");
    player.command(Command::Step(5), at_ms(0));
    assert_eq!(show(player.poll(at_ms(0))), 15);
    player.command(Command::AddBookmark, at_ms(0));
    player.command(Command::AddBookmark, at_ms(0));
    assert_eq!(player.transport().bookmarks(), [recorded(10), recorded(15), recorded(20)]);
}

#[test]
fn speed_and_direction_change_from_where_the_picture_stands() {
    let mut player = Player::new(Times::ms([0, 100, 200, 300]), settings("1"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    assert_eq!(player.poll(at_ms(50)), Action::WaitUntil(at_ms(100)));
    player.command(Command::Slower, at_ms(50));
    assert_eq!(player.rate().to_string(), "1/2");
    assert_eq!(player.poll(at_ms(50)), Action::WaitUntil(at_ms(150)));
    player.command(Command::Faster, at_ms(50));
    assert_eq!(player.poll(at_ms(50)), Action::WaitUntil(at_ms(100)));
    assert_eq!(show(player.poll(at_ms(100))), 1);
    player.command(Command::Reverse, at_ms(160));
    assert_eq!(player.poll(at_ms(160)), Action::WaitUntil(at_ms(320)), "60 ms back to frame 1, 100 more to frame 0");
    assert_eq!(show(player.poll(at_ms(320))), 0);
    assert_eq!(player.poll(at_ms(320)), Action::Ended);
    player.command(Command::Reverse, at_ms(9_000));
    assert_eq!(player.poll(at_ms(9_000)), Action::WaitUntil(at_ms(9_100)), "the end takes no time with it");
}

#[test]
fn a_frozen_player_stands_still_until_it_gets_a_speed() {
    let mut player = Player::new(Times::ms([0, 100]), settings("0"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    assert_eq!(player.poll(at_ms(7_000)), Action::Paused);
    player.command(Command::SetRate(Rate::NORMAL), at_ms(7_000));
    assert_eq!(player.poll(at_ms(7_000)), Action::WaitUntil(at_ms(7_100)));
}

#[test]
fn space_after_the_end_begins_again() {
    let mut player = Player::new(Times::ms([0, 100]), settings("max"));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    assert_eq!(show(player.poll(at_ms(0))), 1);
    assert_eq!(player.poll(at_ms(0)), Action::Ended);
    player.command(Command::TogglePause, at_ms(0));
    assert_eq!(show(player.poll(at_ms(0))), 0);
    player.command(Command::Quit, at_ms(0));
    assert_eq!(player.poll(at_ms(0)), Action::Ended);
    player.command(Command::Home, at_ms(0));
    assert_eq!(player.poll(at_ms(0)), Action::Ended, "quitting is for good");
}

/// A caller that needs 100 ms for frame 2 of frames 40 ms apart.
fn slow_caller(late: LatePolicy) -> (Vec<(u64, i64)>, Counts) {
    let clock = clock();
    let mut player = Player::new(Times::every(40_000_000, 8), TransportSettings { late, ..settings("1") });
    let mut out = Vec::new();
    while let Some(frame) = player.next(&clock).unwrap() {
        out.push((frame.meta.sequence, (clock.now().as_ns() - START_NS) / 1_000_000));
        if out.len() == 3 {
            clock.advance(Span::from_ms(100));
        }
    }
    (out, player.report().counts)
}

#[test]
fn late_frames_are_all_delivered_by_default_and_the_later_ones_are_on_time_again() {
    let (out, counts) = slow_caller(LatePolicy::Keep);
    assert_eq!(out, [(0, 0), (1, 40), (2, 80), (3, 180), (4, 180), (5, 200), (6, 240), (7, 280)]);
    assert_eq!((counts.delivered, counts.late, counts.skipped), (8, 2, 0));
}

#[test]
fn late_frames_are_skipped_on_request_when_the_next_is_due_already() {
    let (out, counts) = slow_caller(LatePolicy::Skip);
    assert_eq!(out, [(0, 0), (1, 40), (2, 80), (4, 180), (5, 200), (6, 240), (7, 280)]);
    assert_eq!((counts.delivered, counts.late, counts.skipped), (7, 1, 1));
}

#[test]
fn skipping_never_leaves_out_the_last_frame_and_ends_in_a_loop_that_is_too_fast() {
    let clock = clock();
    let skip = TransportSettings { late: LatePolicy::Skip, ..settings("1") };
    let mut player = Player::new(Times::every(40_000_000, 100), skip.clone());
    play(&mut player, &clock, 1);
    clock.advance(Span::from_s(3_600));
    assert_eq!(play(&mut player, &clock, 9), [(99, 3_600_000)]);
    assert_eq!(player.report().counts.skipped, 98);

    let mut player = Player::new(Times::every(40_000_000, 3), TransportSettings { looped: true, ..skip });
    play(&mut player, &clock, 1);
    clock.advance(Span::from_s(3_600));
    assert_eq!(play(&mut player, &clock, 5).len(), 5);
}

#[test]
fn a_frame_that_cannot_be_read_is_an_error_once_and_costs_only_itself() {
    let clock = clock();
    let mut times = Times::ms([0, 40, 80]);
    times.damaged = vec![1];
    let mut player = Player::new(times, settings("1"));
    assert_eq!(play(&mut player, &clock, 1), [(0, 0)]);
    assert!(player.next(&clock).is_err());
    assert_eq!(play(&mut player, &clock, 9), [(2, 80)]);
    let counts = player.report().counts;
    assert_eq!((counts.delivered, counts.damaged), (2, 1));
}

#[test]
fn recorded_times_that_go_back_and_leaps_follow_the_written_rule() {
    let year_ms = 365 * 86_400_000;
    let times = Times::ms([0, 40, 80, year_ms, year_ms + 40, 120, 160, 150, 200]);
    let mut player = Player::new(times, settings("1"));
    let out: Vec<i64> = play(&mut player, &clock(), 99).into_iter().map(|(_, ms)| ms).collect();
    assert_eq!(out, [0, 40, 80, 120, 160, 200, 240, 240, 280]);
    let counts = player.report().counts;
    assert_eq!((counts.leaps, counts.set_back), (1, 1));
}

#[test]
fn the_player_measures_the_caller_and_its_own_error() {
    let clock = clock();
    let mut player = Player::new(Times::every(40_000_000, 100), settings("1"));
    while let Some(_frame) = player.next(&clock).unwrap() {
        clock.advance(Span::from_ms(10));
    }
    let report = player.report();
    assert_eq!((report.error.count, report.error.max_ns), (99, 0));
    assert_eq!(report.caller.count, 100);
    assert!(report.caller.p50_ns >= 10_000_000 && report.caller.max_ns <= 10_100_000, "{report}");
    let json = serde_json::to_value(report).unwrap();
    assert_eq!((&json["delivered"], &json["error"]["p50_ns"]), (&100.into(), &0.into()));
}

#[test]
fn on_the_real_clock_no_frame_is_early() {
    let clock = kinora::SystemClock;
    for spin in [Span::ZERO, Span::from_us(200)] {
        let mut player = Player::new(Times::every(2_000_000, 20), settings("1")).spinning(spin);
        let mut first = None;
        while let Some(frame) = player.next(&clock).unwrap() {
            let recorded = frame.meta.captured_at;
            let now = clock.now();
            let (start, start_recorded) = *first.get_or_insert((now, recorded));
            // The first frame went out a moment before `start`, so that later ones may come that moment sooner.
            assert!(now - start >= recorded - start_recorded - Span::from_ms(1));
        }
        assert_eq!(player.report().error.count, 19);
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::TogglePause),
        (-12..12_i64).prop_map(Command::Step),
        (0..40_u64).prop_map(Command::SeekFrame),
        (-1_000..9_000_i64).prop_map(|ms| Command::SeekTime(Span::from_ms(ms))),
        Just(Command::NextBookmark),
        Just(Command::PreviousBookmark),
        Just(Command::AddBookmark),
        Just(Command::Faster),
        Just(Command::Slower),
        Just(Command::Reverse),
        Just(Command::MarkIn),
        Just(Command::MarkOut),
        Just(Command::ClearMarks),
        Just(Command::ToggleLoop),
        Just(Command::Home),
        Just(Command::End),
    ]
}

proptest! {
    /// I5, the order of frames and the marks, whatever the recorded times, the commands and the caller's delays.
    #[test]
    fn no_frame_is_early_or_outside_its_marks_and_frames_follow_each_other(
        recorded_ms in prop::collection::vec(-5_000..5_000_i64, 1..30),
        looped: bool,
        skip: bool,
        turns in prop::collection::vec((0..200_i64, prop::option::weighted(0.2, any_command())), 1..120),
    ) {
        let late = if skip { LatePolicy::Skip } else { LatePolicy::Keep };
        let pacing = PacingSettings { leap_max: Span::from_s(3), ..PacingSettings::default() };
        let begin = TransportSettings { looped, late, pacing, ..TransportSettings::default() };
        let mut player = Player::new(Times::ms(recorded_ms.clone()), begin);
        let end = recorded_ms.len() as u64 - 1;
        let (mut now_ms, mut before, mut delivered) = (0, None, 0);
        for (wait_ms, command) in turns {
            now_ms += wait_ms;
            if let Some(command) = command {
                player.command(command, at_ms(now_ms));
                before = None;
            }
            match player.poll(at_ms(now_ms)) {
                Action::Show(shown) => {
                    delivered += 1;
                    prop_assert!(shown.due_at.is_none_or(|due_at| due_at <= at_ms(now_ms)));
                    prop_assert_eq!(shown.error, shown.due_at.map_or(Span::ZERO, |due_at| at_ms(now_ms) - due_at));
                    let (first, last) = player.transport().marks();
                    prop_assert!(shown.index >= first.unwrap_or(0) && shown.index <= last.unwrap_or(end));
                    if let (Some(before), false) = (before, skip) {
                        let reverse = player.rate().is_reverse();
                        let next: i64 = if reverse { before as i64 - 1 } else { before as i64 + 1 };
                        let (lowest, highest) = (first.unwrap_or(0), last.unwrap_or(end));
                        let wrapped = if reverse { highest as i64 } else { lowest as i64 };
                        prop_assert!(shown.index as i64 == next || player.transport().is_looped() && shown.index as i64 == wrapped);
                    }
                    before = Some(shown.index);
                }
                Action::WaitUntil(at) => prop_assert!(at > at_ms(now_ms)),
                Action::Paused => prop_assert!(player.transport().is_paused()),
                Action::Ended => prop_assert!(player.transport().has_ended(player.timeline())),
            }
        }
        prop_assert_eq!(player.report().counts.delivered, delivered);
    }

    /// Playing at a ratio takes exactly as long as the ratio says: from the first to the last deadline, rounded once.
    #[test]
    fn the_last_deadline_is_the_recorded_duration_divided_by_the_speed(
        gaps_ns in prop::collection::vec(0..100_000_000_i64, 1..200),
        numerator in 1..1_000_i32,
        denominator in 1..1_000_u32,
    ) {
        let times: Vec<i64> = std::iter::once(0).chain(gaps_ns.iter().scan(0, |at, gap| { *at += gap; Some(*at) })).collect();
        let duration_ns = i128::from(times[times.len() - 1]);
        let rate = Rate::At(Speed::new(numerator, denominator).unwrap());
        let mut player = Player::new(Times::ns(times), TransportSettings { rate, ..TransportSettings::default() });
        let clock = clock();
        while player.next(&clock).unwrap().is_some() {}
        let took_ns = i128::from(clock.now().as_ns() - START_NS);
        prop_assert_eq!(took_ns, duration_ns * i128::from(denominator) / i128::from(numerator));
    }
}
