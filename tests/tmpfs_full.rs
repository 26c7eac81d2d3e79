//! A disk that gets full, for real: a small tmpfs in a mount namespace of its own, which vanishes with the test.

use std::process::{Command, Output};

use common::{forget_settings, messages};

#[path = "common/kinora.rs"]
mod common;

/// Runs a script of `sh` with `$kinora` and `$disk`, an empty tmpfs of so many MiB; `None` where that is not allowed.
fn on_a_small_disk(mib: u32, script: &str) -> Option<Output> {
    let place = tempfile::tempdir().expect("a directory");
    let mount = format!("mount -t tmpfs -o size={mib}m tmpfs \"$disk\" || exit 77\n{script}");
    let mut unshare = Command::new("unshare");
    forget_settings(&mut unshare);
    let output = unshare
        .args(["--mount", "sh", "-c", &mount])
        .env("disk", place.path())
        .env("kinora", env!("CARGO_BIN_EXE_kinora"))
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output()
        .ok()?;
    let told = messages(&output);
    if output.status.code() == Some(77) || told.contains("unshare failed") {
        eprintln!("skipped: only root may mount a tmpfs here ({})", told.trim());
        return None;
    }
    Some(output)
}

/// The value after `NAME=` on a line of its own.
fn value<'a>(output: &'a str, name: &str) -> &'a str {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name}= in {output}"))
}

/// 900 kB a frame: the disk is full within seconds.
const RECORD: &str = "--source virtual --format raw --fps 100 --out \"$disk/recordings\"";
const REPORT: &str = "code=$?; echo code=$code
set -- \"$disk\"/recordings/*.kinora; echo files=$#
for file; do \"$kinora\" verify -q \"$file\"; verified=$?; [ $verified = 0 ] || break; done; echo verified=$verified
echo frames=$(\"$kinora\" info --json \"$1\" | sed 's/.*\"frames\": *\\([0-9]*\\).*/\\1/')
echo free=$(df -k --output=avail \"$disk\" | tail -1)";

fn record(mib: u32, options: &str) -> Option<(String, String)> {
    let output = on_a_small_disk(mib, &format!("\"$kinora\" record {RECORD} {options}\n{REPORT}"))?;
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), messages(&output)))
}

#[test]
fn a_full_disk_ends_the_recording_cleanly_with_all_frames_readable() {
    for mib in [70, 100, 150] {
        let Some((told, messages)) = record(mib, "--min-free 0") else { return };
        assert_eq!(value(&told, "code"), "3", "{mib} MiB: {told}{messages}");
        assert_eq!(value(&told, "verified"), "0", "{mib} MiB: {told}{messages}");
        let frames: u64 = value(&told, "frames").parse().expect("a number");
        // 921,600 bytes a frame; less than half of the disk used would be a waste.
        assert!(frames > u64::from(mib) / 2, "{frames} frames in {mib} MiB: {messages}");
        assert!(messages.contains("no space left on the disk"), "{messages}");
    }
}

#[test]
fn the_floor_of_free_space_is_kept() {
    let Some((told, messages)) = record(200, "--min-free 100MB") else { return };
    assert_eq!(value(&told, "code"), "3", "{told}{messages}");
    assert_eq!(value(&told, "verified"), "0", "{told}{messages}");
    let free_kib: u64 = value(&told, "free").trim().parse().expect("a number");
    assert!(free_kib * 1024 >= 100_000_000, "{free_kib} KiB are free: {messages}");
    assert!(messages.contains("min-free"), "the message names the remedy: {messages}");
}

#[test]
fn the_oldest_recordings_go_first_when_a_total_size_is_to_be_kept() {
    let options = "--min-free 0 --split-size 20MB --keep-size 80MB --duration 3s";
    let Some((told, messages)) = record(200, options) else { return };
    assert_eq!(value(&told, "code"), "0", "{told}{messages}");
    assert_eq!(value(&told, "verified"), "0", "{told}{messages}");
    let (files, free_kib): (u64, u64) =
        (value(&told, "files").parse().expect("a number"), value(&told, "free").trim().parse().expect("a number"));
    assert!((2..=5).contains(&files), "{files} files of 20 MB: {told}{messages}");
    assert!(free_kib > 100 << 10, "{free_kib} KiB are free: {told}{messages}");
}

#[test]
fn a_replay_goes_on_when_its_recordings_fill_the_disk() {
    let replay = "--source virtual --size 320x240 --format raw --fps 100 --autostart --min-free 100MB";
    let wait = r#"{"wait":{"FrameBufferFull":true},"timeout":"60s"}"#;
    for place in ["--output \"$disk/out.kinora\"", "--out \"$disk/recordings\""] {
        // 17 MB are to be had, 23 MB a second come; what is told last stands behind the end of the recording.
        let script = format!(
            "{{ echo '{wait}'; sleep 3; echo '{{\"get\":\"Stored\"}}'; }} | \"$kinora\" replay {replay} {place}
             echo code=$?"
        );
        let Some(output) = on_a_small_disk(112, &script) else { return };
        let (told, messages) = (String::from_utf8_lossy(&output.stdout).into_owned(), messages(&output));
        assert_eq!(value(&told, "code"), "3", "{place}: {told}{messages}");
        assert!(messages.contains("the replay goes on"), "{place}: {messages}");
        assert!(messages.contains("min-free"), "{place}: the message names the remedy: {messages}");
        let number = |line: &str| line.strip_suffix('}')?.rsplit_once(r#""result":"#)?.1.parse().ok();
        let stored: u64 = told.lines().find_map(number).expect("an answer with a number");
        assert!(stored > 100, "{place}: the window took {stored} frames: {messages}");
    }
}
