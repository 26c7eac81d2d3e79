//! Post-processings without modlib: settings, tensors of hostile values, other shapes, and no allocation.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use kinora::imx500::decode::{BuiltIn, DecodeError, PostName, PostProcess, PostSettings, Target};
use kinora::imx500::{BufferFacts, Encoder, Kpi, Layout, NetworkDescription, OutputView, Parser, Registers};
use kinora::{ResultKind, ResultState, Results};
use tensors::{Random, Shape, lines, network, shape};

#[path = "common/tensors.rs"]
mod tensors;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is handed on to the system's allocator unchanged; the count is a plain thread-local number.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Memory) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises about `layout` are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Memory) {
        // SAFETY: `pointer` came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One network for each post-processing, of its usual size.
fn usual(post: PostName) -> NetworkDescription {
    let k = |k: i32| 2.0_f32.powi(k);
    let boxes = |scale| {
        vec![shape(&[100, 4], 16, scale), shape(&[100], -8, k(-8)), shape(&[100], 16, 1.0), shape(&[1], 16, 1.0)]
    };
    let (input, outputs): (_, Vec<Shape>) = match post {
        PostName::Cls | PostName::ClsSoftmax => ((224, 224), vec![shape(&[1000], 8, k(-3))]),
        PostName::OdBscn | PostName::OdBcsn => ((320, 320), boxes(k(-15))),
        PostName::OdEfficientdetLite0 | PostName::OdYoloUltralytics => ((320, 320), boxes(k(-6))),
        PostName::Nanodet => ((416, 416), vec![shape(&[3598, 112], 8, k(-3))]),
        PostName::Posenet => (
            (481, 353),
            vec![shape(&[23, 31, 17], 8, k(-3)), shape(&[23, 31, 34], 8, k(-3)), shape(&[23, 31, 64], 8, k(1))],
        ),
        PostName::HigherHrnet => {
            ((384, 288), vec![shape(&[30, 17], 8, k(-4)), shape(&[30, 17], 32, 1.0), shape(&[30, 17], 8, k(-7))])
        }
        PostName::Segment => ((320, 320), vec![shape(&[320, 320], 16, 1.0)]),
        PostName::Anomaly => ((320, 320), vec![shape(&[40, 60, 2], 8, k(-3))]),
        _ => ((640, 480), vec![shape(&[10], 8, 1.0)]),
    };
    network("usual", input, &outputs)
}

/// Decodes into fresh results; checks them, and that nothing was allocated.
fn decode(post: &mut BuiltIn, network: &NetworkDescription, bytes: &[u8], results: &mut Results, side: &mut Vec<u8>) {
    let output = OutputView::over(network, bytes, 2560).unwrap();
    side.resize(post.side_bytes(network), 0);
    let before = ALLOCATIONS.with(Cell::get);
    let decoded = post.decode(&output, Target { results, side });
    assert_eq!(ALLOCATIONS.with(Cell::get), before, "{} allocated", post.name());
    decoded.unwrap();
    assert!(results.is_consistent(side.len()), "{}", post.name());
}

#[test]
fn hostile_tensors_give_consistent_results_without_a_panic_or_an_allocation() {
    let (mut results, mut side) = (Results::new(), Vec::new());
    for name in PostName::ALL {
        let usual = usual(name);
        assert!(name.fits(&usual), "{name}");
        let mut post = name.make(PostSettings::default());
        for round in 0..12 {
            let mut random = Random(round);
            let mut network = usual.clone();
            for output in &mut network.outputs {
                output.scale = [output.scale, 0.0, -1.0, f32::MAX, f32::MIN_POSITIVE, 1e-45][round as usize % 6];
                output.shift = [0, u16::MAX][round as usize / 6];
            }
            let fixed = [i64::MIN, i64::MAX, 0, -1, 1][random.next() as usize % 5];
            let raw = |tensor, _| match tensor {
                1 if name == PostName::HigherHrnet && round % 2 == 0 => random.between(0, 192 * 144),
                _ if round % 3 == 0 => fixed,
                _ => random.next() as i64,
            };
            let bytes = lines(&network, raw);
            decode(&mut post, &network, &bytes, &mut results, &mut side);
        }
    }
}

#[test]
fn tensors_of_another_network_are_an_error_and_leave_no_rows() {
    let mut results = Results::new();
    for name in PostName::ALL {
        let mut post = name.make(PostSettings::default());
        for other in PostName::ALL.map(usual).iter().filter(|other| !name.fits(other)) {
            let bytes = lines(other, |_, _| 1);
            let output = OutputView::over(other, &bytes, 2560).unwrap();
            let mut side = vec![0; 1 << 20];
            match post.decode(&output, Target { results: &mut results, side: &mut side }) {
                Err(DecodeError::TensorMissing { .. } | DecodeError::Shape { .. }) => {}
                // Tensors besides those that it takes are not looked at.
                other => assert!(other.is_ok() && results.is_consistent(side.len()), "{name}: {other:?}"),
            }
        }
    }
    let mut post = PostName::Segment.make(PostSettings::default());
    let network = usual(PostName::Segment);
    let bytes = lines(&network, |_, _| 1);
    let output = OutputView::over(&network, &bytes, 2560).unwrap();
    let small = post.decode(&output, Target { results: &mut results, side: &mut [0; 100] });
    assert_eq!(small, Err(DecodeError::SideTooSmall { needed: 102_400, capacity: 100 }));
}

