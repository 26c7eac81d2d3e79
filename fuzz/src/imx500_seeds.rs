//! Seed corpora of the IMX500's targets: small buffers, packages and tensors that are good, to be damaged by the fuzzer. No
//! byte of them is of a real network.

use kinora::imx500::{
    BufferFacts, Cut, Dimension, Encoder, Form, InputTensor, KEPT_HEADER_BYTES, Kpi, LINE_BYTES, Layout,
    NetworkDescription, OutputTensor, Registers,
};

/// Target, name and bytes of every seed.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, network) in networks() {
        for (variant, flags) in [("plain", 8), ("strided", 9), ("package", 12), ("full_width", 11)] {
            if flags != 8 && name != "detect" {
                continue;
            }
            seeds.push(("imx500_metadata", format!("{name}-{variant}.bin"), metadata(&network, flags, true)));
        }
        seeds.push(("imx500_package", format!("{name}.rpk"), package(&network, name)));
    }
    let (_, detect) = networks().swap_remove(0);
    let kept_as =
        |name, layout, form, result| ("imx500_kept", format!("detect-{name}.bin"), kept(&detect, layout, form, result));
    let narrow = Layout { width: 64, strided: false };
    seeds.push(kept_as("full", narrow, Form::Full, true));
    seeds.push(kept_as("results", narrow, Form::Results, true));
    seeds.push(kept_as("no_result", narrow, Form::Results, false));
    seeds.push(kept_as("strided", Layout { width: 64, strided: true }, Form::Results, true));
    seeds.push(kept_as("full_width", Layout { width: 4056, strided: true }, Form::Results, true));
    let only_registers = kept(&detect, narrow, Form::Results, true)[..80].to_vec();
    seeds.push(("imx500_kept", "registers_only.bin".into(), only_registers));
    seeds.push(("imx500_metadata", "detect-no_result.bin".into(), metadata(&detect, 8, false)));
    seeds.push(("imx500_metadata", "registers_only.bin".into(), metadata(&detect, 8, true)[..60].to_vec()));
    for post in 0..12_u8 {
        // Element types and scales of the real networks, roughly.
        let (element, exponent) = if (2..=5).contains(&post) { (0x78, 0xF9) } else { (0x40, 0xFD) };
        let raw: Vec<u8> = (0..200_u32).map(|i| (i * i * 37 + 11 * u32::from(post)) as u8).collect();
        let head = [post, 60, element, exponent, 20, 10];
        seeds.push(("imx500_heads", format!("post_{post}.bin"), [&head[..], &raw].concat()));
    }
    seeds
}

fn output(sizes: &[u16], bits: u8, signed: bool, exponent: i32) -> OutputTensor {
    let dimension = |(place, &size): (usize, &u16)| Dimension { size, serialization: place as u8, padding: 0 };
    OutputTensor {
        name: "made:0".try_into().expect("short"),
        dimensions: sizes.iter().enumerate().map(dimension).collect(),
        bits,
        signed,
        shift: 0,
        scale: 2.0_f32.powi(exponent),
    }
}

fn networks() -> Vec<(&'static str, NetworkDescription)> {
    let detect = vec![
        output(&[5, 4], 16, true, -15),
        output(&[5], 8, false, -8),
        output(&[5], 16, true, 0),
        output(&[1], 16, true, 0),
    ];
    let pose =
        vec![output(&[3, 4, 17], 8, true, -3), output(&[3, 4, 34], 8, true, -3), output(&[3, 4, 64], 8, true, 1)];
    let tags = vec![output(&[4, 17], 8, true, -4), output(&[4, 17], 32, true, 0), output(&[4, 17], 8, true, -7)];
    let mut turned = output(&[4, 6], 16, true, 0);
    turned.dimensions[0].serialization = 1;
    turned.dimensions[1].serialization = 0;
    let tensors = [
        ("detect", detect),
        ("classify", vec![output(&[10], 8, false, -8)]),
        ("posenet", pose),
        ("higherhrnet", tags),
        ("nanodet", vec![output(&[85, 34], 8, true, -3)]),
        ("segment", vec![output(&[7, 5], 16, true, 0)]),
        ("turned", vec![turned]),
    ];
    let size = |name| if name == "nanodet" { (64, 64) } else { (32, 6) };
    let network = |(name, outputs): (&'static str, Vec<OutputTensor>)| {
        let (width, height) = size(name);
        let input = InputTensor::usual(width, height);
        let outputs = outputs.into_iter().collect();
        (name, NetworkDescription { id: 0, name: name.try_into().expect("short"), input, outputs })
    };
    tensors.into_iter().map(network).collect()
}

