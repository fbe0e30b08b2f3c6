//! `engine runs`: what ran.

use serde_json::json;

use super::home::{mapping_named, open};
use super::render::{Cell, Grid, Page, Tone};
use super::report::duration;
use super::status::{unfinished, without_end};
use super::{Context, Done, Exit, ProjectPath};
use crate::state::{RunRecord, RunStatus};

/// List the newest runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine runs mappings/
  engine runs mappings/ --mapping customers --limit 5 --format json")]
pub(super) struct RunsArguments {
    /// The project.
    path: ProjectPath,
    /// Only those of this mapping.
    #[arg(long, value_name = "NAME")]
    mapping: Option<String>,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn runs(arguments: &RunsArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let mapping = match &arguments.mapping {
        Some(name) => Some(mapping_named(&*store, name).await?),
        None => None,
    };
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let runs = store.runs(mapping.as_deref(), limit).await?;
    let mut without = Vec::new();
    let named = mapping.map_or(store.mappings().await?, |mapping| vec![mapping]);
    for name in named {
        let last = store.runs(Some(&name), 1).await?.into_iter().next();
        let state = store.mapping(&name).await?.unwrap_or_default();
        without.extend(unfinished(&state, last.as_ref()).map(|number| (name, number)));
    }
    context.screen.answer(
        || json!({ "runs": runs.iter().map(run_json).collect::<Vec<_>>() }),
        || {
            let mut page = Page::new();
            for (mapping, number) in &without {
                page.toned(Tone::Warn, without_end(mapping, *number));
            }
            if runs.is_empty() {
                page.line(if without.is_empty() { "no runs yet" } else { "no run has ended yet" });
                return page;
            }
            let header = [
                "mapping",
                "n",
                "started",
                "took",
                "status",
                "created",
                "updated",
                "deleted",
                "conflicts",
                "owed",
                "error",
            ];
            let mut grid = Grid::new(&header);
            for run in &runs {
                let (there, back) = (&run.counts.to_target, &run.counts.to_source);
                let (status, tone) = status_word(run.status);
                let ended = run.status.has_ended();
                grid.row(vec![
                    Cell::text(&run.mapping).tone(Tone::Strong),
                    Cell::number(run.number),
                    Cell::text(run.started_at.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
                    Cell::text(if ended { duration(run.duration_ms) } else { "-".to_owned() }),
                    Cell::text(status).tone(tone),
                    Cell::number(there.created + back.created),
                    Cell::number(there.updated + back.updated),
                    Cell::number(there.deleted + back.deleted),
                    Cell::number(run.counts.conflicts),
                    if ended { Cell::number(run.counts.owed) } else { Cell::text("-") },
                    Cell::text(run.errors.join("; ")),
                ]);
            }
            page.grid(grid);
            page
        },
    );
    Ok(Exit::Well)
}

pub(super) fn status_word(status: RunStatus) -> (&'static str, Tone) {
    let tone = match status {
        RunStatus::Success => Tone::Good,
        RunStatus::Partial | RunStatus::Running | RunStatus::Interrupted => Tone::Warn,
        RunStatus::Failure => Tone::Bad,
    };
    (status.name(), tone)
}

pub(super) fn run_json(run: &RunRecord) -> serde_json::Value {
    json!({
        "mapping": run.mapping,
        "run": run.run,
        "number": run.number,
        "status": run.status,
        "started_at": run.started_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "duration_ms": run.status.has_ended().then_some(run.duration_ms),
        "to_target": run.counts.to_target,
        "to_source": run.counts.to_source,
        "conflicts": run.counts.conflicts,
        "owed": run.status.has_ended().then_some(run.counts.owed),
        "errors": run.errors,
    })
}
