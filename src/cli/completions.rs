//! `kinora completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::end::{End, Failure};
use super::output::Results;

/// Prints the script.
pub fn run(shell: Shell) -> Result<End, Failure> {
    // Into memory first: the generator panics when its writer fails, and a closed pipe is no reason to.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kinora", &mut script);
    let mut results = Results::new();
    results.bytes(&script)?;
    results.flush()?;
    Ok(End::Done)
}
