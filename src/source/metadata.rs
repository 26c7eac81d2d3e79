//! From one metadata buffer to what a frame says: registers, results, the network's picture, and the sensor's own bytes where
//! they are kept. All memory is made before the first buffer.
//!
//! Cameras, the virtual sensor and recordings with raw metadata go through the same reader.

use crate::frame::{ColorFormat, ImageType, PictureInfo, PixelFormat, Roi};
use crate::imx500::decode::Target;
use crate::imx500::{
    Cut, Form, Inference, InferenceWindow, InputTensor, Kept, Layout, LockStep, Malformed, Network, Normalisation,
    ParseError, Parser, PlaneOrder, Registers, Step, kept_bytes_max,
};
use crate::results::{ResultState, Results};
use crate::slot::{Slot, TooBig};

/// What a buffer held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Exposure, gain and frame length of this very frame.
    pub registers: Option<Registers>,
    /// What the network's part was.
    pub network: Part,
}

/// The network's part of a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// None: no network runs.
    None,
    /// Not written by the sensor yet: normal after a start.
    Blank,
    /// Good, without a new result.
    NoResult,
    /// A new result.
    Result,
    /// It contradicts itself.
    Broken(ParseError),
}

/// Whether the output tensors of a buffer are worth keeping: their header says valid.
type HasOutput = bool;

/// Reads the metadata of one camera.
pub struct MetadataReader {
    layout: Layout,
    parser: Parser,
    network: Option<Network>,
    roi: Roi,
    keep: Option<Form>,
    /// The frame's picture is what the network saw.
    shows_input: bool,
    lock_step: LockStep,
    /// A picture that waits for its result, plane after plane.
    waiting: Vec<u8>,
    /// The picture of this buffer, plane after plane.
    planes: Vec<u8>,
    /// The newest result: frames without a new one repeat it.
    results: Box<Results>,
    side: Vec<u8>,
}

impl MetadataReader {
    /// For buffers of `layout` with `network`, if one runs. `keep`: what of each buffer goes into the frame.
    pub fn new(layout: Layout, network: Option<Network>, keep: Option<Form>, shows_input: bool) -> Self {
        let parser = network.as_ref().map_or(Parser::new(layout), |network| network.parser(layout));
        let input_bytes = network.as_ref().map_or(0, |network| network.description().input.bytes());
        let picture_bytes = if shows_input { input_bytes } else { 0 };
        let side_bytes = network.as_ref().map_or(0, Network::side_bytes);
        Self {
            layout,
            parser,
            network,
            roi: Roi::FULL,
            keep,
            shows_input,
            lock_step: LockStep::new(),
            waiting: vec![0; picture_bytes],
            planes: vec![0; picture_bytes],
            results: Box::new(Results::new()),
            side: vec![0; side_bytes],
        }
    }

    /// The network, if one runs.
    pub const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Runs another network from the next buffer on.
    pub fn deploy(&mut self, network: Network) {
        *self = Self::new(self.layout, Some(network), self.keep, self.shows_input);
    }

    /// Begins a new stream of the same network, which sees `window`.
    pub fn restart(&mut self, window: InferenceWindow) {
        self.parser = self.network.as_ref().map_or(Parser::new(self.layout), |network| network.parser(self.layout));
        self.lock_step = LockStep::new();
        self.roi = window.roi();
        self.results.reset(ResultState::Absent);
        self.side.fill(0);
    }

    /// Shape of the network's picture, when frames show it.
    pub fn input_picture(&self) -> Option<PictureInfo> {
        let network = self.network.as_ref().filter(|_| self.shows_input)?;
        Some(picture_of(&network.description().input))
    }

    /// Most bytes that are kept of a buffer.
    pub fn sensor_bytes_max(&self, buffer_bytes: usize) -> usize {
        let lines = self.network.as_ref().map_or(0, Network::output_lines);
        self.keep.map_or(0, |form| kept_bytes_max(form, self.layout, buffer_bytes, lines))
    }

    /// Reads `buffer` into `slot`: results (or a repetition of the newest), region, counter, the network's picture if that is
    /// shown, and the bytes that are kept. A broken part leaves the rest as good as it is.
    ///
    /// # Errors
    /// The slot is too small.
    pub fn read(&mut self, buffer: &[u8], slot: &mut Slot) -> Result<Seen, TooBig> {
        let registers = self.parser.registers(buffer).ok();
        let output =
            self.network.as_ref().map(|network| (1 + usize::from(network.input_lines()), network.output_lines()));
        let (part, has_output) = self.inference(Source::Buffer(buffer), slot)?;
        if let Some(form) = self.keep {
            let lines = output.map(|(line, lines)| (line, if has_output { usize::from(lines) } else { 1 }));
            let cut = Cut::new(buffer, self.layout, form, lines);
            cut.write(slot.sensor_mut(cut.len())?);
        }
        self.repeat(slot, part == Part::Result)?;
        Ok(Seen { registers, network: part })
    }

