//! What needs no camera: sizes and messages. Frames are tested against a kernel, in tests/vm.

use super::*;

#[test]
fn a_progress_file_is_told_by_its_stages() {
    assert_eq!(upload_line(Some("0 0 4000000\n"), true), "uploading the loader to the sensor");
    assert_eq!(upload_line(Some("1 1048576 4000000"), true), "uploading the sensor's firmware");
    assert_eq!(upload_line(Some("2 1048576 4194304"), true), "uploading the network to the sensor: 25 %");
    assert_eq!(upload_line(Some("2 9 4"), true), "uploading the network to the sensor: 100 %");
    for odd in [None, Some(""), Some("2 1 0"), Some("x y z"), Some("7 1 1")] {
        assert!(upload_line(odd, true).contains("takes minutes"), "{odd:?}");
    }
    assert_eq!(upload_line(None, false), "starting the sensor");
}

#[test]
fn a_camera_that_is_not_there_is_told_with_what_is_missing() {
    let facts = Facts { model: Some("Raspberry Pi 5".into()), ..Facts::default() };
    let told = none_found(0, &Search::default(), &facts);
    assert!(
        told.starts_with("no IMX500 found: ") && told.contains("ribbon cable") && told.contains("virtual"),
        "{told}"
    );
    let why = crate::source::obstacle::not_permitted(std::path::Path::new("/dev/media0"));
    let denied = Search { found: Vec::new(), problems: vec![("/dev/media0".into(), why)] };
    let told = none_found(0, &denied, &facts);
    assert!(told.contains("/dev/media0: permission denied") && !told.contains("ribbon"), "{told}");
}

fn found() -> Found {
    Found {
        media: "/dev/media0".into(),
        pipeline: crate::media::Pipeline {
            receiver: crate::media::Receiver::Unicam,
            sensor: 1,
            sensor_name: "imx500 10-001a".into(),
            bridge: None,
            image: 2,
            metadata: 3,
        },
        sensor: "/dev/v4l-subdev0".into(),
        bridge: None,
        image: "/dev/video0".into(),
        metadata: "/dev/video1".into(),
    }
}

#[test]
fn a_size_that_the_camera_has_not_is_refused_whatever_frames_show() {
    for picture in [PictureSource::Bayer, PictureSource::None] {
        let camera = CameraOptions { picture: Some(picture), ..CameraOptions::default() };
        let options = Imx500Options { size: Some((640, 360)), camera, ..Imx500Options::default() };
        let refused = Imx500Source::with(0, found(), None, &options).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("1014x760, 507x380 or 640x480, not of 640x360"), "{refused}");
    }
}

#[test]
fn a_recording_hears_the_networks_post_processing_and_labels() {
    let network = crate::source::virtual_scene::built_in_network();
    let info = described(1, (30, 1), Some(&network));
    assert_eq!((info.name.as_str(), info.network.as_str(), info.post.as_str()), ("imx500:1", "virtual", "od_bscn"));
    assert_eq!(info.labels, *network.labels());
    assert_eq!(described(0, (30, 1), None).post, "");
}

#[test]
fn every_refusal_at_the_start_has_its_remedy() {
    let found = found();
    let fixed = Fixed::default();
    let mut wanted = wanted(&CameraOptions::default(), None, 1119, fixed, WhiteBalance::default()).unwrap();
    wanted.network = Some(("my.rpk".into(), 10_144));
    let told = |code| {
        let why = Refused { doing: "start", error: std::io::Error::from_raw_os_error(code) };
        not_on(&found, &why, &wanted).to_string()
    };
    assert!(told(libc::ENOENT).contains("sudo apt install imx500-all"));
    assert!(told(libc::EINVAL).contains("refuses my.rpk"));
    assert!(told(libc::EREMOTEIO).contains("ribbon cable"));
    assert!(told(libc::EPIPE).contains("another program"));
    assert!(told(libc::ENODEV).contains("went away"));
    assert!(told(libc::EBUSY).contains("in use"));
    assert_eq!(found.nodes().count(), 4);
}

#[test]
fn the_first_exposure_and_the_networks_colours_follow_the_options() {
    let camera = CameraOptions {
        white_balance: Some(crate::source::WhiteBalance { red: 2.0, blue: 1.5 }),
        inference_window: Some([8, 16, 640, 480]),
        vflip: true,
        ..CameraOptions::default()
    };
    let fixed = Fixed { lines: Some(100), code: None };
    let wanted = wanted(&camera, None, 1119, fixed, white_balance(&camera)).unwrap();
    assert_eq!((wanted.exposure, wanted.notify_gains), ((100, 0), [384, 256, 256, 512]));
    assert_eq!(wanted.window, InferenceWindow { left: 8, top: 16, width: 640, height: 480 });
    assert_eq!(ids::bus_code(wanted.order()), 0x300E);
    let refused = shown(&CameraOptions { picture: Some(PictureSource::InputTensor), ..camera }, None).unwrap_err();
    assert!(refused.to_string().contains("--network"), "{refused}");
}
