//! `kinora play`: a recording at its own pace, on a terminal with keys, or into a pipe.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kinora::playback::{Command, LatePolicy, Peek, PlayReport, Playback, Player};
use kinora::recording::Reader;
use kinora::thread::ThreadSettings;
use kinora::timeline::Timeline;
use kinora::{Clock, ClockPair, ManualClock, Span, SystemClock};
use serde::Serialize;

use super::command::{Play, Print};
use super::end::{End, Failure};
use super::face::Face;
use super::jpeg_stream::JpegStream;
use super::json::Ns;
use super::keys::{Keys, Wish};
use super::open;
use super::output::Manner;
use super::stop::Stop;
use super::units::show_span;

/// Quality of pictures in a JPEG stream that are recorded as pixels.
const QUALITY: u8 = 80;

/// Plays until the end, a key, a signal, or until nobody reads any more.
pub fn run(play: Play, manner: Manner) -> Result<End, Failure> {
    let stop = Stop::on_signals()?;
    let file = play.file.clone().map_or_else(|| open::newest(Path::new("recordings")), Ok)?;
    let playback = open::playback(&file, manner)?;
    tracing::info!("{} frames of {}: {:?}", playback.len(), file.display(), playback.info());
    let broken = !playback.notes().is_empty();
    // The player hands out frames, not places in the file; those are in the recording's index.
    let index = (play.print == Some(Print::Json)).then(|| Reader::open(&file).ok()).flatten();
    let keys = if play.manual_clock { None } else { Keys::of_terminal() };
    let stream = match &play.output {
        Some(place) => match JpegStream::open(place, QUALITY, &stop)? {
            Some(stream) => Some(stream),
            None => return Ok(End::Done),
        },
        None => None,
    };
    let face = Face::new(play.print, stream, keys.is_some(), manner.json)?;
    let playback = configured(playback, &play, face.wants_pixels())?;
    let clock: Arc<dyn Clock> = match play.manual_clock {
        true => Arc::new(ManualClock::new(ClockPair::default())),
        false => Arc::new(SystemClock),
    };
    if !play.manual_clock {
        let wishes = ThreadSettings { rt_priority: play.rt_priority, ..ThreadSettings::default() };
        for refusal in wishes.apply().iter() {
            manner.warn(refusal);
        }
    }
    let mut show =
        Show { player: playback.into_player(), index, clock, keys, stop, face, marks: Vec::new(), damaged: 0 };
    let ended = show.run(manner);
    show.face.leave()?;
    show.report(&file, manner)?;
    ended?;
    Ok(if broken || show.damaged > 0 { End::Lost } else { End::Done })
}

fn configured(playback: Playback, play: &Play, pixels: bool) -> Result<Playback, Failure> {
    let late = if play.skip_late { LatePolicy::Skip } else { LatePolicy::Keep };
    let mut playback =
        playback.rate(play.speed).looped(play.looped).paused(play.start_paused).late(late).spinning(play.spin);
    if let Some(place) = &play.range.from {
        playback = playback.from(place).map_err(|error| Failure::Failed(format!("--from: {error}")))?;
    }
    if let Some(place) = &play.range.to {
        playback = playback.to(place).map_err(|error| Failure::Failed(format!("--to: {error}")))?;
    }
    #[cfg(feature = "jpeg")]
    if pixels {
        playback = playback.pixels(kinora::frame::PixelFormat::Bgr888)?;
    }
    #[cfg(not(feature = "jpeg"))]
    let _ = pixels;
    Ok(playback)
}

/// A bookmark that was made while playing. The recording is closed, so it is not stored there: it is printed.
#[derive(Clone, Copy, Debug, Serialize)]
struct Mark {
    frame: u64,
    captured_ns: Ns,
}

/// What `play --json` prints at the end.
#[derive(Serialize)]
struct ReportJson<'a> {
    record: &'static str,
    file: String,
    #[serde(flatten)]
    report: PlayReport,
    bookmarks: &'a [Mark],
}

/// Everything that plays.
struct Show<T: Timeline> {
    player: Player<T>,
    index: Option<Reader>,
    clock: Arc<dyn Clock>,
    keys: Option<Keys>,
    stop: Stop,
    face: Face,
    marks: Vec<Mark>,
    damaged: u64,
}

/// The player itself waits for the last part of each deadline; before that, keys and signals are listened to.
const NEAR: Span = Span::from_ms(4);

