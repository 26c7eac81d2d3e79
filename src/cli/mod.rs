//! The command line: flags and settings (`args`, `settings`, `units`), the checked `command`, what the user sees
//! (`output`), and a file for each group of commands.

pub mod args;
pub mod command;
pub mod completions;
pub mod end;
pub mod output;
pub mod print_config;
pub mod settings;
pub mod units;
