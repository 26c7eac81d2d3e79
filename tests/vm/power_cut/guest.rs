//! In the machine: looks at every recording that the last power cut left, says what it found, and records on until the power
//! goes again. What it prints goes over the serial line; a `claim` is a promise that the next boot is held to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recording::room::Unlimited;
use kinora::recording::store::{PageStore, StoreCounts, StoreError};
use kinora::recording::{FileStore, Reader, SessionHeader, SyncPolicy, Tail, Writer, WriterSettings, geometry};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::virtual_scene::{VirtualOptions, VirtualScene};
use kinora::source::{Source, SourceInfo};
use kinora::{Clock, ClockPair, ResultKind, Span, SystemClock};

use crate::random::Random;

pub const FOLDER: &str = "/disk/recordings";
/// Largest picture of our own frames.
pub const PICTURE_BYTES_MAX: usize = 40_000;
/// Recordings of earlier boots that stay on the disk.
const FILES_KEPT: usize = 2;
/// Our own frames say that they are ours.
pub const SOURCE: &str = "power cut";

/// `NAME=VALUE` of the line that the host sent.
fn setting(name: &str) -> String {
    let line = std::env::var("POWER_CUT_LINE").expect("the line from the host");
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name}= is not in {line}")).to_owned()
}

/// A machine that goes on from a stored state has the random numbers of that state, too; ids of recordings come from them.
/// `RNDRESEEDCRNG` has the kernel take new ones from the (emulated) processor.
#[allow(unsafe_code, reason = "there is no safe way to it")]
pub fn renew_random_numbers() {
    use std::os::fd::AsRawFd;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    let device = std::fs::File::options().write(true).open("/dev/urandom").expect("it is there");
    // SAFETY: an ioctl without an argument on a handle that is open.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG as _) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

pub fn run() {
    let seed: u64 = setting("seed").parse().expect("a number");
    let boot: u64 = setting("boot").parse().expect("a number");
    renew_random_numbers();
    std::fs::create_dir_all(FOLDER).expect("a directory");
    let files = files();
    files.iter().for_each(|path| check(path));
    println!("checked {}", files.len());
    make_room(files);
    if setting("writeback") == "early" {
        write_back_early();
    }
    let mut random = Random::new(seed ^ boot << 32);
    let mode = setting("mode");
    match mode.as_str() {
        "only-check" => println!("idle"),
        "command" => command(&mut random, boot),
        mode => {
            for part in 0_u64.. {
                write_one_file(mode, &mut random, boot, part);
            }
        }
    }
}

/// Has the kernel write dirty pages all the time, not after 5 to 30 s: then the disk's cache is full of writes that no sync
/// of ours asked for. Files that nobody syncs make the journal busy beside it.
fn write_back_early() {
    for knob in ["dirty_writeback_centisecs", "dirty_expire_centisecs"] {
        std::fs::write(Path::new("/proc/sys/vm").join(knob), "2").expect("a setting of the kernel");
    }
    std::thread::spawn(|| {
        for n in 0_u64.. {
            let (new, old) = (format!("/disk/noise_{}", n % 5), format!("/disk/noise_{}", (n + 3) % 5));
            let _ = (std::fs::write(&new, vec![n as u8; 30_000]), std::fs::rename(&new, &old));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// Recordings, the oldest first.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).expect("the directory").flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "kinora"))
        .map(|entry| (entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path()))
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

fn make_room(files: Vec<PathBuf>) {
    let surplus = files.len().saturating_sub(FILES_KEPT);
    for path in files.into_iter().take(surplus) {
        println!("removed {}", name(&path));
        std::fs::remove_file(path).expect("it was there");
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

// What the last cut left.

/// Opens a recording, without any repair, and compares every frame with what was recorded.
fn check(path: &Path) {
    let name = name(path);
    let mut reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error) => return println!("unopened {name} {error}"),
    };
    let Some(mut expected) = Expected::of(reader.header()) else {
        println!("damaged {name} its session record");
        return println!("found {name} {} 0 0 0", reader.frame_count());
    };
    let (mut prefix, mut readable) = (None, 0);
    let frames = reader.frame_count();
    for n in 0..frames {
        match reader.read_frame(n) {
            Ok(frame) => {
                let slot = expected.frame(n, frame.meta.sequence);
                let right = slot.frame(None);
                let same = (frame.pixels, frame.results, frame.meta.sequence)
                    == (right.pixels, right.results, right.meta.sequence);
                if !same {
                    println!("wrong {name} {n}");
                }
                readable += 1;
            }
            Err(error) => {
                if prefix.is_none() {
                    println!("damaged {name} {error}");
                }
                prefix.get_or_insert(n);
            }
        }
    }
    let (prefix, finalized) = (prefix.unwrap_or(frames), u64::from(reader.is_finalized()));
    println!("found {name} {frames} {prefix} {readable} {finalized}");
}

/// Makes frames again that were recorded.
enum Expected {
    /// By us: from the id of the recording and the frame's number.
    Ours { id: [u8; 16], slot: Box<Slot> },
    /// By the command: the virtual scene, run anew.
    Scene { scene: Box<VirtualScene>, slot: Box<Slot>, at: Option<u64> },
}

impl Expected {
    /// `None`: the recording does not say what it is of.
    fn of(header: &SessionHeader) -> Option<Self> {
        let name = header.source.as_str();
        if name == SOURCE {
            let slot = Slot::new(&SlotSizes { pixels: PICTURE_BYTES_MAX, ..SlotSizes::default() });
            return Some(Self::Ours { id: header.id, slot });
        }
        let seed = name.strip_prefix("virtual:seed=")?.split(',').next()?.parse().ok()?;
        let mut scene = VirtualScene::new(name, scene(seed)).expect("options in range");
        scene.start(ClockPair::default()).expect("a scene starts");
        let slot = Slot::new(&SlotSizes { pixels: 1 << 20, side: 1 << 20, ..SlotSizes::default() });
        Some(Self::Scene { scene: Box::new(scene), slot, at: None })
    }

    fn frame(&mut self, n: u64, sequence: u64) -> &Slot {
        match self {
            Self::Ours { id, slot } => {
                fill(slot, id, n, ClockPair::default());
                slot
            }
            Self::Scene { scene, slot, at } => {
                while at.is_none_or(|at| at < sequence) {
                    slot.reset();
                    let _ = scene.fill(slot, Span::ZERO).expect("a scene has no end");
                    *at = Some(at.map_or(0, |at| at + 1));
                }
                slot
            }
        }
    }
}

/// A frame of our own: size, picture and results follow from the recording's id and the frame's number.
pub fn fill(slot: &mut Slot, id: &[u8; 16], n: u64, now: ClockPair) {
    slot.reset();
    let mut random = Random::new(u64::from_le_bytes(*id.first_chunk().expect("8 of 16")) ^ n);
    slot.meta.sequence = n;
    (slot.meta.captured_at, slot.meta.captured_wall) = (now.monotonic, now.wall);
    // Most are small: several on one page.
    let size = if random.below(4) == 0 { random.below(PICTURE_BYTES_MAX as u64 - 10) } else { random.below(3000) };
    if size > 0 {
        let info = PictureInfo::packed(PixelFormat::Grey, size.div_ceil(10) as u32, 10);
        let pixels = slot.pixels_mut(info).expect("it fits");
        for bytes in pixels.chunks_mut(8) {
            bytes.copy_from_slice(&random.next().to_le_bytes()[..bytes.len()]);
        }
    }
    slot.results.begin(ResultKind::Classifications);
    slot.results.push_classification(0.5, n as i32).expect("room for one");
}

fn scene(seed: u64) -> VirtualOptions {
    VirtualOptions { seed, size: (64, 48), frame_rate: (50, 1), ..VirtualOptions::default() }
}

// What is recorded until the next one.

/// A store whose syncs do nothing and say that they did: a writer that was built without its flush.
struct Flushless {
    store: FileStore,
    synced: u64,
}

impl PageStore for Flushless {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        self.store.reach(end)
    }
    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        self.store.area(offset, len)
    }
    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        self.store.publish(committed, frames, durable);
    }
    fn sync_start(&mut self, end: u64) {
        self.synced = end;
    }
    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        self.synced = end;
        Ok(())
    }
    fn synced(&mut self) -> Result<u64, StoreError> {
        Ok(self.synced)
    }
    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.store.close(end)
    }
    fn counts(&self) -> StoreCounts {
        self.store.counts()
    }
}

