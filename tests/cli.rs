//! The built command with good and bad input: exit codes, what goes to which stream, settings from all their layers, signals,
//! closed pipes.
#![cfg(all(feature = "cli", feature = "jpeg"))]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The command in `folder`, without the settings of whoever runs the tests.
fn kinora(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KINORA_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CONFIG_HOME", folder.join("config")).current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, line: &str) -> Output {
    kinora(folder).args(line.split(' ')).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeeds(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    assert_eq!(code(&output), 0, "kinora {line}\n{}", stderr(&output));
    stdout(&output)
}

/// Fails with that exit code, prints nothing to standard output, and says each of the words.
#[track_caller]
fn fails(folder: &Path, line: &str, expected: i32, words: &[&str]) {
    let output = run(folder, line);
    let said = stderr(&output);
    assert_eq!(code(&output), expected, "kinora {line}\n{said}");
    assert_eq!(stdout(&output), "", "kinora {line}");
    for word in words {
        assert!(said.contains(word), "kinora {line} should say `{word}`:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

const SMALL: &str = "record -q --clock manual --source virtual:seed=7,size=64x48";

/// A folder with `a.kinora`: 12 frames of the virtual scene.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeeds(folder.path(), &format!("{SMALL} --frames 12 --out a.kinora"));
    folder
}

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let help = succeeds(folder.path(), "--help");
    for word in ["record", "play", "completions", "Examples:", "Exit codes:"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(succeeds(folder.path(), "--version").starts_with("kinora "));
    assert!(succeeds(folder.path(), "play --help").contains("--speed"));
    assert!(succeeds(folder.path(), "completions bash").contains("_kinora"));
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    for (line, words) in [
        ("record --quality 300", &["--quality", "1 to 100"][..]),
        ("record --size big", &["--size", "640x480"]),
        ("record --sync sometimes", &["--sync", "every-frame"]),
        ("record --source v4l2:", &["--source", "v4l2"]),
        ("record --source virtual:seed=x", &["--source", "seed"]),
        ("play --speed 0 a", &["--speed", "--start-paused"]),
        ("play --from yesterday a", &["--from", "RFC 3339"]),
        ("diff a b --iou 7", &["--iou"]),
        ("export a -o b", &["--to"]),
        ("frobnicate", &["frobnicate"]),
        ("cut a -o b", &["--from"]),
        ("record --no-such-flag", &["--no-such-flag"]),
        ("record --out=", &["--out", "directory"]),
        ("import a.json -o -", &["-o -", "export"]),
        ("repair a.kinora -o b.json", &["b.json", "export"]),
        ("play a.kinora --output fd:1 --print json", &["fd:1", "fd:3"]),
        ("play a.kinora --output fd:1 --json", &["fd:1", "fd:3"]),
        ("info", &["FILE"]),
    ] {
        fails(folder.path(), line, 2, words);
    }
}

#[test]
fn a_file_that_is_missing_or_foreign_is_exit_1_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.txt"), "no recording at all\n").unwrap();
    std::fs::write(folder.path().join("empty.kinora"), "").unwrap();
    for command in ["info", "cat", "verify", "tail", "play"] {
        fails(folder.path(), &format!("{command} gone.kinora"), 1, &["gone.kinora"]);
        fails(folder.path(), &format!("{command} text.txt"), 1, &["text.txt"]);
        fails(folder.path(), &format!("{command} empty.kinora"), 1, &["empty.kinora"]);
    }
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for command in ["info", "cat", "verify", "tail", "play"] {
        fails(folder.path(), &format!("{command} folder"), 1, &["folder is a directory"]);
    }
    fails(folder.path(), "import folder -o x.kinora", 1, &["folder is a directory"]);
    fails(folder.path(), "export gone.kinora --to json -o x.json", 1, &["gone.kinora"]);
    fails(folder.path(), "repair gone.kinora -o x.kinora", 1, &["gone.kinora"]);
    fails(folder.path(), "import gone.json -o x.kinora", 1, &["gone.json"]);
    fails(folder.path(), "diff gone.kinora text.txt", 1, &["gone.kinora"]);
    fails(folder.path(), "record --source gone.kinora", 1, &["gone.kinora"]);
    fails(folder.path(), "record --source empty.kinora", 1, &["empty.kinora"]);
    fails(folder.path(), "record --source virtual --out text.txt", 1, &["text.txt", "is a file"]);
    fails(folder.path(), "record --source v4l2:/dev/no-camera", 1, &["/dev/no-camera"]);
    fails(folder.path(), "play", 1, &["recordings", "kinora record"]);
    assert!(!folder.path().join("x.json").exists() && !folder.path().join("x.kinora").exists());
}

#[test]
fn no_command_overwrites_a_file() {
    let folder = folder();
    let folder = folder.path();
    succeeds(folder, "export a.kinora --to json -o a.json");
    std::fs::write(folder.join("there"), "mine").unwrap();
    for line in [
        "export a.kinora --to json -o there",
        "repair a.kinora -o there",
        "cut a.kinora --from 1 -o there",
        "import a.json -o there",
        "play a.kinora --clock manual --output there",
        "record --source virtual --frames 1 --clock manual --out a.kinora",
        "record --source virtual --frames 1 --clock manual --out a.json",
    ] {
        fails(folder, line, 1, &["exists"]);
    }
    assert_eq!(std::fs::read_to_string(folder.join("there")).unwrap(), "mine");
}

#[test]
fn record_play_verify_and_exchange_form_a_chain() {
    let folder = folder();
    let folder = folder.path();
    assert!(succeeds(folder, "verify a.kinora").contains("intact, 12 frames"));
    assert_eq!(succeeds(folder, "play a.kinora --clock manual --print text").lines().count(), 12);
    assert_eq!(succeeds(folder, "cat a.kinora --from 3 --to 5").lines().count(), 3);
    succeeds(folder, "export a.kinora --to json -o a.json");
    let lines = std::fs::read_to_string(folder.join("a.json")).unwrap();
    assert_eq!(lines.lines().count(), 12);
    assert_eq!(succeeds(folder, "export a.kinora --to json -o -"), lines);
    assert_eq!(succeeds(folder, "play a.kinora --clock manual --print modlib"), lines);
    succeeds(folder, "import a.json -o b.kinora");
    succeeds(folder, "diff a.kinora b.kinora");
    succeeds(folder, "export b.kinora --to json -o b.json");
    assert_eq!(std::fs::read_to_string(folder.join("b.json")).unwrap(), lines);
    succeeds(folder, "cut a.kinora --from 2 --to 4 -o c.kinora");
    let output = run(folder, "diff a.kinora c.kinora");
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("9 frames only in the first"), "{}", stdout(&output));
    succeeds(folder, "record -q --clock manual --source a.kinora --out d.kinora");
    succeeds(folder, "diff a.kinora d.kinora");
    succeeds(folder, "record -q --clock manual --source a.json --out e.kinora");
    succeeds(folder, "diff a.kinora e.kinora");
    fails(folder, "import a.kinora -o f.kinora", 1, &["a.kinora is a .kinora recording already"]);
}

#[test]
fn modlib_lines_go_through_standard_input_and_output() {
    let folder = folder();
    let lines = succeeds(folder.path(), "export a.kinora --to json -o -");
    for line in ["import - -o i.kinora", "record -q --source - --out r.kinora"] {
        let mut child = kinora(folder.path()).args(line.split(' ')).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{line}");
    }
    succeeds(folder.path(), "diff a.kinora i.kinora");
    succeeds(folder.path(), "diff a.kinora r.kinora");
    let recorded = succeeds(folder.path(), "record -q --clock manual --source a.kinora --out -");
    assert_eq!(recorded, lines);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = folder();
    succeeds(folder.path(), &format!("{SMALL} --frames 12 --out b.kinora"));
    let read = |name| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("a.kinora"), read("b.kinora"));
    let other = "record -q --clock manual --source virtual:seed=8,size=64x48 --frames 12 --out c.kinora";
    succeeds(folder.path(), other);
    assert_ne!(read("a.kinora"), read("c.kinora"));
}

