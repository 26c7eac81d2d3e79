//! What runs for weeks: the messages to a service manager, the unit of contrib/ and its settings.
#![cfg(all(feature = "cli", feature = "jpeg"))]

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use common::{assert_intact, eventually, json, kinora, messages, recordings, run};

#[path = "common/kinora.rs"]
mod common;

/// The command's watchdog interval; it is fed in quarters of it.
const WATCHDOG_US: &str = "400000";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A stand-in for the service manager: what the command tells it, and modlib lines that are the command's camera.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    lines: Vec<String>,
    said: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        let sample = root().join("samples/astronaut.kinora");
        let exported = run(&["export", sample.to_str().expect("text"), "--to", "json", "-o", "-"]);
        let text = String::from_utf8(exported.stdout).expect("JSON is text");
        let lines: Vec<_> = text.lines().map(|line| format!("{line}\n")).collect();
        assert!(lines.len() > 10, "{}", messages(&Command::new("true").output().expect("true")));
        Self { folder, socket, lines, said: Vec::new() }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = kinora(arguments);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).env("WATCHDOG_USEC", WATCHDOG_US);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("kinora starts")
    }

    /// Everything that was said until now.
    fn hear(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut bytes) {
            self.said.push(String::from_utf8_lossy(&bytes[..n]).into_owned());
        }
    }

    fn count(&mut self, word: &str) -> usize {
        self.hear();
        self.said.iter().filter(|message| message.lines().any(|line| line == word)).count()
    }

    /// Frames come, one after another, until the word was said so often.
    fn frames_until(&mut self, child: &mut Child, word: &str, times: usize) {
        let mut next = 0;
        eventually(word, || {
            let line = self.lines[next % self.lines.len()].clone();
            next += 1;
            child.stdin.as_mut().expect("piped").write_all(line.as_bytes()).expect("the command reads");
            (self.count(word) >= times).then_some(())
        });
    }
}

fn terminate(child: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().expect("a process number")).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    child.wait().expect("it ends")
}

/// Ready at the first frame, alive with frames, silent without them, and told when it stops.
fn tells_the_manager(arguments: &[&str]) {
    let mut manager = Manager::new();
    let mut child = manager.start(arguments);
    assert_eq!(manager.count("READY=1"), 0, "no frame came: {:?}", manager.said);
    manager.frames_until(&mut child, "WATCHDOG=1", 4);
    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.said);
    assert!(manager.said[0].starts_with("READY=1\n") && manager.said[0].contains("STATUS="), "{:?}", manager.said);
    // What is on its way still feeds; then, however long, nothing does.
    std::thread::sleep(Duration::from_millis(1_500));
    let fed = manager.count("WATCHDOG=1");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(manager.count("WATCHDOG=1"), fed, "no frame came, but the watchdog was fed: {:?}", manager.said);
    assert_eq!(manager.count("STOPPING=1"), 0);
    let status = terminate(&mut child);
    assert_eq!(manager.count("STOPPING=1"), 1, "{:?}", manager.said);
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
}

#[test]
fn a_recorder_is_ready_at_its_first_frame_and_fed_by_frames_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    tells_the_manager(&["record", "--quiet", "--source", "-", "--out", out]);
    let files = recordings(folder.path());
    assert_eq!(files.len(), 1);
    let (frames, closed) = assert_intact(&files[0]);
    assert!(frames >= 4 && closed, "SIGTERM closes the recording: {frames} frames, closed: {closed}");
}

#[test]
fn a_replay_is_ready_at_its_first_frame_and_fed_by_frames_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("control");
    tells_the_manager(&["replay", "--quiet", "--source", "-", "--control", socket.to_str().expect("text")]);
}

