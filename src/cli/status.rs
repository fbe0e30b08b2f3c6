//! `engine status`: what is scheduled, what ran, what is owed.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

use super::home::open;
use super::loaded::{Loaded, load};
use super::names::Names;
use super::render::{Cell, Grid, Page, Tone};
use super::runs::{run_json, status_word};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Schedule;
use crate::record::{Both, Value};
use crate::run::{SystemWorld, World};
use crate::state::{MappingState, OwedCounts, RunRecord, Store};
use crate::work::{History, REMEMBERED, Timetable};

/// Show each mapping: its schedule, its last run, what is owed, how far it was read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine status mappings/
  engine status mappings/ --format json")]
pub(super) struct StatusArguments {
    /// The project.
    path: ProjectPath,
}

/// What is known of one mapping.
struct Line {
    mapping: String,
    /// `None` where it is in the state and no file has it any more.
    enabled: Option<bool>,
    schedule: Option<String>,
    /// When it is due by the clock; in the past where it waits for an engine.
    next: Option<DateTime<Utc>>,
    links: u64,
    owed: OwedCounts,
    cursors: Both<Option<Value>>,
    last: Option<RunRecord>,
    /// The number of a run that began and has no end on record.
    unfinished: Option<u64>,
}

pub(super) async fn status(arguments: &StatusArguments, context: Context<'_>) -> Done {
    let loaded = load(&arguments.path, context.env());
    let store = open(context, &arguments.path).await?;
    let mut names: Vec<String> = loaded.project.in_order().iter().map(|mapping| mapping.full_name.clone()).collect();
    let former = Names::look(&loaded.project, &*store).await?;
    let known: BTreeSet<&str> = names.iter().flat_map(|name| [name.as_str(), former.of(name)]).collect();
    // Mappings of the state that no file has: renamed without `was`, or removed.
    let whole = loaded.project.root == arguments.path;
    let others: Vec<String> =
        store.mappings().await?.into_iter().filter(|name| whole && !known.contains(name.as_str())).collect();
    names.extend(others);
    let mut lines = Vec::with_capacity(names.len());
    for name in names {
        lines.push(line(&loaded, &*store, name, &former).await?);
    }
    if loaded.diagnostics.has_errors() {
        context.screen.aside(&loaded.sorted(), &loaded.project);
    }
    context.screen.answer(|| json!({ "mappings": lines.iter().map(line_json).collect::<Vec<_>>() }), || page(&lines));
    // While something is being edited the rest is shown; where there is nothing, the path is wrong.
    Ok(if lines.is_empty() && loaded.diagnostics.has_errors() { Exit::Wrong } else { Exit::Well })
}

async fn line(loaded: &Loaded, store: &dyn Store, name: String, former: &Names) -> Result<Line, Failure> {
    let mapping = loaded.project.mapping(&name);
    let stored = former.of(&name);
    let owed = store.count_owed(stored).await?;
    let links = store.count_links(stored).await?;
    let state = store.mapping(stored).await?.unwrap_or_default();
    let runs = store.runs(Some(stored), REMEMBERED).await?;
    let enabled = mapping.map(|mapping| loaded.switched_off(mapping).is_none());
    let timetable =
        mapping.and_then(|mapping| Timetable::of(mapping.schedule.as_ref()?)).filter(|_| enabled == Some(true));
    let next = timetable.and_then(|timetable| timetable.next(&name, &History::of(&runs), SystemWorld.now()));
    let last = runs.into_iter().next();
    let unfinished = unfinished(&state, last.as_ref());
    let cursors = state.cursors;
    Ok(Line {
        enabled,
        next,
        schedule: mapping.and_then(|mapping| mapping.schedule.as_ref()).map(in_words),
        links,
        owed,
        cursors: cursors.map(|cursor| cursor.and_then(|cursor| cursor.low)),
        last,
        unfinished,
        mapping: name,
    })
}

/// The number of a mapping's newest run, where nothing tells how it ended. Runs
/// are counted when they begin, and a run that is killed early is on no record.
pub(super) fn unfinished(state: &MappingState, last: Option<&RunRecord>) -> Option<u64> {
    let ended = last.filter(|run| run.status.has_ended()).map_or(0, |run| run.number);
    (state.runs > ended).then_some(state.runs)
}

