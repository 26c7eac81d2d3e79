//! What is left of a recording after it was cut, flipped, half written or lied about.

use kinora::event::{Event, EventKind};
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recording::format::{Head, RecordKind, section};
use kinora::recording::memory::MemoryStore;
use kinora::recording::verify::verify_reader;
use kinora::recording::{
    AppendError, Entry, Medium, OpenError, Reader, SessionHeader, SyncPolicy, Writer, WriterSettings, exercise,
    geometry,
};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Cause, ClockPair, Loss, ResultKind, Span, Timestamp, WallTime};
use proptest::prelude::*;

fn header() -> SessionHeader {
    let mut source = SourceInfo::new("test");
    source.labels.push("person").unwrap();
    SessionHeader::from_source(&source, pair(0), [5; 16])
}

/// A board without a clock: it starts in 1970.
fn pair(ms: i64) -> ClockPair {
    ClockPair { monotonic: Timestamp::from_ns(ms * 1_000_000), wall: WallTime::from_utc_ns(ms * 1_000_000) }
}

fn fill(slot: &mut Slot, i: u64) {
    slot.reset();
    slot.meta.sequence = i;
    slot.meta.captured_at = pair(i as i64).monotonic;
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 100 + 7 * i as u32 % 900, 1)).unwrap().fill(i as u8);
    slot.results.begin(ResultKind::Detections);
    slot.results.push_detection([0.1, 0.2, 0.3, i as f32], 0.5, 0, None).unwrap();
}

fn writer(sync: SyncPolicy) -> Writer<MemoryStore> {
    let settings = WriterSettings::tiny();
    let geometry = geometry(&header(), &settings).unwrap();
    Writer::with_store(MemoryStore::new(&geometry), geometry, &header(), sync).unwrap()
}

fn append(writer: &mut Writer<MemoryStore>, frames: std::ops::Range<u64>) -> Result<(), AppendError> {
    let mut slot = Slot::new(&SlotSizes { pixels: 1000, ..SlotSizes::default() });
    for i in frames {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), pair(i as i64))?;
    }
    Ok(())
}

/// Ordinals of the frames that can be read; each is compared with what was appended.
fn readable<M: kinora::recording::Medium>(reader: &mut Reader<M>) -> Vec<u64> {
    let mut slot = Slot::new(&SlotSizes { pixels: 1000, ..SlotSizes::default() });
    let mut readable = Vec::new();
    for i in 0..reader.len() {
        if let Ok(frame) = reader.read_frame(i) {
            fill(&mut slot, i);
            let expected = slot.frame(None);
            assert_eq!((frame.meta, frame.results), (expected.meta, expected.results), "frame {i}");
            assert_eq!(frame.pixels, expected.pixels, "frame {i}");
            readable.push(i);
        }
    }
    readable
}

/// A closed recording of three frames, and where each of their records begins and ends.
fn three_frames(close: bool) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut writer = writer(SyncPolicy::Never);
    let mut places = Vec::new();
    for i in 0..3 {
        let start = writer.bytes() as usize;
        append(&mut writer, i..i + 1).unwrap();
        places.push((start, writer.bytes() as usize));
    }
    if !close {
        let end = writer.bytes() as usize;
        return (writer.store().live()[..end + 256].to_vec(), places);
    }
    // The store goes with the writer: look at the bytes through a second one that does the same.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut file = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 1000, ..SlotSizes::default() });
    for i in 0..3 {
        fill(&mut slot, i);
        let _ = file.append(&slot.frame(None), pair(i as i64)).unwrap();
    }
    file.finish().unwrap();
    (std::fs::read(&path).unwrap(), places)
}