/// Longest wait without a look at the signals.
const SLICE: Duration = Duration::from_millis(50);

impl<T: Timeline> Show<T> {
    fn run(&mut self, manner: Manner) -> Result<(), Failure> {
        while !self.stop.is_asked() {
            let now = self.clock.now();
            match self.player.peek(now) {
                Peek::Ended => return Ok(()),
                Peek::Paused if self.clock.is_manual() => return Ok(()),
                Peek::Paused => self.listen(SLICE)?,
                Peek::Frame { due_at: Some(due_at), .. } if !self.clock.is_manual() && due_at - now > NEAR => {
                    self.player.prepare(now);
                    let wait = (due_at - NEAR - self.clock.now()).as_ns().max(0) as u64;
                    self.listen(SLICE.min(Duration::from_nanos(wait)))?;
                }
                Peek::Frame { index, .. } => {
                    self.listen(Duration::ZERO)?;
                    self.next_frame(index, manner)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for the frame's deadline and shows it.
    fn next_frame(&mut self, index: u64, manner: Manner) -> Result<(), Failure> {
        let status = if self.face.has_screen() { self.status(index) } else { String::new() };
        match self.player.next(&*self.clock) {
            Ok(Some(frame)) => {
                let offset = self.index.as_ref().and_then(|reader| reader.frame_offset(index));
                self.face.show(&frame, offset, &status)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.damaged += 1;
                manner.warn(error);
                Ok(())
            }
        }
    }

    /// Waits for a key and obeys it. Without keys it only waits.
    fn listen(&mut self, wait: Duration) -> Result<(), Failure> {
        let Some(keys) = &self.keys else {
            if !self.clock.is_manual() && !wait.is_zero() {
                std::thread::sleep(wait);
            }
            return Ok(());
        };
        let Some(wish) = keys.next(wait).map_err(Failure::io("the keyboard"))? else { return Ok(()) };
        match wish {
            Wish::Player(command) => self.player.command(command, self.clock.now()),
            Wish::Bookmark => self.bookmark(),
            Wish::Help => {
                self.face.toggle_help()?;
                self.redraw();
            }
            Wish::Redraw => self.redraw(),
        }
        let status = self.status(self.player.transport().current().unwrap_or(0));
        self.face.say(&status)
    }

    /// Shows a still picture once more; one that moves is drawn anew anyway.
    fn redraw(&mut self) {
        if self.player.transport().is_paused() {
            self.player.command(Command::Step(0), self.clock.now());
        }
    }

    fn bookmark(&mut self) {
        let Some(frame) = self.player.transport().current() else { return };
        let Some(at) = self.player.timeline().captured_at(frame) else { return };
        self.player.command(Command::AddBookmark, self.clock.now());
        self.marks.push(Mark { frame, captured_ns: at.into() });
    }

    /// `▶ 1/2   frame 12 of 600   0.4 s of 20.0 s   loop   ? keys`.
    fn status(&self, current: u64) -> String {
        let (transport, timeline) = (self.player.transport(), self.player.timeline());
        let time = |index: u64| timeline.captured_at(index).unwrap_or_default();
        let (start, len) = (time(0), timeline.len());
        let mark = |name: &str, place: Option<u64>| place.map_or(String::new(), |place| format!("   {name} {place}"));
        let (first, last) = transport.marks();
        let newest = self.marks.last().map(|mark| mark.frame);
        format!(
            "{} {}   frame {current} of {len}   {} of {}{}{}{}{}   ? keys",
            if transport.is_paused() { "⏸" } else { "▶" },
            transport.rate(),
            show_span(time(current) - start),
            show_span(time(len.saturating_sub(1)) - start),
            mark("in", first),
            mark("out", last),
            if transport.is_looped() { "   loop" } else { "" },
            mark("bookmark", newest),
        )
    }

    /// How exact it was, and the bookmarks that were made.
    fn report(&mut self, file: &Path, manner: Manner) -> Result<(), Failure> {
        let report = self.player.report();
        if manner.json {
            let file = file.display().to_string();
            let json = ReportJson { record: "report", file, report, bookmarks: &self.marks };
            self.face.results().json(&json)?;
            self.face.results().flush()?;
            return Ok(());
        }
        manner.remark(report);
        for mark in &self.marks {
            manner.remark(format_args!("bookmark: kinora play {} --from {}", file.display(), mark.frame));
        }
        Ok(())
    }
}
