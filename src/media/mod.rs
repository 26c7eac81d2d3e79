//! The media controller's graph: from the bytes that the kernel answers to entities, pads and links, and from these to the
//! way through which an IMX500 delivers.
//!
//! ```text
//!  interface (major:minor) ── entity ── pad ── link ── pad ── entity ── interface
//!  /dev/v4l-subdev0           imx500     0      ═►      0     unicam-image  /dev/video0
//! ```
//!
//! Node numbers change from boot to boot, names do not: everything is found by the names of entities. Layout of the bytes:
//! `linux/media.h`, `struct media_v2_topology` and what it points to (kernel 4.19 and newer, where pads have an index).

mod camera;

pub use camera::{LinkChange, NoPipeline, Pipeline, Receiver, restore};

use std::fmt;

/// Bytes of `struct media_v2_entity`: id, name of 64, function, flags, 5 reserved words.
pub const ENTITY_BYTES: usize = 96;
/// Bytes of `struct media_v2_interface`: id, type, flags, 9 reserved words, 16 words of which two are the device's number.
pub const INTERFACE_BYTES: usize = 112;
/// Bytes of `struct media_v2_pad`: id, entity, flags, index, 4 reserved words.
pub const PAD_BYTES: usize = 32;
/// Bytes of `struct media_v2_link`: id, source, sink, flags, 6 reserved words.
pub const LINK_BYTES: usize = 40;

const ENTITY_NAME_BYTES: usize = 64;

/// `MEDIA_LNK_FL_ENABLED`: data flows.
pub const LINK_ENABLED: u32 = 1;
/// `MEDIA_LNK_FL_IMMUTABLE`: the link cannot be changed.
pub const LINK_IMMUTABLE: u32 = 2;
/// `MEDIA_LNK_FL_DYNAMIC`: the link may change while data flows.
pub const LINK_DYNAMIC: u32 = 4;
const LINK_TYPE: u32 = 0xF << 28;
const LINK_TYPE_DATA: u32 = 0;
const LINK_TYPE_INTERFACE: u32 = 1 << 28;

/// The four arrays of a topology as the kernel fills them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// `struct media_v2_entity` after another.
    pub entities: Vec<u8>,
    /// `struct media_v2_interface` after another.
    pub interfaces: Vec<u8>,
    /// `struct media_v2_pad` after another.
    pub pads: Vec<u8>,
    /// `struct media_v2_link` after another.
    pub links: Vec<u8>,
}

/// A block of hardware, or a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Number in this graph.
    pub id: u32,
    /// Name given by the driver.
    pub name: String,
    /// `MEDIA_ENT_F_*`.
    pub function: u32,
}

/// A character device that stands for an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Number in this graph.
    pub id: u32,
    /// `MEDIA_INTF_T_*`.
    pub kind: u32,
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pad {
    id: u32,
    entity: u32,
    index: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RawLink {
    source: u32,
    sink: u32,
    flags: u32,
}

/// One end of a link, as `MEDIA_IOC_SETUP_LINK` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadRef {
    /// The entity's number.
    pub entity: u32,
    /// The pad's index within the entity.
    pub index: u16,
}

/// A way from one pad to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where data comes from.
    pub source: PadRef,
    /// Where it goes.
    pub sink: PadRef,
    /// `MEDIA_LNK_FL_*`.
    pub flags: u32,
}

impl Link {
    /// True when data flows.
    pub const fn is_enabled(&self) -> bool {
        self.flags & LINK_ENABLED != 0
    }

    /// True when it cannot be changed.
    pub const fn is_immutable(&self) -> bool {
        self.flags & LINK_IMMUTABLE != 0
    }
}

/// A topology that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTopology {
    /// Which of the arrays.
    pub array: &'static str,
    /// Byte of it where the trouble is.
    pub offset: usize,
    /// What it is.
    pub what: &'static str,
}

impl fmt::Display for BadTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "media topology, {} byte {}: {}", self.array, self.offset, self.what)
    }
}

impl std::error::Error for BadTopology {}

/// A checked graph: every pad belongs to an entity that is there, every data link joins pads that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    entities: Vec<Entity>,
    interfaces: Vec<Interface>,
    links: Vec<Link>,
    /// Interface and entity.
    faces: Vec<(u32, u32)>,
}

