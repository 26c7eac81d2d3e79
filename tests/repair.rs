//! Repairing and cutting: what is left comes over bit for bit, what is lost is listed exactly, the copy is always intact.
#![cfg(feature = "std")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kinora::event::{Event, EventKind};
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recording::{CopyError, Entry, Reader, SessionHeader, Writer, WriterSettings, cut, repair};
use kinora::results::ResultKind;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Cause, ClockPair, Frame, Loss, Span, Timestamp, WallTime};

const FRAMES: u64 = 20;

fn start() -> ClockPair {
    ClockPair { monotonic: Timestamp::from_ns(1_000_000_000), wall: WallTime::from_utc_ns(1_800_000_000_000_000_000) }
}

fn at(n: u64) -> Timestamp {
    start().monotonic + Span::from_ms(100 * n as i64)
}

fn fill(slot: &mut Slot, n: u64) {
    slot.reset();
    // Every fifth number is one that the source lost.
    slot.meta.sequence = n + n / 4;
    slot.meta.captured_at = at(n);
    slot.meta.captured_wall = start().wall_of(at(n));
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 32, 24)).unwrap().fill(n as u8 + 1);
    slot.results.begin(ResultKind::Detections);
    slot.results.push_detection([0.1, 0.2, 0.3, n as f32 / 32.0], 0.5, 1, Some(n as i64)).unwrap();
}

/// 20 frames; before every fourth a loss, a bookmark at frame 10, the wall clock stepped by an hour at frame 12.
fn write(path: &Path, close: bool) {
    let mut info = SourceInfo::new("test");
    info.labels.push("person").unwrap();
    let header = SessionHeader::from_source(&info, start(), [9; 16]);
    let mut writer = Writer::create(path, &header, &WriterSettings::tiny()).unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 32 * 24, ..SlotSizes::default() });
    for n in 0..FRAMES {
        fill(&mut slot, n);
        if n > 0 && n % 4 == 0 {
            writer.loss(&Loss::one(Cause::SourceGap, slot.meta.sequence - 1, at(n))).unwrap();
        }
        if n == 10 {
            let text = "here".try_into().unwrap();
            let event = Event { kind: EventKind::Bookmark, at: at(n), wall: start().wall_of(at(n)), text };
            writer.event(&event).unwrap();
        }
        let stepped = if n < 12 { Span::ZERO } else { Span::from_s(3600) };
        let _ =
            writer.append(&slot.frame(None), ClockPair { monotonic: at(n), wall: start().wall_of(at(n)) + stepped });
    }
    if close {
        writer.finish().unwrap();
    }
}

/// Everything of a frame, for comparison.
fn all_of(frame: &Frame<'_>) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        frame.meta,
        frame.results,
        frame.pixels,
        frame.jpeg,
        frame.labels.map(|l| l.len())
    )
}

fn frames(path: &Path) -> Vec<String> {
    let mut reader = Reader::open(path).unwrap();
    (0..reader.len()).map(|i| all_of(&reader.frame(i).unwrap())).collect()
}

fn is_intact(path: &Path) -> bool {
    let mut reader = Reader::open(path).unwrap();
    let finalized = reader.is_finalized();
    let mut records = reader.records();
    while let Some(record) = records.next() {
        if matches!(record.entry, Entry::Damaged { .. }) {
            return false;
        }
    }
    finalized
}

/// A file in a new directory, and the directory.
fn files(names: [&str; 2]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let top = tempfile::tempdir().unwrap();
    let (a, b) = (top.path().join(names[0]), top.path().join(names[1]));
    (top, a, b)
}

/// Offset and length of each record, with its kind in a few letters.
fn layout(path: &Path) -> Vec<(u64, u64, &'static str)> {
    let mut reader = Reader::open(path).unwrap();
    let mut records = reader.records();
    let mut layout = Vec::new();
    while let Some(record) = records.next() {
        let kind = match record.entry {
            Entry::Frame { .. } => "frame",
            Entry::Padding => "padding",
            Entry::Loss(_) => "loss",
            Entry::Event(_) => "event",
            _ => "other",
        };
        layout.push((record.offset, record.bytes, kind));
    }
    layout
}

