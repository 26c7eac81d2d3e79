//! Views of tensor bodies. The bytes are a continuous stream over the useful part of each line; a view knows how to find
//! an element in it and was checked to lie inside the buffer.

use super::network::{InputTensor, NetworkDescription, OutputTensor};
use super::package::{Normalisation, PlaneOrder};
use super::picture::Kernels;
use super::{LINE_BYTES, Malformed, ParseError, region};

/// A stream of bytes laid over lines.
#[derive(Clone, Copy, Debug)]
struct Lines<'a> {
    /// From the first byte of the first line to the last byte of the stream.
    bytes: &'a [u8],
    line_bytes: usize,
}

impl<'a> Lines<'a> {
    /// Checks that `len` stream bytes from DNN line `line` on lie inside `dnn`.
    fn new(dnn: &'a [u8], line: usize, len: usize, line_bytes: usize) -> Result<Self, ParseError> {
        let whole_lines = (len - 1) / line_bytes;
        let span = whole_lines * LINE_BYTES + (len - whole_lines * line_bytes);
        Ok(Self { bytes: region(dnn, line * LINE_BYTES, span)?, line_bytes })
    }

    /// Place of stream byte `i`.
    fn place(&self, i: usize) -> usize {
        if self.line_bytes == LINE_BYTES { i } else { i / self.line_bytes * LINE_BYTES + i % self.line_bytes }
    }

    /// `len` stream bytes from `start` on, which stand on one line.
    fn run(&self, start: usize, len: usize) -> &'a [u8] {
        let place = self.place(start);
        &self.bytes[place..place + len]
    }

    /// Stream bytes from `start` to the end of its line; to the end of all when the lines have no gaps.
    fn run_bytes(&self, start: usize) -> usize {
        if self.line_bytes == LINE_BYTES { usize::MAX } else { self.line_bytes - start % self.line_bytes }
    }

    /// Copies stream bytes from `start` on, line by line.
    fn copy(&self, start: usize, target: &mut [u8]) {
        let mut done = 0;
        while done < target.len() {
            let i = start + done;
            let run = (self.line_bytes - i % self.line_bytes).min(target.len() - done);
            let place = self.place(i);
            target[done..done + run].copy_from_slice(&self.bytes[place..place + run]);
            done += run;
        }
    }
}

/// The picture that the network saw, as it lies in the buffer.
#[derive(Clone, Copy, Debug)]
pub struct InputView<'a> {
    /// Its shape.
    pub tensor: InputTensor,
    lines: Lines<'a>,
}

impl<'a> InputView<'a> {
    pub(super) fn new(
        dnn: &'a [u8],
        tensor: InputTensor,
        body_line: usize,
        line_bytes: u16,
    ) -> Result<Self, ParseError> {
        let lines = Lines::new(dnn, body_line, tensor.wire_bytes(), usize::from(line_bytes))?;
        Ok(Self { tensor, lines })
    }

    /// Copies the planes without padding: byte `(c × height + y) × width + x` is sample x, y of channel c.
    ///
    /// # Panics
    /// When `target` has not exactly `tensor.bytes()` bytes.
    pub fn copy_planes(&self, target: &mut [u8]) {
        let t = &self.tensor;
        assert_eq!(target.len(), t.bytes(), "planes of {}x{}x{}", t.width, t.height, t.channels);
        for (row, samples) in target.chunks_exact_mut(t.width).enumerate() {
            let (plane, y) = (row / t.height, row % t.height);
            self.lines.copy((plane * t.rows + y) * t.row_bytes, samples);
        }
    }

    /// The picture that the network saw, as RGB: `[height][width][red, green, blue]`. A single channel gives grey, of four the
    /// fourth is left out.
    ///
    /// `normalisation`: the package's; without a package [`Normalisation::of_tensor`]. Cost: one pass over the tensor.
    ///
    /// # Panics
    /// When `rgb` has not exactly `tensor.rgb_bytes()` bytes.
    pub fn copy_rgb(&self, normalisation: &Normalisation, kernels: &Kernels, rgb: &mut [u8]) {
        let t = &self.tensor;
        assert_eq!(rgb.len(), t.rgb_bytes(), "RGB of {}x{}", t.width, t.height);
        // Without padding a plane is one long row.
        let (width, rows) = if t.row_bytes == t.width { (t.width * t.height, 1) } else { (t.width, t.height) };
        for (y, target) in rgb.chunks_exact_mut(3 * width).enumerate().take(rows) {
            let starts = t.plane_indices().map(|plane| (plane * t.rows + y) * t.row_bytes);
            let mut done = 0;
            while done < width {
                let on_line = starts.map(|start| self.lines.run_bytes(start + done));
                let run = on_line[0].min(on_line[1]).min(on_line[2]).min(width - done);
                let planes = starts.map(|start| self.lines.run(start + done, run));
                normalisation.planes_to_rgb(planes, kernels, &mut target[3 * done..3 * (done + run)]);
                done += run;
            }
        }
    }
}

