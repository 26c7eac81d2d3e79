//! A virtual IMX500: the scene as that sensor would see it, through the bytes of its metadata node.
//!
//! Each frame the scene's objects are quantised into the network's output tensors and its picture into the input tensor; both
//! are laid out as the hardware lays them out, and read again by the parser and post-processing that a camera uses. Nothing
//! of the results takes another way.

use super::tensors::{Seen, sees};
use super::{CLASSES, Canvas, VirtualOptions, VirtualScene, too_big};
use crate::frame::{ColorFormat, ImageType, PictureInfo, PixelFormat};
use crate::imx500::decode::BuiltIn;
use crate::imx500::{
    BufferFacts, Dimension, Encoder, Form, InferenceWindow, InputTensor, Kpi, Layout, Network, NetworkDescription,
    OutputTensor, PlaneOrder, Registers,
};
use crate::labels::Labels;
use crate::ledger::{Cause, Loss};
use crate::slot::Slot;
use crate::source::metadata::{MetadataReader, Part};
use crate::source::{
    CameraOptions, Filled, PictureSource, RawMetadata, Source, SourceError, SourceInfo, advice_on, bounded,
};
use crate::time::{ClockPair, Span, Timestamp};

/// What the sensor is like, besides the scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorOptions {
    /// Mode and receiver. Default: 2028 pixels wide, rounded lines (Pi 4).
    pub layout: Layout,
    /// One buffer in so many is damaged at some byte, by the seed; 0 (default) is none.
    pub damaged_every: u32,
}

impl Default for SensorOptions {
    fn default() -> Self {
        Self { layout: Layout { width: 2028, strided: true }, damaged_every: 0 }
    }
}

/// Boxes of the built-in network.
const BOXES: u16 = 64;
/// Name of the built-in network, in recordings too.
pub const BUILT_IN: &str = "virtual";

/// The network that runs when no package is given: a detector of 320 × 240 with the four classes of the scene.
///
/// # Panics
/// Never: its description fits.
pub fn built_in_network() -> Network {
    let output = |name: &str, sizes: &[u16], bits, signed, scale| OutputTensor {
        name: bounded(name),
        dimensions: (0_u8..)
            .zip(sizes)
            .map(|(serialization, &size)| Dimension { size, serialization, padding: 0 })
            .collect(),
        bits,
        signed,
        shift: 0,
        scale,
    };
    let outputs = [
        output("boxes", &[BOXES, 4], 16, true, 1.0 / 32_768.0),
        output("scores", &[BOXES], 8, false, 1.0 / 256.0),
        output("classes", &[BOXES], 16, true, 1.0),
        output("count", &[1], 16, true, 1.0),
    ];
    let (name, input) = (bounded(BUILT_IN), InputTensor::usual(320, 240));
    let description = NetworkDescription { id: 0, name, input, outputs: outputs.into_iter().collect() };
    let params = description.to_params().expect("four tensors fit into apParams");
    let mut labels = Labels::new();
    for class in CLASSES {
        // Four short names always fit.
        let _ = labels.push(class.name);
    }
    Network::described(BUILT_IN, &params).expect("apParams of our own are good").with_labels(labels)
}

/// The simulated sensor.
pub struct VirtualSensor {
    scene: VirtualScene,
    options: SensorOptions,
    camera: CameraOptions,
    /// What the tensors are made for when the post-processing is the caller's own.
    packaged: Option<Box<BuiltIn>>,
    reader: MetadataReader,
    description: NetworkDescription,
    params: Vec<u8>,
    order: PlaneOrder,
    sample_offset: u8,
    window: InferenceWindow,
    shows: PictureSource,
    canvas: Canvas,
    picture: PictureInfo,
    /// The scene's picture, red first.
    rgb: Vec<u8>,
    /// The input tensor, plane after plane.
    planes: Vec<u8>,
    buffer: Vec<u8>,
    /// Frame whose picture went into the network last.
    inferred: u64,
    /// A frame that follows the loss of its metadata, which was told.
    pending: bool,
    damaged: u64,
}

