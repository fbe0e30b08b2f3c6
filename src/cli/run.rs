//! `engine run`: runs mappings.

use serde_json::json;

use super::render::Page;
use super::report::{Told, overall, page};
use super::round::{Asked, Round, round};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::record::Side;
use crate::run::Options;

/// Run mappings, each once.
///
/// Reads what changed on both sides, writes only that, and says what was done. What could not be written is parked and
/// owed; what was edited on both sides is a conflict, and waits where the mapping does not say who wins.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine run mappings/ --once
  engine run mappings/ customers --once --full
  engine run mappings/ customers --once --key A1_COD=000001,A1_LOJA=01
  engine run mappings/ --once --format json")]
pub(super) struct RunArguments {
    /// The project: a folder of YAML files, or one file.
    path: ProjectPath,
    /// Only these mappings. Default: all that are switched on.
    #[arg(value_name = "MAPPING")]
    mappings: Vec<String>,
    /// Run each mapping once, in the order of their dependencies, then exit.
    #[arg(long)]
    once: bool,
    /// Read everything, whatever was read before.
    #[arg(long)]
    full: bool,
    /// Only the record of this key: a value, or `field=value,field=value`.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// The side that `--key` is of.
    #[arg(long, value_enum, default_value_t = SideArgument::Source, requires = "key")]
    side: SideArgument,
    /// Let this run delete, create and update more than the limits allow.
    #[arg(long)]
    over_limit: bool,
}

/// A side on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SideArgument {
    Source,
    Target,
}

impl From<SideArgument> for Side {
    fn from(side: SideArgument) -> Side {
        match side {
            SideArgument::Source => Side::Source,
            SideArgument::Target => Side::Target,
        }
    }
}

pub(super) async fn run(arguments: &RunArguments, context: Context<'_>) -> Done {
    if !arguments.once {
        return Err(Failure::not_yet(
            "running on schedules",
            "`--once` runs each mapping once, in the order of their dependencies",
        ));
    }
    let asked = Asked {
        path: &arguments.path,
        mappings: &arguments.mappings,
        keys: &arguments.key,
        side: arguments.side.into(),
        options: Options { full: arguments.full, over_limit: arguments.over_limit, ..Options::default() },
    };
    let stop = stopped();
    let done = tokio::select! {
        biased;
        done = round(&asked, context) => done?,
        exit = stop => {
            let mut page = Page::new();
            page.line("stopped; what was written is on record, and the next run goes on from there");
            context.screen.note(&page);
            context.screen.answer(|| json!({ "status": "interrupted", "runs": [] }), Page::new);
            return Ok(exit);
        }
    };
    let Some(Round { told, .. }) = done else { return Ok(Exit::Wrong) };
    let path = arguments.path.display().to_string();
    context.screen.answer(
        || json!({ "status": overall(&told), "runs": told.iter().map(Told::json).collect::<Vec<_>>() }),
        || page(&told, &path),
    );
    Ok(told.iter().map(Told::exit).max().unwrap_or(Exit::Well))
}

/// Ends when somebody stops the process. Listens from the call on, not only
/// once it is awaited.
#[cfg(unix)]
fn stopped() -> impl Future<Output = Exit> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [(SignalKind::interrupt(), Exit::Interrupted), (SignalKind::terminate(), Exit::Terminated)];
    let waits = signals.map(|(kind, exit)| {
        let listening = signal(kind);
        Box::pin(async move {
            if let Ok(mut signals) = listening
                && signals.recv().await.is_some()
            {
                return exit;
            }
            std::future::pending().await
        })
    });
    async move { futures::future::select_all(waits).await.0 }
}

/// Ends when somebody stops the process.
#[cfg(not(unix))]
async fn stopped() -> Exit {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Exit::Interrupted,
        Err(_) => std::future::pending().await,
    }
}
