//! In the machine: parts of a recording lie where the disk answers EIO. Readers, followers and writers meet it, by `pread` and
//! by a fault inside a map, and must say so, keep what was there, and go on living.

use std::ffi::c_void;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kinora::recording::store::StoreError;
use kinora::recording::{
    AppendError, Followed, OpenError, Reader, SessionHeader, SyncPolicy, Tail, Writer, WriterSettings,
};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::{Clock, ClockPair, Span, SystemClock};

use crate::guest::{self, FOLDER, PICTURE_BYTES_MAX, SOURCE};

const PAGE: u64 = 4096;
const FRAMES: u64 = 200;
const ID: [u8; 16] = [0x42; 16];
/// Longer than any command takes on an emulated machine that is busy.
const PATIENCE: Duration = Duration::from_secs(100);

type Test = (&'static str, fn());

/// The last one costs the file system, which is read-only after it.
const TESTS: [Test; 8] = [
    ("a_page_of_frames_that_cannot_be_read_costs_its_own_frames", lost_frames),
    ("an_index_or_an_end_that_cannot_be_read_costs_no_other_frame", lost_index),
    ("a_front_that_cannot_be_read_is_done_without_by_the_reader", lost_front),
    ("a_follower_whose_mapped_page_is_lost_lives", lost_hints),
    ("a_writer_whose_mapped_pages_are_lost_says_so_and_keeps_what_is_durable", lost_map),
    ("a_write_that_the_disk_refuses_poisons_the_recording", refused_write),
    ("the_command_goes_on_in_a_new_file", command_goes_on),
    ("the_command_ends_when_the_disk_takes_nothing_any_more", command_ends),
];

pub fn run() -> ExitCode {
    guest::renew_random_numbers();
    std::fs::create_dir_all(FOLDER).expect("a directory");
    kinora::recording::guard_mapped_files().expect("a handler");
    let mut failed = 0;
    for (name, test) in TESTS {
        let begun = Instant::now();
        let result = std::panic::catch_unwind(test).map_or("FAILED", |()| "ok");
        failed += u8::from(result != "ok");
        println!("test {name}: {} ms {result}", begun.elapsed().as_millis());
        heal();
    }
    ExitCode::from(failed)
}

// What is asked of the disk and the kernel.

/// Tells the host something, and waits until it is so.
fn ask(line: &str) {
    println!("{line}");
    let mut answer = String::new();
    let serial = std::fs::File::open("/dev/ttyS1").expect("the serial line");
    BufReader::with_capacity(1, serial).read_line(&mut answer).expect("the host answers");
    assert_eq!(answer.trim(), "done");
}

fn heal() {
    ask("heal");
    forget_cache();
}

#[derive(Clone, Copy)]
enum Fault {
    Read,
    Write,
}

/// Bytes `part` of the file can from now on not be read from the disk, or not be written to it.
fn spoil(path: &Path, part: Range<u64>, fault: Fault) {
    let kind = match fault {
        Fault::Read => "read",
        Fault::Write => "write",
    };
    let places = places_on_disk(path, part);
    assert!(!places.is_empty(), "nothing of {} is on the disk", path.display());
    for place in places {
        ask(&format!("bad {kind} {} {}", place.start, place.end));
    }
}

/// Where bytes of a file lie on the disk, in whole pages; also where they are only allocated.
#[allow(unsafe_code, reason = "there is no safe way to ask")]
fn places_on_disk(path: &Path, part: Range<u64>) -> Vec<Range<u64>> {
    /// `FS_IOC_FIEMAP`, with `struct fiemap` and its extents as 64-bit words (linux/fiemap.h).
    const FIEMAP: libc::c_ulong = 0xC020_660B;
    const SYNC: u64 = 1;
    const HEAD: usize = 4;
    const EXTENT: usize = 7;
    const EXTENTS: usize = 64;
    let file = std::fs::File::open(path).expect("it is there");
    let mut words = [0_u64; HEAD + EXTENTS * EXTENT];
    let (from, to) = (part.start / PAGE * PAGE, part.end.next_multiple_of(PAGE));
    words[..HEAD].copy_from_slice(&[from, to - from, SYNC, EXTENTS as u64]);
    // SAFETY: the kernel fills the structure in its own layout: a head of 32 bytes, then as many extents of 56 as it says.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP as _, words.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    let count = (words[2] >> 32) as usize;
    let extents = words[HEAD..].chunks_exact(EXTENT).take(count);
    extents
        .map(|extent| {
            let (logical, physical, len) = (extent[0], extent[1], extent[2]);
            let (start, end) = (from.max(logical), to.min(logical + len));
            physical + start - logical..physical + end - logical
        })
        .collect()
}

/// What is read next comes from the disk.
fn forget_cache() {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("a setting of the kernel");
}

/// Has the kernel write a process's pages of that file back and take them away, mapped as they are.
#[allow(unsafe_code, reason = "there is no safe way to ask")]
fn page_out(process: u32, path: &Path) {
    rustix::fs::sync();
    // SAFETY: the call gives a new descriptor or an error.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it is new, and ours alone.
    let process_fd = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("the process is there");
    let name = path.to_str().expect("a path of text");
    let mut found = 0;
    for line in maps.lines().filter(|line| line.ends_with(name)) {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-')).expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        let (start, end) = (number(range.0), number(range.1));
        let part = libc::iovec { iov_base: start as *mut c_void, iov_len: end - start };
        // SAFETY: the advice changes no byte, whatever lies there; the structure is valid during the call.
        let done = unsafe {
            libc::syscall(libc::SYS_process_madvise, process_fd.as_raw_fd(), &part, 1_usize, libc::MADV_PAGEOUT, 0_u32)
        };
        assert!(done >= 0, "{}", std::io::Error::last_os_error());
        found += 1;
    }
    assert!(found > 0, "nothing of {name} is mapped");
}

// What is recorded.

fn fresh(name: &str) -> PathBuf {
    let path = Path::new(FOLDER).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

struct Recording {
    writer: Writer,
    slot: Box<Slot>,
    frames: u64,
}

impl Recording {
    fn new(path: &Path, sync: SyncPolicy) -> Self {
        let settings = WriterSettings { sync, growth_bytes: 1 << 20, prefault_bytes: 256 << 10, ..Default::default() };
        let settings = settings.for_frames(PICTURE_BYTES_MAX, 0, 0);
        let header = SessionHeader::from_source(&SourceInfo::new(SOURCE), SystemClock.pair(), ID);
        let writer = Writer::create(path, &header, &settings).expect("a new file");
        let slot = Slot::new(&SlotSizes { pixels: PICTURE_BYTES_MAX, ..SlotSizes::default() });
        Self { writer, slot, frames: 0 }
    }

    fn append(&mut self) -> Result<(), AppendError> {
        let now = SystemClock.pair();
        guest::fill(&mut self.slot, &ID, self.frames, now);
        let _ = self.writer.append(&self.slot.frame(None), now)?;
        self.frames += 1;
        Ok(())
    }

    /// Appends until the recording fails, and says why. It must not go on for long.
    fn until_it_fails(&mut self) -> AppendError {
        let begun = Instant::now();
        loop {
            if let Err(error) = self.append() {
                return error;
            }
            assert!(begun.elapsed() < PATIENCE, "it still records after {} frames", self.frames);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A closed recording of our own frames.
fn closed(name: &str) -> PathBuf {
    let path = fresh(name);
    let mut recording = Recording::new(&path, SyncPolicy::Never);
    (0..FRAMES).for_each(|_| recording.append().expect("the disk is well"));
    assert_eq!(recording.writer.finish().expect("closed").frames, FRAMES);
    path
}

/// Reads every frame; those that cannot be read, each with an error that tells of a read. No frame is wrong.
fn unreadable(path: &Path) -> Vec<u64> {
    let mut reader = Reader::open(path).expect("it opens");
    let mut right = Slot::new(&SlotSizes { pixels: PICTURE_BYTES_MAX, ..SlotSizes::default() });
    let mut lost = Vec::new();
    for n in 0..reader.frame_count() {
        match reader.read_frame(n) {
            Ok(frame) => {
                guest::fill(&mut right, &ID, frame.meta.sequence, ClockPair::default());
                let right = right.frame(None);
                assert!((frame.pixels, frame.results) == (right.pixels, right.results), "frame {n} is wrong");
                assert_eq!(frame.meta.sequence, n);
            }
            Err(error) => {
                let told = error.to_string();
                assert!(told.contains("cannot be read") || told.contains("is lost"), "{told}");
                lost.push(n);
            }
        }
    }
    lost
}

// Commands.

fn within_patience(mut child: Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            tell_where(child.id());
            let _ = child.kill();
            panic!("the command does not end; it said: {}", said("stderr"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the threads of a process that hangs are at.
fn tell_where(process: u32) {
    for task in std::fs::read_dir(format!("/proc/{process}/task")).expect("it is there").flatten() {
        for file in ["comm", "syscall", "wchan", "stat", "stack"] {
            println!("{file}: {}", std::fs::read_to_string(task.path().join(file)).unwrap_or_default().trim());
        }
    }
}

/// A file where the machine keeps nothing.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// What a command wrote.
fn said(name: &str) -> String {
    std::fs::read_to_string(scratch(name)).unwrap_or_default()
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new("/bin/kinora");
    // Into files: nobody empties pipes while it runs.
    let out = |name: &str| std::fs::File::create(scratch(name)).expect("room in memory");
    command.args(arguments).stdin(Stdio::null()).stdout(out("stdout")).stderr(out("stderr"));
    command.spawn().expect("kinora starts")
}

/// Exit code, standard output and error of a command that ends by itself.
fn ended(child: Child) -> (Option<i32>, String, String) {
    let status = within_patience(child);
    let told = said("stderr");
    assert!(matches!(status.code(), Some(0 | 1 | 3)), "{status}: {told}");
    assert!(!told.contains("panicked"), "{told}");
    (status.code(), said("stdout"), told)
}

fn kinora(arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(spawn(arguments))
}

/// The number behind `"key":` in a line of JSON.
fn number(json: &str, key: &str) -> u64 {
    let rest = json.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} is not in {json}")).1;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{key} is no number in {json}"))
}

// The tests.

fn lost_frames() {
    let path = closed("frames.kinora");
    let mut reader = Reader::open(&path).expect("it opens");
    let mut starts: Vec<u64> = (0..FRAMES).map(|n| reader.frame_offset(n).expect("it is there")).collect();
    starts.push(reader.end());
    let _ = reader.info();
    // Two pages, one where a record begins, one in the middle of the largest.
    let mut picture_bytes =
        |n| reader.read_frame(n).expect("it is there").pixels.map_or(0, |pixels| pixels.bytes.len());
    let largest = (0..FRAMES).max_by_key(|&n| picture_bytes(n)).expect("frames");
    let middle = starts[largest as usize] + picture_bytes(largest) as u64 / 2;
    let pages = [starts[50], middle].map(|at| at / PAGE * PAGE..at / PAGE * PAGE + PAGE);
    for page in &pages {
        spoil(&path, page.clone(), Fault::Read);
    }
    forget_cache();
    let touches = |n: u64, len: u64| {
        let start = starts[n as usize];
        pages.iter().any(|page| start < page.end && page.start < start + len)
    };
    let lost = unreadable(&path);
    // A frame of which a byte of the header is gone cannot be there; one that ends before the page must be.
    for n in 0..FRAMES {
        let (must, may) = (touches(n, 64), touches(n, starts[n as usize + 1] - starts[n as usize]));
        assert!(if lost.contains(&n) { may } else { !must }, "frame {n}; lost: {lost:?}");
    }
    assert!(lost.contains(&largest), "{lost:?}");
    let name = path.to_str().expect("a path of text");
    let (code, out, told) = kinora(&["verify", "--json", name]);
    assert_eq!(code, Some(3), "{told}");
    assert_eq!(number(&out, "frames_ok"), FRAMES - lost.len() as u64, "{out}");
    assert!(out.contains("cannot be read"), "{out}");
    let frames = scratch("frames.json").display().to_string();
    for arguments in [
        &["cat", name][..],
        &["info", name],
        &["export", name, "--to", "json", "-o", &frames],
        &["play", "--speed", "100", name],
        &["tail", "--from-start", name],
        &["repair", name, "-o", "/disk/recordings/repaired.kinora"],
    ] {
        let (code, out, told) = kinora(arguments);
        assert!(arguments[0] == "info" || code != Some(0), "{arguments:?} says nothing: {out} {told}");
    }
    // What was kept is whole where nothing is broken.
    assert_eq!(
        number(&kinora(&["verify", "--json", "/disk/recordings/repaired.kinora"]).1, "frames_ok"),
        FRAMES - lost.len() as u64
    );
    heal();
    assert_eq!(unreadable(&path), [0_u64; 0]);
}

fn lost_index() {
    let path = closed("index.kinora");
    let reader = Reader::open(&path).expect("it opens");
    let end = reader.end();
    let last = reader.frame_offset(FRAMES - 1).expect("it is there");
    // Behind the last frame: index, footer, end mark.
    spoil(&path, (end - 1)..end, Fault::Read);
    forget_cache();
    let lost = unreadable(&path);
    let page = (end - 1) / PAGE * PAGE;
    assert!(lost.len() <= 8, "{lost:?}");
    let mut reader = Reader::open(&path).expect("it opens");
    assert!(!reader.is_finalized(), "its end cannot be read");
    let found = reader.frame_count();
    let _ = reader.info();
    assert!(found == FRAMES || last >= page || found + 40 > FRAMES, "{found} frames");
    heal();
    assert_eq!((unreadable(&path), Reader::open(&path).expect("it opens").is_finalized()), (vec![], true));
}

fn lost_front() {
    let path = closed("front.kinora");
    spoil(&path, 0..PAGE, Fault::Read);
    forget_cache();
    assert_eq!(unreadable(&path), [0_u64; 0]);
    assert_eq!(Reader::open(&path).expect("it opens").frame_count(), FRAMES);
    // A follower needs it, and says why it cannot.
    let refused = Tail::open(&path).map(|_| ()).expect_err("its front cannot be read");
    assert!(
        matches!(&refused, OpenError::Unreadable { error } if error.raw_os_error() == Some(libc::EIO)),
        "{refused}"
    );
    let name = path.to_str().expect("a path of text");
    let (code, _, told) = kinora(&["tail", name]);
    assert!(code == Some(1) && told.contains("cannot be read") && told.contains(name), "{told}");
    // Nothing of it at all.
    spoil(&path, 0..std::fs::metadata(&path).expect("it is there").len(), Fault::Read);
    forget_cache();
    let refused = Reader::open(&path).map(|_| ()).expect_err("nothing can be read");
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
    for command in ["verify", "info", "cat", "play"] {
        let (code, _, told) = kinora(&[command, name]);
        let says_why = told.contains("cannot be read") || told.contains("Input/output error");
        assert!(code == Some(1) && says_why && told.contains(name), "{command}: {told}");
    }
}

fn lost_hints() {
    let path = closed("hints.kinora");
    let mut tail = Tail::open(&path).expect("it opens");
    assert!(matches!(tail.next(), Followed::Record(_)));
    assert_eq!(tail.committed_frames(), FRAMES);
    spoil(&path, 0..PAGE, Fault::Read);
    page_out(std::process::id(), &path);
    // The access meets the fault inside the map; zeros claim nothing.
    assert_eq!(tail.committed_frames(), 0, "the page is still there: nothing was shown");
    assert_eq!(tail.durable_frames(), 0);
    let mut records = 0;
    while let Followed::Record(_) = tail.next() {
        records += 1;
    }
    assert!(records as u64 >= FRAMES, "what was committed before is handed out: {records}");
}

fn lost_map() {
    let path = fresh("map.kinora");
    let mut recording = Recording::new(&path, SyncPolicy::Every(Span::from_ms(20)));
    (0..FRAMES).for_each(|_| recording.append().expect("the disk is well"));
    recording.writer.sync().expect("the disk is well");
    let durable = recording.writer.durable_frames();
    assert_eq!(durable, FRAMES);
    let grown = std::fs::metadata(&path).expect("it is there").len();
    // First the fault: the helper thread takes pages in again at once.
    spoil(&path, 0..grown, Fault::Read);
    page_out(std::process::id(), &path);
    let failed = recording.until_it_fails();
    assert!(matches!(failed, AppendError::Poisoned { reason: StoreError::MapLost, .. }), "{failed}");
    let after = recording.writer.durable_frames();
    let _ = recording.writer.finish().expect_err("it is poisoned");
    heal();
    let lost = unreadable(&path);
    let first_lost = lost.first().copied().unwrap_or_else(|| Reader::open(&path).expect("it opens").frame_count());
    assert!(first_lost >= after && after >= durable, "{after} were durable, {first_lost} can be read");
}

fn refused_write() {
    let path = fresh("write.kinora");
    let mut recording = Recording::new(&path, SyncPolicy::Every(Span::from_ms(20)));
    (0..FRAMES).for_each(|_| recording.append().expect("the disk is well"));
    recording.writer.sync().expect("the disk is well");
    let grown = std::fs::metadata(&path).expect("it is there").len();
    spoil(&path, recording.writer.bytes().next_multiple_of(PAGE)..grown, Fault::Write);
    let failed = recording.until_it_fails();
    let is_sync = |reason: &StoreError| matches!(reason, StoreError::Sync { errno: libc::EIO });
    assert!(matches!(&failed, AppendError::Poisoned { reason, .. } if is_sync(reason)), "{failed}");
    let durable = recording.writer.durable_frames();
    assert!((FRAMES..=recording.frames).contains(&durable), "{durable} of {}", recording.frames);
    assert!(matches!(recording.append(), Err(AppendError::Poisoned { .. })), "a failure stays");
    let _ = recording.writer.finish().expect_err("it is poisoned");
    // What the kernel could not write it has forgotten as soon as it needs the memory.
    heal();
    let first_lost = unreadable(&path).first().copied();
    let found = Reader::open(&path).expect("it opens").frame_count();
    assert!(first_lost.unwrap_or(found) >= durable, "{durable} were durable, {first_lost:?} of {found} is lost");
}

/// Starts the command, waits until so many frames are durable, and returns its file and follower.
fn record(directory: &Path, more: &[&str]) -> (Child, PathBuf, Tail) {
    std::fs::create_dir_all(directory).expect("a directory");
    let out = directory.to_str().expect("a path of text");
    let fixed = ["record", "--json", "--source", "virtual:seed=1,size=64x48,fps=50", "--format", "raw", "--out", out];
    let kinora = spawn(&[&fixed[..], &["--sync", "100ms", "--min-free", "0"], more].concat());
    let (file, tail) = first_file(directory);
    (kinora, file, tail)
}

fn first_file(directory: &Path) -> (PathBuf, Tail) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "no frame was recorded");
        std::thread::sleep(Duration::from_millis(20));
        let Some(file) = recordings(directory).pop() else { continue };
        let Ok(tail) = Tail::open(&file) else { continue };
        if tail.durable_frames() > 20 {
            return (file, tail);
        }
    }
}

fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "kinora")).collect();
    files.sort();
    files
}

