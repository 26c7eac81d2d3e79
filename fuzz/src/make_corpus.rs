//! Writes the seed corpora of the recording and IMX500 targets: `cargo run --manifest-path fuzz/Cargo.toml --bin make_corpus`, from the
//! root. Run it when the format gains something that the corpora should hold; the files' names say what is in them.

use std::path::Path;

use kinora::event::{Event, EventKind};
use kinora::recording::{SyncPolicy, Writer, WriterSettings, geometry};
use kinora::slot::Slot;
use kinora::{Cause, Loss, Timestamp, WallTime};
use kinora_fuzz::samples::{MemoryStore, SIZES, clock, fill, header};

fn main() {
    for (target, name, bytes) in kinora_fuzz::imx500_seeds::all() {
        put(&Path::new("fuzz/corpus").join(target), &name, &bytes);
    }
    let open = Path::new("fuzz/corpus/recording_open");
    let closed = recording(&[], true);
    put(open, "closed-no_frame.kinora", &closed);
    put(open, "closed-one_headless_frame.kinora", &recording(&[0], true));
    put(open, "closed-one_frame_of_pixels.kinora", &recording(&[1], true));
    put(open, "closed-frames_losses_events_clock_step.kinora", &recording(&[2, 6, 9, 12, 100, 39], true));
    let unclosed = recording(&[2, 6, 9, 12], false);
    put(open, "unclosed-four_frames.kinora", &unclosed);
    put(open, "unclosed-torn_in_the_last_frame.kinora", &unclosed[..unclosed.len() - 700]);
    let mut no_front = unclosed.clone();
    no_front[..64].fill(0);
    put(open, "unclosed-no_front.kinora", &no_front);
    let mut hole = recording(&[2, 6, 9, 12, 39, 100], true);
    hole[8192..8192 + 512].fill(0);
    put(open, "closed-hole_in_the_middle.kinora", &hole);
    put(open, "front_only.kinora", &closed[..64]);
    put(open, "empty.kinora", &[]);

    let operations = Path::new("fuzz/corpus/recording_operations");
    let appends = |count: usize| [0, 7, 1, 9, 2, 38, 0, 0].into_iter().cycle().take(2 * count);
    let list = |mode: u8, rest: Vec<u8>| [vec![mode], rest].concat();
    put(operations, "closed_at_once.bin", &[0]);
    put(operations, "frames_losses_events.bin", &list(0, appends(6).chain([3, 4, 4, 65, 0, 2]).collect()));
    put(operations, "every_frame_durable_then_cut.bin", &list(1, appends(5).chain([6, 77]).collect()));
    put(operations, "synced_by_time_then_cut.bin", &list(2, appends(4).chain([5, 20, 0, 6, 6, 3, 6, 200]).collect()));
    put(operations, "full_disk.bin", &list(0, appends(110).collect()));
    put(operations, "grown_twice.bin", &list(9, appends(110).collect()));
    put(operations, "sync_fails.bin", &list(1, appends(3).chain([7, 0, 0, 2, 6, 9, 0, 1]).collect()));
    let exercise = [0, 0, 1, 0, 0, 9, 3, 32, 0, 4, 16, 7, 0, 3, 0, 0, 2, 0, 5, 5, 1, 1, 1, 0, 200, 3, 9, 9];
    put(operations, "exercise.bin", &list(0xFF, exercise.to_vec()));
    put(operations, "clock_steps.bin", &list(0, [7, 26, 0, 3, 7, 50, 7, 9, 1, 4].to_vec()));
}

/// A small recording with frames of these shapes; not closed, it is cut a little behind its last record.
fn recording(shapes: &[u8], close: bool) -> Vec<u8> {
    let settings = WriterSettings { sync: SyncPolicy::Never, ..WriterSettings::tiny() };
    let header = header();
    let geometry = geometry(&header, &settings).expect("the tiny settings are valid");
    let (store, image) = MemoryStore::new(&geometry, 1 << 20);
    let mut writer = Writer::with_store(store, geometry, &header, settings.sync).expect("a writer");
    let mut slot = Slot::new(&SIZES);
    for (index, &shape) in shapes.iter().enumerate() {
        fill(&mut slot, index as u64, shape);
        let _ = writer.append(&slot.frame(None), clock(33 * index as i64)).expect("appended");
        if index == 2 {
            writer.loss(&Loss::one(Cause::RingFull, 3, Timestamp::from_ns(7))).expect("appended");
            let text = heapless::String::try_from("goal").expect("short");
            let at = clock(70);
            writer
                .event(&Event { kind: EventKind::Bookmark, at: at.monotonic, wall: at.wall, text })
                .expect("appended");
            let mut stepped = clock(80);
            stepped.wall = WallTime::from_utc_ns(stepped.wall.as_utc_ns() + 1_000_000_000);
            writer.tick(stepped).expect("noted");
        }
    }
    let end = writer.bytes() as usize;
    if close {
        writer.finish().expect("closed");
        return image.borrow().live.clone();
    }
    drop(writer);
    let live = &image.borrow().live;
    live[..(end + 256).min(live.len())].to_vec()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).expect("the folder");
    std::fs::write(folder.join(name), bytes).expect("the file");
}
