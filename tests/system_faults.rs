//! A system that refuses: `strace` has the kernel answer one system call of the command with an error, at a given time, and
//! the command must say so, keep what it had, and never die of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{assert_intact, eventually, forget_settings, frames, kinora, messages, recordings, run};
use serde_json::Value;

#[path = "common/kinora.rs"]
mod common;

/// Runs the command with faults as `strace -e inject=` takes them; `None` where there is no strace, or none may be used.
fn injected(faults: &[&str], arguments: &[&str]) -> Option<Output> {
    injected_for(None, faults, arguments)
}

/// The same with only the calls counted, and refused, that are made for one file.
fn injected_for(file: Option<&str>, faults: &[&str], arguments: &[&str]) -> Option<Output> {
    let mut calls: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().expect("a name")).collect();
    if calls.is_empty() {
        calls.push("none");
    }
    let mut strace = Command::new("strace");
    forget_settings(&mut strace);
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={}", calls.join(","))]);
    strace.args(faults.iter().flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]));
    strace.args(file.iter().flat_map(|file| ["-P", file]));
    strace.arg(env!("CARGO_BIN_EXE_kinora")).args(arguments);
    strace.stdin(Stdio::null()).env("XDG_CONFIG_HOME", "/nonexistent").env("NO_COLOR", "1");
    let output = strace.output().ok();
    let refused = output.as_ref().is_none_or(|output| messages(output).contains("strace: "));
    if refused {
        let required = std::env::var_os("KINORA_REQUIRE_STRACE").is_some_and(|value| value == "1");
        assert!(!required, "strace does not work here: {output:?}");
        eprintln!("skipped: strace is not there or may not be used");
        return None;
    }
    let output = output?;
    let told = messages(&output);
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{faults:?}: {:?}: {told}", output.status);
    assert!(!told.contains("panicked"), "{faults:?}: {told}");
    Some(output)
}

/// A recording of 80 frames, in two thirds of a second of the source's time, with such faults.
struct Recorded {
    directory: tempfile::TempDir,
    code: i32,
    told: String,
    summary: Value,
}

impl Recorded {
    fn with(faults: &[&str], more: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().to_str().expect("a path of text");
        let fixed = ["record", "--json", "--source", "virtual", "--frames", "80"];
        let size = if more.contains(&"--size") { &[][..] } else { &["--size", "64x48", "--fps", "120"] };
        let arguments = [&fixed[..], &["--out", out, "--min-free", "0"], size, more].concat();
        let output = injected(faults, &arguments)?;
        let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let code = output.status.code().expect("it ended by itself");
        Some(Self { code, told: messages(&output), summary, directory })
    }

    fn files(&self) -> Vec<PathBuf> {
        recordings(self.directory.path())
    }

