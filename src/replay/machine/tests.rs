//! Each cell of the table of commands and states, and the counts of every speed.

extern crate std;
use std::vec::Vec;

use super::*;

/// A machine and the store that it speaks of, without frames.
struct Bench {
    machine: Machine,
    store: Extent,
}

impl Bench {
    fn new(settings: ReplaySettings) -> Self {
        Self { machine: Machine::new(settings, 300).unwrap(), store: Extent::default() }
    }

    fn with_frames(frames: u32) -> Self {
        let mut bench = Self::new(ReplaySettings::default());
        bench.command(Command::StartRecording).unwrap();
        bench.run(frames);
        bench.command(Command::Stop).unwrap();
        assert_eq!(bench.store.len, frames.min(100));
        bench
    }

    fn apply(&mut self, action: StoreAction) {
        let keep = match action {
            StoreAction::Keep => return,
            StoreAction::Clear => 0,
            StoreAction::CutTo(frames) => frames,
        };
        let gone = self.store.len.saturating_sub(keep);
        self.store = Extent { oldest: self.store.oldest + u64::from(gone), len: self.store.len - gone };
    }

    fn command(&mut self, command: Command) -> Result<(), Refused> {
        let action = self.machine.command(command, self.store)?;
        self.apply(action);
        Ok(())
    }

    fn set(&mut self, setting: Setting) -> Result<(), OutOfRange> {
        let action = self.machine.set(setting, self.store)?;
        self.apply(action);
        Ok(())
    }

    fn tick(&mut self) -> Tick {
        let tick = self.machine.tick(Advance::Evenly);
        self.apply(tick.store);
        if tick.record {
            self.store.len += 1;
            self.apply(StoreAction::CutTo(self.machine.settings().max_frames_in_memory));
        }
        tick
    }

    fn run(&mut self, ticks: u32) -> Vec<Shown> {
        (0..ticks).map(|_| self.tick().shown).collect()
    }

    /// Positions shown until the replay ends, at most `limit`.
    fn positions(&mut self, limit: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < limit {
            match self.tick().shown {
                Shown::Stored(ordinal) => positions.push(self.store.position(ordinal)),
                _ => break,
            }
        }
        positions
    }

    fn state(&self) -> State {
        self.machine.state()
    }
}

fn speed(n: i32, d: u32) -> Setting {
    Setting::PlaybackSpeed(Speed::new(n, d).unwrap())
}

#[test]
fn start_recording_when_stopped_clears_and_records() {
    let mut bench = Bench::with_frames(5);
    bench.command(Command::StartRecording).unwrap();
    assert_eq!((bench.state(), bench.store.len), (State::Recording, 0));
    assert_eq!(bench.run(2), [Shown::Live, Shown::Live]);
    assert_eq!(bench.store.len, 2);
}

#[test]
fn start_recording_when_recording_clears_and_goes_on() {
    let mut bench = Bench::with_frames(5);
    bench.command(Command::StartRecording).unwrap();
    bench.run(3);
    bench.command(Command::StartRecording).unwrap();
    assert_eq!((bench.state(), bench.store.len), (State::Recording, 0));
}

#[test]
fn start_recording_in_playback_ends_it_clears_and_records() {
    let mut bench = Bench::with_frames(5);
    bench.command(Command::StartPlayback).unwrap();
    bench.tick();
    bench.command(Command::StartRecording).unwrap();
    assert_eq!((bench.state(), bench.store.len), (State::Recording, 0));
    assert_eq!(bench.tick().shown, Shown::Live);
    assert_eq!(bench.machine.last_shown(), None, "nothing was shown since the clear");
}

#[test]
fn start_playback_when_stopped_plays_from_the_next_tick() {
    let mut bench = Bench::with_frames(3);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(10), [1, 2, 3]);
    assert_eq!(bench.state(), State::Stopped);
    assert_eq!(bench.machine.last_shown(), Some(2), "the last frame stays readable");
}

