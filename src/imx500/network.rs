//! What apParams say about one network, checked and in fixed memory.

use heapless::Vec;

use super::flat::{Flat, Table};
use super::{Malformed, ParseError};

/// Networks in one package; real ones have 1. Capped before a vector is walked: 249 × 249 × 249 tables would fit.
const NETWORKS_MAX: usize = 8;
/// Output tensors of one network; real ones have up to 4.
const TENSORS_MAX: usize = 16;
/// Dimensions of one tensor; real ones have up to 3.
const DIMENSIONS_MAX: usize = 4;
/// Elements of one tensor; the raw nanodet head has 402,976, yolo's input 1,228,800.
const ELEMENTS_MAX: usize = 1 << 22;
/// Bytes of a name that are kept; the sensor's tool cuts tensor names at 20.
const NAME_BYTES_MAX: usize = 64;

/// One axis of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dimension {
    /// Elements along it, at least 1.
    pub size: u16,
    /// Its place on the wire: 0 varies fastest.
    pub serialization: u8,
    /// Elements after the good ones, on the wire only; 0 for outputs.
    pub padding: u8,
}

/// The picture that the network sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputTensor {
    /// Pixels in a row, `1..=1280`.
    pub width: usize,
    /// Rows, `1..=960`.
    pub height: usize,
    /// Planes: 1, 3 or 4.
    pub channels: usize,
    /// Bytes of a row on the wire.
    pub row_bytes: usize,
    /// Rows of a plane on the wire.
    pub rows: usize,
    /// True when the network's samples are signed.
    pub signed: bool,
    /// Subtracted from the raw value.
    pub shift: u16,
    /// Then multiplied by this.
    pub scale: f32,
}

impl InputTensor {
    /// Three planes of signed samples in 1/128, without padding: what most networks take.
    pub const fn usual(width: usize, height: usize) -> Self {
        Self { width, height, channels: 3, row_bytes: width, rows: height, signed: true, shift: 0, scale: 1.0 / 128.0 }
    }

    /// Bytes on the wire, padding included.
    pub const fn wire_bytes(&self) -> usize {
        self.row_bytes * self.rows * self.channels
    }

    /// Bytes of the picture, padding removed, plane after plane.
    pub const fn bytes(&self) -> usize {
        self.width * self.height * self.channels
    }
}

/// One thing that the network says.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// Name in the graph, its last 20 characters; bytes that are not ASCII are `?`.
    pub name: heapless::String<NAME_BYTES_MAX>,
    /// Axes; in results the first varies fastest.
    pub dimensions: Vec<Dimension, DIMENSIONS_MAX>,
    /// Bits of an element: 8, 16 or 32.
    pub bits: u8,
    /// True when elements are signed.
    pub signed: bool,
    /// Subtracted from the raw value.
    pub shift: u16,
    /// Then multiplied by this.
    pub scale: f32,
}

impl OutputTensor {
    /// Number of elements, `1..=4,194,304`.
    pub fn elements(&self) -> usize {
        self.dimensions.iter().map(|d| usize::from(d.size)).product()
    }

    /// Bytes of an element: 1, 2 or 4.
    pub const fn element_bytes(&self) -> usize {
        self.bits as usize / 8
    }

    /// Lines that it takes when each has `line_bytes` useful bytes.
    pub fn lines(&self, line_bytes: usize) -> usize {
        (self.elements() * self.element_bytes()).div_ceil(line_bytes)
    }

    /// True when its sizes, order and element type are ones that apParams could give.
    fn is_possible(&self) -> bool {
        let count = self.dimensions.len();
        let places = (0..count).all(|place| self.dimensions.iter().any(|d| usize::from(d.serialization) == place));
        let sizes = self.dimensions.iter().map(|d| usize::from(d.size));
        let elements = sizes.fold(1_usize, usize::saturating_mul);
        let element = [8, 16, 32].contains(&self.bits) && self.scale.is_finite();
        count > 0 && places && (1..=ELEMENTS_MAX).contains(&elements) && element
    }

    /// True when the wire's order is the result's order, so that no element moves.
    pub fn is_in_order(&self) -> bool {
        self.dimensions.iter().enumerate().all(|(i, d)| usize::from(d.serialization) == i)
    }

