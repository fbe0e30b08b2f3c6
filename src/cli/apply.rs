//! `engine apply`: makes the changes of a plan that was looked at.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::plan::{KeptPlan, planned_line};
use super::render::{Page, Tone, plural};
use super::report::{Told, overall, page};
use super::round::{Asked, How, Round, round};
use super::run::says_that_it_stops;
use super::stop::Stop;
use super::{Common, Context, Done, Exit, Failure, ProjectPath};
use crate::run::{Options, World};
use crate::state::RunStatus;

/// So many changes that were not made are named.
const NAMED: usize = 1000;

/// And so many are shown to people.
const SHOWN: usize = 20;

/// Make the changes of a plan, and no others: what has moved since is refused.
///
/// Each record of the plan is looked at once more. Where what would be written now is what stands in the plan, it is
/// written as a run would; else it is left alone, and told. Records that are not in the plan are not touched, and the
/// next run finds them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine plan mappings/ --out plan.json
  engine apply plan.json
  engine apply plan.json --project /srv/mappings --format json")]
pub(super) struct ApplyArguments {
    /// What `engine plan --out` has written. Lines of changes may be taken out of it.
    file: PathBuf,
    /// Where the project lies now. Default: where it was planned.
    #[arg(long, value_name = "PATH")]
    project: Option<ProjectPath>,
}

/// What of one mapping's plan was not made: how many changes, and the first of
/// them.
struct NotMade {
    mapping: String,
    /// The run came to its end: they have moved since.
    refused: bool,
    count: usize,
    first: Vec<Json>,
}

pub(super) async fn apply(arguments: &ApplyArguments, context: Context<'_>) -> Done {
    let plan = KeptPlan::read(&arguments.file)?;
    let path = arguments.project.clone().unwrap_or_else(|| plan.header.path.clone());
    if context.env().is_some() && context.env() != plan.header.env.as_deref() {
        let of = plan.header.env.as_ref().map_or("no environment".to_owned(), |env| format!("`--env {env}`"));
        return Err(Failure::wrong(format!("the plan was made for {of}")).help("leave `--env` out: the plan says it"));
    }
    // The plan says in which environment it was made.
    let common = Common { env: plan.header.env.clone(), ..context.common.clone() };
    let context = Context { common: &common, ..context };
    let (mut stop, world) = Stop::listen();
    let world: Arc<dyn World> = Arc::new(world);
    let mappings: Vec<String> = plan.mappings.iter().map(|changes| changes.mapping.clone()).collect();
    let (mut told, mut notices, mut stopped) = (Vec::new(), None, None);
    if !mappings.is_empty() {
        let options = Options { over_limit: plan.header.over_limit, ..Options::default() };
        let how = How { options, reviews: plan.mappings.clone(), ..How::default() };
        let asked = Asked { path: &path, mappings: &mappings, how, world, history: None };
        let (done, by) = stop.during(Box::pin(round(&asked, context)), || says_that_it_stops(context)).await;
        stopped = by;
        if let Some(round) = done {
            let Some(Round { told: runs, notices: sent, .. }) = round? else { return Ok(Exit::Wrong) };
            (told, notices) = (runs, Some(sent));
        }
    }
    let mut left = Vec::new();
    for changes in &plan.mappings {
        let run = told.iter().find(|told| told.report.mapping == changes.mapping);
        let (count, first) = changes.not_made(NAMED).map_err(|error| Failure::wrong(error.to_string()))?;
        let refused = run.is_some_and(|run| matches!(run.report.status, RunStatus::Success | RunStatus::Partial));
        left.push(NotMade { mapping: changes.mapping.clone(), refused, count, first });
    }
    let is_whole = left.iter().all(|left| left.count == 0);
    let status = match (overall(&told), stopped) {
        (_, Some(_)) => "interrupted".into(),
        (RunStatus::Success, None) if !is_whole => json!(RunStatus::Partial),
        (status, None) => json!(status),
    };
    context.screen.answer(
        || json!({ "status": status, "runs": told.iter().map(|told| run_json(told, &left)).collect::<Vec<_>>() }),
        || shown(&told, &left, &path.display().to_string()),
    );
    if let Some(notices) = notices {
        stop.during(notices.finish(), || says_that_it_stops(context)).await;
    }
    let ran = told.iter().map(Told::exit).max().unwrap_or(Exit::Well);
    Ok(stopped.unwrap_or(ran.max(if is_whole { Exit::Well } else { Exit::Partial })))
}

/// The entry of a run, with what was not made of the plan.
fn run_json(told: &Told, left: &[NotMade]) -> Json {
    let mut run = told.json();
    if let Some(left) = left.iter().find(|left| left.mapping == told.report.mapping) {
        let (refused, not_reached) = if left.refused { (left.count, 0) } else { (0, left.count) };
        run["refused"] = refused.into();
        run["not_reached"] = not_reached.into();
        run["not_made"] = left.first.clone().into();
    }
    run
}

fn shown(told: &[Told], left: &[NotMade], path: &str) -> Page {
    let mut page = if told.is_empty() { Page::new() } else { page(told, path) };
    if left.is_empty() {
        page.line("the plan has no changes");
    }
    for NotMade { mapping, refused, count, first } in left.iter().filter(|left| left.count > 0) {
        let changes = plural(*count as u64, "change");
        let why = if *refused {
            "refused: they would be made otherwise now, or not at all; `engine plan` says how"
        } else {
            "not made: the run did not come to its end"
        };
        page.toned(Tone::Warn, format!("{mapping}: {changes} of the plan {why}"));
        for change in first.iter().take(SHOWN) {
            page.line(format!("  {}", planned_line(change)));
        }
        if *count > SHOWN {
            page.toned(Tone::Faint, format!("  … and {} more; `--format json` names them", count - SHOWN));
        }
    }
    page
}
