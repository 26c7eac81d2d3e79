//! Holds docs/replay.md: every member of the Replay operator's page appears in it, every test that it names exists, and the
//! memory table is what the code computes.
#![cfg(feature = "std")]

use std::collections::BTreeSet;
use std::path::Path;

use kinora::replay::operator::frame_bytes;

mod common;

const PAGE: &str = include_str!("../docs/replay.md");

/// Where the tests stand that the page names.
const TEST_FILES: [&str; 18] = [
    "tests/cli_replay.rs",
    "src/engine/replay_stream.rs",
    "src/replay/cadence.rs",
    "src/budget.rs",
    "src/clips/plan.rs",
    "src/clips/writer.rs",
    "src/recording/retention.rs",
    "src/replay/machine/tests.rs",
    "src/replay/status.rs",
    "src/replay/text.rs",
    "src/replay/window.rs",
    "src/trigger/rule.rs",
    "src/trigger/state.rs",
    "tests/clip_load.rs",
    "tests/clips.rs",
    "tests/replay_members.rs",
    "tests/replay_model.rs",
    "tests/tmpfs_full.rs",
];

/// The rows of the table whose heading begins with `heading`, as trimmed cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "no table {heading:?}");
    rows
}

/// Names of all tests in the files above.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for file in TEST_FILES {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut lines = text.lines();
        while lines.by_ref().any(|line| line.trim() == "#[test]") {
            // Other attributes may stand between.
            let line = lines.by_ref().map(str::trim).find(|line| !line.starts_with("#["));
            let name = line.and_then(|line| line.strip_prefix("fn ")).and_then(|line| line.split('(').next());
            names.insert(name.expect("a function below #[test]").to_owned());
        }
    }
    names
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 3 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `PlaybackStartFrame` → `playback_start_frame`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn every_member_is_in_the_table_with_a_test_of_its_name_that_exists() {
    let rows = table("| member");
    assert_eq!(rows.len(), 23);
    let tests = tests();
    for row in &rows {
        let [member, ours, _, test] = row[..] else { panic!("{row:?}") };
        let member = member.trim_matches('`');
        assert_eq!(test.trim_matches('`'), snake_case(member), "the test has the member's name");
        assert!(tests.contains(&snake_case(member)), "no test of {member}");
        assert!(ours.contains("::"), "{member} is nothing here: {ours:?}");
    }
    for name in ["AbstractOperator", "AbstractAudioMetering"] {
        assert!(table("| of").iter().any(|row| row[0].contains(name)), "{name}");
    }
}

#[test]
fn every_member_of_their_page_is_in_the_table() {
    let Some(path) = common::shared("seeds/replay_operator.txt") else { return };
    let theirs = std::fs::read_to_string(path).expect("their page");
    let kinds = ["bool", "int", "String", "TimeSpan", "DateTime", "Command"];
    let mut members: Vec<&str> = theirs
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind, access) = (words.next()?, words.next()?, words.next()?);
            let is_kind = kinds.contains(&kind) || kind.starts_with("ReplayOperator");
            (is_kind && access.starts_with("get")).then_some(name)
        })
        .collect();
    let mut ours: Vec<&str> = table("| member").iter().map(|row| row[0].trim_matches('`')).collect();
    members.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, members);
}

#[test]
fn every_test_that_the_page_names_exists() {
    let tests = tests();
    // Words of the same look that are no tests.
    let fields = ["frames_memory_bytes", "jpeg_quality_unused", "max_frames_pending"];
    let mut named = 0;
    // Blocks of code have no backquotes inside; their fences are three, an odd number, so they are left out first.
    let prose: String = PAGE.split("```").step_by(2).collect();
    for name in quoted(&prose).filter(|name| is_test_name(name) && !fields.contains(name)) {
        assert!(tests.contains(name), "the page names a test {name}, which does not exist");
        named += 1;
    }
    assert!(named > 50, "{named} tests are named");
    let decided = table("| | Stopped");
    assert_eq!(decided.len(), 8);
    for row in decided {
        assert!(quoted(row[4]).any(|name| tests.contains(name)), "no test of {row:?}");
    }
}

#[test]
fn the_memory_table_is_what_the_code_computes() {
    let rows = table("| size |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let (width, height) = row[0].split_once('x').expect("a size");
        let (width, height) = (width.parse().expect("a width"), height.parse().expect("a height"));
        for (cell, quality) in row[1..].iter().zip([50, 80, 90, 95, 100]) {
            assert_eq!(cell.parse(), Ok(frame_bytes(width, height, quality)), "{} at {quality}", row[0]);
        }
    }
}

#[test]
fn the_grammar_on_the_page_is_the_modules() {
    let source = include_str!("../src/trigger/mod.rs");
    let of_module: Vec<&str> = source.split("```").nth(1).expect("the grammar").lines().skip(1).collect();
    for line in of_module.iter().map(|line| line.trim_start_matches("//!").trim()).filter(|line| !line.is_empty()) {
        assert!(PAGE.contains(line), "{line:?} of src/trigger/mod.rs is not on the page");
    }
}
