//! A network package (`.rpk`): what it says about its network, without a byte of the weights.
//!
//! ```text
//! blocks: "9464", size, …, body, footer of 64 bytes (+ 32 when device-locked)   for the sensor; not looked into
//! newc cpio archive: network_info.txt, imx500_regs, network_intrinsics           for us
//! ```
//!
//! apParams lie in the first block at byte 0x60 with the bytes of every 32-bit word exchanged; their rounded length is at 0x48
//! and again in `network_info.txt`. Source: the sensor driver, and the packages themselves (true for all 17 public ones).

use core::fmt;

use heapless::Vec;

use super::network::NetworkDescription;
use super::{LINE_BYTES, ParseError, REGISTER_BYTES_MAX};

/// Blocks of a package; the largest public one (4 MB) has 4, and 64 MB would be beyond the sensor's memory.
const BLOCKS_MAX: usize = 64;
/// Files in the archive; real ones have 2 to 4.
const FILES_MAX: usize = 32;
const BLOCK_HEADER_BYTES: usize = 16;
const BLOCK_FOOTER_BYTES: usize = 64;
const LOCK_BYTES: usize = 32;
const CPIO_HEADER_BYTES: usize = 110;
const PARAMS_OFFSET: usize = 0x60;
const PARAMS_BYTES_MAX: usize = 1008;
const REGISTER_ENTRY_BYTES: usize = 7;
const INPUT_LINES_REGISTER: u16 = 0x305E;
const OUTPUT_LINES_REGISTER: u16 = 0x3060;
/// The driver takes line counts below this only.
const LINES_END: u32 = 2046;

/// Why a package cannot be used, and where in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageError {
    /// Byte of the file where the trouble is.
    pub offset: usize,
    /// What it is.
    pub kind: BadPackage,
}

/// What can be wrong with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadPackage {
    /// The file does not begin with a block: it is no network package.
    NotAPackage,
    /// A block or file leaves the package.
    Cut,
    /// More blocks or files than any package has.
    TooMany,
    /// An archive header is not hexadecimal.
    Archive,
    /// A file of this name is missing from the archive.
    Missing(&'static str),
    /// A file of the archive is not UTF-8 text.
    NotText(&'static str),
    /// A key of `network_info.txt` is missing or no number.
    Key(&'static str),
    /// A line count (register 0x305E or 0x3060) is missing or out of `1..2046`.
    Lines(u16),
    /// The description of the tensors is damaged.
    Params(ParseError),
    /// Two ways to compute a line count disagree.
    LinesDisagree {
        /// From the registers.
        registers: u16,
        /// From the tensors.
        tensors: usize,
    },
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network package, byte {}: ", self.offset)?;
        match self.kind {
            BadPackage::NotAPackage => write!(f, "this is no IMX500 network package (.rpk)"),
            BadPackage::Cut => write!(f, "the file is cut short"),
            BadPackage::TooMany => write!(f, "more blocks or files than any package has"),
            BadPackage::Archive => write!(f, "damaged archive header"),
            BadPackage::Missing(name) => write!(f, "{name} is missing"),
            BadPackage::NotText(name) => write!(f, "{name} is not text"),
            BadPackage::Key(key) => write!(f, "network_info.txt has no good {key}"),
            BadPackage::Lines(register) => write!(f, "register {register:#06x} (lines) is missing or out of 1..2046"),
            BadPackage::Params(error) => write!(f, "apParams: {error}"),
            BadPackage::LinesDisagree { registers, tensors } => {
                write!(f, "{registers} lines by the registers, {tensors} by the tensors")
            }
        }
    }
}

impl core::error::Error for PackageError {}

/// Order of the planes of the input tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaneOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// How the sensor made the network's samples from the picture, for each plane:
/// `q = ((picture × div_val >> 6) + norm_val) >> 4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalisation {
    /// Order of the planes.
    pub order: PlaneOrder,
    /// 13-bit two's complement, sign-extended.
    pub norm_val: [i16; 3],
    /// 12 bits.
    pub div_val: [u16; 3],
    /// Bit 12 of the first `norm_val`: samples are signed.
    pub signed: bool,
}

impl Normalisation {
    /// What to add to a sample (modulo 256) to have the picture's value again, or `None` when these constants need the long
    /// formula. For all public packages it is 128 (signed) or 0.
    pub fn offset(&self) -> Option<u8> {
        let plain = |norm: i16| self.norm_val == [norm; 3] && self.div_val == [0x0400; 3];
        match self.signed {
            true if plain(-2048) => Some(128),
            false if plain(0) => Some(0),
            _ => None,
        }
    }

