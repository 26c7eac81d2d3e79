//! The way of an IMX500's frames through its receiver, and which links it needs.
//!
//! ```text
//! unicam (Pi 4, Zero 2 W)                    rp1-cfe (Pi 5)
//!   imx500:0 ═► unicam-image                   imx500:0 ═► csi2:0, csi2:4 ─► rp1-cfe-csi2_ch0
//!   imx500:1 ═► unicam-embedded                imx500:1 ═► csi2:1, csi2:5 ─► rp1-cfe-embedded
//! ```
//!
//! On rp1-cfe a link that another program left enabled, to a node that nobody streams, holds the sensor back for ever: all
//! links that are not ours are taken out first. Source: the drivers `bcm2835-unicam.c` and `rp1_cfe` of the Raspberry
//! Pi's kernel.

use std::fmt;

use super::{Entity, Graph, LINK_ENABLED, Link, PadRef};

/// Who receives the sensor's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// Raspberry Pi 4 and older, Zero 2 W.
    Unicam,
    /// Raspberry Pi 5.
    Rp1Cfe,
}

impl Receiver {
    /// The driver's name, as `MEDIA_IOC_DEVICE_INFO` tells it.
    pub const fn driver(self) -> &'static str {
        match self {
            Self::Unicam => "unicam",
            Self::Rp1Cfe => "rp1-cfe",
        }
    }

    /// True where register lines are padded to 16 bytes; see [`Layout`](crate::imx500::Layout).
    pub const fn is_strided(self) -> bool {
        matches!(self, Self::Unicam)
    }

    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Unicam => ["unicam-image", "unicam-embedded"],
            Self::Rp1Cfe => ["rp1-cfe-csi2_ch0", "rp1-cfe-embedded"],
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.driver())
    }
}

/// A link and the flags that it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Where data comes from.
    pub source: PadRef,
    /// Where it goes.
    pub sink: PadRef,
    /// `MEDIA_LNK_FL_ENABLED` or nothing.
    pub flags: u32,
}

/// An IMX500 and the nodes behind it, by entity number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Who receives.
    pub receiver: Receiver,
    /// The sensor's subdevice.
    pub sensor: u32,
    /// The sensor's name, such as `imx500 10-001a`.
    pub sensor_name: String,
    /// The receiver's subdevice that has formats of its own (rp1-cfe: `csi2`).
    pub bridge: Option<u32>,
    /// The node of pictures.
    pub image: u32,
    /// The node of metadata.
    pub metadata: u32,
}

/// Why a graph has no IMX500 that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPipeline {
    /// No IMX500 in it: another camera, or none.
    NoSensor,
    /// An IMX500 behind a receiver that is neither unicam nor rp1-cfe.
    Receiver(String),
    /// An entity is missing.
    Missing {
        /// The receiver.
        receiver: Receiver,
        /// The entity's name.
        name: &'static str,
    },
    /// The graph has the names of the mainline driver, which has no two-pad IMX500.
    Mainline,
}

impl fmt::Display for NoPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSensor => write!(f, "no IMX500 behind it"),
            Self::Receiver(driver) => {
                write!(f, "an IMX500 behind `{driver}`; this program knows unicam and rp1-cfe")
            }
            Self::Missing { receiver, name } => write!(
                f,
                "the driver {receiver} has no entity {name}; the overlay may be in the old mode without media \
                 controller: use `dtoverlay=imx500` without `media-controller=0`, then reboot"
            ),
            Self::Mainline => write!(
                f,
                "this is the mainline kernel's rp1-cfe, whose IMX500 has no metadata; boot the kernel of Raspberry Pi OS"
            ),
        }
    }
}

impl std::error::Error for NoPipeline {}

/// True for the sensor's entity: `imx500 10-001a`.
fn is_sensor(name: &str) -> bool {
    name == "imx500" || name.starts_with("imx500 ")
}

impl Pipeline {
    /// Finds the camera in a graph whose device is driven by `driver`.
    ///
    /// # Errors
    /// See [`NoPipeline`].
    pub fn find(graph: &Graph, driver: &str) -> Result<Self, NoPipeline> {
        let sensor = graph.find(is_sensor).ok_or(NoPipeline::NoSensor)?;
        let receiver = [Receiver::Unicam, Receiver::Rp1Cfe].into_iter().find(|r| r.driver() == driver);
        let receiver = receiver.ok_or_else(|| NoPipeline::Receiver(driver.to_owned()))?;
        let named = |name: &'static str| graph.find(|other| other == name);
        let need = |name: &'static str| named(name).ok_or(NoPipeline::Missing { receiver, name });
        let [image, metadata] = receiver.names();
        if receiver == Receiver::Rp1Cfe && named(image).is_none() && named("rp1-cfe-csi2-ch0").is_some() {
            return Err(NoPipeline::Mainline);
        }
        let bridge = match receiver {
            Receiver::Unicam => None,
            Receiver::Rp1Cfe => Some(need("csi2")?.id),
        };
        let Entity { id: image, .. } = *need(image)?;
        let Entity { id: metadata, .. } = *need(metadata)?;
        Ok(Self { receiver, sensor: sensor.id, sensor_name: sensor.name.clone(), bridge, image, metadata })
    }

    /// What has to change so that pictures and metadata flow and nothing else: first what is taken out, then what is put
    /// in. Links that cannot change, or are right already, are not in it.
    pub fn changes(&self, graph: &Graph) -> Vec<LinkChange> {
        let changed = |link: &&Link| !link.is_immutable() && link.is_enabled() != self.needs(link);
        let (out, into): (Vec<_>, Vec<_>) = graph.links().iter().filter(changed).partition(|link| link.is_enabled());
        let change = |link: &Link| {
            let flags = link.flags & !LINK_ENABLED | if link.is_enabled() { 0 } else { LINK_ENABLED };
            LinkChange { source: link.source, sink: link.sink, flags }
        };
        out.into_iter().chain(into).map(change).collect()
    }

    fn needs(&self, link: &Link) -> bool {
        match self.bridge {
            // The sensor's own links are there, or the sensor is not.
            _ if link.source.entity == self.sensor => true,
            Some(csi2) if link.source.entity == csi2 => {
                (link.source.index == 4 && link.sink.entity == self.image)
                    || (link.source.index == 5 && link.sink.entity == self.metadata)
            }
            _ => false,
        }
    }
}

/// What has to change so that `now` has the links of `before` again: first what is taken out, then what is put in.
pub fn restore(before: &Graph, now: &Graph) -> Vec<LinkChange> {
    let was = |link: &Link| before.links().iter().find(|old| (old.source, old.sink) == (link.source, link.sink));
    let differing = now.links().iter().filter(|link| !link.is_immutable()).filter_map(|link| {
        let old = was(link)?;
        (old.is_enabled() != link.is_enabled()).then_some(LinkChange {
            source: link.source,
            sink: link.sink,
            flags: old.flags,
        })
    });
    let (into, out): (Vec<_>, Vec<_>) = differing.partition(|change| change.flags & LINK_ENABLED != 0);
    out.into_iter().chain(into).collect()
}
