//! Whatever comes from outside, the memory that it costs is bounded: a counting allocator measures the peak of every decoder on
//! input that is made to cost much. Each bound is the largest legal frame, or the input itself, plus a stated share.
#![cfg(feature = "modlib")]
#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;

use base64::Engine;
use kinora::limits::SIDE_PLANE_BYTES_MAX;
use kinora::modlib::{Format, Import, Imported, Reader};
use kinora::recording::exercise;
use kinora::slot::{Slot, SlotSizes};

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// One request above this fails the test at once, before the machine is out of memory.
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Measuring;

fn take(bytes: usize) -> bool {
    NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
        LIMIT.try_with(Cell::get).is_ok_and(|limit| now.get() <= limit)
    })
    .unwrap_or(true)
}

fn give(bytes: usize) {
    // Freed by another thread than took it: none of ours does.
    let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(bytes)));
}

// SAFETY: every call goes on to the system's allocator with what it was given, or fails as an allocator may.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as this function's own contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: as this function's own contract; `System` gave the pointer.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while the bytes move.
        if !take(size) {
            return std::ptr::null_mut();
        }
        give(layout.size());
        // SAFETY: as this function's own contract; `System` gave the pointer.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static MEASURING: Measuring = Measuring;

const MIB: usize = 1 << 20;

/// Peak of what `action` takes beyond what there was. More than `bound` aborts: an allocator can only refuse.
fn peak_of(what: &str, bound: usize, action: impl FnOnce()) -> usize {
    let peak = quiet_peak_of(bound, action);
    println!("{what}: {:.2} MiB of at most {:.0}", peak as f64 / MIB as f64, bound as f64 / MIB as f64);
    peak
}

/// As [`peak_of`], for what is done thousands of times.
fn quiet_peak_of(bound: usize, action: impl FnOnce()) -> usize {
    let before = NOW.get();
    PEAK.set(before);
    LIMIT.set(before + bound);
    action();
    LIMIT.set(usize::MAX);
    PEAK.get() - before
}

/// Imports all of `bytes` as a modlib recording; units of at most `limit` bytes. How many were frames, and how many not.
fn import(bytes: &[u8], format: Format, limit: usize) -> (u64, u64) {
    let mut slot = Slot::new(&SlotSizes { jpeg: MIB, side: MIB, ..SlotSizes::default() });
    let mut import = Import::new(bytes, format, jiff::tz::TimeZone::UTC, limit);
    let (mut frames, mut broken) = (0, 0);
    loop {
        match import.next(&mut slot).expect("memory cannot fail to be read") {
            Imported::Frame => frames += 1,
            Imported::Broken(_) => broken += 1,
            Imported::End => return (frames, broken),
        }
    }
}

fn gzip_of_zeros(bytes: usize) -> String {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; MIB];
    for _ in 0..bytes / MIB {
        packer.write_all(&zeros).expect("memory");
    }
    base64::engine::general_purpose::STANDARD.encode(packer.finish().expect("memory"))
}

