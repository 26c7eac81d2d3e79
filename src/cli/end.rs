//! How a command ends, and the exit code for it.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::output::Manner;

/// A command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All well: 0.
    Done,
    /// `diff` found differences: 1.
    Different,
    /// Done, but something was lost or is damaged, and the command said what: 3.
    Lost,
}

/// A command that could not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The call itself is wrong: 2.
    Usage(String),
    /// What, where, and the remedy: 1.
    Failed(String),
    /// The reader of our output went away, as `head` does: a clean end, 0.
    ReaderGone,
}

impl Failure {
    /// A failure to do something with a file or device, in the system's words.
    pub fn io(doing: impl AsRef<str>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(format!("{}: {error}", doing.as_ref()))
    }

    /// A file that would be overwritten.
    pub fn exists(path: &Path) -> Self {
        Self::Failed(format!("{} exists and is not overwritten; choose another name or remove it", path.display()))
    }

    /// Somebody stopped us before the new file was complete, and it is gone.
    pub fn stopped(path: &Path) -> Self {
        Self::Failed(format!("stopped; {} was not made", path.display()))
    }
}

impl From<kinora::Error> for Failure {
    fn from(error: kinora::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Errors of standard output; those of files are named by [`Failure::io`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("standard output: {error}")),
        }
    }
}

/// Says why, if it failed, and gives the code for the shell.
pub fn exit_code(end: Result<End, Failure>, manner: Manner) -> ExitCode {
    match end {
        Ok(End::Done) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Ok(End::Different) => ExitCode::from(1),
        Ok(End::Lost) => ExitCode::from(3),
        Err(Failure::Failed(why)) => {
            manner.error(why);
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            manner.error(why);
            manner.remark("try `kinora --help`");
            ExitCode::from(2)
        }
    }
}
