//! The command line: one file for each command.
//!
//! Owns what is typed, what is printed and how a command ends. `render` is the
//! only one that knows colour, width and `--format`; `wire` the only one that
//! knows the protocols; `home` knows where the state lies, `keys` how keys are
//! written. Start reading at [`main`], then at `run`.

mod apply;
mod check;
mod completions;
mod conflicts;
mod discover;
mod drafts;
mod exit;
mod explain;
mod failure;
mod home;
mod init;
mod keys;
mod links;
mod loaded;
mod log;
mod log_line;
mod man;
mod names;
mod neighbours;
mod notices;
mod parked;
mod plan;
mod render;
mod report;
mod reset;
mod round;
mod run;
mod runs;
mod scaffold;
mod schema;
mod secrets;
mod service;
mod settings;
mod stale;
mod state;
mod status;
mod stop;
mod test;
mod trace;
mod validate;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
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
2 what you wrote is wrong; 3 a system could not be reached or refused us (what could run, ran), or
another engine works on this state; 130 and 143 stopped by Ctrl-C or SIGTERM: what was written is
on record, and the next run goes on from there."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Common {
    /// How to print: text and tables for people, or one JSON object.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Lay `environments/NAME.yaml` over the project, which has a state of its own there.
    #[arg(long, global = true, value_name = "NAME", value_parser = environment_name)]
    env: Option<String>,
    /// Where the state lies: a folder, a file, `sqlite://` and either, or `postgres://` and a database. Default: `.engine/` of the project,
    /// with `--env NAME` `.engine/NAME/`.
    #[arg(long, global = true, env = "ENGINE_STATE", hide_env_values = true, value_name = "ADDRESS")]
    state: Option<String>,
    /// Log what a run decides on standard error, in this form. Default: only warnings, as text.
    #[arg(long, global = true, value_enum)]
    log: Option<LogFormat>,
    /// Log more; twice or three times for more still. Outranks `ENGINE_LOG`.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// What to log: a level, or levels by part, as in `engine::event=debug,warn`.
    #[arg(long, global = true, env = "ENGINE_LOG", hide = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

/// A name that a file and a folder can have.
fn environment_name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err("an environment is the name of a file in `environments/`, without its ending".to_owned())
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArguments),
    Validate(validate::ValidateArguments),
    Check(check::CheckArguments),
    Discover(discover::DiscoverArguments),
    Test(test::TestArguments),
    Plan(plan::PlanArguments),
    Apply(apply::ApplyArguments),
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
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    Explain(explain::ExplainArguments),
    Schema(schema::SchemaArguments),
    Completions(completions::CompletionsArguments),
    Man(man::ManArguments),
}

/// Does what the command line says, and tells how the process shall end.
pub async fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let format = asked_format(std::env::args_os().skip(1));
            if let Some(name) = later(&error) {
                let failure = Failure::not_yet(name, "`engine help` lists what there is");
                return failure.show(&Screen::standard(format));
            }
            if error.use_stderr() && format == Format::Json {
                return usage(&error).show(&Screen::standard(format));
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
        Command::Init(arguments) => init::init(&arguments, context).await,
        Command::Validate(arguments) => validate::validate(&arguments, context).await,
        Command::Check(arguments) => check::check(&arguments, context).await,
        Command::Discover(arguments) => discover::discover(&arguments, context).await,
        Command::Test(arguments) => test::test(&arguments, context),
        Command::Plan(arguments) => plan::plan(&arguments, context).await,
        Command::Apply(arguments) => apply::apply(&arguments, context).await,
        Command::Run(arguments) => run::run(&arguments, context).await,
        Command::Status(arguments) => status::status(&arguments, context).await,
        Command::Runs(arguments) => runs::runs(&arguments, context).await,
        Command::Conflicts(command) => conflicts::conflicts(&command, context).await,
        Command::Parked(command) => parked::parked(&command, context).await,
        Command::Trace(arguments) => trace::trace(&arguments, context).await,
        Command::Links(command) => links::links(&command, context).await,
        Command::Reset(arguments) => reset::reset(&arguments, context).await,
        Command::State(command) => state::state(&command, context).await,
        Command::Secrets(command) => secrets::secrets(&command, context),
        Command::Explain(arguments) => explain::explain(&arguments, context),
        Command::Schema(arguments) => Ok(schema::schema(&arguments, context)),
        Command::Completions(arguments) => Ok(completions::completions(&arguments, context)),
        Command::Man(arguments) => man::man(&arguments, context),
    };
    // Who asks to stop is not kept waiting: an open state is as safe as after a crash.
    if !done.as_ref().is_ok_and(|exit| exit.is_stopped()) {
        states.close().await;
    }
    let exit = done.unwrap_or_else(|failure| failure.show(&screen));
    match screen.lost() {
        Some(why) if !exit.is_stopped() => {
            let failure = Failure::wrong(format!("the answer could not be printed: {why}"));
            Failure { exit: exit.max(Exit::Partial), ..failure }.show(&screen)
        }
        _ => exit,
    }
}

/// What the language has on the command line and this version does not build
/// yet: as it is typed, and as it is told.
const LATER: &[(&str, &str)] = &[
    ("approve", "`engine approve`"),
    ("lookups", "`engine lookups`"),
    ("connector", "`engine schema connector`"),
    ("--listen", "`--listen`"),
];

/// What is asked for, where it is one of those.
fn later(error: &clap::Error) -> Option<&'static str> {
    let typed = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(typed)) => Some(typed.split([' ', '=']).next().unwrap_or_default()),
        _ => None,
    };
    let name = match error.kind() {
        ErrorKind::InvalidSubcommand => typed(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => typed(ContextKind::InvalidArg),
        ErrorKind::InvalidValue => typed(ContextKind::InvalidValue).filter(|value| *value == "connector"),
        _ => None,
    }?;
    LATER.iter().find(|(later, _)| *later == name).map(|(_, told)| *told)
}

/// `--format`, where the rest of the command line could not be read.
fn asked_format(arguments: impl Iterator<Item = OsString>) -> Format {
    let typed: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let pairs = typed.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
    if pairs || typed.iter().any(|argument| argument == "--format=json") { Format::Json } else { Format::Text }
}

/// What was typed wrongly, for machines: the words that people get, without
/// the usage below them.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let mut help = None;
    for line in lines {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => help = Some(tip.to_owned()),
            None => {
                message.push(' ');
                message.push_str(line);
            }
        }
    }
    Failure { help, ..Failure::wrong(message) }
}

/// What every command is given beside its own arguments.
#[derive(Clone, Copy)]
struct Context<'a> {
    common: &'a Common,
    screen: &'a Screen,
    states: &'a OpenStates,
}

impl<'a> Context<'a> {
    /// The environment that is laid over the project.
    fn env(&self) -> Option<&'a str> {
        self.common.env.as_deref()
    }
}

/// How a command ends.
type Done = Result<Exit, Failure>;

/// A path given on the command line.
type ProjectPath = PathBuf;
