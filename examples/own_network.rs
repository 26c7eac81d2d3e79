//! A network of one's own: its package, and a post-processing that nobody else has.
//!
//! `own_network NETWORK.rpk BUFFERS.bin [2028|4056] [pi4|pi5]` decodes a file of raw metadata buffers, one line each. The
//! post-processing takes any network: it reports the greatest value of each output tensor as a "class" with that tensor's
//! number, which is a start when tensors are new to you.

use std::error::Error;
use std::process::ExitCode;

use kinora::imx500::decode::{DecodeError, PostProcess, Target};
use kinora::imx500::{Layout, Network, OutputView};
use kinora::{ResultKind, Results};

/// The greatest value of each tensor.
struct Greatest;

impl PostProcess for Greatest {
    // Called for each frame: no allocation here, and no loop that the tensors' sizes do not bound.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Classifications);
        for (index, tensor) in output.tensors().enumerate() {
            let greatest = tensor.values().fold(f32::NEG_INFINITY, f32::max);
            // More rows than the limits allow are counted in the results.
            let _ = target.results.push_classification(greatest, index as i32);
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(package), Some(buffers)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("usage: own_network NETWORK.rpk BUFFERS.bin [2028|4056] [pi4|pi5]");
        return ExitCode::from(2);
    };
    let width = if arguments.iter().any(|argument| argument == "4056") { 4056 } else { 2028 };
    let layout = Layout { width, strided: !arguments.iter().any(|argument| argument == "pi5") };
    match run(package, buffers, layout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("own_network: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(package: &str, buffers: &str, layout: Layout) -> Result<(), Box<dyn Error>> {
    let mut network = Network::open(package)?.post_process(Greatest);
    let mut parser = network.parser(layout);
    let mut results = Box::new(Results::new());
    let mut side = vec![0; network.side_bytes()];
    for (number, buffer) in std::fs::read(buffers)?.chunks(network.buffer_bytes()).enumerate() {
        let output = match parser.inference(buffer) {
            Ok(Some(inference)) => inference.output,
            Ok(None) => None,
            Err(error) => {
                println!("{number}: {error}");
                continue;
            }
        };
        let Some(output) = output else {
            println!("{number}: no new result");
            continue;
        };
        network.decode(&output, Target { results: &mut results, side: &mut side })?;
        let found: Vec<String> = results
            .class_id
            .iter()
            .zip(&results.confidence)
            .map(|(tensor, value)| format!("{tensor}: {value}"))
            .collect();
        println!("{number}: greatest values {}", found.join(", "));
    }
    Ok(())
}
