//! The two register lines: pairs of tag and data, packed like RAW10 with a 0x55 in every fifth byte.

use super::{Layout, Malformed, ParseError, region};

/// What line lengths count in.
pub(crate) const PIXEL_CLOCK_HZ: u64 = 744_000_000;

/// Addresses that must be there: exposure, gain, frame length, line length (big-endian pairs), temperature.
const WANTED: [u16; 9] = [0x0202, 0x0203, 0x0204, 0x0205, 0x0340, 0x0341, 0x0342, 0x0343, 0x013A];

/// What the sensor says of the exposure of this very frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Exposure, in lines.
    pub exposure_lines: u16,
    /// Analogue gain code: gain = 1024 / (1024 − code); 978 is the driver's limit.
    pub gain_code: u16,
    /// Frame length, in lines.
    pub frame_length_lines: u16,
    /// Line length, in pixel clocks of 744 MHz.
    pub line_length_clocks: u16,
    /// Temperature as read, °C.
    pub temperature_raw: i8,
}

impl Registers {
    /// 20 ms, gain 2, 30 frames a second, 41 °C: for simulations, benches and tests that need any.
    pub const USUAL: Self = Self {
        exposure_lines: 1600,
        gain_code: 512,
        frame_length_lines: 2637,
        line_length_clocks: 9398,
        temperature_raw: 41,
    };

    /// Reads both lines of a buffer.
    ///
    /// # Errors
    /// A line is cut or does not follow the tag rules, or one of the nine registers is missing.
    pub fn parse(buffer: &[u8], layout: Layout) -> Result<Self, ParseError> {
        let stride = layout.register_stride();
        let mut found = [None; WANTED.len()];
        for start in [0, stride] {
            let line = region(buffer, start, stride)?;
            parse_line(line, &mut found).map_err(|error| error.at(start))?;
        }
        let mut values = [0; WANTED.len()];
        for (i, value) in found.into_iter().enumerate() {
            values[i] = value.ok_or(ParseError::new(0, Malformed::RegisterMissing(WANTED[i])))?;
        }
        let pair = |i: usize| u16::from_be_bytes([values[i], values[i + 1]]);
        Ok(Self {
            exposure_lines: pair(0),
            gain_code: pair(2),
            frame_length_lines: pair(4),
            line_length_clocks: pair(6),
            temperature_raw: values[8] as i8,
        })
    }

    /// Analogue gain, or `None` for codes that mean nothing (1024 and above).
    pub fn analogue_gain(&self) -> Option<f64> {
        (self.gain_code < 1024).then(|| 1024.0 / f64::from(1024 - self.gain_code))
    }

    /// Time of one line, in nanoseconds.
    pub fn line_time_ns(&self) -> f64 {
        f64::from(self.line_length_clocks) / PIXEL_CLOCK_HZ as f64 * 1e9
    }

    /// Exposure, in microseconds.
    pub fn exposure_us(&self) -> f64 {
        f64::from(u32::from(self.exposure_lines) * u32::from(self.line_length_clocks)) / PIXEL_CLOCK_HZ as f64 * 1e6
    }

    /// Temperature within the range that libcamera reports, -20..=80 °C.
    pub fn temperature_c(&self) -> i8 {
        self.temperature_raw.clamp(-20, 80)
    }
}

fn parse_line(line: &[u8], found: &mut [Option<u8>; WANTED.len()]) -> Result<(), ParseError> {
    if line.first() != Some(&0x0A) {
        return Err(ParseError::new(0, Malformed::RegisterLineStart));
    }
    if let Some(i) = (4..line.len()).step_by(5).find(|&i| line[i] != 0x55) {
        return Err(ParseError::new(i, Malformed::RegisterDummy));
    }
    let mut bytes = line.iter().enumerate().filter(|(i, _)| i % 5 != 4).skip(1);
    let mut address: u16 = 0;
    while let (Some((offset, &tag)), Some((_, &data))) = (bytes.next(), bytes.next()) {
        match tag {
            0x07 if data == 0x07 => break,
            0xAA => address = address & 0x00FF | u16::from(data) << 8,
            0xA5 => address = address & 0xFF00 | u16::from(data),
            0x55 => address = address.wrapping_add(1),
            0x5A => {
                if let Some(i) = WANTED.iter().position(|&wanted| wanted == address) {
                    found[i] = Some(data);
                }
                address = address.wrapping_add(1);
            }
            _ => return Err(ParseError::new(offset, Malformed::RegisterTag(tag))),
        }
    }
    Ok(())
}
