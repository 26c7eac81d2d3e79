//! Metadata buffers back to back in one file: how large is one?

use super::header::{TensorHeader, TensorType};
use super::network::NetworkDescription;
use super::{LINE_BYTES, Layout, REGISTER_BYTES_MAX};

/// Bytes of one buffer, from the first valid input header in `bytes`, which begins with a buffer.
///
/// The header of the first buffer is on its DNN line 1. When that one is not valid the next plausible header is taken whose
/// place is that of an input header in buffers of the size that it tells. `None` when there is none.
///
/// Cost: a look at every byte in the worst case.
pub fn buffer_bytes(bytes: &[u8], layout: Layout) -> Option<usize> {
    let first = layout.dnn_offset() + LINE_BYTES;
    let lines = first..bytes.len();
    lines.into_iter().find_map(|at| {
        // Cheap refusals first: valid flag, type, and a line length in range.
        if bytes[at] == 0 || bytes.get(at + 8) != Some(&0) {
            return None;
        }
        let size = told_by(&bytes[at - LINE_BYTES..])?;
        ((at - first) % size == 0).then_some(size)
    })
}

/// The size that the input header on line 1 of `dnn` tells.
fn told_by(dnn: &[u8]) -> Option<usize> {
    let header = TensorHeader::parse(dnn, 1, TensorType::Input).ok()?;
    let network = NetworkDescription::parse(header.params, header.network_id).ok()?;
    let line_bytes = usize::from(header.line_bytes);
    network.check_line_bytes(header.line_bytes).ok()?;
    let outputs: usize = network.outputs.iter().map(|tensor| tensor.lines(line_bytes)).sum();
    Some(REGISTER_BYTES_MAX + LINE_BYTES * (network.output_line(line_bytes) + 2 + outputs))
}
