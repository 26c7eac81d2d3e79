//! modlib's `rec.py`: records what the camera and its network see, and shows it meanwhile. Esc or q ends the recording.
//!
//! ```text
//! cargo run --release --example rec                    # the first camera
//! cargo run --release --example rec virtual:kind=poses # a simulated one
//! cargo run --release --example rec auto --json        # modlib's own format, its "codec choice"
//! ```

mod common;

use common::Display;
use kinora::draw;
use kinora::prelude::*;

const DIRECTORY: &str = "temp/recordings";

fn main() -> kinora::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut source = kinora::open_source(&arguments.next().unwrap_or("auto".into()))?;
    let mut recorder = match arguments.next().as_deref() {
        Some("--json") => Recorder::create_modlib_json(DIRECTORY)?,
        _ => Recorder::create(DIRECTORY)?,
    };
    let mut display = Display::open("rec")?;
    let mut stream = source.start()?;
    while let Some(frame) = stream.next()? {
        // First of all into the recording, so that nothing drawn gets there.
        recorder.add(&frame)?;
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
    println!("{}", recorder.finish()?);
    Ok(())
}