/// A line as modlib writes it, with these detections of this type.
fn line(kind: &str, detections: &str) -> String {
    let head = r#"{"timestamp": "2025-06-14T10:33:00.250000", "image": null, "image_type": "VGA", "width": 160, "height": 120"#;
    let tail =
        r#""new_detection": true, "fps": 10.0, "dps": 10.0, "color_format": "BGR", "roi": null, "frame_count": 1}"#;
    format!(r#"{head}, "channels": 3, "detections": {detections}, "detection_type": "{kind}", {tail}"#) + "\n"
}

fn mask(packed: &str, shape: &str) -> String {
    let rest = format!(r#""mask": "{packed}", "mask_shape": {shape}, "_roi_compensated": false"#);
    line("Segments", &format!(r#"{{"n_segments": 0, "indices": [], {rest}}}"#))
}

#[test]
fn the_measure_sees_what_is_taken() {
    let peak = peak_of("ten MiB", 64 * MIB, || drop(std::hint::black_box(vec![1_u8; 10 * MIB])));
    assert!((10 * MIB..11 * MIB).contains(&peak), "{peak}");
}

#[test]
fn a_mask_that_unpacks_to_gigabytes_costs_no_more_than_the_largest_mask() {
    // 2 GiB of zeros are 2 MB of gzip.
    let bomb = gzip_of_zeros(2048 * MIB);
    let heat = |shape: &str| {
        let rest = format!(r#""heatmap": "{bomb}", "heatmap_shape": {shape}, "_roi_compensated": false"#);
        line("Anomaly", &format!(r#"{{"score": 0.5, {rest}}}"#))
    };
    let lines =
        [mask(&bomb, "[480, 640]"), mask(&bomb, "[65535, 65535]"), mask(&bomb, "[4096, 4096]"), heat("[480, 640]")];
    for (n, text) in lines.iter().enumerate() {
        // The window of the import, the text of the mask decoded, and the largest side plane.
        let bound = 3 * text.len() + SIDE_PLANE_BYTES_MAX + 4 * MIB;
        let peak = peak_of("a mask of 2 GiB", bound, || {
            assert_eq!(import(text.as_bytes(), Format::Json, 64 * MIB), (0, 1), "line {n}");
        });
        assert!(peak < bound);
    }
}

/// An input that repeats a few bytes without end, up to `left`.
struct Endless {
    first: Vec<u8>,
    byte: u8,
    left: u64,
}

impl std::io::Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if !self.first.is_empty() {
            let len = self.first.len().min(out.len());
            out[..len].copy_from_slice(&self.first[..len]);
            self.first.drain(..len);
            return Ok(len);
        }
        let len = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out[..len].fill(self.byte);
        self.left -= len as u64;
        Ok(len)
    }
}

#[test]
fn a_line_of_gigabytes_is_passed_over_in_the_memory_of_the_longest_line() {
    const LIMIT: usize = 4 * MIB;
    let head = |text: &str| text.as_bytes().to_vec();
    let inputs = [
        ("base64", head(r#"{"timestamp": "2025", "image": ""#), b'A', Format::Json),
        ("brackets", head(r#"{"detections": "#), b'[', Format::Json),
        ("blanks", head("{"), b' ', Format::Json),
        ("a number", head(r#"{"fps": "#), b'9', Format::Json),
        // Protocol 4, a frame that claims 2^62 bytes; then one that pushes marks, lists, and a binary that claims 4 GiB.
        ("pickle frame", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x3f".to_vec(), b'(', Format::Pickle),
        ("pickle marks", b"\x80\x04".to_vec(), b'(', Format::Pickle),
        ("pickle lists", b"\x80\x04".to_vec(), b']', Format::Pickle),
        ("pickle duplicates", b"\x80\x04]".to_vec(), b'2', Format::Pickle),
        ("pickle memo", b"\x80\x04]".to_vec(), 0x94, Format::Pickle),
        ("pickle bytes", b"\x80\x04B\xff\xff\xff\xff".to_vec(), b'x', Format::Pickle),
        ("pickle bytes8", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(), b'x', Format::Pickle),
    ];
    for (what, first, byte, format) in inputs {
        let peak = peak_of(what, 32 * MIB, || {
            let mut slot = Slot::new(&SlotSizes { jpeg: MIB, ..SlotSizes::default() });
            let input = Endless { first, byte, left: 1 << 30 };
            let mut import = Import::new(input, format, jiff::tz::TimeZone::UTC, LIMIT);
            let mut broken = 0;
            loop {
                match import.next(&mut slot).expect("it can be read") {
                    Imported::Frame => panic!("{what} is no frame"),
                    Imported::Broken(_) => broken += 1,
                    Imported::End => break,
                }
            }
            assert!(broken > 0, "{what}");
        });
        assert!(peak < 32 * MIB, "{what}");
    }
}

#[test]
fn deep_json_is_refused_in_bounded_memory_and_stack() {
    for (what, open, close) in [("lists", "[", "]"), ("objects", r#"{"a":"#, "}")] {
        for depth in [100, 10_000, 1_000_000] {
            let deep = [open.repeat(depth), "1".into(), close.repeat(depth)].concat();
            let text = line("Detections", &deep);
            let bound = 3 * text.len() + 8 * MIB;
            peak_of(&format!("{depth} {what}"), bound, || {
                assert_eq!(import(text.as_bytes(), Format::Json, 64 * MIB), (0, 1), "{depth} {what}");
            });
            let unknown = text.replace(&deep, "null").replace(r#""fps""#, &format!(r#""unknown": {deep}, "fps""#));
            peak_of(&format!("{depth} {what} under an unknown key"), bound, || {
                let (frames, broken) = import(unknown.as_bytes(), Format::Json, 64 * MIB);
                assert_eq!(frames + broken, 1);
            });
        }
    }
}

#[test]
fn rows_and_labels_beyond_the_limits_cost_nothing_more() {
    let many = |item: &str| vec![item; 500_000].join(",");
    let boxes = many("[0.0,0.0,1.0,1.0]");
    let (ones, halves) = (many("1"), many("0.5"));
    for (kind, detections) in [
        (
            "Detections",
            format!(
                r#"{{"bbox": [{boxes}], "confidence": [{halves}], "class_id": [{ones}], "tracker_id": null, "_roi_compensated": false}}"#
            ),
        ),
        ("Classifications", format!(r#"{{"confidence": [{halves}], "class_id": [{ones}]}}"#)),
    ] {
        let text = line(kind, &detections);
        let bound = 3 * text.len() + 8 * MIB;
        peak_of("half a million rows", bound, || {
            // Cut at the limits, and counted.
            assert_eq!(import(text.as_bytes(), Format::Json, 64 * MIB), (1, 0), "{kind}");
        });
    }
}

#[test]
fn a_recording_that_claims_much_is_opened_in_the_memory_of_what_it_holds() {
    // A closed recording, each of whose 8-byte words is set to large numbers in turn; checksums make most of that harmless.
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/version_1-every_record.kinora"))
        .expect("a golden file");
    let mut worst = 0;
    for at in (0..bytes.len()).step_by(8).filter(|at| !(64..4096).contains(at)) {
        let mut hostile = bytes.clone();
        hostile[at..(at + 8).min(bytes.len())].fill(0xff);
        let peak = peak_of("", 48 * MIB, || _ = exercise::open_bytes(&hostile));
        worst = worst.max(peak);
    }
    println!("the worst of all words: {:.2} MiB", worst as f64 / MIB as f64);
    assert!(worst < 16 * MIB, "{worst}");
}

#[test]
fn the_reader_of_one_line_keeps_no_more_than_the_line_and_the_largest_plane() {
    let text = mask(&gzip_of_zeros(16 * MIB), "[4096, 4096]");
    let mut slot = Slot::new(&SlotSizes { side: SIDE_PLANE_BYTES_MAX, ..SlotSizes::default() });
    let mut reader = Reader::new(jiff::tz::TimeZone::UTC);
    let bound = 4 * text.len() + 2 * MIB;
    peak_of("the largest mask again and again", bound, || {
        for _ in 0..3 {
            reader.read_line(text.as_bytes(), &mut slot).expect("the largest mask is read");
        }
    });
}

#[cfg(feature = "jpeg")]
#[test]
fn a_jpeg_that_claims_65_535_by_65_535_is_refused_before_memory_is_taken_for_it() {
    let small = include_bytes!("data/grey_1x1.jpg");
    let sof = small.windows(2).position(|pair| matches!(pair, [0xff, 0xc0 | 0xc2])).expect("a frame header");
    let mut huge = small.to_vec();
    huge[sof + 5..sof + 9].copy_from_slice(&[0xff; 4]);
    let peak = peak_of("65,535 by 65,535", 8 * MIB, || {
        let read = kinora::jpeg_header::JpegHeader::read(&huge);
        let mut decoder = kinora::jpeg::Decoder::new().expect("a decoder");
        let mut out = vec![0; 1000];
        let decoded = decoder.decode(&huge, kinora::frame::PixelFormat::Bgr888, &mut out);
        assert!(decoded.is_err(), "{read:?}: {decoded:?}");
    });
    assert!(peak < MIB, "{peak}");
}

#[path = "../fuzz/src/imx500_heads.rs"]
mod imx500_heads;
#[path = "../fuzz/src/imx500_kept.rs"]
mod imx500_kept;
#[path = "../fuzz/src/imx500_metadata.rs"]
mod imx500_metadata;

/// The committed inputs of a fuzzer.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&folder).expect("the corpus").flatten().collect();
    assert!(files.len() >= 5, "{} files in {}", files.len(), folder.display());
    files.iter().map(|file| std::fs::read(file.path()).expect("a readable file")).collect()
}

/// Calls `action` with the input, and with each of its words set to numbers that claim much: what FlatBuffers have as offset,
/// length and count, and archives as size.
fn with_hostile_words(bytes: &[u8], step: usize, mut action: impl FnMut(&[u8])) {
    action(bytes);
    let mut hostile = bytes.to_vec();
    for at in (0..bytes.len()).step_by(step) {
        let end = (at + 4).min(bytes.len());
        for number in [u32::MAX, i32::MAX as u32, 0x0001_0001, 0xffff, bytes.len() as u32] {
            hostile[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            action(&hostile);
        }
        hostile[at..end].copy_from_slice(&bytes[at..end]);
    }
}

#[test]
fn a_network_package_costs_no_more_than_the_largest_plane_whatever_its_flatbuffer_claims() {
    use kinora::imx500::{Network, NetworkDescription, Package};
    let (mut read, mut made, mut worst, mut largest_side) = (0, 0, 0, 0);
    for bytes in corpus("imx500_package") {
        with_hostile_words(&bytes, 2, |hostile| {
            // Reading one takes nothing: all of it lies in the file or on the stack.
            let peak = quiet_peak_of(1, || read += u64::from(Package::parse(hostile).is_ok()));
            assert_eq!(peak, 0);
            let Ok(package) = Package::parse(hostile) else { return };
            let peak = quiet_peak_of(SIDE_PLANE_BYTES_MAX + 8 * MIB, || {
                let Ok(network) = Network::new("hostile", &package) else { return };
                made += 1;
                largest_side = largest_side.max(network.side_bytes());
            });
            worst = worst.max(peak);
        });
        let params = Package::parse(&bytes).expect("the corpus holds good packages").params;
        with_hostile_words(&params, 1, |hostile| {
            assert_eq!(quiet_peak_of(1, || _ = NetworkDescription::parse(hostile, 0)), 0);
        });
    }
    println!(
        "{read} packages read, {made} networks made; the worst {:.2} MiB, its side plane {largest_side} bytes",
        worst as f64 / MIB as f64
    );
    assert!(read > 1000 && made > 1000, "{read} read, {made} made: nothing was shown");
    assert!(largest_side <= SIDE_PLANE_BYTES_MAX, "{largest_side}");
}

#[test]
fn metadata_of_the_sensor_costs_its_buffer_and_what_its_post_processing_needs() {
    use kinora::imx500::{Layout, Parser};
    let mut worst = 0;
    for bytes in corpus("imx500_metadata") {
        // A check makes a buffer of at most 1 MiB, the planes of its input, and every post-processing that fits.
        with_hostile_words(&bytes, 4, |hostile| {
            worst = worst.max(quiet_peak_of(16 * MIB, || imx500_metadata::check(hostile)));
            for strided in [false, true] {
                let parse = || _ = Parser::new(Layout { width: 64, strided }).inference(&hostile[1..]);
                assert_eq!(quiet_peak_of(1, parse), 0, "the parser itself takes nothing");
            }
        });
    }
    for bytes in corpus("imx500_kept") {
        with_hostile_words(&bytes, 4, |hostile| {
            worst = worst.max(quiet_peak_of(16 * MIB, || imx500_kept::check(hostile)));
        });
    }
    for bytes in corpus("imx500_heads") {
        with_hostile_words(&bytes, 4, |hostile| {
            worst = worst.max(quiet_peak_of(16 * MIB, || imx500_heads::check(hostile)));
        });
    }
    println!("the worst of all words: {:.2} MiB", worst as f64 / MIB as f64);
    assert!(worst > 0 && worst < 16 * MIB, "{worst}");
}