impl InputTensor {
    /// Bytes of the picture as RGB.
    pub const fn rgb_bytes(&self) -> usize {
        self.width * self.height * 3
    }

    /// Which planes are shown: all three, or the only one for each colour.
    const fn plane_indices(&self) -> [usize; 3] {
        if self.channels < 3 { [0; 3] } else { [0, 1, 2] }
    }

    /// As [`InputView::copy_rgb`], from planes that [`InputView::copy_planes`] wrote.
    ///
    /// # Panics
    /// When `planes` or `rgb` have not exactly [`bytes`](Self::bytes) and [`rgb_bytes`](Self::rgb_bytes) bytes.
    pub fn planes_to_rgb(&self, planes: &[u8], normalisation: &Normalisation, kernels: &Kernels, rgb: &mut [u8]) {
        assert_eq!(planes.len(), self.bytes(), "planes of {}x{}x{}", self.width, self.height, self.channels);
        assert_eq!(rgb.len(), self.rgb_bytes(), "RGB of {}x{}", self.width, self.height);
        let pixels = self.width * self.height;
        let three = self.plane_indices().map(|plane| &planes[plane * pixels..(plane + 1) * pixels]);
        normalisation.planes_to_rgb(three, kernels, rgb);
    }
}

impl Normalisation {
    /// The usual constants, for a tensor whose package is not at hand: red first, signed or unsigned as it says.
    pub const fn of_tensor(tensor: &InputTensor) -> Self {
        let norm_val = if tensor.signed { [-2048; 3] } else { [0; 3] };
        Self { order: PlaneOrder::Rgb, norm_val, div_val: [0x0400; 3], signed: tensor.signed }
    }

    /// Picture values of three planes in the tensor's order, woven into RGB. Planes and a third of `rgb` have the same length;
    /// beyond the shortest nothing is written.
    pub fn planes_to_rgb(&self, planes: [&[u8]; 3], kernels: &Kernels, rgb: &mut [u8]) {
        let [first, second, third] = planes;
        let planes = match self.order {
            PlaneOrder::Rgb => [first, second, third],
            PlaneOrder::Bgr => [third, second, first],
        };
        match self.offset() {
            Some(offset) => (kernels.weave)(planes, offset, rgb),
            None => {
                (kernels.weave)(planes, 0, rgb);
                // Constants of each plane of the tensor, for red, green and blue.
                let indices = if self.order == PlaneOrder::Rgb { [0, 1, 2] } else { [2, 1, 0] };
                for pixel in rgb.chunks_exact_mut(3) {
                    for (value, plane) in pixel.iter_mut().zip(indices) {
                        *value = self.picture_value(plane, *value);
                    }
                }
            }
        }
    }
}

/// One output tensor as it lies in the buffer.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Its shape and scale.
    pub tensor: &'a OutputTensor,
    /// DNN line that it begins on.
    pub first_line: usize,
    lines: Lines<'a>,
    // Asked for with every element.
    len: usize,
    in_order: bool,
}

impl<'a> TensorView<'a> {
    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never true: the parser refuses empty tensors.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Raw integer of element `index`; the first dimension varies fastest. Exact for all types.
    ///
    /// # Panics
    /// When `index` is not below `len()`.
    pub fn raw(&self, index: usize) -> i64 {
        assert!(index < self.len(), "element {index} of {}", self.len());
        let wire_index = if self.in_order { index } else { self.tensor.wire_index(index) };
        self.raw_on_wire(wire_index)
    }

    /// Value of element `index`: (raw − shift) × scale, the difference exact, then rounded to `f32`, then multiplied.
    ///
    /// # Panics
    /// As [`raw`](Self::raw).
    pub fn value(&self, index: usize) -> f32 {
        self.dequantise(self.raw(index))
    }