impl VirtualSensor {
    /// A sensor called `name` (what the user typed) that sees the scene of `options` with `network`.
    ///
    /// # Errors
    /// An option is out of its range, or means nothing to a sensor.
    pub fn new(
        name: &str,
        scene: VirtualOptions,
        options: SensorOptions,
        camera: &CameraOptions,
        network: Network,
    ) -> Result<Self, SourceError> {
        let refuse = |text: &str| Err(SourceError::Unavailable(format!("virtual: {text}")));
        let shows = camera.picture.unwrap_or(PictureSource::Bayer);
        if network.normalisation().offset().is_none() {
            return refuse("this network's normalisation is none that the simulation knows");
        }
        let drawn = VirtualOptions { format: Some(PixelFormat::Rgb888), ..scene };
        let mut scene = VirtualScene::new(name, drawn)?;
        let window = camera.inference_window.map_or(InferenceWindow::FULL, |[left, top, width, height]| {
            InferenceWindow { left, top, width, height }.as_set()
        });
        let keep = camera.raw_metadata.map(|kept| match kept {
            RawMetadata::Results => Form::Results,
            RawMetadata::Full => Form::Full,
        });
        let picture = PictureInfo::packed(PixelFormat::Rgb888, drawn.size.0, drawn.size.1);
        let (description, params) = (network.description().clone(), network.params().to_vec());
        let (order, offset) = (network.normalisation().order, network.normalisation().offset().unwrap_or(0));
        let buffer_bytes = network.buffer_bytes();
        let info = &mut scene.info;
        info.network = bounded(network.name());
        info.post = bounded(network.post_name().unwrap_or(""));
        info.labels = network.labels().clone();
        info.side_bytes_max = network.side_bytes();
        let own = network.built_in().is_none();
        let packaged = own.then(|| network.packaged_post().ok()).flatten().map(Box::new);
        let reader = MetadataReader::new(options.layout, Some(network), keep, shows == PictureSource::InputTensor);
        info.sensor_bytes_max = reader.sensor_bytes_max(buffer_bytes);
        info.picture = match shows {
            PictureSource::Bayer => Some(picture),
            PictureSource::InputTensor => reader.input_picture(),
            PictureSource::None => None,
        };
        Ok(Self {
            canvas: Canvas::new(picture, drawn.seed),
            rgb: vec![0; picture.bytes().unwrap_or(0)],
            planes: vec![0; description.input.bytes()],
            buffer: vec![0; buffer_bytes],
            scene,
            options,
            camera: camera.clone(),
            packaged,
            reader,
            description,
            params,
            order,
            sample_offset: offset.wrapping_neg(),
            window,
            shows,
            picture,
            inferred: 0,
            pending: false,
            damaged: 0,
        })
    }

    /// Buffers that were damaged so far, of those that the option asks for.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The buffer of frame `n`. With results every k frames the network is slow: it takes a picture, and its result comes
    /// k - 1 frames later.
    fn sense(&mut self, n: u64) {
        self.canvas.draw(n, &self.scene.objects, &mut self.rgb);
        let every = u64::from(self.scene.options.results_every);
        let (takes_picture, gives_result) = (n % every == 0, n % every == every - 1);
        if takes_picture {
            self.inferred = n;
            self.scale();
        }
        let facts = BufferFacts {
            registers: Registers::USUAL,
            frame_count: (n % 255) as u8,
            kpi: Kpi { dnn_runtime: 21_000 + (n % 7) as u32, dsp_runtime: 900 },
        };
        let post = self.reader.network().and_then(Network::built_in).or(self.packaged.as_deref());
        let mut seen =
            Seen::new(&self.scene, &self.description, post, self.reader_labels(), self.window, self.inferred);
        let mut raws = |tensor: usize, element: usize| seen.raw(tensor, element);
        let planes = takes_picture.then_some(&self.planes[..]);
        Encoder::new(self.options.layout, &self.description, &self.params).encode(
            &facts,
            planes,
            if gives_result { Some(&mut raws) } else { None },
            &mut self.buffer,
        );
    }

    fn reader_labels(&self) -> Option<&Labels> {
        self.reader.network().map(Network::labels)
    }

