//! Two recorders at once, in one directory or for one file.

use std::process::Stdio;

use common::{assert_intact, eventually, frames, kinora, messages, recordings, run};

#[path = "common/kinora.rs"]
mod common;

#[test]
fn recorders_that_start_in_the_same_second_write_files_of_their_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path of text");
    let start = |seed: u32| {
        let source = format!("virtual:seed={seed}");
        let arguments =
            ["record", "--source", &source, "--frames", "90", "--fps", "60", "--out", out, "--min-free", "0"];
        kinora(&arguments).stderr(Stdio::piped()).spawn().expect("kinora starts")
    };
    let recorders: Vec<_> = (0..4).map(start).collect();
    for recorder in recorders {
        let output = recorder.wait_with_output().expect("it ends");
        // 3: a machine that is too busy for four at once loses frames, and says so.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{:?}: {}", output.status, messages(&output));
    }
    let files = recordings(directory.path());
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let (found, finalized) = assert_intact(&file);
        assert!(finalized && found > 0 && found <= 90, "{}: {found}, closed: {finalized}", file.display());
    }
}

#[test]
fn a_second_recorder_leaves_the_file_of_one_that_still_writes_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path of text");
    let long = ["record", "--source", "virtual:seed=1", "--fps", "60", "--out", out, "--min-free", "0"];
    let mut first = kinora(&long).spawn().expect("kinora starts");
    let file = eventually("a first recording", || recordings(directory.path()).into_iter().next());
    eventually("frames in it", || frames(&file).filter(|&frames| frames > 10));
    let allocated = std::fs::metadata(&file).expect("the file").len();

    let short = ["record", "--source", "virtual:seed=2", "--frames", "20", "--out", out, "--min-free", "0"];
    assert!(matches!(run(&short).status.code(), Some(0 | 3)));
    assert!(std::fs::metadata(&file).expect("the file").len() >= allocated, "the tail of a file in use was cut");
    let before = frames(&file).expect("it opens");
    eventually("more frames", || frames(&file).filter(|&frames| frames > before + 10));

    let id = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("SIGTERM");
    assert!(matches!(first.wait().expect("it ends").code(), Some(0 | 3)), "SIGTERM closes cleanly");
    assert!(assert_intact(&file).1, "it was closed");
    assert_eq!(recordings(directory.path()).len(), 2);
}

#[test]
fn a_file_that_exists_is_never_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("once.kinora");
    let out = file.to_str().expect("a path of text");
    let arguments = ["record", "--source", "virtual", "--frames", "5", "--out", out, "--min-free", "0"];
    assert!(matches!(run(&arguments).status.code(), Some(0 | 3)));
    let before = std::fs::read(&file).expect("the file");
    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(messages(&again).contains("once.kinora"), "{}", messages(&again));
    assert_eq!(std::fs::read(&file).expect("the file"), before);
}
