//! Where played frames go: a picture on the terminal, lines in a pipe, a JPEG stream, or nowhere.

use std::io::{self, IsTerminal};

use kinora::Frame;
use kinora::modlib;

use super::command::Print;
use super::end::Failure;
use super::jpeg_stream::JpegStream;
use super::json::FrameJson;
use super::output::Results;
use super::screen::{ENTER, LEAVE, Screen};

/// All places that a played frame goes to.
pub struct Face {
    results: Results,
    print: Print,
    screen: Option<Screen>,
    stream: Option<JpegStream>,
    writer: modlib::Writer,
    line: Vec<u8>,
}

impl Face {
    /// `print` as asked for; `with_keys`: somebody sits at the terminal. The picture is shown when standard output is a
    /// terminal with keys and nothing else goes there.
    pub fn new(print: Option<Print>, stream: Option<JpegStream>, with_keys: bool, plain: bool) -> io::Result<Self> {
        let terminal = io::stdout().is_terminal();
        let quiet = matches!(print, None | Some(Print::None));
        let screen = (terminal && with_keys && quiet && !plain && stream.is_none()).then(Screen::default);
        let print = print.unwrap_or(if terminal || stream.is_some() || plain { Print::None } else { Print::Text });
        let mut results = Results::new();
        if screen.is_some() {
            results.bytes(ENTER.as_bytes())?;
        }
        Ok(Self { results, print, screen, stream, writer: modlib::Writer::new(), line: Vec::new() })
    }

    /// True when pictures must come decoded.
    pub const fn wants_pixels(&self) -> bool {
        self.screen.is_some()
    }

    /// True when the terminal shows the picture.
    pub const fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// One frame, out at its time. `offset`: of its record in the file.
    pub fn show(&mut self, frame: &Frame<'_>, offset: Option<u64>, status: &str) -> Result<(), Failure> {
        if let Some(stream) = &mut self.stream {
            stream.write(frame)?;
        }
        match self.print {
            Print::None => {}
            Print::Text => self.results.line(frame)?,
            Print::Json => self.results.json(&FrameJson::new(frame, offset))?,
            Print::Modlib => {
                self.line.clear();
                let written = self.writer.write_line(frame, &mut self.line);
                written.map_err(|error| Failure::Failed(format!("{error}; use --print json")))?;
                self.results.bytes(&self.line)?;
            }
        }
        if let Some(screen) = &mut self.screen {
            self.results.bytes(screen.show(frame, status).as_bytes())?;
        }
        self.results.flush()?;
        Ok(())
    }

    /// Another status below the same picture.
    pub fn say(&mut self, status: &str) -> Result<(), Failure> {
        if let Some(screen) = &mut self.screen {
            self.results.bytes(screen.again(status).as_bytes())?;
            self.results.flush()?;
        }
        Ok(())
    }

    /// The list of keys, on and off.
    pub fn toggle_help(&mut self) -> Result<(), Failure> {
        if let Some(screen) = &mut self.screen {
            self.results.bytes(screen.toggle_help().as_bytes())?;
            self.results.flush()?;
        }
        Ok(())
    }

    /// Gives the terminal back.
    pub fn leave(&mut self) -> io::Result<()> {
        if self.screen.take().is_some() {
            self.results.bytes(LEAVE.as_bytes())?;
        }
        self.results.flush()
    }

    /// Standard output, for what comes after the frames.
    pub fn results(&mut self) -> &mut Results {
        &mut self.results
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        // Also after an error; a terminal that is gone needs no care.
        let _ = self.leave();
    }
}
