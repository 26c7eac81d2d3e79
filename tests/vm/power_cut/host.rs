//! Outside of the machine: boots it, listens to what it promises, cuts the power, and lets the judge see the next boot.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::disk::{Disk, Fate, Manner, check_the_disk_itself};
use crate::judge::{Account, check_the_judge_itself};
use crate::random::Random;

/// An emulated machine on a busy host: longer than any boot takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// A machine that writes nothing for so long is cut off all the same.
const QUIET: Duration = Duration::from_secs(3);
/// Power cuts until the next disk is made, so that a failure has a short history.
const CUTS_PER_DISK: u64 = 20;
const MODES: [&str; 6] = ["each", "often", "inline", "second", "command", "command"];

/// What was asked for, by `scripts/power-cut`.
struct Asked {
    kernel: PathBuf,
    initrd: PathBuf,
    /// An image with an empty file system, which each disk begins as.
    pristine: PathBuf,
    /// Where the disks lie and what the kernels say.
    folder: PathBuf,
    fs: String,
    accel: String,
    cuts: u64,
    seed: u64,
    /// `honest`; what must be noticed: `flushless` (the writer), `lying` (the disk); or `bad-pages`, without any cut.
    kind: String,
    /// The machine boots once, and every further time goes on from its state before it knew of a disk.
    resumes: bool,
}

impl Asked {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let words: Vec<String> = arguments.collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| word == name).unwrap_or_else(|| panic!("{name} is missing"));
            words.get(at + 1).unwrap_or_else(|| panic!("{name} has no value")).clone()
        };
        let number = |name| value(name).parse().unwrap_or_else(|_| panic!("{name} wants a number"));
        Self {
            kernel: value("--kernel").into(),
            initrd: value("--initrd").into(),
            pristine: value("--pristine").into(),
            folder: value("--folder").into(),
            fs: value("--fs"),
            accel: value("--accel"),
            cuts: number("--cuts"),
            seed: number("--seed"),
            kind: value("--kind"),
            resumes: value("--resume") == "yes",
        }
    }

    /// Ranges that the file system trusts the medium to write whole: a superblock with one checksum over two sectors or more.
    fn whole(&self) -> Vec<(u64, u64)> {
        match self.fs.as_str() {
            "ext4" => vec![(1024, 2048)],
            "btrfs" => vec![(64 << 10, 68 << 10), (64 << 20, (64 << 20) + 4096)],
            _ => Vec::new(),
        }
    }
}

impl Asked {
    /// Starts the machine; from a stored state when there is one.
    fn start(&self, socket: &Path, cut: u64, state: Option<&Path>) -> Child {
        let drive = format!("file=nbd+unix:///?socket={},format=raw,if=virtio,cache=writeback", socket.display());
        let kernel_log = format!("file:{}", self.folder.join(format!("boot_{cut}.kernel.log")).display());
        let monitor = format!("unix:{},server=on,wait=off", self.folder.join("monitor.sock").display());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", &self.accel, "-cpu", "max", "-m", "512", "-smp", "1", "-no-reboot", "-display", "none"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1", "-nic", "none", "-monitor", &monitor, "-drive", &drive]);
        qemu.args(["-serial", &kernel_log, "-serial", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(state) = state {
            qemu.args(["-incoming", &format!("exec:cat {}", state.display())]);
        }
        qemu.spawn().expect("qemu-system-x86_64 starts")
    }

    fn copy_pristine(&self, image: &Path) {
        let copied = Command::new("cp").arg("--sparse=always").arg(&self.pristine).arg(image).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", self.pristine.display());
    }

    /// The stored state; it is the same for each kind of run.
    fn state(&self) -> PathBuf {
        self.folder.with_file_name("state")
    }

    /// Boots once and stores the machine's state when it waits for the host: it has no driver for its disk yet.
    fn store_state(&self) {
        let (socket, state) = (self.folder.join("disk.sock"), self.state());
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket in our folder");
        let mut disk = Disk::open(&self.pristine, &[], false).expect("our image");
        let mut machine = self.start(&socket, 0, None);
        let server = std::thread::spawn(move || disk.serve(&listener));
        let lines = listen(&mut machine);
        while lines.recv_timeout(PATIENCE).expect("the machine boots") != "ready" {}
        let mut monitor = UnixStream::connect(self.folder.join("monitor.sock")).expect("qemu's monitor");
        write!(monitor, "migrate_set_parameter max-bandwidth 4G\nmigrate \"exec:cat >{}\"\nquit\n", state.display())
            .expect("qemu listens");
        machine.wait().expect("it is our child");
        let _ = server.join();
        let bytes = std::fs::metadata(&state).map_or(0, |metadata| metadata.len());
        assert!(bytes > 1 << 20, "the machine's state has {bytes} bytes");
    }
}