fn write_one_file(mode: &str, random: &mut Random, boot: u64, part: u64) {
    let tiny =
        WriterSettings { growth_bytes: 256 << 10, helper: false, prefault_bytes: 0, ..WriterSettings::default() };
    let small = WriterSettings { growth_bytes: 1 << 20, prefault_bytes: 256 << 10, ..WriterSettings::default() };
    let every = |ms| SyncPolicy::Every(Span::from_ms(ms));
    let settings = match mode {
        "each" => WriterSettings { sync: SyncPolicy::EveryFrame, ..small },
        "often" | "flushless" => WriterSettings { sync: every(20), ..small },
        "inline" => WriterSettings { sync: every(50), ..tiny },
        "second" => WriterSettings { sync: every(1000), ..WriterSettings::default() },
        other => panic!("no mode is called {other}"),
    };
    let settings = settings.for_frames(PICTURE_BYTES_MAX, 0, 0);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random.next().to_le_bytes());
    let path = Path::new(FOLDER).join(format!("boot_{boot:04}_{part:04}.kinora"));
    // Now and then a file is closed and another begun; with the default policy it lives long enough for many syncs.
    let frames = match mode {
        "second" => 4000,
        "each" => 20 + random.below(60),
        _ => 20 + random.below(500),
    };
    let header = SessionHeader::from_source(&SourceInfo::new(SOURCE), SystemClock.pair(), id);
    if mode == "flushless" {
        let geometry = geometry(&header, &settings).expect("in range");
        let store = FileStore::create(&path, &geometry, &settings, Box::new(Unlimited)).expect("a new file");
        let store = Flushless { store, synced: 0 };
        let writer = Writer::with_store(store, geometry, &header, settings.sync).expect("room for a session");
        fill_file(writer, &path, &id, random, frames);
    } else {
        fill_file(Writer::create(&path, &header, &settings).expect("a new file"), &path, &id, random, frames);
    }
}

