//! V4L2 for real: runs in a virtual machine with the kernel's `vivid` camera, or with a module that looks like an IMX500;
//! `scripts/vm-test` starts it. On a host it says so and does nothing.
//!
//! vivid's own controls and the module's parameters are used against us: they lose frames, mark buffers as broken, refuse
//! calls and vanish. The tests run one after the other, because there is one camera.

mod allocation;
mod card;
mod command;
mod engine;
mod fake;
mod imx500;
mod raw;
mod recording;
mod source;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use v4l::control::{Control, Type, Value};

const CAMERA: &str = "/dev/video0";
/// An emulated machine on a busy host: long enough for anything that ends at all.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A file or folder of that name where the machine keeps nothing.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

macro_rules! named {
    ($($file:ident: $($test:ident)*;)*) => { &[$($((stringify!($test), $file::$test as fn())),*),*] };
}

type Tests = &'static [(&'static str, fn())];

const VIVID: Tests = named! {
    source:
        frames_of_yuyv
        frames_of_nv12
        frames_of_yuv420
        frames_of_rgb
        frames_of_bgr
        frames_of_grey
        jpeg_is_refused_by_a_camera_that_has_none_with_what_it_has
        the_first_capture_node_is_found_and_the_metadata_node_is_not_taken_for_one
        the_nearest_size_and_rate_are_taken_and_told
        frames_that_the_camera_drops_are_gaps_in_the_numbers
        buffers_that_the_driver_marks_as_broken_are_reported_each_with_its_number
        a_stream_that_breaks_off_is_started_again_and_the_pause_is_accounted_for
        a_start_that_the_driver_refuses_is_an_error_and_the_next_one_works
        a_camera_in_use_is_told_with_the_program_that_has_it
        a_camera_that_may_not_be_opened_is_told_with_what_to_join
        stopping_and_starting_gives_frames_again
        a_slot_that_is_too_small_loses_the_frame_and_the_buffer_comes_back
        a_step_of_the_wall_clock_shows_in_the_next_frames
        an_unplugged_camera_ends_the_stream_and_nothing_panics
        ;
    engine:
        every_number_is_delivered_or_in_the_ledger_whatever_the_camera_does
        a_loop_that_is_too_slow_loses_frames_and_every_one_is_in_the_ledger
        frames_of_an_unplugged_camera_are_delivered_before_the_error
        ;
    allocation:
        the_capture_thread_of_a_camera_allocates_nothing_however_long_it_runs
        ;
    raw:
        raw_bayer_in_each_order_is_developed_with_the_colours_of_the_bars
        pictures_and_metadata_of_two_nodes_are_paired_whatever_is_dropped
        ;
    recording:
        frames_of_each_format_are_recorded_and_read_back
        a_recording_of_a_camera_that_drops_and_breaks_frames_accounts_for_each
        a_recording_of_an_unplugged_camera_ends_cleanly_with_all_it_gave
        ;
    command:
        a_hundred_frames_of_a_camera_that_loses_some_make_an_intact_file
        auto_finds_the_camera
        the_recording_of_an_unplugged_camera_is_closed_and_the_command_says_why_it_ended
        a_camera_that_is_not_there_is_exit_1_with_the_cameras_that_are
        ;
};

/// Once in each layout of the module.
const IMX500: Tests = named! {
    imx500:
        the_camera_is_found_and_named
        frames_at_a_rate_that_this_machine_carries_lose_none
        results_belong_to_their_frames
        links_are_left_as_they_were_found
        a_post_processing_of_ones_own_is_deployed_and_its_results_are_of_their_frames
        ;
};

/// In the first layout, and with all tests in the other, too.
const IMX500_FAULTS: Tests = named! {
    imx500:
        a_slow_network_gives_a_result_in_one_of_three_frames
        a_dead_network_is_told_and_pictures_go_on
        missing_metadata_is_in_the_ledger_and_pictures_are_kept
        missing_pictures_are_in_the_ledger_and_results_are_kept
        a_camera_that_hangs_is_started_again_after_a_failed_start_and_the_pause_is_accounted_for
        a_start_that_the_chip_refuses_is_told
        an_unplugged_camera_ends_the_recording_and_the_file_is_intact
        a_stop_during_the_upload_is_answered_at_once_and_leaves_the_camera_as_it_was
        ;
    allocation:
        the_capture_thread_of_an_imx500_allocates_nothing_however_long_it_runs
        ;
};

/// With all tests only, in each layout.
const IMX500_LONG: Tests = named! {
    imx500:
        at_30_frames_a_second_every_loss_is_in_the_ledger
        exposure_follows_the_light_and_settles
        ;
};

/// On each file system of cards.
const CARDS: Tests = named! {
    card:
        a_recording_in_parts_has_every_frame_and_each_part_is_intact
        what_a_recording_has_grown_by_is_its_own_and_a_kill_costs_no_frame_before_the_last_sync
        a_full_card_ends_the_recording_whole
        ;
};

/// All tests are wanted, and long ones at their full length.
pub fn is_full() -> bool {
    std::env::var_os("KINORA_VM_FULL").is_some()
}

/// How many frames a test takes: all of them, or fewer where the tests are to be over soon.
pub fn frames(all: u32, soon: u32) -> u32 {
    if is_full() { all } else { soon }
}

fn tests_with(camera: &str) -> Vec<Tests> {
    match camera {
        "vivid" => vec![VIVID],
        "vfat" | "exfat" => vec![CARDS],
        _ if is_full() => vec![IMX500, IMX500_FAULTS, IMX500_LONG],
        "unicam" => vec![IMX500, IMX500_FAULTS],
        _ => vec![IMX500],
    }
}

fn main() -> ExitCode {
    let Ok(camera) = std::env::var("KINORA_VM") else {
        let count = [VIVID, CARDS, IMX500, IMX500_FAULTS, IMX500_LONG].map(<[_]>::len).iter().sum::<usize>();
        println!("skipped: these {count} tests need a virtual machine; run scripts/vm-test");
        return ExitCode::SUCCESS;
    };
    if let Some(frames) = std::env::var(allocation::FRAMES).ok().and_then(|frames| frames.parse().ok()) {
        allocation::take(frames, &camera);
        return ExitCode::SUCCESS;
    }
    let filter = std::env::args().nth(1).unwrap_or_default();
    let tests = tests_with(&camera).concat();
    let (mut passed, mut failed) = (0, 0);
    let wanted = |name: &str| filter.split(',').any(|part| name.contains(part));
    for (name, test) in tests.iter().filter(|(name, _)| wanted(name)) {
        let begun = std::time::Instant::now();
        let good = std::panic::catch_unwind(test).is_ok();
        let seconds = begun.elapsed().as_secs_f32();
        println!("test {camera}: {name} ... {} ({seconds:.1} s)", if good { "ok" } else { "FAILED" });
        *if good { &mut passed } else { &mut failed } += 1;
    }
    println!("{camera}: {passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0 || passed == 0 && filter.is_empty()))
}

/// Sets one of vivid's controls by its name; for a button the value does not matter.
pub fn set(name: &str, value: i64) {
    let device = v4l::Device::with_path(CAMERA).unwrap();
    let controls = device.query_controls().unwrap();
    let control = controls.iter().find(|control| control.name == name).unwrap_or_else(|| panic!("vivid has no {name}"));
    let value = if control.typ == Type::Boolean { Value::Boolean(value != 0) } else { Value::Integer(value) };
    device.set_control(Control { id: control.id, value }).unwrap();
}

fn shell(line: &str) {
    assert!(Command::new("/bin/sh").args(["-c", line]).status().unwrap().success(), "{line}");
}
