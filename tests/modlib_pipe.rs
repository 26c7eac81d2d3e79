//! A modlib loop's lines through the engine into a recording, as `kinora record --source -` does it.
#![cfg(feature = "modlib")]

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;

use jiff::tz::TimeZone;
use kinora::Capture;
use kinora::modlib::Writer;
use kinora::playback::Playback;
use kinora::recorder::Recorder;
use kinora::source::Source;
use kinora::source::modlib::{LinesSettings, LinesSource};

#[test]
fn lines_that_are_written_while_they_are_read_become_a_recording_of_the_same_lines() {
    let Some(recordings) = common::shared("recordings") else { return };
    let text = std::fs::read(recordings.join("cars.json")).unwrap();
    let (mut writer, reader) = UnixStream::pair().unwrap();
    let sent = text.clone();
    let loop_of_modlib = std::thread::spawn(move || {
        // Python's own buffer cuts lines anywhere.
        sent.chunks(8192).for_each(|piece| writer.write_all(piece).unwrap());
    });
    let source = LinesSource::open("-", reader, TimeZone::UTC, &LinesSettings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("safe.kinora");
    let mut recorder = Recorder::builder().file(&path).min_free(0).source(source.describe()).create().unwrap();
    let mut capture = Capture::new(source);
    let mut stream = capture.start().unwrap();
    while let Some(frame) = stream.next().unwrap() {
        recorder.add(&frame).unwrap();
    }
    loop_of_modlib.join().unwrap();
    assert_eq!(recorder.finish().unwrap().frames, 48);

    let mut timeline = Playback::open(&path).unwrap().into_timeline();
    let mut back = Vec::new();
    for index in 0..timeline.len() {
        Writer::new().write_line(&timeline.frame(index).unwrap(), &mut back).unwrap();
    }
    assert!(back == text, "the lines came out differently");
}
