//! The command line: one file for each command.
//!
//! Owns what is typed, what is printed and how a command ends. `render` is the
//! only one that knows colour, width and `--format`; `wire` the only one that
//! knows the protocols; `home` knows where the state lies, `keys` how keys are
//! written. Start reading at [`main`], then at `run`.

mod check;
mod completions;
mod conflicts;
mod discover;
mod drafts;
mod exit;
mod explain;
mod failure;
mod home;
mod keys;
mod links;
mod log;
mod neighbours;
mod parked;
mod plan;
mod render;
mod report;
mod reset;
mod round;
mod run;
mod runs;
mod schema;
mod state;
mod status;
mod trace;
mod validate;
mod wire;

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

pub use exit::Exit;

use failure::Failure;
use home::OpenStates;
use log::LogFormat;
use render::{Format, Screen};

/// A declarative two-way sync engine.
///
/// Connections and field mappings are written in YAML; the engine checks them,
/// runs them in one or both directions, finds conflicts, and keeps a log that
/// explains every decision.
#[derive(Debug, Parser)]
#[command(
    name = "engine",
    version,
    max_term_width = 100,
    disable_help_subcommand = false,
    after_help = "\
Examples:
  engine validate mappings/
  engine plan mappings/
  engine run mappings/ --once
  engine conflicts list mappings/
  engine trace mappings/ customers A1_COD=000001,A1_LOJA=01

Exit codes: 0 all well; 1 finished, but something failed, was newly parked or came into conflict;
2 what you wrote is wrong; 3 a system could not be reached or refused us (what could run, ran)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Common {
    /// How to print: text and tables for people, or one JSON object.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where the state lies: a folder, a file, or `sqlite://` and either. Default: `.engine/` of the project.
    #[arg(long, global = true, env = "ENGINE_STATE", hide_env_values = true, value_name = "ADDRESS")]
    state: Option<String>,
    /// The form of log lines on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
    /// Log more; twice or three times for more still. Outranks `ENGINE_LOG`.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// What to log: a level, or levels by part, as in `engine::event=debug,warn`.
    #[arg(long, global = true, env = "ENGINE_LOG", hide = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Validate(validate::ValidateArguments),
    Check(check::CheckArguments),
    Discover(discover::DiscoverArguments),
    Plan(plan::PlanArguments),
    Run(run::RunArguments),
    Status(status::StatusArguments),
    Runs(runs::RunsArguments),
    #[command(subcommand)]
    Conflicts(conflicts::ConflictsCommand),
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    Trace(trace::TraceArguments),
    #[command(subcommand)]
    Links(links::LinksCommand),
    Reset(reset::ResetArguments),
    #[command(subcommand)]
    State(state::StateCommand),
    Explain(explain::ExplainArguments),
    Schema(schema::SchemaArguments),
    Completions(completions::CompletionsArguments),
}

/// Does what the command line says, and tells how the process shall end.
pub async fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            if let Some(name) = later(&error) {
                let failure =
                    Failure::not_yet(&format!("`engine {name}`"), "`engine help` lists the commands there are");
                return failure.show(&Screen::standard(Format::Text));
            }
            // Help and version are no mistakes, and go to standard output. Who reads them may be gone.
            let _gone = error.print();
            return if error.use_stderr() { Exit::Wrong } else { Exit::Well };
        }
    };
    let Arguments { command, common } = arguments;
    let screen = Screen::standard(common.format);
    if let Err(failure) = log::start(&common, &screen) {
        return failure.show(&screen);
    }
    let states = OpenStates::default();
    let context = Context { common: &common, screen: &screen, states: &states };
    let done = match command {
        Command::Validate(arguments) => validate::validate(&arguments, context).await,
        Command::Check(arguments) => check::check(&arguments, context).await,
        Command::Discover(arguments) => discover::discover(&arguments, context).await,
        Command::Plan(arguments) => plan::plan(&arguments, context).await,
        Command::Run(arguments) => run::run(&arguments, context).await,
        Command::Status(arguments) => status::status(&arguments, context).await,
        Command::Runs(arguments) => runs::runs(&arguments, context).await,
        Command::Conflicts(command) => conflicts::conflicts(&command, context).await,
        Command::Parked(command) => parked::parked(&command, context).await,
        Command::Trace(arguments) => trace::trace(&arguments, context).await,
        Command::Links(command) => links::links(&command, context).await,
        Command::Reset(arguments) => reset::reset(&arguments, context).await,
        Command::State(command) => state::state(&command, context).await,
        Command::Explain(arguments) => explain::explain(&arguments, context),
        Command::Schema(arguments) => Ok(schema::schema(&arguments, context)),
        Command::Completions(arguments) => Ok(completions::completions(&arguments, context)),
    };
    states.close().await;
    done.unwrap_or_else(|failure| failure.show(&screen))
}

/// Commands of the language that this version does not build yet.
const LATER: &[&str] = &["init", "test", "apply", "approve", "lookups", "secrets"];

/// The command that is asked for, where it is one of those.
fn later(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    LATER.iter().copied().find(|later| later == name)
}

/// What every command is given beside its own arguments.
#[derive(Clone, Copy)]
struct Context<'a> {
    common: &'a Common,
    screen: &'a Screen,
    states: &'a OpenStates,
}

/// How a command ends.
type Done = Result<Exit, Failure>;

/// A path given on the command line.
type ProjectPath = PathBuf;