    /// The picture's value behind sample `q` of plane `plane` (0..3), by the long formula; a zero divisor gives 0.
    pub fn picture_value(&self, plane: usize, q: u8) -> u8 {
        let scaled = ((i32::from(q) << 4) - i32::from(self.norm_val[plane])) << 6;
        scaled.checked_div(i32::from(self.div_val[plane])).unwrap_or(0) as u8
    }
}

/// A package, read. Borrows the file's bytes.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// The tensors' description as it will come over the wire, padded to 16 bytes.
    pub params: Vec<u8, PARAMS_BYTES_MAX>,
    /// The tensors.
    pub network: NetworkDescription,
    /// Register 0x305E: lines of the input tensor, its header included.
    pub input_lines: u16,
    /// Register 0x3060: lines of the output tensors, their header included.
    pub output_lines: u16,
    /// How the input tensor was made.
    pub normalisation: Normalisation,
    /// `network_info.txt`: lines of `key=value`.
    pub info: &'a str,
    /// `network_intrinsics`, JSON: task, rate, labels; many packages have it.
    pub intrinsics: Option<&'a str>,
}

impl<'a> Package<'a> {
    /// Reads a package from the bytes of its file.
    ///
    /// # Errors
    /// See [`BadPackage`]; nothing of the package may be used then.
    pub fn parse(file: &'a [u8]) -> Result<Self, PackageError> {
        let archive = Archive::find(file)?;
        let info = archive.text("network_info.txt")?.ok_or(missing(archive.offset, "network_info.txt"))?;
        let registers = archive.file("imx500_regs")?.ok_or(missing(archive.offset, "imx500_regs"))?;
        let (input_lines, output_lines) = (
            lines(registers, INPUT_LINES_REGISTER, archive.offset)?,
            lines(registers, OUTPUT_LINES_REGISTER, archive.offset)?,
        );
        let params = params(file, info, archive.offset)?;
        let bad_params = |kind| PackageError { offset: PARAMS_OFFSET, kind };
        let network = NetworkDescription::parse(&params, 0).map_err(|error| bad_params(BadPackage::Params(error)))?;
        for (registers, tensors) in [
            (input_lines, network.output_line(LINE_BYTES) - 1),
            (output_lines, 1 + network.outputs.iter().map(|t| t.lines(LINE_BYTES)).sum::<usize>()),
        ] {
            if usize::from(registers) != tensors {
                return Err(bad_params(BadPackage::LinesDisagree { registers, tensors }));
            }
        }
        let normalisation = normalisation(info, archive.offset)?;
        let intrinsics = archive.text("network_intrinsics")?;
        Ok(Self { params, network, input_lines, output_lines, normalisation, info, intrinsics })
    }

    /// Value of a key of `network_info.txt`.
    pub fn info_value(&self, key: &str) -> Option<&'a str> {
        value_of(self.info, key)
    }

    /// Bytes of one metadata buffer with this network, as the driver computes it.
    pub fn buffer_bytes(&self) -> usize {
        REGISTER_BYTES_MAX + LINE_BYTES * (2 + usize::from(self.input_lines) + usize::from(self.output_lines))
    }
}

fn missing(offset: usize, name: &'static str) -> PackageError {
    PackageError { offset, kind: BadPackage::Missing(name) }
}

/// The archive behind the blocks.
struct Archive<'a> {
    file: &'a [u8],
    offset: usize,
}

impl<'a> Archive<'a> {
    fn find(file: &'a [u8]) -> Result<Self, PackageError> {
        let mut offset = 0;
        for _ in 0..BLOCKS_MAX {
            match file.get(offset..offset + BLOCK_HEADER_BYTES) {
                Some(header) if header.starts_with(b"9464") => {
                    let size = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
                    let lock = if header[14] & 1 == 1 { LOCK_BYTES } else { 0 };
                    let next = offset.checked_add(size).and_then(|n| n.checked_add(BLOCK_FOOTER_BYTES + lock));
                    let cut = PackageError { offset, kind: BadPackage::Cut };
                    offset = next.filter(|&next| next <= file.len()).ok_or(cut)?;
                }
                _ if offset == 0 => return Err(PackageError { offset, kind: BadPackage::NotAPackage }),
                _ => return Ok(Self { file, offset }),
            }
        }
        Err(PackageError { offset, kind: BadPackage::TooMany })
    }

