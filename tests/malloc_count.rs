//! What `src` cannot see of itself: calls of the C library's allocator, by anybody, in each thread of a recording.
//!
//! `tests/malloc_count/count.c` is compiled and preloaded in front of `kinora record`. Two runs of different length are
//! compared: whatever a thread allocates for each frame shows in the difference, and what it needs to start does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const SHORT: u64 = 100;
const LONG: u64 = 500;

#[test]
fn capture_and_sink_never_call_malloc_and_the_encoder_does_so_evenly() {
    let folder = tempfile::tempdir().expect("a folder");
    let counter = compile_counter(folder.path());
    let short = calls_by_thread(&counter, folder.path(), SHORT);
    let long = calls_by_thread(&counter, folder.path(), LONG);
    let more = |thread: &str| {
        let (a, b) = (short.get(thread).copied().unwrap_or(0), long.get(thread).copied().unwrap_or(0));
        b as i64 - a as i64
    };
    for thread in ["capture", "sink"] {
        let name = format!("kinora-{thread}");
        assert_eq!(more(&name), 0, "{name} called malloc for frames: {short:?}, then {long:?}");
    }
    let frames = (LONG - SHORT) as i64;
    let encoders = long.keys().filter(|name| name.starts_with("kinora-jpeg-"));
    let encoder: i64 = encoders.map(|name| more(name)).sum();
    assert!(encoder > 0, "libjpeg-turbo allocates for every picture; nothing was counted: {short:?}, then {long:?}");
    assert_eq!(encoder % frames, 0, "{encoder} calls for {frames} pictures are not the same for each: {long:?}");
    println!("{} calls a picture in the encoder's thread", encoder / frames);
}

fn compile_counter(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malloc_count/count.c");
    let library = folder.join("count.so");
    let compiled = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("a C compiler").success(), "{} does not compile", source.display());
    library
}

/// Records so many frames and returns how often each thread called the allocator; threads of one name are added up.
fn calls_by_thread(counter: &Path, folder: &Path, frames: u64) -> BTreeMap<String, u64> {
    let report = folder.join(format!("report-{frames}"));
    let output = Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args([
            "record",
            "--quiet",
            "--json",
            "--source",
            "virtual:seed=5",
            "--fps",
            "100",
            "--sync",
            "never",
            "--frames",
        ])
        .arg(frames.to_string())
        .arg("--out")
        .arg(folder.join(format!("{frames}.kinora")))
        .env("LD_PRELOAD", counter)
        .env("KINORA_MALLOC_REPORT", &report)
        .output()
        .expect("kinora runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(&report).expect("the counter's report").lines() {
        let (count, name) = line.split_once(' ').expect("COUNT NAME");
        *calls.entry(name.to_string()).or_default() += count.parse::<u64>().expect("a number");
    }
    calls
}