    /// As [`read`](Self::read), of a buffer as a recording keeps it. What is kept of it in turn is nothing: whoever reads it
    /// has it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_kept(&mut self, kept: &Kept<'_>, slot: &mut Slot) -> Result<Seen, TooBig> {
        let registers = Registers::parse(kept.bytes, kept.layout).ok();
        let (part, _) = self.inference(Source::Kept(kept), slot)?;
        self.repeat(slot, part == Part::Result)?;
        Ok(Seen { registers, network: part })
    }

    /// Puts the newest result into `slot` as one of an earlier frame: for a frame whose metadata did not come.
    ///
    /// # Errors
    /// The slot is too small.
    pub fn repeat_last(&self, slot: &mut Slot) -> Result<(), TooBig> {
        self.repeat(slot, false)
    }

    fn repeat(&self, slot: &mut Slot, is_new: bool) -> Result<(), TooBig> {
        slot.meta.new_detection = is_new;
        slot.meta.roi = self.network.as_ref().map(|_| self.roi);
        slot.results.clone_from(&self.results);
        let (_, side) = slot.side_append(self.side.len())?;
        side.copy_from_slice(&self.side);
        Ok(())
    }

    fn inference(&mut self, source: Source<'_>, slot: &mut Slot) -> Result<(Part, HasOutput), TooBig> {
        let Some(network) = &mut self.network else { return Ok((Part::None, false)) };
        let inference = match source.inference(&mut self.parser) {
            Ok(Some(inference)) => inference,
            Ok(None) => return Ok((Part::Blank, false)),
            Err(ParseError { kind: Malformed::BlankHeader, .. }) => return Ok((Part::Blank, false)),
            // What it should hold is kept: somebody may want to see why.
            Err(error) => return Ok((Part::Broken(error), true)),
        };
        slot.meta.frame_count = Some(inference.input_header.frame_count.into());
        let step = self.lock_step.step(&inference, &mut self.waiting);
        if self.shows_input {
            let planes = match (&inference.input, step) {
                (Some(input), _) => {
                    let Some(planes) = self.planes.get_mut(..input.tensor.bytes()) else {
                        return Ok((Part::NoResult, inference.output.is_some()));
                    };
                    input.copy_planes(planes);
                    Some((input.tensor, &*planes))
                }
                (None, Step::WithSavedInput { tensor, .. }) => Some((tensor, &self.waiting[..tensor.bytes()])),
                _ => None,
            };
            if let Some((tensor, planes)) = planes {
                show(&tensor, planes, network.normalisation(), slot)?;
            }
        }
        let Inference { output: Some(output), .. } = &inference else {
            return Ok((Part::NoResult, false));
        };
        let target = Target { results: &mut self.results, side: &mut self.side };
        Ok(match network.decode(output, target) {
            Ok(()) => (Part::Result, true),
            // Its tensors were checked against the package: another network's come only from a damaged buffer.
            Err(_) => (Part::NoResult, true),
        })
    }
}

/// Where the bytes are.
#[derive(Clone, Copy)]
enum Source<'a> {
    Buffer(&'a [u8]),
    Kept(&'a Kept<'a>),
}

impl<'a> Source<'a> {
    fn inference(self, parser: &'a mut Parser) -> Result<Option<Inference<'a>>, ParseError> {
        match self {
            Self::Buffer(buffer) => parser.inference(buffer),
            Self::Kept(kept) => parser.kept(kept),
        }
    }
}

fn picture_of(tensor: &InputTensor) -> PictureInfo {
    let format = if tensor.channels == 1 { PixelFormat::Grey } else { PixelFormat::Rgb888 };
    PictureInfo::packed(format, tensor.width as u32, tensor.height as u32)
}

/// Puts the network's picture into the slot: planes back to pixels, normalisation undone, colours in the order red, green,
/// blue.
fn show(tensor: &InputTensor, planes: &[u8], normalisation: Normalisation, slot: &mut Slot) -> Result<(), TooBig> {
    let info = picture_of(tensor);
    let size = tensor.width * tensor.height;
    let pixels = slot.pixels_mut(info)?;
    let value = |plane: usize, sample: u8| match normalisation.offset() {
        Some(offset) => sample.wrapping_add(offset),
        None => normalisation.picture_value(plane, sample),
    };
    if info.format == PixelFormat::Grey {
        pixels.iter_mut().zip(planes).for_each(|(pixel, &sample)| *pixel = value(0, sample));
    } else {
        let order = match normalisation.order {
            PlaneOrder::Rgb => [0, 1, 2],
            PlaneOrder::Bgr => [2, 1, 0],
        };
        let [red, green, blue] = order.map(|plane| &planes[plane * size..(plane + 1) * size]);
        let samples = red.iter().zip(green).zip(blue);
        for (pixel, ((&r, &g), &b)) in pixels.chunks_exact_mut(3).zip(samples) {
            pixel.copy_from_slice(&[value(order[0], r), value(order[1], g), value(order[2], b)]);
        }
    }
    let meta = &mut slot.meta;
    meta.image_type = Some(ImageType::InputTensor);
    (meta.width, meta.height) = (Some(info.width), Some(info.height));
    meta.channels = Some(if info.format == PixelFormat::Grey { 1 } else { 3 });
    meta.color_format = (info.format == PixelFormat::Rgb888).then_some(ColorFormat::Rgb);
    Ok(())
}