    /// The file called `name`, if it is in the archive.
    fn file(&self, name: &str) -> Result<Option<&'a [u8]>, PackageError> {
        let mut at = self.offset;
        for _ in 0..FILES_MAX {
            let error = |kind| PackageError { offset: at.min(self.file.len()), kind };
            let Some(header) = self.file.get(at..at.saturating_add(CPIO_HEADER_BYTES)) else {
                return if at >= self.file.len() { Ok(None) } else { Err(error(BadPackage::Cut)) };
            };
            if !header.starts_with(b"070701") {
                return Ok(None);
            }
            let number = |i: usize| hexadecimal(&header[i..i + 8]).ok_or(error(BadPackage::Archive));
            let (length, name_length) = (number(54)?, number(94)?);
            let name_at = at + CPIO_HEADER_BYTES;
            let part = |start: usize, len: usize| {
                start.checked_add(len).and_then(|end| self.file.get(start..end)).ok_or(error(BadPackage::Cut))
            };
            let found = part(name_at, name_length)?.split(|&b| b == 0).next().unwrap_or_default();
            let data_at = (name_at + name_length).next_multiple_of(4);
            let data = part(data_at, length)?;
            match found {
                b"TRAILER!!!" => return Ok(None),
                _ if found == name.as_bytes() => return Ok(Some(data)),
                _ => at = (data_at + length).next_multiple_of(4),
            }
        }
        Err(PackageError { offset: at, kind: BadPackage::TooMany })
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, PackageError> {
        let text = |bytes| {
            core::str::from_utf8(bytes)
                .map_err(|_| PackageError { offset: self.offset, kind: BadPackage::NotText(name) })
        };
        self.file(name)?.map(text).transpose()
    }
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        value.checked_mul(16).map(|value| value + digit as usize)
    })
}

fn value_of<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
}

/// Value of a 7-byte entry of `imx500_regs`: u16 address, u8 width, u32 value, little-endian.
fn lines(registers: &[u8], address: u16, offset: usize) -> Result<u16, PackageError> {
    let entry = registers
        .chunks_exact(REGISTER_ENTRY_BYTES)
        .find(|entry| u16::from_le_bytes([entry[0], entry[1]]) == address)
        .map(|e| u32::from_le_bytes([e[3], e[4], e[5], e[6]]));
    match entry {
        Some(lines) if (1..LINES_END).contains(&lines) => Ok(lines as u16),
        _ => Err(PackageError { offset, kind: BadPackage::Lines(address) }),
    }
}

fn params(file: &[u8], info: &str, offset: usize) -> Result<Vec<u8, PARAMS_BYTES_MAX>, PackageError> {
    let key = PackageError { offset, kind: BadPackage::Key("apParamSize") };
    let size: usize = value_of(info, "apParamSize").and_then(|v| v.parse().ok()).ok_or(key)?;
    let size = Some(size).filter(|&s| (8..=PARAMS_BYTES_MAX).contains(&s)).ok_or(key)?.next_multiple_of(16);
    let cut = PackageError { offset: PARAMS_OFFSET, kind: BadPackage::Cut };
    let swapped = file.get(PARAMS_OFFSET..PARAMS_OFFSET + size).ok_or(cut)?;
    let mut params = Vec::new();
    for word in swapped.chunks_exact(4) {
        // At most `PARAMS_BYTES_MAX`, which is a multiple of 16.
        let _ = params.extend_from_slice(&[word[3], word[2], word[1], word[0]]);
    }
    Ok(params)
}

fn normalisation(info: &str, offset: usize) -> Result<Normalisation, PackageError> {
    let constant = |key: &'static str| {
        let text = value_of(info, key).map(|v| v.trim_start_matches("0x"));
        let value = text.and_then(|text| u16::from_str_radix(text, 16).ok());
        value.ok_or(PackageError { offset, kind: BadPackage::Key(key) })
    };
    let order = match value_of(info, "inputTensorFormat") {
        Some("RGB") => PlaneOrder::Rgb,
        Some("BGR") => PlaneOrder::Bgr,
        _ => return Err(PackageError { offset, kind: BadPackage::Key("inputTensorFormat") }),
    };
    let (first, last) = match order {
        PlaneOrder::Rgb => ("inputTensorNorm_K00", "inputTensorNorm_K22"),
        PlaneOrder::Bgr => ("inputTensorNorm_K02", "inputTensorNorm_K20"),
    };
    let norm = [constant("inputTensorNorm_K03")?, constant("inputTensorNorm_K13")?, constant("inputTensorNorm_K23")?];
    let div = [constant(first)?, constant("inputTensorNorm_K11")?, constant(last)?];
    Ok(Normalisation {
        order,
        norm_val: norm.map(|v| ((v << 3) as i16) >> 3),
        div_val: div.map(|v| v & 0x0FFF),
        signed: norm[0] & 0x1000 != 0,
    })
}
