//! `kinora man DIR`: a manual page for the command and one for each of its subcommands, from what the flags say themselves.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde::Serialize;

use super::args::Cli;
use super::end::{End, Failure};
use super::output::{Manner, Results};

/// The schema of `man --json`; see docs/json.md.
#[derive(Serialize)]
struct ManJson {
    paths: Vec<PathBuf>,
}

/// Writes `kinora.1`, `kinora-record.1` and so on; pages of these names are replaced.
pub fn run(directory: &Path, manner: Manner) -> Result<End, Failure> {
    fs::create_dir_all(directory).map_err(Failure::io(format!("cannot make {}", directory.display())))?;
    let mut grammar = Cli::command();
    // Names the subcommands' pages and puts the flags of every command into each of them.
    grammar.build();
    let mut paths = Vec::new();
    write(&grammar, directory, &mut paths)?;
    let mut results = Results::new();
    if manner.json {
        results.json(&ManJson { paths })?;
    } else {
        for path in paths {
            results.line(path.display())?;
        }
    }
    results.flush()?;
    Ok(End::Done)
}

fn write(command: &clap::Command, directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let path = directory.join(format!("{name}.1"));
    let mut page = Vec::new();
    let writing = || Failure::io(format!("cannot write {}", path.display()));
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(writing())?;
    fs::write(&path, page).map_err(writing())?;
    paths.push(path);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write(sub, directory, paths)?;
    }
    Ok(())
}
