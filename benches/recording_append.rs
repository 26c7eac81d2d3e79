//! What does appending a frame cost, beside writing the same bytes in other ways?
//!
//! Three questions: throughput of raw 640×480 BGR frames beside the `mcap` crate (unchunked, its checksums off; ours are
//! always on); the tail at 200 frames a second beside `write(2)` to a fresh file; the tail of 30 KB frames beside a bare copy
//! into a prefaulted map. Sides run in turn on the same disk. Typical is the load of one camera; not typical is that nothing
//! else uses the disk, and that throughput is measured in bursts that fit the prefaulted pages.
#![allow(unsafe_code)]

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Bars, Samples, folder, median, say, size, us};
use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat, Pixels};
use kinora::recording::{SessionHeader, SyncPolicy, Writer, WriterSettings, random_id};
use kinora::results::{ResultKind, Results};
use kinora::source::SourceInfo;
use kinora::{Clock, Span, SystemClock, Timestamp};
use rustix::time::{ClockId, clock_gettime};

const RAW: PictureInfo = PictureInfo { format: PixelFormat::Bgr888, width: 640, height: 480, stride: 1920 };
const RAW_BYTES: usize = 640 * 480 * 3;
const JPEG_BYTES: usize = 30_000;

fn main() {
    let mut bars = Bars::default();
    throughput(&mut bars);
    tail_beside_write(&mut bars);
    tail_beside_copy(&mut bars);
    bars.finish();
}

/// One frame's worth of everything that an append needs.
struct Load {
    meta: FrameMeta,
    results: Results,
    bytes: Vec<u8>,
}

impl Load {
    fn new(bytes: usize) -> Self {
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        for i in 0..10 {
            let left = i as f32 / 20.0;
            results.push_detection([left, 0.1, left + 0.2, 0.6], 0.9, i, None).expect("room for ten");
        }
        // Cheap noise: a picture that neither the checksum nor the disk can make short work of.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let bytes = (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        Self { meta: FrameMeta::new(), results, bytes }
    }

    /// Frame `index` of a camera at 30 frames a second.
    fn advance(&mut self, index: u64) {
        self.meta.sequence = index;
        self.meta.captured_at = Timestamp::from_ns(index as i64 * 33_333_333);
    }

    fn frame(&self) -> Frame<'_> {
        let raw = self.bytes.len() == RAW_BYTES;
        Frame {
            meta: &self.meta,
            results: &self.results,
            pixels: raw.then(|| Pixels { info: RAW, bytes: &self.bytes }),
            jpeg: (!raw).then(|| JpegPicture { bytes: &self.bytes, width: 640, height: 480 }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        }
    }
}

/// A writer whose first `ahead` bytes are prefaulted when this returns.
fn writer(path: &Path, sync: SyncPolicy, ahead: u64) -> Writer {
    let mut source = SourceInfo::new("bench");
    source.picture = Some(RAW);
    let header = SessionHeader::from_source(&source, SystemClock.pair(), random_id().expect("random bytes"));
    let settings =
        WriterSettings { sync, growth_bytes: ahead.max(64 << 20), prefault_bytes: ahead, ..WriterSettings::default() };
    let writer = Writer::create(path, &header, &settings).expect("a recording");
    // The helper allocates and prefaults; a camera that has just started gives it this time too.
    std::thread::sleep(Duration::from_millis(size(50, 1500)));
    writer
}

/// Processor time of all threads of this process.
fn cpu_s() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn throughput(bars: &mut Bars) {
    let (frames, blocks) = size((5, 1), (500, 7));
    let gb = (frames * RAW_BYTES as u64) as f64 / 1e9;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_cpu, mut their_cpu, mut faults) = (Vec::new(), Vec::new(), 0);
    let mut load = Load::new(RAW_BYTES);
    for _ in 0..blocks {
        let folder = folder();
        let cpu = cpu_s();
        let mut writer = writer(&folder.path().join("a.kinora"), SyncPolicy::Never, frames * 930_000);
        let started = Instant::now();
        for index in 0..frames {
            load.advance(index);
            let _ = writer.append(&load.frame(), SystemClock.pair()).expect("appended");
        }
        ours.push(gb / started.elapsed().as_secs_f64());
        let summary = writer.finish().expect("closed");
        our_cpu.push((cpu_s() - cpu) / gb);
        assert_eq!(summary.frames, frames);
        faults += summary.counts.faults;

        let cpu = cpu_s();
        let rate = mcap_block(&folder.path().join("a.mcap"), &mut load, frames, gb);
        their_cpu.push((cpu_s() - cpu) / gb);
        theirs.push(rate);
        ratios.push(ours[ours.len() - 1] / rate);
    }
    println!("raw 640x480 BGR, {frames} frames a block, {blocks} blocks in turn, medians");
    let (our_rate, their_rate) = (median(ours), median(theirs));
    say("kinora, checksums on, prefaulted (GB/s)", format!("{our_rate:.2}"));
    say("mcap, unchunked, checksums off (GB/s)", format!("{their_rate:.2}"));
    say("kinora, CPU of all threads, open and close too (s/GB)", format!("{:.3}", median(our_cpu)));
    say("mcap, CPU (s/GB)", format!("{:.3}", median(their_cpu)));
    say("faults taken by appends", faults);
    bars.beside(format!("{our_rate:.2} GB/s"), format!("{their_rate:.2} GB/s mcap"));
    bars.at_least("append throughput beside mcap", median(ratios), 2.0);
}