#[test]
fn cut_at_every_byte_the_frames_before_the_cut_are_there() {
    for close in [true, false] {
        let (bytes, places) = three_frames(close);
        for cut in 0..=bytes.len() {
            let whole = places.iter().filter(|(_, end)| *end <= cut).count();
            match Reader::over(&bytes[..cut]) {
                Ok(mut reader) => {
                    assert_eq!(readable(&mut reader), (0..whole as u64).collect::<Vec<_>>(), "cut at {cut}");
                    assert_eq!(reader.is_finalized(), close && cut == bytes.len());
                    let report = verify_reader(&mut reader, |_, _| {});
                    assert_eq!(report.frames_ok, whole as u64);
                }
                Err(OpenError::Empty) => assert_eq!(cut, 0),
                Err(OpenError::NotARecording { .. }) => {
                    assert!((1..8).contains(&cut), "{cut} bytes tell whose they are")
                }
                Err(OpenError::NothingLeft { bytes }) => assert!((8..64).contains(&cut) && bytes == cut as u64),
                Err(other) => panic!("cut at {cut}: {other}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_costs_at_most_the_frame_that_it_lies_in() {
    let (bytes, places) = three_frames(true);
    let mut damaged = bytes.clone();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            damaged[i] ^= 1 << bit;
            let mut reader = Reader::over(&damaged[..]).unwrap_or_else(|e| panic!("bit {bit} of byte {i}: {e}"));
            let hit = places.iter().position(|(start, end)| (*start..*end).contains(&i));
            let expected: Vec<u64> = (0..3).filter(|&frame| hit != Some(frame as usize)).collect();
            assert_eq!(readable(&mut reader), expected, "bit {bit} of byte {i}");
            let report = verify_reader(&mut reader, |_, _| {});
            assert_eq!(report.frames_ok, expected.len() as u64);
            assert!(hit.is_none() || !report.is_intact(), "bit {bit} of byte {i} goes unnoticed");
            damaged[i] ^= 1 << bit;
        }
    }
}

#[test]
fn sums_count_once_when_the_only_index_of_a_closed_recording_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut writer = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 1000, ..SlotSizes::default() });
    for i in 0..3 {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), pair(i as i64)).unwrap();
        writer.loss(&Loss::one(Cause::RingFull, 10 + i, pair(i as i64).monotonic)).unwrap();
        let (at, wall) = (pair(i as i64).monotonic, pair(i as i64).wall);
        writer.event(&Event { kind: EventKind::Bookmark, at, wall, text: heapless::String::new() }).unwrap();
    }
    let index = writer.bytes() as usize;
    writer.finish().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let intact = Reader::over(&bytes[..]).unwrap().info();
    bytes[index + 100] ^= 1;
    let mut reader = Reader::over(&bytes[..]).unwrap();
    assert_eq!(readable(&mut reader), [0, 1, 2]);
    assert_eq!(reader.info(), intact);
}

#[test]
fn a_lost_page_costs_only_the_records_on_it() {
    let mut writer = writer(SyncPolicy::Every(Span::from_ms(100)));
    let mut places = Vec::new();
    for i in 0..2500 {
        append(&mut writer, i..i + 1).unwrap();
        let end = writer.bytes() as usize;
        places.push(end);
    }
    let live = writer.store().live().to_vec();
    let offsets: Vec<u64> = {
        let reader = Reader::over(&live[..]).unwrap();
        (0..2500).map(|i| reader.frame_offset(i).unwrap()).collect()
    };
    let pages = live.len() / 4096;
    for page in (0..pages).step_by(13) {
        let mut damaged = live.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0);
        let touched = |i: &u64| {
            let (start, end) = (offsets[*i as usize] as usize, places[*i as usize]);
            start < (page + 1) * 4096 && end > page * 4096
        };
        let mut reader = Reader::over(&damaged[..]).unwrap();
        let readable = readable(&mut reader);
        let lost: Vec<u64> = (0..2500).filter(|i| !readable.contains(i)).collect();
        assert!(lost.iter().all(touched), "page {page} cost {lost:?}");
    }
}

