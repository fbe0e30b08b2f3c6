//! `engine parked`: everything that is still owed.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::conflicts::names;
use super::home::{Place, mapping_named, open, open_for_run, state_place};
use super::keys::{KeyNames, typed};
use super::links::csv_line;
use super::loaded::load;
use super::log::Teller;
use super::render::{Cell, Grid, Page, Tone, plural};
use super::report::{keys, parked_json};
use super::status::held_back;
use super::wire::{Surroundings, Systems, prepare_one};
use super::{Context, Done, Exit, Failure, ProjectPath};
use crate::config::model::Mapping;
use crate::record::{Both, Side};
use crate::run::{SystemWorld, World, settle_as_not_sent, settle_as_sent};
use crate::state::{Conflict, ConflictFilter, Parked, ParkedFilter, Reason, Store};

/// See everything that is owed: records and fields set aside, with the reason.
///
/// What is parked is tried again by itself with every run, and goes through as soon as its cause is gone. What a system
/// has stored otherwise than it was sent (E0703) is tried again when the record changes, or by `retry`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ParkedCommand {
    List(ListArguments),
    /// Have the next run try parked records again, whatever their next try is.
    Retry(IdsArguments),
    /// Forget parked records: nothing is owed for them any more, unless a later run reads them again and meets the same.
    Drop(IdsArguments),
    Export(ExportArguments),
    Settle(SettleArguments),
}

/// List what is owed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine parked list mappings/
  engine parked list mappings/ --mapping customers --reason rejected
  engine parked list mappings/ --csv > owed.csv")]
pub(super) struct ListArguments {
    /// The project.
    path: ProjectPath,
    #[command(flatten)]
    which: Which,
    /// Print lines of comma-separated values, for spreadsheets.
    #[arg(long, conflicts_with = "format")]
    csv: bool,
}

/// Which of what is owed.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only those of this mapping.
    #[arg(long, value_name = "NAME")]
    mapping: Option<String>,
    /// Only those with this reason.
    #[arg(long, value_enum, value_name = "REASON")]
    reason: Option<ReasonArgument>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ReasonArgument {
    Conflict,
    Unknown,
    Ambiguous,
    Rejected,
    Approval,
    InDoubt,
    Loop,
}

impl From<ReasonArgument> for Reason {
    fn from(reason: ReasonArgument) -> Reason {
        match reason {
            ReasonArgument::Conflict => Reason::Conflict,
            ReasonArgument::Unknown => Reason::Unknown,
            ReasonArgument::Ambiguous => Reason::Ambiguous,
            ReasonArgument::Rejected => Reason::Rejected,
            ReasonArgument::Approval => Reason::Approval,
            ReasonArgument::InDoubt => Reason::InDoubt,
            ReasonArgument::Loop => Reason::Loop,
        }
    }
}

/// Name parked records by id, or select them. `retry` has the next run try them whatever their next try is; `drop`
/// forgets them: nothing is owed for them any more. What is read again is parked again, if its cause still stands: with a
/// `cursor` once it changes, without one in the next run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine parked retry mappings/ --mapping customers
  engine parked drop mappings/ 12 13")]