    /// Numbers of all frames in the order of the files.
    fn sequences(&self) -> Vec<u64> {
        let numbers = |file: &PathBuf| {
            let output = run(&["cat", "--json", file.to_str().expect("a path of text")]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = |line: &str| serde_json::from_str::<Value>(line).ok()?["sequence"].as_u64();
            text.lines().filter_map(line).collect::<Vec<_>>()
        };
        self.files().iter().flat_map(numbers).collect()
    }

    /// Every frame that was captured is in a file, once, and each file is intact; or it is in the account of losses.
    fn assert_accounted(&self, faults: &str) {
        let Self { told, summary, .. } = self;
        let sequences = self.sequences();
        let lost = summary["dropped"].as_u64().unwrap_or_else(|| panic!("{faults}: {told}"));
        assert_eq!(summary["frames"], sequences.len(), "{faults}: {told} {sequences:?}");
        let (first, last) = (sequences.first().copied(), sequences.last().copied());
        let seen = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        assert!(sequences.len() as u64 + lost >= seen, "{faults}: {lost} lost; {told} {sequences:?}");
        // A file that failed and was followed by another ends nothing.
        let ended = told.contains("the recording ended");
        assert!(ended || sequences.len() as u64 + lost == 80, "{faults}: {lost} lost; {told} {sequences:?}");
        assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{faults}: {sequences:?}");
        self.files().iter().for_each(|file| _ = assert_intact(file));
    }
}

fn events(file: &Path) -> Vec<String> {
    let mut reader = kinora::recording::Reader::open(file).expect("it opens");
    reader.events().expect("its events").into_iter().map(|(_, event)| event.text.to_string()).collect()
}

#[test]
fn a_failed_sync_begins_a_new_file_that_says_what_is_in_doubt() {
    // Of each thread's calls: the file's own thread makes its third sync, then fails; so does every file after it.
    for fault in ["msync:error=EIO:when=5", "msync:error=ENOSPC:when=6"] {
        let Some(recorded) = Recorded::with(&[fault], &["--sync", "100ms"]) else { return };
        recorded.assert_accounted(fault);
        let (files, told) = (recorded.files(), &recorded.told);
        assert_eq!(recorded.code, 3, "{fault}: {told}");
        assert!(files.len() > 1, "{fault}: {told}");
        assert!(told.contains("could not be closed") && told.contains("safely on the disk"), "{fault}: {told}");
        for pair in files.windows(2) {
            let (old, notes) = (pair[0].file_name().expect("a name").to_string_lossy(), events(&pair[1]));
            let doubt = format!("of {old} are in doubt");
            assert!(notes.iter().any(|note| note.contains("sync") && note.ends_with(&doubt)), "{fault}: {notes:?}");
        }
    }
}

#[test]
fn a_growth_that_could_not_be_made_durable_is_a_failed_sync_and_is_not_tried_again() {
    // The file's own thread makes its second step durable, the session, and then its third step: the error may be about any
    // page that was written before, and the kernel tells it once.
    let fault = "msync:error=EIO:when=3";
    let big = ["--sync", "never", "--format", "raw", "--size", "1280x720", "--fps", "30"];
    let Some(recorded) = Recorded::with(&[fault], &big) else { return };
    recorded.assert_accounted(fault);
    let (files, told) = (recorded.files(), &recorded.told);
    assert_eq!(recorded.code, 3, "{told}");
    assert!(files.len() > 1 && told.contains("sync to the disk failed"), "{files:?}: {told}");
    assert!(events(&files[1]).iter().any(|note| note.ends_with("are in doubt")), "{:?}", events(&files[1]));
}

#[test]
fn a_sync_that_always_fails_ends_the_recording_and_says_so() {
    // The first two syncs make the file and its session; with none after them no file would ever be safe.
    let Some(recorded) = Recorded::with(&["msync:error=EIO:when=3+"], &["--sync", "every-frame"]) else { return };
    assert!(matches!(recorded.code, 1 | 3), "{}", recorded.told);
    assert!(recorded.told.contains("sync"), "{}", recorded.told);
    assert!(recorded.files().len() <= 4, "{:?}", recorded.files());
}

#[test]
fn a_disk_that_cannot_grow_ends_the_recording_with_all_frames_readable() {
    for (fault, said) in [
        ("fallocate:error=ENOSPC:when=2+", "no space left on the disk"),
        ("fallocate:error=EDQUOT:when=2+", "quota"),
        ("fallocate:error=EIO:when=2+", "Input/output error"),
        ("fallocate:error=EFBIG:when=2+", ""),
    ] {
        // Frames of 2.8 MB: the two steps of 64 MiB that there are hold 48 of them.
        let Some(recorded) = Recorded::with(&[fault], &["--format", "raw", "--size", "1280x720", "--fps", "30"]) else {
            return;
        };
        recorded.assert_accounted(fault);
        assert!(recorded.told.contains(said), "{fault}: {}", recorded.told);
        assert!(recorded.sequences().len() >= 10, "{fault}: {}", recorded.told);
        if !said.is_empty() {
            assert_eq!(recorded.code, 3, "{fault}: {}", recorded.told);
        }
    }
}

#[test]
fn interrupted_calls_are_made_again() {
    // The first reads are the loader's.
    let faults = ["fallocate:error=EINTR:when=1..3", "pread64:error=EINTR:when=8..40+2", "flock:error=EINTR:when=1"];
    let Some(recorded) = Recorded::with(&faults, &[]) else { return };
    recorded.assert_accounted("EINTR");
    assert_eq!(recorded.files().len(), 1, "{}", recorded.told);
    let file = recorded.files().remove(0);
    let name = file.to_str().expect("a path of text");
    let interrupted = injected(&["pread64:error=EINTR:when=8..1000+2"], &["verify", "--json", name]).expect("as above");
    assert_eq!(interrupted.stdout, run(&["verify", "--json", name]).stdout);
}

#[test]
fn a_recording_that_cannot_be_begun_is_an_error_that_names_it_and_leaves_nothing() {
    for fault in [
        "fallocate:error=ENOSPC:when=1+",
        "fallocate:error=EIO:when=1+",
        "fsync:error=EIO:when=1+",
        "msync:error=EIO:when=1+",
        "msync:error=EIO:when=2+",
        "flock:error=EAGAIN:when=1+",
    ] {
        let Some(recorded) = Recorded::with(&[fault], &[]) else { return };
        let told = &recorded.told;
        assert_eq!(recorded.code, 1, "{fault}: {told}");
        assert!(told.contains(recorded.directory.path().to_str().expect("a path of text")), "{fault}: {told}");
        assert_eq!(recorded.files(), Vec::<PathBuf>::new(), "{fault}: {told}");
    }
}

#[test]
fn what_an_old_kernel_lacks_is_done_without() {
    // MADV_POPULATE_WRITE (Linux 5.14), locks on the network, allocation ahead, locked memory, priorities.
    for faults in [
        &["madvise:error=EINVAL"][..],
        &["flock:error=ENOLCK"],
        &["fallocate:error=EOPNOTSUPP"],
        &["mlock:error=ENOMEM", "sched_setscheduler:error=EPERM"],
        &["fadvise64:error=EINVAL"],
    ] {
        let wishes = ["--split-size", "2MB", "--lock-memory", "--rt", "40"];
        let Some(recorded) = Recorded::with(faults, &wishes) else { return };
        // What was asked for and is not given is told, with what would help.
        if faults[0].starts_with("mlock") {
            let told = &recorded.told;
            assert!(told.contains("locked memory refused") && told.contains("LimitMEMLOCK="), "{told}");
            assert!(told.contains("real-time priority refused") && told.contains("LimitRTPRIO="), "{told}");
        }
        recorded.assert_accounted(faults[0]);
        assert!(recorded.files().iter().all(|file| assert_intact(file).1), "{faults:?}: {}", recorded.told);
    }
}

#[test]
fn where_there_are_no_locks_lines_for_modlib_are_recorded_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("a.json");
    let name = out.to_str().expect("a path of text");
    let arguments = ["record", "--source", "virtual", "--frames", "5", "--min-free", "0", "--out", name];
    let Some(output) = injected(&["flock:error=ENOLCK"], &arguments) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", messages(&output));
    assert_eq!(std::fs::read_to_string(&out).expect("the lines").lines().count(), 5);
}

