//! Metadata buffers that are made here: the parser reads back what the encoder wrote, whole and as a recording keeps it,
//! and apParams that are written describe the same network.

mod common;

use kinora::imx500::{
    BufferFacts, Cut, Encoder, Form, Kept, Kpi, Layout, Malformed, NetworkDescription, ParseError, Parser, Registers,
    buffer_bytes, kept_bytes_max,
};

const LAYOUTS: [Layout; 4] = [
    Layout { width: 2028, strided: true },
    Layout { width: 2028, strided: false },
    Layout { width: 4056, strided: true },
    Layout { width: 4056, strided: false },
];

const FACTS: BufferFacts = BufferFacts {
    registers: Registers { temperature_raw: -7, ..Registers::USUAL },
    frame_count: 254,
    kpi: Kpi { dnn_runtime: 23_000, dsp_runtime: 1_000 },
};

/// apParams of real packages, by name; none without the shared files.
fn real_params() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = common::shared("imx500/networks/apparams") else { return Vec::new() };
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() >= 13, "{} apParams", found.len());
    found
}

/// A number that looks random.
fn noise(a: usize, b: usize) -> i64 {
    let mut z = (a as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 16) as i64
}

/// A raw value that fits the tensor.
fn fitting(network: &NetworkDescription, tensor: usize, element: usize) -> i64 {
    let tensor_is = &network.outputs[tensor];
    let raw = noise(tensor, element) & ((1 << tensor_is.bits) - 1);
    if tensor_is.signed { raw - (1 << (tensor_is.bits - 1)) } else { raw }
}

#[test]
fn written_params_describe_the_same_network() {
    for (name, params) in real_params() {
        let network = NetworkDescription::parse(&params, 0).unwrap();
        let written = network.to_params().unwrap();
        assert_eq!(written.len() % 16, 0, "{name}");
        assert_eq!(NetworkDescription::parse(&written, 0).unwrap(), network, "{name}");
    }
}

#[test]
fn the_parser_reads_what_the_encoder_wrote_in_every_layout() {
    for (name, params) in real_params() {
        let network = NetworkDescription::parse(&params, 0).unwrap();
        let planes: Vec<u8> = (0..network.input.bytes()).map(|i| noise(99, i) as u8).collect();
        for layout in LAYOUTS {
            let encoder = Encoder::new(layout, &network, &params);
            let mut buffer = vec![0xEE; encoder.buffer_bytes()];
            let mut raws = |tensor, element| fitting(&network, tensor, element);
            encoder.encode(&FACTS, Some(&planes), Some(&mut raws), &mut buffer);
            assert_eq!(buffer_bytes(&buffer, layout), Some(buffer.len()), "{name}");
            let mut parser = Parser::new(layout);
            assert_eq!(parser.registers(&buffer), Ok(FACTS.registers), "{name} {layout:?}");
            let whole = parser.inference(&buffer).unwrap().unwrap();
            assert_eq!((whole.input_header.frame_count, whole.kpi), (254, FACTS.kpi), "{name} {layout:?}");
            let mut read = vec![0; planes.len()];
            whole.input.unwrap().copy_planes(&mut read);
            assert!(read == planes, "{name} {layout:?}: the picture differs");
            for (index, tensor) in whole.output.unwrap().tensors().enumerate() {
                let right = tensor.raws().enumerate().all(|(i, raw)| raw == fitting(&network, index, i));
                assert!(right, "{name} {layout:?}: tensor {index}");
            }
        }
    }
}

/// The section that a recording keeps of `buffer`.
fn section(parser: &Parser, buffer: &[u8], layout: Layout, form: Form) -> Vec<u8> {
    let cut = Cut::new(buffer, layout, form, parser.output_lines());
    let mut section = vec![0; cut.len()];
    cut.write(&mut section);
    section
}

