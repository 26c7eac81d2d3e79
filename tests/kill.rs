//! `kill -9` while recording, again and again: what was committed before is there after, without any repair.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::{assert_intact, eventually, frames, kinora, recordings};

#[path = "common/kinora.rs"]
mod common;

const KILLS: u64 = 50;

/// Frames that the recording has when it is killed: from the very first one on, unevenly spread.
fn enough(kill: u64) -> u64 {
    1 + kill * kill % 37
}

/// Starts a recorder, kills it at some moment after `least` frames, and returns the file and the frames it had shown.
fn record_and_kill(directory: &Path, seed: u64, least: u64) -> (PathBuf, u64) {
    let known = recordings(directory);
    let source = format!("virtual:seed={seed}");
    let out = directory.to_str().expect("a path of text");
    let arguments =
        ["record", "--source", &source, "--fps", "200", "--size", "320x240", "--out", out, "--min-free", "0"];
    let mut recorder = kinora(&arguments).spawn().expect("kinora starts");
    let file = eventually("a new recording", || recordings(directory).into_iter().find(|file| !known.contains(file)));
    let shown = eventually("enough frames", || frames(&file).filter(|&frames| frames >= least));
    recorder.kill().expect("SIGKILL");
    recorder.wait().expect("it ends");
    (file, shown)
}

#[test]
fn a_killed_recorder_leaves_every_committed_frame_and_the_next_one_trims_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut killed: Vec<(PathBuf, u64)> = Vec::new();
    for kill in 0..KILLS {
        let (file, shown) = record_and_kill(directory.path(), kill, enough(kill));
        let (found, finalized) = assert_intact(&file);
        assert!(found >= shown, "kill {kill}: {found} frames of the {shown} that were committed");
        assert!(!finalized, "kill {kill}: nobody closed it");
        killed.push((file, found));
    }
    assert_eq!(killed.len() as u64, KILLS);
    // The last one's tail is cut by this recorder, those of the others by their followers.
    let out = directory.path().to_str().expect("a path of text");
    let last = ["record", "--source", "virtual", "--frames", "3", "--fps", "100", "--out", out, "--min-free", "0"];
    assert!(matches!(kinora(&last).status().expect("kinora starts").code(), Some(0 | 3)));
    for (file, found) in &killed {
        assert_eq!(assert_intact(file).0, *found, "{} lost frames when it was trimmed", file.display());
        let on_disk = std::fs::metadata(file).expect("the file").blocks() * 512;
        assert!(on_disk < 16 << 20, "{} still takes {on_disk} bytes for {found} frames", file.display());
    }
}
