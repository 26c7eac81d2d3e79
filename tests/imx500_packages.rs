//! Network packages: real ones (not part of the repository) and damaged ones.

use std::path::PathBuf;

use kinora::imx500::{BadPackage, Package, PlaneOrder};

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
