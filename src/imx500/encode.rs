//! Metadata buffers in hardware layout from what a sensor would say: the inverse of the parser, for sensors that are
//! simulated.
//!
//! The order of the registers within their lines is ours, as nobody publishes the sensor's; readers go by the tags.

use super::network::NetworkDescription;
use super::parser::Kpi;
use super::{LINE_BYTES, Layout, REGISTER_BYTES_MAX, Registers};

/// Bytes of a tensor header in front of its apParams.
const HEADER_BYTES: usize = 12;

/// What one buffer says besides its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferFacts {
    /// What stands in the register lines.
    pub registers: Registers,
    /// The sensor's frame counter, `0..=254`.
    pub frame_count: u8,
    /// Run times.
    pub kpi: Kpi,
}

/// Gives the raw integer of an element: index of the tensor, index of the element (first dimension fastest).
pub type RawElements<'a> = &'a mut dyn FnMut(usize, usize) -> i64;

/// Writes buffers of one network.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<'a> {
    layout: Layout,
    network: &'a NetworkDescription,
    params: &'a [u8],
}

impl<'a> Encoder<'a> {
    /// For the network that `params` describe.
    pub const fn new(layout: Layout, network: &'a NetworkDescription, params: &'a [u8]) -> Self {
        Self { layout, network, params }
    }

    /// Bytes of one buffer, as the driver computes it.
    pub fn buffer_bytes(&self) -> usize {
        let output_lines: usize = self.network.outputs.iter().map(|tensor| tensor.lines(LINE_BYTES)).sum();
        REGISTER_BYTES_MAX + LINE_BYTES * (self.network.output_line(LINE_BYTES) + 2 + output_lines)
    }

    /// Writes one buffer: registers, KPI, headers, and the tensors that are given; a tensor that is not given is not valid
    /// in its header, and its bytes stay what they were, as do padding, PQ line and stale bytes.
    ///
    /// `planes`: the input tensor without padding, `input.bytes()` bytes, plane after plane. `raws`: output elements;
    /// a value that does not fit its type is brought to the nearest that does.
    ///
    /// # Panics
    /// When `buffer` has not exactly [`buffer_bytes`](Self::buffer_bytes) bytes, or `planes` another length than the input
    /// tensor.
    pub fn encode(&self, facts: &BufferFacts, planes: Option<&[u8]>, raws: Option<RawElements<'_>>, buffer: &mut [u8]) {
        assert_eq!(buffer.len(), self.buffer_bytes(), "bytes of a metadata buffer");
        let (registers, dnn) = buffer.split_at_mut(self.layout.dnn_offset());
        self.registers(facts, registers);
        dnn[36..40].copy_from_slice(&facts.kpi.dnn_runtime.to_le_bytes());
        dnn[40..44].copy_from_slice(&facts.kpi.dsp_runtime.to_le_bytes());
        let output_line = self.network.output_line(LINE_BYTES);
        self.header(dnn, 1, facts.frame_count, planes.is_some(), 0);
        self.header(dnn, output_line, facts.frame_count, raws.is_some(), 1);
        if let Some(planes) = planes {
            self.input(planes, &mut dnn[2 * LINE_BYTES..]);
        }
        if let Some(raws) = raws {
            self.outputs(raws, &mut dnn[(output_line + 1) * LINE_BYTES..]);
        }
    }

    fn header(&self, dnn: &mut [u8], line: usize, frame_count: u8, valid: bool, tensor_type: u8) {
        let line = &mut dnn[line * LINE_BYTES..][..LINE_BYTES];
        line[0] = u8::from(valid);
        line[1] = frame_count;
        line[2..4].copy_from_slice(&(LINE_BYTES as u16).to_le_bytes());
        line[4..6].copy_from_slice(&(self.params.len() as u16).to_le_bytes());
        line[6..8].copy_from_slice(&self.network.id.to_le_bytes());
        // The reserved bytes as a capture of a real sensor has them.
        line[8..HEADER_BYTES].copy_from_slice(&[tensor_type, 0x00, 0x80, 0x08]);
        line[HEADER_BYTES..HEADER_BYTES + self.params.len()].copy_from_slice(self.params);
    }

    fn input(&self, planes: &[u8], body: &mut [u8]) {
        let input = &self.network.input;
        assert_eq!(planes.len(), input.bytes(), "planes of {}x{}x{}", input.width, input.height, input.channels);
        for (row, samples) in planes.chunks_exact(input.width).enumerate() {
            let (plane, y) = (row / input.height, row % input.height);
            let at = (plane * input.rows + y) * input.row_bytes;
            body[at..at + input.width].copy_from_slice(samples);
        }
    }

    fn outputs(&self, raws: RawElements<'_>, mut body: &mut [u8]) {
        for (index, tensor) in self.network.outputs.iter().enumerate() {
            let (own, rest) = body.split_at_mut(tensor.lines(LINE_BYTES) * LINE_BYTES);
            let bits = u32::from(tensor.bits);
            let (least, most) = match tensor.signed {
                true => (-(1_i64 << (bits - 1)), (1_i64 << (bits - 1)) - 1),
                false => (0, (1_i64 << bits) - 1),
            };
            for element in 0..tensor.elements() {
                let raw = raws(index, element).clamp(least, most);
                let at = tensor.wire_index(element) * tensor.element_bytes();
                own[at..at + tensor.element_bytes()].copy_from_slice(&raw.to_le_bytes()[..tensor.element_bytes()]);
            }
            body = rest;
        }
    }

    fn registers(&self, facts: &BufferFacts, lines: &mut [u8]) {
        let r = &facts.registers;
        let [exposure, gain, frame, line] =
            [r.exposure_lines, r.gain_code, r.frame_length_lines, r.line_length_clocks].map(u16::to_be_bytes);
        let (first, second) = lines.split_at_mut(self.layout.register_stride());
        let mut tags = Tags::begin(first);
        tags.run(0x0005, &[facts.frame_count]);
        tags.run(0x013A, &[r.temperature_raw as u8]);
        tags.run(0x0202, &[exposure[0], exposure[1], gain[0], gain[1]]);
        tags.end();
        let mut tags = Tags::begin(second);
        tags.run(0x0340, &[frame[0], frame[1], line[0], line[1]]);
        tags.end();
    }
}

/// One register line in the making: pairs of tag and data, with a 0x55 in every fifth byte.
struct Tags<'a> {
    line: &'a mut [u8],
    at: usize,
}

impl<'a> Tags<'a> {
    fn begin(line: &'a mut [u8]) -> Self {
        let mut tags = Self { line, at: 0 };
        tags.byte(0x0A);
        tags
    }

    fn byte(&mut self, byte: u8) {
        if self.at % 5 == 4 {
            self.line[self.at] = 0x55;
            self.at += 1;
        }
        self.line[self.at] = byte;
        self.at += 1;
    }

    fn run(&mut self, address: u16, values: &[u8]) {
        let [high, low] = address.to_be_bytes();
        for byte in [0xAA, high, 0xA5, low] {
            self.byte(byte);
        }
        for &value in values {
            self.byte(0x5A);
            self.byte(value);
        }
    }

    /// Fills the rest of the line with end tags.
    fn end(mut self) {
        while self.at < self.line.len() {
            if self.at % 5 == 4 {
                self.line[self.at] = 0x55;
                self.at += 1;
            } else {
                self.line[self.at] = 0x07;
                self.at += 1;
            }
        }
    }
}
