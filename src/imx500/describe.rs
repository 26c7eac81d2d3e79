//! apParams from a network's description: the inverse of [`NetworkDescription::parse`], for sensors that are simulated.
//!
//! Tables are laid out front to back, each with a vtable of its own in front of it and every field on four bytes: larger
//! than what the sensor's own tool writes, and the same to a reader of FlatBuffers. Source: the schema of apParams and the
//! FlatBuffers binary format.

use heapless::Vec;

use super::network::{InputTensor, NetworkDescription, OutputTensor};

/// Room for apParams; the sensor's limit is 996.
const PARAMS_BYTES_MAX: usize = 1008;

/// The description does not fit into apParams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptionTooLarge;

impl core::fmt::Display for DescriptionTooLarge {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the description of the network takes more than {PARAMS_BYTES_MAX} bytes of apParams")
    }
}

impl core::error::Error for DescriptionTooLarge {}

type Written<T> = Result<T, DescriptionTooLarge>;

/// One dimension as the schema has it: id, size, serialization, padding.
type Axis = (u16, u16, u16, u16);

impl NetworkDescription {
    /// apParams that describe this network, padded to 16 bytes as the sensor pads them.
    ///
    /// # Errors
    /// They would take more than 1,008 bytes.
    pub fn to_params(&self) -> Result<Vec<u8, PARAMS_BYTES_MAX>, DescriptionTooLarge> {
        let mut w = Writer(Vec::new());
        w.u32(0)?;
        let root = w.table::<1>(&[0])?;
        w.set(0, root.at);
        let networks = w.vector(root.field(0), 1)?;
        let network = w.table::<5>(&[u32::from(self.id), 0, 0, 0, 0])?;
        w.point(networks, network.at);
        w.text(network.field(1), &self.name)?;
        w.text(network.field(2), "")?;
        let inputs = w.vector(network.field(3), 1)?;
        w.input(inputs, &self.input)?;
        let outputs = w.vector(network.field(4), self.outputs.len())?;
        for (i, tensor) in self.outputs.iter().enumerate() {
            w.output(outputs + 4 * i, i, tensor)?;
        }
        let padding = w.0.len().next_multiple_of(16) - w.0.len();
        for _ in 0..padding {
            w.0.push(padding as u8).map_err(|_| DescriptionTooLarge)?;
        }
        Ok(w.0)
    }
}

/// A table that was laid out: its place, and that of its fields.
struct Table {
    at: usize,
}

impl Table {
    const fn field(&self, index: usize) -> usize {
        self.at + 4 + 4 * index
    }
}

struct Writer(Vec<u8, PARAMS_BYTES_MAX>);

impl Writer {
    fn u32(&mut self, value: u32) -> Written<()> {
        self.0.extend_from_slice(&value.to_le_bytes()).map_err(|()| DescriptionTooLarge)
    }

    /// Writes a number over four bytes that are there.
    fn set(&mut self, at: usize, value: usize) {
        self.0[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }

    /// Lets the field at `at` point to `target`, which lies behind it.
    fn point(&mut self, at: usize, target: usize) {
        self.set(at, target - at);
    }

    /// A table of `N` fields, all present; offsets are 0 until they are [`point`](Self::point)ed.
    fn table<const N: usize>(&mut self, fields: &[u32; N]) -> Written<Table> {
        let vtable = self.0.len();
        let word = |w: &mut Self, value: usize| {
            w.0.extend_from_slice(&(value as u16).to_le_bytes()).map_err(|()| DescriptionTooLarge)
        };
        word(self, 4 + 2 * N)?;
        word(self, 4 + 4 * N)?;
        for i in 0..N {
            word(self, 4 + 4 * i)?;
        }
        if self.0.len() % 4 != 0 {
            word(self, 0)?;
        }
        let at = self.0.len();
        self.u32((at - vtable) as u32)?;
        for &field in fields {
            self.u32(field)?;
        }
        Ok(Table { at })
    }

    /// A vector of `count` offsets that the field at `field` points to; the place of its first element.
    fn vector(&mut self, field: usize, count: usize) -> Written<usize> {
        self.point(field, self.0.len());
        self.u32(count as u32)?;
        let first = self.0.len();
        for _ in 0..count {
            self.u32(0)?;
        }
        Ok(first)
    }

    fn text(&mut self, field: usize, text: &str) -> Written<()> {
        self.point(field, self.0.len());
        self.u32(text.len() as u32)?;
        self.0.extend_from_slice(text.as_bytes()).map_err(|()| DescriptionTooLarge)?;
        self.0.push(0).map_err(|_| DescriptionTooLarge)?;
        while self.0.len() % 4 != 0 {
            self.0.push(0).map_err(|_| DescriptionTooLarge)?;
        }
        Ok(())
    }

    fn dimensions(&mut self, field: usize, axes: &[Axis]) -> Written<()> {
        let first = self.vector(field, axes.len())?;
        for (i, &(id, size, serialization, padding)) in axes.iter().enumerate() {
            let table = self.table::<4>(&[id, size, serialization, padding].map(u32::from))?;
            self.point(first + 4 * i, table.at);
        }
        Ok(())
    }

    fn input(&mut self, element: usize, tensor: &InputTensor) -> Written<()> {
        let format = u32::from(!tensor.signed);
        let fields = [0, 0, 3, 0, u32::from(tensor.shift), tensor.scale.to_bits(), format];
        let table = self.table::<7>(&fields)?;
        self.point(element, table.at);
        self.text(table.field(1), "input")?;
        let axis =
            |id, size: usize, serialization, stored: usize| (id, size as u16, serialization, (stored - size) as u16);
        self.dimensions(
            table.field(3),
            &[
                axis(0, tensor.height, 1, tensor.rows),
                axis(1, tensor.width, 0, tensor.row_bytes),
                axis(2, tensor.channels, 2, tensor.channels),
            ],
        )
    }

    fn output(&mut self, element: usize, id: usize, tensor: &OutputTensor) -> Written<()> {
        let fields = [
            id as u32,
            0,
            tensor.dimensions.len() as u32,
            0,
            u32::from(tensor.bits),
            u32::from(tensor.shift),
            tensor.scale.to_bits(),
            u32::from(!tensor.signed),
        ];
        let table = self.table::<8>(&fields)?;
        self.point(element, table.at);
        self.text(table.field(1), &tensor.name)?;
        let mut axes: Vec<Axis, 4> = Vec::new();
        for (i, d) in tensor.dimensions.iter().enumerate() {
            // A description has at most four dimensions.
            let _ = axes.push((i as u16, d.size, u16::from(d.serialization), u16::from(d.padding)));
        }
        self.dimensions(table.field(3), &axes)
    }
}
