//! Recordings on the file systems of memory cards, which cannot allocate ahead as a disk's can (exFAT not at all), on `/card`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::command::{command, json, kinora, messages};

/// The only folder of the card: a recording that was killed has grown into all of its room.
fn folder(name: &str) -> PathBuf {
    for other in fs::read_dir("/card").unwrap() {
        let path = other.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let folder = Path::new("/card").join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

/// Frames of a recording that must be intact, and whether it was closed.
fn intact(file: &Path) -> (u64, bool) {
    let report = json(&["verify", "--json", file.to_str().unwrap()]);
    assert_eq!(report["damaged_count"], 0, "{report}");
    (report["frames_ok"].as_u64().unwrap(), report["finalized"] == true)
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "kinora"));
    files.sort();
    files
}

pub fn a_recording_in_parts_has_every_frame_and_each_part_is_intact() {
    let folder = folder("parts");
    let place = folder.to_str().unwrap();
    let line = ["--frames", "300", "--split-size", "1MiB", "--clock", "manual", "--min-free", "0"];
    let output = kinora(&[&["record", "--source", "virtual:seed=7,size=320x240", "--out", place], &line[..]].concat());
    assert!(output.status.success(), "{}", messages(&output));
    let files = recordings(&folder);
    assert!(files.len() > 2, "{files:?}");
    let frames: Vec<_> = files.iter().map(|file| intact(file)).collect();
    assert!(frames.iter().all(|&(_, closed)| closed), "{frames:?}");
    assert_eq!(frames.iter().map(|(frames, _)| frames).sum::<u64>(), 300);
}

pub fn what_a_recording_has_grown_by_is_its_own_and_a_kill_costs_no_frame_before_the_last_sync() {
    let folder = folder("grown");
    let file = folder.join("a.kinora");
    let line = [
        "record",
        "--source",
        "virtual:size=320x240",
        "--fps",
        "5",
        "--min-free",
        "0",
        "--sync",
        "every-frame",
        "--out",
    ];
    let mut child = command(&[&line[..], &[file.to_str().unwrap()]].concat()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let frames = |file: &Path| json(&["info", "--json", file.to_str().unwrap()])["frames"].as_u64();
    // Without blocks behind them, pages of the map would be a deadly signal when the card is full.
    let (seen, grown) = loop {
        assert!(begun.elapsed() < PATIENCE, "no frames came");
        std::thread::sleep(Duration::from_millis(500));
        match file.exists().then(|| frames(&file)).flatten() {
            Some(seen) if seen > 3 => break (seen, fs::metadata(&file).unwrap()),
            _ => {}
        }
    };
    assert!(grown.len() >= 1 << 20 && grown.blocks() * 512 >= grown.len(), "{} of {}", grown.blocks(), grown.len());
    child.kill().unwrap();
    child.wait().unwrap();
    let (kept, closed) = intact(&file);
    assert!(kept >= seen && !closed, "{kept} of {seen}, closed: {closed}");
}

pub fn a_full_card_ends_the_recording_whole() {
    let folder = folder("full");
    let room = rustix::fs::statvfs("/card").unwrap();
    let mut left = (room.f_bavail * room.f_frsize).saturating_sub(6 << 20);
    let ballast = folder.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while left > 0 {
        let part = left.min(1 << 20);
        file.write_all(&vec![1; part as usize]).unwrap();
        left -= part;
    }
    drop(file);
    let place = folder.join("a.kinora");
    let line = ["--source", "virtual:size=640x480", "--format", "raw", "--clock", "manual", "--min-free", "0"];
    let output = kinora(&[&["record", "--frames", "100", "--out", place.to_str().unwrap()], &line[..]].concat());
    let told = messages(&output);
    fs::remove_file(ballast).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    let (frames, closed) = intact(&place);
    assert!((1..100).contains(&frames) && closed, "{frames} frames, closed: {closed}: {told}");
}
