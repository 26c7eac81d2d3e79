//! Saves a clip whenever two persons come into sight: five seconds before, five after. The loop may be slow; it costs no
//! footage.
//!
//! `cargo run --example clips -- virtual:seed=1,frames=900 clips`

use kinora::prelude::*;

fn main() -> kinora::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let source = kinora::open_source(&arguments.next().unwrap_or_else(|| "auto".into()))?;
    let directory = arguments.next().unwrap_or_else(|| "clips".into());
    let mut session = Session::builder().source(source).window_seconds(30).clips(directory).start()?;
    let mut tap = session.frames(Policy::Latest);
    let mut were_two = false;
    while let Some(f) = tap.next()? {
        let are_two = (f.detections().label("person") & f.detections().above(0.6)).count() >= 2;
        if are_two && !were_two {
            session.trigger("two people", secs(5), secs(5))?;
        }
        were_two = are_two;
    }
    let clips = session.take_clip_control();
    let report = session.stop()?;
    for event in clips.iter().flat_map(|clips| clips.events()) {
        println!("{event:?}");
    }
    println!("{} frames, {} lost", report.status.captured, report.status.lost());
    Ok(())
}
