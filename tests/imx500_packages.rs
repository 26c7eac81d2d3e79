//! Network packages: real ones (not part of the repository) and damaged ones.

use std::path::PathBuf;

use kinora::imx500::decode::{BuiltIn, NoPost, PostName, PostSettings, choose};
use kinora::imx500::{BadPackage, Intrinsics, Network, NetworkDescription, Package, PlaneOrder, Task};

fn networks() -> Option<PathBuf> {
    let shared = std::env::var_os("KINORA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let networks = shared.join("imx500/networks");
    if networks.is_dir() {
        return Some(networks);
    }
    assert!(std::env::var_os("KINORA_REQUIRE_SHARED").is_none(), "{} is not there", networks.display());
    eprintln!("skipped: {} is not there", networks.display());
    None
}

#[test]
fn real_packages_tell_their_tensors_lines_and_normalisation() {
    let Some(folder) = networks() else { return };
    // name, apParams file, input lines, output lines, plane order, offset back to the picture
    let expected = [
        ("deeplabv3plus", "deeplabv3plus", 121, 81, 128),
        ("inputtensoronly", "inputtensoronly", 361, 2, 128),
        ("mobilenet_v2", "mobilenet_v2", 60, 2, 128),
        ("posenet", "posenet", 214, 34, 0),
        ("ssd_mobilenetv2_fpnlite_320x320_pp", "ssd_mobilenetv2_fpnlite_320x320_pp", 121, 5, 128),
    ];
    for (name, params, input_lines, output_lines, offset) in expected {
        let file = std::fs::read(folder.join(format!("imx500_network_{name}.rpk"))).unwrap();
        let package = Package::parse(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((package.input_lines, package.output_lines), (input_lines, output_lines), "{name}");
        let wire = std::fs::read(folder.join(format!("apparams/{params}.bin"))).unwrap();
        assert_eq!(package.params.as_slice(), wire, "{name}");
        assert_eq!(package.normalisation.order, PlaneOrder::Rgb, "{name}");
        assert_eq!(package.normalisation.offset(), Some(offset), "{name}");
        let bytes = 10_144 + 2560 * (2 + usize::from(input_lines) + usize::from(output_lines));
        assert_eq!(package.buffer_bytes(), bytes, "{name}");
        for q in 0..=255 {
            let long = package.normalisation.picture_value(0, q);
            assert_eq!(long, q.wrapping_add(offset), "{name}: the short form and the formula agree");
        }
    }
}

#[test]
fn a_cut_or_damaged_package_is_an_error_with_its_place() {
    let Some(folder) = networks() else { return };
    let file = std::fs::read(folder.join("imx500_network_inputtensoronly.rpk")).unwrap();
    let archive = file.len() - 2048;
    for cut in (0..archive).step_by(997).chain(archive..file.len() - 512) {
        if let Err(error) = Package::parse(&file[..cut]) {
            assert!(error.offset <= cut.max(0x60), "cut at {cut}: {error}");
        }
    }
    assert_eq!(Package::parse(&[]).unwrap_err().kind, BadPackage::NotAPackage);
    assert_eq!(Package::parse(b"PK\x03\x04 something else entirely").unwrap_err().kind, BadPackage::NotAPackage);
    let mut endless = file.clone();
    endless[4..8].fill(0xFF);
    assert_eq!(Package::parse(&endless).unwrap_err().kind, BadPackage::Cut);
    for offset in (0..0x200).chain(archive..file.len()) {
        for flip in [0x01, 0x80] {
            let mut damaged = file.clone();
            damaged[offset] ^= flip;
            let _ = Package::parse(&damaged);
        }
    }
}

#[test]
fn each_real_package_gets_the_post_processing_that_it_asks_for() {
    let Some(folder) = networks() else { return };
    // name, post-processing, its first label
    for (name, post, first) in [
        ("deeplabv3plus", Some("segment"), None),
        ("inputtensoronly", None, None),
        ("mobilenet_v2", Some("cls"), Some("1:tench, Tinca tinca")),
        ("posenet", Some("posenet"), None),
        ("ssd_mobilenetv2_fpnlite_320x320_pp", Some("od_bscn"), Some("person")),
    ] {
        let network = Network::open(folder.join(format!("imx500_network_{name}.rpk"))).unwrap();
        assert_eq!((network.name(), network.post_name()), (name, post));
        assert_eq!(network.labels().name(0), first, "{name}");
        assert_eq!(network.no_post().is_some(), post.is_none(), "{name}");
        match network.post(PostName::OdBscn) {
            Ok(_) => assert_eq!(post, Some("od_bscn"), "{name}"),
            Err(error) => {
                assert_ne!(post, Some("od_bscn"), "{name}");
                assert!(error.to_string().starts_with("od_bscn takes four tensors [n, 4], [n], [n], [1]"), "{error}");
            }
        }
    }
}

/// What the package of each network in `apparams` says of itself, without its labels.
const INTRINSICS: [(&str, &str, &str); 16] = [
    ("deeplabv3plus", r#"{"task": "segmentation"}"#, "segment"),
    (
        "efficientdet_lite0_pp",
        r#"{"task": "object detection", "cpu": {"bbox_normalization": true}}"#,
        "od_efficientdet_lite0",
    ),
    ("higherhrnet_coco", r#"{"task": "pose estimation"}"#, "higherhrnet"),
    ("higherhrnet_coco", "{}", "higherhrnet"),
    ("mobilenet_v2", r#"{"task": "classification"}"#, "cls"),
    ("nanodet_plus_416x416", r#"{"task": "object detection"}"#, "nanodet"),
    ("posenet", r#"{"task": "pose estimation"}"#, "posenet"),
    ("posenet", r#"{"cpu": {"post_processing": "posenet"}}"#, "posenet"),
    ("nanodet_plus_416x416_pp", r#"{"task": "object detection"}"#, "od_bscn"),
    ("regnetx_002", r#"{"task": "classification", "cpu": {"softmax": true}}"#, "cls_softmax"),
    ("regnety_002", r#"{"task": "classification", "cpu": {"softmax": true}}"#, "cls_softmax"),
    ("shufflenet_v2_x1_5", r#"{"task": "classification"}"#, "cls_softmax"),
    ("squeezenet1.0", r#"{"task": "classification"}"#, "cls_softmax"),
    ("ssd_mobilenetv2_fpnlite_320x320_pp", r#"{"task": "object detection"}"#, "od_bscn"),
    ("ssd_mobilenetv2_fpnlite_320x320_pp", r#"{"cpu": {"bbox_order": "xy", "bbox_normalization": false}}"#, "od"),
    ("ssd_mobilenetv2_fpnlite_320x320_pp", r#"{"cpu": {"post_processing": "pp_od_bcsn"}}"#, "od_bcsn"),
];

#[test]
fn the_choice_follows_the_package_and_mends_what_packages_forget() {
    let Some(folder) = networks() else { return };
    let network = |name: &str| {
        let params = std::fs::read(folder.join(format!("apparams/{name}.bin"))).unwrap();
        NetworkDescription::parse(&params, 0).unwrap()
    };
    let settings = PostSettings { threshold: Some(0.25), top: Some(3) };
    for (name, text, post) in INTRINSICS {
        let intrinsics = Intrinsics::parse(text).unwrap();
        let chosen = choose(&network(name), &intrinsics, None, settings).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(chosen.name(), post, "{name}");
        match chosen {
            BuiltIn::Classify(c) => assert_eq!((c.threshold, c.top), (0.25, 3)),
            BuiltIn::Detect(d) => assert_eq!((d.threshold, d.boxes_max), (0.25, 3)),
            _ => {}
        }
    }
    let refused = |name: &str, text: &str| {
        let intrinsics = Intrinsics::parse(text).unwrap();
        choose(&network(name), &intrinsics, None, settings).unwrap_err()
    };
    let asked = r#"{"task": "object detection", "cpu": {"post_processing": "magic"}}"#;
    assert_eq!(refused("mobilenet_v2", asked), NoPost::NotBuiltIn("magic".try_into().unwrap()));
    assert_eq!(refused("mobilenet_v2", "{}"), NoPost::Unclear(None));
    assert_eq!(refused("mobilenet_v2", r#"{"task": "segmentation"}"#), NoPost::Unclear(Some(Task::Segmentation)));
    for post in PostName::ALL {
        assert_eq!(post.name().parse(), Ok(post));
        assert_eq!(format!("pp_{post}").parse(), Ok(post));
    }
    assert!("cats".parse::<PostName>().unwrap_err().to_string().contains("od_bscn, od_bcsn"));
}
