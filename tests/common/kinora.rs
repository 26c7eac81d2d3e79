//! The `kinora` command, run as users run it.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A command that no configuration of this machine reaches, with text for a program, not a terminal.
pub fn kinora(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    forget_settings(&mut command);
    command.args(arguments).stdin(Stdio::null()).env("XDG_CONFIG_HOME", "/nonexistent").env("NO_COLOR", "1");
    command
}

/// Variables called `KINORA_…` are settings to the command; those of the tests are not meant for it.
pub fn forget_settings(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("KINORA_")) {
        command.env_remove(name);
    }
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    kinora(arguments).output().expect("kinora starts")
}

/// Exit code and the one JSON object on standard output.
pub fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text:?}; {}", messages(&output)));
    (output.status.code(), value)
}

/// What it said on standard error.
pub fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The recordings of a directory in the order of their names.
pub fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "kinora")).collect();
    files.sort();
    files
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Frames that a recording holds, closed or not; `None` while it cannot be opened yet.
pub fn frames(file: &Path) -> Option<u64> {
    let output = run(&["info", "--json", file.to_str()?]);
    serde_json::from_slice::<Value>(&output.stdout).ok()?["frames"].as_u64()
}

/// Asserts that every checksum holds; returns the frames and whether it was closed.
pub fn assert_intact(file: &Path) -> (u64, bool) {
    let (code, verified) = json(&["verify", "--json", file.to_str().expect("a path of text")]);
    assert_eq!(code, Some(0), "{}: {verified}", file.display());
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{}: {verified}", file.display());
    (verified["frames_ok"].as_u64().expect("frames_ok"), verified["finalized"].as_bool().expect("finalized"))
}
