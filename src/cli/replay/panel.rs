//! The live panel on a terminal, and its keys.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent};
use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue};
use kinora::Speed;
use kinora::replay::control::Request;
use kinora::replay::machine::Command;
use kinora::replay::protocol::clock_text;
use kinora::replay::settings::Setting;
use kinora::replay::status::Status;
use kinora::replay::text;

use super::feed::Account;
use crate::cli::end::Failure;
use crate::cli::keys::Keys;
use crate::cli::units::show_bytes;

/// How often the panel is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Characters of the bar.
const BAR: usize = 50;
/// Events shown.
const EVENTS: usize = 4;
/// Lines of the panel.
const LINES: u16 = 6 + EVENTS as u16;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    Ask(Request),
    Trigger,
    Save,
    Quit,
}

/// A terminal that shows the operator.
pub struct Panel {
    keys: Keys,
    drawn: Option<Instant>,
    events: VecDeque<String>,
    /// The first `r` while the buffer holds frames: a second one means it.
    wants_record: bool,
    paused: bool,
}

impl Panel {
    /// `None` when standard input or error is no terminal.
    pub fn of_terminal() -> Option<Self> {
        let keys = Keys::of_terminal()?;
        if !std::io::IsTerminal::is_terminal(&io::stderr()) {
            return None;
        }
        eprint!("{}", "\n".repeat(usize::from(LINES)));
        Some(Self { keys, drawn: None, events: VecDeque::new(), wants_record: false, paused: false })
    }

    /// A line among the last events.
    pub fn say(&mut self, line: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(line);
    }

    /// The next key that means something, without waiting.
    pub fn key(&mut self, buffer_holds_frames: bool) -> Result<Option<Key>, Failure> {
        while let Some(key) = self.keys.key(Duration::ZERO)? {
            if let Some(key) = self.meaning(key, buffer_holds_frames) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn meaning(&mut self, key: KeyEvent, buffer_holds_frames: bool) -> Option<Key> {
        let command = |command| Some(Key::Ask(Request::Command(command)));
        let speed = |n, d| Speed::new(n, d).map(|speed| Key::Ask(Request::Set(Setting::PlaybackSpeed(speed))));
        let wanted_record = std::mem::take(&mut self.wants_record);
        match key.code {
            KeyCode::Char('r') if buffer_holds_frames && !wanted_record => {
                self.wants_record = true;
                self.say("r again clears the buffer and records; R goes on recording".into());
                None
            }
            KeyCode::Char('r') => command(Command::StartRecording),
            KeyCode::Char('R') => command(Command::ResumeRecording),
            KeyCode::Char('p') => command(Command::StartPlayback),
            KeyCode::Char('s') => command(Command::Stop),
            KeyCode::Char(' ') => command(if self.paused { Command::Resume } else { Command::Pause }),
            KeyCode::Char('f') => speed(0, 1),
            KeyCode::Char('i') => command(Command::MarkIn),
            KeyCode::Char('o') => command(Command::MarkOut),
            KeyCode::Char('t') => Some(Key::Trigger),
            KeyCode::Char('w') => Some(Key::Save),
            KeyCode::Char('0') => speed(0, 1),
            KeyCode::Char('-') => speed(-1, 1),
            KeyCode::Char(digit @ '1'..='9') => speed(1, digit as u32 - '0' as u32),
            KeyCode::Char('?') => {
                self.say("r record  R resume  p play  s stop  space pause  f freeze  i/o marks  1-9 speed 1/n  t trigger  w save  q end".into());
                None
            }
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            _ => None,
        }
    }

    /// Draws, when it is time to.
    pub fn show(&mut self, status: &Status, account: &Account, rates: (f64, f64)) -> Result<(), Failure> {
        self.paused = status.state == kinora::replay::machine::State::Paused;
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAW_EVERY) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let mut out = io::stderr().lock();
        queue!(out, cursor::MoveUp(LINES))?;
        for line in lines(status, account, rates).iter().chain(self.padded_events().iter()) {
            queue!(out, Clear(ClearType::CurrentLine))?;
            let width = crossterm::terminal::size().map_or(80, |(width, _)| usize::from(width));
            writeln!(out, "{}\r", line.chars().take(width.saturating_sub(1)).collect::<String>())?;
        }
        out.flush()?;
        Ok(())
    }

    fn padded_events(&self) -> Vec<String> {
        let mut events: Vec<String> = self.events.iter().cloned().collect();
        events.resize(EVENTS, String::new());
        events
    }

    /// Gives the terminal back.
    pub fn leave(self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The panel's text, without events.
fn lines(status: &Status, account: &Account, (fps, dps): (f64, f64)) -> [String; 6] {
    let s = &status.settings;
    let state = if status.state.is_playing() {
        format!("{:?} frame {} at {}", status.state, status.playback_current_frame, text::speed(s.playback_speed))
    } else {
        format!("{:?}", status.state)
    };
    [
        format!("{state}   live {fps:.1} fps, {dps:.1} dps, {} frames, {} lost   ? keys", account.frames, account.lost),
        format!("[{}]", bar(status)),
        format!(
            "{} of {} frames, {} s{}   in {} out {}",
            status.number_of_frames_in_storage,
            s.max_frames_in_memory,
            text::seconds(status.frame_store_duration),
            if status.frame_buffer_full { ", full" } else { "" },
            status.playback_start_frame,
            status.playback_stop_frame,
        ),
        times(status),
        format!(
            "memory {} of {}   too big {}   quality {}",
            show_bytes(status.frames_memory_bytes),
            show_bytes(status.arena_bytes),
            status.too_big,
            s.jpeg_quality
        ),
        format!("tick {} (longest {})", status.stage_time_last, status.stage_time_max),
    ]
}

/// When the buffer's frames were recorded, and the one that is shown.
fn times(status: &Status) -> String {
    let zone = jiff::tz::TimeZone::system();
    let [from, to, shown] =
        [status.frame_store_start_time, status.frame_store_stop_time, status.playback_current_frame_time]
            .map(|time| clock_text(time, &zone));
    match (from.is_empty(), shown.is_empty()) {
        (true, _) => "no frame".to_owned(),
        (false, true) => format!("from {from} to {to}"),
        (false, false) => format!("from {from} to {to}   shown {shown}"),
    }
}

/// The buffer with its marks and the frame that is shown.
fn bar(status: &Status) -> String {
    let capacity = u64::from(status.settings.max_frames_in_memory).max(1);
    let place = |position: u64| ((position.saturating_sub(1)) * BAR as u64 / capacity).min(BAR as u64 - 1) as usize;
    let filled = (u64::from(status.number_of_frames_in_storage) * BAR as u64 / capacity) as usize;
    let mut bar: Vec<char> = (0..BAR).map(|i| if i < filled { '=' } else { '.' }).collect();
    if status.number_of_frames_in_storage > 0 {
        bar[place(status.playback_start_frame)] = '<';
        bar[place(status.playback_stop_frame)] = '>';
        if status.playback_current_frame > 0 {
            bar[place(status.playback_current_frame)] = '#';
        }
    }
    bar.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_fill_marks_and_the_current_frame() {
        let mut status = Status::default();
        status.settings.max_frames_in_memory = 100;
        assert_eq!(bar(&status), ".".repeat(50));
        status.number_of_frames_in_storage = 50;
        status.playback_start_frame = 11;
        status.playback_stop_frame = 41;
        status.playback_current_frame = 21;
        let bar = bar(&status);
        assert_eq!((bar.find('<'), bar.find('#'), bar.find('>')), (Some(5), Some(10), Some(20)));
        assert_eq!(bar.matches('.').count(), 25);
    }
}
