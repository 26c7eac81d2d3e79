//! Recording modlib's JSON lines directly: real frames come back the same, files are split, a full disk tears no line.
#![cfg(feature = "modlib")]

mod common;

use std::path::Path;
use std::process::Command;

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::prelude::*;
use kinora::recorder::Codec;
use kinora::results::ResultKind;
use kinora::slot::SlotSizes;
use kinora::{Added, ClockPair, ManualClock};

fn play(path: &Path, mut each: impl FnMut(&Frame<'_>)) -> u64 {
    let clock = std::sync::Arc::new(ManualClock::new(ClockPair::default()));
    let mut playback = Playback::open(path).unwrap().clock(clock);
    let mut stream = playback.start().unwrap();
    let mut frames = 0;
    while let Some(frame) = stream.next().unwrap() {
        each(&frame);
        frames += 1;
    }
    frames
}

#[test]
fn a_recording_of_modlibs_is_recorded_again_line_for_line() {
    let Some(recordings) = common::shared("recordings") else { return };
    for name in ["people.json", "astronaut.json", "poses.json", "classifications.json"] {
        let from = recordings.join(name);
        if !from.exists() {
            continue;
        }
        let top = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create_modlib_json(top.path()).unwrap();
        let frames = play(&from, |frame| {
            assert_eq!(recorder.add(frame).unwrap(), Added::Kept);
        });
        let summary = recorder.finish().unwrap();
        assert_eq!((summary.frames, summary.dropped), (frames, 0));
        assert_eq!(summary.paths[0].extension().unwrap(), "json");
        let (old, new) = (std::fs::read(&from).unwrap(), std::fs::read(&summary.paths[0]).unwrap());
        assert_eq!(old.len(), new.len(), "{name}");
        assert!(old == new, "{name} differs");
        assert_eq!(summary.bytes, new.len() as u64);
    }
}

#[test]
fn through_kinora_and_back_the_lines_are_the_same() {
    let Some(recordings) = common::shared("recordings") else { return };
    let from = recordings.join("people.json");
    let top = tempfile::tempdir().unwrap();
    let (ours, back) = (top.path().join("a.kinora"), top.path().join("b.json"));
    let record = |from: &Path, to: &Path| {
        let mut recorder = Recorder::builder().out(to).min_free(0).create().unwrap();
        play(from, |frame| assert_eq!(recorder.add(frame).unwrap(), Added::Kept));
        recorder.finish().unwrap()
    };
    assert_eq!(record(&from, &ours).paths, std::slice::from_ref(&ours));
    assert_eq!(record(&ours, &back).paths, std::slice::from_ref(&back));
    assert!(std::fs::read(&from).unwrap() == std::fs::read(&back).unwrap(), "the lines differ");
}

/// A headless frame with `n` boxes.
fn fill(slot: &mut Slot, n: u64) {
    slot.reset();
    slot.meta.sequence = n;
    slot.results.begin(ResultKind::Detections);
    for i in 0..50 {
        slot.results.push_detection([0.1, 0.2, 0.3, n as f32 / 1e4], 0.5, i, None).unwrap();
    }
}

#[test]
fn json_files_are_split_by_size_too_and_no_file_is_larger() {
    let top = tempfile::tempdir().unwrap();
    let builder = Recorder::builder().directory(top.path()).codec(Codec::ModlibJson).min_free(0).split_size(1 << 20);
    let mut recorder = builder.create().unwrap();
    let mut slot = Slot::new(&SlotSizes::default());
    for n in 0..800 {
        fill(&mut slot, n);
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    let summary = recorder.finish().unwrap();
    assert!(summary.paths.len() >= 3, "{summary}");
    let mut lines = 0;
    for path in &summary.paths {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.len() <= 1 << 20 && text.ends_with('\n'));
        lines += text.lines().count();
    }
    assert_eq!(lines, 800);
}

#[test]
fn a_full_disk_tears_no_line() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(disk.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        return;
    }
    let mut recorder =
        Recorder::builder().directory(disk.path()).codec(Codec::ModlibJson).min_free(0).create().unwrap();
    let mut slot = Slot::new(&SlotSizes::default());
    let mut kept = 0;
    let ended = loop {
        fill(&mut slot, kept);
        match recorder.add(&slot.frame(None)).unwrap() {
            Added::Kept => kept += 1,
            Added::Ended(ended) => break ended,
            Added::Lost(cause) => panic!("{cause}"),
        }
    };
    let path = recorder.finish().unwrap().paths.remove(0);
    let text = std::fs::read_to_string(&path).unwrap();
    let _ = Command::new("umount").arg(disk.path()).status();
    assert_eq!((text.lines().count() as u64, text.ends_with("}\n")), (kept, true));
    assert!(ended.to_string().contains("no space left"), "{ended}");
}

#[test]
fn pixels_become_jpeg_in_the_line() {
    if !cfg!(feature = "jpeg") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create_modlib_json(top.path()).unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 64 * 48 * 3, ..SlotSizes::default() });
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Bgr888, 64, 48)).unwrap().fill(128);
    assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    let path = recorder.finish().unwrap().paths.remove(0);
    let mut size = None;
    play(&path, |frame| size = frame.jpeg.map(|jpeg| (jpeg.width, jpeg.height)));
    assert_eq!(size, Some((64, 48)));
}