/// One boot in which the machine names parts of its disk that then answer with EIO, and says how its tests went.
fn bad_pages(asked: &Asked) -> ExitCode {
    let begun = Instant::now();
    let (image, socket) = (asked.folder.join("disk.img"), asked.folder.join("disk.sock"));
    asked.copy_pristine(&image);
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket in our folder");
    let mut disk = Disk::open(&image, &[], false).expect("our image");
    let bad = disk.bad_parts();
    let state = asked.state();
    let mut machine = asked.start(&socket, 0, asked.resumes.then_some(&*state));
    let server = std::thread::spawn(move || {
        disk.serve(&listener).expect("the disk serves");
        disk.refused
    });
    let lines = listen(&mut machine);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let go = format!("go mode=bad-pages fs={} seed={} time={time}\n", asked.fs, asked.seed);
    if asked.resumes {
        say(&mut machine, &go);
    }
    let (mut trace, mut passed, mut failed) = (Vec::new(), 0, 0);
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["ready"] => say(&mut machine, &go),
            ["bad", kind, from, to] => {
                let number = |word: &str| word.parse().expect("a number of bytes");
                bad.add(number(from), number(to), *kind == "write");
                say(&mut machine, "done\n");
            }
            ["heal"] => {
                bad.heal();
                say(&mut machine, "done\n");
            }
            ["test", .., result] => {
                println!("{line}");
                passed += u64::from(*result == "ok");
                failed += u64::from(*result == "FAILED");
            }
            _ => {}
        }
        let is_end = line.starts_with("guest ended") || line.starts_with("unmountable");
        trace.push(line);
        if is_end {
            break;
        }
    }
    machine.kill().expect("it is our child");
    machine.wait().expect("it is our child");
    let refused = server.join().expect("the disk serves");
    let log = asked.folder.join("bad_pages.log");
    let _ = std::fs::write(&log, trace.join("\n"));
    let whole = trace.last().is_some_and(|line| line == "guest ended: 0");
    if !whole || failed > 0 {
        println!("FAILED: the machine ended with {:?}; all that it said: {}", trace.last(), log.display());
    }
    println!(
        "{}, bad pages: {refused} requests refused in {} s; {passed} passed, {failed} failed",
        asked.fs,
        begun.elapsed().as_secs()
    );
    ExitCode::from(u8::from(!whole || failed > 0 || passed == 0 || refused == 0))
}

/// What the machine waits for. It may be dead already.
fn say(machine: &mut Child, line: &str) {
    let stdin = machine.stdin.as_mut().expect("it is piped");
    let _ = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
}

pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let asked = Asked::parse(arguments);
    check_the_judge_itself();
    check_the_disk_itself(&asked.folder).expect("the folder can be written");
    if asked.resumes && !asked.state().exists() {
        asked.store_state();
    }
    let begun = Instant::now();
    if asked.kind == "bad-pages" {
        return bad_pages(&asked);
    }
    let mut history = History::new(&asked);
    let mut cuts = 0;
    while cuts < asked.cuts && !history.is_over() {
        history.new_disk();
        let until = (cuts + CUTS_PER_DISK).min(asked.cuts);
        while cuts < until && !history.is_over() {
            history.boot(Some(Plan::new(&asked, cuts)), cuts);
            cuts += 1;
        }
        // What the last cut left.
        history.boot(None, cuts);
    }
    history.tell(cuts, begun.elapsed());
    ExitCode::from(u8::from(!history.is_as_expected()))
}

