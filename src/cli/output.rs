//! What the user sees: results on standard output, everything else on standard error.
//!
//! A reader of our output that goes away (`| head`) is a clean end, not an error.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Whoever set `NO_COLOR` to anything wants none, also not in pictures.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// How much to say, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub json: bool,
    pub quiet: bool,
    /// Colours on standard error: a terminal, and neither `NO_COLOR` nor a dumb one.
    pub colour: bool,
}

impl Manner {
    pub fn of_this_process(json: bool, quiet: bool) -> Self {
        let refused = no_color();
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { json, quiet, colour: io::stderr().is_terminal() && !refused && !dumb }
    }

    /// A remark: nice to know, and silent with `-q`.
    pub fn remark(&self, text: impl Display) {
        if !self.quiet {
            say(&text.to_string());
        }
    }

    /// Something that the user should know about even with `-q`.
    pub fn warn(&self, text: impl Display) {
        say(&format!("{}: {text}", self.paint("warning", "33")));
    }

    /// Why the command failed.
    pub fn error(&self, text: impl Display) {
        say(&format!("{}: {text}", self.paint("error", "31")));
    }

    fn paint(&self, word: &str, colour: &str) -> String {
        if self.colour { format!("\x1b[1;{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// Sends the library's and the command's own log to standard error: warnings, with `-v` what happens, with `-vv` details.
pub fn start_log(verbose: u8, manner: Manner) {
    let level = match (verbose, manner.quiet) {
        (_, true) => tracing::Level::ERROR,
        (0, _) => tracing::Level::WARN,
        (1, _) => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).with_ansi(manner.colour);
    log.without_time().with_target(false).init();
}

/// Standard error may be gone; then nobody can be told.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Standard output, buffered, for results.
pub struct Results {
    out: BufWriter<StdoutLock<'static>>,
}

impl Results {
    pub fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// One line of text.
    pub fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// One JSON value on a line of its own.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Hands everything to the reader now, as followers and pacing need.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The one line that shows how a long command gets on: redrawn on a terminal, a plain line every few seconds in a pipe.
pub struct Progress {
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

/// How often a plain line is written where nothing can be redrawn.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    pub fn new(manner: Manner) -> Self {
        let bar = (!manner.quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let last = if manner.quiet { None } else { Some(Instant::now()) };
        Self { bar, last }
    }

    /// Shows the line if it is time to; `text` is only asked for then.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text());
        } else if let Some(last) = self.last.filter(|last| last.elapsed() >= PLAIN_EVERY) {
            self.last = Some(last + PLAIN_EVERY);
            say(&text());
        }
    }

    /// Takes the line away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