#[test]
fn broken_lines_are_named_and_the_others_come_in_with_exit_3() {
    let folder = folder();
    let lines = succeeds(folder.path(), "export a.kinora --to json -o -");
    let mut lines: Vec<_> = lines.lines().collect();
    lines[4] = "{ this is torn";
    std::fs::write(folder.path().join("torn.json"), lines.join("\n")).unwrap();
    let output = run(folder.path(), "import torn.json -o b.kinora");
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("line 5"), "{}", stderr(&output));
    assert!(stdout(&output).contains("11 frames"), "{}", stdout(&output));
    succeeds(folder.path(), "verify b.kinora");
    let as_source = run(folder.path(), "record --clock manual --source torn.json --out c.kinora");
    assert_eq!((code(&as_source), stderr(&as_source).contains("torn.json: line 5")), (3, true), "{as_source:?}");
    std::fs::write(folder.path().join("none.json"), "no frame\nat all\n").unwrap();
    fails(folder.path(), "record --source none.json --out e.kinora", 1, &["none.json: no frame in it", "line 1"]);
    let mut piped = kinora(folder.path());
    piped.args(["record", "--source", "-", "--out", "d.kinora"]);
    let piped = piped.stdin(std::fs::File::open(folder.path().join("torn.json")).unwrap()).output().unwrap();
    assert_eq!((code(&piped), stderr(&piped).contains("-: line 5")), (3, true), "{piped:?}");
}

