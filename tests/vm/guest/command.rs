//! The command, as a user with a camera types it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::{CAMERA, scratch, set};

/// The command; variables called `KINORA_…` are settings to it, and ours is none.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/kinora");
    command.args(arguments).env_remove("KINORA_VM");
    command
}

pub fn kinora(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json(arguments: &[&str]) -> Value {
    let output = kinora(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text} {}", messages(&output)))
}

/// The recording of that name, as the command is told of it.
pub fn recording(name: &str) -> String {
    scratch(name).with_extension("kinora").display().to_string()
}

/// Records from `source` and returns the exit code, what was said, and what is in the file, which must be intact.
pub fn record(name: &str, source: &str, more: &[&str], meanwhile: impl FnOnce()) -> (Option<i32>, String, Value) {
    let file = recording(name);
    // Another camera's tests may have used the name.
    let _ = std::fs::remove_file(&file);
    let arguments = [&["record", "--source", source, "--out", &file], more].concat();
    let recorder = command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    meanwhile();
    let output = recorder.wait_with_output().unwrap();
    let told = messages(&output);
    assert!(Path::new(&file).exists(), "{arguments:?}: {told}");
    let verified = json(&["verify", "--json", &file]);
    assert_eq!((&verified["damaged_count"], &verified["finalized"]), (&0.into(), &true.into()), "{verified}: {told}");
    (output.status.code(), told, json(&["info", "--json", &file]))
}

pub fn a_hundred_frames_of_a_camera_that_loses_some_make_an_intact_file() {
    set("Percentage of Dropped Buffers", 20);
    let (code, told, info) = record("hundred", &format!("v4l2:{CAMERA}"), &["--frames", "100"], || {
        for _ in 0..5 {
            std::thread::sleep(Duration::from_secs(1));
            set("Inject V4L2_BUF_FLAG_ERROR", 1);
        }
    });
    set("Percentage of Dropped Buffers", 0);
    println!("{told}");
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {told}");
    assert_eq!((&info["frames"], &info["width"], &info["height"]), (&100.into(), &640.into(), &480.into()), "{info}");
    assert!(info["dropped"].as_u64().unwrap() >= 5, "{info}");
}

pub fn auto_finds_the_camera() {
    let (code, told, info) = record("auto", "auto", &["--frames", "20"], || {});
    // 3: the emulator was too slow for some frames.
    assert!(matches!(code, Some(0 | 3)) && info["frames"] == 20, "{code:?}: {told}");
    assert!(info["source"].as_str().unwrap().contains(CAMERA), "{info}");
}

pub fn the_recording_of_an_unplugged_camera_is_closed_and_the_command_says_why_it_ended() {
    let (code, told, info) = record("gone", &format!("v4l2:{CAMERA}"), &[], || {
        std::thread::sleep(Duration::from_secs(5));
        set("Disconnect", 1);
    });
    assert!(matches!(code, Some(1 | 3)), "{code:?}: {told}");
    assert!(told.contains("/dev/video0 went away"), "{told}");
    assert!(info["frames"].as_u64().unwrap() >= 10, "{info}");
}

pub fn a_camera_that_is_not_there_is_exit_1_with_the_cameras_that_are() {
    let file = recording("none");
    let output = kinora(&["record", "--source", "v4l2:/dev/video9", "--out", &file]);
    let told = messages(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("/dev/video9") && told.contains(CAMERA), "{told}");
    assert!(!Path::new(&file).exists());
}
