//! Instant replay in a loop of the program's own: keeps the last frames, and shows a moment again at half speed.
//!
//! `cargo run --example instant_replay -- virtual:seed=7,frames=300`

use kinora::prelude::*;
use kinora::replay::operator::Output;
use kinora::{ReplayOperator, ReplaySettings, SystemClock};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "auto".into());
    let mut source = kinora::open_source(&name)?;
    let clock = SystemClock;
    let settings = ReplaySettings { autostart_recording: true, max_frames_in_memory: 300, ..Default::default() };
    let mut replay = ReplayOperator::new(settings)?;
    let control = replay.control();
    let mut stream = source.start()?;
    let mut seen = 0;
    while let Some(frame) = stream.next()? {
        let out = replay.process(frame, clock.now());
        show(&out);
        seen += 1;
        if seen == 60 {
            control.set_speed(Speed::new(1, 2))?;
            control.start_playback()?;
        }
    }
    let status = control.status();
    println!("{}: {} frames in store, {} ticks", status.state.name(), status.number_of_frames_in_storage, status.ticks);
    Ok(())
}

fn show(out: &Output<'_>) {
    match out {
        Output::Live(frame) => println!("live     {frame}"),
        Output::Black(frame) => println!("black    #{}", frame.meta.sequence),
        Output::Replayed { frame, position, .. } => println!("replay {position:3} {frame}"),
    }
}
