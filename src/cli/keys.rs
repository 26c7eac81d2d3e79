//! Keys while a recording plays: one table, which is also the help text.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use kinora::playback::Command;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Something for the player.
    Player(Command),
    /// A bookmark at the frame that is shown.
    Bookmark,
    /// The list of keys.
    Help,
    /// The terminal has another size.
    Redraw,
}

/// What `?` shows, over the picture.
pub const HELP: [&str; 12] = [
    "space        pause, go on",
    "left, right  pause and step 1, with shift 10",
    "home, end    first, last frame",
    "up, down     faster, slower",
    "-            the other direction",
    "i, o         in point, out point",
    "c            no in and out point",
    "l            loop",
    "m            bookmark (printed at the end)",
    "n, p         next, previous bookmark",
    "?            this list, on and off",
    "q, esc       end",
];

/// The keyboard of the terminal, without line editing and echo until dropped. Signals by keys (Ctrl-C) stay.
pub struct Keys {
    before: Termios,
}

impl Keys {
    /// `None` when standard input is no terminal, or one that another program of the shell is using: then there are no
    /// keys. (Whoever changes a terminal from the background is stopped by the kernel.)
    pub fn of_terminal() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        tcgetpgrp(stdin).ok().filter(|&group| group == rustix::process::getpgrp())?;
        let before = tcgetattr(stdin).ok()?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Now, &now).ok()?;
        Some(Self { before })
    }

    /// Waits for any key, for at most `wait`.
    pub fn key(&self, wait: Duration) -> io::Result<Option<KeyEvent>> {
        if !event::poll(wait)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
            _ => None,
        })
    }

    /// Waits for a key that means something, for at most `wait`.
    pub fn next(&self, wait: Duration) -> io::Result<Option<Wish>> {
        if !event::poll(wait)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => wish(key),
            Event::Resize(..) => Some(Wish::Redraw),
            _ => None,
        })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

fn wish(key: KeyEvent) -> Option<Wish> {
    let far = if key.modifiers.contains(KeyModifiers::SHIFT) { 10 } else { 1 };
    let command = match key.code {
        KeyCode::Char(' ') => Command::TogglePause,
        KeyCode::Left => Command::Step(-far),
        KeyCode::Right => Command::Step(far),
        KeyCode::Home => Command::Home,
        KeyCode::End => Command::End,
        KeyCode::Up => Command::Faster,
        KeyCode::Down => Command::Slower,
        KeyCode::Char('-') => Command::Reverse,
        KeyCode::Char('i') => Command::MarkIn,
        KeyCode::Char('o') => Command::MarkOut,
        KeyCode::Char('c') => Command::ClearMarks,
        KeyCode::Char('l') => Command::ToggleLoop,
        KeyCode::Char('n') => Command::NextBookmark,
        KeyCode::Char('p') => Command::PreviousBookmark,
        KeyCode::Char('q') | KeyCode::Esc => Command::Quit,
        KeyCode::Char('m') => return Some(Wish::Bookmark),
        KeyCode::Char('?') => return Some(Wish::Help),
        _ => return None,
    };
    Some(Wish::Player(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
        wish(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn every_documented_key_does_what_it_says() {
        let plain = |code| press(code, KeyModifiers::NONE);
        let player = |command| Some(Wish::Player(command));
        assert_eq!(plain(KeyCode::Char(' ')), player(Command::TogglePause));
        assert_eq!(plain(KeyCode::Left), player(Command::Step(-1)));
        assert_eq!(press(KeyCode::Right, KeyModifiers::SHIFT), player(Command::Step(10)));
        assert_eq!(plain(KeyCode::Home), player(Command::Home));
        assert_eq!(plain(KeyCode::Up), player(Command::Faster));
        assert_eq!(plain(KeyCode::Char('-')), player(Command::Reverse));
        assert_eq!(plain(KeyCode::Char('i')), player(Command::MarkIn));
        assert_eq!(plain(KeyCode::Char('l')), player(Command::ToggleLoop));
        assert_eq!(plain(KeyCode::Char('m')), Some(Wish::Bookmark));
        assert_eq!(plain(KeyCode::Char('?')), Some(Wish::Help));
        assert_eq!(plain(KeyCode::Esc), player(Command::Quit));
        assert_eq!(plain(KeyCode::Char('x')), None);
    }
}
