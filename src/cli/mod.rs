//! The command line: flags and settings (`args`, `settings`, `units`), the checked `command`, what the user sees
//! (`output`), and a file for each group of commands.

pub mod args;
pub mod cat;
pub mod command;
pub mod completions;
pub mod compress;
pub mod copy;
pub mod ctl;
pub mod decode;
pub mod diff;
pub mod doctor;
pub mod end;
pub mod export;
pub mod face;
pub mod import;
pub mod info;
pub mod jpeg_stream;
pub mod json;
pub mod keys;
pub mod man;
pub mod memory;
pub mod network;
pub mod open;
pub mod output;
pub mod play;
pub mod print_config;
pub mod record;
pub mod replay;
pub mod screen;
pub mod settings;
pub mod sinks;
pub mod source;
pub mod stop;
pub mod tail;
pub mod units;
pub mod verify;
