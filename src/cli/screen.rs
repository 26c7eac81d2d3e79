//! A recording on a terminal: the picture with what was seen in it, as half blocks, and a status line below.

use crossterm::terminal;
use kinora::draw;
use kinora::{Frame, frame::PixelFormat};

use super::keys::HELP;
use super::output::no_color;

/// Enters and leaves the terminal's second screen; hides and shows the cursor.
pub const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
pub const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Results below this confidence are not drawn.
const THRESHOLD: f32 = 0.4;

/// What one frame looks like; its memory is used again for each.
#[derive(Default)]
pub struct Screen {
    pixels: Vec<u8>,
    text: String,
    size: (u16, u16),
    help: bool,
}

impl Screen {
    /// The text that shows `frame` and `status` on a terminal of any size; the newest is kept for [`Screen::again`].
    pub fn show(&mut self, frame: &Frame<'_>, status: &str) -> &str {
        // A terminal that does not tell its size says 0.
        let size = terminal::size().ok().filter(|&(columns, lines)| columns > 0 && lines > 0).unwrap_or((80, 24));
        self.text.clear();
        self.text.push_str(if size == self.size { "\x1b[H" } else { "\x1b[2J\x1b[H" });
        self.size = size;
        self.picture(frame, size);
        self.list_keys();
        self.last_line(status);
        &self.text
    }

    /// The text that shows another status below the same picture.
    pub fn again(&mut self, status: &str) -> &str {
        self.text.clear();
        self.last_line(status);
        &self.text
    }

    /// Shows the list of keys over the picture, or takes it away with the next frame.
    pub fn toggle_help(&mut self) -> &str {
        self.help = !self.help;
        self.text.clear();
        self.list_keys();
        &self.text
    }

    fn list_keys(&mut self) {
        for (line, key) in HELP.iter().enumerate().filter(|_| self.help) {
            self.text.push_str(&format!("\x1b[{};3H {key:<46}", line + 2));
        }
    }

    fn picture(&mut self, frame: &Frame<'_>, (columns, lines): (u16, u16)) {
        let room = (columns, lines.saturating_sub(1));
        let Some(pixels) = frame.pixels.filter(|pixels| pixels.info.format == PixelFormat::Bgr888) else {
            // Headless, or a format that nobody decodes: words instead.
            let text = frame.to_string();
            self.text.extend(text.chars().take(usize::from(columns)));
            self.text.push_str("\x1b[J");
            return;
        };
        self.pixels.clear();
        self.pixels.extend_from_slice(pixels.bytes);
        if let Some(mut canvas) = draw::Canvas::new(pixels.info, &mut self.pixels) {
            draw::everything(&mut canvas, frame, THRESHOLD);
            let size = draw::size_in_terminal((pixels.info.width, pixels.info.height), room);
            match no_color() {
                true => draw::shades(&canvas, size, &mut self.text),
                false => draw::half_blocks(&canvas, size, &mut self.text),
            }
        }
    }

    fn last_line(&mut self, status: &str) {
        let (columns, lines) = self.size;
        let status: String = status.chars().take(usize::from(columns)).collect();
        self.text.push_str(&format!("\x1b[{lines};1H{status}\x1b[K"));
    }
}