#[test]
fn a_close_that_fails_is_told_and_costs_no_frame() {
    let fault = "ftruncate:error=EIO:when=1+";
    let Some(recorded) = Recorded::with(&[fault], &[]) else { return };
    recorded.assert_accounted(fault);
    assert_eq!(recorded.code, 3, "{}", recorded.told);
    assert!(recorded.told.contains("could not be closed"), "{}", recorded.told);
}

#[test]
fn a_page_that_cannot_be_read_is_an_error_with_its_place() {
    let Some(recorded) = Recorded::with(&[], &["--size", "160x120"]) else { return };
    let file = recorded.files().remove(0);
    let name = file.to_str().expect("a path of text");
    let copy = recorded.directory.path().join("copy.json");
    let copy = copy.to_str().expect("a path of text");
    for when in [1, 2, 5, 10, 20] {
        let fault = format!("pread64:error=EIO:when={when}+");
        for arguments in [
            &["verify", name][..],
            &["info", name],
            &["cat", name],
            &["export", name, "--to", "json", "--out", copy],
            &["play", "--speed", "100", name],
        ] {
            let Some(output) = injected_for(Some(name), &[&fault], arguments) else { return };
            let told = messages(&output);
            if matches!(arguments[0], "verify" | "cat") && when > 5 {
                assert!(matches!(output.status.code(), Some(1 | 3)), "{fault} {arguments:?}: {told}");
                let said = [told, String::from_utf8_lossy(&output.stdout).into_owned()].concat();
                let place = if arguments[0] == "verify" { "it cannot be read" } else { "kinora verify tells where" };
                assert!(said.contains(place), "{fault} {arguments:?}: {said}");
            }
            let _ = std::fs::remove_file(copy);
        }
    }
    // One page only: every other frame is shown.
    let once = "pread64:error=EIO:when=15..18";
    let Some(one) = injected_for(Some(name), &[once], &["verify", "--json", name]) else { return };
    let one: Value = serde_json::from_slice(&one.stdout).expect("JSON");
    // A busy machine loses frames of a live source: what counts are those that were recorded.
    let recorded = recorded.summary["frames"].as_u64().expect("a count");
    assert!(recorded > 20 && one["frames_ok"].as_u64().is_some_and(|ok| ok + 5 >= recorded), "{recorded}: {one}");
    assert!(one["damaged_count"].as_u64() > Some(0), "{one}");
}