/// Writes the same frames as MCAP messages and returns GB/s.
fn mcap_block(path: &Path, load: &mut Load, frames: u64, gb: f64) -> f64 {
    let file = BufWriter::new(File::create_new(path).expect("a new file"));
    let mut writer = mcap::WriteOptions::new()
        .compression(None)
        .use_chunks(false)
        .calculate_data_section_crc(false)
        .calculate_summary_section_crc(false)
        .calculate_attachment_crcs(false)
        .create(file)
        .expect("an mcap writer");
    let channel = mcap::Channel {
        id: 0,
        topic: "frames".to_string(),
        schema: None,
        message_encoding: "raw".to_string(),
        metadata: BTreeMap::new(),
    };
    let channel = Arc::new(channel);
    let started = Instant::now();
    for index in 0..frames {
        load.advance(index);
        let time = index * 33_333_333;
        let data = Cow::Borrowed(&load.bytes[..]);
        let message = mcap::Message {
            channel: channel.clone(),
            sequence: index as u32,
            log_time: time,
            publish_time: time,
            data,
        };
        writer.write(&message).expect("written");
    }
    writer.flush().expect("flushed");
    let rate = gb / started.elapsed().as_secs_f64();
    let summary = writer.finish().expect("closed");
    assert_eq!(summary.stats.map(|stats| stats.message_count), Some(frames));
    rate
}

/// Both sides append in the same 5 ms beat, taking turns at going first.
fn tail_beside_write(bars: &mut Bars) {
    let frames = size(20, 6_000);
    for (what, bytes) in [("30 KB JPEG", JPEG_BYTES), ("raw 640x480 BGR", RAW_BYTES)] {
        let frames = if bytes == RAW_BYTES { frames / 4 } else { frames };
        let folder = folder();
        let mut load = Load::new(bytes);
        // About three seconds of frames ahead.
        let ahead = (600 * bytes as u64).max(64 << 20);
        let mut writer = writer(&folder.path().join("a.kinora"), SyncPolicy::Every(Span::from_s(1)), ahead);
        let mut file = File::create_new(folder.path().join("a.bin")).expect("a new file");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let started = Instant::now();
        for index in 0..frames {
            let due = started + Duration::from_millis(5 * index);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            load.advance(index);
            let now = SystemClock.pair();
            let mut append = || ours.push(timed(|| writer.append(&load.frame(), now).map(drop).expect("appended")));
            let mut write = || theirs.push(timed(|| file.write_all(&load.bytes).expect("written")));
            if index % 2 == 0 {
                append();
                write();
            } else {
                write();
                append();
            }
        }
        let summary = writer.finish().expect("closed");
        assert_eq!(summary.frames, frames);
        let (ours, theirs) = (Samples::new(ours), Samples::new(theirs));
        println!("{what}, 200 frames/s, {frames} frames, both files in the same beat");
        say("kinora, sync every second", ours.line());
        say("write(2) to a fresh file, never synced", theirs.line());
        say(
            "faults taken by appends, waits for growth",
            format!("{}, {}", summary.counts.faults, summary.counts.growth_waits),
        );
        let ratio = ours.at(999) as f64 / theirs.at(999) as f64;
        bars.beside(us(ours.at(999)), format!("{} write(2)", us(theirs.at(999))));
        bars.at_most(&format!("{what}: p99.9 of one append beside write(2)"), ratio, 0.2);
    }
}

fn tail_beside_copy(bars: &mut Bars) {
    let (frames, beat) = (size(20, 5_000), Duration::from_millis(1));
    let folder = folder();
    let mut load = Load::new(JPEG_BYTES);
    let length = frames * 33_000;
    let mut writer = writer(&folder.path().join("a.kinora"), SyncPolicy::Never, length);
    let mut map = prefaulted_map(&folder.path().join("a.bin"), length);
    let (mut ours, mut copies) = (Vec::new(), Vec::new());
    for index in 0..frames {
        std::thread::sleep(beat);
        load.advance(index);
        let now = SystemClock.pair();
        let at = (index * 33_000) as usize;
        let mut append = || ours.push(timed(|| writer.append(&load.frame(), now).map(drop).expect("appended")));
        let mut copy = || copies.push(timed(|| map[at..at + JPEG_BYTES].copy_from_slice(&load.bytes)));
        if index % 2 == 0 {
            append();
            copy();
        } else {
            copy();
            append();
        }
    }
    assert_eq!(writer.finish().expect("closed").frames, frames);
    let last = ((frames - 1) * 33_000) as usize;
    assert_eq!(map[last..last + JPEG_BYTES], load.bytes[..]);
    let (ours, copies) = (Samples::new(ours), Samples::new(copies));
    println!("30 KB JPEG, {frames} frames, one in {} ms", beat.as_millis());
    say("kinora, checksums on", ours.line());
    say("the same bytes copied through a prefaulted map", copies.line());
    bars.beside(us(ours.at(990)), format!("{} bare copy", us(copies.at(990))));
    bars.at_most("p99 of one append beside a bare copy", ours.at(990) as f64 / copies.at(990) as f64, 3.0);
}

/// A shared map of a new file of that length, every page present and writable.
fn prefaulted_map(path: &Path, bytes: u64) -> memmap2::MmapMut {
    let file = File::options().read(true).write(true).create_new(true).open(path).expect("a new file");
    file.set_len(bytes).expect("room");
    // SAFETY: the file is new, in a folder of this process's own, and nobody else changes it while the map lives.
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.expect("a map");
    map.iter_mut().step_by(rustix::param::page_size()).for_each(|byte| *byte = 1);
    map
}

/// Nanoseconds that it takes.
fn timed(work: impl FnOnce()) -> u64 {
    let started = Instant::now();
    work();
    started.elapsed().as_nanos() as u64
}