/// One boot: what it records, when the power goes, and what the disk then does.
struct Plan {
    mode: &'static str,
    /// The line after which the time runs.
    after: &'static str,
    delay: Duration,
    /// Then the disk does so many more writes and flushes; `None`: it is killed at once.
    requests: Option<u64>,
    /// The kernel writes dirty pages early, in between the syncs.
    is_early: bool,
    manner: Manner,
    random: Random,
}

impl Plan {
    fn new(asked: &Asked, cut: u64) -> Self {
        let mut random = Random::new(asked.seed.wrapping_mul(1_000_003) ^ cut);
        let (mode, after, most_ms, manner) = match asked.kind.as_str() {
            "flushless" => ("flushless", "claim", 0, Manner::LoseAll),
            "lying" => ("often", "claim", 0, Manner::LoseAll),
            _ => {
                // While the recordings of the last boot are looked at, while one is made, or in the middle of it.
                let (after, most_ms) = match random.below(10) {
                    0 => ("mounted", 1500),
                    1 | 2 => ("checked", 400),
                    3 => ("closed", 300),
                    _ => ("claim", 2500),
                };
                let mode = MODES[random.below(MODES.len() as u64) as usize];
                let after = if after == "closed" && matches!(mode, "command" | "second") { "claim" } else { after };
                (mode, after, most_ms, Manner::ALL[random.below(6) as usize])
            }
        };
        let least_ms = if asked.kind == "honest" { 0 } else { 1500 };
        let delay = Duration::from_millis(least_ms + random.below(most_ms + 1));
        // Most cuts hit while something is written: few moments of a quiet second are interesting.
        let requests = (asked.kind == "honest" && random.below(4) > 0).then(|| random.below(60));
        Self { mode, after, delay, requests, is_early: requests.is_some(), manner, random }
    }
}

struct History<'a> {
    asked: &'a Asked,
    account: Account,
    image: PathBuf,
    fate: Fate,
    flushes: u64,
    writes: u64,
    boots: u64,
    boot_time: Duration,
}

impl<'a> History<'a> {
    fn new(asked: &'a Asked) -> Self {
        let image = asked.folder.join("disk.img");
        let (account, fate) = (Account::default(), Fate::default());
        Self { asked, account, image, fate, flushes: 0, writes: 0, boots: 0, boot_time: Duration::ZERO }
    }

    fn new_disk(&mut self) {
        self.account.forget_claims();
        self.asked.copy_pristine(&self.image);
    }