pub(super) struct IdsArguments {
    /// The project.
    path: ProjectPath,
    /// The ids, as `list` shows them. Or select by `--mapping` and `--reason`.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Write what is owed into a file, for spreadsheets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  engine parked export mappings/ --csv owed.csv")]
pub(super) struct ExportArguments {
    /// The project.
    path: ProjectPath,
    #[command(flatten)]
    which: Which,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
}

/// Say what became of a record that was sent, without an answer and without a way to look.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("answer").args(["sent", "not_sent"]).required(true))]
#[command(after_help = "\
Examples:
  engine parked settle mappings/ 12 --sent 4711
  engine parked settle mappings/ 12 --not-sent")]
pub(super) struct SettleArguments {
    /// The project.
    path: ProjectPath,
    /// The id, as `list --reason in_doubt` shows it.
    id: String,
    /// It was created, and this is its key there.
    #[arg(long, value_name = "KEY")]
    sent: Option<String>,
    /// It was not created: send it again.
    #[arg(long)]
    not_sent: bool,
}

pub(super) async fn parked(command: &ParkedCommand, context: Context<'_>) -> Done {
    match command {
        ParkedCommand::List(arguments) => list(arguments, context).await,
        ParkedCommand::Export(arguments) => export(arguments, context).await,
        ParkedCommand::Settle(arguments) => settle(arguments, context).await,
        ParkedCommand::Retry(arguments) => {
            let store = open(context, &arguments.path).await?;
            let ids = ids(&*store, arguments).await?;
            let count = store.retry(&ids).await?;
            Ok(told(context, "retried", count, "is tried with the next run", "are tried with the next run"))
        }
        ParkedCommand::Drop(arguments) => {
            let store = open(context, &arguments.path).await?;
            let ids = ids(&*store, arguments).await?;
            let count = store.drop_parked(&ids).await?;
            let one = "is not owed any more, unless it is read again";
            Ok(told(context, "dropped", count, one, "are not owed any more, unless they are read again"))
        }
    }
}

fn told(context: Context<'_>, what: &str, count: u64, one: &str, many: &str) -> Exit {
    context.screen.answer(
        || json!({ what: count }),
        || {
            let mut page = Page::new();
            let rest = if count == 1 { one } else { many };
            page.line(format!("{} {rest}", plural(count, "parked record")));
            page
        },
    );
    Exit::Well
}

/// What is owed: parked records, conflicts that wait, and deletes that are held
/// back.
struct Owed {
    parked: Vec<Parked>,
    conflicts: Vec<Conflict>,
    /// Deletes that wait for the limit, by their mapping.
    held: Vec<(String, u64)>,
    names: HashMap<String, KeyNames>,
}

async fn owed(store: &dyn Store, which: &Which) -> Result<Owed, Failure> {
    let mapping = match &which.mapping {
        Some(name) => Some(mapping_named(store, name).await?),
        None => None,
    };
    let reason = which.reason.map(Reason::from);
    let parked = store.parked(&ParkedFilter { mapping: mapping.clone(), reason, ..ParkedFilter::default() }).await?;
    let mut held = Vec::new();
    // They have none of the reasons.
    let with_deletes = match &mapping {
        _ if reason.is_some() => Vec::new(),
        Some(name) => vec![name.clone()],
        None => store.mappings().await?,
    };
    for name in with_deletes {
        let deletes = store.count_owed(&name).await?.held;
        if deletes > 0 {
            held.push((name, deletes));
        }
    }
    let conflicts = if reason.is_none_or(|reason| reason == Reason::Conflict) {
        store.conflicts(&ConflictFilter { mapping, open: true, ..ConflictFilter::default() }).await?
    } else {
        Vec::new()
    };
    let mentioned =
        parked.iter().map(|parked| &parked.mapping).chain(conflicts.iter().map(|conflict| &conflict.mapping));
    let names = names(store, mentioned.map(String::as_str)).await?;
    Ok(Owed { parked, conflicts, held, names })
}

impl Owed {
    fn json(&self) -> Vec<Json> {
        let unknown = KeyNames::default();
        let names = |mapping: &String| self.names.get(mapping).unwrap_or(&unknown);
        let parked = self.parked.iter().map(|parked| parked_json(parked, names(&parked.mapping)));
        let conflicts = self.conflicts.iter().map(|conflict| {
            let names = names(&conflict.mapping);
            json!({
                "id": format!("c{}", conflict.id),
                "mapping": conflict.mapping,
                "source_key": names.json(Side::Source, Some(&conflict.keys.source)),
                "target_key": names.json(Side::Target, Some(&conflict.keys.target)),
                "side": null,
                "reason": "conflict",
                "field": conflict.field,
                "value": null,
                "code": null,
                "message": conflict_message(conflict),
                "file": null,
                "line": null,
                "attempts": null,
                "since": conflict.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "next_try": null,
            })
        });
        parked.chain(conflicts).collect()
    }

    fn csv(&self) -> String {
        const COLUMNS: [&str; 15] = [
            "id",
            "mapping",
            "source_key",
            "target_key",
            "side",
            "reason",
            "field",
            "value",
            "code",
            "message",
            "file",
            "line",
            "attempts",
            "since",
            "next_try",
        ];
        let mut out = csv_line(COLUMNS);
        for row in self.json() {
            out += &csv_line(COLUMNS.map(|column| {
                match &row[column] {
                    Json::Null => String::new(),
                    Json::String(text) => text.clone(),
                    Json::Object(key) => key
                        .values()
                        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                        .collect::<Vec<_>>()
                        .join(","),
                    other => other.to_string(),
                }
            }));
        }
        out
    }

