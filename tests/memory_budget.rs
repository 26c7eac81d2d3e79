//! The tables of `memory.md` are what the code computes; when they differ, the new table is printed.

use std::fmt::Write as _;

use kinora::budget::{BOARDS, FIXED_OWN_BYTES, Memory, Region};
use kinora::replay::operator::{ReplayLimits, frame_bytes};

const PAGE: &str = include_str!("../memory.md");

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
fn the_tables_of_the_boards_are_what_the_code_allocates() {
    for board in BOARDS {
        let regions = board.regions().unwrap();
        let mut table = String::from(
            "| region | memory | count | each | total | why this many | when full |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &regions {
            let Region { region, memory, count, bytes_each, why, when_full } = row;
            let total = megabytes(row.total());
            writeln!(
                table,
                "| {region} | {} | {count} | {bytes_each} | {total} | {why} | {when_full} |",
                memory.name()
            )
            .unwrap();
        }
        let own: u64 = regions.iter().filter(|row| row.memory == Memory::Own).map(Region::total).sum();
        writeln!(table, "| all of the process's own | | | | {} | | |", megabytes(own)).unwrap();
        assert_page(board.name, &table);
        assert!(regions.iter().any(|row| row.memory == Memory::PageCache), "the file's pages are counted apart");
        // The rest is for the system, the camera's driver, and the page cache that smooths the disk.
        assert!(own + FIXED_OWN_BYTES < board.memory_bytes / 2, "{}: {} of its own", board.name, megabytes(own));
    }
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
