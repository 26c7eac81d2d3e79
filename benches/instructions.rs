//! How many instructions does a frame cost, in each step of its way?
//!
//! A count does not depend on what else the machine does, so it shows a regression where a time would drown. Run by
//! `scripts/instructions` under valgrind's callgrind, for two numbers of frames: the difference is what the frames cost, without
//! setting up. The figures hold for one compiler and one set of CPU features; callgrind presents a CPU of its own.
//! Not counted: the kernel's part, cache misses, page faults.
//!
//! `cargo bench --bench instructions -- CASE FRAMES` runs one case; without a case all run, briefly, and check their results.

mod common;

use kinora::frame::{Frame, FrameMeta, JpegPicture};
use kinora::imx500::decode::{Detect, PostProcess, Target};
use kinora::imx500::{
    BufferFacts, Dimension, Encoder, InputTensor, Kpi, Layout, NetworkDescription, OutputTensor, Parser, Registers,
};
use kinora::playback::{Player, TransportSettings};
use kinora::recording::{SessionHeader, SyncPolicy, Writer, WriterSettings};
use kinora::replay::window::{Window, WindowSettings};
use kinora::results::{ResultKind, Results};
use kinora::ring::{Ends, Taken, circle};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{ClockPair, Error, ManualClock, Result, Timestamp, WallTime};

const JPEG_BYTES: usize = 30_000;

/// Runs the frames of a case.
fn measured(frames: u64, mut work: impl FnMut(u64)) {
    for index in 1..=frames {
        work(index);
    }
}

