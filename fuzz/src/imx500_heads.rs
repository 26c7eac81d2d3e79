//! Post-processings on tensors of any values: results fit together, keep threshold and number, and are the same the second
//! time.
//!
//! Byte 0: the post-processing. 1: a size. 2: element type. 3: exponent of the scale. 4: threshold. 5: most rows. The rest: the
//! elements, again from the start when they are used up.

use kinora::Results;
use kinora::imx500::decode::{BuiltIn, PostName, PostProcess, PostSettings, Target};
use kinora::imx500::{Dimension, InputTensor, LINE_BYTES, NetworkDescription, OutputTensor, OutputView};

/// Decodes the tensors that the bytes describe.
pub fn check(bytes: &[u8]) {
    let Some((&[post, size, element, exponent, threshold, top], raw)) = bytes.split_first_chunk() else { return };
    let post = PostName::ALL[usize::from(post) % PostName::ALL.len()];
    let network = network(post, size, element, exponent);
    assert!(post.fits(&network), "{post} {size}");
    let lines = lines(&network, raw);
    let output = OutputView::over(&network, &lines, LINE_BYTES as u16).expect("whole lines");

    let threshold = f32::from(threshold) / 255.0;
    let top = usize::from(top).max(1);
    let mut processor = post.make(PostSettings { threshold: Some(threshold), top: Some(top) });
    let first = decode(&mut processor, &output);
    assert!(first.len() <= top, "{post}: {} rows, at most {top}", first.len());
    assert!(first.confidence.iter().all(|&score| score >= threshold), "{post}: a row below {threshold}");
    let again = decode(&mut processor, &output);
    let bits = |results: &Results| results.confidence.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    assert_eq!(
        (bits(&first), &first.class_id, first.state()),
        (bits(&again), &again.class_id, again.state()),
        "{post}"
    );
}

fn decode(processor: &mut BuiltIn, output: &OutputView<'_>) -> Results {
    let (mut results, mut side) = (Results::new(), vec![0; processor.side_bytes(output.network)]);
    processor.decode(output, Target { results: &mut results, side: &mut side }).expect("it fits");
    assert!(results.is_consistent(side.len()), "{}", processor.name());
    results
}

/// A network that the post-processing fits.
fn network(post: PostName, size: u8, element: u8, exponent: u8) -> NetworkDescription {
    let n = u16::from(size);
    let (side, count) = (1 + n % 16, 1 + n);
    let sizes: Vec<Vec<u16>> = match post {
        PostName::Cls | PostName::ClsSoftmax => vec![vec![count]],
        PostName::OdBscn | PostName::OdBcsn | PostName::OdEfficientdetLite0 | PostName::OdYoloUltralytics => {
            vec![vec![count, 4], vec![count], vec![count], vec![1]]
        }
        // An input of 64 × 64 has 85 anchors.
        PostName::Nanodet => vec![vec![85, 33 + n % 5]],
        PostName::Posenet => [17, 34, 64].map(|channels| vec![side, 1 + n / 16, channels]).into(),
        PostName::HigherHrnet => [0; 3].map(|_| vec![1 + n % 30, 17]).into(),
        PostName::Segment => vec![vec![side, 1 + n / 16]],
        PostName::Anomaly => vec![vec![side, 1 + n / 16, 2]],
        _ => vec![vec![count, 3]],
    };
    let dimension = |(place, &size): (usize, &u16)| Dimension { size, serialization: place as u8, padding: 0 };
    let output = |(index, sizes): (usize, &Vec<u16>)| OutputTensor {
        name: heapless::String::new(),
        dimensions: sizes.iter().enumerate().map(dimension).collect(),
        // Each tensor has two bits of the element's byte, and the last two sign and shift.
        bits: [8, 8, 16, 32][usize::from(element >> (2 * (index % 3)) & 3)],
        signed: element & 0x40 != 0,
        shift: if element & 0x80 != 0 { 300 } else { 0 },
        scale: if index == 0 || exponent & 0x80 == 0 { 2.0_f32.powi(i32::from(exponent as i8)) } else { 1.0 },
    };
    let input = InputTensor { signed: false, scale: 1.0, ..InputTensor::usual(64, 64) };
    let outputs = sizes.iter().enumerate().map(output).collect();
    NetworkDescription { id: 0, name: heapless::String::new(), input, outputs }
}

fn lines(network: &NetworkDescription, raw: &[u8]) -> Vec<u8> {
    let mut source = raw.iter().copied().cycle();
    let mut lines = Vec::new();
    for output in &network.outputs {
        let bytes = output.elements() * output.element_bytes();
        lines.extend(source.by_ref().take(bytes));
        lines.resize((lines.len() + usize::from(raw.is_empty()) * bytes).next_multiple_of(LINE_BYTES), 0);
    }
    lines
}