#[test]
fn a_damaged_recording_is_exit_3_and_its_repair_is_intact() {
    let folder = folder();
    let folder = folder.path();
    let mut bytes = std::fs::read(folder.join("a.kinora")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    std::fs::write(folder.join("a.kinora"), bytes).unwrap();
    let output = run(folder, "verify a.kinora");
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("damaged") && stderr(&output).contains("kinora repair"));
    assert_eq!(code(&run(folder, "cat a.kinora")), 3);
    assert_eq!(code(&run(folder, "play a.kinora --clock manual --print none")), 3);
    let output = run(folder, "repair a.kinora -o b.kinora");
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("lost:"), "{}", stdout(&output));
    succeeds(folder, "verify b.kinora");
    fails(folder, "verify gone.kinora", 1, &["gone.kinora"]);
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    let folder = folder();
    for line in ["cat a.kinora --json", "export a.kinora --to json -o -", "play a.kinora --clock manual --print modlib"]
    {
        let mut child =
            kinora(folder.path()).args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything was read.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{line}: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn results_and_messages_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let line = "record --clock manual --source virtual:size=64x48 --frames 3 --out a.kinora";
    let output = run(folder.path(), line);
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
    assert!(stdout(&output).contains("a.kinora: 3 frames"));
    let said = stderr(&output);
    for word in ["64x48", "30.0000 frames/s", "a.kinora", "Ctrl-C", "kinora play a.kinora"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains('\x1b'), "no colours in a pipe");
    let quiet = run(folder.path(), "play -q a.kinora --clock manual --print none");
    assert_eq!((stdout(&quiet), stderr(&quiet)), (String::new(), String::new()));
    let report = run(folder.path(), "play a.kinora --clock manual --print none");
    assert!(stderr(&report).contains("3 frames, 0 late") && stdout(&report).is_empty());
}

