//! Networks and tensors made by hand, for post-processings without a sensor.
#![allow(dead_code, reason = "each test takes what it needs")]

#[path = "random.rs"]
mod random;

pub use random::Random;

use kinora::imx500::{Dimension, InputTensor, LINE_BYTES, NetworkDescription, OutputTensor};

/// Shape and type of one tensor to be made.
#[derive(Clone, Debug)]
pub struct Shape {
    pub sizes: Vec<u16>,
    pub bits: u8,
    pub signed: bool,
    pub scale: f32,
}

/// `shape(&[100, 4], 16, 2^-15)`: signed; negative bits are unsigned ones.
pub fn shape(sizes: &[u16], bits: i8, scale: f32) -> Shape {
    Shape { sizes: sizes.to_vec(), bits: bits.unsigned_abs(), signed: bits > 0, scale }
}

/// A network with these outputs and an input of `width` × `height`.
pub fn network(name: &str, (width, height): (usize, usize), outputs: &[Shape]) -> NetworkDescription {
    let dimension = |(place, &size): (usize, &u16)| Dimension { size, serialization: place as u8, padding: 0 };
    let output = |shape: &Shape| OutputTensor {
        name: "made".try_into().unwrap(),
        dimensions: shape.sizes.iter().enumerate().map(dimension).collect(),
        bits: shape.bits,
        signed: shape.signed,
        shift: 0,
        scale: shape.scale,
    };
    NetworkDescription {
        id: 0,
        name: name.try_into().unwrap(),
        input: InputTensor { signed: false, scale: 1.0, ..InputTensor::usual(width, height) },
        outputs: outputs.iter().map(output).collect(),
    }
}

/// Lines with the elements of all tensors, `raw(tensor, element)` each, cut to the element's size.
pub fn lines(network: &NetworkDescription, mut raw: impl FnMut(usize, usize) -> i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tensor, output) in network.outputs.iter().enumerate() {
        for element in 0..output.elements() {
            bytes.extend_from_slice(&raw(tensor, element).to_le_bytes()[..output.element_bytes()]);
        }
        bytes.resize(bytes.len().next_multiple_of(LINE_BYTES), 0xA5);
    }
    bytes
}

impl Random {
    /// From `low` to `high`, the latter not.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low) as u64) as i64
    }
}
