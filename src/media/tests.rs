//! Graphs of both receivers, laid out as the kernel does, and what becomes of damaged ones.

use super::*;

/// Builds the four arrays of a topology.
#[derive(Default)]
pub(crate) struct Build {
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
    pub(crate) fn entity(&mut self, id: u32, name: &str, device: Option<(u32, u32)>) -> &mut Self {
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
    pub(crate) fn link(&mut self, source: (u32, u32), sink: (u32, u32), flags: u32) -> &mut Self {
        let (from, to) = (self.pad(source.0, source.1), self.pad(sink.0, sink.1));
        self.next_link += 1;
        Self::words(&mut self.topology.links, &[self.next_link, from, to, flags], 6);
        self
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }
}

/// As a Pi 4 has it.
pub(crate) fn unicam() -> Build {
    let mut build = Build::default();
    build.entity(1, "imx500 10-001a", Some((81, 5)));
    build.entity(5, "unicam-image", Some((81, 0))).entity(9, "unicam-embedded", Some((81, 1)));
    build.link((1, 0), (5, 0), 3).link((1, 1), (9, 0), 3);
    build
}

/// As a Pi 5 has it after libcamera: the way through the front end is enabled, ours is not.
pub(crate) fn rp1_cfe() -> Build {
    let mut build = Build::default();
    build.entity(1, "csi2", Some((81, 8))).entity(10, "pisp-fe", Some((81, 9)));
    build.entity(16, "imx500 4-001a", Some((81, 10)));
    for (i, name) in ["csi2_ch0", "embedded", "csi2_ch2", "csi2_ch3", "fe_image0", "fe_image1", "fe_stats", "fe_config"]
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
