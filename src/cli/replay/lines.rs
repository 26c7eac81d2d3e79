//! Where control lines come from: standard input, or a Unix socket. Each caller has a thread that reads a line, hands it to
//! the loop of frames, and waits for its answer: answers come in order, one for each line.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use crate::cli::end::Failure;
use kinora::replay::protocol::LINE_BYTES_MAX;

/// A line, and where its answer goes.
pub struct Line {
    pub bytes: Vec<u8>,
    pub caller: Caller,
}

/// Takes the answers of one caller; the first unblocks it.
#[derive(Clone)]
pub struct Caller(Sender<String>);

impl Caller {
    /// False when the caller is gone.
    pub fn say(&self, line: String) -> bool {
        self.0.send(line).is_ok()
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
        if path.symlink_metadata().is_ok() {
            if UnixStream::connect(path).is_ok() {
                return Err(Failure::Failed(format!("--control {name}: somebody answers there already")));
            }
            let is_socket = fs::symlink_metadata(path)
                .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
            if !is_socket {
                return Err(Failure::Failed(format!("--control {name} exists and is no socket; choose another name")));
            }
            fs::remove_file(path).map_err(Failure::io(format!("--control {name}")))?;
        }
        let listener = UnixListener::bind(path).map_err(Failure::io(format!("--control {name}")))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(Failure::io(format!("--control {name}")))?;
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

/// Reads one caller's lines until it goes away.
fn serve(reader: impl Read, mut writer: impl Write + Send + 'static, lines: &SyncSender<Line>) {
    let (said, to_say) = channel::<String>();
    let (answered, answers) = channel::<()>();
    thread::spawn(move || {
        for line in to_say {
            if writeln!(writer, "{line}").and_then(|()| writer.flush()).is_err() {
                return;
            }
            if answered.send(()).is_err() {
                // The reader is done; what a subscriber still gets is written all the same.
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
        let line = Line { bytes: bytes.clone(), caller: Caller(said.clone()) };
        // What a subscription said meanwhile is no answer to this line.
        while answers.try_recv().is_ok() {}
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
