//! From output tensors to results, one module for each family of networks.
//!
//! A decoder takes the tensors of one buffer and fills the frame's results in place; coordinates are fractions of the
//! network's window. It allocates nothing and bounds every loop by the tensors' own, checked, sizes.

mod anomaly;
mod assignment;
mod built_in;
mod classification;
mod detection;
mod higherhrnet;
mod math;
mod nanodet;
mod posenet;
mod segmentation;

pub use anomaly::FindAnomaly;
pub use built_in::{BuiltIn, NoPost, PostName, PostSettings, UnknownPost, choose};
pub use classification::Classify;
pub use detection::{BoxOrder, Detect};
pub use higherhrnet::HigherHrnet;
pub use nanodet::Nanodet;
pub use posenet::Posenet;
pub use segmentation::Segment;

use core::fmt;

use super::network::OutputTensor;
use super::tensor::{OutputView, TensorView};
use crate::results::Results;

/// Where a decoder puts what it found: the frame's results, and its side plane for masks.
#[derive(Debug)]
pub struct Target<'a> {
    /// Filled in place; whatever was there is replaced.
    pub results: &'a mut Results,
    /// Memory for masks and heat maps; the decoder uses the first bytes of it.
    pub side: &'a mut [u8],
}

/// Why tensors cannot be decoded: they are not what this decoder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The network has fewer tensors than the decoder needs.
    TensorMissing {
        /// Index of the tensor, in the order of the wire.
        index: usize,
    },
    /// A tensor has another shape than the decoder needs.
    Shape {
        /// Index of the tensor, in the order of the wire.
        index: usize,
        /// Its elements.
        elements: usize,
    },
    /// The side plane is smaller than the mask.
    SideTooSmall {
        /// Bytes that the mask needs.
        needed: usize,
        /// Bytes that the plane has.
        capacity: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TensorMissing { index } => write!(f, "the network has no output tensor {index}"),
            Self::Shape { index, elements } => {
                write!(f, "output tensor {index} of {elements} elements has another shape than this decoder needs")
            }
            Self::SideTooSmall { needed, capacity } => {
                write!(f, "the mask needs {needed} bytes of side plane, there are {capacity}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Turns the output tensors of one kind of network into results. Implement it for a network of your own.
pub trait PostProcess: Send {
    /// Bytes of side plane that [`decode`](Self::decode) needs for a network with these tensors; 0 for most.
    fn side_bytes(&self, _network: &super::NetworkDescription) -> usize {
        0
    }

    /// Fills `target` from the tensors. Must not allocate.
    ///
    /// # Errors
    /// The tensors are not what this decoder is for; the results are then empty.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError>;
}

/// Tensor `index`, of exactly `elements` elements if given.
fn tensor<'a>(output: &OutputView<'a>, index: usize, elements: Option<usize>) -> Result<TensorView<'a>, DecodeError> {
    let view = output.get(index).ok_or(DecodeError::TensorMissing { index })?;
    match elements {
        Some(wanted) if view.len() != wanted => Err(DecodeError::Shape { index, elements: view.len() }),
        _ => Ok(view),
    }
}

/// The sizes of a tensor of exactly `N` dimensions.
fn shape<const N: usize>(tensor: &OutputTensor) -> Option<[usize; N]> {
    let sizes: heapless::Vec<usize, N> = tensor.dimensions.iter().take(N).map(|d| usize::from(d.size)).collect();
    sizes.into_array().ok().filter(|_| tensor.dimensions.len() == N)
}
