//! One metadata buffer after the other: headers checked against each other, the network's description kept, and the
//! lock-step of inputs and outputs when the network is slower than the sensor.

use heapless::Vec;

use super::header::{TensorHeader, TensorType};
use super::kept::{Form, Kept};
use super::network::{InputTensor, NetworkDescription};
use super::registers::Registers;
use super::tensor::{InputView, OutputView};
use super::{LINE_BYTES, Layout, Malformed, ParseError, region};

const PARAMS_BYTES_MAX: usize = 2548;

/// The sensor's own account of its work, from DNN line 0; meaningful together with a valid output only. The unit is
/// microseconds by picamera2's arithmetic and milliseconds by libcamera's text: these are the raw numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kpi {
    /// Run time of the network.
    pub dnn_runtime: u32,
    /// Run time of the signal processor.
    pub dsp_runtime: u32,
}

/// The inference part of one buffer.
#[derive(Clone, Copy, Debug)]
pub struct Inference<'a> {
    /// Header of the picture.
    pub input_header: TensorHeader<'a>,
    /// Header of the results, on the line that the input's size demands.
    pub output_header: TensorHeader<'a>,
    /// Run times.
    pub kpi: Kpi,
    /// The picture, when its header says valid.
    pub input: Option<InputView<'a>>,
    /// The results, when their header says valid. `None` is "no new result", not "nothing found".
    pub output: Option<OutputView<'a>>,
}

/// Reads buffers of one stream. Keeps the last apParams, so that an unchanged network costs one comparison.
#[derive(Debug)]
pub struct Parser {
    layout: Layout,
    package_output_line: Option<u16>,
    output_line: Option<usize>,
    params: Vec<u8, PARAMS_BYTES_MAX>,
    network: Option<NetworkDescription>,
    walks: u64,
}

impl Parser {
    /// A parser that knows nothing of the network yet; it learns it from the first valid header.
    pub const fn new(layout: Layout) -> Self {
        Self { layout, package_output_line: None, output_line: None, params: Vec::new(), network: None, walks: 0 }
    }

    /// Tells what the package says: register 0x305E, the input's lines with its header. The output header is then on line
    /// `1 + input_lines`, and buffers that compute another line are refused.
    pub const fn expect_input_lines(&mut self, input_lines: u16) {
        let line = input_lines.saturating_add(1);
        self.package_output_line = Some(line);
        self.output_line = Some(line as usize);
    }

    /// The network that the last good header described.
    pub const fn network(&self) -> Option<&NetworkDescription> {
        self.network.as_ref()
    }

    /// How often apParams were walked instead of compared.
    pub const fn walks(&self) -> u64 {
        self.walks
    }

    /// The register lines. They fail apart from the inference: one broken part never hides the other.
    ///
    /// # Errors
    /// See [`Registers::parse`].
    pub fn registers(&self, buffer: &[u8]) -> Result<Registers, ParseError> {
        Registers::parse(buffer, self.layout)
    }

    /// The inference part, or `None` when the buffer has none (no network: only stale bytes follow the registers).
    ///
    /// Cost: one comparison of some 600 bytes as long as the network stays the same; tensors are not touched.
    ///
    /// # Errors
    /// The buffer contradicts itself; nothing of its inference may be used. Offsets count from the start of `buffer`.
    /// [`Malformed::BlankHeader`] is normal in the first buffers after a start.
    pub fn inference<'a>(&'a mut self, buffer: &'a [u8]) -> Result<Option<Inference<'a>>, ParseError> {
        self.inference_in(buffer, Form::Full)
    }

    /// As [`inference`](Self::inference), of a buffer as a recording keeps it; in [`Form::Results`] there is never an input.
    ///
    /// # Errors
    /// As [`inference`](Self::inference); offsets and lines count in `kept.bytes`.
    pub fn kept<'a>(&'a mut self, kept: &Kept<'a>) -> Result<Option<Inference<'a>>, ParseError> {
        self.layout = kept.layout;
        self.inference_in(kept.bytes, kept.form)
    }

    fn inference_in<'a>(&'a mut self, bytes: &'a [u8], form: Form) -> Result<Option<Inference<'a>>, ParseError> {
        let base = self.layout.dnn_offset();
        match bytes.get(base..) {
            Some(dnn) if dnn.len() >= 2 * LINE_BYTES => self.parse(dnn, form).map(Some).map_err(|error| error.at(base)),
            _ => Ok(None),
        }
    }

    /// DNN line of the output header and number of lines from there on with the tensors, when all lines are fully used:
    /// from the last good buffer, else only the line, from the package.
    pub fn output_lines(&self) -> Option<(usize, usize)> {
        let bodies = |n: &NetworkDescription| n.outputs.iter().map(|t| t.lines(LINE_BYTES)).sum::<usize>();
        Some((self.output_line?, 1 + self.network.as_ref().map_or(0, bodies)))
    }