    /// Where element `index` of the result lies on the wire: there the axis with serialization 0 varies fastest.
    pub(super) fn wire_index(&self, index: usize) -> usize {
        let axes = &self.dimensions;
        let (mut rest, mut wire) = (index, 0);
        for axis in axes {
            let coordinate = rest % usize::from(axis.size);
            rest /= usize::from(axis.size);
            let faster = axes.iter().filter(|other| other.serialization < axis.serialization);
            wire += coordinate * faster.map(|other| usize::from(other.size)).product::<usize>();
        }
        wire
    }
}

/// One network's tensors. Holding it proves that every size is in range and every product was computed without overflow.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkDescription {
    /// Its number in the headers.
    pub id: u16,
    /// Its name; bytes that are not ASCII are `?`.
    pub name: heapless::String<NAME_BYTES_MAX>,
    /// The picture that it sees.
    pub input: InputTensor,
    /// What it says, in the order of the wire.
    pub outputs: Vec<OutputTensor, TENSORS_MAX>,
}

impl NetworkDescription {
    /// Finds network `id` in apParams and checks it.
    ///
    /// # Errors
    /// The FlatBuffer is damaged, the network is described never or twice, or its tensors are impossible. Offsets count
    /// from the start of `params`.
    pub fn parse(params: &[u8], id: u16) -> Result<Self, ParseError> {
        let flat = Flat(params);
        let mut found = None;
        let mut all_read = Ok(());
        for table in flat.tables(flat.root()?, 4, NETWORKS_MAX)? {
            let table = table?;
            let network = parse_network(flat, table);
            if flat.u16(table, 4)? == id {
                if found.is_some() {
                    return Err(ParseError::new(table, Malformed::NetworkId(id)));
                }
                found = Some(network?);
            } else if let Err(ParseError { kind: Malformed::FlatBuffer | Malformed::TooMany, .. }) = &network {
                // Another network may be impossible; damage is damage wherever it stands.
                all_read = network.map(|_| ());
            }
        }
        all_read?;
        found.ok_or(ParseError::new(0, Malformed::NetworkId(id)))
    }

    /// The DNN line of the output header, after the input tensor's lines.
    pub fn output_line(&self, line_bytes: usize) -> usize {
        2 + self.input.wire_bytes().div_ceil(line_bytes)
    }

    /// Checks outputs that did not come out of [`parse`](Self::parse).
    pub(super) fn check_outputs(&self) -> Result<(), ParseError> {
        let possible = !self.outputs.is_empty() && self.outputs.iter().all(OutputTensor::is_possible);
        if possible { Ok(()) } else { Err(ParseError::new(0, Malformed::Dimensions)) }
    }

    /// Checks that no element straddles two lines of `line_bytes` useful bytes.
    pub(super) fn check_line_bytes(&self, line_bytes: u16) -> Result<(), ParseError> {
        let fits = |t: &OutputTensor| usize::from(line_bytes) % t.element_bytes() == 0;
        if self.outputs.iter().all(fits) { Ok(()) } else { Err(ParseError::new(2, Malformed::LineLength(line_bytes))) }
    }

    /// Elements of all outputs together.
    pub fn output_elements(&self) -> usize {
        self.outputs.iter().map(OutputTensor::elements).sum()
    }
}

fn parse_network(flat: Flat<'_>, table: Table) -> Result<NetworkDescription, ParseError> {
    let id = flat.u16(table, 4)?;
    let name = text(flat.text(table, 6)?);
    flat.text(table, 8)?;
    let (mut inputs, mut input_count) = (None, 0);
    for tensor in flat.tables(table, 10, 1)? {
        inputs = Some(parse_input(flat, tensor?)?);
        input_count += 1;
    }
    let mut outputs = Vec::new();
    for tensor in flat.tables(table, 12, TENSORS_MAX)? {
        // `tables` gave at most `TENSORS_MAX`.
        let _ = outputs.push(parse_output(flat, tensor?)?);
    }
    let input = inputs.ok_or(ParseError::new(table, Malformed::TensorCount(input_count)))?;
    if outputs.is_empty() {
        return Err(ParseError::new(table, Malformed::TensorCount(0)));
    }
    Ok(NetworkDescription { id, name, input, outputs })
}