type Case = (&'static str, fn(u64));

const CASES: [Case; 5] = [
    ("append", append),
    ("window_store", window_store),
    ("hand_off", hand_off),
    ("pacing", pacing),
    ("decode", decode),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match arguments.as_slice() {
        [case, frames] => {
            let (_, run) = CASES.iter().find(|(name, _)| name == case).expect("the name of a case");
            run(frames.parse().expect("a number of frames"));
        }
        _ => {
            for (name, run) in CASES {
                run(20);
                println!("{name}: 20 frames");
            }
        }
    }
}

/// A JPEG of 30 KB with ten boxes.
struct Load {
    meta: FrameMeta,
    results: Results,
    jpeg: Vec<u8>,
}

impl Load {
    fn new() -> Self {
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        for n in 0..10 {
            let edge = n as f32 / 20.0;
            results.push_detection([edge, edge, edge + 0.1, edge + 0.1], 0.9, n, None).expect("room for ten");
        }
        Self { meta: FrameMeta::new(), results, jpeg: (0..JPEG_BYTES).map(|i| ((i * 31) >> 3) as u8).collect() }
    }

    fn frame(&mut self, index: u64) -> Frame<'_> {
        self.meta.sequence = index;
        self.meta.captured_at = Timestamp::from_ns(index as i64 * 33_333_333);
        Frame {
            meta: &self.meta,
            results: &self.results,
            pixels: None,
            jpeg: Some(JpegPicture { bytes: &self.jpeg, width: 640, height: 480 }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        }
    }
}

fn clocks(index: u64) -> ClockPair {
    let ns = index as i64 * 33_333_333;
    ClockPair { monotonic: Timestamp::from_ns(ns), wall: WallTime::from_utc_ns(ns) }
}

/// Into one growth step that is there from the start. Without the helper thread, whose looks at the clock would be counted, too,
/// and are not the same in any two runs.
fn append(frames: u64) {
    let folder = common::folder();
    let header = SessionHeader::from_source(&SourceInfo::new("bench"), clocks(0), [7; 16]);
    let settings =
        WriterSettings { sync: SyncPolicy::Never, growth_bytes: 64 << 20, helper: false, ..WriterSettings::default() };
    assert!(frames * 40_000 < 64 << 20, "more frames than fit into the step");
    let mut writer = Writer::create(&folder.path().join("a.kinora"), &header, &settings).expect("a recording");
    let mut load = Load::new();
    measured(frames, |index| {
        let _ = writer.append(&load.frame(index), clocks(index)).expect("appended");
    });
    assert_eq!(writer.finish().expect("closed").frames, frames);
}

/// Into a full window, so that each frame evicts the oldest.
fn window_store(frames: u64) {
    let capacity = 10;
    let mut window = Window::new(WindowSettings { capacity, reserve: 0, frame_bytes: 32 << 10 });
    let mut load = Load::new();
    for index in 1..=20 {
        window.push(&load.frame(index), capacity).expect("within the promise");
    }
    measured(frames, |index| {
        let _ = window.push(&load.frame(20 + index), capacity).expect("within the promise");
    });
    assert_eq!(window.extent().len, capacity);
}

/// A slot's whole circle.
fn hand_off(frames: u64) {
    let Ends { mut capture, mut sink, .. } = circle((0..8).map(|_| Slot::new(&SlotSizes::default())).collect(), 0);
    measured(frames, |index| {
        capture.slot_mut().meta.sequence = index;
        capture.offer().expect("a free slot");
        let Taken::Slot(slot) = sink.take() else { panic!("a filled slot") };
        assert_eq!(slot.meta.sequence, index);
        sink.give_back(slot);
    });
}

/// Frames that cost nothing to read.
struct Steady {
    slot: Box<Slot>,
    frames: u64,
}

impl Timeline for Steady {
    fn len(&self) -> u64 {
        self.frames
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        (index < self.frames).then(|| Timestamp::from_ns(index as i64 * 33_366_667))
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        (at.as_ns().max(0) as u64).div_ceil(33_366_667).min(self.frames)
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        let captured_at = self.captured_at(index).ok_or_else(|| Error::Setting(format!("no frame {index}")))?;
        self.slot.meta.captured_at = captured_at;
        Ok(self.slot.frame(None))
    }
}

/// At a rate that does not divide evenly, on a clock that jumps to each deadline.
fn pacing(frames: u64) {
    let rate = "7/3".parse().expect("a rate");
    let steady = Steady { slot: Slot::new(&SlotSizes::default()), frames };
    let mut player = Player::new(steady, TransportSettings { rate, ..TransportSettings::default() });
    let clock = ManualClock::new(ClockPair::default());
    measured(frames, |_| assert!(player.next(&clock).expect("the frames are good").is_some()));
    assert!(player.next(&clock).expect("the end").is_none());
}

fn output(name: &str, sizes: &[u16], signed: bool, scale: f32) -> OutputTensor {
    let mut dimensions = heapless::Vec::new();
    for (place, &size) in sizes.iter().enumerate() {
        let dimension = Dimension { size, serialization: place as u8, padding: 0 };
        dimensions.push(dimension).expect("few dimensions");
    }
    OutputTensor { name: name.try_into().expect("short"), dimensions, bits: 8, signed, shift: 0, scale }
}

/// A buffer as of an SSD network: input picture of 96 x 96, ten boxes.
fn decode(frames: u64) {
    let input = InputTensor {
        width: 96,
        height: 96,
        channels: 3,
        row_bytes: 96,
        rows: 96,
        signed: false,
        shift: 0,
        scale: 1.0,
    };
    let outputs = [
        output("boxes", &[10, 4], false, 1.0 / 255.0),
        output("scores", &[10], false, 1.0 / 255.0),
        output("classes", &[10], false, 1.0),
        output("count", &[1], false, 1.0),
    ];
    let network = NetworkDescription {
        id: 0,
        name: "bench".try_into().expect("short"),
        input,
        outputs: outputs.into_iter().collect(),
    };
    let params = network.to_params().expect("a small network");
    let layout = Layout { width: 2028, strided: false };
    let registers = Registers {
        exposure_lines: 1_600,
        gain_code: 512,
        frame_length_lines: 2_637,
        line_length_clocks: 9_398,
        temperature_raw: 30,
    };
    let facts = BufferFacts { registers, frame_count: 1, kpi: Kpi { dnn_runtime: 23_000, dsp_runtime: 1_000 } };
    let encoder = Encoder::new(layout, &network, &params);
    let mut buffer = vec![0; encoder.buffer_bytes()];
    let mut raws = |tensor: usize, element: usize| match tensor {
        0 => (element * 5) as i64,
        1 => 200,
        2 => element as i64,
        _ => 10,
    };
    encoder.encode(&facts, Some(&vec![9; network.input.bytes()]), Some(&mut raws), &mut buffer);
    let (mut parser, mut results) = (Parser::new(layout), Results::new());
    measured(frames, |_| {
        let inference = parser.inference(&buffer).expect("well formed").expect("valid");
        let view = inference.output.expect("an output tensor");
        Detect::default().decode(&view, Target { results: &mut results, side: &mut [] }).expect("it fits");
    });
    assert_eq!(results.len(), 10);
}