#[test]
fn settings_come_from_file_then_environment_then_flag() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config")).unwrap();
    let file = folder.path().join("config/kinora.toml");
    std::fs::write(&file, "quality = 55\nfps = 12.5\n").unwrap();
    let show = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = kinora(folder.path());
        command.args(["record", "--print-config"]).args(arguments).envs(variables.iter().copied());
        let output = command.output().unwrap();
        (code(&output), stdout(&output), stderr(&output))
    };
    let line = |text: &str, key: &str| {
        text.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default().to_owned()
    };
    let (_, text, _) = show(&[], &[]);
    assert!(line(&text, "quality").contains("\"55\"") && line(&text, "quality").contains("kinora.toml"), "{text}");
    assert!(line(&text, "format").ends_with("# default"), "{text}");
    let (_, text, _) = show(&[], &[("KINORA_QUALITY", "66")]);
    assert!(
        line(&text, "quality").contains("\"66\"") && line(&text, "quality").ends_with("# KINORA_QUALITY"),
        "{text}"
    );
    let (_, text, _) = show(&["--quality", "77"], &[("KINORA_QUALITY", "66")]);
    assert!(line(&text, "quality").contains("\"77\"") && line(&text, "quality").ends_with("# flag"), "{text}");
    let (status, text, said) = show(&[], &[("KINORA_QUALTY", "66")]);
    assert!(status == 2 && text.is_empty() && said.contains("KINORA_QUALTY"), "{said}");
    std::fs::write(&file, "qualty = 55\n").unwrap();
    let (status, _, said) = show(&[], &[]);
    assert!(status == 2 && said.contains("kinora.toml") && said.contains("qualty"), "{said}");
    std::fs::write(&file, "quality = 0\n").unwrap();
    let line = "record --source virtual --frames 1 --clock manual --out q.kinora";
    fails(folder.path(), line, 2, &["kinora.toml:1", "quality"]);
}

#[test]
fn settings_that_the_command_would_refuse_are_not_printed_as_if_they_were_in_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = |text: &str| {
        let path = folder.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
    };
    for (text, line, words) in [
        ("# Mine.\n\nquality = 300\n", "record", ["own.toml:3: quality:", "1 to 100"]),
        ("source = 'virtual:sed=1'", "record", ["own.toml:1: source:", "virtual: sed=1"]),
        ("fps = 12.5\nrt = 100", "replay", ["own.toml:2: rt:", "1 to 99"]),
        ("quality = 5", "replay", ["own.toml:1: quality:", "10 to 100"]),
        ("clips = 'c'\ntrigger = ['person for']", "replay", ["own.toml:2: trigger:", "column 11"]),
        ("clips = 'c'\nclip-rate = '5'", "replay", ["own.toml:2: clip-rate:", "at least"]),
        ("out = 'a.kinora'\nkeep-size = '1GiB'", "record", ["own.toml:2: keep-size:", "--out"]),
        ("card-tbw = 'much'", "doctor", ["own.toml:1: card-tbw:", "much"]),
        ("hflip = 'maybe'", "memory", ["own.toml:1: hflip:", "true nor false"]),
        ("speed = 0", "play", ["own.toml:1: speed:", "never ends"]),
    ] {
        path(text);
        let line = format!("{line} --config own.toml --print-config");
        fails(folder.path(), &line, 2, &words);
    }
    for (name, value, words) in
        [("KINORA_QUALITY", "0", "KINORA_QUALITY: `0`"), ("KINORA_FPS", "-1", "KINORA_FPS: `-1`")]
    {
        let output = kinora(folder.path()).args(["record", "--print-config"]).env(name, value).output().unwrap();
        assert_eq!((code(&output), stdout(&output)), (2, String::new()));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    // A place of its own call: where `record` records to, `replay` does not record everything besides.
    path("out = 'elsewhere'\nclips = 'c'\nclip-rate = '5MB'");
    let output = run(folder.path(), "replay --config own.toml --print-config");
    assert!(stdout(&output).contains("clip-rate") && !stdout(&output).contains("elsewhere"), "{}", stdout(&output));
}

#[test]
fn a_jpeg_stream_holds_every_picture() {
    let folder = folder();
    succeeds(folder.path(), "play -q a.kinora --clock manual --output out.mjpeg");
    let bytes = std::fs::read(folder.path().join("out.mjpeg")).unwrap();
    assert!(bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9]));
    let starts = bytes.windows(3).filter(|window| window == &[0xff, 0xd8, 0xff]).count();
    assert_eq!(starts, 12);
    let output = run(folder.path(), "play -q a.kinora --clock manual --output fd:1");
    assert_eq!((code(&output), &output.stdout), (0, &bytes));
    fails(folder.path(), "play -q a.kinora --clock manual --output fd:99", 1, &["fd:99"]);
    fails(folder.path(), "play -q a.kinora --clock manual --output no/such/place", 1, &["no/such/place"]);
}