#[test]
fn a_power_cut_leaves_every_durable_frame_whatever_pages_reached_the_disk() {
    let mut state = 0x1234_5678_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..60 {
        let mut writer = writer(SyncPolicy::Every(Span::from_ms(20)));
        let frames = random() % 1500;
        append(&mut writer, 0..frames).unwrap();
        let durable = writer.durable_frames();
        assert!(durable + 25 >= frames, "{durable} of {frames}");
        for _ in 0..4 {
            let image = writer.store().after_power_cut(|_| random() % 2 == 0);
            let mut reader = Reader::over(&image[..]).unwrap();
            let readable = readable(&mut reader);
            assert!(readable.len() as u64 >= durable, "round {round}");
            assert!(readable.iter().copied().take(durable as usize).eq(0..durable), "round {round}");
        }
    }
}

#[test]
fn every_frame_policy_makes_each_frame_durable_before_append_returns() {
    let mut writer = writer(SyncPolicy::EveryFrame);
    for i in 0..20 {
        append(&mut writer, i..i + 1).unwrap();
        assert_eq!(writer.durable_frames(), i + 1);
        let image = writer.store().after_power_cut(|_| false);
        assert_eq!(readable(&mut Reader::over(&image[..]).unwrap()).len() as u64, i + 1);
    }
}

#[test]
fn a_failed_sync_poisons_the_writer_and_is_not_tried_again() {
    let settings = WriterSettings::tiny();
    let geometry = geometry(&header(), &settings).unwrap();
    let mut store = MemoryStore::new(&geometry);
    store.syncs_left = 2;
    let mut writer = Writer::with_store(store, geometry, &header(), SyncPolicy::Never).unwrap();
    append(&mut writer, 0..10).unwrap();
    writer.sync().unwrap();
    append(&mut writer, 10..20).unwrap();
    let failed = writer.sync().unwrap_err();
    assert!(matches!(failed, AppendError::Poisoned { frames: 20, durable: 10, .. }), "{failed:?}");
    let refused = append(&mut writer, 20..21).unwrap_err();
    assert!(matches!(refused, AppendError::Poisoned { frames: 20, durable: 10, .. }), "{refused:?}");
    let image = writer.store().after_power_cut(|_| true);
    assert!(readable(&mut Reader::over(&image[..]).unwrap()).starts_with(&(0..10).collect::<Vec<_>>()));
    assert!(writer.finish().is_err());
}

#[test]
fn a_full_store_ends_the_recording_cleanly_and_all_is_readable() {
    let settings = WriterSettings::tiny();
    let geometry = geometry(&header(), &settings).unwrap();
    for capacity in (400_000..700_000).step_by(10_007) {
        let mut store = MemoryStore::new(&geometry);
        store.capacity = capacity;
        let mut writer = Writer::with_store(store, geometry, &header(), SyncPolicy::Never).unwrap();
        let full = append(&mut writer, 0..10_000).unwrap_err();
        let AppendError::Full { frames, .. } = full else { panic!("{full:?}") };
        assert!(frames > 100);
        let live = writer.store().live().to_vec();
        assert_eq!(readable(&mut Reader::over(&live[..]).unwrap()).len() as u64, frames);
        let summary = writer.finish().unwrap();
        assert_eq!(summary.frames, frames, "room for index and footer is kept");
    }
}