/// What is said of it.
pub(super) fn without_end(mapping: &str, number: u64) -> String {
    format!(
        "{mapping}: run {number} began and did not end: it is still under way, or it was stopped; what it wrote is on \
         record, and the next run goes on from there"
    )
}

/// What is said of deletes that wait.
pub(super) fn held_back(deletes: u64) -> String {
    let are = if deletes == 1 { "is" } else { "are" };
    let deletes = super::render::plural(deletes, "delete");
    format!("{deletes} {are} held back: there is a limit on deletes, or the run ended before it came to them")
}

/// A schedule as one would say it.
pub(super) fn in_words(schedule: &Schedule) -> String {
    let mut words = Vec::new();
    if let Some(every) = &schedule.every {
        words.push(format!("every {}", every.value));
    }
    if let Some(cron) = &schedule.cron {
        let zone = schedule.timezone.as_ref().map_or("UTC", |zone| zone.value.0.name());
        words.push(format!("cron {} ({zone})", cron.value.pattern));
    }
    if !schedule.after.is_empty() {
        words.push(format!("after {}", schedule.after.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")));
    }
    words.join(", ")
}

fn line_json(line: &Line) -> Json {
    json!({
        "mapping": line.mapping,
        "enabled": line.enabled,
        "schedule": line.schedule,
        "next_run_at": line.next.map(|next| next.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "links": line.links,
        "owed": line.owed.all(),
        "parked": line.owed.parked,
        "conflicts": line.owed.conflicts,
        "held_deletes": line.owed.held,
        "source_cursor": line.cursors.source.as_ref().map(Value::to_json),
        "target_cursor": line.cursors.target.as_ref().map(Value::to_json),
        "last_run": line.last.as_ref().map(run_json),
        "unfinished_run": line.unfinished,
    })
}

/// When a mapping runs next, where an engine keeps its times.
fn next(due: Option<DateTime<Utc>>) -> String {
    match due {
        None => "-".to_owned(),
        Some(due) if due <= SystemWorld.now() => "due".to_owned(),
        Some(due) => due.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    }
}

fn page(lines: &[Line]) -> Page {
    let mut page = Page::new();
    if lines.is_empty() {
        page.line("no mappings");
        return page;
    }
    let mut grid = Grid::new(&[
        "mapping",
        "schedule",
        "last run",
        "status",
        "next",
        "links",
        "owed",
        "source read to",
        "target read to",
    ]);
    for line in lines {
        let schedule = match (line.enabled, &line.schedule) {
            (None, _) => "no file has it".to_owned(),
            (Some(false), _) => "switched off".to_owned(),
            (Some(true), None) => "when asked for".to_owned(),
            (Some(true), Some(schedule)) => schedule.clone(),
        };
        let (status, tone) = match (&line.last, line.unfinished) {
            (_, Some(_)) => ("did not end", Tone::Warn),
            (None, None) => ("never ran", Tone::Faint),
            (Some(run), None) => status_word(run.status),
        };
        let ran = line.last.as_ref().map(|run| run.started_at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
        let cursor = |cursor: &Option<Value>| cursor.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        let owed = Cell::number(line.owed.all());
        grid.row(vec![
            Cell::text(&line.mapping).tone(Tone::Strong),
            Cell::text(schedule),
            Cell::text(ran.unwrap_or_else(|| "-".to_owned())),
            Cell::text(status).tone(tone),
            Cell::text(next(line.next)),
            Cell::number(line.links),
            if line.owed.all() > 0 { owed.tone(Tone::Warn) } else { owed },
            Cell::text(cursor(&line.cursors.source)),
            Cell::text(cursor(&line.cursors.target)),
        ]);
    }
    page.grid(grid);
    for line in lines {
        if let Some(number) = line.unfinished {
            page.toned(Tone::Warn, without_end(&line.mapping, number));
        }
    }
    for line in lines {
        for error in line.last.iter().flat_map(|run| &run.errors) {
            page.toned(Tone::Bad, format!("{}: {error}", line.mapping));
        }
    }
    for line in lines.iter().filter(|line| line.owed.held > 0) {
        page.toned(Tone::Warn, format!("{}: {}", line.mapping, held_back(line.owed.held)));
    }
    page
}