    fn page(&self, path: &str) -> Page {
        let mut page = Page::new();
        for (mapping, deletes) in &self.held {
            page.toned(Tone::Warn, format!("{mapping}: {}", held_back(*deletes)));
        }
        if self.parked.is_empty() && self.conflicts.is_empty() {
            page.line(if self.held.is_empty() { "nothing is owed" } else { "nothing else is owed" });
            return page;
        }
        let mut grid = Grid::new(&["id", "mapping", "record", "reason", "field", "code", "what", "tries", "next"]);
        for parked in &self.parked {
            let next = match (parked.reason, parked.next_try) {
                (Reason::InDoubt, _) => "when settled".to_owned(),
                (Reason::Loop, None) => "by `parked retry`".to_owned(),
                (_, None) => "when it changes".to_owned(),
                (_, Some(time)) if time <= SystemWorld.now() => "next run".to_owned(),
                (_, Some(time)) => time.format("%Y-%m-%d %H:%M UTC").to_string(),
            };
            grid.row(vec![
                Cell::text(parked.id.to_string()).tone(Tone::Strong),
                Cell::text(&parked.mapping),
                Cell::text(keys(&parked.keys)),
                Cell::text(parked.reason.name()).tone(Tone::Warn),
                Cell::text(parked.field.as_deref().unwrap_or_default()),
                Cell::text(parked.code.as_deref().unwrap_or_default()),
                Cell::text(&parked.message),
                Cell::number(u64::from(parked.attempts)),
                Cell::text(next),
            ]);
        }
        for conflict in &self.conflicts {
            let decided = if conflict.resolution.is_some() { "next run" } else { "when decided" };
            grid.row(vec![
                Cell::text(format!("c{}", conflict.id)).tone(Tone::Strong),
                Cell::text(&conflict.mapping),
                Cell::text(format!("{} <-> {}", conflict.keys.source, conflict.keys.target)),
                Cell::text("conflict").tone(Tone::Warn),
                Cell::text(&conflict.field),
                Cell::text(""),
                Cell::text(conflict_message(conflict)),
                Cell::text(""),
                Cell::text(decided),
            ]);
        }
        page.grid(grid);
        let mut hints = Vec::new();
        if self.parked.iter().any(|parked| parked.code.is_some()) {
            hints.push("`engine explain CODE` says more".to_owned());
        }
        if !self.conflicts.is_empty() {
            hints.push(format!("`engine conflicts list {path}` shows both values"));
        }
        if !hints.is_empty() {
            page.gap().toned(Tone::Faint, hints.join("; "));
        }
        page
    }
}

fn conflict_message(conflict: &Conflict) -> String {
    match conflict.field.as_str() {
        "*" => "deleted on one side, changed on the other".to_owned(),
        _ => "changed on both sides".to_owned(),
    }
}

async fn list(arguments: &ListArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let owed = owed(&*store, &arguments.which).await?;
    if arguments.csv {
        context.screen.raw(&owed.csv());
    } else {
        let path = arguments.path.display().to_string();
        let held: u64 = owed.held.iter().map(|(_, deletes)| deletes).sum();
        context.screen.answer(|| json!({ "parked": owed.json(), "held_deletes": held }), || owed.page(&path));
    }
    Ok(Exit::Well)
}

async fn export(arguments: &ExportArguments, context: Context<'_>) -> Done {
    let store = open(context, &arguments.path).await?;
    let owed = owed(&*store, &arguments.which).await?;
    let file = arguments.csv.display();
    std::fs::write(&arguments.csv, owed.csv())
        .map_err(|error| Failure::wrong(format!("`{file}` cannot be written: {error}")))?;
    let count = (owed.parked.len() + owed.conflicts.len()) as u64;
    context.screen.answer(
        || json!({ "exported": count, "file": file.to_string() }),
        || {
            let mut page = Page::new();
            page.line(format!("{} in `{file}`", plural(count, "row")));
            page
        },
    );
    Ok(Exit::Well)
}

/// The numbers of the parked records that are named or selected.
async fn ids(store: &dyn Store, arguments: &IdsArguments) -> Result<Vec<i64>, Failure> {
    let selects = arguments.which.mapping.is_some() || arguments.which.reason.is_some();
    if arguments.ids.is_empty() && !selects {
        return Err(Failure::wrong("which parked records? none is named")
            .help("name their ids, or select them with `--mapping` and `--reason`"));
    }
    if !arguments.ids.is_empty() && selects {
        return Err(Failure::wrong("ids and a selection exclude each other"));
    }
    if arguments.ids.is_empty() {
        return Ok(owed(store, &arguments.which).await?.parked.iter().map(|parked| parked.id).collect());
    }
    let mut ids = Vec::with_capacity(arguments.ids.len());
    for id in &arguments.ids {
        ids.push(by_id(store, id).await?.id);
    }
    Ok(ids)
}

async fn by_id(store: &dyn Store, id: &str) -> Result<Parked, Failure> {
    if id.strip_prefix('c').is_some_and(|number| number.parse::<i64>().is_ok()) {
        return Err(Failure::wrong(format!("`{id}` is a conflict")).help("`engine conflicts resolve` decides it"));
    }
    let unknown = || Failure::wrong(format!("nothing is parked as `{id}`")).help("`engine parked list` shows the ids");
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let found = store.parked(&ParkedFilter { ids: vec![number], ..ParkedFilter::default() }).await?;
    found.into_iter().next().ok_or_else(unknown)
}

async fn settle(arguments: &SettleArguments, context: Context<'_>) -> Done {
    // Alone with the state: a run under way goes on as if nothing were settled.
    let place = state_place(context.common, &arguments.path)?;
    let is_there = matches!(place, Place::File(file) if file.is_file());
    let store =
        if is_there { open_for_run(context, &arguments.path).await? } else { open(context, &arguments.path).await? };
    let parked = by_id(&*store, &arguments.id).await?;
    if parked.reason != Reason::InDoubt {
        return Err(Failure::wrong(format!(
            "`{}` is not in doubt: it is parked as {}",
            parked.id,
            parked.reason.name()
        ))
        .help("only what was sent without an answer is to be settled"));
    }
    let said = match &arguments.sent {
        None => {
            settle_as_not_sent(&*store, &parked, SystemWorld.now()).await?;
            "it is sent again with the next run"
        }
        Some(key) => {
            link_sent(arguments, &parked, key, store, context).await?;
            "both records are linked; the next run compares them"
        }
    };
    context.screen.answer(
        || json!({ "settled": parked.id.to_string(), "sent": arguments.sent.is_some() }),
        || {
            let mut page = Page::new();
            page.line(format!("`{}` is settled: {said}", parked.id));
            page
        },
    );
    Ok(Exit::Well)
}

async fn link_sent(
    arguments: &SettleArguments,
    parked: &Parked,
    key: &str,
    store: std::sync::Arc<dyn Store>,
    context: Context<'_>,
) -> Result<(), Failure> {
    let other = parked.side.other();
    let Some(from) = parked.keys[other].clone() else {
        return Err(Failure::wrong(format!("`{}` has no key on the {other}, so nothing can be linked", parked.id))
            .help("`--not-sent` has it sent again"));
    };
    let loaded = load(&arguments.path, context.env());
    let renamed = |mapping: &&Mapping| mapping.former_name().is_some_and(|former| former == parked.mapping);
    let mapping = match loaded.project.mappings.iter().find(renamed) {
        Some(mapping) => mapping,
        None => loaded.one(&parked.mapping)?,
    };
    let observer = std::sync::Arc::new(Teller::new(context.screen));
    let surroundings =
        Surroundings::new(context, &loaded.project.root, store.clone(), std::sync::Arc::new(SystemWorld), observer);
    let mut systems = Systems::new(&loaded).remembered_by(&*surroundings.store).await?;
    let setup = prepare_one(mapping, &loaded, &mut systems, &surroundings, context).await?;
    let names = KeyNames::of(&setup.program);
    let sent = typed(&setup.program, parked.side, &names.parse(parked.side, key)?)?;
    let mut pair = Both::new(from.clone(), from);
    pair[parked.side] = sent;
    settle_as_sent(&setup, parked.side, &pair).await?;
    store.drop_parked(&[parked.id]).await?;
    Ok(())
}
