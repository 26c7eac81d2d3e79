//! modlib's `play.py`: plays a recording at its own pace and shows what was seen in it. Esc or q ends.
//!
//! ```text
//! cargo run --release --example play temp/recordings/recording_2025-03-10_14-12-00.kinora
//! cargo run --release --example play people.json 1/2   # modlib's own format, at half speed
//! ```

mod common;

use common::Display;
use kinora::draw;
use kinora::prelude::*;

fn main() -> kinora::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        eprintln!("usage: play FILE [SPEED]");
        std::process::exit(2);
    };
    let rate: Rate = match arguments.next().map(|speed| speed.parse()) {
        None => Rate::NORMAL,
        Some(Ok(rate)) => rate,
        Some(Err(wrong)) => {
            eprintln!("{wrong}");
            std::process::exit(2);
        }
    };
    // No camera is needed, and no codec to choose: the file tells what it is.
    let mut recording = Playback::open(file)?.rate(rate);
    let mut display = Display::open("play")?;
    let mut stream = recording.start()?;
    while let Some(frame) = stream.next()? {
        let goes_on = display.show(&frame, |canvas| {
            draw::poses(canvas, frame.poses().above(0.4).iter());
            draw::boxes(canvas, frame.detections().above(0.4).iter());
            draw::rates(canvas, frame.meta.fps, frame.meta.dps);
        })?;
        if !goes_on {
            break;
        }
    }
    drop(display);
    eprintln!("{}", stream.report());
    Ok(())
}