#[test]
fn the_reader_of_a_newer_version_is_asked_for() {
    let (mut bytes, _) = three_frames(true);
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let error = Reader::over(&bytes[..]).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

/// Adds `by` to a byte of the only index record's entries and makes its checksum right again.
fn with_entry_changed(bytes: &[u8], at: usize, by: u8) -> Vec<u8> {
    let geometry = *Reader::over(bytes).unwrap().geometry();
    let is_index = |offset: &usize| {
        let room = (bytes.len() - offset) as u64;
        let head = Head::parse(&bytes[*offset..], *offset as u64, &geometry, room);
        head.is_ok_and(|head| head.header.is(RecordKind::Index) && head.body(section::ENTRIES).is_some())
    };
    let offset = (0..bytes.len()).step_by(64).find(is_index).expect("a closed recording has an index");
    let mut changed = bytes.to_vec();
    let record = &mut changed[offset..];
    let head = Head::parse(&bytes[offset..], offset as u64, &geometry, record.len() as u64).unwrap();
    let entries = head.section(section::ENTRIES).unwrap().offset.get() as usize;
    record[entries + at] = record[entries + at].wrapping_add(by);
    let head_bytes = head.header.head_bytes.get() as usize;
    let seed = crc32c::crc32c_append(crc32c::crc32c(&geometry.id), &(offset as u64).to_le_bytes());
    let crc = head.header.head_checksum(seed, &record[64..head_bytes]);
    record[60..64].copy_from_slice(&crc.to_le_bytes());
    changed
}

#[test]
fn an_index_that_says_another_place_or_time_than_the_frames_is_damage() {
    let (bytes, places) = three_frames(true);
    let check = |bytes: &[u8]| verify_reader(&mut Reader::over(bytes).unwrap(), |_, _| {});
    assert!(check(&with_entry_changed(&bytes, 0, 0)).is_intact());
    for (frame, &(place, _)) in places.iter().enumerate() {
        for field in [0, 8, 16] {
            let report = check(&with_entry_changed(&bytes, frame * 24 + field, 64));
            let damaged: Vec<_> = report.damaged.iter().map(|d| (d.offset, d.kind)).collect();
            assert_eq!(damaged, [(place as u64, Some(RecordKind::Index))], "frame {frame}, byte {field} of its entry");
            assert_eq!((report.frames_ok, report.damaged_count), (3, 1));
        }
    }
}

/// Bytes of which a part cannot be read.
struct BadPart<'a> {
    bytes: &'a [u8],
    bad: std::ops::Range<u64>,
}

impl Medium for BadPart<'_> {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn fill(&self, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
        let reads = offset..(offset + out.len() as u64).min(self.bytes.len() as u64);
        if reads.start < self.bad.end && self.bad.start < reads.end {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        self.bytes.fill(offset, out)
    }
}

#[test]
fn a_page_that_cannot_be_read_costs_the_frames_on_it_and_none_before_it() {
    let mut writer = writer(SyncPolicy::Never);
    append(&mut writer, 0..100).unwrap();
    let end = writer.bytes() as usize;
    let live = writer.store().live()[..end].to_vec();
    let mut intact = Reader::over(&live[..]).unwrap();
    let mut places = Vec::new();
    let mut records = intact.records();
    while let Some(record) = records.next() {
        if matches!(record.entry, Entry::Frame { .. }) {
            places.push(record.offset..record.offset + record.bytes);
        }
    }
    assert_eq!(places.len(), 100);
    let mut costs = 0;
    for page in (4096..end as u64 - 4096).step_by(4096) {
        let bad = page..page + 4096;
        let touched = places.iter().filter(|place| place.start < bad.end && bad.start < place.end).count();
        let mut reader = Reader::over(BadPart { bytes: &live, bad }).unwrap();
        let report = verify_reader(&mut reader, |_, _| {});
        assert_eq!(report.frames_ok as usize, 100 - touched, "the page at byte {page}");
        assert_eq!(report.is_intact(), touched == 0 && report.damaged_count == 0, "the page at byte {page}");
        costs += touched;
    }
    assert!(costs > 100, "frames lie on the pages");
}

#[test]
fn bytes_that_are_no_recording_are_refused() {
    for bytes in [&b""[..], b"x", &[0; 4096], &[0xF1; 10_000], b"\x89KNR\r\n\x1a\n"] {
        assert!(Reader::over(bytes).is_err());
        assert!(exercise::open_bytes(bytes).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_durable_frames_stay_and_no_wrong_frame_comes_back(
        steering in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        exercise::operations(&steering);
    }

    #[test]
    fn damage_of_any_kind_gives_no_panic_and_no_wrong_frame(
        hits in proptest::collection::vec((any::<u32>(), any::<u8>(), 1_usize..200), 1..8),
    ) {
        let (mut bytes, _) = three_frames(false);
        for (at, value, len) in hits {
            let start = at as usize % bytes.len();
            let end = (start + len).min(bytes.len());
            bytes[start..end].fill(value);
        }
        if let Ok(mut reader) = Reader::over(&bytes[..]) {
            readable(&mut reader);
        }
        exercise::open_bytes(&bytes);
    }
}