#[test]
fn a_file_that_is_deleted_or_replaced_while_it_is_written_is_not_recorded_into_for_long() {
    for replaced in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().to_str().expect("a path of text");
        let arguments =
            ["record", "--json", "--source", "virtual", "--fps", "60", "--size", "64x48", "--frames", "400"];
        let more = ["--out", out, "--min-free", "0", "--sync", "50ms"];
        let mut recorder = kinora(&arguments);
        let recorder =
            recorder.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kinora starts");
        let file = eventually("a recording", || recordings(directory.path()).into_iter().next());
        eventually("frames in it", || frames(&file).filter(|&frames| frames > 10));
        if replaced {
            let other = directory.path().join("other");
            std::fs::write(&other, b"something else").expect("a file");
            std::fs::rename(&other, &file).expect("replaced");
        } else {
            std::fs::remove_file(&file).expect("deleted");
        }
        let output = recorder.wait_with_output().expect("it ends");
        let told = messages(&output);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("deleted"), "{told}");
        let rest: Vec<_> = recordings(directory.path()).into_iter().filter(|other| *other != file).collect();
        assert_eq!(rest.len(), 1, "{rest:?}: {told}");
        let (found, finalized) = assert_intact(&rest[0]);
        assert!(finalized && found > 200, "{found} frames, closed: {finalized}; {told}");
        assert!(events(&rest[0]).iter().any(|note| note.contains("deleted")), "{:?}", events(&rest[0]));
        if replaced {
            assert_eq!(std::fs::read(&file).expect("it is there"), b"something else");
        }
    }
}

#[test]
fn a_file_that_is_cut_short_or_written_over_while_it_is_read_is_an_error_and_no_wrong_frame() {
    let Some(recorded) = Recorded::with(&[], &[]) else { return };
    let file = recorded.files().remove(0);
    let bytes = std::fs::read(&file).expect("the file");
    let mut reader = kinora::recording::Reader::open(&file).expect("it opens");
    let last = reader.frame_count() - 1;
    let mut sequence = |frame| reader.read_frame(frame).map(|read| read.meta.sequence).ok();
    let before: Vec<_> = (0..=last).map(&mut sequence).collect();
    assert!(before.iter().all(Option::is_some));
    // Somebody writes other bytes over some frames, then over all behind them and the index, too.
    for end in [bytes.len() * 5 / 8, bytes.len()] {
        let mut other = bytes.clone();
        other[bytes.len() / 2..end].reverse();
        std::fs::write(&file, &other).expect("written over");
        let after: Vec<_> = (0..=last).map(&mut sequence).collect();
        let right = before.iter().zip(&after).filter(|(before, after)| before == after).count();
        let lost = after.iter().filter(|after| after.is_none()).count();
        assert!(lost > 0 && right + lost == before.len(), "{before:?}, then {after:?}");
        assert!(end == bytes.len() || right > before.len() / 2, "{after:?}");
    }
    std::fs::File::options().write(true).open(&file).expect("the file").set_len(5000).expect("cut");
    assert!(reader.read_frame(last / 2).is_err());
    // Deleted and replaced: whoever has it open reads what it was.
    std::fs::write(&file, &bytes).expect("as before");
    let mut reader = kinora::recording::Reader::open(&file).expect("it opens");
    std::fs::remove_file(&file).expect("deleted");
    std::fs::write(&file, b"something else").expect("replaced");
    assert_eq!(Some(reader.read_frame(last).expect("it is still there").meta.sequence), before[last as usize]);
}