fn damage(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset as usize] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_intact_recording_is_copied_whole_and_nothing_is_lost() {
    for close in [true, false] {
        let (_top, from, to) = files(["a.kinora", "b.kinora"]);
        write(&from, close);
        let report = repair(&from, &to, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.frames, report.detections, report.losses, report.events), (FRAMES, FRAMES, 4, 1));
        assert!(report.lost.is_empty(), "{report}");
        assert_eq!(report.bytes, to.metadata().unwrap().len());
        assert!(is_intact(&to));
        assert_eq!(frames(&from), frames(&to));
        let (mut a, mut b) = (Reader::open(&from).unwrap(), Reader::open(&to).unwrap());
        assert_ne!(a.header().id, b.header().id);
        assert_eq!(a.header().labels, b.header().labels);
        assert_eq!(a.info().clock_steps, b.info().clock_steps);
        assert_eq!(a.info().first_utc, b.info().first_utc, "corrected by the same step");
        let texts = |reader: &mut Reader| reader.events().unwrap().into_iter().map(|(_, e)| e).collect::<Vec<_>>();
        assert_eq!(texts(&mut a), texts(&mut b));
        let losses = |reader: &mut Reader| reader.losses().unwrap().into_iter().map(|(_, l)| l).collect::<Vec<_>>();
        assert_eq!(losses(&mut a), losses(&mut b));
    }
}

#[test]
fn every_record_that_is_damaged_is_listed_and_costs_only_itself() {
    let (top, good, _) = files(["good.kinora", ""]);
    write(&good, true);
    let all = frames(&good);
    for (i, (offset, bytes, kind)) in layout(&good).into_iter().enumerate() {
        if kind == "padding" {
            continue;
        }
        // A byte of the header, and the last byte that counts (in front of the alignment).
        for at in [offset + 17, offset + bytes - 65] {
            let (bad, to) = (top.path().join(format!("bad{i}.kinora")), top.path().join(format!("new{i}.kinora")));
            std::fs::copy(&good, &bad).unwrap();
            damage(&bad, at);
            let report = repair(&bad, &to, |_| ControlFlow::Continue(())).unwrap();
            assert!(is_intact(&to), "{kind} at {offset}");
            assert_eq!(report.lost.len(), 1, "{kind} at {offset}: {report}");
            let lost = &report.lost[0];
            assert_eq!((lost.offset, lost.bytes), (offset, bytes), "{kind}");
            let kept = frames(&to);
            if kind == "frame" {
                let (first, last) = lost.frames.unwrap();
                assert_eq!((first, report.frames_lost), (last, 1));
                let mut expected = all.clone();
                expected.remove(first as usize);
                assert_eq!(kept, expected);
                let ledger: Vec<_> = Reader::open(&to).unwrap().losses().unwrap();
                let failed: Vec<_> = ledger.iter().filter(|(_, loss)| loss.cause == Cause::WriteFailed).collect();
                assert_eq!(failed.len(), 1);
                assert_eq!(failed[0].1.count, 1);
            } else {
                assert_eq!((kept, report.frames_lost), (all.clone(), 0), "{kind}");
            }
            std::fs::remove_file(&to).unwrap();
        }
    }
}

#[test]
fn a_lost_page_loses_the_frames_on_it_and_they_are_named() {
    let (_top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, false);
    let frames_at: Vec<_> = layout(&from).into_iter().filter(|r| r.2 == "frame").collect();
    let (hole_from, hole_to) = (frames_at[5].0, frames_at[7].0 + frames_at[7].1);
    let mut bytes = std::fs::read(&from).unwrap();
    bytes[hole_from as usize..hole_to as usize].fill(0);
    std::fs::write(&from, bytes).unwrap();
    let report = repair(&from, &to, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.frames, report.frames_lost), (FRAMES - 3, 3));
    assert_eq!(report.lost.len(), 1, "{report}");
    assert_eq!((report.lost[0].offset, report.lost[0].frames), (hole_from, Some((5, 7))));
    assert!(is_intact(&to));
}

#[test]
fn a_gap_behind_the_largest_number_that_there_is_can_be_written_down() {
    let (_directory, from, to) = files(["a.kinora", "b.kinora"]);
    let header = SessionHeader::from_source(&SourceInfo::new("test"), start(), [9; 16]);
    let mut writer = Writer::create(&from, &header, &WriterSettings::tiny()).unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 32 * 24, ..SlotSizes::default() });
    let mut places = Vec::new();
    for (n, sequence) in [(0, u64::MAX), (1, 0), (2, 7)] {
        fill(&mut slot, n);
        slot.meta.sequence = sequence;
        places.push(writer.append(&slot.frame(None), start()).unwrap().offset);
    }
    writer.finish().unwrap();
    damage(&from, places[1] + 100);
    let report = repair(&from, &to, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.frames, report.frames_lost), (2, 1));
    let losses = Reader::open(&to).unwrap().losses().unwrap();
    assert_eq!((losses.len(), losses[0].1.first_sequence, losses[0].1.count), (1, u64::MAX, 1));
}

