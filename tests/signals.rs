//! SIGTERM and SIGKILL at every stage of the command: start-up, before the first frame, recording, splitting, saving clips,
//! closing; while it plays and replays. The moments are seeded and spread, early ones more densely, over twice the time that this machine takes to the
//! first frame; a second signal soon after the first meets the closing. `KINORA_SIGNAL_ROUNDS=N` makes more of them.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{eventually, kinora, recordings};
use kinora::recording::{OpenError, Reader, verify};
use random::Random;
use rustix::process::{Pid, Signal, kill_process};

#[path = "common/kinora.rs"]
mod common;
#[path = "common/random.rs"]
mod random;

/// What is done to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Term,
    Kill,
    /// Asked to end, and killed while it does.
    TermThenKill,
    /// Asked twice: the second time it does not wait for anything.
    TermTwice,
}

const BLOWS: [Blow; 4] = [Blow::Term, Blow::Kill, Blow::TermThenKill, Blow::TermTwice];
/// Blows of each kind to each command.
const ROUNDS: u64 = 4;
const TERM: i32 = 15;
const KILL: i32 = 9;

fn rounds() -> u64 {
    std::env::var("KINORA_SIGNAL_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

impl Random {
    /// From 0 to 1, the latter not.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How far the commands had come, over all blows.
#[derive(Debug, Default)]
struct Census {
    without_file: u64,
    without_frame: u64,
    unclosed: u64,
    closed: u64,
    /// Ended by the signal itself, before anything listened to it.
    unheard: u64,
}

/// One command, in a directory of its own.
struct Victim<'a> {
    name: &'a str,
    arguments: &'a [&'a str],
    /// Options that take a directory: below the victim's own.
    directories: &'a [&'a str],
}

impl Victim<'_> {
    fn start(&self, top: &Path) -> Child {
        let mut command = kinora(self.arguments);
        for option in self.directories {
            command.arg(option).arg(top.join(option.trim_start_matches('-')));
        }
        // The end of its standard input would end a replay.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("kinora starts")
    }

    /// From the start until `done` says so.
    fn takes_until(&self, done: impl Fn(&Path, &mut Child) -> bool) -> Duration {
        let top = tempfile::tempdir().expect("a directory");
        let begun = Instant::now();
        let mut child = self.start(top.path());
        eventually(self.name, || done(top.path(), &mut child).then_some(()));
        let took = begun.elapsed();
        let _ = child.kill();
        child.wait().expect("it ends");
        took
    }

    /// Blows of all kinds, spread over `span` of its life.
    fn is_struck(&self, span: Duration, census: &mut Census) {
        let rounds = rounds();
        for (kind, blow) in BLOWS.into_iter().enumerate() {
            for round in 0..rounds {
                let mut random = Random(round * 4 + kind as u64);
                // The first at once, and more of the others early: there the stages follow each other quickly.
                let place = if round == 0 { 0.0 } else { (round as f64 + random.fraction()) / rounds as f64 };
                let moment = span.mul_f64(place * place);
                let between = Duration::from_millis(40).mul_f64(random.fraction());
                let context = format!("{} {blow:?} after {moment:?} and {between:?}", self.name);
                let top = tempfile::tempdir().expect("a directory");
                let mut child = self.start(top.path());
                std::thread::sleep(moment);
                let status = strike(&mut child, blow, between);
                let told = std::io::read_to_string(child.stderr.take().expect("it is piped")).expect("text");
                assert!(!told.contains("panicked"), "{context}: {told}");
                check(top.path(), blow, status, &format!("{context}: {told}"), census);
            }
        }
    }
}

fn strike(child: &mut Child, blow: Blow, between: Duration) -> ExitStatus {
    let send = |child: &Child, signal| _ = kill_process(Pid::from_child(child), signal);
    send(child, if blow == Blow::Kill { Signal::KILL } else { Signal::TERM });
    if matches!(blow, Blow::TermThenKill | Blow::TermTwice) {
        std::thread::sleep(between);
        send(child, if blow == Blow::TermTwice { Signal::TERM } else { Signal::KILL });
    }
    // Standard input stays open: only the signal ends it.
    let input = child.stdin.take();
    let status = eventually("the end", || child.try_wait().expect("our child"));
    drop(input);
    status
}

