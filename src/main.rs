//! The `kinora` command: what was typed becomes a checked command, and each command is one function.

mod cli;

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
    cli::output::start_log(typed.global.verbose, manner);
    let end = settings(&grammar, &matches).and_then(|settings| match typed.global.print_config {
        true => cli::print_config::run(&settings, manner),
        false => run(Command::check(typed.command, &settings).map_err(Failure::Usage)?, manner),
    });
    cli::end::exit_code(end, manner)
}

/// The settings of the command that was typed, from all layers.
fn settings(grammar: &clap::Command, matches: &clap::ArgMatches) -> Result<Settings, Failure> {
    let layers = Layers::of_this_machine().map_err(Failure::Usage)?;
    let typed = matches.subcommand().and_then(|(name, sub)| Some((grammar.find_subcommand(name)?, sub)));
    Ok(typed.map(|(command, sub)| Settings::gather(command, sub, &layers)).unwrap_or_default())
}

fn run(command: Command, manner: Manner) -> Result<End, Failure> {
    match command {
        Command::Completions(shell) => cli::completions::run(shell),
        _ => Err(Failure::Failed("not there yet".into())),
    }
}