#[test]
fn start_playback_when_recording_ends_the_recording() {
    let mut bench = Bench::with_frames(0);
    bench.command(Command::StartRecording).unwrap();
    bench.run(2);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.state(), State::Playback);
    assert_eq!(bench.positions(10), [1, 2]);
    assert_eq!((bench.state(), bench.store.len), (State::Stopped, 2));
}

#[test]
fn start_playback_in_playback_restarts_at_the_start_frame() {
    let mut bench = Bench::with_frames(5);
    bench.set(Setting::PlaybackStartFrame(2)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(3), [2, 3, 4]);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(10), [2, 3, 4, 5]);
}

#[test]
fn playback_of_an_empty_buffer_is_refused_and_everything_goes_on() {
    let mut bench = Bench::with_frames(0);
    assert_eq!(bench.command(Command::StartPlayback), Err(Refused::BufferEmpty));
    assert_eq!(bench.state(), State::Stopped);
    bench.command(Command::StartRecording).unwrap();
    assert_eq!(bench.command(Command::StartPlayback), Err(Refused::BufferEmpty));
    assert_eq!(bench.state(), State::Recording);
}

#[test]
fn a_start_after_the_stop_is_refused_and_everything_goes_on() {
    let mut bench = Bench::with_frames(5);
    bench.set(Setting::PlaybackStartFrame(4)).unwrap();
    bench.set(Setting::PlaybackStopFrame(2)).unwrap();
    let refused = Err(Refused::StartAfterStop { start: 4, stop: 2 });
    assert_eq!(bench.command(Command::StartPlayback), refused);
    assert_eq!(bench.state(), State::Stopped);
    bench.set(Setting::PlaybackStopFrame(5)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    bench.tick();
    bench.set(Setting::PlaybackStartFrame(5)).unwrap();
    bench.set(Setting::PlaybackStopFrame(4)).unwrap();
    assert!(bench.command(Command::StartPlayback).is_err());
    assert_eq!(bench.state(), State::Playback, "the replay goes on");
}

#[test]
fn stop_keeps_the_buffer_and_resumes_nothing() {
    let mut bench = Bench::with_frames(4);
    bench.command(Command::Stop).unwrap();
    assert_eq!((bench.state(), bench.store.len), (State::Stopped, 4));
    bench.command(Command::ResumeRecording).unwrap();
    bench.run(2);
    bench.command(Command::Stop).unwrap();
    assert_eq!((bench.state(), bench.store.len), (State::Stopped, 6));
    bench.set(Setting::StartRecordingAfterPlayback(true)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    bench.tick();
    bench.command(Command::Stop).unwrap();
    bench.run(3);
    assert_eq!((bench.state(), bench.store.len), (State::Stopped, 6));
}

#[test]
fn reset_gives_the_defaults_and_keeps_the_newest_hundred_in_every_state() {
    for prepare in [None, Some(Command::ResumeRecording), Some(Command::StartPlayback)] {
        let settings = ReplaySettings { max_frames_in_memory: 250, jpeg_quality: 33, ..ReplaySettings::default() };
        let mut bench = Bench::new(settings);
        bench.command(Command::StartRecording).unwrap();
        bench.run(260);
        bench.command(Command::Stop).unwrap();
        if let Some(command) = prepare {
            bench.command(command).unwrap();
        }
        bench.tick();
        let newest = bench.store.oldest + u64::from(bench.store.len);
        bench.command(Command::Reset).unwrap();
        assert_eq!((bench.state(), bench.store.len), (State::Stopped, 100));
        assert_eq!(bench.store.oldest + 100, newest);
        assert_eq!(*bench.machine.settings(), ReplaySettings::default());
    }
}

#[test]
fn every_slow_speed_shows_each_frame_exactly_so_many_times() {
    for times in [1_u32, 2, 3, 4, 5, 10] {
        let mut bench = Bench::with_frames(4);
        bench.set(speed(1, times)).unwrap();
        bench.command(Command::StartPlayback).unwrap();
        let expected: Vec<u64> = (1..=4).flat_map(|p| std::iter::repeat_n(p, times as usize)).collect();
        assert_eq!(bench.positions(1000), expected, "at 1/{times}");
    }
}

#[test]
fn a_frozen_replay_never_ends_by_itself() {
    let mut bench = Bench::with_frames(4);
    bench.set(speed(0, 1)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(5000), std::vec![1; 5000]);
    bench.command(Command::Stop).unwrap();
    assert_eq!(bench.tick().shown, Shown::Live);
}

#[test]
fn fast_and_reverse_replays_stay_between_start_and_stop() {
    let mut bench = Bench::with_frames(7);
    bench.set(speed(3, 1)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(100), [1, 4, 7]);
    bench.set(speed(-1, 1)).unwrap();
    bench.set(Setting::PlaybackStartFrame(3)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(100), [7, 6, 5, 4, 3]);
}

#[test]
fn a_new_speed_counts_at_the_next_tick_and_skips_nothing() {
    let mut bench = Bench::with_frames(6);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(2), [1, 2]);
    bench.set(speed(1, 3)).unwrap();
    assert_eq!(bench.positions(5), [2, 2, 3, 3, 3]);
    bench.set(speed(1, 1)).unwrap();
    assert_eq!(bench.positions(100), [4, 5, 6]);
}

#[test]
fn a_new_speed_counts_at_the_next_start_when_nothing_plays() {
    let mut bench = Bench::with_frames(2);
    bench.set(speed(1, 2)).unwrap();
    assert_eq!(bench.machine.settings().playback_speed, Speed::new(1, 2).unwrap());
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(100), [1, 1, 2, 2]);
}

