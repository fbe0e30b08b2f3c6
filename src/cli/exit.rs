//! How a command ends.

use std::process::ExitCode;

/// The exit codes of the contract, the graver the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All well.
    Well,
    /// Finished, but something failed, was newly parked or came into conflict.
    Partial,
    /// What the user wrote is wrong.
    Wrong,
    /// A system could not be reached or refused us, and what could run, ran; or
    /// the state is another engine's, or cannot be used.
    Unreachable,
    /// Stopped by Ctrl-C (SIGINT): what was written is on record.
    Interrupted,
    /// Stopped by SIGTERM: what was written is on record.
    Terminated,
}

impl Exit {
    /// Somebody stopped the process before the command was done.
    pub fn is_stopped(self) -> bool {
        matches!(self, Exit::Interrupted | Exit::Terminated)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Well => 0,
            Exit::Partial => 1,
            Exit::Wrong => 2,
            Exit::Unreachable => 3,
            // What a shell makes of a process that the signal ends.
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        })
    }
}
