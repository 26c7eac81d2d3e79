//! Metadata buffers of an IMX500, with and without a package that says what to expect, through parser, lock-step and every
//! post-processing that their tensors fit.
//!
//! Byte 0: bit 0 strided, bit 1 width 4056 (else 64, of 80 bytes a register line), bit 2 a package's input lines follow in
//! two bytes, bit 3 the buffers are written line by line. Line by line: a u16 length and that many bytes, filled up with
//! zeros to a whole line; the first two are register lines. Else the bytes are the buffer.

use kinora::Results;
use kinora::imx500::decode::{PostName, PostProcess, PostSettings, Target};
use kinora::imx500::{Inference, LINE_BYTES, Layout, LockStep, OutputView, Parser};

/// Largest buffer that is made.
const BYTES_MAX: usize = 1 << 20;

/// Parses the buffer with a fresh parser and again with one that knows it; both must say the same.
pub fn check(bytes: &[u8]) {
    let Some((&flags, mut rest)) = bytes.split_first() else { return };
    let layout = Layout { width: if flags & 2 == 0 { 64 } else { 4056 }, strided: flags & 1 != 0 };
    let mut parser = Parser::new(layout);
    if flags & 4 != 0 {
        let Some((lines, after)) = rest.split_first_chunk() else { return };
        parser.expect_input_lines(u16::from_le_bytes(*lines));
        rest = after;
    }
    let buffer = if flags & 8 == 0 { rest.to_vec() } else { by_lines(rest, layout) };

    if let Err(error) = parser.registers(&buffer) {
        assert!(error.offset <= buffer.len(), "{error}");
    }
    let first = walk(&mut parser, &buffer);
    let again = walk(&mut parser, &buffer);
    assert_eq!(first, again, "a parser that knows the network says another thing");
    let cut = walk(&mut parser, &buffer[..buffer.len() / 2]);
    assert!(cut.is_none() || first.is_some(), "half a buffer says what the whole does not");
}

/// What came out: header counts, and a sum over all that was read.
fn walk(parser: &mut Parser, buffer: &[u8]) -> Option<(u8, bool, u64)> {
    let inference = match parser.inference(buffer) {
        Ok(inference) => inference?,
        Err(error) => {
            assert!(error.offset <= buffer.len() && !error.to_string().is_empty(), "{error}");
            return None;
        }
    };
    let Inference { input, output, .. } = inference;
    let mut sum = 0_u64;
    if let Some(input) = input {
        let mut planes = vec![0; input.tensor.bytes()];
        input.copy_planes(&mut planes);
        sum = planes.iter().map(|&byte| u64::from(byte)).sum();
        let step = LockStep::new().step(&inference, &mut planes);
        sum = sum.wrapping_add(format!("{step:?}").len() as u64);
    }
    if let Some(output) = output {
        for tensor in output.tensors() {
            assert_eq!(tensor.raws().count(), tensor.len());
            sum = tensor.raws().fold(sum, |sum, raw| sum.wrapping_mul(31).wrapping_add(raw as u64));
        }
        for post in PostName::ALL.into_iter().filter(|post| post.fits(output.network)) {
            decode(post, &output);
        }
    }
    Some((inference.input_header.frame_count, output.is_some(), sum))
}

fn decode(post: PostName, output: &OutputView<'_>) {
    let mut processor = post.make(PostSettings::default());
    let (mut results, mut side) = (Results::new(), vec![0; processor.side_bytes(output.network)]);
    if processor.decode(output, Target { results: &mut results, side: &mut side }).is_ok() {
        assert!(results.is_consistent(side.len()), "{post}");
    }
}

/// The buffer that was written line by line, up to 1 MiB.
pub fn by_lines(mut rest: &[u8], layout: Layout) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut number = 0;
    while let Some((length, after)) = rest.split_first_chunk() {
        let line_bytes = if number < 2 { layout.register_stride() } else { LINE_BYTES };
        let length = usize::from(u16::from_le_bytes(*length)).min(line_bytes).min(after.len());
        let end = buffer.len() + line_bytes;
        if end > BYTES_MAX {
            break;
        }
        buffer.extend_from_slice(&after[..length]);
        buffer.resize(end, 0);
        rest = &after[length..];
        number += 1;
    }
    buffer
}