    /// The bytes of all elements, little-endian, when they lie in the order of the result and without gaps: the fast way
    /// for large tensors. True for all real networks over CSI-2.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        (self.in_order && self.lines.line_bytes == LINE_BYTES).then_some(self.lines.bytes)
    }

    /// All raw integers in the order of the result.
    pub fn raws(&self) -> impl Iterator<Item = i64> + '_ {
        let in_order = self.in_order;
        (0..self.len()).map(move |i| self.raw_on_wire(if in_order { i } else { self.tensor.wire_index(i) }))
    }

    /// All values in the order of the result.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.raws().map(|raw| self.dequantise(raw))
    }

    fn dequantise(&self, raw: i64) -> f32 {
        (raw - i64::from(self.tensor.shift)) as f32 * self.tensor.scale
    }

    fn raw_on_wire(&self, wire_index: usize) -> i64 {
        let size = self.tensor.element_bytes();
        let place = self.lines.place(wire_index * size);
        let element = &self.lines.bytes[place..place + size];
        match (element, self.tensor.signed) {
            (&[a], false) => i64::from(a),
            (&[a], true) => i64::from(a as i8),
            (&[a, b], false) => i64::from(u16::from_le_bytes([a, b])),
            (&[a, b], true) => i64::from(i16::from_le_bytes([a, b])),
            (&[a, b, c, d], false) => i64::from(u32::from_le_bytes([a, b, c, d])),
            (&[a, b, c, d], true) => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => unreachable!("elements have 1, 2 or 4 bytes"),
        }
    }
}

/// All output tensors of one buffer.
#[derive(Clone, Copy, Debug)]
pub struct OutputView<'a> {
    /// What they are.
    pub network: &'a NetworkDescription,
    dnn: &'a [u8],
    body_line: usize,
    line_bytes: usize,
}

impl<'a> OutputView<'a> {
    /// Checks that every tensor lies inside `dnn`.
    pub(super) fn new(
        dnn: &'a [u8],
        network: &'a NetworkDescription,
        body_line: usize,
        line_bytes: u16,
    ) -> Result<Self, ParseError> {
        let view = Self { network, dnn, body_line, line_bytes: usize::from(line_bytes) };
        for (tensor, line) in view.places() {
            view.lines(tensor, line)?;
        }
        Ok(view)
    }

    /// A view of tensors that lie in `lines` from the first byte on, each from a new line of [`LINE_BYTES`] on, of which the
    /// first `line_bytes` count (2560 over CSI-2): for trying a post-processing without a sensor.
    ///
    /// # Errors
    /// The tensors are impossible, or leave `lines`.
    pub fn over(network: &'a NetworkDescription, lines: &'a [u8], line_bytes: u16) -> Result<Self, ParseError> {
        if !(1..=LINE_BYTES).contains(&usize::from(line_bytes)) {
            return Err(ParseError::new(0, Malformed::LineLength(line_bytes)));
        }
        network.check_outputs()?;
        network.check_line_bytes(line_bytes)?;
        Self::new(lines, network, 0, line_bytes)
    }

    /// Number of tensors, at least 1.
    pub fn len(&self) -> usize {
        self.network.outputs.len()
    }

    /// Never true: the parser refuses networks without outputs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tensor `index`, in the order of the wire.
    pub fn get(&self, index: usize) -> Option<TensorView<'a>> {
        self.tensors().nth(index)
    }

    /// All tensors in the order of the wire.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'a>> + use<'a> {
        let view = *self;
        view.places().filter_map(move |(tensor, first_line)| {
            // `new` checked every one of them.
            view.lines(tensor, first_line).ok().map(|lines| {
                let in_order = tensor.is_in_order();
                TensorView { tensor, first_line, lines, len: tensor.elements(), in_order }
            })
        })
    }

    fn places(&self) -> impl Iterator<Item = (&'a OutputTensor, usize)> + use<'a> {
        let line_bytes = self.line_bytes;
        self.network.outputs.iter().scan(self.body_line, move |line, tensor| {
            let first = *line;
            *line += tensor.lines(line_bytes);
            Some((tensor, first))
        })
    }

    fn lines(&self, tensor: &OutputTensor, first_line: usize) -> Result<Lines<'a>, ParseError> {
        Lines::new(self.dnn, first_line, tensor.elements() * tensor.element_bytes(), self.line_bytes)
    }
}
