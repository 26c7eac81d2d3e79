//! modlib's lines on a pipe, as a source.
#![cfg(feature = "modlib")]

use std::io::Write;
use std::os::unix::net::UnixStream;

use jiff::tz::TimeZone;
use kinora::ledger::{Cause, Loss};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::modlib::{LinesSettings, LinesSource};
use kinora::source::{Filled, Source};
use kinora::time::{ClockPair, Span};

const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 1 << 20, side: 1 << 20, sensor: 0, scratch: 0 };

fn line(number: u32) -> String {
    format!(
        concat!(
            r#"{{"timestamp": "2025-06-14T10:33:00.{:06}", "image": null, "image_type": "VGA", "width": 160, "height": 120, "#,
            r#""channels": 3, "detections": null, "detection_type": null, "new_detection": true, "#,
            r#""fps": 0, "dps": 10.0, "color_format": "BGR", "roi": null, "frame_count": {}}}"#,
            "\n"
        ),
        number * 100_000,
        number
    )
}

fn open(text: &str, settings: &LinesSettings) -> (LinesSource<UnixStream>, UnixStream) {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    let mut source = LinesSource::open("-", reader, TimeZone::UTC, settings).unwrap();
    source.start(ClockPair::default()).unwrap();
    (source, writer)
}

fn next(source: &mut LinesSource<UnixStream>, slot: &mut Slot) -> Filled {
    slot.reset();
    source.fill(slot, Span::from_ms(1)).unwrap()
}

#[test]
fn lines_come_as_they_are_written_and_a_half_one_waits_for_its_end() {
    let (mut source, mut writer) = open(&line(0), &LinesSettings::default());
    let info = source.describe();
    assert!(!info.live && !info.paced && info.picture.is_none());
    assert_eq!(info.recorded_clock.map(|clock| clock.wall.as_utc_ns()), Some(1_749_897_180_000_000_000));
    let mut slot = Slot::new(&SIZES);
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!((slot.meta.sequence, slot.meta.fps), (0, 0.0));
    assert_eq!(next(&mut source, &mut slot), Filled::Nothing);
    let second = line(1);
    let (start, end) = second.split_at(50);
    writer.write_all(start.as_bytes()).unwrap();
    assert_eq!(next(&mut source, &mut slot), Filled::Nothing);
    writer.write_all(end.as_bytes()).unwrap();
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!((slot.meta.sequence, slot.meta.captured_at.as_ns()), (1, 100_000_000));
    drop(writer);
    assert_eq!(next(&mut source, &mut slot), Filled::End);
    assert_eq!(next(&mut source, &mut slot), Filled::End);
}

#[test]
fn a_broken_line_is_a_loss_with_its_number_and_its_place_is_told() {
    let text = format!("{}{}broken\n\n{}{}", line(0), line(1), line(2), &line(3)[..100]);
    let (mut source, writer) = open(&text, &LinesSettings::default());
    drop(writer);
    let broken = source.broken().unwrap();
    let mut slot = Slot::new(&SIZES);
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    let at = slot.meta.captured_at;
    assert_eq!(next(&mut source, &mut slot), Filled::Lost(Loss::one(Cause::Corrupt, 2, at)));
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!(slot.meta.sequence, 3);
    assert!(matches!(
        next(&mut source, &mut slot),
        Filled::Lost(Loss { cause: Cause::Corrupt, first_sequence: 4, .. })
    ));
    assert_eq!(next(&mut source, &mut slot), Filled::End);
    let told: Vec<String> = broken.try_iter().map(|broken| broken.to_string()).collect();
    let byte = line(0).len() + line(1).len();
    assert_eq!(told[0], format!("line 3, byte {byte}: not JSON: expected value"));
    assert!(told[1].starts_with("line 6, ") && told[1].contains("torn"), "{told:?}");
}

#[test]
fn a_frame_above_the_planned_size_is_no_loss() {
    // A mask of 2 MiB, twice what is planned after a first frame without one.
    let mut writer = kinora::modlib::Writer::new();
    let mut large = Slot::new(&SlotSizes { side: 3 << 20, ..SIZES });
    large.results.begin(kinora::results::ResultKind::Segments);
    large.results.mask_shape = [1024, 2048];
    large.side_append(2 << 20).unwrap().1.fill(7);
    let mut text = line(0).into_bytes();
    writer.write_line(&large.frame(None), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (mut source, _writer) = open(&text, &LinesSettings::default());
    let planned = source.describe().side_bytes_max;
    assert!(planned < 2 << 20);
    let mut slot = Slot::new(&SlotSizes { side: planned, ..SIZES });
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    assert_eq!(slot.frame(None).side, large.frame(None).side);
    assert_eq!(slot.meta.sequence, 1);
}

#[test]
fn an_input_without_a_frame_says_what_came_instead() {
    let refused = |text: &str| {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        let opened = LinesSource::open("-", reader, TimeZone::UTC, &LinesSettings::default());
        opened.map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(refused(""), "-: no frame of modlib's on it: it ended before a line came");
    assert!(refused("Traceback (most recent call last):\n").contains("line 1, byte 0: not JSON"));
}

/// Writes what never ends a line until nobody reads any more.
fn endless(mut writer: UnixStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || while writer.write_all(&[b'x'; 65_536]).is_ok() {})
}

#[test]
fn a_line_without_an_end_comes_back_to_who_may_want_to_stop() {
    let (mut source, writer) = open(&line(0), &LinesSettings::default());
    let mut slot = Slot::new(&SIZES);
    assert_eq!(next(&mut source, &mut slot), Filled::Frame);
    let writer = endless(writer);
    for _ in 0..20 {
        slot.reset();
        assert_eq!(source.fill(&mut slot, Span::from_s(1)).unwrap(), Filled::Nothing);
    }
    drop(source);
    writer.join().unwrap();
}

#[test]
fn an_input_that_never_brings_a_frame_is_given_up() {
    let (writer, reader) = UnixStream::pair().unwrap();
    let writer = endless(writer);
    let settings = LinesSettings { line_bytes_max: 100_000, ..LinesSettings::default() };
    let error = LinesSource::open("-", reader, TimeZone::UTC, &settings).err().expect("no frame came").to_string();
    writer.join().unwrap();
    assert!(error.contains("no frame of modlib's in the first 400000 bytes: no line ended"), "{error}");
}
