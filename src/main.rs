//! The `kinora` command: what was typed becomes a checked command, and each command is one function.

mod cli;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use cli::args::Cli;
use cli::command::Command;
use cli::end::{End, Failure};
use cli::output::Manner;
use cli::settings::{Layers, Settings};

fn main() -> ExitCode {
    let mut grammar = Cli::command();
    grammar.build();
    // Shows help and usage errors by itself, with exit codes 0 and 2.
    let matches = grammar.clone().get_matches();
    let typed = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let manner = Manner::of_this_process(typed.global.json, typed.global.quiet);
    if let Err(error) = kinora::recording::guard_mapped_files() {
        manner.warn(format_args!("a recording that is cut short while it is open will end the command: {error}"));
    }
    cli::output::start_log(typed.global.verbose, manner);
    let end = settings(&grammar, &matches, typed.global.config.as_deref()).and_then(|settings| {
        let command = Command::check(typed.command, &settings, manner.json).map_err(Failure::Usage)?;
        match typed.global.print_config {
            true => cli::print_config::run(&settings, manner),
            false => run(command, manner),
        }
    });
    cli::end::exit_code(end, manner)
}

/// The settings of the command that was typed, from all layers.
fn settings(grammar: &clap::Command, matches: &clap::ArgMatches, named: Option<&Path>) -> Result<Settings, Failure> {
    let layers = Layers::of_this_machine(named).map_err(Failure::Usage)?;
    let typed = matches.subcommand().and_then(|(name, sub)| Some((grammar.find_subcommand(name)?, sub)));
    let settings = typed.map(|(command, sub)| Settings::gather(command, sub, &layers)).unwrap_or_default();
    for (key, setting) in settings.iter() {
        tracing::debug!("{key} = {} ({})", setting.text, setting.origin);
    }
    Ok(settings)
}

fn run(command: Command, manner: Manner) -> Result<End, Failure> {
    match command {
        Command::Record(record) => cli::record::run(record, manner),
        Command::Play(play) => cli::play::run(play, manner),
        Command::Replay(replay) => cli::replay::run(*replay, manner),
        Command::Ctl(ctl) => cli::ctl::run(&ctl, manner),
        Command::Info(files) => cli::info::run(&files, manner),
        Command::Cat { file, range, all } => cli::cat::run(&file, &range, all, manner),
        Command::Verify(file) => cli::verify::run(&file, manner),
        Command::Repair { file, out } => cli::copy::repair(&file, &out, manner),
        Command::Export { file, out } => cli::export::run(&file, &out, manner),
        Command::Import { file, out, min_free } => cli::import::run(&file, &out, min_free, manner),
        Command::Cut { file, range, out } => cli::copy::cut(&file, &range, &out, manner),
        Command::Diff { before, after, iou } => cli::diff::run(&before, &after, iou, manner),
        Command::Tail { file, from_start } => cli::tail::run(&file, from_start, manner),
        Command::Memory { source, engine, beside } => cli::memory::run(&source, &engine, &beside, manner),
        Command::Network(name) => cli::network::run(name.as_deref(), manner),
        Command::Decode(decode) => cli::decode::run(&decode, manner),
        Command::Doctor(doctor) => cli::doctor::run(&doctor, manner),
        Command::Redetect(redetect) => cli::redetect::run(&redetect, manner),
        Command::Devices => devices(manner),
        Command::Completions(shell) => cli::completions::run(shell),
        Command::Man(directory) => cli::man::run(&directory, manner),
    }
}

#[cfg(feature = "v4l2")]
fn devices(manner: Manner) -> Result<End, Failure> {
    cli::devices::run(manner)
}

#[cfg(not(feature = "v4l2"))]
fn devices(_: Manner) -> Result<End, Failure> {
    Err(Failure::Failed("this build knows no cameras; build it with the feature `v4l2`".into()))
}