    fn parse<'a>(&'a mut self, dnn: &'a [u8], form: Form) -> Result<Inference<'a>, ParseError> {
        let input_header = TensorHeader::parse(dnn, 1, TensorType::Input)?;
        let input_tensor = self.learn_from_input(&input_header)?;
        let unknown = ParseError::new(LINE_BYTES, Malformed::OutputLineUnknown);
        let line = form.output_line(self.output_line.ok_or(unknown)?);
        let output_header = TensorHeader::parse(dnn, line, TensorType::Output)?;
        if !output_header.matches(&input_header) {
            return Err(ParseError::new(line * LINE_BYTES, Malformed::HeadersDiffer));
        }
        let input = match input_tensor {
            Some(tensor) if input_header.is_valid() && form == Form::Full => {
                Some(InputView::new(dnn, tensor, input_header.body_line(), input_header.line_bytes)?)
            }
            _ => None,
        };
        let output = if output_header.is_valid() {
            let network = self.describe(&output_header)?;
            Some(OutputView::new(dnn, network, output_header.body_line(), output_header.line_bytes)?)
        } else {
            None
        };
        Ok(Inference { input_header, output_header, kpi: kpi(dnn)?, input, output })
    }

    /// Computes the output's line from the input header. A header that is not valid may hold anything: then the line that an
    /// earlier buffer or the package gave is good enough.
    fn learn_from_input(&mut self, header: &TensorHeader<'_>) -> Result<Option<InputTensor>, ParseError> {
        let line_bytes = header.line_bytes;
        let described = self.describe(header).map(|n| (n.input, n.output_line(usize::from(line_bytes))));
        let (tensor, computed) = match described {
            Ok(described) => described,
            Err(_) if !header.is_valid() && self.output_line.is_some() => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.package_output_line {
            Some(package) if usize::from(package) != computed => {
                let computed = u16::try_from(computed).unwrap_or(u16::MAX);
                Err(ParseError::new(header.params_offset(), Malformed::OutputLine { package, computed }))
            }
            _ => {
                self.output_line = Some(computed);
                Ok(Some(tensor))
            }
        }
    }

    /// The network that a header names: known by comparison, else by walking its apParams.
    fn describe(&mut self, header: &TensorHeader<'_>) -> Result<&NetworkDescription, ParseError> {
        let known = self.network.as_ref().is_some_and(|n| n.id == header.network_id) && self.params == header.params;
        if !known {
            self.network = None;
            self.walks += 1;
            let network = NetworkDescription::parse(header.params, header.network_id);
            self.network = Some(network.map_err(|error| error.at(header.params_offset()))?);
            self.params.clear();
            // A header's apParams have at most `PARAMS_BYTES_MAX` bytes.
            let _ = self.params.extend_from_slice(header.params);
        }
        match &self.network {
            Some(network) => network
                .check_line_bytes(header.line_bytes)
                .map(|()| network)
                .map_err(|error| error.at(header.line * LINE_BYTES)),
            None => Err(ParseError::new(header.params_offset(), Malformed::NetworkId(header.network_id))),
        }
    }
}

fn kpi(dnn: &[u8]) -> Result<Kpi, ParseError> {
    let bytes = region(dnn, 36, 8)?;
    let u32_at = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    Ok(Kpi { dnn_runtime: u32_at(0), dsp_runtime: u32_at(4) })
}

/// What one buffer adds to the stream of results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// No new result; the last one still stands.
    Nothing,
    /// A result; its picture is in this buffer.
    WithCurrentInput,
    /// A result; its picture came with an earlier buffer, of this frame count and shape, and lies in the lent memory.
    WithSavedInput {
        /// Frame counter of the buffer that brought it.
        frame_count: u8,
        /// Its shape.
        tensor: InputTensor,
    },
    /// A result without a picture.
    WithoutInput,
}

/// Pairs pictures and results when they come in different buffers: a picture waits for its result, a newer one takes its
/// place, and the result takes it along.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockStep {
    waiting: Option<(u8, InputTensor)>,
}

impl LockStep {
    /// No picture waits.
    pub const fn new() -> Self {
        Self { waiting: None }
    }

    /// Takes one buffer into account. `saved` is memory for the picture that waits, of at least the input tensor's bytes;
    /// a picture that does not fit is not kept.
    pub fn step(&mut self, inference: &Inference<'_>, saved: &mut [u8]) -> Step {
        match (&inference.input, &inference.output) {
            (None, None) => Step::Nothing,
            (Some(_), Some(_)) => {
                self.waiting = None;
                Step::WithCurrentInput
            }
            (Some(input), None) => {
                self.waiting = None;
                if let Some(target) = saved.get_mut(..input.tensor.bytes()) {
                    input.copy_planes(target);
                    self.waiting = Some((inference.input_header.frame_count, input.tensor));
                }
                Step::Nothing
            }
            (None, Some(output)) => match self.waiting.take() {
                Some((frame_count, tensor)) if tensor == output.network.input => {
                    Step::WithSavedInput { frame_count, tensor }
                }
                _ => Step::WithoutInput,
            },
        }
    }
}