#[test]
fn a_recording_cut_off_anywhere_gives_an_intact_one() {
    let (top, from, _) = files(["a.kinora", ""]);
    write(&from, true);
    let bytes = std::fs::read(&from).unwrap();
    for len in (0..bytes.len()).step_by(997) {
        let (bad, to) = (top.path().join("bad.kinora"), top.path().join("new.kinora"));
        std::fs::write(&bad, &bytes[..len]).unwrap();
        match repair(&bad, &to, |_| ControlFlow::Continue(())) {
            Ok(report) => {
                assert!(is_intact(&to), "cut at {len}");
                assert_eq!(frames(&to), frames(&from)[..report.frames as usize], "cut at {len}");
                std::fs::remove_file(&to).unwrap();
            }
            Err(CopyError::Open(_)) => assert!(len < 8192 && !to.exists(), "cut at {len}"),
            Err(other) => panic!("cut at {len}: {other}"),
        }
    }
}

#[test]
fn an_existing_file_is_never_replaced_and_nothing_else_is_left_behind() {
    let (top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, true);
    std::fs::write(&to, b"precious").unwrap();
    assert!(matches!(repair(&from, &to, |_| ControlFlow::Continue(())), Err(CopyError::Create(_))));
    assert!(matches!(repair(&from, &from, |_| ControlFlow::Continue(())), Err(CopyError::Create(_))));
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    std::fs::remove_file(&to).unwrap();
    repair(&from, &to, |_| ControlFlow::Continue(())).unwrap();
    let mut names: Vec<_> = top.path().read_dir().unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.kinora", "b.kinora"]);
}

#[test]
fn a_cut_holds_the_frames_of_the_range_with_what_lies_between_them() {
    let (_top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, true);
    let report = cut(&from, &to, (9, 16), |_| ControlFlow::Continue(())).unwrap();
    assert!(report.lost.is_empty(), "{report}");
    assert_eq!((report.frames, report.losses, report.events), (8, 2, 1));
    assert!(is_intact(&to));
    assert_eq!(frames(&to), frames(&from)[9..=16]);
    let (mut a, mut b) = (Reader::open(&from).unwrap(), Reader::open(&to).unwrap());
    assert_eq!(a.info().clock_steps, b.info().clock_steps);
    let first = b.frame(0).unwrap().meta.captured_wall;
    assert_eq!(b.corrected_wall(at(9), first), a.corrected_wall(at(9), first));
}

#[test]
fn a_cut_after_a_clock_step_begins_with_the_stepped_clock() {
    let (_top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, true);
    cut(&from, &to, (15, 100), |_| ControlFlow::Continue(())).unwrap();
    let (a, mut b) = (Reader::open(&from).unwrap(), Reader::open(&to).unwrap());
    let wall = start().wall_of(at(15));
    assert_eq!(b.len(), 5);
    assert_eq!(b.info().clock_steps, 0);
    assert_eq!(b.corrected_wall(at(15), wall), a.corrected_wall(at(15), wall));
    assert_eq!(b.corrected_wall(at(15), wall), wall + Span::from_s(3600));
}

#[test]
fn a_cut_of_nothing_says_so() {
    let (_top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, true);
    let error = cut(&from, &to, (20, 30), |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is nothing to copy between frame 20 and frame 30: the recording has 20 frames"
    );
    assert!(!to.exists());
}

#[test]
fn a_copy_that_is_stopped_leaves_nothing_behind() {
    let (top, from, to) = files(["a.kinora", "b.kinora"]);
    write(&from, true);
    let left = || std::fs::read_dir(top.path()).unwrap().count();
    let mut records = 0;
    let mut after_five = |_| {
        records += 1;
        if records > 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert!(matches!(repair(&from, &to, &mut after_five), Err(CopyError::Stopped)));
    assert_eq!(left(), 1);
    let cut = cut(&from, &to, (2, 9), |_| ControlFlow::Break(()));
    assert!(matches!(cut, Err(CopyError::Stopped)));
    assert_eq!(left(), 1);
}