#[test]
fn a_fifo_takes_the_stream_and_its_reader_may_go_away() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let line = "play -q a.kinora --clock manual --loop --output fifo";
    let mut child = kinora(folder.path()).args(line.split(' ')).spawn().unwrap();
    let mut start = [0; 3];
    std::fs::File::open(&fifo).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(start, [0xff, 0xd8, 0xff]);
    // The reader is gone, the loop is endless: only the closed pipe ends it.
    assert!(wait(&mut child).success());
}

#[test]
fn keys_drive_the_player_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script` (util-linux) here to make a terminal");
        return;
    }
    let folder = folder();
    let play = format!("stty cols 80 rows 24; {} play a.kinora --start-paused", env!("CARGO_BIN_EXE_kinora"));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &play, "/dev/null"]).current_dir(folder.path()).env("TERM", "xterm-256color");
    terminal.env("XDG_CONFIG_HOME", folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut press_after = |words: &str, key: &str| {
        let mut chunk = [0; 4096];
        while !seen.contains(words) {
            let read = screen.read(&mut chunk).unwrap();
            assert!(read > 0, "`{words}` did not appear: {}", seen.escape_debug());
            seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        seen.clear();
        keyboard.write_all(key.as_bytes()).unwrap();
    };
    press_after("frame 0 of 12", "\x1b[C");
    press_after("frame 1 of 12", "\x1b[1;2C");
    press_after("frame 11 of 12", "\x1b[H");
    press_after("frame 0 of 12", "?");
    press_after("the other direction", "m");
    press_after("bookmark 0", "l");
    press_after("loop", "q");
    press_after("kinora play a.kinora --from 0", "");
    drop(keyboard);
    assert!(wait(&mut child).success());
}

#[test]
fn no_color_means_none_in_the_picture_either() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script` (util-linux) here to make a terminal");
        return;
    }
    let folder = folder();
    let play = format!("stty cols 80 rows 24; {} play a.kinora --start-paused", env!("CARGO_BIN_EXE_kinora"));
    for (no_color, coloured) in [("1", false), ("", true)] {
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &play, "/dev/null"]).current_dir(folder.path()).env("TERM", "xterm-256color");
        terminal.env("XDG_CONFIG_HOME", folder.path()).env("NO_COLOR", no_color);
        let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let (mut seen, mut chunk) = (String::new(), [0; 4096]);
        while !seen.contains("frame 0 of 12") {
            let read = screen.read(&mut chunk).unwrap();
            assert!(read > 0, "no picture appeared: {}", seen.escape_debug());
            seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        child.stdin.take().unwrap().write_all(b"q").unwrap();
        screen.read_to_string(&mut seen).unwrap();
        assert!(wait(&mut child).success());
        assert_eq!(seen.contains("\x1b[38;2;"), coloured, "NO_COLOR={no_color}");
    }
}

#[test]
fn signals_close_a_recording_cleanly() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let line = "record --source virtual:size=64x48 --out a.kinora";
        let mut child =
            kinora(folder.path()).args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("Ctrl-C") {
            assert!(said.read_line(&mut text).unwrap() > 0, "{text}");
        }
        wait_for_frames(&folder.path().join("a.kinora"));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            said.read_to_string(&mut rest).unwrap();
            rest
        });
        let status = wait(&mut child);
        let rest = rest.join().unwrap();
        assert!(matches!(status.code(), Some(0 | 3)), "{status}: {rest}");
        assert!(succeeds(folder.path(), "verify a.kinora").contains("closed cleanly"));
    }
}