#[test]
fn a_fresh_recording_after_playback_begins_on_the_same_tick() {
    let mut bench = Bench::with_frames(2);
    bench.set(Setting::StartRecordingAfterPlayback(true)).unwrap();
    bench.set(Setting::DefaultOutput(DefaultOutput::None)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    bench.run(2);
    let tick = bench.tick();
    assert_eq!((tick.shown, tick.record, tick.ended), (Shown::Live, true, true), "no black frame between");
    assert_eq!((bench.state(), bench.store.len), (State::Recording, 1));
}

#[test]
fn the_default_output_counts_only_when_stopped() {
    let mut bench = Bench::new(ReplaySettings { default_output: DefaultOutput::None, ..Default::default() });
    assert_eq!(bench.tick().shown, Shown::Black);
    bench.command(Command::StartRecording).unwrap();
    assert_eq!(bench.tick().shown, Shown::Live);
    bench.command(Command::Stop).unwrap();
    assert_eq!(bench.tick().shown, Shown::Black);
    bench.set(Setting::Enabled(false)).unwrap();
    assert_eq!(bench.tick().shown, Shown::Live, "a disabled operator lets frames pass");
    assert_eq!(bench.command(Command::StartRecording), Err(Refused::Disabled));
}

#[test]
fn fewer_frames_go_at_once_but_in_playback_when_it_ends() {
    let mut bench = Bench::with_frames(50);
    bench.set(Setting::MaxFramesInMemory(40)).unwrap();
    assert_eq!(bench.store, Extent { oldest: 10, len: 40 });
    bench.command(Command::StartPlayback).unwrap();
    bench.tick();
    bench.set(Setting::MaxFramesInMemory(5)).unwrap();
    assert_eq!((bench.store.len, bench.machine.has_pending_cut()), (40, true));
    assert_eq!(bench.positions(100).len(), 39, "the replay is not shortened");
    assert_eq!((bench.store, bench.machine.has_pending_cut()), (Extent { oldest: 45, len: 5 }, false));
}

#[test]
fn a_value_out_of_range_names_the_range_and_changes_nothing() {
    let mut bench = Bench::with_frames(3);
    for (setting, field, min, max, got) in [
        (Setting::JpegQuality(9), "JpegQuality", 10, 100, 9),
        (Setting::JpegQuality(101), "JpegQuality", 10, 100, 101),
        (Setting::MaxFramesInMemory(0), "MaxFramesInMemory", 1, 300, 0),
        (Setting::MaxFramesInMemory(301), "MaxFramesInMemory", 1, 300, 301),
        (Setting::PlaybackStartFrame(-1), "PlaybackStartFrame", 0, i64::from(u32::MAX), -1),
    ] {
        assert_eq!(bench.set(setting), Err(OutOfRange { field, min, max, got }));
        assert_eq!(*bench.machine.settings(), ReplaySettings::default());
    }
}

#[test]
fn positions_stay_as_set_and_the_stop_follows_the_buffer_until_set() {
    let mut bench = Bench::with_frames(10);
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (1, 10));
    bench.set(Setting::PlaybackStartFrame(20)).unwrap();
    bench.set(Setting::PlaybackStopFrame(30)).unwrap();
    bench.command(Command::StartRecording).unwrap();
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (20, 30));
    bench.run(25);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(100), [20, 21, 22, 23, 24, 25], "the stop is clamped to the buffer");
    bench.set(Setting::PlaybackStopFrame(0)).unwrap();
    assert_eq!(bench.machine.stop_position(bench.store), 25);
}

