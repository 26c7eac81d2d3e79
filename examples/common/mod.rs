//! Shows frames: in a window where there is a display (feature `window`), else in the terminal as half-block characters, else
//! as one line of text each. Esc or q ends.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, poll, read};
use crossterm::terminal;
use kinora::draw::{self, Canvas};
use kinora::frame::{PictureInfo, PixelFormat, Pixels};
use kinora::jpeg::{Decoder, Encoder, JpegOptions, jpeg_bytes_max, scratch_bytes};
use kinora::{Error, Frame, Result};

/// Where frames are shown.
pub struct Display {
    place: Place,
    decoder: Decoder,
    encoder: Encoder,
    /// BGR888 of the newest picture, and working memory.
    pixels: Vec<u8>,
    jpeg: Vec<u8>,
    scratch: Vec<u8>,
    text: String,
}

enum Place {
    #[cfg(feature = "window")]
    Window(Option<Box<minifb::Window>>, Vec<u32>, &'static str),
    Terminal,
    Lines,
}

impl Display {
    /// Finds out where frames can be shown.
    pub fn open(title: &'static str) -> Result<Self> {
        let place = if stdout().is_terminal() && stdin().is_terminal() { Place::Terminal } else { Place::Lines };
        #[cfg(feature = "window")]
        let place = match ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| std::env::var_os(name).is_some()) {
            true => Place::Window(None, Vec::new(), title),
            false => place,
        };
        #[cfg(not(feature = "window"))]
        let _ = title;
        if let Place::Terminal = place {
            terminal::enable_raw_mode().map_err(Error::io("the terminal"))?;
            print!("\x1b[?1049h\x1b[?25l\x1b[2J");
        }
        let (decoder, encoder) = (Decoder::new()?, Encoder::new(&JpegOptions::default())?);
        let (pixels, jpeg, scratch) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { place, decoder, encoder, pixels, jpeg, scratch, text: String::new() })
    }

    /// Shows one frame with what `draw` draws onto it. False when the user wants to end.
    pub fn show(&mut self, frame: &Frame<'_>, draw: impl FnOnce(&mut Canvas<'_>)) -> Result<bool> {
        if let Place::Lines = self.place {
            return Ok(writeln!(stdout(), "{frame}").is_ok());
        }
        let Some(info) = self.decode(frame)? else {
            print!("\x1b[H{frame}\x1b[K\r\n");
            return self.goes_on();
        };
        if let Some(mut canvas) = Canvas::new(info, &mut self.pixels) {
            draw(&mut canvas);
            if let Place::Terminal = self.place {
                let (columns, lines) = terminal::size().unwrap_or((80, 24));
                self.text.clear();
                self.text.push_str("\x1b[H");
                let size = draw::size_in_terminal((info.width, info.height), (columns, lines.saturating_sub(1)));
                draw::half_blocks(&canvas, size, &mut self.text);
                let mut out = stdout().lock();
                let _ = out.write_all(self.text.as_bytes()).and_then(|()| out.flush());
            }
        }
        #[cfg(feature = "window")]
        if let Place::Window(window, colors, title) = &mut self.place {
            return show_window(window, colors, title, info, &self.pixels);
        }
        self.goes_on()
    }

    /// The frame's picture as BGR888 in `pixels`; `None` when it has none.
    fn decode(&mut self, frame: &Frame<'_>) -> Result<Option<PictureInfo>> {
        let jpeg = match (frame.jpeg, frame.pixels) {
            (_, Some(Pixels { info, bytes })) if info.format == PixelFormat::Bgr888 => {
                self.pixels.clear();
                self.pixels.extend_from_slice(bytes);
                return Ok(Some(info));
            }
            (Some(jpeg), _) => jpeg.bytes,
            // Whatever a camera delivers, the encoder takes.
            (None, Some(pixels)) => {
                let options = JpegOptions::default();
                self.jpeg.resize(jpeg_bytes_max(pixels.info, &options), 0);
                self.scratch.resize(scratch_bytes(pixels.info, &options), 0);
                let len = self.encoder.encode(pixels, &mut self.jpeg, &mut self.scratch)?;
                &self.jpeg[..len]
            }
            (None, None) => return Ok(None),
        };
        let (width, height) = frame.size().unwrap_or_default();
        let bytes = PictureInfo::packed(PixelFormat::Bgr888, width, height).bytes().unwrap_or(0);
        self.pixels.resize(bytes, 0);
        Ok(Some(self.decoder.decode(jpeg, PixelFormat::Bgr888, &mut self.pixels)?))
    }

    fn goes_on(&self) -> Result<bool> {
        let Place::Terminal = self.place else { return Ok(true) };
        let keyboard = Error::io;
        if !poll(Duration::ZERO).map_err(keyboard("the keyboard"))? {
            return Ok(true);
        }
        let event = read().map_err(keyboard("the keyboard"))?;
        let Event::Key(key) = event else { return Ok(true) };
        let control_c = key.code == KeyCode::Char('c') && !key.modifiers.is_empty();
        Ok(!(control_c || matches!(key.code, KeyCode::Esc | KeyCode::Char('q'))))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Place::Terminal = self.place {
            let _ = terminal::disable_raw_mode();
            println!("\x1b[?25h\x1b[?1049l");
        }
    }
}

#[cfg(feature = "window")]
fn show_window(
    window: &mut Option<Box<minifb::Window>>,
    colors: &mut Vec<u32>,
    title: &str,
    info: PictureInfo,
    pixels: &[u8],
) -> Result<bool> {
    let (width, height) = (info.width as usize, info.height as usize);
    let trouble = |error: minifb::Error| Error::Setting(format!("cannot open a window: {error}; unset DISPLAY"));
    let window = match window {
        Some(window) => window,
        None => {
            let options = minifb::WindowOptions { resize: true, ..minifb::WindowOptions::default() };
            window.insert(Box::new(minifb::Window::new(title, width, height, options).map_err(trouble)?))
        }
    };
    colors.clear();
    colors.extend(pixels.chunks_exact(3).map(|p| u32::from_be_bytes([0, p[2], p[1], p[0]])));
    window.update_with_buffer(colors, width, height).map_err(trouble)?;
    let ends = window.is_key_down(minifb::Key::Escape) || window.is_key_down(minifb::Key::Q);
    Ok(window.is_open() && !ends)
}
