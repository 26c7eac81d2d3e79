//! A camera's buffer that is to hold one JPEG picture: any bytes give a picture inside them or a refusal with its place. What is
//! copied out, with the tables that a camera left out, is a whole picture of the same shape; where the build has the decoder it
//! decodes or refuses what remains.

use kinora::jpeg_header::{JpegHeader, JpegHeaderError};
use kinora::limits::SIDE_PIXELS_MAX;
use kinora::mjpeg::{Mjpeg, TABLES_BYTES};

/// # Panics
/// When something above does not hold.
pub fn check(buffer: &[u8]) {
    match JpegHeader::read(buffer) {
        Ok(header) => of_header(buffer, &header),
        Err(error) => of_refusal(buffer, &error),
    }
    let found = match Mjpeg::find(buffer) {
        Ok(found) => found,
        Err(error) => {
            assert!(JpegHeader::read(buffer).is_err(), "a picture for the header is none for the camera: {error}");
            return of_refusal(buffer, &error);
        }
    };
    assert_eq!(found.bytes, &buffer[..found.header.bytes]);
    of_header(buffer, &found.header);
    let mut target = vec![0xA5; found.written_len() + 1];
    assert_eq!(found.write_to(&mut target[..found.written_len() - 1]), None, "written into less than it needs");
    assert_eq!(found.write_to(&mut target), Some(found.written_len()));
    assert_eq!(target.pop(), Some(0xA5), "written behind its end");
    let again = Mjpeg::find(&target).expect("what was written is a picture");
    let (before, after) = (found.header, again.header);
    assert_eq!((after.width, after.height, after.components), (before.width, before.height, before.components));
    assert_eq!(after.tables_missing_at, None, "tables are still missing");
    let added = if before.tables_missing_at.is_some() { TABLES_BYTES } else { 0 };
    assert_eq!(after.bytes, before.bytes + added);
    decode(&target, &after);
}

/// Everything a header says lies inside the bytes, and reading only those says the same.
fn of_header(bytes: &[u8], header: &JpegHeader) {
    let sides = 1..=SIDE_PIXELS_MAX;
    assert!(sides.contains(&header.width) && sides.contains(&header.height), "{header:?}");
    assert!(matches!(header.components, 1 | 3 | 4), "{header:?}");
    let picture = &bytes[..header.bytes];
    assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]), "{header:?}");
    assert_eq!(JpegHeader::read(picture).as_ref(), Ok(header));
    // Any number of 0xff may stand before the scan's marker.
    if let Some(at) = header.tables_missing_at {
        assert_eq!(picture[at..].iter().find(|&&byte| byte != 0xff), Some(&0xda), "no scan at byte {at}");
    }
}

fn of_refusal(bytes: &[u8], error: &JpegHeaderError) {
    assert!(!error.to_string().is_empty());
    match *error {
        JpegHeaderError::BadSegment { offset } | JpegHeaderError::Unsupported { offset, .. } => {
            assert!(offset <= bytes.len(), "byte {offset} of {}: {error}", bytes.len());
        }
        JpegHeaderError::NoEnd { length } => assert!(length <= bytes.len(), "{error}"),
        JpegHeaderError::BadSize { width, height } => {
            let good = 1..=SIDE_PIXELS_MAX;
            assert!(!good.contains(&width) || !good.contains(&height), "{error}");
        }
        _ => {}
    }
}

/// Decodes small pictures: what large ones claim must cost no memory here.
#[cfg(feature = "jpeg")]
fn decode(picture: &[u8], header: &JpegHeader) {
    use kinora::frame::PixelFormat;
    use kinora::jpeg::Decoder;

    const PIXELS_MAX: usize = 1 << 16;
    let pixels = header.width as usize * header.height as usize;
    if pixels > PIXELS_MAX {
        return;
    }
    let mut decoder = Decoder::new().expect("a decoder");
    let mut target = vec![0xA5; 3 * pixels + 1];
    assert!(decoder.decode(picture, PixelFormat::Bgr888, &mut target[..3 * pixels - 1]).is_err(), "it cannot fit");
    if let Ok(info) = decoder.decode(picture, PixelFormat::Bgr888, &mut target[..3 * pixels]) {
        assert_eq!((info.width, info.height), (header.width, header.height));
    }
    assert_eq!(target[3 * pixels], 0xA5, "decoded behind the end");
}

#[cfg(not(feature = "jpeg"))]
fn decode(_: &[u8], _: &JpegHeader) {}