    /// Boots and, when there is a plan, cuts the power; without one it only looks.
    fn boot(&mut self, plan: Option<Plan>, cut: u64) {
        self.account.begin_boot();
        self.boots += 1;
        let (seed, mode) = (self.asked.seed, plan.as_ref().map_or("only-check", |plan| plan.mode));
        let context = format!("{} seed {seed} boot {cut}", self.asked.fs);
        let socket = self.asked.folder.join("disk.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket in our folder");
        let mut disk = Disk::open(&self.image, &self.asked.whole(), self.asked.kind == "lying").expect("our image");
        let begun = Instant::now();
        let state = self.asked.state();
        let mut machine = self.asked.start(&socket, cut, self.asked.resumes.then_some(&*state));
        let trigger = disk.trigger();
        let server = std::thread::spawn(move || {
            disk.serve(&listener).expect("the disk serves");
            disk
        });
        let after = plan.as_ref().map_or("idle", |plan| plan.after);
        let (lines, mut trace) = (listen(&mut machine), Vec::new());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let writeback = if plan.as_ref().is_some_and(|plan| plan.is_early) { "early" } else { "late" };
        let go =
            format!("go fs={} seed={seed} boot={cut} mode={mode} time={time} writeback={writeback}\n", self.asked.fs);
        if self.asked.resumes {
            say(&mut machine, &go);
        }
        let (mut limit, mut is_running) = (begun + PATIENCE, false);
        loop {
            match lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if line == "ready" {
                        say(&mut machine, &go);
                    }
                    if line.starts_with("mounted") {
                        self.boot_time += begun.elapsed();
                    }
                    let is_sign = line.split_whitespace().next() == Some(after);
                    // Nothing more will come; the judge reads why.
                    let is_end = line.starts_with("unmountable") || line.starts_with("guest ended");
                    trace.push(line);
                    if is_end && !is_sign {
                        break;
                    }
                    if is_sign && !is_running {
                        is_running = true;
                        limit = Instant::now() + plan.as_ref().map_or(Duration::ZERO, |plan| plan.delay);
                    }
                }
                // The moment has come.
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    self.account.trouble.push(format!("{context}: the machine ended by itself"));
                    break;
                }
            }
        }
        if let Some(requests) = plan.as_ref().and_then(|plan| plan.requests) {
            trigger.arm(requests);
            let limit = Instant::now() + QUIET;
            while !trigger.is_dead() && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // The power goes: the emulator gets no chance to write anything.
        machine.kill().expect("it is our child");
        machine.wait().expect("it is our child");
        // What went over the line before that was promised; the rest of a line was not.
        trace.extend(lines.iter());
        if !is_running {
            self.account.trouble.push(format!("{context}: no line `{after}` came"));
        }
        let mut disk = server.join().expect("the disk serves");
        trace.iter().for_each(|line| self.account.line(line, &context));
        if let Some(mut plan) = plan {
            let fate = disk.cut(plan.manner, &mut plan.random).expect("our image");
            self.fate.kept += fate.kept;
            self.fate.lost += fate.lost;
            self.fate.torn += fate.torn;
            println!(
                "cut {cut}: {mode}, {} ms{} after `{after}`, {:?}: {} writes kept, {} lost, {} torn",
                plan.delay.as_millis(),
                plan.requests.map_or(String::new(), |requests| format!(" and {requests} writes")),
                plan.manner,
                fate.kept,
                fate.lost,
                fate.torn
            );
        } else {
            disk.cut(Manner::KeepAll, &mut Random::new(0)).expect("our image");
        }
        self.flushes += disk.flushes;
        self.writes += disk.writes;
        let _ = std::fs::write(self.asked.folder.join(format!("boot_{cut}.log")), trace.join("\n"));
    }

    /// Nothing more is to be learned.
    fn is_over(&self) -> bool {
        !(self.account.broken.is_empty() && self.account.trouble.is_empty())
    }

    fn is_as_expected(&self) -> bool {
        self.account.trouble.is_empty() && self.account.broken.is_empty() == (self.asked.kind == "honest")
    }

    fn tell(&self, cuts: u64, took: Duration) {
        let Account { broken, trouble, claims_checked, frames_read, lost, lost_most, lost_ms, unborn, damaged, .. } =
            &self.account;
        for failure in broken {
            println!("{}{failure}", if self.asked.kind == "honest" { "FAILED " } else { "noticed: " });
        }
        trouble.iter().for_each(|trouble| println!("FAILED {trouble}"));
        println!(
            "{}, {}: {cuts} power cuts in {} s, {:.1} s until a boot has its disk; {} writes and {} flushes; of the writes \
             that no flush covered, {} were kept, {} lost, {} torn",
            self.asked.fs,
            self.asked.kind,
            took.as_secs(),
            self.boot_time.as_secs_f64() / self.boots as f64,
            self.writes,
            self.flushes,
            self.fate.kept,
            self.fate.lost,
            self.fate.torn
        );
        println!(
            "{claims_checked} claims checked, {frames_read} frames read and compared; {lost} frames gone that nobody had \
             claimed, at most {lost_most} in one cut and {lost_ms} ms old; {damaged} damaged behind the claimed ones; {unborn} recordings cut while \
             they were made"
        );
        let verdict = if self.is_as_expected() { "as it should be" } else { "NOT as it should be" };
        println!("{} promises broken: {verdict}", broken.len());
    }
}

/// Whole lines of the machine as they come; a line that the power cut broke off is not one.
fn listen(machine: &mut Child) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    let mut out = BufReader::new(machine.stdout.take().expect("it is piped"));
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while out.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            if line.pop() == Some(b'\n') && send.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}
