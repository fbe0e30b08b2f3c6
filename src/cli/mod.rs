//! The command line: one file for each command.
//!
//! Owns what is typed, what is printed and how a command ends. `render` is the
//! only one that knows colour, width and `--format`; `wire` the only one that
//! knows the protocols. Start reading at [`main`].

mod exit;
mod run;
mod wire;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use exit::Exit;

/// A declarative two-way sync engine.
#[derive(Debug, Parser)]
#[command(name = "engine", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Common {
    /// How to print: a table for people, or one JSON object for machines.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the state lies: a folder, or `sqlite://` and a folder. Default: `.engine/` of the project.
    #[arg(long, global = true, env = "ENGINE_STATE", value_name = "ADDRESS")]
    state: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArguments),
}

/// Does what the command line says, and tells how the process shall end.
pub async fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no mistakes, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Wrong } else { Exit::Well };
        }
    };
    match arguments.command {
        Command::Run(run) => run::run(&run, &arguments.common).await,
    }
}

/// A path given on the command line.
type ProjectPath = PathBuf;