#[test]
fn a_new_stop_counts_at_once_and_a_new_start_next_time() {
    let mut bench = Bench::with_frames(10);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(4), [1, 2, 3, 4]);
    bench.set(Setting::PlaybackStartFrame(8)).unwrap();
    bench.set(Setting::PlaybackStopFrame(6)).unwrap();
    assert_eq!(bench.positions(100), [5, 6]);
    bench.set(Setting::PlaybackStartFrame(1)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(4), [1, 2, 3, 4]);
    bench.set(Setting::PlaybackStopFrame(2)).unwrap();
    assert_eq!(bench.positions(100), [0_u64; 0], "below the current frame: it was the last");
}

#[test]
fn marks_hold_frames_slide_down_and_rest_at_one() {
    let mut bench = Bench::new(ReplaySettings { max_frames_in_memory: 10, ..Default::default() });
    assert_eq!(bench.command(Command::MarkIn), Err(Refused::BufferEmpty));
    bench.command(Command::StartRecording).unwrap();
    bench.run(8);
    bench.command(Command::MarkIn).unwrap();
    bench.run(2);
    bench.command(Command::MarkOut).unwrap();
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (8, 10));
    bench.run(5);
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (3, 5));
    bench.run(50);
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (1, 1));
}

#[test]
fn a_paused_replay_stands_still_and_reports_playback() {
    let mut bench = Bench::with_frames(4);
    assert_eq!(bench.command(Command::Pause), Err(Refused::NotPlaying));
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(2), [1, 2]);
    bench.command(Command::Pause).unwrap();
    assert_eq!((bench.state(), bench.state().name()), (State::Paused, "Playback"));
    assert_eq!(bench.positions(3), [2, 2, 2]);
    bench.command(Command::Resume).unwrap();
    assert_eq!(bench.positions(100), [3, 4]);
}

#[test]
fn steps_hold_the_replay_and_stay_between_its_ends() {
    let mut bench = Bench::with_frames(30);
    for command in [Command::Step(1), Command::Home, Command::End] {
        assert_eq!(bench.command(command), Err(Refused::NotPlaying));
    }
    bench.set(Setting::PlaybackStartFrame(3)).unwrap();
    bench.set(Setting::PlaybackStopFrame(20)).unwrap();
    bench.set(speed(-1, 2)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(3), [20, 20, 19]);
    bench.command(Command::Step(-1)).unwrap();
    assert_eq!((bench.state(), bench.positions(3)), (State::Paused, [18, 18, 18].into()), "in recorded order");
    bench.command(Command::Step(-10)).unwrap();
    assert_eq!(bench.positions(2), [8, 8]);
    for (frames, position) in [(-10, 3), (1, 4), (i32::MAX, 20), (i32::MIN, 3)] {
        bench.command(Command::Step(frames)).unwrap();
        assert_eq!(bench.positions(2), [position, position]);
    }
    bench.command(Command::Step(1)).unwrap();
    bench.command(Command::Resume).unwrap();
    assert_eq!(bench.positions(100), [4, 4, 3, 3], "each frame gets its full time from where it was stepped to");
}