/// Every file opens and is intact, whatever came; after a clean end it is closed as well.
fn check(top: &Path, blow: Blow, status: ExitStatus, context: &str, census: &mut Census) {
    let files = all_recordings(top);
    let expected = match blow {
        Blow::Term => matches!(status.code(), Some(0 | 3)),
        // 128 + the signal: it was asked again.
        Blow::TermTwice => matches!(status.code(), Some(0 | 3 | 143)),
        Blow::Kill | Blow::TermThenKill => matches!(status.code(), Some(0 | 3)) || status.signal() == Some(KILL),
    };
    // A program that has not come to its first line is ended by the system.
    let is_unheard = status.signal() == Some(TERM);
    assert!(expected || (is_unheard && files.is_empty()), "{status}; {files:?}; {context}");
    census.unheard += u64::from(is_unheard);
    census.without_file += u64::from(files.is_empty());
    for file in &files {
        let reader = match Reader::open(file) {
            Ok(reader) => reader,
            // Killed between making the file and writing its first page.
            Err(OpenError::Empty) if status.code().is_none_or(|code| code == 143) => {
                census.without_frame += 1;
                continue;
            }
            Err(error) => panic!("{}: {error}; {context}", file.display()),
        };
        let report = verify(file, |_, _| {}).expect("it opens");
        assert!(report.is_intact(), "{}: {report:?}; {context}", file.display());
        let is_clean = matches!(status.code(), Some(0 | 3));
        assert!(reader.is_finalized() || !is_clean, "{} is not closed; {status}; {context}", file.display());
        census.without_frame += u64::from(reader.frame_count() == 0);
        census.unclosed += u64::from(reader.frame_count() > 0 && !reader.is_finalized());
        census.closed += u64::from(reader.frame_count() > 0 && reader.is_finalized());
    }
}

fn all_recordings(top: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(top).expect("our directory").flatten();
    folders.flat_map(|folder| recordings(&folder.path())).collect()
}

fn has_frames(top: &Path) -> bool {
    all_recordings(top).iter().any(|file| Reader::open(file).is_ok_and(|reader| reader.frame_count() > 0))
}

const SOURCE: [&str; 6] = ["--source", "virtual:seed=3", "--size", "64x48", "--fps", "100"];

#[test]
fn a_recording_and_its_splits_survive_signals_at_any_moment() {
    let plain = [&["record", "--min-free", "0"], &SOURCE[..]].concat();
    let split = [&plain[..], &["--split-time", "100ms", "--sync", "20ms"]].concat();
    let mut census = Census::default();
    for (name, arguments) in [("record", &plain), ("record with splits", &split)] {
        let victim = Victim { name, arguments, directories: &["--out"] };
        let first_frame = victim.takes_until(|top, _| has_frames(top));
        victim.is_struck(2 * first_frame, &mut census);
    }
    println!("{census:?}");
    assert!(census.without_file > 0 && census.unclosed > 0 && census.closed > 0, "not every stage was met: {census:?}");
}

#[test]
fn a_replay_that_saves_clips_survives_signals_at_any_moment() {
    let rest = ["--autostart", "--trigger", "person>0.1 cooldown 100ms", "--pre", "100ms", "--post", "100ms"];
    let arguments = [&["replay"], &SOURCE[..], &rest].concat();
    let victim = Victim { name: "replay", arguments: &arguments, directories: &["--out", "--clips"] };
    let first_clip = victim.takes_until(|top, _| !recordings(&top.join("clips")).is_empty());
    let mut census = Census::default();
    victim.is_struck(2 * first_clip, &mut census);
    println!("{census:?}");
    assert!(census.without_file > 0 && census.unclosed > 0 && census.closed > 0, "not every stage was met: {census:?}");
}

#[test]
fn a_player_ends_with_a_signal_and_leaves_the_recording_alone() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/astronaut.kinora");
    let before = std::fs::read(sample).expect("the sample");
    let victim = Victim { name: "play", arguments: &["play", sample, "--loop", "--print", "text"], directories: &[] };
    // What it does before it listens: as long as a run that only shows its help, and some.
    let short = Victim { name: "help", arguments: &["play", "--help"], directories: &[] };
    let starts = short.takes_until(|_, child| child.try_wait().expect("our child").is_some());
    let mut census = Census::default();
    victim.is_struck(4 * starts, &mut census);
    println!("{census:?}");
    assert_eq!(std::fs::read(sample).expect("the sample"), before);
}
