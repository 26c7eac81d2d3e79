//! A source and how it is to be run.

use std::fmt;
use std::sync::Arc;

use super::choice::{SourceChoice, SourceOptions};
use super::settings::Settings;
use super::stream::Stream;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::imx500::Network;
use crate::source::{Source, SourceInfo};
use crate::time::Clock;

/// A source that is ready to start, from [`open_source`](crate::open_source) or [`Capture::new`].
///
/// ```
/// use kinora::prelude::*;
///
/// /// Counts, without a picture.
/// struct Counter {
///     info: SourceInfo,
///     next: u64,
/// }
///
/// impl Source for Counter {
///     fn describe(&self) -> &SourceInfo {
///         &self.info
///     }
///
///     fn start(&mut self, _now: kinora::ClockPair) -> Result<(), kinora::source::SourceError> {
///         Ok(())
///     }
///
///     fn fill(&mut self, slot: &mut Slot, _wait: Span) -> Result<Filled, kinora::source::SourceError> {
///         if self.next == 3 {
///             return Ok(Filled::End);
///         }
///         slot.meta.sequence = self.next;
///         slot.meta.captured_at = Timestamp::from_ns(self.next as i64 * 1_000_000);
///         self.next += 1;
///         Ok(Filled::Frame)
///     }
/// }
///
/// # fn main() -> kinora::Result<()> {
/// let mut info = SourceInfo::new("counter");
/// info.live = false;
/// let mut stream = Capture::new(Counter { info, next: 0 }).start()?;
/// let mut seen = Vec::new();
/// while let Some(frame) = stream.next()? {
///     seen.push(frame.meta.sequence);
/// }
/// assert_eq!(seen, [0, 1, 2]);
/// # Ok(())
/// # }
/// ```
pub struct Capture {
    source: Option<Box<dyn Source>>,
    info: Box<SourceInfo>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Capture {
    /// A source with default settings on the system's clock.
    pub fn new(source: impl Source + 'static) -> Self {
        let info = Box::new(source.describe().clone());
        Self { source: Some(Box::new(source)), info, clock: Arc::new(SystemClock), settings: Settings::default() }
    }

    /// Runs on another clock. On a [`ManualClock`](crate::ManualClock) nothing waits, no thread is started, and two runs
    /// are equal.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs with other settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Runs a network of the caller's choice on the camera, with a post-processing of the caller's own if that was given:
    ///
    /// ```no_run
    /// use kinora::imx500::decode::{DecodeError, PostProcess, Target};
    /// use kinora::imx500::{Network, OutputView};
    ///
    /// /// One detection where the first tensor has its largest value.
    /// struct Brightest;
    ///
    /// impl PostProcess for Brightest {
    ///     fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
    ///         target.results.begin(kinora::ResultKind::Classifications);
    ///         let tensor = output.get(0).ok_or(DecodeError::TensorMissing { index: 0 })?;
    ///         let best = tensor.values().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    ///         if let Some((class, value)) = best {
    ///             // There is room for one.
    ///             let _ = target.results.push_classification(value, class as i32);
    ///         }
    ///         target.results.settle();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let network = Network::open("my.rpk")?.post_process(Brightest);
    /// let mut stream = kinora::open_source("imx500")?.deploy(network)?.start()?;
    /// while let Some(frame) = stream.next()? {
    ///     println!("{}", frame.classifications());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The source runs no network, or lacks something for this one; with the remedy.
    pub fn deploy(mut self, network: Network) -> Result<Self> {
        let mut source = self.take_source()?;
        source.deploy(network)?;
        *self.info = source.describe().clone();
        self.source = Some(source);
        Ok(self)
    }

    /// What the source delivers, as known before it is started.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Starts the source; frames come out of the stream. Here all memory is made; afterwards nothing allocates.
    ///
    /// # Errors
    /// The source cannot be used, a setting is out of its range, or it was started before.
    pub fn start(&mut self) -> Result<Stream> {
        let source = self.take_source()?;
        Stream::start(source, Arc::clone(&self.clock), &self.settings)
    }

    pub(super) fn take_source(&mut self) -> Result<Box<dyn Source>> {
        let name = &self.info.name;
        self.source.take().ok_or_else(|| Error::Setting(format!("{name} was started already; open it again")))
    }

    pub(super) fn parts(&self) -> (&Arc<dyn Clock>, &Settings) {
        (&self.clock, &self.settings)
    }
}

/// Opens a source by name: `auto`, `v4l2:PATH`, `virtual[:seed=N,...]`, a recording's path, or `-` for modlib's lines on
/// standard input; see [`SourceChoice`].
///
/// # Errors
/// It is not there, cannot be used, or this build cannot use it; with the remedy.
pub fn open_source(name: &str) -> Result<Capture> {
    open_source_with(name, &SourceOptions::default())
}

/// As [`open_source`], with wishes about size, rate and format.
///
/// # Errors
/// As [`open_source`].
pub fn open_source_with(name: &str, options: &SourceOptions) -> Result<Capture> {
    let choice: SourceChoice = name.parse()?;
    Ok(Capture::new(choice.open(options)?))
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("source", &self.info.name).field("settings", &self.settings).finish()
    }
}
