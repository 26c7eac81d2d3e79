//! Where control lines come from: standard input, or a Unix socket. Each caller has a thread that reads a line, hands it to
//! the loop of frames, and waits for its answer: answers come in order, one for each line.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use rustix::fs::Mode;

use crate::cli::end::Failure;
use kinora::replay::protocol::LINE_BYTES_MAX;

/// A line, and where its answer goes.
pub struct Line {
    pub bytes: Vec<u8>,
    pub caller: Caller,
}

/// News that may wait for a caller who does not read them.
const NEWS_MAX: usize = 256;

/// Takes what is said to one caller.
#[derive(Clone)]
pub struct Caller {
    said: Sender<Said>,
    /// News on their way.
    waiting: Arc<AtomicUsize>,
    /// News that found no room since the last that did.
    missed: Arc<AtomicU64>,
}

enum Said {
    /// To the line that waits: the next one may be read.
    Answer(String),
    /// Unasked, after a subscription.
    News(String),
}

impl Caller {
    /// Answers the caller's line.
    pub fn answer(&self, line: String) {
        // It may be gone.
        let _ = self.said.send(Said::Answer(line));
    }

    /// Tells a subscriber something; false when it is gone. What finds no room is counted, and the count told when there is
    /// room again.
    pub fn tell(&self, line: &str) -> bool {
        if self.waiting.load(Ordering::Acquire) >= NEWS_MAX {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            self.news(format!(r#"{{"event":"Missed","lines":{missed}}}"#));
        }
        self.news(line.to_owned())
    }

    fn news(&self, line: String) -> bool {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.said.send(Said::News(line)).is_ok()
    }
}

/// All callers.
pub struct Lines {
    lines: Receiver<Line>,
    /// The loop of frames has no other sender: the channel ends with the last caller.
    ends_with_input: bool,
    over: bool,
    socket: Option<PathBuf>,
}

/// Lines that wait for the loop of frames.
const WAITING_MAX: usize = 64;

impl Lines {
    /// Nobody: on a terminal without `--control`.
    pub fn none() -> Self {
        let (_, lines) = sync_channel(1);
        Self { lines, ends_with_input: false, over: false, socket: None }
    }

    /// Standard input; its end ends the session.
    pub fn of_stdin() -> Self {
        let (sender, lines) = sync_channel(WAITING_MAX);
        thread::spawn(move || serve(io::stdin(), io::stdout(), &sender));
        Self { lines, ends_with_input: true, over: false, socket: None }
    }

    /// A socket that only its owner may use. One that is left over from a run that ended badly is replaced, but only when
    /// nobody answers on it.
    pub fn of_socket(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let failure = || Failure::io(format!("--control {name}"));
        if let Ok(found) = path.symlink_metadata() {
            if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) {
                return Err(Failure::Failed(format!("--control {name} exists and is no socket; choose another name")));
            }
            match UnixStream::connect(path) {
                Ok(_) => return Err(Failure::Failed(format!("--control {name}: somebody answers there already"))),
                // A socket that is full of callers, or somebody else's, is no stale one.
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(failure()(error)),
                Err(_) => fs::remove_file(path).map_err(failure())?,
            }
        }
        // From its first moment on: no other thread makes a file yet.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        let listener = bound.map_err(failure())?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failure())?;
        let (sender, lines) = sync_channel(WAITING_MAX);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                let Ok(reader) = stream.try_clone() else { continue };
                thread::spawn(move || serve(reader, stream, &sender));
            }
        });
        Ok(Self { lines, ends_with_input: false, over: false, socket: Some(path.to_owned()) })
    }

    /// The next line, if one waits.
    pub fn next(&mut self) -> Option<Line> {
        match self.lines.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.over = true;
                None
            }
        }
    }

    /// True when standard input came to its end and every line was taken.
    pub fn are_over(&self) -> bool {
        self.ends_with_input && self.over
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Reads one caller's lines until it goes away. Each line waits for the answer to the one before it.
fn serve(reader: impl Read, mut writer: impl Write + Send + 'static, lines: &SyncSender<Line>) {
    let (said, to_say) = channel::<Said>();
    let (answered, answers) = channel::<()>();
    let caller = Caller { said, waiting: Arc::default(), missed: Arc::default() };
    let waiting = Arc::clone(&caller.waiting);
    thread::spawn(move || {
        for said in to_say {
            let (line, is_answer) = match &said {
                Said::Answer(line) => (line, true),
                Said::News(line) => (line, false),
            };
            if writeln!(writer, "{line}").and_then(|()| writer.flush()).is_err() {
                return;
            }
            if is_answer {
                // The reader may have gone; what a subscriber still gets is written all the same.
                let _ = answered.send(());
            } else {
                waiting.fetch_sub(1, Ordering::AcqRel);
            }
        }
    });
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // One byte more than is allowed tells a line that is too long; the rest of it is passed over.
        let limit = LINE_BYTES_MAX as u64 + 1;
        match reader.by_ref().take(limit).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if bytes.len() as u64 == limit && skip_line(&mut reader).is_err() {
            return;
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.iter().all(u8::is_ascii_whitespace) && !bytes.is_empty() || bytes.is_empty() {
            continue;
        }
        let line = Line { bytes: bytes.clone(), caller: caller.clone() };
        if lines.send(line).is_err() || answers.recv().is_err() {
            return;
        }
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let (used, done) = match bytes.iter().position(|&b| b == b'\n') {
            Some(i) => (i + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        reader.consume(used);
        if done {
            return Ok(());
        }
    }
}