#[test]
fn threshold_and_top_are_kept_by_each() {
    let (mut results, mut side) = (Results::new(), Vec::new());
    for name in [
        PostName::Cls,
        PostName::ClsSoftmax,
        PostName::OdBscn,
        PostName::OdYoloUltralytics,
        PostName::Nanodet,
        PostName::Posenet,
        PostName::HigherHrnet,
    ] {
        let network = usual(name);
        let mut random = Random(9);
        let bytes = lines(&network, |tensor, _| match tensor {
            1 if name == PostName::HigherHrnet => random.between(0, 192 * 144),
            _ => random.next() as i64,
        });
        let mut decoded = |settings| {
            decode(&mut name.make(settings), &network, &bytes, &mut results, &mut side);
            results.confidence.to_vec()
        };
        let all = decoded(PostSettings { threshold: Some(0.0), top: Some(100) });
        assert!(all.len() > 3, "{name}: only {} rows", all.len());
        let top = decoded(PostSettings { threshold: Some(0.0), top: Some(2) });
        assert_eq!(top.len(), 2, "{name}");
        let mut sorted = all.clone();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let middle = sorted[sorted.len() / 2];
        let best = decoded(PostSettings { threshold: Some(middle), top: None });
        assert!(best.iter().all(|&score| score >= middle) && best.len() < all.len(), "{name}: {middle} {best:?}");
    }
}

#[test]
fn a_whole_buffer_becomes_a_hundred_boxes_without_an_allocation() {
    let network = usual(PostName::OdBscn);
    let params = network.to_params().unwrap();
    let layout = Layout { width: 2028, strided: true };
    let encoder = Encoder::new(layout, &network, &params);
    let kpi = Kpi { dnn_runtime: 12_000, dsp_runtime: 2_000 };
    let facts = BufferFacts { registers: Registers::USUAL, frame_count: 7, kpi };
    let mut buffer = vec![0; encoder.buffer_bytes()];
    let mut raw = |tensor: usize, element: usize| if tensor == 3 { 100 } else { element as i64 };
    encoder.encode(&facts, Some(&vec![0; network.input.bytes()]), Some(&mut raw), &mut buffer);

    let mut parser = Parser::new(layout);
    let mut post = PostName::OdBscn.make(PostSettings::default());
    let mut results = Results::new();
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..3 {
        assert_eq!(parser.registers(&buffer), Ok(Registers::USUAL));
        let inference = parser.inference(&buffer).unwrap().unwrap();
        assert_eq!(inference.kpi, facts.kpi);
        let output = inference.output.unwrap();
        post.decode(&output, Target { results: &mut results, side: &mut [] }).unwrap();
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    assert_eq!((results.len(), parser.walks()), (100, 1));
}

#[test]
fn none_leaves_the_results_absent() {
    let (mut results, mut side) = (Results::new(), Vec::new());
    results.begin(ResultKind::Detections);
    let network = usual(PostName::None);
    let bytes = lines(&network, |_, _| 1);
    decode(&mut BuiltIn::None, &network, &bytes, &mut results, &mut side);
    assert_eq!(results.state(), ResultState::Absent);
}

#[test]
fn a_tensor_that_is_impossible_is_refused_before_it_is_read() {
    let good = usual(PostName::OdBscn);
    let bytes = lines(&good, |_, _| 0);
    assert!(OutputView::over(&good, &bytes, 2560).is_ok());
    assert!(OutputView::over(&good, &bytes[..bytes.len() - 2560], 2560).is_err());
    assert!(OutputView::over(&good, &bytes, 0).is_err());
    assert!(OutputView::over(&good, &bytes, 2561).is_err());
    assert!(OutputView::over(&good, &bytes, 2559).is_err(), "16 bits straddle such lines");
    let mut wrong = good.clone();
    wrong.outputs[0].dimensions[0].serialization = 1;
    assert!(OutputView::over(&wrong, &bytes, 2560).is_err());
    let mut wrong = good.clone();
    wrong.outputs[1].bits = 24;
    assert!(OutputView::over(&wrong, &bytes, 2560).is_err());
    let mut wrong = good;
    wrong.outputs[2].dimensions[0].size = 0;
    assert!(OutputView::over(&wrong, &bytes, 2560).is_err());
}
