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
pub(crate) mod tests;