#[test]
fn a_socket_that_no_manager_can_have_named_is_refused_with_its_name() {
    let output = kinora(&["record", "--source", "virtual", "--frames", "1"]).env("NOTIFY_SOCKET", "nonsense").output();
    let output = output.expect("kinora starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(messages(&output).contains("NOTIFY_SOCKET"), "{}", messages(&output));
}

/// `--print-config` of a command with one of the files of contrib/.
fn settings(command: &str, file: &str) -> impl Fn(&str) -> Option<(String, String)> {
    let path = root().join("contrib").join(file);
    let (code, printed) = json(&[command, "--config", path.to_str().expect("text"), "--print-config", "--json"]);
    assert_eq!(code, Some(0), "{printed}");
    move |key| {
        let found = printed["settings"].as_array()?.iter().find(|setting| setting["key"] == key)?;
        Some((found["value"].as_str()?.to_owned(), found["origin"].as_str()?.to_owned()))
    }
}

#[test]
fn the_dashcam_has_a_window_a_rule_and_a_bound() {
    let setting = settings("replay", "dashcam.toml");
    for (key, value) in [("max-frames", "900"), ("keep-size", "16GiB"), ("clips", "clips"), ("autostart", "true")] {
        let (found, origin) = setting(key).unwrap_or_else(|| panic!("{key}"));
        assert!(found == value && origin.ends_with("dashcam.toml"), "{key} = {found} # {origin}");
    }
    assert!(setting("trigger").expect("rules").0.contains("person"));
}

#[test]
fn the_dashcam_runs_and_saves_a_clip_on_demand() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = root().join("contrib/dashcam.toml");
    let (config, socket) = (config.to_str().expect("text"), folder.path().join("replay.sock"));
    let mut command = kinora(&["replay", "--config", config, "--source", "virtual", "--quiet"]);
    command.args(["--max-frames", "30", "--post", "0s"]).current_dir(folder.path()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().expect("kinora starts");
    let ctl = |what: &[&str]| run(&[&["ctl", "--control", socket.to_str().expect("text")], what].concat());
    eventually("a frame in the window", || {
        ctl(&["get", "NumberOfFramesInStorage"]).stdout.iter().any(|byte| (b'1'..=b'9').contains(byte)).then_some(())
    });
    assert!(ctl(&["trigger", "test", "--pre", "1s", "--post", "0s"]).status.success());
    // While it is written its name begins with a dot.
    let hidden = |file: &PathBuf| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let clips = folder.path().join("clips");
    let file = eventually("a clip", || recordings(&clips).into_iter().find(|file| !hidden(file)));
    let status = terminate(&mut child);
    assert!(matches!(status.code(), Some(0 | 3)), "{status}");
    assert!(assert_intact(&file).0 > 0);
}

#[test]
fn the_settings_of_the_service_are_taken() {
    let setting = settings("record", "service.toml");
    assert_eq!(setting("keep-size").expect("keep-size").0, "8GiB");
    let output = run(&["record", "--config", "/nonexistent/kinora.toml", "--print-config"]);
    assert_eq!(output.status.code(), Some(2), "a file that was named must be there");
    assert!(messages(&output).contains("/nonexistent/kinora.toml"));
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(root().join("contrib").join(name)).expect("it is there")
}

/// What the unit starts, without the program.
fn command_line(text: &str) -> Vec<String> {
    let line = text.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/kinora ")).next_back();
    line.expect("a command").split(' ').map(str::to_owned).collect()
}

#[test]
fn the_unit_starts_commands_that_exist() {
    for name in ["kinora.service", "dashcam.conf"] {
        let line = command_line(&unit(name));
        let moved: Vec<String> = line
            .iter()
            .map(|word| word.replace("/etc/kinora", root().join("contrib").to_str().expect("text")))
            .collect();
        let words: Vec<&str> = moved.iter().map(String::as_str).chain(["--print-config"]).collect();
        let output = run(&words);
        assert!(output.status.success(), "{name}: {}", messages(&output));
    }
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let known = Command::new("systemd-analyze").arg("--version").output();
    if !known.is_ok_and(|output| output.status.success()) {
        println!("skipped: no systemd-analyze here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kinora.service");
    // Its program and its pages are not installed here.
    let text = unit("kinora.service").replace("/usr/bin/kinora", env!("CARGO_BIN_EXE_kinora"));
    let text: String =
        text.lines().filter(|line| !line.starts_with("Documentation=")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&path, text).expect("written");
    let output = analyze(&["verify"], &path);
    let words = messages(&output);
    let about_us: Vec<_> = words.lines().filter(|line| line.contains("kinora.service")).collect();
    assert!(about_us.is_empty(), "{words}");
    let output = analyze(&["security", "--offline=true", "--threshold=20"], &path);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), messages(&output));
    assert!(output.status.success(), "more exposed than 2.0 of 10:\n{said}");
}

fn analyze(arguments: &[&str], path: &Path) -> std::process::Output {
    Command::new("systemd-analyze").args(arguments).arg(path).output().expect("systemd-analyze starts")
}