impl Graph {
    /// Reads the four arrays.
    ///
    /// # Errors
    /// An array is cut, two entities or pads have one number, or something points to nothing.
    pub fn parse(topology: &Topology) -> Result<Self, BadTopology> {
        let entities = rows("entities", &topology.entities, ENTITY_BYTES, |row| Entity {
            id: word(row, 0),
            name: text(&row[4..4 + ENTITY_NAME_BYTES]),
            function: word(row, 68),
        })?;
        let interfaces = rows("interfaces", &topology.interfaces, INTERFACE_BYTES, |row| Interface {
            id: word(row, 0),
            kind: word(row, 4),
            major: word(row, 48),
            minor: word(row, 52),
        })?;
        let pads = rows("pads", &topology.pads, PAD_BYTES, |row| Pad {
            id: word(row, 0),
            entity: word(row, 4),
            index: word(row, 12).min(u32::from(u16::MAX)) as u16,
        })?;
        let raw = rows("links", &topology.links, LINK_BYTES, |row| RawLink {
            source: word(row, 4),
            sink: word(row, 8),
            flags: word(row, 12),
        })?;
        unique("entities", ENTITY_BYTES, entities.iter().map(|entity| entity.id))?;
        unique("pads", PAD_BYTES, pads.iter().map(|pad| pad.id))?;
        for (i, pad) in pads.iter().enumerate() {
            if !entities.iter().any(|entity| entity.id == pad.entity) {
                return Err(BadTopology { array: "pads", offset: i * PAD_BYTES + 4, what: "a pad of no entity" });
            }
        }
        let end = |id: u32| pads.iter().find(|pad| pad.id == id).map(|p| PadRef { entity: p.entity, index: p.index });
        let mut links = Vec::new();
        let mut faces = Vec::new();
        for (i, link) in raw.iter().enumerate() {
            let bad = |what| BadTopology { array: "links", offset: i * LINK_BYTES + 4, what };
            match link.flags & LINK_TYPE {
                LINK_TYPE_DATA => links.push(Link {
                    source: end(link.source).ok_or(bad("a link from no pad"))?,
                    sink: end(link.sink).ok_or(bad("a link to no pad"))?,
                    flags: link.flags,
                }),
                LINK_TYPE_INTERFACE => faces.push((link.source, link.sink)),
                // Ancillary links (lens, flash) carry no data.
                _ => {}
            }
        }
        Ok(Self { entities, interfaces, links, faces })
    }

    /// All entities in the driver's order.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// All data links in the driver's order.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The first entity whose name passes.
    pub fn find(&self, passes: impl Fn(&str) -> bool) -> Option<&Entity> {
        self.entities.iter().find(|entity| passes(&entity.name))
    }

    /// The entity with this number.
    pub fn entity(&self, id: u32) -> Option<&Entity> {
        self.entities.iter().find(|entity| entity.id == id)
    }

    /// The device that stands for an entity.
    pub fn device(&self, entity: u32) -> Option<Interface> {
        let (interface, _) = self.faces.iter().find(|(_, of)| *of == entity)?;
        self.interfaces.iter().find(|candidate| candidate.id == *interface).copied()
    }
}

/// The rows of an array of structures of `size` bytes.
fn rows<T>(array: &'static str, bytes: &[u8], size: usize, read: impl Fn(&[u8]) -> T) -> Result<Vec<T>, BadTopology> {
    let rest = bytes.len() % size;
    if rest != 0 {
        return Err(BadTopology { array, offset: bytes.len() - rest, what: "the last row is cut" });
    }
    Ok(bytes.chunks_exact(size).map(read).collect())
}

fn unique(array: &'static str, size: usize, ids: impl Iterator<Item = u32>) -> Result<(), BadTopology> {
    let mut seen = std::collections::HashSet::new();
    for (i, id) in ids.enumerate() {
        if !seen.insert(id) {
            return Err(BadTopology { array, offset: i * size, what: "two rows have one number" });
        }
    }
    Ok(())
}