/// Frames before the first one that is lost or damaged, and all that can be read.
fn readable(path: &Path) -> (u64, u64) {
    let mut reader = Reader::open(path).expect("it opens");
    let frames = reader.frame_count();
    let good: Vec<bool> = (0..frames).map(|n| reader.read_frame(n).is_ok()).collect();
    (good.iter().take_while(|good| **good).count() as u64, good.iter().filter(|good| **good).count() as u64)
}

fn command_goes_on() {
    for (name, fault, said) in [("written", Fault::Write, "sync"), ("read", Fault::Read, "device failed")] {
        let directory = Path::new(FOLDER).join(name);
        let (kinora, file, tail) = record(&directory, &["--frames", "400"]);
        let grown = std::fs::metadata(&file).expect("it is there").len();
        let durable = match fault {
            // Of what is allocated ahead; the front stays good.
            Fault::Write => {
                spoil(&file, PAGE..grown, fault);
                0
            }
            Fault::Read => {
                let durable = tail.durable_frames();
                spoil(&file, 0..grown, fault);
                page_out(kinora.id(), &file);
                durable
            }
        };
        let (code, out, told) = ended(kinora);
        assert_eq!(code, Some(3), "{name}: {told}");
        assert!(told.contains(said), "{name}: {told}");
        let durable = durable.max(tail.durable_frames());
        drop(tail);
        heal();
        let files = recordings(&directory);
        assert_eq!(files.len(), 2, "{name}: {told}");
        let (prefix, _) = readable(&files[0]);
        assert!(prefix >= durable, "{name}: {durable} were durable, {prefix} can be read; {told}");
        let (rest, all) = readable(&files[1]);
        assert!(rest == all && rest > 100, "{name}: {rest} of {all} in the new file; {told}");
        let mut second = Reader::open(&files[1]).expect("it opens");
        let notes = second.events().expect("its notes");
        assert!(notes.iter().any(|(_, note)| note.text.contains("in doubt")), "{name}: {notes:?}");
        assert!(number(&out, "frames") >= durable + rest, "{name}: {out}");
    }
}

fn command_ends() {
    let directory = Path::new(FOLDER).join("full");
    let (kinora, file, tail) = record(&directory, &[]);
    ask(&format!("bad write 0 {}", u64::MAX >> 1));
    let (code, _, told) = ended(kinora);
    assert!(matches!(code, Some(1 | 3)) && !told.is_empty(), "{code:?}: {told}");
    assert!(recordings(&directory).len() <= 5, "{told}");
    let durable = tail.durable_frames();
    drop(tail);
    // Read-only by now, perhaps; what was there before can be read.
    ask("heal");
    let (prefix, _) = readable(&file);
    assert!(prefix >= durable, "{durable} were durable, {prefix} can be read; {told}");
}
