//! `engine run`: runs mappings, once or on their schedules.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;

use super::render::Page;
use super::report::{Told, overall, page};
use super::round::{Asked, How, Round, round};
use super::service::{Service, serve};
use super::stop::Stop;
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Duration;
use crate::record::Side;
use crate::run::{Options, World};

/// Run mappings, on their schedules or once.
///
/// Reads what changed on both sides, writes only that, and says what was done. What could not be written is parked and
/// owed; what was edited on both sides is a conflict, and waits where the mapping does not say who wins.
///
/// Without `--once` each mapping runs whenever its `schedule` says, until Ctrl-C or SIGTERM. Edited YAML is taken over
/// within seconds; where it is wrong that is said, and the mappings go on as they were. A time that was missed is made
/// up for by one run. A mapping that fails several times in a row is tried less and less often.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine run mappings/
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
    /// So many mappings run at once on schedules; and as many more of those that failed last.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, conflicts_with = "once", value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Events, conflicts at their end and old runs are kept so long; a day at least. The newest runs of each mapping stay.
    #[arg(long, value_name = "TIME", env = "ENGINE_HISTORY", hide_env_values = true, default_value = "90d", value_parser = history)]
    history: TimeDelta,
}

/// How long the history is kept.
fn history(text: &str) -> Result<TimeDelta, String> {
    let length = Duration::parse(text).map_err(|wrong| format!("{wrong}; write `90d` or `36h`"))?;
    let length = TimeDelta::from_std(length.0).unwrap_or(TimeDelta::MAX);
    if length < TimeDelta::days(1) {
        return Err("limits count the deletes of a day: at least `1d` has to be kept".to_owned());
    }
    Ok(length)
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
    let (mut stop, world) = Stop::listen();
    let world: Arc<dyn World> = Arc::new(world);
    if !arguments.once {
        return keep_running(arguments, context, stop, world).await;
    }
    let keys = arguments.key.iter().map(|key| (arguments.side.into(), key.clone())).collect();
    let options = Options { full: arguments.full, over_limit: arguments.over_limit, ..Options::default() };
    let how = How { options, keys, ..How::default() };
    let asked =
        Asked { path: &arguments.path, mappings: &arguments.mappings, how, world, history: Some(arguments.history) };
    let (done, stopped) = stop.during(Box::pin(round(&asked, context)), || says_that_it_stops(context)).await;
    let (told, notices) = match done {
        Some(round) => match round? {
            Some(Round { told, notices, .. }) => (told, Some(notices)),
            None => return Ok(Exit::Wrong),
        },
        None => (Vec::new(), None),
    };
    let path = arguments.path.display().to_string();
    let status = || if stopped.is_some() { "interrupted".into() } else { json!(overall(&told)) };
    context.screen.answer(
        || json!({ "status": status(), "runs": told.iter().map(Told::json).collect::<Vec<_>>() }),
        || if told.is_empty() && stopped.is_some() { Page::new() } else { page(&told, &path) },
    );
    if stopped.is_some() {
        says_where_it_stopped(context);
    }
    if let Some(notices) = notices {
        stop.during(notices.finish(), || says_that_it_stops(context)).await;
    }
    Ok(stopped.unwrap_or_else(|| told.iter().map(Told::exit).max().unwrap_or(Exit::Well)))
}

/// Runs on schedules until somebody stops it.
async fn keep_running(arguments: &RunArguments, context: Context<'_>, mut stop: Stop, world: Arc<dyn World>) -> Done {
    let only_once =
        [(arguments.full, "--full"), (!arguments.key.is_empty(), "--key"), (arguments.over_limit, "--over-limit")];
    if let Some((_, name)) = only_once.into_iter().find(|(given, _)| *given) {
        let help = format!("`engine run … --once {name}` runs each mapping once like that");
        return Err(Failure::wrong(format!("`{name}` is for `--once`")).help(help));
    }
    let RunArguments { path, mappings, parallel, history, .. } = arguments;
    let asked = Service { path, mappings, parallel: *parallel, history: *history, world };
    let (done, stopped) = stop.during(Box::pin(serve(asked, context)), || says_that_it_stops(context)).await;
    if let Some(exit) = done.transpose()?.filter(|exit| *exit != Exit::Well) {
        return Ok(exit);
    }
    says_where_it_stopped(context);
    Ok(stopped.unwrap_or(Exit::Well))
}

pub(super) fn says_that_it_stops(context: Context<'_>) {
    let mut page = Page::new();
    page.line("stopping: what is being written is finished first; once more stops at once");
    context.screen.note(&page);
}

fn says_where_it_stopped(context: Context<'_>) {
    let mut page = Page::new();
    page.line("stopped; what was written is on record, and the next run goes on from there");
    context.screen.note(&page);
}