/// The kernel's numbers are in the machine's own order.
fn word(row: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds the four arrays of a topology.
    #[derive(Default)]
    struct Build {
        topology: Topology,
        pads: u32,
        next_link: u32,
    }

    impl Build {
        fn words(target: &mut Vec<u8>, words: &[u32], zeros: usize) {
            words.iter().for_each(|word| target.extend_from_slice(&word.to_ne_bytes()));
            target.resize(target.len() + 4 * zeros, 0);
        }

        /// An entity with its device, if it has one.
        fn entity(&mut self, id: u32, name: &str, device: Option<(u32, u32)>) -> &mut Self {
            let t = &mut self.topology;
            Self::words(&mut t.entities, &[id], 0);
            let mut padded = name.as_bytes().to_vec();
            padded.resize(64, 0);
            t.entities.extend_from_slice(&padded);
            Self::words(&mut t.entities, &[0x2_0001, 0], 5);
            if let Some((major, minor)) = device {
                let interface = 0x0300_0000 + id;
                Self::words(&mut t.interfaces, &[interface, 0x200, 0], 9);
                Self::words(&mut t.interfaces, &[major, minor], 14);
                self.next_link += 1;
                Self::words(&mut self.topology.links, &[self.next_link, interface, id, 1 << 28 | 1], 6);
            }
            self
        }

        fn pad(&mut self, entity: u32, index: u32) -> u32 {
            self.pads += 1;
            let id = 0x0100_0000 + self.pads;
            Self::words(&mut self.topology.pads, &[id, entity, 1, index], 4);
            id
        }

        /// A link between new pads of two entities.
        fn link(&mut self, source: (u32, u32), sink: (u32, u32), flags: u32) -> &mut Self {
            let (from, to) = (self.pad(source.0, source.1), self.pad(sink.0, sink.1));
            self.next_link += 1;
            Self::words(&mut self.topology.links, &[self.next_link, from, to, flags], 6);
            self
        }

        fn topology(&self) -> &Topology {
            &self.topology
        }
    }

    /// As a Pi 4 has it.
    fn unicam() -> Build {
        let mut build = Build::default();
        build.entity(1, "imx500 10-001a", Some((81, 5)));
        build.entity(5, "unicam-image", Some((81, 0))).entity(9, "unicam-embedded", Some((81, 1)));
        build.link((1, 0), (5, 0), 3).link((1, 1), (9, 0), 3);
        build
    }

    /// As a Pi 5 has it after libcamera: the way through the front end is enabled, ours is not.
    fn rp1_cfe() -> Build {
        let mut build = Build::default();
        build.entity(1, "csi2", Some((81, 8))).entity(10, "pisp-fe", Some((81, 9)));
        build.entity(16, "imx500 4-001a", Some((81, 10)));
        for (i, name) in
            ["csi2_ch0", "embedded", "csi2_ch2", "csi2_ch3", "fe_image0", "fe_image1", "fe_stats", "fe_config"]
                .into_iter()
                .enumerate()
        {
            build.entity(20 + 4 * i as u32, &format!("rp1-cfe-{name}"), Some((81, i as u32)));
        }
        build.link((16, 0), (1, 0), 3).link((16, 1), (1, 1), 3);
        build.link((1, 4), (20, 0), 0).link((1, 5), (24, 0), 1).link((1, 6), (28, 0), 0).link((1, 7), (32, 0), 0);
        build.link((1, 4), (10, 0), 1).link((10, 2), (36, 0), 1).link((10, 3), (40, 0), 0).link((10, 4), (44, 0), 1);
        build.link((48, 0), (10, 1), 1);
        build
    }

    /// The graph after the changes, as the kernel would have it.
    fn changed(graph: &Graph, changes: &[LinkChange]) -> Graph {
        let mut graph = graph.clone();
        for change in changes {
            let ends = (change.source, change.sink);
            let link = graph.links.iter_mut().find(|link| (link.source, link.sink) == ends).unwrap();
            assert!(!link.is_immutable(), "{change:?} changes what cannot change");
            link.flags = change.flags;
        }
        graph
    }

    fn enabled(graph: &Graph) -> Vec<(u32, u16, u32)> {
        let on = graph.links().iter().filter(|link| link.is_enabled());
        on.map(|link| (link.source.entity, link.source.index, link.sink.entity)).collect()
    }

    #[test]
    fn a_camera_behind_unicam_needs_no_change() {
        let graph = Graph::parse(unicam().topology()).unwrap();
        let pipeline = Pipeline::find(&graph, "unicam").unwrap();
        assert_eq!((pipeline.sensor, pipeline.image, pipeline.metadata, pipeline.bridge), (1, 5, 9, None));
        assert_eq!(pipeline.sensor_name, "imx500 10-001a");
        assert!(pipeline.changes(&graph).is_empty());
        assert_eq!(graph.device(9).map(|device| (device.major, device.minor)), Some((81, 1)));
        assert!(pipeline.receiver.is_strided());
    }

    #[test]
    fn links_that_another_program_left_are_taken_out_ours_put_in_and_all_put_back_at_the_end() {
        let graph = Graph::parse(rp1_cfe().topology()).unwrap();
        let pipeline = Pipeline::find(&graph, "rp1-cfe").unwrap();
        assert_eq!((pipeline.sensor, pipeline.image, pipeline.metadata, pipeline.bridge), (16, 20, 24, Some(1)));
        let changes = pipeline.changes(&graph);
        // Four out, then one in; the kernel refuses a pad that feeds two.
        let flags: Vec<_> = changes.iter().map(|change| change.flags).collect();
        assert_eq!(flags, [0, 0, 0, 0, 1]);
        let ours = changed(&graph, &changes);
        assert_eq!(enabled(&ours), [(16, 0, 1), (16, 1, 1), (1, 4, 20), (1, 5, 24)]);
        assert!(pipeline.changes(&ours).is_empty());
        let back = restore(&graph, &ours);
        assert_eq!(back.iter().map(|change| change.flags & 1).collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
        assert_eq!(changed(&ours, &back), graph);
    }

    #[test]
    fn graphs_without_our_camera_say_what_is_missing() {
        let other = Graph::parse(Build::default().entity(1, "imx708_wide", None).topology()).unwrap();
        assert_eq!(Pipeline::find(&other, "unicam"), Err(NoPipeline::NoSensor));
        let graph = Graph::parse(unicam().topology()).unwrap();
        let told = Pipeline::find(&graph, "bcm2835-codec").unwrap_err().to_string();
        assert!(told.contains("bcm2835-codec") && told.contains("rp1-cfe"), "{told}");
        let old = Graph::parse(Build::default().entity(1, "imx500 10-001a", None).topology()).unwrap();
        let told = Pipeline::find(&old, "unicam").unwrap_err().to_string();
        assert!(told.contains("unicam-image") && told.contains("reboot"), "{told}");
        let mut mainline = Build::default();
        mainline.entity(1, "imx500 10-001a", None).entity(2, "csi2", None).entity(3, "rp1-cfe-csi2-ch0", None);
        let told = Pipeline::find(&Graph::parse(mainline.topology()).unwrap(), "rp1-cfe").unwrap_err();
        assert_eq!(told, NoPipeline::Mainline);
    }

    #[test]
    fn damaged_topologies_are_refused_with_their_place() {
        let good = unicam().topology().clone();
        let refused = |topology: &Topology| Graph::parse(topology).unwrap_err();
        let mut cut = good.clone();
        cut.links.pop();
        assert_eq!((refused(&cut).array, refused(&cut).what), ("links", "the last row is cut"));
        let mut twice = good.clone();
        twice.entities.extend_from_within(..ENTITY_BYTES);
        assert_eq!((refused(&twice).array, refused(&twice).offset), ("entities", 3 * ENTITY_BYTES));
        let mut lost = good.clone();
        lost.pads.truncate(3 * PAD_BYTES);
        assert_eq!(refused(&lost).what, "a link to no pad");
        let mut strange = good.clone();
        strange.pads[4..8].copy_from_slice(&77_u32.to_ne_bytes());
        assert_eq!((refused(&strange).array, refused(&strange).offset), ("pads", 4));
        assert_eq!(Graph::parse(&Topology::default()).unwrap(), Graph::default());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_graph_or_an_error(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000),
            rows in 0_usize..10,
        ) {
            let part = |size: usize| bytes[..(rows * size).min(bytes.len())].to_vec();
            let topology = Topology {
                entities: part(ENTITY_BYTES),
                interfaces: part(INTERFACE_BYTES),
                pads: part(PAD_BYTES),
                links: part(LINK_BYTES),
            };
            if let Ok(graph) = Graph::parse(&topology) {
                let _ = Pipeline::find(&graph, "unicam").map(|pipeline| pipeline.changes(&graph));
            }
        }
    }
}