#[test]
fn kept_bytes_give_the_same_results_as_the_whole_buffer() {
    for (name, params) in real_params() {
        let network = NetworkDescription::parse(&params, 0).unwrap();
        let planes = vec![7; network.input.bytes()];
        for layout in LAYOUTS {
            let encoder = Encoder::new(layout, &network, &params);
            let mut buffer = vec![0xEE; encoder.buffer_bytes()];
            let mut raws = |tensor, element| fitting(&network, tensor, element);
            encoder.encode(&FACTS, Some(&planes), Some(&mut raws), &mut buffer);
            let mut parser = Parser::new(layout);
            parser.inference(&buffer).unwrap();
            let output_lines = parser.output_lines().unwrap().1 as u16;
            for form in [Form::Full, Form::Results] {
                let section = section(&parser, &buffer, layout, form);
                assert_eq!(section.len(), kept_bytes_max(form, layout, buffer.len(), output_lines), "{name}");
                if (name.as_str(), layout, form) == ("ssd_mobilenetv2_fpnlite_320x320_pp", LAYOUTS[0], Form::Results) {
                    assert_eq!((buffer.len(), section.len()), (337_824, 23_024));
                }
                let kept = Kept::parse(&section).unwrap();
                assert_eq!((kept.layout, kept.form, kept.buffer_bytes as usize), (layout, form, buffer.len()));
                // Another parser, that knows nothing, as a program that opens the recording.
                let mut offline = Parser::new(LAYOUTS[0]);
                let inference = offline.kept(&kept).unwrap().unwrap();
                assert_eq!(inference.input.is_some(), form == Form::Full, "{name}");
                for (index, tensor) in inference.output.unwrap().tensors().enumerate() {
                    assert!(tensor.raws().enumerate().all(|(i, raw)| raw == fitting(&network, index, i)), "{name}");
                }
                assert_eq!(Registers::parse(kept.bytes, kept.layout), Ok(FACTS.registers));
            }
        }
    }
}

fn small() -> (NetworkDescription, Vec<u8>) {
    let Some((_, params)) = real_params().into_iter().find(|(name, _)| name == "mobilenet_v2") else {
        return (no_network(), Vec::new());
    };
    (NetworkDescription::parse(&params, 0).unwrap(), params)
}

fn no_network() -> NetworkDescription {
    let input = kinora::imx500::InputTensor {
        width: 4,
        height: 2,
        channels: 1,
        row_bytes: 4,
        rows: 2,
        signed: false,
        shift: 0,
        scale: 1.0,
    };
    NetworkDescription { id: 0, name: Default::default(), input, outputs: Default::default() }
}

#[test]
fn a_result_that_is_not_valid_keeps_its_header_only_and_says_so_again() {
    let (network, params) = small();
    if params.is_empty() {
        return;
    }
    let layout = LAYOUTS[1];
    let encoder = Encoder::new(layout, &network, &params);
    let mut buffer = vec![0; encoder.buffer_bytes()];
    encoder.encode(&FACTS, Some(&vec![1; network.input.bytes()]), None, &mut buffer);
    let mut parser = Parser::new(layout);
    let line = parser.inference(&buffer).unwrap().unwrap().output_header.line;
    let cut = Cut::new(&buffer, layout, Form::Results, Some((line, 1)));
    let mut section = vec![0; cut.len()];
    cut.write(&mut section);
    assert_eq!(section.len(), 16 + layout.dnn_offset() + 3 * 2560);
    let kept = Kept::parse(&section).unwrap();
    let mut offline = Parser::new(layout);
    let inference = offline.kept(&kept).unwrap().unwrap();
    assert!(inference.input_header.is_valid() && !inference.output_header.is_valid() && inference.output.is_none());
}

#[test]
fn a_damaged_or_foreign_section_is_an_error_with_its_offset() {
    let (network, params) = small();
    if params.is_empty() {
        return;
    }
    let layout = LAYOUTS[0];
    let encoder = Encoder::new(layout, &network, &params);
    let mut buffer = vec![0; encoder.buffer_bytes()];
    encoder.encode(&FACTS, None, Some(&mut |_, _| 1), &mut buffer);
    let mut parser = Parser::new(layout);
    parser.inference(&buffer).unwrap();
    let section = section(&parser, &buffer, layout, Form::Results);
    let error = |bytes: &[u8]| Kept::parse(bytes).unwrap_err();
    assert_eq!(error(&section[..15]), ParseError { offset: 0, kind: Malformed::Cut { needed: 16 } });
    for (at, byte) in [(0, b'X'), (4, 0), (4, 3), (7, 0xFF)] {
        let mut wrong = section.clone();
        wrong[at] = byte;
        assert_eq!(error(&wrong), ParseError { offset: at & !1, kind: Malformed::Kept }, "byte {at}");
    }
    // Any cut of the sensor's bytes is an error or a buffer without a result, never a wrong one.
    for cut in (16..section.len()).step_by(97) {
        let kept = Kept::parse(&section[..cut]).unwrap();
        let mut parser = Parser::new(layout);
        if let Ok(Some(inference)) = parser.kept(&kept) {
            let output = inference.output.unwrap();
            assert!(output.tensors().all(|tensor| tensor.raws().all(|raw| raw == 1)), "cut at {cut}");
        }
    }
}