fn parse_input(flat: Flat<'_>, tensor: Table) -> Result<InputTensor, ParseError> {
    flat.text(tensor, 6)?;
    let dimensions = parse_dimensions(flat, tensor)?;
    let scale = parse_scale(flat, tensor, 14)?;
    let axis = |place: u8| dimensions.iter().find(|d| d.serialization == place).copied();
    let (Some(w), Some(h), Some(c), 3) = (axis(0), axis(1), axis(2), dimensions.len()) else {
        return Err(ParseError::new(tensor, Malformed::Dimensions));
    };
    if w.size > 1280 || h.size > 960 || ![1, 3, 4].contains(&c.size) || c.padding != 0 {
        return Err(ParseError::new(tensor, Malformed::InputSize));
    }
    Ok(InputTensor {
        width: usize::from(w.size),
        height: usize::from(h.size),
        channels: usize::from(c.size),
        row_bytes: usize::from(w.size) + usize::from(w.padding),
        rows: usize::from(h.size) + usize::from(h.padding),
        signed: flat.u8(tensor, 16)? == 0,
        shift: flat.u16(tensor, 12)?,
        scale,
    })
}

fn parse_output(flat: Flat<'_>, tensor: Table) -> Result<OutputTensor, ParseError> {
    let name = text(flat.text(tensor, 6)?);
    let dimensions = parse_dimensions(flat, tensor)?;
    if dimensions.iter().any(|d| d.padding != 0) {
        return Err(ParseError::new(tensor, Malformed::Dimensions));
    }
    let (bits, format) = (flat.u8(tensor, 12)?, flat.u8(tensor, 18)?);
    if ![8, 16, 32].contains(&bits) || format > 1 {
        return Err(ParseError::new(tensor, Malformed::ElementType));
    }
    let (shift, scale) = (flat.u16(tensor, 14)?, parse_scale(flat, tensor, 16)?);
    Ok(OutputTensor { name, dimensions, bits, signed: format == 0, shift, scale })
}

fn parse_scale(flat: Flat<'_>, tensor: Table, slot: usize) -> Result<f32, ParseError> {
    let scale = flat.f32(tensor, slot)?;
    if scale.is_finite() { Ok(scale) } else { Err(ParseError::new(tensor, Malformed::Scale)) }
}

fn parse_dimensions(flat: Flat<'_>, tensor: Table) -> Result<Vec<Dimension, DIMENSIONS_MAX>, ParseError> {
    let wrong = ParseError::new(tensor, Malformed::Dimensions);
    let mut dimensions = Vec::new();
    let (mut ids, mut places, mut elements) = (0_u16, 0_u16, 1_usize);
    for table in flat.tables(tensor, 10, DIMENSIONS_MAX)? {
        let table = table?;
        let (id, size) = (flat.u8(table, 4)?, flat.u16(table, 6)?);
        let (serialization, padding) = (flat.u8(table, 8)?, flat.u8(table, 10)?);
        if size == 0 || id >= 16 || serialization >= 16 {
            return Err(wrong);
        }
        ids |= 1 << id;
        places |= 1 << serialization;
        elements = elements.saturating_mul(usize::from(size) + usize::from(padding));
        let _ = dimensions.push(Dimension { size, serialization, padding });
    }
    // Ids and places are permutations of 0..n exactly when n different ones below n were seen.
    let all = (1_u16 << dimensions.len()) - 1;
    let counted = usize::from(flat.u8(tensor, 8)?);
    if dimensions.is_empty() || counted != dimensions.len() || ids != all || places != all || elements > ELEMENTS_MAX {
        return Err(wrong);
    }
    Ok(dimensions)
}

fn text(bytes: &[u8]) -> heapless::String<NAME_BYTES_MAX> {
    let mut string = heapless::String::new();
    for &byte in bytes.iter().take(NAME_BYTES_MAX) {
        let shown = if byte.is_ascii() && !byte.is_ascii_control() { char::from(byte) } else { '?' };
        let _ = string.push(shown);
    }
    string
}
