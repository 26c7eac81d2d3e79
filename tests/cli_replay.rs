//! `kinora replay` and `kinora ctl`, run as their users run them.

#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const KINORA: &str = env!("CARGO_BIN_EXE_kinora");

fn replay(arguments: &[&str]) -> Command {
    let mut command = Command::new(KINORA);
    command.args(["replay", "--source", "virtual:seed=7", "--size", "160x120", "--fps", "60"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ctl(socket: &Path, arguments: &[&str]) -> Output {
    Command::new(KINORA).args(["ctl", "--control"]).arg(socket).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session on a socket; ended when dropped.
struct Session(Child);

impl Session {
    fn start(socket: &Path, arguments: &[&str]) -> Self {
        let control = ["--control", socket.to_str().unwrap()];
        let child = replay(&[&control, arguments].concat()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ctl(socket, &["status"]).status.success() {
            assert!(Instant::now() < deadline, "the session does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(child)
    }

    fn end(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn lines_on_standard_input_are_answered_in_order_and_its_end_ends_the_session() {
    let mut child = replay(&["--autostart", "--max-frames", "10"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = [
        r#"{"id":1,"wait":{"FrameBufferFull":true},"timeout":"60s"}"#,
        r#"{"id":2,"set":{"DefaultOutput":"None","JpegQuality":7}}"#,
        r#"{"id":20,"get":"DefaultOutput"}"#,
        r#"{"id":3,"command":"CommandStop"}"#,
        r#"{"id":4,"get":"NumberOfFramesInStorage"}"#,
        r#"not json"#,
        r#"{"id":6,"trigger":{"label":"x"}}"#,
    ];
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&answers.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["ok"], true);
    let refused = next();
    assert_eq!((refused["id"].as_i64(), refused["error"]["min"].as_i64()), (Some(2), Some(10)));
    assert_eq!(next()["result"], "PassThrough", "a line with one wrong value sets none");
    assert_eq!(next()["result"]["PlaybackState"], "Stopped");
    assert_eq!(next()["result"], 10);
    assert_eq!(next()["error"]["code"], "not_json");
    let no_clips = next();
    assert!(no_clips["error"]["message"].as_str().unwrap().contains("--clips"), "{no_clips}");
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_subscriber_gets_news_and_its_answers_in_order() {
    let mut child = replay(&["--max-frames", "10"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in [
        r#"{"id":1,"get":"PlaybackState"}"#,
        r#"{"id":2,"subscribe":"status"}"#,
        // While it waits, status lines come; the next line is looked at only when it is over.
        r#"{"id":3,"wait":{"FrameBufferFull":true},"timeout":"500ms"}"#,
        r#"{"id":4,"command":"CommandStartRecording"}"#,
        r#"{"id":5,"wait":{"FrameBufferFull":true},"timeout":"60s"}"#,
        r#"{"id":6,"command":"CommandStartPlayback"}"#,
        r#"{"id":7,"wait":{"PlaybackState":"Stopped"},"timeout":"60s"}"#,
    ] {
        writeln!(input, "{line}").unwrap();
    }
    let (mut ids, mut statuses, mut events) = (Vec::new(), 0, Vec::new());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !events.contains(&"PlaybackEnded".to_owned()) || ids.len() < 7 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        match (line["id"].as_i64(), line["event"].as_str()) {
            (Some(id), _) => {
                assert_eq!(line["ok"], id != 3, "{line}");
                ids.push(id);
            }
            (None, Some(event)) => events.push(event.to_owned()),
            (None, None) => {
                assert!(ids.len() >= 2, "nothing comes unasked: {line}");
                statuses += u64::from(line["status"].is_object());
            }
        }
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    assert!(statuses > 0 && events.contains(&"BufferFull".to_owned()), "{statuses} and {events:?}");
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_socket_is_for_its_owner_and_ctl_steers_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("replay.sock");
    let session = Session::start(&socket, &["--autostart", "--max-frames", "12"]);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(ctl(&socket, &["wait", "NumberOfFramesInStorage=12", "--timeout", "60s"]).status.success());
    assert!(ctl(&socket, &["set", "PlaybackSpeed=50%", "StartRecordingAfterPlayback=false"]).status.success());
    assert!(ctl(&socket, &["start-playback"]).status.success());
    assert!(ctl(&socket, &["wait", "PlaybackState=Stopped"]).status.success());
    let status = ctl(&socket, &["status"]);
    assert!(text(&status.stdout).contains("PlaybackSpeed: 50%"), "{}", text(&status.stdout));
    assert_eq!(text(&ctl(&socket, &["get", "PlaybackCurrentFrame"]).stdout).trim(), "12");
    for speed in ["0.25", "1/4", "25%"] {
        assert!(ctl(&socket, &["set", &format!("PlaybackSpeed={speed}")]).status.success(), "{speed}");
        assert_eq!(text(&ctl(&socket, &["get", "PlaybackSpeed"]).stdout).trim(), "25%");
    }
    let status: Value = serde_json::from_slice(&ctl(&socket, &["--json", "status"]).stdout).unwrap();
    let [from, to] = ["FrameStoreStartTime", "FrameStoreStopTime"].map(|key| status["result"][key].as_str().unwrap());
    assert!(ctl(&socket, &["play-between", from, to]).status.success());
    assert_eq!(ctl(&socket, &["play-between", from, to]).status.code(), Some(1), "a replay runs already");
    for command in ["mark-in", "mark-out", "stop"] {
        assert!(ctl(&socket, &[command]).status.success(), "{command}");
    }
    assert_eq!(text(&ctl(&socket, &["get", "MarkOut"]).stdout).trim(), "true");

    let wrong = ctl(&socket, &["set", "JpegQuality=500"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("10 to 100"), "{}", text(&wrong.stderr));
    let late = ctl(&socket, &["wait", "PlaybackState=Playback", "--timeout", "100ms"]);
    assert_eq!(late.status.code(), Some(1));

    let second = replay(&["--control", socket.to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("somebody answers"), "{}", text(&second.stderr));
    assert!(session.end().success(), "SIGTERM ends it cleanly");
    assert!(!socket.exists());
    let nobody = ctl(&socket, &["status"]);
    assert!(text(&nobody.stderr).contains("is `kinora replay"), "{}", text(&nobody.stderr));
}

#[test]
fn the_status_has_the_documented_fields() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let session = Session::start(&socket, &["--autostart"]);
    let answer: Value = serde_json::from_slice(&ctl(&socket, &["--json", "status"]).stdout).unwrap();
    session.end();
    let document = include_str!("../docs/json.md");
    let section = document.split("\n## ").find(|section| section.starts_with("replay status\n")).unwrap();
    let documented: std::collections::BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let fields: std::collections::BTreeSet<&str> =
        answer["result"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, documented);
    assert_eq!(answer["ok"], true);
}

#[test]
fn a_stale_socket_is_replaced_and_another_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("replay.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    Session::start(&socket, &[]).end();
    std::fs::write(&socket, "something else").unwrap();
    let refused = replay(&["--control", socket.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "something else");
}

#[test]
fn a_trigger_and_a_save_make_clips_that_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, clips) = (folder.path().join("s"), folder.path().join("clips"));
    let session = Session::start(&socket, &["--clips", clips.to_str().unwrap()]);
    std::thread::sleep(Duration::from_millis(300));
    let trigger = ctl(&socket, &["trigger", "goal", "--pre", "200ms", "--post", "200ms", "--lock"]);
    assert!(trigger.status.success(), "{}", text(&trigger.stderr));
    assert!(ctl(&socket, &["save", "--label", "all"]).status.success());
    std::thread::sleep(Duration::from_millis(600));
    assert!(ctl(&socket, &["trigger", "--pre", "2h"]).status.code() == Some(1), "no history reaches back so far");
    session.end();
    let names: Vec<String> =
        std::fs::read_dir(&clips).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        names.iter().any(|name| name.ends_with("_goal.locked.kinora"))
            && names.iter().any(|name| name.contains("_all")),
        "{names:?}"
    );
    for name in names {
        assert!(name.starts_with("clip_") && name.ends_with(".kinora"), "{name}");
        let verified = Command::new(KINORA).arg("verify").arg(clips.join(name)).output().unwrap();
        assert!(verified.status.success(), "{}", text(&verified.stdout));
    }
}

#[test]
fn wrong_arguments_are_refused_with_exit_code_2() {
    for (arguments, expected) in [
        (vec!["--trigger", "person for", "--clips", "c"], "column 11"),
        (vec!["--trigger", "person"], "--clips"),
        (vec!["--max-frames", "0"], "--max-frames"),
        (vec!["--quality", "5"], "10 to 100"),
        (vec!["--speed", "fast"], "no speed"),
        (vec!["--default-output", "black"], "PassThrough"),
        (vec!["--output", "fd:1"], "--control"),
        (vec!["--window", "30"], "64MiB"),
        (vec!["--window", "0s"], "above zero"),
        (vec!["--window", "1MiB,2MiB"], "two sizes"),
        (vec!["--window", "1s,2m"], "two times"),
        (vec!["--trigger", ""], "a class"),
        (vec!["--pre", "10s"], "--clips"),
        (vec!["--post", "10s"], "--clips"),
    ] {
        let output = replay(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
    let huge = replay(&["--max-frames", "9000000"]).output().unwrap();
    assert_eq!(huge.status.code(), Some(1));
    assert!(text(&huge.stderr).contains("at most --max-frames"), "{}", text(&huge.stderr));
    let clips = tempfile::tempdir().unwrap();
    let clips = ["--clips", clips.path().to_str().unwrap()];
    for (arguments, remedy) in [
        (["--pre", "1000h"], "at most --pre"),
        // A shorter pre-roll would not help: the history alone is too large.
        (["--frame-bytes", "10GB"], "a smaller --frame-bytes"),
    ] {
        let refused = replay(&[&clips[..], &arguments].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(remedy), "{}", text(&refused.stderr));
    }
}

#[test]
fn the_window_is_bounded_by_bytes_and_by_seconds() {
    for bound in ["40KiB", "200ms", "40kB,1h"] {
        let mut child = replay(&["--autostart", "--window", bound]).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        for line in [
            r#"{"wait":{"FrameBufferFull":true},"timeout":"60s"}"#,
            r#"{"command":"CommandStop"}"#,
            r#"{"get":"status"}"#,
        ] {
            writeln!(input, "{line}").unwrap();
        }
        drop(input);
        let output = child.wait_with_output().unwrap();
        let status: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
        let of = |key: &str| status["result"][key].as_u64().unwrap();
        assert!((1..100).contains(&of("NumberOfFramesInStorage")), "{bound}: {status}");
        assert!(bound == "200ms" || of("FramesMemoryBytes") <= 40 << 10, "{bound}: {status}");
        assert!(of("FramesMemoryBytes") < of("ArenaBytes"));
    }
}

#[test]
fn the_output_recording_carries_the_source_and_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let [out, all] = ["out.kinora", "all"].map(|name| folder.path().join(name));
    let options = ["--output", out.to_str().unwrap(), "--out", all.to_str().unwrap()];
    let mut child = replay(&options).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, r#"{{"get":"status"}}"#).unwrap();
    drop(input);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let all = std::fs::read_dir(&all).unwrap().next().unwrap().unwrap().path();
    let [shown, recorded] = [&out, &all].map(|file| {
        let info = Command::new(KINORA).args(["info", "--json"]).arg(file).output().unwrap();
        serde_json::from_slice::<Value>(&info.stdout).unwrap()
    });
    for key in ["source", "network", "labels"] {
        assert!(!shown[key].is_null(), "{key}: {shown}");
        assert_eq!(shown[key], recorded[key], "{key}: {shown}");
    }
    assert!(shown["source"].as_str().unwrap().contains("virtual"), "{shown}");
}

/// A session with a panel on a terminal of its own, that `script` makes, and a socket beside to see what became of the keys.
struct OnTerminal {
    session: Child,
    socket: std::path::PathBuf,
}

impl OnTerminal {
    fn start(folder: &Path, arguments: &str) -> Self {
        let socket = folder.join("s");
        let line = format!(
            "{KINORA} replay --source virtual:seed=7 --size 160x120 --fps 60 --control {} {arguments}",
            socket.display()
        );
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &line]).arg(folder.join("typescript"));
        let session = script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ctl(&socket, &["status"]).status.success() {
            assert!(Instant::now() < deadline, "the session does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { session, socket }
    }

    fn press(&mut self, keys: &str) {
        let input = self.session.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Waits until a read-out has a value.
    fn reads(&self, expected: &str) {
        let waited = ctl(&self.socket, &["wait", expected, "--timeout", "30s"]);
        let status = || text(&ctl(&self.socket, &["status"]).stdout);
        assert!(waited.status.success(), "{expected}: {}\n{}", text(&waited.stderr), status());
    }

    fn number(&self, name: &str) -> i64 {
        text(&ctl(&self.socket, &["get", name]).stdout).trim().parse().unwrap()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

#[test]
fn keys_on_a_terminal_do_what_they_do_in_play() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `script` to make a terminal");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut session = OnTerminal::start(folder.path(), "--max-frames 40");
    // Nothing is replayed: the freeze is refused, and the set speed stays.
    session.press("f");
    session.press("r");
    session.reads("PlaybackState=Recording");
    session.press("f");
    session.reads("FrameBufferFull=true");
    assert_eq!(text(&ctl(&session.socket, &["get", "PlaybackSpeed"]).stdout).trim(), "100%");
    session.reads("PlaybackState=Recording");

    session.press("lp");
    session.reads("Loop=true");
    session.reads("PlaybackState=Playback");
    session.press("f");
    session.reads("Paused=true");
    assert_eq!(text(&ctl(&session.socket, &["get", "PlaybackSpeed"]).stdout).trim(), "100%");
    session.press("\x1b[H");
    session.reads("PlaybackCurrentFrame=1");
    session.press("\x1b[C");
    session.reads("PlaybackCurrentFrame=2");
    session.press("\x1b[1;2C");
    session.reads("PlaybackCurrentFrame=12");
    session.press("i");
    session.reads("MarkIn=true");
    session.press("\x1b[1;2D");
    session.reads("PlaybackCurrentFrame=2");
    session.press("\x1b[D");
    session.reads("PlaybackCurrentFrame=1");
    session.press("\x1b[F");
    session.reads("PlaybackCurrentFrame=40");
    session.press("\x1b[H");
    session.reads("PlaybackCurrentFrame=12");
    session.press("c");
    session.reads("MarkIn=false");

    session.press("\x1b[A");
    session.reads("PlaybackSpeed=200%");
    session.press("\x1b[B");
    session.reads("PlaybackSpeed=100%");
    session.press("-");
    session.reads("PlaybackSpeed=-100%");
    session.press("4");
    session.reads("PlaybackSpeed=25%");
    session.press(" ");
    session.reads("Paused=false");
    session.press(" \x1b[D");
    session.reads("Paused=true");
    let held = session.number("PlaybackCurrentFrame");
    session.press("m?l");
    session.reads("Loop=false");
    assert_eq!(session.number("PlaybackCurrentFrame"), held);
    session.press("?s");
    session.reads("PlaybackState=Stopped");
    session.press("?");
    session.reads("PlaybackState=Stopped");
    session.press("q");
    assert!(session.session.wait().unwrap().success());
    let shown = std::fs::read(folder.path().join("typescript")).unwrap();
    let shown = text(&shown);
    assert!(shown.contains("first, last frame"), "the list of keys");
    assert!(shown.contains("start playback first") && shown.contains("start with --out DIR"), "{shown}");
}

#[test]
fn the_example_session_shows_the_frames_that_it_asked_for() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/replay_session.sh");
    let output = Command::new("bash").arg(script).arg(KINORA).output().unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("was shown"));
}

#[test]
fn frames_that_do_not_fit_are_told_once_with_the_remedy() {
    let mut child = replay(&["--autostart", "--frame-bytes", "1KiB"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut too_big = || {
        writeln!(input, r#"{{"get":"TooBig"}}"#).unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        answer["result"].as_u64().unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while too_big() < 3 {
        assert!(Instant::now() < deadline, "nothing is stored, and nothing is too big");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert_eq!(told.matches("was not stored").count(), 1, "{told}");
    assert!(told.contains("raise --frame-bytes"), "{told}");
}
