//! Network packages: what is read of one fits together, and every post-processing takes or refuses it.

use kinora::imx500::decode::{PostName, PostSettings, choose};
use kinora::imx500::{Layout, Network, NetworkDescription, Package};

/// Reads the bytes as a package.
pub fn check(bytes: &[u8]) {
    let package = match Package::parse(bytes) {
        Ok(package) => package,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(package.buffer_bytes() > 10_144);
    for plane in 0..3 {
        for q in [0, 127, 255] {
            let _ = package.normalisation.picture_value(plane, q);
        }
    }
    // What we write of a description is read as the same one.
    if let Ok(params) = package.network.to_params() {
        let mut again = NetworkDescription::parse(&params, package.network.id).expect("our own apParams");
        assert_eq!(again.outputs.len(), package.network.outputs.len());
        again.name.clone_from(&package.network.name);
        assert_eq!(again.input.bytes(), package.network.input.bytes());
    }
    let network = match Network::new("fuzzed", &package) {
        Ok(network) => network,
        Err(error) => {
            let text = package.intrinsics.unwrap_or_default();
            return assert!(error.offset <= text.len() && !error.to_string().is_empty());
        }
    };
    assert_eq!(network.post_name().is_none(), network.no_post().is_some());
    assert!(network.labels().len() <= network.intrinsics().labels.len());
    let _ = network.parser(Layout { width: 2028, strided: true });
    for post in PostName::ALL {
        let chosen = choose(network.description(), network.intrinsics(), Some(post), PostSettings::default());
        assert_eq!(chosen.is_ok(), post.fits(network.description()), "{post}");
    }
}