/// One buffer as a sensor gives it.
fn buffer(network: &NetworkDescription, layout: Layout, result: bool) -> Vec<u8> {
    let params = network.to_params().expect("small");
    let encoder = Encoder::new(layout, network, &params);
    let facts = BufferFacts {
        registers: Registers::USUAL,
        frame_count: 200,
        kpi: Kpi { dnn_runtime: 12_000, dsp_runtime: 2_000 },
    };
    let mut buffer = vec![0; encoder.buffer_bytes()];
    let mut raw = |tensor: usize, element: usize| (tensor * 5 + element * 13 % 120) as i64;
    let planes: Vec<u8> = (0..network.input.bytes()).map(|i| (i % 7) as u8).collect();
    encoder.encode(&facts, Some(&planes), if result { Some(&mut raw) } else { None }, &mut buffer);
    buffer
}

/// One buffer, line by line.
fn metadata(network: &NetworkDescription, flags: u8, result: bool) -> Vec<u8> {
    let layout = Layout { width: if flags & 2 == 0 { 64 } else { 4056 }, strided: flags & 1 != 0 };
    let mut bytes = vec![flags];
    if flags & 4 != 0 {
        bytes.extend_from_slice(&(network.output_line(LINE_BYTES) as u16 - 1).to_le_bytes());
    }
    bytes.extend(by_lines(&buffer(network, layout, result), layout));
    bytes
}

/// What a recording keeps of one buffer: its header, and the rest line by line.
fn kept(network: &NetworkDescription, layout: Layout, form: Form, result: bool) -> Vec<u8> {
    let buffer = buffer(network, layout, result);
    let outputs: usize = network.outputs.iter().map(|tensor| tensor.lines(LINE_BYTES)).sum();
    let output = (network.output_line(LINE_BYTES), 1 + if result { outputs } else { 0 });
    let cut = Cut::new(&buffer, layout, form, Some(output));
    let mut section = vec![0; cut.len()];
    cut.write(&mut section);
    let (header, rest) = section.split_at(KEPT_HEADER_BYTES);
    [&[1], header, &by_lines(rest, layout)].concat()
}

/// Length and bytes of each line, without the zeros at its end.
fn by_lines(buffer: &[u8], layout: Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (registers, dnn) = buffer.split_at(layout.dnn_offset());
    for line in registers.chunks(layout.register_stride()).chain(dnn.chunks_exact(LINE_BYTES)) {
        let used = line.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.extend_from_slice(&(used as u16).to_le_bytes());
        bytes.extend_from_slice(&line[..used]);
    }
    bytes
}

/// A package with one block, and the archive behind it.
fn package(network: &NetworkDescription, name: &str) -> Vec<u8> {
    let params = network.to_params().expect("small");
    let mut block = vec![0; 0x60];
    block[..4].copy_from_slice(b"9464");
    for word in params.chunks_exact(4) {
        block.extend(word.iter().rev());
    }
    let size = block.len() as u32;
    block[4..8].copy_from_slice(&size.to_be_bytes());
    block.resize(block.len() + 60, 0);
    block.extend_from_slice(b"3695");

    let task = match name {
        "detect" | "nanodet" => "object detection",
        "classify" => "classification",
        "segment" | "turned" => "segmentation",
        _ => "pose estimation",
    };
    let info = format!(
        "version=020400\r\napParamSize={}\r\ninputTensorFormat=RGB\r\ninputTensorNorm_K00=0x0400\r\n\
         inputTensorNorm_K03=0x1800\r\ninputTensorNorm_K11=0x0400\r\ninputTensorNorm_K13=0x1800\r\n\
         inputTensorNorm_K22=0x0400\r\ninputTensorNorm_K23=0x1800\r\n",
        params.len()
    );
    let intrinsics = format!(
        r#"{{"task": "{task}", "inference_rate": 30.0, "cpu": {{"bbox_order": "yx", "softmax": false}}, "classes": {{"labels":
        ["a", "-", "\u00e9"], "ignore_undefined": true}}, "input_aspect_ratio": {{"width": 1, "height": 1}}}}"#
    );
    let lines = |address: u16, lines: usize| {
        let [a, b] = address.to_le_bytes();
        let [c, d, e, f] = (lines as u32).to_le_bytes();
        [a, b, 2, c, d, e, f]
    };
    let outputs: usize = network.outputs.iter().map(|tensor| tensor.lines(LINE_BYTES)).sum();
    let registers = [lines(0x305E, network.output_line(LINE_BYTES) - 1), lines(0x3060, 1 + outputs)].concat();
    for (name, data) in [
        ("network_info.txt", info.as_bytes()),
        ("imx500_regs", &registers),
        ("network_intrinsics", intrinsics.as_bytes()),
        ("TRAILER!!!", b""),
    ] {
        let mut entry = format!("070701{}{:08X}{}", "0".repeat(48), data.len(), "0".repeat(32));
        entry += &format!("{:08X}{:08X}{name}\0", name.len() + 1, 0);
        block.extend_from_slice(entry.as_bytes());
        // Names and data end on whole words, counted from the archive's beginning, which is one itself.
        block.resize(block.len().next_multiple_of(4), 0);
        block.extend_from_slice(data);
        block.resize(block.len().next_multiple_of(4), 0);
    }
    block
}
