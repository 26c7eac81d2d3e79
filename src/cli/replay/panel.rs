//! The live panel on a terminal, and its keys.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue};
use kinora::Speed;
use kinora::playback::Rate;
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
    Bookmark,
    Quit,
}

/// What `?` shows instead of the panel.
const HELP: [&str; LINES as usize] = [
    "r  record (r again when the buffer holds frames)   R  record on without clearing",
    "p  play            s  stop            q, esc  end           ?  this list, on and off",
    "space  hold the replay, go on         f  freeze: hold it",
    "left, right  hold and step 1, with shift 10        home, end  first, last frame",
    "up, down  faster, slower              -  the other direction",
    "0-9  speed 0, 1, 1/2 ... 1/9; counts at the next start when nothing is replayed",
    "i, o  in point, out point             c  no in and out point           l  loop",
    "t  trigger a clip                     w  save what the history holds",
    "m  bookmark at this moment, in the recordings of --out and --output",
    "n  is not here: the window has no bookmarks",
];

/// A terminal that shows the operator.
pub struct Panel {
    keys: Keys,
    drawn: Option<Instant>,
    events: VecDeque<String>,
    /// The first `r` while the buffer holds frames: a second one means it.
    wants_record: bool,
    help: bool,
    /// As of the newest tick, and what was asked for since.
    paused: bool,
    speed: Speed,
    looped: bool,
}

impl Panel {
    /// `None` when standard input or error is no terminal.
    pub fn of_terminal() -> Option<Self> {
        let keys = Keys::of_terminal()?;
        if !std::io::IsTerminal::is_terminal(&io::stderr()) {
            return None;
        }
        eprint!("{}", "\n".repeat(usize::from(LINES)));
        Some(Self {
            keys,
            drawn: None,
            events: VecDeque::new(),
            wants_record: false,
            help: false,
            paused: false,
            speed: Speed::NORMAL,
            looped: false,
        })
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
        let far = if key.modifiers.contains(KeyModifiers::SHIFT) { 10 } else { 1 };
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
            KeyCode::Char(' ') => {
                self.paused = !self.paused;
                command(if self.paused { Command::Pause } else { Command::Resume })
            }
            // What is shown stands still; the set speed stays for the next replay.
            KeyCode::Char('f') => command(Command::Pause),
            KeyCode::Left => command(Command::Step(-far)),
            KeyCode::Right => command(Command::Step(far)),
            KeyCode::Home => command(Command::Home),
            KeyCode::End => command(Command::End),
            KeyCode::Up => self.rate(Rate::At(self.speed).faster()),
            KeyCode::Down => self.rate(Rate::At(self.speed).slower()),
            KeyCode::Char('-') => self.rate(Rate::At(self.speed).reversed()),
            KeyCode::Char('0') => self.rate(Rate::At(Speed::new(0, 1)?)),
            KeyCode::Char(digit @ '1'..='9') => self.rate(Rate::At(Speed::new(1, digit as u32 - '0' as u32)?)),
            KeyCode::Char('i') => command(Command::MarkIn),
            KeyCode::Char('o') => command(Command::MarkOut),
            KeyCode::Char('c') => command(Command::ClearMarks),
            KeyCode::Char('l') => {
                self.looped = !self.looped;
                Some(Key::Ask(Request::Set(Setting::Loop(self.looped))))
            }
            KeyCode::Char('t') => Some(Key::Trigger),
            KeyCode::Char('w') => Some(Key::Save),
            KeyCode::Char('m') => Some(Key::Bookmark),
            KeyCode::Char('?') => {
                self.help = !self.help;
                self.drawn = None;
                None
            }
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            _ => None,
        }
    }

    /// Nothing plays as fast as it can here: above the ladder's last rung there is none.
    fn rate(&mut self, rate: Rate) -> Option<Key> {
        let Rate::At(speed) = rate else { return None };
        self.speed = speed;
        Some(Key::Ask(Request::Set(Setting::PlaybackSpeed(speed))))
    }

    /// Draws, when it is time to.
    pub fn show(
        &mut self,
        status: &Status,
        account: &Account,
        rates: (f64, f64),
        start: Option<&str>,
    ) -> Result<(), Failure> {
        self.paused = status.state == kinora::replay::machine::State::Paused;
        (self.speed, self.looped) = (status.settings.playback_speed, status.settings.looped);
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAW_EVERY) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let mut out = io::stderr().lock();
        queue!(out, cursor::MoveUp(LINES))?;
        let shown: Vec<String> = match self.help {
            true => HELP.map(str::to_owned).into(),
            false => lines(status, account, rates, start).into_iter().chain(self.padded_events()).collect(),
        };
        for line in &shown {
            queue!(out, Clear(ClearType::CurrentLine))?;
            // A terminal that does not say how wide it is says 0.
            let width =
                crossterm::terminal::size().ok().map(|(width, _)| usize::from(width)).filter(|&width| width > 0);
            writeln!(out, "{}\r", line.chars().take(width.unwrap_or(80) - 1).collect::<String>())?;
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

/// The panel's text, without events. `start`: what the source's start is at, in place of what comes from it.
fn lines(status: &Status, account: &Account, (fps, dps): (f64, f64), start: Option<&str>) -> [String; 6] {
    let s = &status.settings;
    let looped = if s.looped { ", loop" } else { "" };
    let speed = text::speed(s.playback_speed);
    let state = if status.state.is_playing() {
        format!("{:?} frame {} at {speed}{looped}", status.state, status.playback_current_frame)
    } else {
        format!("{:?} (replays at {speed}{looped})", status.state)
    };
    let live = || format!("live {fps:.1} fps, {dps:.1} dps, {} frames, {} lost", account.frames, account.lost);
    [
        format!("{state}   {}   ? keys", start.map_or_else(live, str::to_owned)),
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
