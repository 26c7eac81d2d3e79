//! Power cuts for real: a stock kernel under qemu records on a disk of ours, the emulator is killed, the disk forgets what was
//! not flushed, and the next boot must find every frame that was claimed durable. `scripts/power-cut` starts it; run by
//! `cargo test` it says so and does nothing.

mod bad_pages;
mod disk;
mod guest;
mod host;
mod judge;
#[path = "../../common/random.rs"]
mod random;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("guest") => {
            guest::run();
            ExitCode::SUCCESS
        }
        Some("bad-pages") => bad_pages::run(),
        Some("host") => host::run(arguments),
        _ => {
            println!("skipped: power cuts need a virtual machine; run scripts/power-cut");
            ExitCode::SUCCESS
        }
    }
}