#[test]
fn a_signal_ends_an_import_with_what_came() {
    let folder = folder();
    let lines = succeeds(folder.path(), "export a.kinora --to json -o -");
    let line = "import - -o i.kinora --json";
    let mut command = kinora(folder.path());
    command.args(line.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It stays open: nothing more comes, and nothing says so.
    let mut input = child.stdin.take().unwrap();
    lines.split_inclusive('\n').take(4).for_each(|line| input.write_all(line.as_bytes()).unwrap());
    wait_for_frames(&folder.path().join("i.kinora"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(wait(&mut child).code(), Some(3));
    let mut sums = String::new();
    child.stdout.take().unwrap().read_to_string(&mut sums).unwrap();
    let sums: serde_json::Value = serde_json::from_str(&sums).unwrap();
    assert!(sums["ended"].as_str().unwrap().contains("stopped"), "{sums}");
    assert!(succeeds(folder.path(), "verify i.kinora").contains("closed cleanly"));
}

#[test]
fn a_recording_can_be_followed_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let line = "record -q --source virtual:size=64x48,fps=60 --frames 90 --out a.kinora";
    let mut recorder = kinora(folder.path()).args(line.split(' ')).stdout(Stdio::null()).spawn().unwrap();
    let file = folder.path().join("a.kinora");
    wait_for_frames(&file);
    let lines = succeeds(folder.path(), "tail a.kinora --from-start");
    assert!(matches!(wait(&mut recorder).code(), Some(0 | 3)));
    let frames = lines.lines().filter(|line| line.contains('#')).count();
    let info = succeeds(folder.path(), "info a.kinora");
    assert!(info.contains(&format!("frames      {frames} in")), "{frames}: {info}");
}

#[test]
fn bare_play_takes_the_newest_recording() {
    let folder = tempfile::tempdir().unwrap();
    for seed in [1, 2] {
        let line = format!("record -q --clock manual --source virtual:seed={seed},size=64x48 --frames {seed}");
        succeeds(folder.path(), &line);
        std::thread::sleep(Duration::from_millis(20));
    }
    let names: Vec<_> =
        std::fs::read_dir(folder.path().join("recordings")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(succeeds(folder.path(), "play --clock manual").lines().count(), 2);
}

#[test]
fn a_disk_without_room_is_told_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let line = "record --source virtual --frames 5 --min-free 1000TB --out f.kinora";
    fails(folder.path(), line, 1, &["f.kinora", "--min-free"]);
    assert!(!folder.path().join("f.kinora").exists());
}

#[test]
fn a_long_recording_is_split_and_its_directory_kept_small() {
    let folder = tempfile::tempdir().unwrap();
    let line = "record --json --clock manual --source virtual:size=320x240 --frames 90 --format raw --split-size 4MiB \
                --keep-size 12MiB --out rec";
    let output = run(folder.path(), &line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((report["frames"].as_u64(), report["dropped"].as_u64()), (Some(90), Some(0)));
    assert!(report["removed"].as_u64() > Some(0), "{report}");
    let files = std::fs::read_dir(folder.path().join("rec")).unwrap();
    let total: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(total <= 12 << 20, "{total} bytes in the directory");
}

#[test]
fn the_budget_grows_with_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let total = |line: &str| {
        let text = succeeds(folder.path(), line);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["total_bytes"].as_u64().unwrap()
    };
    assert!(total("memory --source virtual --size 1280x720 --json") > total("memory --source virtual --json"));
    assert!(succeeds(folder.path(), "memory --source virtual").contains("slots: pixels"));
    assert!(succeeds(folder.path(), "memory").contains("file: mapped window"), "no camera is needed to ask");
    for (settings, bytes_each) in [
        ("--replay-frames 10", 93_184),
        ("--replay-frames 10 --quality 100", 477_184),
        ("--clip-history 1s", 93_184),
        ("--clip-history 1s --quality 100", 477_184),
        ("--clip-history 1s --format raw", 640 * 480 * 3 + 16_384),
        ("--clip-history 1s --frame-bytes 50000", 50_000),
    ] {
        let told = succeeds(folder.path(), &format!("memory --source virtual:seed=7 --json {settings}"));
        assert!(told.contains(&format!("\"bytes_each\":{bytes_each},")), "{settings}: {told}");
    }
}

/// Waits until a recording has bytes of a frame.
fn wait_for_frames(file: &Path) {
    let start = Instant::now();
    loop {
        if kinora::recording::Reader::open(file).is_ok_and(|reader| reader.frame_count() > 2) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{} got no frames", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the child, but not for ever.
fn wait(child: &mut Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it did not end within a minute");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
