//! The tables of `memory.md` are what the code computes; when they differ, the new table is printed.

use std::fmt::Write as _;

use kinora::Settings;
use kinora::budget::{Memory, Region, recording, tap, total};
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::replay::operator::{ReplayLimits, frame_bytes};
use kinora::source::SourceInfo;

const PAGE: &str = include_str!("../memory.md");

fn camera(width: u32, height: u32) -> SourceInfo {
    let mut info = SourceInfo::new("a camera");
    info.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, width, height));
    info
}

/// One encoder, so that the table does not depend on the machine.
fn settings() -> Settings {
    Settings { encoders: 1, ..Settings::default() }
}

/// The part of the page between two markers.
fn section(name: &str) -> &'static str {
    let begin = format!("<!-- {name} -->\n");
    let start = PAGE.find(&begin).unwrap_or_else(|| panic!("memory.md has no marker {begin:?}")) + begin.len();
    let end = PAGE[start..].find("<!-- end -->").expect("the marker is closed");
    &PAGE[start..start + end]
}

fn assert_page(name: &str, computed: &str) {
    assert!(section(name) == computed, "memory.md, {name}: the code computes\n\n{computed}");
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[test]
fn the_recording_table_is_what_the_code_allocates() {
    let info = camera(640, 480);
    let mut regions = recording(&info, &settings()).unwrap();
    let sum = total(&regions);
    regions.push(tap(&info, &settings(), false).unwrap());
    let mut table = String::from(
        "| region | memory | count | each | total | why this many | when full |\n|---|---|---|---|---|---|---|\n",
    );
    for row in &regions {
        let Region { region, memory, count, bytes_each, why, when_full } = row;
        let total = megabytes(row.total());
        writeln!(table, "| {region} | {} | {count} | {bytes_each} | {total} | {why} | {when_full} |", memory.name())
            .unwrap();
    }
    writeln!(table, "| all but addresses, without the tap | | | | {} | | |", megabytes(sum)).unwrap();
    assert_page("recording", &table);
    assert!(regions.iter().any(|row| row.memory == Memory::PageCache), "the file's pages are counted apart");
}

#[test]
fn the_replay_table_is_what_the_window_promises() {
    let mut table = String::from(
        "| picture | quality | bytes promised a frame | window of 300 and its reserve |\n|---|---|---|---|\n",
    );
    for (width, height) in [(640, 480), (1014, 760), (1280, 720), (1920, 1080)] {
        for quality in [50, 80, 90, 95] {
            let limits = ReplayLimits { picture: (width, height), ..ReplayLimits::default() };
            let window = megabytes(limits.memory_bytes(quality) as u64);
            writeln!(table, "| {width}x{height} | {quality} | {} | {window} |", frame_bytes(width, height, quality))
                .unwrap();
        }
    }
    assert_page("replay", &table);
}