#[test]
fn home_and_end_lead_to_the_ends_and_the_replay_goes_on() {
    let mut bench = Bench::with_frames(6);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(3), [1, 2, 3]);
    bench.command(Command::MarkIn).unwrap();
    bench.command(Command::Home).unwrap();
    assert_eq!(bench.positions(2), [3, 4], "the in point");
    bench.command(Command::Pause).unwrap();
    bench.command(Command::End).unwrap();
    assert_eq!((bench.state(), bench.positions(2)), (State::Paused, [6, 6].into()), "held stays held");
    bench.set(Setting::PlaybackStopFrame(2)).unwrap();
    let refused = Err(Refused::StartAfterStop { start: 3, stop: 2 });
    assert_eq!((bench.command(Command::Home), bench.command(Command::End)), (refused, refused));
    bench.command(Command::ClearMarks).unwrap();
    bench.command(Command::Home).unwrap();
    bench.command(Command::Resume).unwrap();
    assert_eq!(bench.positions(100), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_loop_begins_again_without_a_gap_and_follows_its_marks() {
    let mut bench = Bench::with_frames(4);
    bench.set(Setting::StartRecordingAfterPlayback(true)).unwrap();
    bench.set(Setting::Loop(true)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(9), [1, 2, 3, 4, 1, 2, 3, 4, 1]);
    bench.set(Setting::PlaybackStartFrame(2)).unwrap();
    bench.set(Setting::PlaybackStopFrame(3)).unwrap();
    bench.set(speed(1, 2)).unwrap();
    assert_eq!(bench.positions(8), [1, 2, 2, 3, 3, 2, 2, 3], "the new start counts when it begins again");
    bench.set(speed(-1, 1)).unwrap();
    assert_eq!(bench.positions(5), [2, 3, 2, 3, 2]);
    bench.set(Setting::PlaybackStartFrame(4)).unwrap();
    assert_eq!(bench.positions(5), [0_u64; 0], "where a start would be refused, a loop ends");
    assert_eq!(bench.state(), State::Recording);
    bench.command(Command::Reset).unwrap();
    assert!(!bench.machine.settings().looped);
}

#[test]
fn a_loop_that_is_switched_off_ends_with_its_pass() {
    let mut bench = Bench::with_frames(3);
    bench.set(Setting::Loop(true)).unwrap();
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(4), [1, 2, 3, 1]);
    bench.set(Setting::Loop(false)).unwrap();
    assert_eq!(bench.positions(100), [2, 3]);
    assert_eq!(bench.state(), State::Stopped);
}

#[test]
fn cleared_marks_play_everything_again() {
    let mut bench = Bench::with_frames(5);
    bench.command(Command::StartPlayback).unwrap();
    assert_eq!(bench.positions(2), [1, 2]);
    bench.command(Command::MarkIn).unwrap();
    bench.command(Command::MarkOut).unwrap();
    bench.command(Command::ClearMarks).unwrap();
    assert_eq!(bench.positions(100), [3, 4, 5], "the stop counts at once");
    assert_eq!((bench.machine.start_position(bench.store), bench.machine.stop_position(bench.store)), (1, 5));
    let mut empty = Bench::with_frames(0);
    empty.command(Command::ClearMarks).unwrap();
}

#[test]
fn autostart_is_read_once() {
    let mut bench = Bench::new(ReplaySettings { autostart_recording: true, ..Default::default() });
    assert_eq!(bench.state(), State::Recording);
    bench.command(Command::Stop).unwrap();
    bench.set(Setting::AutostartRecording(true)).unwrap();
    bench.run(3);
    assert_eq!(bench.state(), State::Stopped);
}
