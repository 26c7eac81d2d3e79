//! The fuzzers' bodies without a fuzzer: on every file of their committed corpora, and on seeded mutations of those.

#[path = "../fuzz/src/lib.rs"]
mod bodies;
#[path = "common/random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use random::Random;

/// Mutations of each file; the fuzzer itself makes millions (`scripts/fuzz`).
const MUTATIONS: usize = 60;

#[test]
fn control_line_holds_on_its_corpus() {
    run("control_line", bodies::control_line::check);
}

#[test]
fn imx500_seeds_are_what_their_generator_makes_and_good() {
    for (target, name, bytes) in bodies::imx500_seeds::all() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).join(&name);
        let committed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(committed == bytes, "{target}/{name} is not what make_corpus writes");
        if target == "imx500_package" {
            let package = kinora::imx500::Package::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            kinora::imx500::Network::new(&name, &package).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn imx500_heads_holds_on_its_corpus() {
    run("imx500_heads", bodies::imx500_heads::check);
}

#[test]
fn imx500_kept_holds_on_its_corpus() {
    run("imx500_kept", bodies::imx500_kept::check);
}

#[test]
fn imx500_metadata_holds_on_its_corpus() {
    run("imx500_metadata", bodies::imx500_metadata::check);
}

#[test]
fn imx500_package_holds_on_its_corpus() {
    run("imx500_package", bodies::imx500_package::check);
}

#[test]
fn json_line_holds_on_its_corpus() {
    run("json_line", bodies::json_line::check);
}

#[test]
fn mjpeg_holds_on_its_corpus() {
    run("mjpeg", bodies::mjpeg::check);
}

#[test]
fn pickle_holds_on_its_corpus() {
    run("pickle", bodies::pickle::check);
}

#[test]
fn playback_commands_holds_on_its_corpus() {
    run("playback_commands", bodies::playback_commands::check);
}

#[test]
fn recording_open_holds_on_its_corpus() {
    run("recording_open", bodies::recording_open::check);
}

#[test]
fn recording_operations_holds_on_its_corpus() {
    run("recording_operations", bodies::recording_operations::check);
}

#[test]
fn replay_commands_holds_on_its_corpus() {
    run("replay_commands", bodies::replay_commands::check);
}

#[test]
fn trigger_rule_holds_on_its_corpus() {
    run("trigger_rule", bodies::trigger_rule::check);
}

/// Calls `check` on every file of the corpus of `target` and on mutations of it; names the first input that fails.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = read_corpus(target);
    assert!(corpus.len() >= 5, "fuzz/corpus/{target} holds only {} files", corpus.len());
    let mut random = Random(0x4B69_6E6F_7261);
    for (name, bytes) in &corpus {
        attempt(target, name, bytes, check);
        for round in 0..MUTATIONS {
            let mutated = random.mutate(bytes, &corpus);
            attempt(target, &format!("{name}, mutation {round}"), &mutated, check);
        }
    }
}

fn attempt(target: &str, name: &str, bytes: &[u8], check: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-failed"));
        std::fs::write(&kept, bytes).expect("the failing input is kept");
        panic!("{target} failed on {name}; the input is kept in {}", kept.display());
    }
}

/// Names and bytes of the committed files, sorted by name.
fn read_corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .flatten()
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a readable file"))
        })
        .collect();
    files.sort();
    files
}

impl Random {
    /// A place among `limit`; 0 when there is none.
    fn place(&mut self, limit: usize) -> usize {
        self.below(limit.max(1) as u64) as usize
    }

    /// One to four changes: a bit, a byte, a number, a cut, a doubling, a piece of another file.
    fn mutate(&mut self, bytes: &[u8], corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.place(4) {
            let at = self.place(bytes.len());
            let end = at + self.place((bytes.len() - at).min(64) + 1);
            match self.place(7) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 => bytes[at] ^= 1 << self.place(8),
                1 => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                4 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                5 => {
                    let number = [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX][self.place(7)].to_le_bytes();
                    let length = [1, 2, 4, 8][self.place(4)].min(bytes.len() - at);
                    bytes[at..at + length].copy_from_slice(&number[..length]);
                }
                _ => {
                    let other = &corpus[self.place(corpus.len())].1;
                    let from = self.place(other.len());
                    let to = from + self.place((other.len() - from).min(256) + 1);
                    bytes.splice(at..end, other[from..to].to_vec()).for_each(drop);
                }
            }
        }
        bytes
    }
}
