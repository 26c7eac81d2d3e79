//! What a network would say of the scene, as raw integers of its output tensors.
//!
//! Boxes, classes and masks are made for the post-processings that read them; the tensors of any other network hold the
//! lowest value of their type, which means "nothing there" in heat maps, logits and scores.

use super::objects::CLASSES;
use super::{OBJECTS_MAX, VirtualScene, hash};
use crate::imx500::decode::{BoxOrder, BuiltIn, Classify, Detect};
use crate::imx500::{InferenceWindow, NetworkDescription, OutputTensor};
use crate::labels::Labels;

/// One object as the network sees it: fractions of the window, score, class.
#[derive(Clone, Copy, Debug)]
struct Found {
    bbox: [f64; 4],
    score: f64,
    class: i64,
}

/// The objects of one frame, for one network.
pub struct Seen<'a> {
    network: &'a NetworkDescription,
    post: Option<&'a BuiltIn>,
    found: heapless::Vec<Found, OBJECTS_MAX>,
    /// Classes of the scene by the network's numbers, best first.
    ranking: [i64; CLASSES.len()],
}

/// True for post-processings that see the scene.
pub fn sees(post: &BuiltIn) -> bool {
    matches!(post, BuiltIn::Detect(_) | BuiltIn::Classify(_) | BuiltIn::Segment(_))
}

impl<'a> Seen<'a> {
    /// Frame `n` of the scene through `window`. `labels`: the network's; a class of the scene has the number of its label
    /// there, or its own.
    pub fn new(
        scene: &VirtualScene,
        network: &'a NetworkDescription,
        post: Option<&'a BuiltIn>,
        labels: Option<&Labels>,
        window: InferenceWindow,
        n: u64,
    ) -> Self {
        let number = |class: usize| {
            let named = labels.and_then(|labels| labels.iter().position(|label| label == CLASSES[class].name));
            named.unwrap_or(class) as i64
        };
        let roi = window.roi();
        let (width, height) = (f64::from(scene.options.size.0), f64::from(scene.options.size.1));
        let mut found: heapless::Vec<Found, OBJECTS_MAX> = heapless::Vec::new();
        for object in &scene.objects {
            let place = object.place(n);
            let x = |x: u32| ((f64::from(x) / width - roi.left) / roi.width).clamp(0.0, 1.0);
            let y = |y: u32| ((f64::from(y) / height - roi.top) / roi.height).clamp(0.0, 1.0);
            let bbox = [x(place.x), y(place.y), x(place.x + place.width), y(place.y + place.height)];
            if bbox[0] < bbox[2] && bbox[1] < bbox[3] {
                let score = f64::from(object.confidence_percent) / 100.0;
                // At most as many as the scene has.
                let _ = found.push(Found { bbox, score, class: number(object.class) });
            }
        }
        // As networks give them: best first, the scene's order among equals.
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = hash(scene.options.seed, n / 90) as usize % CLASSES.len();
        let mut ranking = [0; CLASSES.len()];
        let others = (0..CLASSES.len()).filter(|&class| class != best);
        for (rank, class) in ranking.iter_mut().zip([best].into_iter().chain(others)) {
            *rank = number(class);
        }
        Self { network, post, found, ranking }
    }

    /// Raw integer of an element; the first dimension varies fastest.
    pub fn raw(&mut self, tensor: usize, element: usize) -> i64 {
        let shape = &self.network.outputs[tensor];
        match self.post {
            Some(BuiltIn::Detect(detect)) => self.detection(detect, tensor, shape, element),
            Some(BuiltIn::Classify(classify)) => self.class(classify, shape, element),
            Some(BuiltIn::Segment(_)) => self.pixel(shape, element),
            _ if shape.signed => i64::MIN,
            _ => 0,
        }
    }

    fn detection(&self, detect: &Detect, tensor: usize, shape: &OutputTensor, element: usize) -> i64 {
        let (scores, classes) = if detect.classes_first { (2, 1) } else { (1, 2) };
        let boxes = self.network.outputs[scores].elements();
        if tensor == 3 {
            return quantised(shape, self.found.len().min(boxes) as f64);
        }
        let Some(found) = self.found.get(element % boxes) else { return quantised(shape, 0.0) };
        if tensor == scores {
            return quantised(shape, found.score);
        }
        if tensor == classes {
            return quantised(shape, found.class as f64);
        }
        let [x0, y0, x1, y1] = found.bbox;
        let input = &self.network.input;
        let (width, height) = if detect.in_pixels { (input.width as f64, input.height as f64) } else { (1.0, 1.0) };
        let (x, y) = ([x0 * width, x1 * width], [y0 * height, y1 * height]);
        let order = match detect.order {
            BoxOrder::YX => [y[0], x[0], y[1], x[1]],
            BoxOrder::XY => [x[0], y[0], x[1], y[1]],
        };
        quantised(shape, order.get(element / boxes).copied().unwrap_or(0.0))
    }

    /// The classes of the scene share the probability as they do in its own results; all others have the least.
    fn class(&self, classify: &Classify, shape: &OutputTensor, element: usize) -> i64 {
        const SHARES: [f64; CLASSES.len()] = [0.70, 0.16, 0.09, 0.05];
        let rank = self.ranking.iter().position(|&class| class == element as i64);
        match (rank, classify.softmax) {
            (Some(rank), false) => quantised(shape, SHARES[rank]),
            (Some(rank), true) => quantised(shape, SHARES[rank].ln()),
            (None, _) if shape.signed => i64::MIN,
            (None, _) => 0,
        }
    }

    /// The first dimension is the row.
    fn pixel(&self, shape: &OutputTensor, element: usize) -> i64 {
        let rows = usize::from(shape.dimensions[0].size);
        let columns = shape.elements() / rows;
        let centre = |i: usize, of: usize| (2 * i + 1) as f64 / (2 * of) as f64;
        let (x, y) = (centre(element / rows, columns), centre(element % rows, rows));
        let inside = |found: &&Found| {
            let [x0, y0, x1, y1] = found.bbox;
            (x0..x1).contains(&x) && (y0..y1).contains(&y)
        };
        // 0 is the background.
        quantised(shape, self.found.iter().find(inside).map_or(0.0, |found| (found.class + 1) as f64))
    }
}

/// The raw integer whose value is nearest; the encoder brings it into its type.
fn quantised(shape: &OutputTensor, value: f64) -> i64 {
    (value / f64::from(shape.scale)).round() as i64 + i64::from(shape.shift)
}