fn fill_file<S: PageStore>(mut writer: Writer<S>, path: &Path, id: &[u8; 16], random: &mut Random, frames: u64) {
    let (name, begun) = (name(path), Instant::now());
    let mut slot = Slot::new(&SlotSizes { pixels: PICTURE_BYTES_MAX, ..SlotSizes::default() });
    let mut claimed = 0;
    println!("claim {name} 0 0 0");
    for n in 0..frames {
        let now = SystemClock.pair();
        fill(&mut slot, id, n, now);
        if let Err(error) = writer.append(&slot.frame(None), now) {
            return println!("refused {name} {error}");
        }
        let durable = writer.durable_frames();
        if durable != claimed || n % 25 == 0 {
            claimed = durable;
            println!("claim {name} {durable} {} {}", n + 1, begun.elapsed().as_millis());
        }
        std::thread::sleep(Duration::from_micros(random.below(4000)));
    }
    match writer.finish() {
        Ok(summary) => println!("closed {name} {}", summary.frames),
        Err(error) => println!("refused {name} {error}"),
    }
}

/// The command records, files of 1 MiB; a follower reads what it tells about durable frames.
fn command(random: &mut Random, boot: u64) {
    let known = files();
    let source = format!("virtual:seed={},size=64x48,fps=50", boot + 1);
    let sync = ["every-frame", "100ms", "1s"][random.below(3) as usize];
    let arguments = ["record", "--source", &source, "--format", "raw", "--out", FOLDER, "--sync", sync];
    // Quiet: a progress line would stand before the claims on the same terminal.
    let limits = ["--split-size", "1MiB", "--min-free", "0", "--quiet"];
    let mut kinora = Command::new("/bin/kinora").args(arguments).args(limits).spawn().expect("kinora starts");
    let (mut tails, begun) = (BTreeMap::new(), Instant::now());
    while kinora.try_wait().expect("a child").is_none() {
        for path in files().into_iter().filter(|path| !known.contains(path)) {
            if let Some(tail) = Tail::open(&path).ok().filter(|_| !tails.contains_key(&path)) {
                tails.insert(path, (tail, 0));
            }
        }
        for (path, (tail, claimed)) in &mut tails {
            let durable = tail.durable_frames();
            if durable != *claimed {
                *claimed = durable;
                let committed = tail.committed_frames();
                println!("claim {} {durable} {committed} {}", name(path), begun.elapsed().as_millis());
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("refused kinora ended");
}