    /// The scene's picture, cut to the window and scaled to the network's input by the nearest pixel.
    fn scale(&mut self) {
        let input = &self.description.input;
        let (width, height) = (self.picture.width as usize, self.picture.height as usize);
        let roi = self.window.roi();
        let place = |i: usize, of: usize, start: f64, part: f64, whole: usize| {
            let at = (start + part * (2 * i + 1) as f64 / (2 * of) as f64) * whole as f64;
            (at as usize).min(whole - 1)
        };
        let columns: heapless::Vec<usize, 1280> =
            (0..input.width).map(|x| place(x, input.width, roi.left, roi.width, width)).collect();
        for (row, samples) in self.planes.chunks_exact_mut(input.width).enumerate() {
            let (plane, y) = (row / input.height, row % input.height);
            // One plane is green, four are as if the last were red again.
            let colour = match (input.channels, self.order) {
                (1, _) => 1,
                (_, PlaneOrder::Rgb) => plane % 3,
                (_, PlaneOrder::Bgr) => 2 - plane % 3,
            };
            let line = place(y, input.height, roi.top, roi.height, height) * width;
            for (sample, &column) in samples.iter_mut().zip(&columns) {
                *sample = self.rgb[3 * (line + column) + colour].wrapping_add(self.sample_offset);
            }
        }
    }

    /// Damages some bytes of the buffer where a reader has to notice it: in a header.
    fn damage(&mut self, n: u64) {
        let header = self.options.layout.dnn_offset() + crate::imx500::LINE_BYTES;
        let random = super::hash(self.scene.options.seed ^ 0xda_3a9e, n);
        let (field, value) = match random % 3 {
            0 => (2, 0xFF),
            1 => (8, 0x07),
            _ => (5, 0xFF),
        };
        self.buffer[header + field] = value;
        self.damaged += 1;
    }

    fn is_damaged(&self, n: u64) -> bool {
        let every = u64::from(self.options.damaged_every);
        every > 0 && super::hash(self.scene.options.seed ^ 0xbad, n) % every == 0
    }

    /// The frame from the buffer that was sensed.
    fn deliver(&mut self, n: u64, at: Timestamp, slot: &mut Slot) -> Filled {
        slot.meta.image_type = self.scene.info.picture.map(|_| ImageType::Vga);
        slot.meta.color_format = self.scene.info.picture.map(|_| ColorFormat::Rgb);
        if self.shows == PictureSource::Bayer {
            let Ok(pixels) = slot.pixels_mut(self.picture) else { return too_big(n, at) };
            pixels.copy_from_slice(&self.rgb);
        } else {
            (slot.meta.width, slot.meta.height) = (None, None);
        }
        let Ok(seen) = self.reader.read(&self.buffer, slot) else { return too_big(n, at) };
        if !matches!(seen.network, Part::Broken(_)) || self.pending {
            self.pending = false;
            return Filled::Frame;
        }
        // The picture is good: first the loss of the other half is told, then the frame comes without it.
        if self.shows == PictureSource::Bayer {
            self.pending = true;
            return Filled::Lost(Loss::one(Cause::MetadataLost, n, at));
        }
        Filled::Lost(Loss::one(Cause::Corrupt, n, at))
    }
}

impl Source for VirtualSensor {
    fn describe(&self) -> &SourceInfo {
        &self.scene.info
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        self.scene.begin(now);
        self.reader.restart(self.window);
        (self.inferred, self.pending, self.damaged) = (0, false, 0);
        self.buffer.fill(0);
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _wait: Span) -> Result<Filled, SourceError> {
        if self.pending {
            self.scene.next -= 1;
        }
        let Some((n, at)) = self.scene.stamp(slot) else { return Ok(Filled::End) };
        if !self.pending {
            self.sense(n);
            if self.is_damaged(n) {
                self.damage(n);
            }
        }
        Ok(self.deliver(n, at, slot))
    }

    fn advice(&self) -> Option<String> {
        advice_on(&self.scene.info, self.reader.network()?)
    }

    fn deploy(&mut self, network: Network) -> Result<(), SourceError> {
        let (name, scene) = (self.scene.info.name.clone(), self.scene.options);
        *self = Self::new(&name, scene, self.options.clone(), &self.camera, network)?;
        Ok(())
    }
}

/// True when the scene can be seen by a network with this post-processing; others run and find nothing.
pub fn is_seen_by(network: &Network) -> bool {
    network.built_in().is_some_and(sees)
}
