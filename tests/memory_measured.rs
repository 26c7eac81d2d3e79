//! What a recording and a replay really take, beside the rows of `memory.md`: anonymous memory and pages of files apart, as the
//! kernel counts them for a process of their own.
#![cfg(all(feature = "cli", feature = "jpeg"))]

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{eventually, kinora};
use kinora::budget::{BOARDS, Board, FIXED_FILE_BYTES, FIXED_OWN_BYTES, Memory, Region};

#[path = "common/kinora.rs"]
mod common;

/// Resident bytes of a process: its own, and of files.
#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    own: u64,
    file: u64,
}

fn resident(pid: u32) -> Option<Resident> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Resident { own: field("RssAnon")?, file: field("RssFile")? })
}

/// What it took at each look, until it ended.
fn watch(mut child: Child) -> Vec<Resident> {
    let mut looks = Vec::new();
    let status = eventually("the end of the run", || {
        // A process that has just ended has no memory any more.
        looks.extend(resident(child.id()).filter(|resident| resident.own > 0));
        std::thread::sleep(Duration::from_millis(2));
        child.try_wait().expect("a child")
    });
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    looks
}

fn peak(looks: &[Resident]) -> Resident {
    Resident {
        own: looks.iter().map(|look| look.own).max().expect("it was looked at"),
        file: looks.iter().map(|look| look.file).max().expect("it was looked at"),
    }
}

fn own(regions: &[Region]) -> u64 {
    regions.iter().filter(|row| row.memory == Memory::Own).map(Region::total).sum()
}

/// Pages that are kept ready.
fn ahead(regions: &[Region]) -> u64 {
    regions.iter().filter(|row| row.memory == Memory::PageCache).map(Region::total).sum()
}

/// Bytes of the one recording in a folder.
fn recorded(folder: &Path) -> u64 {
    let files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    assert_eq!(files.len(), 1, "one recording");
    files[0].metadata().expect("a file").len()
}

fn mapped(regions: &[Region]) -> u64 {
    regions.iter().filter(|row| row.memory == Memory::AddressSpace).map(Region::total).sum()
}

/// How far the fixed costs differ between systems: other versions of the C library, other pages of the program in the cache.
const FIXED_SLACK_BYTES: u64 = 1_500_000;

/// Within a tenth; where there is little but the fixed cost, within its slack.
fn assert_close(what: &str, measured: u64, table: u64) {
    println!("{what}: {:.1} MB measured, {:.1} MB by the table and the fixed cost", mb(measured), mb(table));
    assert!(
        measured.abs_diff(table) <= FIXED_SLACK_BYTES.max(table / 10),
        "{what}: {:.1} MB measured, but {:.1} MB by the table and the fixed cost: too far apart",
        mb(measured),
        mb(table)
    );
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn start(arguments: &[&str], board: &Board, folder: &Path) -> Child {
    let size = format!("{}x{}", board.size.0, board.size.1);
    let mut command = kinora(arguments);
    command.args(["--quiet", "--size", &size, "--encoders", &board.encoders.to_string()]).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("kinora starts")
}

#[test]
fn a_recording_takes_what_the_table_says() {
    for board in BOARDS {
        let folder = tempfile::tempdir().expect("a folder");
        let regions = kinora::budget::recording(&board.camera(), &board.settings()).expect("in range");
        // At a camera's pace, so that the helper thread has time to keep pages ready.
        let line = ["record", "--source", "virtual", "--frames", "40", "--out", "out"];
        let peak = peak(&watch(start(&line, &board, folder.path())));
        assert_close(&format!("{}, recording, own", board.name), peak.own, own(&regions) + FIXED_OWN_BYTES);
        // What was written of the map is in the page cache beside what is ready ahead of it.
        let files = ahead(&regions) + recorded(&folder.path().join("out")) + FIXED_FILE_BYTES;
        assert_close(&format!("{}, recording, of files", board.name), peak.file, files);
    }
}

#[test]
fn a_replay_with_clips_takes_what_the_table_says() {
    for board in BOARDS {
        let folder = tempfile::tempdir().expect("a folder");
        let regions = board.regions().expect("in range");
        // It records no file, and so compresses nothing of its own for one.
        let of_files = |row: &Region| row.region.starts_with("file:") || row.region.starts_with("recorder's");
        let regions: Vec<_> = regions.into_iter().filter(|row| !of_files(row)).collect();
        let history = board.history.as_s_f64().to_string() + "s";
        let line =
            ["replay", "--source", "virtual:frames=20", "--autostart", "--clips", "clips", "--clip-history", &history];
        let peak = peak(&watch(start(&line, &board, folder.path())));
        assert_close(&format!("{}, replay and clips, own", board.name), peak.own, own(&regions) + FIXED_OWN_BYTES);
        assert_close(&format!("{}, replay and clips, of files", board.name), peak.file, FIXED_FILE_BYTES);
    }
}

#[test]
fn a_million_frames_take_no_more_memory_than_the_first_thousands() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = ["record", "--source", "virtual:format=none,paced=false", "--frames", "1000000", "--out", "out"];
    let looks = watch(start(&line, &BOARDS[0], folder.path()));
    // Less is there only while it starts and while it closes: medians are not moved by that, and a peak cannot hide.
    let third = looks.len() / 3;
    assert!(third > 10, "{} looks are too few", looks.len());
    let median = |looks: &[Resident]| {
        let mut own: Vec<_> = looks.iter().map(|look| look.own).collect();
        own.sort_unstable();
        own[own.len() / 2]
    };
    // The last looks see how it closes, which takes some of the stack that was not used before.
    let (running, closing) = looks.split_at(looks.len() / 10 * 9);
    let (early, late, most) = (median(&looks[..third]), median(&looks[2 * third..]), peak(running).own);
    println!("1,000,000 frames: {early}, later {late}, at most {most} bytes of its own in {} looks", looks.len());
    assert!(late.abs_diff(early) * 100 <= early, "{early} bytes of its own became {late}");
    assert!(most * 100 <= early * 101, "{early} bytes of its own grew to {most}");
    let closing = peak(closing).own;
    assert!(closing <= early + (256 << 10), "{early} bytes of its own, {closing} to close");
    // However far behind the disk is.
    let regions = kinora::budget::recording(&BOARDS[0].camera(), &BOARDS[0].settings()).expect("in range");
    let most = mapped(&regions) + FIXED_FILE_BYTES;
    assert!(peak(&looks).file <= most, "{} bytes of files", peak(&looks).file);
}
